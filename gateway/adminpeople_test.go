package gateway

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
)

// sealed sends an admin call with a document that is sealed, as somebody who may have
// temporary credentials, and returns what the answer says and the code of an error.
func (o *office) sealed(as call, method, path, query string, document any) (answer, code string) {
	o.t.Helper()
	text, err := json.Marshal(document)
	o.must(o.t, err)
	as.method, as.path, as.query = method, "/minio/admin/v3/"+path, query
	if document != nil {
		sealed, err := o.sealer.Seal(as.secret, text)
		o.must(o.t, err)
		as.body = string(sealed)
	}
	got := o.do(as)
	if got.status >= 300 {
		var e struct{ Code string }
		o.must(o.t, json.Unmarshal([]byte(got.body), &e))
		return "", e.Code
	}
	if got.body == "" {
		return "", ""
	}
	opened, err := o.sealer.Open(as.secret, []byte(got.body))
	o.must(o.t, err)
	return string(opened), ""
}

// keyOf returns the credentials in the answer of a call that makes an access key.
func (o *office) keyOf(answer string) temporary {
	o.t.Helper()
	var made struct {
		Credentials struct{ AccessKey, SecretKey string }
	}
	o.must(o.t, json.Unmarshal([]byte(answer), &made))
	return temporary{AccessKeyId: made.Credentials.AccessKey, SecretAccessKey: made.Credentials.SecretKey}
}

func (o *office) by(who string) call { return call{user: who, secret: secretOf(who)} }

// TestPeopleOfAnLDAPDirectoryHaveAccessKeys has keys made by their owner, with temporary
// credentials as "create-with-login" does it and with another key, and by an administrator.
func TestPeopleOfAnLDAPDirectoryHaveAccessKeys(t *testing.T) {
	o := serveCrowd(t)
	o.put("k", "content")
	o.associate("attach", "user", eveDN, "readonly")
	o.associate("attach", "group", devsDN, "writeonly")
	session := o.byPassword("eve")
	first, code := o.sealed(o.by("boss"), "PUT", "idp/ldap/add-service-account", "", map[string]any{"targetUser": "eve"})
	if code != "" {
		t.Fatal(code)
	}
	for what, tt := range map[string]struct {
		by     call
		path   string
		target string
	}{
		"herself by a session":             {session.as(call{}), "idp/ldap/add-service-account", ""},
		"the name of the session":          {session.as(call{}), "idp/ldap/add-service-account", session.AccessKeyId},
		"herself, not as of the directory": {session.as(call{}), "add-service-account", ""},
		"her own DN":                       {session.as(call{}), "idp/ldap/add-service-account", strings.ToUpper(eveDN)},
		"herself by a key":                 {o.keyOf(first).as(call{}), "add-service-account", ""},
		"an administrator, by her DN":      {o.by("boss"), "idp/ldap/add-service-account", strings.ToUpper(eveDN)},
		"an administrator, of all users":   {o.by("boss"), "add-service-account", eveDN},
	} {
		answer, code := o.sealed(tt.by, "PUT", tt.path, "", map[string]any{"targetUser": tt.target, "name": "job", "expiration": time.Now().Add(time.Hour)})
		if code != "" {
			t.Errorf("%s: %s", what, code)
			continue
		}
		made := o.keyOf(answer)
		o.ok(made.as(call{method: "GET", path: "/bucket/k"}))
		o.ok(made.as(call{method: "PUT", path: "/bucket/new", body: "x"}))
		o.refused("AccessDenied", made.as(call{method: "DELETE", path: "/bucket/k"}))
		if got, code := o.sealed(o.by("boss"), "GET", "info-access-key", "accessKey="+made.AccessKeyId, nil); code != "" || !strings.Contains(got, `"parentUser":"`+eveDN+`"`) || !strings.Contains(got, `"userProvider":"ldap"`) {
			t.Errorf("%s: %s %s", what, got, code)
		}
		if _, code := o.sealed(session.as(call{}), "DELETE", "delete-service-account", "accessKey="+made.AccessKeyId, nil); code != "" {
			t.Errorf("%s: removed: %s", what, code)
		}
		o.refused("InvalidAccessKeyId", made.as(call{method: "GET", path: "/bucket/k"}))
	}
}

