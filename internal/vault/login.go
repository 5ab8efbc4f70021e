package vault

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Token logs in with a token that read returns; it may be another one later, as in
// the file that Vault Agent renews.
func Token(read func() (string, error)) Login {
	return func(context.Context, *Client) (string, error) {
		token, err := read()
		if err == nil && token == "" {
			err = errors.New("the token is empty")
		}
		return token, err
	}
}

// AppRole logs in with a role and its secret, at the mount of that method
// (https://developer.hashicorp.com/vault/api-docs/auth/approle).
func AppRole(mount, role, secret string) Login {
	return func(ctx context.Context, c *Client) (string, error) {
		var answer struct {
			Auth struct {
				Token string `json:"client_token"`
			}
		}
		target := strings.TrimSuffix(c.cfg.Address, "/") + "/v1/auth/" + strings.Trim(mount, "/") + "/login"
		err := c.send(ctx, http.MethodPost, target, "", map[string]string{"role_id": role, "secret_id": secret}, &answer)
		if err == nil && answer.Auth.Token == "" {
			err = errors.New("vault answered without a token")
		}
		return answer.Auth.Token, err
	}
}
