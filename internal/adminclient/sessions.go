package adminclient

import (
	"context"
	"net/http"
	"net/url"
)

// RevokeSessions ends all temporary credentials of a user, or of a person whom an identity
// provider knows: a distinguished name, or one such as "openid=SUBJECT".
func (c *Client) RevokeSessions(ctx context.Context, name string) error {
	return c.call(ctx, call{method: http.MethodPost, path: "revoke-tokens/builtin", query: url.Values{"user": {name}, "fullRevoke": {"true"}}})
}
