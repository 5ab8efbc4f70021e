package gateway

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// temporary are credentials as the security token service answers with them.
type temporary struct {
	AccessKeyId, SecretAccessKey, SessionToken string //nolint:revive,staticcheck // the names in its XML
	Expiration                                 time.Time
}

// as returns a call signed with temporary credentials.
func (c temporary) as(of call) call {
	of.user, of.secret, of.token = c.AccessKeyId, c.SecretAccessKey, c.SessionToken
	return of
}

// sts returns the call of an action by somebody with parameters "name", "value", ...
func sts(who, action string, parameters ...string) call {
	form := url.Values{"Action": {action}, "Version": {stsVersion}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	c := call{
		method: "POST", path: "/", body: form.Encode(), user: who, secret: secretOf(who), service: "sts",
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}
	if who == testUser {
		c.secret = testSecret
	}
	return c
}

// assume makes temporary credentials of somebody's.
func (o *office) assume(who string, parameters ...string) temporary {
	o.t.Helper()
	var answer struct {
		XMLName xml.Name  `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Made    temporary `xml:"AssumeRoleResult>Credentials"`
		ID      string    `xml:"ResponseMetadata>RequestId"`
	}
	body := o.ok(sts(who, "AssumeRole", parameters...)).body
	if err := xml.Unmarshal([]byte(body), &answer); err != nil || answer.Made.SessionToken == "" || answer.ID == "" {
		o.t.Fatalf("%s: %v", body, err)
	}
	return answer.Made
}

// stsCode returns the code of an error of the service.
func stsCode(t *testing.T, r reply) string {
	t.Helper()
	if r.status < 300 {
		return ""
	}
	var answer struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		ID      string   `xml:"RequestId"`
	}
	if err := xml.Unmarshal([]byte(r.body), &answer); err != nil || answer.Type == "" || answer.ID == "" {
		t.Errorf("%d %s: %v", r.status, r.body, err)
	}
	return answer.Code
}

const mayReadOnlyK = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/k"}]}`

func TestTemporaryCredentialsDoWhatTheirMakerAndTheirPolicyAllow(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "content")
	o.put("l", "content")
	o.addAccount("bound", "boss", `{"Statement":[{"Effect":"Allow","Action":["s3:GetObject","sts:AssumeRole"],"Resource":"arn:aws:s3:::*"}]}`)
	const read, readOther, write = "GET /bucket/k", "GET /bucket/l", "PUT /bucket/new"
	for _, tt := range []struct {
		who, policy, may string
	}{
		{"ann", "", read + readOther},
		{"ann", mayReadOnlyK, read},
		{"ann", strings.ReplaceAll(mayReadOnlyK, "GetObject", "*"), read}, // not more than ann may
		{"annskey", mayReadOnlyK, read},
		{"bound", "", read + readOther},
		{"bound", mayReadOnlyK, read},
		{"boss", "", read + readOther + write},
		{"boss", mayReadOnlyK, read},
		{testUser, "", read + readOther + write},
		{testUser, mayReadOnlyK, read},
	} {
		made := o.assume(tt.who, "Policy", tt.policy)
		for _, what := range []string{read, readOther, write} {
			method, path, _ := strings.Cut(what, " ")
			if got := o.do(made.as(call{method: method, path: path})); got.status == 200 != strings.Contains(tt.may, what) {
				t.Errorf("%s with %q: %s: %d %s", tt.who, tt.policy, what, got.status, got.body)
			}
		}
	}
}

func TestWhoAsksForCredentialsWronglyGetsNone(t *testing.T) {
	o := serveOffice(t)
	o.addAccount("bounded", "boss", `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::*"}]}`)
	o.must(t, o.directory.SetPolicy(t.Context(), "none", `{"Statement":[{"Effect":"Deny","Action":"sts:AssumeRole"}]}`))
	o.must(t, o.directory.SetUser(t.Context(), "eve", secretOf("eve"), true))
	o.must(t, o.directory.SetPolicies(t.Context(), holder("eve"), []string{"none"}))
	session := o.assume("ann")
	with := func(change func(*call)) call {
		c := sts("ann", "AssumeRole")
		change(&c)
		return c
	}
	for what, tt := range map[string]struct {
		call call
		want string
	}{
		"nobody":                    {with(func(c *call) { c.anonymous = true }), "MissingAuthenticationToken"},
		"an unknown key":            {sts("nobody", "AssumeRole"), "InvalidClientTokenId"},
		"a wrong secret":            {with(func(c *call) { c.secret = "wrong" }), "SignatureDoesNotMatch"},
		"another service":           {with(func(c *call) { c.service = "s3" }), "AuthorizationHeaderMalformed"},
		"an unsigned body":          {with(func(c *call) { c.payload = "UNSIGNED-PAYLOAD" }), "AccessDenied"},
		"another body's signature":  {with(func(c *call) { c.payload = strings.Repeat("0", 64) }), "AccessDenied"},
		"a session":                 {session.as(sts("", "AssumeRole")), "AccessDenied"},
		"who is denied it":          {sts("eve", "AssumeRole"), "AccessDenied"},
		"a bound that lacks it":     {sts("bounded", "AssumeRole"), "AccessDenied"},
		"an unknown action":         {sts("ann", "GetFederationToken"), "InvalidAction"},
		"another version":           {sts("ann", "AssumeRole", "Version", "2010-01-01"), "InvalidParameterValue"},
		"too short":                 {sts("ann", "AssumeRole", "DurationSeconds", "899"), "InvalidParameterValue"},
		"too long":                  {sts("ann", "AssumeRole", "DurationSeconds", "604801"), "InvalidParameterValue"},
		"much too long":             {sts("ann", "AssumeRole", "DurationSeconds", "9223372036854775807"), "InvalidParameterValue"},
		"a duration that is none":   {sts("ann", "AssumeRole", "DurationSeconds", "1h"), "InvalidParameterValue"},
		"a name that is none":       {sts("ann", "AssumeRole", "RoleSessionName", "a b"), "InvalidParameterValue"},
		"a policy that is none":     {sts("ann", "AssumeRole", "Policy", `{"Statement":[{"Effect":"Allow"}]}`), "MalformedPolicyDocument"},
		"a policy that is too long": {sts("ann", "AssumeRole", "Policy", strings.Repeat(" ", 2049)+mayReadOnlyK), "InvalidParameterValue"},
		"a second factor":           {sts("ann", "AssumeRole", "SerialNumber", "arn:aws:iam::123456789012:mfa/ann"), "InvalidParameterValue"},
		"a code of one":             {sts("ann", "AssumeRole", "TokenCode", "123456"), "InvalidParameterValue"},
		"whose it really is":        {sts("ann", "AssumeRole", "SourceIdentity", "bob"), "InvalidParameterValue"},
		"tags of a session":         {sts("ann", "AssumeRole", "Tags.member.1.Key", "team"), "InvalidParameterValue"},
		"policies by name":          {sts("ann", "AssumeRole", "PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/x"), "InvalidParameterValue"},
	} {
		if got := stsCode(t, o.do(tt.call)); got != tt.want {
			t.Errorf("%s: %q, want %s", what, got, tt.want)
		}
	}
}

func TestASessionLivesAsLongAsItIsAskedTo(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "content")
	for seconds, life := range map[string]time.Duration{"": time.Hour, "900": 15 * time.Minute, "604800": 7 * 24 * time.Hour} {
		made := o.assume("ann", "DurationSeconds", seconds)
		if left := time.Until(made.Expiration); left > life || left < life-time.Minute {
			t.Errorf("%q: %v", seconds, left)
		}
		read := made.as(call{method: "GET", path: "/bucket/k"})
		o.ok(read)
		o.ahead.Store(int64(life))
		o.refused("ExpiredToken", read)
		if got := stsCode(t, o.do(made.as(sts("", "GetCallerIdentity")))); got != "ExpiredToken" {
			t.Errorf("the service says %q", got)
		}
		o.ahead.Store(0)
	}
}

func TestTemporaryCredentialsNeedTheirOwnToken(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "content")
	one, other := o.assume("ann"), o.assume("ann")
	read := call{method: "GET", path: "/bucket/k"}
	with := func(token string) call {
		c := one.as(read)
		c.token = token
		return c
	}
	o.refused("InvalidAccessKeyId", with(""))
	o.refused("InvalidToken", with(other.SessionToken))
	first := "x"
	if strings.HasPrefix(one.SessionToken, first) {
		first = "y"
	}
	o.refused("InvalidToken", with(first+one.SessionToken[1:]))
	o.refused("InvalidToken", with(strings.Repeat("A", 16<<10)))
	o.refused("InvalidToken", call{method: "GET", path: "/bucket/k", token: one.SessionToken})
	wrong := one.as(read)
	wrong.secret = other.SecretAccessKey
	o.refused("SignatureDoesNotMatch", wrong)
	o.ok(one.as(read))
}