func TestAPersonsAccessKeyMayNoMoreThanItsPolicyAndThePersonMay(t *testing.T) {
	o := serveCrowd(t)
	o.put("k", "content")
	o.associate("attach", "user", eveDN, "readwrite")
	answer, code := o.sealed(o.by("boss"), "PUT", "idp/ldap/add-service-account", "", map[string]any{"targetUser": "eve", "policy": json.RawMessage(mayReadOnlyK)})
	if code != "" {
		t.Fatal(code)
	}
	made := o.keyOf(answer)
	read, write := made.as(call{method: "GET", path: "/bucket/k"}), made.as(call{method: "PUT", path: "/bucket/new", body: "x"})
	o.ok(read)
	o.refused("AccessDenied", write)
	if _, code := o.sealed(made.as(call{}), "PUT", "idp/ldap/add-service-account", "", map[string]any{}); code != "AccessDenied" {
		t.Errorf("it makes another: %q", code)
	}
	if _, code := o.sealed(o.by("boss"), "POST", "update-service-account", "accessKey="+made.AccessKeyId, map[string]any{"newStatus": "off"}); code != "" {
		t.Error(code)
	}
	o.refused("InvalidAccessKeyId", read)
	if _, code := o.sealed(o.by("boss"), "POST", "update-service-account", "accessKey="+made.AccessKeyId, map[string]any{"newStatus": "on"}); code != "" {
		t.Error(code)
	}
	o.ok(read)
	o.associate("detach", "user", eveDN, "readwrite")
	o.refused("AccessDenied", read)
}

func TestAccessKeysOfPeopleAreForThemAndForAdministrators(t *testing.T) {
	o := serveCrowd(t)
	o.associate("attach", "user", eveDN, "readonly")
	for _, tt := range []struct{ by, path, target, code string }{
		{"ann", "idp/ldap/add-service-account", "eve", "AccessDenied"},
		{"ann", "idp/ldap/add-service-account", "", "XMinioAdminInvalidArgument"},
		{"ann", "add-service-account", eveDN, "AccessDenied"},
		{"boss", "idp/ldap/add-service-account", "nobody", "XMinioAdminNoSuchUser"},
		{"boss", "idp/ldap/add-service-account", "uid=nobody,dc=example", "XMinioAdminNoSuchUser"},
		{"boss", "idp/ldap/add-service-account", "ann", "XMinioAdminNoSuchUser"},
		{"boss", "add-service-account", "openid=eve", "XMinioAdminInvalidArgument"},
		{"boss", "idp/ldap/add-service-account", "adam", ""},
	} {
		if _, code := o.sealed(o.by(tt.by), "PUT", tt.path, "", map[string]any{"targetUser": tt.target}); code != tt.code {
			t.Errorf("%+v: %q", tt, code)
		}
	}
	none := serveOffice(t)
	if _, code := none.sealed(none.by("boss"), "PUT", "idp/ldap/add-service-account", "", map[string]any{"targetUser": "eve"}); code != "XMinioAdminInvalidArgument" {
		t.Errorf("without a directory: %q", code)
	}
}

func TestAccessKeysOfPeopleAreListed(t *testing.T) {
	o := serveCrowd(t)
	o.associate("attach", "user", eveDN, "readonly")
	session := o.byPassword("eve")
	for _, name := range []string{"eve", "adam"} {
		if _, code := o.sealed(o.by("boss"), "PUT", "idp/ldap/add-service-account", "", map[string]any{"targetUser": name, "accessKey": name + "skey"}); code != "" {
			t.Fatal(code)
		}
	}
	for _, tt := range []struct {
		by          call
		path, query string
		code        string
		users, keys int
	}{
		{o.by("boss"), "idp/ldap/list-access-keys-bulk", "listType=all&all=true", "", 2, 2},
		{o.by("boss"), "idp/ldap/list-access-keys-bulk", "listType=users-only&all=true", "", 2, 0},
		{o.by("boss"), "idp/ldap/list-access-keys-bulk", "listType=all&userDNs=" + url.QueryEscape(strings.ToUpper(eveDN)), "", 1, 1},
		{o.by("boss"), "idp/ldap/list-access-keys-bulk", "listType=all&userDNs=eve", "", 1, 1},
		{o.by("boss"), "idp/ldap/list-access-keys-bulk", "listType=all&userDNs=nobody", "XMinioAdminNoSuchUser", 0, 0},
		{session.as(call{}), "idp/ldap/list-access-keys-bulk", "listType=all&all=true", "", 1, 1},
		{session.as(call{}), "idp/ldap/list-access-keys-bulk", "listType=all", "", 1, 1},
		{session.as(call{}), "idp/ldap/list-access-keys-bulk", "listType=all&userDNs=adam", "AccessDenied", 0, 0},
		{o.by("ann"), "idp/ldap/list-access-keys-bulk", "listType=all&all=true", "", 0, 0},
		{o.by("boss"), "list-access-keys-bulk", "listType=svcacc-only&all=true", "", 3, 3}, // and ann
		{o.by("boss"), "list-access-keys-bulk", "listType=all&users=" + url.QueryEscape(eveDN), "", 1, 1},
	} {
		answer, code := o.sealed(tt.by, "GET", tt.path, tt.query, nil)
		var users map[string]struct{ ServiceAccounts []json.RawMessage }
		if code == "" {
			o.must(t, json.Unmarshal([]byte(answer), &users))
		}
		keys := 0
		for _, user := range users {
			keys += len(user.ServiceAccounts)
		}
		if code != tt.code || len(users) != tt.users || keys != tt.keys {
			t.Errorf("%s?%s: %q %s", tt.path, tt.query, code, answer)
		}
	}
}

