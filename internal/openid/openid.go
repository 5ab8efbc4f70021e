// Package openid finds out who bears a token of an OpenID Connect provider: it verifies
// tokens (RFC 7519) under the keys that a trusted one publishes, and reads what they claim
// (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation).
package openid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The errors of Identify.
var (
	ErrToken       = errors.New("openid: the token is not valid")
	ErrExpired     = errors.New("openid: the token has expired")
	ErrUnavailable = errors.New("openid: the provider cannot be asked for its keys")
	ErrRole        = errors.New("openid: there is no such role")
	ErrNone        = errors.New("openid: no provider is trusted")
)

// provider is one that is trusted.
type provider struct {
	cfg  Config
	keys *keys // those of providers with one discovery document are the same
}

// Identity is who bears a token.
type Identity struct {
	Provider        string // its name, "" if it has none
	Issuer, Subject string
	Audience        string // the client that the token is for
	Policies        []string
	Claims          map[string][]string // by their names in policies, such as "jwt:sub"
}

const (
	maxToken    = 32 << 10 // bytes
	maxSubject  = 255      // bytes, as OpenID Connect has it
	maxClaim    = 256      // bytes of a value that policies can ask for
	maxValues   = 64       // of one claim
	maxPolicies = 100
	leeway      = 10 * time.Second // between the clocks of provider and gateway
)

// algorithms are those of signatures that are accepted: all with public keys. A token
// cannot choose that its signature is made under what anybody knows.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// identify returns who bears the token. The errors are ErrToken, ErrExpired and
// ErrUnavailable.
func (p *provider) identify(ctx context.Context, token *jwt.JSONWebToken) (Identity, error) {
	var claims jwt.Claims
	var further map[string]json.RawMessage
	issuer, err := p.keys.each(ctx, token.Headers[0], func(key any) error {
		return token.Claims(key, &claims, &further)
	})
	if err != nil {
		return Identity{}, err
	}
	err = claims.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{p.cfg.ClientID}, Time: p.cfg.Now()}, leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return Identity{}, fmt.Errorf("%w: %w", ErrExpired, err)
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	case claims.Expiry == nil, claims.Subject == "", len(claims.Subject) > maxSubject:
		return Identity{}, fmt.Errorf("%w: it has no end, or no subject", ErrToken)
	}
	return p.identity(&claims, further), nil
}

// identity returns who verified claims are of.
func (p *provider) identity(claims *jwt.Claims, further map[string]json.RawMessage) Identity {
	id := Identity{
		Provider: p.cfg.Name, Issuer: claims.Issuer, Subject: claims.Subject, Audience: p.cfg.ClientID, Policies: p.cfg.Policies, Claims: make(map[string][]string),
	}
	if len(id.Policies) == 0 {
		id.Policies = policies(values(further[p.cfg.Claim]))
	}
	for _, name := range strings.Fields(told) {
		have := values(further[name])
		have = slices.DeleteFunc(have, func(v string) bool { return len(v) > maxClaim })
		if len(have) > 0 {
			id.Claims["jwt:"+name] = have[:min(len(have), maxValues)]
		}
	}
	return id
}

// told are the claims that policies can ask for.
const told = ` sub iss aud jti upn name groups given_name family_name middle_name nickname preferred_username profile picture website email
 gender birthdate phone_number address scope client_id `

// values returns a claim that is a text, or a list of texts.
func values(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		return nil
	}
	return many
}

// policies returns the names in a claim, each value of which may hold several with
// commas between them.
func policies(claim []string) []string {
	var names []string
	for _, value := range claim {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" && len(names) < maxPolicies && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