func TestTemporaryCredentialsSignInEveryWay(t *testing.T) {
	o := serveOffice(t)
	made := o.assume("boss")
	creds := sigv4.Credentials{AccessKey: made.AccessKeyId, Secret: made.SecretAccessKey, SecurityToken: made.SessionToken, Region: object.DefaultRegion}

	now := time.Now()
	c := made.as(call{
		method: "PUT", path: "/bucket/k", payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", now: now,
		header: map[string]string{"x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked"},
	})
	_, after, _ := strings.Cut(o.rawRequest(c, 0), "Signature=")
	body := chunkFramesUnder(made.SecretAccessKey, now, after[:64], "content", "")
	_, r := o.raw(o.rawRequest(c, len(body)) + body)
	if got := readReply(t, r); got.status != http.StatusOK {
		t.Errorf("chunks: %d %s", got.status, got.body)
	}

	request := sigv4.Request{Method: "GET", Path: "/bucket/k", Header: sigv4.Fields{{Name: "Host", Value: o.addr}}}
	query := creds.Presign(request, time.Hour, now)
	if got := o.ok(call{method: "GET", path: "/bucket/k", query: query, anonymous: true}); got.body != "content" {
		t.Errorf("presigned: %q", got.body)
	}
	o.refused("InvalidAccessKeyId", call{method: "GET", path: "/bucket/k", query: strings.Replace(query, "X-Amz-Security-Token", "X-Amz-Other", 1), anonymous: true})

	if got := o.ok(call{method: "GET", path: "/bucket/k", query: presignV2With(made.AccessKeyId, made.SecretAccessKey, made.SessionToken, "GET", "/bucket/k"), anonymous: true}); got.body != "content" {
		t.Errorf("presigned, version 2: %q", got.body)
	}

	if got := o.post(form{file: "x", user: made.AccessKeyId, secret: made.SecretAccessKey, fields: [][2]string{{"key", "posted"}, {"x-amz-security-token", made.SessionToken}}}); got.status != http.StatusNoContent {
		t.Errorf("form: %d %s", got.status, got.body)
	}
}