func TestBearersOfTokensMakeAccessKeysForThemselves(t *testing.T) {
	o, there := serveTrusting(t)
	o.put("k", "content")
	var answer struct {
		Result struct{ Credentials temporary } `xml:"AssumeRoleWithWebIdentityResult"`
	}
	o.must(t, xml.Unmarshal([]byte(o.ok(federated("AssumeRoleWithWebIdentity", "WebIdentityToken", tokenOf(t, there, "eve", "readonly", time.Hour))).body), &answer))
	session := answer.Result.Credentials
	made, code := o.sealed(session.as(call{}), "PUT", "add-service-account", "", map[string]any{"accessKey": "eveskey"})
	if code != "" {
		t.Fatal(code)
	}
	o.ok(o.keyOf(made).as(call{method: "GET", path: "/bucket/k"}))
	o.refused("AccessDenied", o.keyOf(made).as(call{method: "PUT", path: "/bucket/new", body: "x"}))
	for query, want := range map[string]bool{
		"all=true": true, "users=eve": true, "users=ann": false, "all=true&configName=OTHER": false, "all=true&allConfigs=true": true, "all=true&listType=sts-only": true,
	} {
		got, code := o.sealed(o.by("boss"), "GET", "idp/openid/list-access-keys-bulk", query, nil)
		if shown := strings.Contains(got, `{"configName":"_","users":[{"minioAccessKey":"openid=eve","ID":"eve","readableName":"eve"`); code != "" || shown != want {
			t.Errorf("%s: %s %s", query, got, code)
		}
	}
}

// TestPeopleSeeWhatIsTheirs is about accountinfo, which consoles ask first.
func TestPeopleSeeWhatIsTheirs(t *testing.T) {
	o := serveCrowd(t)
	o.associate("attach", "user", eveDN, "readwrite")
	session := o.byPassword("eve")
	got := o.ok(session.as(call{method: "GET", path: "/minio/admin/v3/accountinfo"})).body
	if !strings.Contains(got, `"AccountName":"`+eveDN+`"`) || !strings.Contains(got, `"s3:*"`) || !strings.Contains(got, `"name":"bucket"`) {
		t.Error(got)
	}
}

func TestSomebodyOfAnLDAPDirectoryIsShown(t *testing.T) {
	o := serveCrowd(t)
	o.associate("attach", "user", eveDN, "readonly")
	o.associate("attach", "group", devsDN, "writeonly")
	got, code := o.admin("boss", "GET", "user-info", "accessKey="+url.QueryEscape(strings.ToUpper(eveDN)), "")
	if want := fmt.Sprintf(`{"userAuthInfo":{"type":"ldap","authServerUserID":"eve"},"policyName":"readonly","status":"enabled","memberOf":[%q],`, devsDN); code != "" || !strings.HasPrefix(got.body, want) {
		t.Errorf("%s %s", got.body, code)
	}
	if _, code := o.admin("boss", "GET", "user-info", "accessKey="+url.QueryEscape("uid=nobody,dc=example"), ""); code != "XMinioAdminNoSuchUser" {
		t.Errorf("nobody: %q", code)
	}
}

func TestPoliciesOfEntriesAreShownAsTheyWereAttached(t *testing.T) {
	o := serveCrowd(t)
	if code := o.associate("attach", "user", "eve", "readonly"); code != "" {
		t.Fatalf("by the name: %s", code)
	}
	o.associate("attach", "group", devsDN, "writeonly")
	const users = `"userMappings":[{"user":"` + eveDN + `","policies":["readonly"]`
	for query, want := range map[string]string{
		"":                                 users + `}],"groupMappings":[{"group":"` + devsDN + `","policies":["writeonly"]}],"policyMappings":[`,
		"user=eve":                         users + `,"memberOfMappings":[{"group":"` + devsDN + `","policies":["writeonly"]}]}]}`,
		"user=adam":                        `"userMappings":[{"user":"uid=adam,dc=example","policies":[]}]}`,
		"group=" + url.QueryEscape(devsDN): `"groupMappings":[{"group":"` + devsDN + `","policies":["writeonly"]}]}`,
	} {
		if got, code := o.sealed(o.by("boss"), "GET", "idp/ldap/policy-entities", query, nil); code != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %s %s, want %s", query, got, code, want)
		}
	}
}

func TestAUserIsShownWithWhatTheGroupsHave(t *testing.T) {
	o := serveOffice(t)
	o.must(t, o.directory.AddMembers(t.Context(), "devs", []string{"ann"}))
	_, err := o.directory.Attach(t.Context(), directory.Holder{Name: "devs", Group: true}, []string{"writeonly"})
	o.must(t, err)
	const want = `"userMappings":[{"user":"ann","policies":["readonly"],"memberOfMappings":[{"group":"devs","policies":["writeonly"]}]}]}`
	if got, code := o.sealed(o.by("boss"), "GET", "idp/builtin/policy-entities", "user=ann", nil); code != "" || !strings.Contains(got, want) {
		t.Errorf("%s %s, want %s", got, code, want)
	}
}
