package gateway

import (
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/directory"
)

func TestEverybodyIsExportedAndImportedByWhoMay(t *testing.T) {
	o := serveOffice(t)
	answer, code := o.admin("boss", "GET", "export-iam", "", "")
	if code != "" {
		t.Fatal(answer.body)
	}
	a, err := directory.ReadArchive([]byte(answer.body))
	o.must(t, err)
	if a.Users["ann"].Secret != secretOf("ann") || a.Accounts["annskey"].Secret != secretOf("annskey") || a.UserPolicies["ann"].Policies != "readonly" {
		t.Errorf("%+v", a)
	}
	o.must(t, o.directory.RemoveUser(t.Context(), "ann"))
	for _, call := range []string{"import-iam", "import-iam-v2"} {
		imported, code := o.admin("boss", "PUT", call, "", answer.body)
		if code != "" || !strings.Contains(imported.body, `"users":["ann","boss"]`) {
			t.Errorf("%s: %s", call, imported.body)
		}
	}
	if got := o.do(call{method: "HEAD", path: "/bucket/none", user: "annskey", secret: secretOf("annskey")}); got.status != 403 && got.status != 404 {
		t.Errorf("the account of the imported user: %d", got.status)
	}
}

func TestOnlyWhoMayExportsAndImports(t *testing.T) {
	o := serveOffice(t)
	o.addAccount("bounded", "boss", `{"Statement":[{"Effect":"Allow","Action":["admin:*","s3:*"],"Resource":"*"}]}`)
	for _, who := range []string{"ann", "bounded"} {
		if _, code := o.admin(who, "GET", "export-iam", "", ""); code != "AccessDenied" {
			t.Errorf("%s exports: %s", who, code)
		}
		if _, code := o.admin(who, "PUT", "import-iam", "", "x"); code != "AccessDenied" {
			t.Errorf("%s imports: %s", who, code)
		}
	}
	if _, code := o.admin("boss", "PUT", "import-iam", "", "no archive"); code != "XMinioAdminInvalidArgument" {
		t.Error(code)
	}
}