func TestSessionsEndWithWhoMadeThem(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "content")
	ctx := t.Context()
	read := call{method: "GET", path: "/bucket/k"}
	byUser, byKey := o.assume("ann").as(read), o.assume("annskey").as(read)
	o.ok(byUser)
	o.ok(byKey)
	o.must(t, o.directory.EnableUser(ctx, "ann", false))
	o.refused("InvalidAccessKeyId", byUser)
	o.refused("InvalidAccessKeyId", byKey)
	o.must(t, o.directory.EnableUser(ctx, "ann", true))
	o.ok(byUser)
	o.must(t, o.directory.RemoveAccount(ctx, "annskey"))
	o.refused("InvalidAccessKeyId", byKey)
	o.ok(byUser)
	o.must(t, o.directory.RemoveUser(ctx, "ann"))
	o.must(t, o.directory.SetUser(ctx, "ann", secretOf("ann"), true)) // another one
	_, err := o.directory.Attach(ctx, holder("ann"), []string{"readonly"})
	o.must(t, err)
	o.refused("InvalidAccessKeyId", byUser)
}

func TestPoliciesSeeThatCredentialsAreTemporary(t *testing.T) {
	o := serveOffice(t)
	o.put("k", "content")
	for condition, holds := range map[string]bool{
		`"StringEquals":{"aws:PrincipalType":"AssumedRole"}`:              true,
		`"StringEquals":{"aws:PrincipalType":"User"}`:                     false,
		`"StringEquals":{"aws:userid":"boss:job"}`:                        true,
		`"StringEquals":{"aws:username":"boss"}`:                          true,
		`"DateGreaterThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}`: true,
		`"DateLessThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}`:    false,
		`"Null":{"aws:TokenIssueTime":"true"}`:                            false,
		`"StringEquals":{"jwt:sub":"boss"}`:                               false,
	} {
		policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::*","Condition":{%s}}]}`, condition)
		made := o.assume("boss", "Policy", policy, "RoleSessionName", "job")
		if got := o.do(made.as(call{method: "GET", path: "/bucket/k"})); got.status == http.StatusOK != holds {
			t.Errorf("%s: %d %s", condition, got.status, got.body)
		}
	}
}

func TestTheServiceTellsWhoOneIs(t *testing.T) {
	o := serveOffice(t)
	for who, tt := range map[string]struct {
		call call
		want string
	}{
		"the root user": {sts(testUser, "GetCallerIdentity"), "<Arn>arn:aws:iam::000000000000:root</Arn>"},
		"a user":        {sts("ann", "GetCallerIdentity"), "<Arn>arn:aws:iam::000000000000:user/ann</Arn>"},
		"a session":     {o.assume("ann", "RoleSessionName", "job").as(sts("", "GetCallerIdentity")), "<Arn>arn:aws:sts::000000000000:assumed-role/ann/job</Arn>"},
	} {
		if got := o.ok(tt.call); !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %s", who, got.body)
		}
	}
}

func TestWhatIsPostedToTheRootAndIsNoCallIsRefused(t *testing.T) {
	o := serveOffice(t)
	o.refused("MethodNotAllowed", call{method: "POST", path: "/"})
	o.refused("MethodNotAllowed", call{method: "POST", path: "/", body: "a=b"})
	o.refused("MaxMessageLengthExceeded", call{method: "POST", path: "/", body: strings.Repeat("a", maxSTSForm+1)})
	plain := withBucket(t)
	if got := stsCode(t, plain.do(sts(testUser, "AssumeRole"))); got != "InvalidAction" {
		t.Errorf("without users: %q", got)
	}
}

// TestASessionWithAPolicyMakesNoServiceAccounts: they would outlive it and not be bound.
func TestASessionWithAPolicyMakesNoServiceAccounts(t *testing.T) {
	o := serveOffice(t)
	made := o.assume("ann", "Policy", `{"Statement":[{"Effect":"Allow","Action":["s3:*","admin:*"],"Resource":"arn:aws:s3:::*"}]}`)
	sealed, err := o.sealer.Seal(made.SecretAccessKey, []byte(`{}`))
	o.must(t, err)
	if got := o.do(made.as(call{method: "PUT", path: "/minio/admin/v3/add-service-account", body: string(sealed)})); got.status != http.StatusForbidden {
		t.Errorf("%d %s", got.status, got.body)
	}
}
