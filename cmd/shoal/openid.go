package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/internal/openid"
)

// openidTimeout bounds one question to an OpenID provider.
const openidTimeout = 5 * time.Second

// openidFlags are the flags about an OpenID provider.
type openidFlags struct{ url, clientID, claim, policies string }

func (f *openidFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "identity-openid-config-url", "", "`URL` of the discovery document of an OpenID provider, whose tokens are taken for temporary credentials")
	fl.StringVar(&f.clientID, "identity-openid-client-id", "", "client `ID` that the tokens must be for")
	fl.StringVar(&f.claim, "identity-openid-claim-name", "policy", "`claim` of the tokens that names policies")
	fl.StringVar(&f.policies, "identity-openid-role-policy", "", "comma-separated `policies` of everybody with a token, in the place of those that it names")
}

// provider returns the OpenID provider, nil if there is none.
func (f *openidFlags) provider() (*openid.Provider, error) {
	if f.url == "" {
		if f.clientID != "" || f.policies != "" {
			return nil, usage("there are settings of an OpenID provider, and --identity-openid-config-url is missing", "set it, or leave the others out")
		}
		return nil, nil
	}
	policies := strings.FieldsFunc(f.policies, func(c rune) bool { return c == ',' || c == ' ' })
	p, err := openid.New(openid.Config{
		URL: f.url, ClientID: f.clientID, Claim: f.claim, Policies: policies, Client: &http.Client{Timeout: openidTimeout}, Now: time.Now,
	})
	if err != nil {
		return nil, usage(err.Error(), "--identity-openid-config-url and --identity-openid-client-id are needed")
	}
	return p, nil
}
