package openid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxDocument = 1 << 20 // bytes of what a provider publishes

	// How long keys are used before the provider is asked again, and how long at most
	// if it does not answer.
	keysAge    = time.Hour
	maxKeysAge = 24 * time.Hour
	// pause is the least time between two questions: anybody can send tokens of keys
	// that there are not.
	pause = 10 * time.Second
)

// keys are those that a provider publishes. It is asked when they are needed first, when
// they have become old, and when none verifies a token: providers change keys.
type keys struct {
	url    string
	client *http.Client
	now    func() time.Time
	have   atomic.Pointer[published] // nil: nothing yet

	turn   chan struct{} // whoever has put something in may touch what follows
	asked  time.Time
	failed error // of the last question
}

// published is what a provider has published. It does not change.
type published struct {
	issuer string
	keys   []jose.JSONWebKey
	at     time.Time
}

// each calls try with each key that a token's header fits, until it returns nil, and
// returns the issuer. The errors are ErrToken and ErrUnavailable.
func (k *keys) each(ctx context.Context, header jose.Header, try func(key any) error) (issuer string, err error) {
	have := k.have.Load()
	if have == nil || k.now().Sub(have.at) >= keysAge {
		if have, err = k.after(ctx, have); err != nil {
			return "", err
		}
	}
	if have.tries(header, try) {
		return have.issuer, nil
	}
	fresh, err := k.after(ctx, have)
	if err != nil {
		return "", err
	}
	if fresh == have || !fresh.tries(header, try) {
		return "", fmt.Errorf("%w: no key verifies its signature", ErrToken)
	}
	return fresh.issuer, nil
}

// issuer returns that of keys which are not old, "" if there are none.
func (k *keys) issuer() string {
	if have := k.have.Load(); have != nil && k.now().Sub(have.at) < keysAge {
		return have.issuer
	}
	return ""
}

// tries reports whether try returns nil for a key that the header fits.
func (p *published) tries(header jose.Header, try func(key any) error) bool {
	for _, key := range p.keys {
		fits := (header.KeyID == "" || key.KeyID == header.KeyID) && (key.Algorithm == "" || key.Algorithm == header.Algorithm)
		if fits && key.Use != "enc" && key.IsPublic() && try(key.Key) == nil {
			return true
		}
	}
	return false
}

// after returns what is published after old was, which may be nil. That is old itself if
// the provider has been asked a moment ago, or does not answer.
func (k *keys) after(ctx context.Context, old *published) (*published, error) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	defer func() { <-k.turn }()
	now := k.now()
	if k.have.Load() == old && now.Sub(k.asked) >= pause {
		k.asked = now
		fresh, err := k.fetch(ctx, now)
		if k.failed = err; err == nil {
			k.have.Store(fresh)
		}
	}
	have := k.have.Load()
	if have == nil || now.Sub(have.at) >= maxKeysAge {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, k.failed)
	}
	return have, nil
}

// fetch asks the provider. Keys that are of no use here are left out.
func (k *keys) fetch(ctx context.Context, now time.Time) (*published, error) {
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := k.read(ctx, k.url, &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer == "" || discovery.JWKSURI == "" {
		return nil, errors.New("openid: the discovery document names no issuer or no keys")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.read(ctx, discovery.JWKSURI, &set); err != nil {
		return nil, err
	}
	p := &published{issuer: discovery.Issuer, at: now}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil {
			p.keys = append(p.keys, key)
		}
	}
	return p, nil
}

// read reads a JSON document.
func (k *keys) read(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("openid: ask for %s: %w", url, err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("openid: ask for %s: %w", url, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read from
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("openid: ask for %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(into); err != nil {
		return fmt.Errorf("openid: read %s: %w", url, err)
	}
	return nil
}
