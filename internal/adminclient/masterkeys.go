package adminclient

import (
	"context"
	"net/http"
	"net/url"
)

// MasterKeys returns the names of the master keys that fit a pattern with asterisks, or
// of all if it is "".
func (c *Client) MasterKeys(ctx context.Context, pattern string) ([]string, error) {
	var keys []struct{ Name string }
	if err := c.call(ctx, call{method: http.MethodGet, path: kmsPath + "key/list", query: url.Values{"pattern": {pattern}}, answer: &keys}); err != nil {
		return nil, err
	}
	names := []string{}
	for _, k := range keys {
		names = append(names, k.Name)
	}
	return names, nil
}

// MasterKeyStatus is what can be done with a master key.
type MasterKeyStatus struct {
	Name         string `json:"name"`
	EncryptError string `json:"encrypt_error,omitempty"` // why it cannot encrypt
	DecryptError string `json:"decrypt_error,omitempty"` // why it cannot decrypt
}

// MasterKey tries a master key, the default one if the name is "".
func (c *Client) MasterKey(ctx context.Context, name string) (MasterKeyStatus, error) {
	var d struct {
		KeyID        string `json:"key-id"`
		EncryptError string `json:"encryption-error"`
		DecryptError string `json:"decryption-error"`
	}
	query := url.Values{}
	if name != "" {
		query.Set("key-id", name)
	}
	err := c.call(ctx, call{method: http.MethodGet, path: kmsPath + "key/status", query: query, answer: &d})
	return MasterKeyStatus{Name: d.KeyID, EncryptError: d.EncryptError, DecryptError: d.DecryptError}, err
}

// CreateMasterKey makes a master key.
func (c *Client) CreateMasterKey(ctx context.Context, name string) error {
	return c.call(ctx, call{method: http.MethodPost, path: kmsPath + "key/create", query: url.Values{"key-id": {name}}})
}
