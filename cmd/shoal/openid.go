package main

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/internal/events/target"
	"github.com/shoal-storage/shoal/internal/openid"
)

// openidTimeout bounds one question to an OpenID provider.
const openidTimeout = 5 * time.Second

// openidSystem is MinIO's name for the settings of OpenID providers, and defaultClaim the
// claim that names policies where nothing is said.
const (
	openidSystem = "identity_openid"
	defaultClaim = "policy"
)

// openidFlags are the flags about the OpenID provider that has no name.
type openidFlags struct{ url, clientID, claim, policies string }

func (f *openidFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "identity-openid-config-url", "", "`URL` of the discovery document of an OpenID provider, whose tokens are taken for temporary credentials")
	fl.StringVar(&f.clientID, "identity-openid-client-id", "", "client `ID` that the tokens must be for")
	fl.StringVar(&f.claim, "identity-openid-claim-name", defaultClaim, "`claim` of the tokens that names policies")
	fl.StringVar(&f.policies, "identity-openid-role-policy", "", "comma-separated `policies` of everybody with a token, in the place of those that it names")
}

// identityFamily has the variables of OpenID providers that have names:
// SHOAL_IDENTITY_OPENID_CONFIG_URL_KEYCLOAK.
func identityFamily() family {
	kind := target.Kind{Type: "openid", Variable: "OPENID", Settings: []string{"enable", openid.ConfigURL, openid.ClientID, openid.ClaimName, openid.RolePolicy}}
	return family{shoal: "SHOAL_IDENTITY_", minio: "MINIO_IDENTITY_", kinds: []target.Kind{kind}, manual: "docs/users.md", named: true}
}

// providers returns the OpenID providers.
func (f *openidFlags) providers(env *environment) (*openid.Providers, error) {
	var all []openid.Config
	if f.url+f.clientID+f.policies != "" {
		all = append(all, providerOf("", target.Settings{
			openid.ConfigURL: f.url, openid.ClientID: f.clientID, openid.ClaimName: f.claim, openid.RolePolicy: f.policies,
		}))
	}
	return openidProviders(all, env)
}

// openidProviders returns those, and the ones that have names.
func openidProviders(all []openid.Config, env *environment) (*openid.Providers, error) {
	err := env.each(identityFamily(), func(_ target.Kind, id string, values target.Settings) error {
		switch values["enable"] {
		case "", "on":
			all = append(all, providerOf(id, values))
		case "off":
		default:
			return wrongProvider(&openid.SettingError{Provider: id, Key: "enable", Problem: "it is neither on nor off"})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p, err := openid.New(all...)
	if err != nil {
		return nil, wrongProvider(err)
	}
	return p, nil
}

// providerOf returns what settings say of a provider.
func providerOf(name string, values target.Settings) openid.Config {
	return openid.Config{
		Name: name, URL: values[openid.ConfigURL], ClientID: values[openid.ClientID], Claim: cmp.Or(values[openid.ClaimName], defaultClaim),
		Policies: strings.FieldsFunc(values[openid.RolePolicy], func(c rune) bool { return c == ',' || c == ' ' }),
		Client:   &http.Client{Timeout: openidTimeout}, Now: time.Now,
	}
}

// wrongProvider names the flag or variable that is wrong.
func wrongProvider(err error) error {
	const remedy = "docs/users.md lists the settings of OpenID providers"
	var wrong *openid.SettingError
	if !errors.As(err, &wrong) {
		return usage(err.Error(), remedy)
	}
	name := "--identity-openid-" + strings.ReplaceAll(wrong.Key, "_", "-")
	if wrong.Provider != "" {
		name = "SHOAL_IDENTITY_OPENID_" + strings.ToUpper(wrong.Key) + "_" + wrong.Provider
	}
	return usage(name+" is not right: "+wrong.Problem, remedy)
}
