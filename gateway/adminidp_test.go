package gateway

import (
	"strings"
	"testing"
)

// serveProviders serves an office with an OpenID provider, and no LDAP directory.
func serveProviders(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		cfg.Settings = []Setting{
			{System: "identity_openid", Key: "config_url", Value: "https://id", From: "--identity-openid-config-url"},
			{System: "identity_openid", Key: "role_policy", From: "--identity-openid-role-policy"},
			{System: "identity_ldap", Key: "server_addr", From: "--identity-ldap-server-addr"},
			{System: "identity_ldap", Key: "server_starttls", Value: "off", From: "--identity-ldap-server-starttls"},
			{System: "identity_tls", Key: "enable", Value: "on", From: "--identity-tls-enable"},
		}
	})
}

func TestIdentityProvidersAreShownAsTheyAreSet(t *testing.T) {
	o := serveProviders(t)
	for path, want := range map[string]string{
		"openid":   `[{"type":"openid","name":"_","enabled":true}]`,
		"openid/_": `{"type":"openid","name":"_","info":[{"key":"config_url","value":"https://id","isCfg":false,"isEnv":true}]}`,
		"ldap":     `[]`,
	} {
		answer, code := o.admin("boss", "GET", "idp-config/"+path, "", "")
		if code != "" {
			t.Errorf("%s: %s", path, answer.body)
			continue
		}
		text, err := o.sealer.Open(secretOf("boss"), []byte(answer.body))
		o.must(t, err)
		if got := strings.TrimSpace(string(text)); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestNoIdentityProviderCanBeChangedAndTheAnswerSaysWhatSetsOne(t *testing.T) {
	o := serveProviders(t)
	for _, tt := range []struct{ method, path, code, says string }{
		{"PUT", "openid/_", "NotImplemented", "--identity-openid-config-url"},
		{"POST", "openid/_", "NotImplemented", "--identity-openid-config-url"},
		{"DELETE", "ldap/_", "NotImplemented", "--identity-ldap-server-addr"},
		{"GET", "openid/other", "XMinioConfigError", "--identity-openid-config-url"},
		{"GET", "ldap/_", "XMinioConfigError", "--identity-ldap-server-addr"},
		{"GET", "tls", "XMinioConfigError", "openid and ldap"},
		{"GET", "saml", "XMinioConfigError", "identity_saml"},
	} {
		if answer, code := o.admin("boss", tt.method, "idp-config/"+tt.path, "", ""); code != tt.code || !strings.Contains(answer.body, tt.says) {
			t.Errorf("%s %s: %s, %s", tt.method, tt.path, code, answer.body)
		}
	}
	if _, code := o.admin("ann", "GET", "idp-config/openid", "", ""); code != "AccessDenied" {
		t.Errorf("to anybody: %q", code)
	}
}
