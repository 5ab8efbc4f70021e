package test

import (
	"strings"
	"testing"
)

// TestSettingsOfAGatewayAreShownAndNotChangedByMC asks it for what its flags and variables
// say, and to change it.
func TestSettingsOfAGatewayAreShownAndNotChangedByMC(t *testing.T) {
	s := startWith(t, []string{"SHOAL_NOTIFY_WEBHOOK_ENDPOINT_MAIN=http://127.0.0.1:9/x", "SHOAL_NOTIFY_WEBHOOK_AUTH_TOKEN_MAIN=" + password}, place{host: "127.0.0.1"}, t.TempDir(), "--max-requests", "77")
	a := administerFleet(t, []*server{s})
	for query, want := range map[string]string{
		"get @ region":         "region name=us-east-1",
		"get @ api":            "requests_max=77",
		"get @ notify_webhook": "notify_webhook:MAIN enable=off endpoint=http://127.0.0.1:9/x auth_token=*REDACTED*",
		"get @":                "identity_openid",
		"export @":             "requests_max=77",
	} {
		out := a.admin(t, append([]string{"config"}, strings.Fields(query)...)...)
		if !strings.Contains(out, want) || strings.Contains(out, password) {
			t.Errorf("config %s: %s", query, out)
		}
	}
	for query, want := range map[string]string{
		"set @ api requests_max=5":     "--max-requests",
		"set @ api request_max=5":      "no setting",
		"set @ nonsense a=b":           "no settings",
		"get @ nonsense":               "no settings",
		"reset @ api":                  "--max-requests",
		"set @ storage_class rrs=EC:1": "here is a directory",
		"set @ api:B requests_max=5":   "has no name",
		"set @ identity_tls enable=on": "identity_tls enable needs --certs-dir",
		"reset @ notify_webhook:MAIN":  "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_MAIN",
		"restore @ 1":                  "no such entry",
	} {
		if out, err := a.mc.try(t, a.args(0, append([]string{"admin", "config"}, strings.Fields(query)...)[1:])...); err == nil || !strings.Contains(out, want) {
			t.Errorf("config %s: %v: %s", query, err, out)
		}
	}
	for _, line := range []string{"ping --count 1 g0", "ready g0", "admin prometheus generate g0"} {
		a.mc.run(t, strings.Fields(line)...)
	}
	for _, line := range []string{"support top locks g0", "support top api g0", "support perf g0"} {
		if out, err := a.mc.try(t, strings.Fields(line)...); err == nil || !strings.Contains(out, "registered with nobody") {
			t.Errorf("mc %s: %v: %s", line, err, out)
		}
	}
	a.admin(t, "config", "set", "@", "subnet", "api_key=none", "license=none")
	if out := a.mc.run(t, "--json", "support", "perf", "object", "g0", "--airgap", "--duration", "1001ms", "--size", "64KiB", "--concurrent", "2"); !strings.Contains(out, `"threads":2,"PUT":{"perf":{"throughput":`) {
		t.Error(out)
	}
	if out := a.mc.run(t, "--json", "support", "perf", "drive", "g0", "--airgap", "--filesize", "4MiB"); !strings.Contains(out, `"readThroughput":`) || strings.Contains(out, `"error"`) {
		t.Error(out)
	}
	if out := a.mc.run(t, "ls", "g0"); strings.Contains(out, "speedtest") {
		t.Errorf("the speed test has left: %s", out)
	}
	eventually(t, "the locks are shown by mc", func() bool { return strings.Contains(a.mc.run(t, "support", "top", "locks", "g0"), "lifecycle") })
}

// TestIdentityProvidersOfAGatewayAreShownAndNotChangedByMC has one of each kind.
func TestIdentityProvidersOfAGatewayAreShownAndNotChangedByMC(t *testing.T) {
	t.Parallel()
	s := startWith(t, []string{
		"SHOAL_IDENTITY_OPENID_CONFIG_URL=http://127.0.0.1:9/openid", "SHOAL_IDENTITY_OPENID_CLIENT_ID=shoal",
		"MINIO_IDENTITY_LDAP_SERVER_ADDR=127.0.0.1:9", "SHOAL_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN=dc=example", "SHOAL_IDENTITY_LDAP_USER_DN_SEARCH_FILTER=(uid=%s)",
		"SHOAL_IDENTITY_LDAP_LOOKUP_BIND_DN=cn=shoal", "SHOAL_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD=" + password,
	}, place{host: "127.0.0.1"}, t.TempDir())
	mc := administerFleet(t, []*server{s}).mc
	for line, want := range map[string]string{
		"openid ls g0": "default", "openid info g0": "http://127.0.0.1:9/openid", "ldap ls g0": "default", "ldap info g0": "(uid=%s)",
	} {
		if out := mc.run(t, append([]string{"idp"}, strings.Fields(line)...)...); !strings.Contains(out, want) || strings.Contains(out, password) {
			t.Errorf("idp %s: %s", line, out)
		}
	}
	for line, want := range map[string]string{
		"openid add g0 other client_id=x": "identity_openid:other config_url is not right", "openid add g0 other client_id=x config_url=http://x scopes=a": "scopes",
		"openid update g0 client_id=x": "--identity-openid-client-id", "openid rm g0": "--identity-openid-", "openid update g0 other client_id=x": "no such provider", "ldap add g0 server_addr=x": "already",
		"ldap update g0 server_addr=x": "--identity-ldap-server-addr", "ldap rm g0": "--identity-ldap-", "ldap accesskey create g0/": "nobody of an identity provider",
	} {
		if out, err := mc.try(t, append([]string{"idp"}, strings.Fields(line)...)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("idp %s: %v: %s", line, err, out)
		}
	}
}
