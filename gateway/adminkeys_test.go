package gateway

import (
	"strings"
	"testing"
)

func TestMasterKeysAreShownToWhoMay(t *testing.T) {
	o := serveOffice(t)
	ask := func(user, method, path, query string) reply {
		return o.do(call{method: method, path: "/minio/kms/v1/key/" + path, query: query, user: user, secret: secretOf(user)})
	}
	if r := ask("boss", "GET", "list", "pattern=%2A"); r.status != 501 {
		t.Errorf("without keys it answers %d %s", r.status, r.body)
	}
	o.server.api.MasterKeys = testKeys(t)
	for _, tt := range []struct{ user, method, path, query, want string }{
		{"boss", "GET", "list", "pattern=%2A", `[{"name":"first"},{"name":"second"}]`},
		{"boss", "GET", "list", "pattern=s%2A", `[{"name":"second"}]`},
		{"boss", "GET", "list", "pattern=x", `[]`},
		{"boss", "GET", "status", "", `{"key-id":"first"}`},
		{"boss", "GET", "status", "key-id=second", `{"key-id":"second"}`},
		{"boss", "GET", "status", "key-id=third", "KMS.NotFoundException"},
		{"boss", "GET", "status", "key-id=a/b", "KMS.NotFoundException"},
		{"boss", "POST", "create", "key-id=third", "NotImplemented"},
		{"boss", "POST", "create", "key-id=a/b", "XMinioAdminInvalidArgument"},
		{"boss", "GET", "list", "pattern=[", "XMinioAdminInvalidArgument"},
		{"ann", "GET", "list", "", "AccessDenied"},
		{"ann", "GET", "status", "", "AccessDenied"},
		{"ann", "POST", "create", "key-id=x", "AccessDenied"},
	} {
		if r := ask(tt.user, tt.method, tt.path, tt.query); !strings.Contains(r.body, tt.want) {
			t.Errorf("%s %s %s?%s: %d %s, want %s", tt.user, tt.method, tt.path, tt.query, r.status, r.body, tt.want)
		}
	}
	o.server.api.MasterKeys = broken{testKeys(t)}
	if r := ask("boss", "GET", "status", ""); !strings.Contains(r.body, "encryption-error") {
		t.Errorf("of a key that is out of reach: %s", r.body)
	}
	o.server.api.MasterKeys = denying{testKeys(t)}
	for _, r := range []reply{ask("boss", "POST", "create", "key-id=new"), ask("boss", "GET", "list", "")} {
		if r.status != 403 || !strings.Contains(r.body, "KMS.AccessDeniedException") || !strings.Contains(r.body, "The key management service does not let the server") {
			t.Errorf("what is denied: %d %s", r.status, r.body)
		}
	}
}
