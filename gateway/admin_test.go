package gateway

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/sealing"
)

// office is a fixture whose users can be administered.
type office struct {
	*fixture
	records   directorytest.Records
	directory *directory.Directory
	sealer    *sealing.Sealer
	ahead     atomic.Int64 // by which the directory's clock is, in nanoseconds
}

// serveOffice serves with a bucket, the users "ann", who may read, and "boss", who may
// everything, and a service account of ann, "annskey". The secret of each is that of.
func serveOffice(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(*Config) {})
}

// serveOfficeWith is serveOffice with something changed.
func serveOfficeWith(t *testing.T, change func(*Config)) *office {
	t.Helper()
	o := &office{sealer: sealing.New(2)}
	var err error
	o.directory, err = directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: testUser, Secret: testSecret}, Records: &o.records, Sealer: o.sealer, Now: func() time.Time {
		return time.Now().Add(time.Duration(o.ahead.Load()))
	}})
	o.must(t, err)
	o.fixture = serve(t, func(cfg *Config) {
		cfg.Authority, cfg.Directory, cfg.Admin.Sealer = o.directory, o.directory, o.sealer
		change(cfg)
	})
	ctx := t.Context()
	for name, policy := range map[string]string{"ann": "readonly", "boss": "consoleAdmin"} {
		o.must(t, o.directory.SetUser(ctx, name, secretOf(name), true))
		_, err := o.directory.Attach(ctx, directory.Holder{Name: name}, []string{policy})
		o.must(t, err)
	}
	o.addAccount("annskey", "ann", "")
	o.ok(call{method: "PUT", path: "/bucket"})
	return o
}

func holder(user string) directory.Holder { return directory.Holder{Name: user} }

func secretOf(name string) string { return "secret of " + name }

func (o *office) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (o *office) addAccount(accessKey, parent, policy string) {
	o.t.Helper()
	_, _, err := o.directory.AddAccount(o.t.Context(), directory.NewAccount{Parent: parent, AccessKey: accessKey, Secret: secretOf(accessKey), Policy: policy})
	o.must(o.t, err)
}

// admin sends an admin call of somebody, with a document, and returns the answer and the
// code of an error.
func (o *office) admin(who, method, path, query, document string) (answer reply, code string) {
	o.t.Helper()
	c := call{method: method, path: "/minio/admin/v3/" + path, query: query, body: document, user: who, secret: secretOf(who)}
	if who == testUser {
		c.secret = testSecret
	}
	answer = o.do(c)
	if answer.status < 300 {
		return answer, ""
	}
	var e struct{ Code string }
	o.must(o.t, json.Unmarshal([]byte(answer.body), &e))
	return answer, e.Code
}

// seal returns a document as somebody sends it.
func (o *office) seal(who, document string) string {
	o.t.Helper()
	secret := secretOf(who)
	if who == testUser {
		secret = testSecret
	}
	sealed, err := o.sealer.Seal(secret, []byte(document))
	o.must(o.t, err)
	return string(sealed)
}

