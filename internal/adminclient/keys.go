package adminclient

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// AccessKey is a further access key of a user: a service account.
type AccessKey struct {
	AccessKey   string          `json:"access_key"`
	User        string          `json:"user"`
	Enabled     bool            `json:"enabled"`
	Policy      json.RawMessage `json:"policy,omitempty"` // nil: it may do what the user may
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Expires     time.Time       `json:"expires,omitzero"` // zero: never
}

// keyDocument is an access key as the API has it.
type keyDocument struct {
	AccessKey     string
	ParentUser    string
	AccountStatus string
	Policy        string // text of JSON
	Name          string
	Description   string
	Expiration    time.Time
}

func (d keyDocument) key() AccessKey {
	k := AccessKey{AccessKey: d.AccessKey, User: d.ParentUser, Enabled: d.AccountStatus == onStatus, Name: d.Name, Description: d.Description}
	if json.Valid([]byte(d.Policy)) {
		k.Policy = json.RawMessage(d.Policy)
	}
	if d.Expiration.Unix() > 0 {
		k.Expires = d.Expiration
	}
	return k
}

// The status of access keys as the API has it.
const (
	onStatus  = "on"
	offStatus = "off"
)

// never is the time of the API that stands for none.
func never() time.Time { return time.Unix(0, 0).UTC() }

// AccessKeys returns the access keys of users, or of all whose keys the sender may see,
// sorted by user and key. The users' own names, which are access keys too, are not among
// them.
func (c *Client) AccessKeys(ctx context.Context, users []string) ([]AccessKey, error) {
	query := url.Values{"listType": {"svcacc-only"}, "users": users}
	if len(users) == 0 {
		query.Set("all", "true")
	}
	var all map[string]struct{ ServiceAccounts []keyDocument }
	if err := c.call(ctx, call{method: http.MethodGet, path: "list-access-keys-bulk", query: query, answer: &all, sealed: sealedAnswer}); err != nil {
		return nil, err
	}
	keys := []AccessKey{}
	for _, user := range slices.Sorted(maps.Keys(all)) {
		for _, d := range all[user].ServiceAccounts {
			keys = append(keys, d.key())
		}
	}
	return keys, nil
}

// AccessKey returns one access key.
func (c *Client) AccessKey(ctx context.Context, accessKey string) (AccessKey, error) {
	var d keyDocument
	err := c.call(ctx, call{method: http.MethodGet, path: "info-access-key", query: url.Values{"accessKey": {accessKey}}, answer: &d, sealed: sealedAnswer})
	return d.key(), err
}

// NewAccessKey says how an access key is to be. What is empty is made, or left out.
type NewAccessKey struct {
	User        string          `json:"targetUser,omitempty"` // "": of who asks
	AccessKey   string          `json:"accessKey,omitempty"`
	Secret      string          `json:"secretKey,omitempty"`
	Policy      json.RawMessage `json:"policy,omitempty"` // it may do no more than this; nil: than the user
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Expires     time.Time       `json:"expiration,omitzero"`
}

// AddAccessKey makes an access key and returns it and its secret.
func (c *Client) AddAccessKey(ctx context.Context, n NewAccessKey) (accessKey, secret string, err error) {
	var made struct {
		Credentials struct{ AccessKey, SecretKey string }
	}
	err = c.call(ctx, call{method: http.MethodPut, path: "add-service-account", body: n, answer: &made, sealed: sealedBody | sealedAnswer})
	return made.Credentials.AccessKey, made.Credentials.SecretKey, err
}

// KeyChange says what of an access key is to be otherwise. What is empty stays.
type KeyChange struct {
	Secret      string
	Policy      json.RawMessage // {}: it may do what the user may
	Name        string
	Description string
	Enabled     *bool
	Expires     *time.Time // zero: never
}

// EditAccessKey changes an access key.
func (c *Client) EditAccessKey(ctx context.Context, accessKey string, change KeyChange) error {
	body := make(map[string]any)
	for name, text := range map[string]string{"newSecretKey": change.Secret, "newName": change.Name, "newDescription": change.Description} {
		if text != "" {
			body[name] = text
		}
	}
	if change.Policy != nil {
		body["newPolicy"] = change.Policy
	}
	if change.Enabled != nil {
		body["newStatus"] = offStatus
		if *change.Enabled {
			body["newStatus"] = onStatus
		}
	}
	if change.Expires != nil {
		body["newExpiration"] = *change.Expires
		if change.Expires.IsZero() {
			body["newExpiration"] = never()
		}
	}
	return c.call(ctx, call{method: http.MethodPost, path: "update-service-account", query: url.Values{"accessKey": {accessKey}}, body: body, sealed: sealedBody})
}

// EnableAccessKey has an access key count, or not.
func (c *Client) EnableAccessKey(ctx context.Context, accessKey string, enabled bool) error {
	return c.EditAccessKey(ctx, accessKey, KeyChange{Enabled: &enabled})
}

// RemoveAccessKey removes an access key.
func (c *Client) RemoveAccessKey(ctx context.Context, accessKey string) error {
	return c.call(ctx, call{method: http.MethodDelete, path: "delete-service-account", query: url.Values{"accessKey": {accessKey}}})
}
