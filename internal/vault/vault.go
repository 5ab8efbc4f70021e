// Package vault keeps master keys in HashiCorp Vault: its transit engine encrypts
// and decrypts, and never gives them out
// (https://developer.hashicorp.com/vault/api-docs/secret/transit).
package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/sse"
)

// Config says where the keys are. All but Namespace is required.
type Config struct {
	Address   string // of Vault, an URL
	Namespace string // of Vault Enterprise, or ""
	Mount     string // where the transit engine is mounted
	Key       string // name of the default key
	Login     Login
	HTTP      *http.Client
	Timeout   time.Duration // of one call
}

// Client is sse.MasterKeys of a Vault.
type Client struct {
	cfg  Config
	base string
	now  func() time.Time

	token atomic.Pointer[string] // nil before the first login

	mu     sync.Mutex // held by who logs in, or asks about the token; the others use it meanwhile
	tried  time.Time  // when there was a login last
	good   bool       // the token is taken at all
	judged time.Time  // when that was found out
}

// New returns a Client. It makes no call.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("the address of Vault is not an URL such as https://vault:8200")
	}
	if !sse.ValidKeyName(cfg.Key) {
		return nil, errors.New("the name of the key in Vault is empty, or has characters other than letters, digits and ._-")
	}
	mount := strings.Trim(cfg.Mount, "/")
	if mount == "" || strings.ContainsAny(mount, "?#%") || strings.Contains(mount, "..") {
		return nil, errors.New("the mount of Vault's transit engine is not a path such as transit")
	}
	return &Client{cfg: cfg, base: strings.TrimSuffix(cfg.Address, "/") + "/v1/" + mount, now: time.Now}, nil
}

// Default implements sse.MasterKeys.
func (c *Client) Default() string { return c.cfg.Key }

// HasVersions implements sse.MasterKeys: each key of Vault can be rotated.
func (c *Client) HasVersions(string) bool { return true }

// Wrap implements sse.MasterKeys. Vault encrypts a key that is used for nothing
// else; it binds the context, so that this does not need a Vault that can.
func (c *Client) Wrap(ctx context.Context, name string, key sse.Key, bound []byte) ([]byte, error) {
	between := sse.NewKey()
	var data struct{ Ciphertext string }
	err := c.call(ctx, http.MethodPost, "encrypt/"+name, map[string]string{"plaintext": base64.StdEncoding.EncodeToString(between[:])}, &data)
	if err != nil {
		return nil, err
	}
	if data.Ciphertext == "" {
		return nil, errors.New("vault answered without a ciphertext")
	}
	return append(between.Wrap(key, bound), data.Ciphertext...), nil
}

// Unwrap implements sse.MasterKeys.
func (c *Client) Unwrap(ctx context.Context, name string, wrapped, bound []byte) (sse.Key, error) {
	if len(wrapped) <= sse.WrappedSize {
		return sse.Key{}, sse.ErrWrongKey
	}
	var data struct{ Plaintext string }
	if err := c.call(ctx, http.MethodPost, "decrypt/"+name, map[string]string{"ciphertext": string(wrapped[sse.WrappedSize:])}, &data); err != nil {
		return sse.Key{}, err
	}
	between, err := base64.StdEncoding.DecodeString(data.Plaintext)
	if err != nil || len(between) != sse.KeySize {
		return sse.Key{}, errors.New("vault answered with what is no key")
	}
	return sse.Key(between).Unwrap(wrapped[:sse.WrappedSize], bound)
}

// Names implements sse.MasterKeys. It needs the capability to list keys.
func (c *Client) Names(ctx context.Context) ([]string, error) {
	var data struct{ Keys []string }
	err := c.call(ctx, http.MethodGet, "keys?list=true", nil, &data)
	return data.Keys, err
}

// Create implements sse.MasterKeys. It needs the capability to create keys.
func (c *Client) Create(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "keys/"+name, map[string]string{"type": "aes256-gcm96"}, new(any))
}

// Check makes a call that fails if keys of a name cannot be used.
func (c *Client) Check(ctx context.Context, name string) error {
	wrapped, err := c.Wrap(ctx, name, sse.Key{}, nil)
	if err == nil {
		_, err = c.Unwrap(ctx, name, wrapped, nil)
	}
	return err
}

// call calls the transit engine, and logs in where that is needed. What is forbidden to a
// token that Vault takes otherwise is sse.ErrDenied.
func (c *Client) call(ctx context.Context, method, path string, body, data any) error {
	token, err := c.first(ctx)
	if err != nil {
		return err
	}
	err = c.send(ctx, method, c.base+"/"+path, token, body, &struct{ Data any }{data})
	if !errors.Is(err, errForbidden) {
		return err
	}
	renewed, granted, lost := c.renew(ctx, token)
	if renewed != token {
		err = c.send(ctx, method, c.base+"/"+path, renewed, body, &struct{ Data any }{data})
		if !errors.Is(err, errForbidden) {
			return err
		}
	}
	good, unknown := c.takes(ctx, renewed, granted)
	if good {
		return fmt.Errorf("%w: %w", sse.ErrDenied, err)
	}
	return errors.Join(err, lost, unknown)
}

// errForbidden is returned where Vault does not take the token, or not for this: its
// answer does not tell which.
var errForbidden = errors.New("vault forbids it")

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// send makes one call. An answer without a body leaves answer as it is.
func (c *Client) send(ctx context.Context, method, target, token string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := c.request(ctx, method, target, token, body)
	if err != nil {
		return fmt.Errorf("call vault: %w", err)
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("call vault: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read from
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read vault's answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return refusal(resp.StatusCode, text)
	}
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read vault's answer: %w", err)
	}
	return nil
}

// request makes a request; body may be nil.
func (c *Client) request(ctx context.Context, method, target, token string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if c.cfg.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.cfg.Namespace)
	}
	return req, nil
}

// refusal is the error of an answer that refuses
// (https://developer.hashicorp.com/vault/api-docs#error-response).
func refusal(status int, text []byte) error {
	var answer struct{ Errors []string }
	_ = json.Unmarshal(text, &answer)                                            // a proxy may have answered
	said := strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " ") // Vault lists errors on lines
	err := fmt.Errorf("vault answers %d: %.300s", status, said)
	switch {
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", errForbidden, err)
	case status == http.StatusNotFound, strings.Contains(said, "key not found"):
		return errors.Join(sse.ErrNoMasterKey, err)
	case strings.Contains(said, "message authentication failed"), strings.Contains(said, "invalid ciphertext"):
		return errors.Join(sse.ErrWrongKey, err)
	}
	return err
}
