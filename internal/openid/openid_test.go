package openid_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/shoal-storage/shoal/internal/openid"
	"github.com/shoal-storage/shoal/internal/openid/openidtest"
)

// bench is a provider and one who trusts it.
type bench struct {
	t     *testing.T
	there *openidtest.Provider
	here  *openid.Providers
	now   atomic.Int64 // seconds
}

const noon = 1767268800 // 2026-01-01 12:00

func start(t *testing.T, policies ...string) *bench {
	t.Helper()
	b := &bench{t: t, there: openidtest.New(t)}
	b.now.Store(noon)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	var err error
	b.here, err = openid.New(openid.Config{
		URL: b.there.Discovery(), ClientID: "shoal", Claim: "policy", Policies: policies, Client: &http.Client{Transport: transport},
		Now: func() time.Time { return time.Unix(b.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// claims returns what a token must claim, changed; nil leaves a claim out.
func (b *bench) claims(changes map[string]any) map[string]any {
	c := map[string]any{"iss": b.there.URL, "sub": "ann", "aud": "shoal", "exp": noon + 300, "policy": "readonly"}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (b *bench) identify(token string) (openid.Identity, error) {
	b.t.Helper()
	id, err := b.here.Identify(b.t.Context(), "", token)
	if err != nil && id.Subject != "" {
		b.t.Errorf("an error, and %+v", id)
	}
	return id, err
}

// wants identifies a token and fails the test unless the error is as wanted.
func (b *bench) wants(what, token string, want error) {
	b.t.Helper()
	if _, err := b.identify(token); !errors.Is(err, want) {
		b.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestATokenTellsWhoBearsIt(t *testing.T) {
	b := start(t)
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA} {
		b.there.Rotate(t, algorithm)
		b.now.Add(15)
		id, err := b.identify(b.there.Sign(t, algorithm, b.claims(map[string]any{"groups": []string{"devs", "ops"}, "email": "ann@example.com", "secret": "x"})))
		if err != nil || id.Subject != "ann" || id.Issuer != b.there.URL || !slices.Equal(id.Policies, []string{"readonly"}) {
			t.Errorf("%s: %+v, %v", algorithm, id, err)
		}
		if !slices.Equal(id.Claims["jwt:groups"], []string{"devs", "ops"}) || len(id.Claims["jwt:email"]) != 1 || id.Claims["jwt:secret"] != nil {
			t.Errorf("%s: %v", algorithm, id.Claims)
		}
	}
}

func TestATokenThatIsNotForUsIsRefused(t *testing.T) {
	b := start(t)
	for what, tt := range map[string]struct {
		changes map[string]any
		want    error
	}{
		"as it must be":             {nil, nil},
		"of several audiences":      {map[string]any{"aud": []string{"other", "shoal"}}, nil},
		"of another issuer":         {map[string]any{"iss": "https://example.com"}, openid.ErrToken},
		"of no issuer":              {map[string]any{"iss": nil}, openid.ErrToken},
		"for another":               {map[string]any{"aud": "other"}, openid.ErrToken},
		"for nobody":                {map[string]any{"aud": nil}, openid.ErrToken},
		"of nobody":                 {map[string]any{"sub": nil}, openid.ErrToken},
		"of a subject too long":     {map[string]any{"sub": strings.Repeat("s", 256)}, openid.ErrToken},
		"without an end":            {map[string]any{"exp": nil}, openid.ErrToken},
		"that has ended":            {map[string]any{"exp": noon - 60}, openid.ErrExpired},
		"that has not begun":        {map[string]any{"nbf": noon + 60}, openid.ErrToken},
		"that has begun":            {map[string]any{"nbf": noon - 60}, nil},
		"with an end that is none":  {map[string]any{"exp": "soon"}, openid.ErrToken},
		"with a list for a subject": {map[string]any{"sub": []string{"ann"}}, openid.ErrToken},
	} {
		b.wants(what, b.there.Sign(t, jose.RS256, b.claims(tt.changes)), tt.want)
	}
}

func TestATokenThatTheProviderDidNotSignIsRefused(t *testing.T) {
	b := start(t)
	good := b.there.Sign(t, jose.RS256, b.claims(nil))
	b.wants("signed", good, nil)
	foreign := openidtest.New(t)
	b.wants("by another, of the same key ID", foreign.Sign(t, jose.RS256, b.claims(nil)), openid.ErrToken)
	parts := strings.Split(good, ".")
	other := strings.Split(b.there.Sign(t, jose.RS256, b.claims(map[string]any{"sub": "root"})), ".")
	b.wants("with another content", parts[0]+"."+other[1]+"."+parts[2], openid.ErrToken)
	b.wants("without a signature", parts[0]+"."+parts[1]+".", openid.ErrToken)
	b.wants("of algorithm none", "eyJhbGciOiJub25lIn0."+parts[1]+".", openid.ErrToken)
	b.wants("of nothing", "", openid.ErrToken)
	b.wants("that is too long", good+strings.Repeat("A", 33<<10), openid.ErrToken)
	symmetric, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte("secret"), KeyID: "symmetric"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jwt.Signed(symmetric).Claims(b.claims(nil)).Serialize()
	if err != nil {
		t.Skip("the library makes none of such a key:", err)
	}
	b.wants("under a key that is no secret", forged, openid.ErrToken)
}

func TestKeysThatTheProviderChangesAreFollowed(t *testing.T) {
	b := start(t)
	old := b.there.Sign(t, jose.RS256, b.claims(nil))
	b.wants("the first key", old, nil)
	b.there.Rotate(t, jose.RS256)
	fresh := b.there.Sign(t, jose.RS256, b.claims(nil))
	b.wants("a new key, a moment later", fresh, openid.ErrToken) // it has been asked just now
	b.now.Add(15)
	b.wants("a new key", fresh, nil)
	b.wants("the former key", old, openid.ErrToken)
}

func TestStrangersCannotHaveTheProviderBeAskedOften(t *testing.T) {
	b := start(t)
	foreign := openidtest.New(t)
	foreign.Rotate(t, jose.RS256) // of another key ID
	for range 100 {
		b.wants("a foreign token", foreign.Sign(t, jose.RS256, b.claims(nil)), openid.ErrToken)
	}
	if n := b.there.Asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAProviderThatDoesNotAnswerIsDoneWithoutForADay(t *testing.T) {
	b := start(t)
	b.there.Down.Store(true)
	token := b.there.Sign(t, jose.RS256, b.claims(map[string]any{"exp": noon + 1000000}))
	b.wants("never seen", token, openid.ErrUnavailable)
	b.there.Down.Store(false)
	b.now.Add(15)
	b.wants("seen", token, nil)
	b.there.Down.Store(true)
	b.now.Add(23 * 3600)
	b.wants("down since long", token, nil)
	b.now.Add(2 * 3600)
	b.wants("down since more than a day", token, openid.ErrUnavailable)
}

func TestPoliciesComeFromTheClaimOrAreEverybodys(t *testing.T) {
	for what, tt := range map[string]struct {
		everybodys []string
		claim      any
		want       []string
	}{
		"a name":        {nil, "a", []string{"a"}},
		"names":         {nil, "a, b,,a", []string{"a", "b"}},
		"a list":        {nil, []string{"a", "b,c"}, []string{"a", "b", "c"}},
		"none":          {nil, nil, nil},
		"something odd": {nil, map[string]string{"a": "b"}, nil},
		"everybody's":   {[]string{"x"}, "a", []string{"x"}},
	} {
		b := start(t, tt.everybodys...)
		id, err := b.identify(b.there.Sign(t, jose.RS256, b.claims(map[string]any{"policy": tt.claim})))
		if err != nil || !slices.Equal(id.Policies, tt.want) {
			t.Errorf("%s: %v, %v, want %v", what, id.Policies, err, tt.want)
		}
	}
}

func TestSettingsThatTrustNobodyOrEverybodyAreRefused(t *testing.T) {
	for what, cfg := range map[string]openid.Config{
		"no URL":       {ClientID: "x", Claim: "policy"},
		"another URL":  {URL: "ftp://example.com", ClientID: "x", Claim: "policy"},
		"no client ID": {URL: "https://example.com", Claim: "policy"},
		"no policies":  {URL: "https://example.com", ClientID: "x"},
	} {
		if _, err := openid.New(cfg); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// several returns who trusts providers. The URL of each of the settings is an index of
// there.
func several(t *testing.T, there []*openidtest.Provider, cfgs ...openid.Config) *openid.Providers {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	for i := range cfgs {
		index := int(cfgs[i].URL[0] - '0')
		cfgs[i].URL, cfgs[i].Claim = there[index].Discovery(), "policy"
		cfgs[i].Client, cfgs[i].Now = &http.Client{Transport: transport}, func() time.Time { return time.Unix(noon, 0) }
	}
	p, err := openid.New(cfgs...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestATokenChoosesItsProviderByIssuerAndAudience(t *testing.T) {
	there := []*openidtest.Provider{openidtest.New(t), openidtest.New(t)}
	everybodys := openid.Config{Name: "EVERYBODY", URL: "0", ClientID: "jobs", Policies: []string{"readonly"}}
	here := several(t, there, everybodys, openid.Config{Name: "OTHER", URL: "1", ClientID: "shoal"}, openid.Config{URL: "0", ClientID: "shoal"})
	for _, tt := range []struct {
		by       int
		aud      any
		role     string
		provider string
		policies string
		want     error
	}{
		{0, "shoal", "", "", "mine", nil},
		{1, "shoal", "", "OTHER", "mine", nil},
		{0, "jobs", "", "EVERYBODY", "readonly", nil},
		{0, []string{"jobs", "shoal"}, "", "", "mine", nil}, // what a token says goes first
		{0, []string{"jobs", "shoal"}, everybodys.Role(), "EVERYBODY", "readonly", nil},
		{0, "shoal", "arn:aws:iam::000000000000:role/any", "", "mine", nil},
		{0, "shoal", everybodys.Role(), "", "", openid.ErrToken},
		{1, "jobs", "", "", "", openid.ErrToken},
		{1, "jobs", everybodys.Role(), "", "", openid.ErrToken},
		{0, "jobs", "arn:minio:iam:::role/other", "", "", openid.ErrRole},
	} {
		token := there[tt.by].Sign(t, jose.RS256, map[string]any{"iss": there[tt.by].URL, "sub": "ann", "aud": tt.aud, "exp": noon + 300, "policy": "mine"})
		id, err := here.Identify(t.Context(), tt.role, token)
		if id.Provider != tt.provider || strings.Join(id.Policies, ",") != tt.policies || !errors.Is(err, tt.want) {
			t.Errorf("%+v: %q, %q, %v", tt, id.Provider, id.Policies, err)
		}
	}
	if n := there[0].Asked.Load(); n != 1 {
		t.Errorf("one that is trusted twice was asked %d times", n)
	}
}

func TestAProviderCannotSignForAnother(t *testing.T) {
	there := []*openidtest.Provider{openidtest.New(t), openidtest.New(t)}
	here := several(t, there, openid.Config{Name: "A", URL: "0", ClientID: "shoal"}, openid.Config{Name: "B", URL: "1", ClientID: "shoal"})
	for range 2 { // before it is known who issues what, and after
		forged := there[0].Sign(t, jose.RS256, map[string]any{"iss": there[1].URL, "sub": "ann", "aud": "shoal", "exp": noon + 300})
		if id, err := here.Identify(t.Context(), "", forged); !errors.Is(err, openid.ErrToken) {
			t.Errorf("%+v, %v", id, err)
		}
	}
}

func TestAProviderThatIsDownDoesNotConcernTheTokensOfOthers(t *testing.T) {
	there := []*openidtest.Provider{openidtest.New(t), openidtest.New(t)}
	here := several(t, there, openid.Config{Name: "A", URL: "0", ClientID: "shoal"}, openid.Config{Name: "B", URL: "1", ClientID: "shoal"})
	there[0].Down.Store(true)
	for i, want := range []error{openid.ErrUnavailable, nil} {
		token := there[i].Sign(t, jose.RS256, map[string]any{"iss": there[i].URL, "sub": "ann", "aud": "shoal", "exp": noon + 300})
		if _, err := here.Identify(t.Context(), "", token); !errors.Is(err, want) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestWithoutAProviderNoTokenIsTaken(t *testing.T) {
	if id, err := several(t, nil).Identify(t.Context(), "", "x"); !errors.Is(err, openid.ErrNone) {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestProvidersThatCannotBeToldApartAreRefused(t *testing.T) {
	one := openid.Config{Name: "A", URL: "https://a", ClientID: "x", Claim: "policy"}
	everybodys := openid.Config{Name: "B", URL: "https://b", ClientID: "x", Policies: []string{"readonly"}}
	for what, tt := range map[string]struct {
		a, b openid.Config
		key  string // of the setting that is wrong; "": none is
	}{
		"another URL":            {one, openid.Config{Name: "B", URL: "https://b", ClientID: "x", Claim: "policy"}, ""},
		"another client":         {one, openid.Config{Name: "B", URL: "https://a", ClientID: "y", Claim: "policy"}, ""},
		"a role beside":          {one, openid.Config{Name: "B", URL: "https://a", ClientID: "x", Policies: []string{"readonly"}}, ""},
		"the same":               {one, openid.Config{Name: "B", URL: "https://a", ClientID: "x", Claim: "groups"}, openid.ClientID},
		"the same name":          {one, openid.Config{Name: "A", URL: "https://b", ClientID: "x", Claim: "policy"}, openid.ConfigURL},
		"the same name of roles": {everybodys, openid.Config{Name: "C", URL: "https://c", ClientID: "x", Policies: []string{"readwrite"}}, openid.ClientID},
	} {
		_, err := openid.New(tt.a, tt.b)
		var wrong *openid.SettingError
		if (err == nil) != (tt.key == "") || err != nil && (!errors.As(err, &wrong) || wrong.Key != tt.key) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	there := openidtest.New(f)
	here, err := openid.New(openid.Config{URL: there.Discovery(), ClientID: "shoal", Claim: "policy", Client: http.DefaultClient, Now: func() time.Time { return time.Unix(noon, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	good := there.Sign(f, jose.RS256, map[string]any{"iss": there.URL, "sub": "ann", "aud": "shoal", "exp": noon + 300})
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := here.Identify(t.Context(), "", token); err == nil && id.Subject != "ann" || err != nil && !errors.Is(err, openid.ErrToken) {
			t.Errorf("%+v, %v", id, err)
		}
	})
}