func TestOnlyASignedRequestWithASignedBodyAdministers(t *testing.T) {
	o := serveOffice(t)
	for what, c := range map[string]call{
		"nobody":           {anonymous: true},
		"a wrong secret":   {secret: "wrong secret"},
		"an unsigned body": {payload: "UNSIGNED-PAYLOAD"},
		"chunks":           {payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", header: map[string]string{"x-amz-trailer": "x-amz-checksum-crc32"}},
	} {
		c.method, c.path, c.query = "DELETE", "/minio/admin/v3/remove-user", "accessKey=ann"
		if got := o.do(c); got.status != http.StatusForbidden || !strings.Contains(got.body, `"Code"`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	if _, err := o.directory.User("ann"); err != nil {
		t.Error(err)
	}
}

// TestWhoMayAdministerWhat has each call that takes no document.
func TestWhoMayAdministerWhat(t *testing.T) {
	o := serveOffice(t)
	const bound = `{"Statement":[{"Effect":"Allow","Action":["admin:*","s3:*"],"Resource":"*"}]}`
	o.addAccount("bounded", "boss", bound)
	o.addAccount("rootskey", testUser, "")
	const no, yes = "AccessDenied", ""
	for _, tt := range []struct {
		who, method, path, query, want string
	}{
		{"ann", "GET", "info", "", no},
		{"boss", "GET", "info", "", yes},
		{"rootskey", "GET", "info", "", yes},
		{testUser, "GET", "info", "", yes},
		{"ann", "GET", "accountinfo", "", yes},
		{"ann", "GET", "list-users", "", no},
		{"ann", "GET", "user-info", "accessKey=ann", yes},
		{"annskey", "GET", "user-info", "accessKey=ann", yes},
		{"ann", "GET", "user-info", "accessKey=boss", no},
		{"boss", "GET", "user-info", "accessKey=ann", yes},
		{"ann", "PUT", "set-user-status", "accessKey=boss&status=disabled", no},
		{"ann", "GET", "list-service-accounts", "", yes},
		{"ann", "GET", "list-service-accounts", "user=boss", no},
		{"ann", "GET", "list-access-keys-bulk", "users=boss", no},
		{"ann", "GET", "list-access-keys-bulk", "all=true", yes}, // what she may see of it
		{"boss", "GET", "list-service-accounts", "user=" + testUser, no},
		{"boss", "DELETE", "delete-service-account", "accessKey=rootskey", no},
		{"ann", "GET", "info-service-account", "accessKey=bounded", no},
		{"bounded", "GET", "info-service-account", "accessKey=bounded", yes},
		{"bounded", "PUT", "add-service-account", "", no},
		{"bounded", "POST", "update-service-account", "accessKey=bounded", no},
		{"ann", "DELETE", "delete-service-account", "accessKey=annskey", yes},
	} {
		if answer, code := o.admin(tt.who, tt.method, tt.path, tt.query, ""); code != tt.want {
			t.Errorf("%s %s %s?%s: %d %s, want %q", tt.who, tt.method, tt.path, tt.query, answer.status, answer.body, tt.want)
		}
	}
}

func TestAdminErrorsHaveTheCodesThatToolsKnow(t *testing.T) {
	o := serveOffice(t)
	o.must(t, o.directory.AddMembers(t.Context(), "devs", []string{"ann"}))
	for _, tt := range []struct {
		method, path, query, document, want string
		status                              int
	}{
		{"GET", "nonsense", "", "", "XMinioAdminVersionMismatch", 426},
		{"POST", "info", "", "", "XMinioAdminVersionMismatch", 426},
		{"POST", "update", "", "", "NotImplemented", 501},
		{"GET", "site-replication/info", "", "", "NotImplemented", 501},
		{"PUT", "set-remote-target", "bucket=b", "", "NotImplemented", 501},
		{"POST", "replication/diff", "bucket=b", "", "NotImplemented", 501},
		{"POST", "speedtest/net", "", "", "NotImplemented", 501},
		{"GET", "metrics", "", "", "NotImplemented", 501},
		{"GET", "rebalance/status", "", "", "NotImplemented", 501},
		{"GET", "pools/list", "", "", "NotImplemented", 501},
		{"DELETE", "remove-user", "accessKey=nobody", "", "XMinioAdminNoSuchUser", 404},
		{"DELETE", "remove-user", "accessKey=annskey", "", "XMinioAdminNoSuchUser", 404},
		{"GET", "group", "group=none", "", "XMinioAdminNoSuchGroup", 404},
		{"GET", "info-canned-policy", "name=none", "", "XMinioAdminNoSuchPolicy", 404},
		{"GET", "info-service-account", "accessKey=ann", "", "XMinioAdminServiceAccountNotFound", 404},
		{"PUT", "update-group-members", "", `{"group":"devs","isRemove":true}`, "XMinioAdminGroupNotEmpty", 400},
		{"PUT", "update-group-members", "", `{`, "XMinioAdminConfigBadJSON", 400},
		{"PUT", "add-canned-policy", "name=p", `{"Statement":[]}`, "XMinioAdminInvalidArgument", 400},
		{"PUT", "add-canned-policy", "name=p", strings.Repeat(" ", 1<<20+1), "MaxMessageLengthExceeded", 400},
		{"PUT", "set-user-status", "accessKey=ann&status=maybe", "", "XMinioAdminInvalidArgument", 400},
		{"PUT", "add-user", "accessKey=bob", `{"secretKey":"a good secret"}`, "XMinioAdminConfigBadJSON", 400}, // not sealed
		{"PUT", "add-user", "accessKey=bob", o.seal("ann", `{"secretKey":"a good secret"}`), "XMinioAdminConfigBadJSON", 400},
		{"PUT", "add-user", "accessKey=bob", o.seal(testUser, `{"secretKey":"short"}`), "XMinioAdminInvalidArgument", 400},
		{"PUT", "add-user", "accessKey=annskey", o.seal(testUser, `{"secretKey":"a good secret"}`), "XMinioAdminInvalidAccessKey", 400},
		{"POST", "idp/builtin/policy/attach", "", o.seal(testUser, `{"policies":["readonly"],"user":"ann"}`), "XMinioAdminPolicyChangeAlreadyApplied", 400},
		{"POST", "idp/builtin/policy/attach", "", o.seal(testUser, `{"policies":["readonly"]}`), "XMinioAdminInvalidArgument", 400},
	} {
		if answer, code := o.admin(testUser, tt.method, tt.path, tt.query, tt.document); code != tt.want || answer.status != tt.status {
			t.Errorf("%s %s?%s: %d %s, want %s", tt.method, tt.path, tt.query, answer.status, answer.body, tt.want)
		}
	}
}

func TestASealedAnswerOpensUnderTheSecretOfWhoAsks(t *testing.T) {
	o := serveOffice(t)
	answer, code := o.admin("boss", "GET", "list-users", "", "")
	if code != "" {
		t.Fatal(answer.body)
	}
	if strings.Contains(answer.body, "readonly") {
		t.Error("the answer is not sealed")
	}
	text, err := o.sealer.Open(secretOf("boss"), []byte(answer.body))
	o.must(t, err)
	var users map[string]struct{ PolicyName, Status, SecretKey string }
	o.must(t, json.Unmarshal(text, &users))
	if u := users["ann"]; len(users) != 2 || u.PolicyName != "readonly" || u.Status != "enabled" || u.SecretKey != "" {
		t.Errorf("%s", text)
	}
}

func TestABucketsPolicyAndAUsersAreWeighedTogether(t *testing.T) {
	o := serveOffice(t)
	o.put("open/k", "x")
	o.put("secret/k", "x")
	o.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::bucket/open/*"},
		{"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:user/ann"}, "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/secret/*"}]}`})
	o.addAccount("noopen", "ann", `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/other/*"}]}`)
	o.must(t, o.directory.SetPolicy(t.Context(), "noopen", `{"Statement":[{"Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/open/*"}]}`))
	o.must(t, o.directory.SetUser(t.Context(), "carl", secretOf("carl"), true))
	_, err := o.directory.Attach(t.Context(), directory.Holder{Name: "carl"}, []string{"noopen"})
	o.must(t, err)
	for _, tt := range []struct {
		who, method, key string
		status           int
	}{
		{"ann", "GET", "open/k", 200},
		{"ann", "PUT", "open/k", 200},   // the bucket allows it
		{"ann", "PUT", "k", 403},        // nobody allows it
		{"ann", "GET", "secret/k", 403}, // the bucket denies it
		{"annskey", "GET", "secret/k", 403},
		{"boss", "GET", "secret/k", 200},
		{"carl", "GET", "open/k", 200},
		{"carl", "PUT", "open/k", 403},   // his policy denies it
		{"noopen", "GET", "open/k", 403}, // the bound does not allow it
	} {
		got := o.do(call{method: tt.method, path: "/bucket/" + tt.key, user: tt.who, secret: secretOf(tt.who)})
		if got.status != tt.status {
			t.Errorf("%s %s %s: %d, want %d", tt.who, tt.method, tt.key, got.status, tt.status)
		}
	}
}

func TestToMakeABucketWithObjectLockTakesThePermissionsToLockOne(t *testing.T) {
	o := serveOffice(t)
	o.addAccount("maker", testUser, `{"Statement":[{"Effect":"Allow","Action":["s3:CreateBucket","s3:PutBucketVersioning"],"Resource":"arn:aws:s3:::*"}]}`)
	o.addAccount("locker", testUser, `{"Statement":[{"Effect":"Allow","Action":["s3:CreateBucket","s3:PutBucketVersioning","s3:PutBucketObjectLockConfiguration"],"Resource":"arn:aws:s3:::*"}]}`)
	locked := map[string]string{"x-amz-bucket-object-lock-enabled": "true"}
	o.refused("AccessDenied", call{method: "PUT", path: "/locked", header: locked, user: "maker", secret: secretOf("maker")})
	o.ok(call{method: "PUT", path: "/plain", user: "maker", secret: secretOf("maker")})
	o.ok(call{method: "PUT", path: "/locked", header: locked, user: "locker", secret: secretOf("locker")})
}

func TestAUserSeesTheBucketsThatHeMayList(t *testing.T) {
	o := serveOffice(t)
	o.ok(call{method: "PUT", path: "/another"})
	o.addAccount("lister", testUser, `{"Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b*"}]}`)
	for who, want := range map[string]string{"ann": "", "boss": "another bucket", "lister": "bucket"} {
		got := o.ok(call{method: "GET", path: "/", user: who, secret: secretOf(who)})
		var list struct {
			Buckets struct{ Bucket []struct{ Name string } }
		}
		o.must(t, xml.Unmarshal([]byte(got.body), &list))
		var names []string
		for _, b := range list.Buckets.Bucket {
			names = append(names, b.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s sees %v, want %q", who, names, want)
		}
	}
	o.refused("AccessDenied", call{method: "GET", path: "/", anonymous: true})
}

func TestUsersAreToldToComeBackWhileNobodyIsKnown(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "x")
	get := call{method: "GET", path: "/bucket/k", user: "ann", secret: secretOf("ann")}
	o.ok(get)
	o.records.Cut()
	o.refused("ServiceUnavailable", get)
	if got := o.get("k"); got != "x" {
		t.Errorf("root reads %q", got)
	}
}

func TestMetricsAreForWhoMaySeeThem(t *testing.T) {
	o := serveOffice(t)
	for who, want := range map[string]int{"boss": http.StatusOK, "ann": http.StatusForbidden, "nobody": http.StatusForbidden} {
		token, err := Token(who, secretOf(who), time.Now().Add(time.Minute))
		o.must(t, err)
		got := o.do(call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true, header: map[string]string{"Authorization": "Bearer " + token}})
		if got.status != want {
			t.Errorf("%s: %d, want %d", who, got.status, want)
		}
	}
}

func TestWithoutADirectoryThereIsNoAdminAPI(t *testing.T) {
	f := serve(t, nil)
	if got := f.do(call{method: "GET", path: "/minio/admin/v3/info"}); got.status != http.StatusUpgradeRequired {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAServiceAccountCanBeMadeChangedAndShown(t *testing.T) {
	o := serveOffice(t)
	document := o.seal("ann", `{"accessKey":"fresh","secretKey":"secret of fresh","name":"backup","expiration":"1970-01-01T00:00:00Z","policy":null}`)
	if answer, code := o.admin("ann", "PUT", "add-service-account", "", document); code != "" {
		t.Fatal(answer.body)
	}
	change := `{"newDescription":"nightly","newStatus":"off","newPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}}`
	if answer, code := o.admin("ann", "POST", "update-service-account", "accessKey=fresh", o.seal("ann", change)); code != "" || answer.status != http.StatusNoContent {
		t.Fatal(answer.body)
	}
	answer, code := o.admin("ann", "GET", "info-service-account", url.Values{"accessKey": {"fresh"}}.Encode(), "")
	if code != "" {
		t.Fatal(answer.body)
	}
	text, err := o.sealer.Open(secretOf("ann"), []byte(answer.body))
	o.must(t, err)
	var got struct {
		ParentUser, AccountStatus, Name, Description string
		ImpliedPolicy                                bool
		Expiration                                   *time.Time
	}
	o.must(t, json.Unmarshal(text, &got))
	if got.ParentUser != "ann" || got.AccountStatus != "off" || got.ImpliedPolicy || got.Name != "backup" || got.Description != "nightly" || got.Expiration != nil {
		t.Errorf("%s", text)
	}
	if listed, code := o.sealed(o.by("ann"), "GET", "list-service-accounts", "", nil); code != "" || !strings.Contains(listed, `"expiration":"1970-01-01T00:00:00Z"`) {
		t.Errorf("mc takes no list in which an account has no expiration: %s %s", listed, code)
	}
}

func TestAListOfNobodyIsEmptyAndNotNull(t *testing.T) {
	o := serveOffice(t)
	if answer, _ := o.admin("boss", "GET", "groups", "", ""); answer.body != "[]" {
		t.Errorf("there are no groups: %s", answer.body)
	}
	o.must(t, o.directory.AddMembers(t.Context(), "devs", nil))
	if answer, _ := o.admin("boss", "GET", "group", "group=devs", ""); !strings.Contains(answer.body, `"members":[]`) {
		t.Errorf("there is nobody in the group: %s", answer.body)
	}
}
