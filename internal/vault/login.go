package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Login is a way to get a token. It is gone again when Vault forbids something to the
// token from before.
type Login struct {
	token  func(ctx context.Context, c *Client) (string, error)
	grants bool // Vault makes a new token each time
}

// Token logs in with a token that read returns; it may be another one later, as in
// the file that Vault Agent renews.
func Token(read func() (string, error)) Login {
	return Login{token: func(context.Context, *Client) (string, error) {
		token, err := read()
		if err == nil && token == "" {
			err = errors.New("the token is empty")
		}
		return token, err
	}}
}

// AppRole logs in with a role and its secret, at the mount of that method
// (https://developer.hashicorp.com/vault/api-docs/auth/approle).
func AppRole(mount, role, secret string) Login {
	return Login{grants: true, token: func(ctx context.Context, c *Client) (string, error) {
		var answer struct {
			Auth struct {
				Token string `json:"client_token"`
			}
		}
		err := c.send(ctx, http.MethodPost, c.auth(strings.Trim(mount, "/")+"/login"), "", map[string]string{"role_id": role, "secret_id": secret}, &answer)
		if err == nil && answer.Auth.Token == "" {
			err = errors.New("vault answered without a token")
		}
		return answer.Auth.Token, err
	}}
}

// auth returns the URL of a call about logins.
func (c *Client) auth(path string) string {
	return strings.TrimSuffix(c.cfg.Address, "/") + "/v1/auth/" + path
}

// A client that names keys that are denied costs no more than a login and a look at the
// token in these times. What Vault grants stays there until its lease ends, so there is
// more time between logins.
const (
	loginPause = time.Minute
	judgePause = 3 * time.Second
)

// first returns the token in use.
func (c *Client) first(ctx context.Context) (string, error) {
	if token := c.current(); token != "" {
		return token, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if token := c.current(); token != "" {
		return token, nil
	}
	err := c.login(ctx)
	return c.current(), err
}

// current returns the token in use, "" if there is none yet.
func (c *Client) current() string {
	if token := c.token.Load(); token != nil {
		return *token
	}
	return ""
}

// renew returns a token that is not the one that was refused, if there is another one, and
// whether Vault has granted it for this. A token that is good is kept for a while where a
// new one has to be granted: what was refused will be most likely again.
func (c *Client) renew(ctx context.Context, refused string) (token string, granted bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token := c.current(); token != refused {
		return token, false, nil
	}
	if c.cfg.Login.grants && c.now().Sub(c.tried) < loginPause {
		if good, err := c.judge(ctx); good || err != nil {
			return refused, false, err
		}
	}
	err = c.login(ctx)
	return c.current(), err == nil && c.cfg.Login.grants, err
}

// login gets a token. If it fails, that from before stays. The caller holds mu.
func (c *Client) login(ctx context.Context) error {
	c.tried = c.now()
	token, err := c.cfg.Login.token(ctx, c)
	if err != nil {
		return fmt.Errorf("log in to vault: %w", err)
	}
	if token != c.current() {
		c.token.Store(&token)
		c.judged = time.Time{}
	}
	return nil
}

// takes reports whether Vault takes a token, to which it has forbidden something. One that
// it has just granted it takes, even if it may not be asked about it.
func (c *Client) takes(ctx context.Context, token string, granted bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token != c.current() {
		return false, nil // it was replaced meanwhile
	}
	if granted {
		c.good, c.judged = true, c.now()
	}
	return c.judge(ctx)
}

// judge asks Vault whether it takes the token in use, unless it was asked just now. The caller holds mu
// (https://developer.hashicorp.com/vault/api-docs/auth/token#lookup-a-token-self).
func (c *Client) judge(ctx context.Context) (bool, error) {
	if !c.judged.IsZero() && c.now().Sub(c.judged) < judgePause {
		return c.good, nil
	}
	err := c.send(ctx, http.MethodGet, c.auth("token/lookup-self"), c.current(), nil, new(any))
	if err != nil && !errors.Is(err, errForbidden) {
		return false, fmt.Errorf("ask vault whether it takes the token: %w", err)
	}
	c.good, c.judged = err == nil, c.now()
	return c.good, nil
}
