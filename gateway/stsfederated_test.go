package gateway

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/shoal-storage/shoal/internal/openid"
	"github.com/shoal-storage/shoal/internal/openid/openidtest"
)

// serveTrusting serves an office that trusts a provider.
func serveTrusting(t *testing.T) (*office, *openidtest.Provider) {
	t.Helper()
	there := openidtest.New(t)
	transport := &http.Transport{}
	provider, err := openid.New(openid.Config{URL: there.Discovery(), ClientID: "shoal", Claim: "policy", Client: &http.Client{Transport: transport}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	o := serveOfficeWith(t, func(cfg *Config) { cfg.OpenID = provider })
	t.Cleanup(transport.CloseIdleConnections) // before the office counts what is left
	return o, there
}

// tokenOf returns a token of somebody with policies.
func tokenOf(t *testing.T, p *openidtest.Provider, subject, policies string, life time.Duration) string {
	t.Helper()
	return p.Sign(t, jose.RS256, map[string]any{"iss": p.URL, "sub": subject, "aud": "shoal", "exp": time.Now().Add(life).Unix(), "policy": policies})
}

// federated calls an action whose caller does not sign.
func federated(action string, parameters ...string) call {
	c := sts("", action, parameters...)
	c.anonymous = true
	return c
}

func TestABearerOfATokenDoesWhatItsPoliciesAllow(t *testing.T) {
	o, there := serveTrusting(t)
	o.must(t, o.directory.SetPolicy(t.Context(), "home", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/${jwt:sub}/*"}]}`))
	token := tokenOf(t, there, "eve", "home", time.Hour)
	for action, parameter := range map[string]string{"AssumeRoleWithWebIdentity": "WebIdentityToken", "AssumeRoleWithClientGrants": "Token"} {
		body := o.ok(federated(action, parameter, token, "RoleSessionName", "job")).body
		var answer struct {
			Web, Grants struct {
				Made temporary `xml:"Credentials"`
			}
		}
		body = strings.NewReplacer("AssumeRoleWithWebIdentityResult", "Web", "AssumeRoleWithClientGrantsResult", "Grants").Replace(body)
		o.must(t, xml.Unmarshal([]byte(body), &answer))
		made := answer.Web.Made
		if action == "AssumeRoleWithClientGrants" {
			made = answer.Grants.Made
		}
		o.ok(made.as(call{method: "PUT", path: "/bucket/eve/k", body: "x"}))
		o.refused("AccessDenied", made.as(call{method: "PUT", path: "/bucket/ann/k", body: "x"}))
		if got := o.ok(made.as(sts("", "GetCallerIdentity"))).body; !strings.Contains(got, "openid=eve") {
			t.Errorf("%s: %s", action, got)
		}
	}
}

func TestBearersOfTwoProvidersAreDifferentPeople(t *testing.T) {
	one, other := openidtest.New(t), openidtest.New(t)
	transport := &http.Transport{}
	trust := func(name string, p *openidtest.Provider) openid.Config {
		return openid.Config{Name: name, URL: p.Discovery(), ClientID: "shoal", Claim: "policy", Client: &http.Client{Transport: transport}, Now: time.Now}
	}
	everybodys := trust("JOBS", other)
	everybodys.ClientID, everybodys.Policies = "jobs", []string{"readonly"}
	providers, err := openid.New(trust("", one), trust("DEX", other), everybodys)
	if err != nil {
		t.Fatal(err)
	}
	o := serveOfficeWith(t, func(cfg *Config) { cfg.OpenID = providers })
	t.Cleanup(transport.CloseIdleConnections) // before the office counts what is left
	const action, parameter = "AssumeRoleWithWebIdentity", "WebIdentityToken"
	for name, p := range map[string]*openidtest.Provider{"openid=eve": one, "openid.DEX=eve": other} {
		body := o.ok(federated(action, parameter, tokenOf(t, p, "eve", "readonly", time.Hour))).body
		if !strings.Contains(body, "<AssumedRoleId>"+name+"</") || !strings.Contains(body, "<Provider>"+p.URL+"</Provider>") {
			t.Errorf("%s: %s", name, body)
		}
	}
	token := tokenOf(t, other, "eve", "readonly", time.Hour)
	if got := stsCode(t, o.do(federated(action, parameter, token, "RoleArn", "arn:minio:iam:::role/other"))); got != "InvalidParameterValue" {
		t.Errorf("a role that there is not: %q", got)
	}
	if got := stsCode(t, o.do(federated(action, parameter, token, "RoleArn", everybodys.Role()))); got != "InvalidIdentityToken" {
		t.Errorf("a role for another client: %q", got)
	}
}

func TestABearerWhoIsRefusedIsToldWhy(t *testing.T) {
	const action, parameter = "AssumeRoleWithWebIdentity", "WebIdentityToken"
	if got := stsCode(t, serveOffice(t).do(federated(action, parameter, "x"))); got != "InvalidAction" {
		t.Errorf("without a provider: %q", got)
	}
	o, there := serveTrusting(t)
	for what, tt := range map[string]struct{ token, want string }{
		"a good token":        {tokenOf(t, there, "eve", "readonly", time.Hour), ""},
		"an expired one":      {tokenOf(t, there, "eve", "readonly", -time.Hour), "ExpiredTokenException"},
		"one of another":      {tokenOf(t, openidtest.New(t), "eve", "readonly", time.Hour), "InvalidIdentityToken"},
		"none":                {"", "InvalidIdentityToken"},
		"without policies":    {tokenOf(t, there, "eve", "", time.Hour), "AccessDenied"},
		"of unknown policies": {tokenOf(t, there, "eve", "nothing", time.Hour), "AccessDenied"},
	} {
		if got := stsCode(t, o.do(federated(action, parameter, tt.token))); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
	o, there = serveTrusting(t)
	there.Down.Store(true)
	if got := stsCode(t, o.do(federated(action, parameter, tokenOf(t, there, "eve", "readonly", time.Hour)))); got != "IDPCommunicationError" {
		t.Errorf("a provider that is down: %q", got)
	}
}
