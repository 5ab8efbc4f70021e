package gateway

import (
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/openid"
)

// serveProviders serves an office with OpenID providers, and no LDAP directory.
func serveProviders(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		var err error
		if cfg.OpenID, err = openid.New(
			openid.Config{URL: "https://id", ClientID: "shoal", Claim: "policy"},
			openid.Config{Name: "DEX", URL: "https://dex", ClientID: "shoal", Policies: []string{"readonly"}},
		); err != nil {
			t.Fatal(err)
		}
		settings := []admin.Setting{
			{System: "identity_openid", Key: "config_url", Value: "https://id", From: "--identity-openid-config-url"},
			{System: "identity_openid", Key: "role_policy", From: "--identity-openid-role-policy"},
			{System: "identity_openid", Target: "DEX", Key: "config_url", Value: "https://dex", From: "SHOAL_IDENTITY_OPENID_CONFIG_URL_DEX"},
			{System: "identity_openid", Target: "OFF", Key: "enable", Value: "off", From: "SHOAL_IDENTITY_OPENID_ENABLE_OFF"},
			{System: "identity_openid", Target: "OFF", Key: "config_url", Value: "https://off", From: "SHOAL_IDENTITY_OPENID_CONFIG_URL_OFF"},
			{System: "identity_ldap", Key: "server_addr", From: "--identity-ldap-server-addr"},
			{System: "identity_ldap", Key: "server_starttls", Value: "off", From: "--identity-ldap-server-starttls"},
			{System: "identity_tls", Key: "enable", Value: "on", From: "--identity-tls-enable"},
		}
		cfg.Admin.Settings = func() []admin.Setting { return settings }
	})
}

func TestIdentityProvidersAreShownAsTheyAreSet(t *testing.T) {
	const role = "arn:minio:iam:::role/LbCXP3Cdnw9fCq9h9AYdJXDndvg" // of the client ID "shoal"
	o := serveProviders(t)
	for path, want := range map[string]string{
		"openid":     `[{"type":"openid","name":"_","enabled":true},{"type":"openid","name":"DEX","enabled":true,"roleARN":"` + role + `"},{"type":"openid","name":"OFF"}]`,
		"openid/_":   `{"type":"openid","name":"_","info":[{"key":"config_url","value":"https://id","isCfg":false,"isEnv":true}]}`,
		"openid/DEX": `{"type":"openid","name":"DEX","info":[{"key":"config_url","value":"https://dex","isCfg":false,"isEnv":true},{"key":"roleARN","value":"` + role + `","isCfg":false,"isEnv":false}]}`,
		"ldap":       `[]`,
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
