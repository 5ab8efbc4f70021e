// Package openidtest has an OpenID provider for tests.
package openidtest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Provider publishes keys and signs tokens. Its methods may be called concurrently.
type Provider struct {
	URL   string // of the issuer
	Asked atomic.Int64
	Down  atomic.Bool // it answers with an error

	mu   sync.Mutex
	next int
	keys map[jose.SignatureAlgorithm]jose.JSONWebKey // private
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{keys: make(map[jose.SignatureAlgorithm]jose.JSONWebKey)}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.Asked.Add(1)
		p.answer(w, p.published())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	p.Rotate(t, jose.RS256)
	return p
}

// Discovery returns the URL of the discovery document.
func (p *Provider) Discovery() string { return p.URL + "/.well-known/openid-configuration" }

func (p *Provider) answer(w http.ResponseWriter, document any) {
	text, err := json.Marshal(document)
	if err != nil || p.Down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Write(text) //nolint:errcheck // the client sees what is missing
}

// published returns the public keys, and before them two that cannot verify tokens: one
// of a kind that nobody knows, and one that is no secret.
func (p *Provider) published() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := []any{map[string]any{"kty": "none of these"}, map[string]any{"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"}}
	for _, key := range p.keys {
		keys = append(keys, key.Public())
	}
	return map[string]any{"keys": keys}
}

// Rotate has a new key in the place of the one of an algorithm.
func (p *Provider) Rotate(t testing.TB, algorithm jose.SignatureAlgorithm) {
	t.Helper()
	generate, special := map[jose.SignatureAlgorithm]func() (any, error){
		jose.ES256: func() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		jose.EdDSA: func() (any, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		},
	}[algorithm]
	if !special {
		generate = func() (any, error) { return rsa.GenerateKey(rand.Reader, 2048) }
	}
	key, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	p.keys[algorithm] = jose.JSONWebKey{Key: key, KeyID: fmt.Sprint("key", p.next), Algorithm: string(algorithm), Use: "sig"}
}

// Sign returns a token with claims.
func (p *Provider) Sign(t testing.TB, algorithm jose.SignatureAlgorithm, claims map[string]any) string {
	t.Helper()
	p.mu.Lock()
	key := p.keys[algorithm]
	p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
