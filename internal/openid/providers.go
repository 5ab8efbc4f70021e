package openid

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // MinIO's names of roles are made with it, and nothing rests on it
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// Config says which provider is trusted, and with what.
type Config struct {
	Name     string       // "": it has none, as where there is one only
	URL      string       // of its discovery document
	ClientID string       // that tokens must be for
	Claim    string       // that names policies
	Policies []string     // of everybody with a token; none: those that Claim names
	Client   *http.Client // with a timeout
	Now      func() time.Time
}

// The settings of a provider, by MinIO's names.
const (
	ConfigURL  = "config_url"
	ClientID   = "client_id"
	ClaimName  = "claim_name"
	RolePolicy = "role_policy"
)

// SettingError says which setting of a provider is wrong.
type SettingError struct {
	Provider string // its name
	Key      string // ConfigURL and so on
	Problem  string
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("openid: %s of the provider %q: %s", e.Key, e.Provider, e.Problem)
}

// roles is what the names of all roles begin with.
const roles = "arn:minio:iam:::role/"

// Role returns the name of the role of everybody with a token of the provider, as MinIO
// makes it; "" if its tokens name policies.
func (c Config) Role() string {
	if len(c.Policies) == 0 {
		return ""
	}
	sum := sha1.Sum([]byte(c.ClientID)) //nolint:gosec // as above
	return roles + base64.RawURLEncoding.EncodeToString(sum[:])
}

// check returns what is wrong, nil if nothing is.
func (c Config) check() error {
	u, err := url.Parse(c.URL)
	wrong := func(key, problem string) error { return &SettingError{Provider: c.Name, Key: key, Problem: problem} }
	switch {
	case c.URL == "":
		return wrong(ConfigURL, "it is missing")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return wrong(ConfigURL, fmt.Sprintf("%q is no URL of a discovery document", c.URL))
	case c.ClientID == "":
		return wrong(ClientID, "it is missing")
	case c.Claim == "" && len(c.Policies) == 0:
		return wrong(ClaimName, "there are neither policies nor the claim that names them")
	}
	return nil
}

// Providers are those that are trusted. Their methods may be called concurrently.
type Providers struct {
	all []*provider // those whose tokens name policies come first, then by name
}

// New returns Providers. It asks them nothing yet. The error is a *SettingError.
func New(cfgs ...Config) (*Providers, error) {
	cfgs = slices.Clone(cfgs)
	slices.SortFunc(cfgs, func(a, b Config) int {
		return cmp.Or(cmp.Compare(min(len(a.Policies), 1), min(len(b.Policies), 1)), strings.Compare(a.Name, b.Name))
	})
	p := new(Providers)
	published := make(map[string]*keys)
	for i, cfg := range cfgs {
		if err := cfg.check(); err != nil {
			return nil, err
		}
		for _, before := range cfgs[:i] {
			if err := cfg.differs(before); err != nil {
				return nil, err
			}
		}
		if published[cfg.URL] == nil {
			published[cfg.URL] = &keys{url: cfg.URL, client: cfg.Client, now: cfg.Now, turn: make(chan struct{}, 1)}
		}
		p.all = append(p.all, &provider{cfg: cfg, keys: published[cfg.URL]})
	}
	return p, nil
}

// Role returns the name of the role of the provider of a name, "" if it has none.
func (p *Providers) Role(name string) string {
	for _, one := range p.all {
		if one.cfg.Name == name {
			return one.cfg.Role()
		}
	}
	return ""
}

// Has reports whether there is a provider of a name.
func (p *Providers) Has(name string) bool {
	return slices.ContainsFunc(p.all, func(one *provider) bool { return one.cfg.Name == name })
}

// differs returns why two providers could not be told apart, nil if they can.
func (c Config) differs(other Config) error {
	switch {
	case c.Name == other.Name:
		return &SettingError{Provider: c.Name, Key: ConfigURL, Problem: "there are two providers of this name"}
	case c.Role() != "" && c.Role() == other.Role():
		return &SettingError{Provider: c.Name, Key: ClientID, Problem: fmt.Sprintf("the role of the provider %q has the same name, which is made of the client ID", other.Name)}
	case c.Role() == "" && other.Role() == "" && c.URL == other.URL && c.ClientID == other.ClientID:
		return &SettingError{Provider: c.Name, Key: ClientID, Problem: fmt.Sprintf("the provider %q has the same one, at the same URL", other.Name)}
	}
	return nil
}

// Identify returns who bears the token. Its provider is the one with the role, if that is
// one of these, else the first one that has issued it to the client that it is for. The
// errors are ErrNone, ErrRole, ErrToken, ErrExpired and ErrUnavailable.
func (p *Providers) Identify(ctx context.Context, role, token string) (Identity, error) {
	if len(p.all) == 0 {
		return Identity{}, ErrNone
	}
	if len(token) > maxToken {
		return Identity{}, ErrToken
	}
	parsed, err := jwt.ParseSigned(token, algorithms())
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	var said jwt.Claims // by whoever made the token
	if err := parsed.UnsafeClaimsWithoutVerification(&said); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	among, err := p.inRole(role)
	if err != nil {
		return Identity{}, err
	}
	failed := fmt.Errorf("%w: it is of no provider, or for no client, that is trusted", ErrToken)
	for i, one := range candidates(among, said) {
		id, err := one.identify(ctx, parsed)
		switch {
		case err == nil:
			return id, nil
		case i == 0:
			failed = err
		default:
			failed = errors.Join(failed, err)
		}
	}
	return Identity{}, failed
}

// inRole returns the provider with a role, and all if it is none of ours: SDKs must name
// some.
func (p *Providers) inRole(role string) ([]*provider, error) {
	if !strings.HasPrefix(role, "arn:minio:iam:") {
		return p.all, nil
	}
	i := slices.IndexFunc(p.all, func(one *provider) bool { return one.cfg.Role() == role })
	if i < 0 {
		return nil, ErrRole
	}
	return p.all[i : i+1], nil
}

// candidates returns those of the providers that a token may be of, in their order. Of one
// that has not been asked lately nobody knows what its issuer is called; it is a candidate
// if no other is, so that one which does not answer is not waited for without need.
func candidates(among []*provider, said jwt.Claims) []*provider {
	var issued, unknown []*provider
	for _, one := range among {
		issuer := one.keys.issuer()
		switch {
		case !said.Audience.Contains(one.cfg.ClientID):
		case issuer == "":
			unknown = append(unknown, one)
		case issuer == said.Issuer:
			issued = append(issued, one)
		}
	}
	if len(issued) > 0 {
		return issued
	}
	return unknown
}
