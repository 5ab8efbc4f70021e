package gateway

import (
	"net/url"
	"strings"
	"testing"
)

// TestTemporaryCredentialsAreRevoked has users end their own, and administrators those of others
// and of people.
func TestTemporaryCredentialsAreRevoked(t *testing.T) {
	o := serveCrowd(t)
	o.put("k", "content")
	if got := o.associate("attach", "user", eveDN, "readonly"); got != "" {
		t.Fatal(got)
	}
	read := func(made temporary) call { return made.as(call{method: "GET", path: "/bucket/k"}) }
	for _, tt := range []struct {
		by, provider, of, code string
		make                   func() temporary
	}{
		{"ann", "builtin", "", "", func() temporary { return o.assume("ann") }},
		{"boss", "builtin", "ann", "", func() temporary { return o.assume("ann") }},
		{"boss", "ldap", strings.ToUpper(eveDN), "", func() temporary { return o.byPassword("eve") }},
		{"ann", "builtin", "boss", "AccessDenied", func() temporary { return o.assume("boss") }},
		{"ann", "ldap", eveDN, "AccessDenied", func() temporary { return o.byPassword("eve") }},
		{"boss", "builtin", "nobody", "XMinioAdminNoSuchUser", func() temporary { return o.assume("ann") }},
		{"boss", "ldap", "=", "XMinioAdminInvalidArgument", func() temporary { return o.byPassword("eve") }},
	} {
		made := tt.make()
		o.do(read(made))
		_, code := o.admin(tt.by, "POST", "revoke-tokens/"+tt.provider, url.Values{"user": {tt.of}, "fullRevoke": {"true"}}.Encode(), "")
		if code != tt.code {
			t.Errorf("%s revokes those of %q: %s, want %s", tt.by, tt.of, code, tt.code)
		}
		if got := o.do(read(made)).code(); (got == "ExpiredToken") != (tt.code == "") {
			t.Errorf("those of %q after %s has revoked them: %q", tt.of, tt.by, got)
		}
	}
	if _, code := o.admin("boss", "POST", "revoke-tokens/builtin", "user=ann&tokenRevokeType=x", ""); code != "NotImplemented" {
		t.Errorf("of a type: %s", code)
	}
}
