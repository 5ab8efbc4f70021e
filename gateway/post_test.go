package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // version 2 is defined by it
	"encoding/base64"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// form is a browser's form: its fields in order, and the file.
type form struct {
	fields     [][2]string
	file       string
	conditions []string // of the policy, as JSON, beside those that fields need
	secret     string   // "" is the right one
	user       string   // "" is testUser
	expires    time.Duration
	unsigned   bool
	header     map[string]string // beside the content type
}

// signed returns the fields with policy and signature.
func (fm form) signed() [][2]string {
	if fm.unsigned {
		return fm.fields
	}
	if fm.secret == "" {
		fm.secret = testSecret
	}
	if fm.user == "" {
		fm.user = testUser
	}
	if fm.expires == 0 {
		fm.expires = time.Hour
	}
	now := time.Now().UTC()
	scope := now.Format("20060102") + "/" + object.DefaultRegion + "/s3/aws4_request"
	fields := append([][2]string{
		{"x-amz-algorithm", "AWS4-HMAC-SHA256"}, {"x-amz-credential", fm.user + "/" + scope}, {"x-amz-date", now.Format("20060102T150405Z")},
	}, fm.fields...)
	conditions := append([]string{`{"bucket":"bucket"}`}, fm.conditions...)
	for _, field := range fields {
		if !strings.Contains(strings.Join(fm.conditions, ""), `"$`+field[0]+`"`) && !strings.HasPrefix(field[0], "x-ignore-") && field[0] != "extra" {
			conditions = append(conditions, fmt.Sprintf(`["starts-with","$%s",""]`, field[0]))
		}
	}
	policy := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"expiration":%q,"conditions":[%s]}`, now.Add(fm.expires).Format(time.RFC3339), strings.Join(conditions, ",")))
	creds := sigv4.Credentials{AccessKey: fm.user, Secret: fm.secret, Region: object.DefaultRegion}
	return append(fields, [2]string{"policy", policy}, [2]string{"x-amz-signature", creds.SignPolicy(policy, now)})
}

// post sends the form.
func (f *fixture) post(fm form) reply {
	f.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, field := range fm.signed() {
		if err := w.WriteField(field[0], field[1]); err != nil {
			f.t.Fatal(err)
		}
	}
	if fm.file != "none" {
		part, err := w.CreateFormFile("file", `C:\dir\photo.jpg`)
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprint(part, fm.file)
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	header := map[string]string{"Content-Type": w.FormDataContentType()}
	maps.Copy(header, fm.header)
	return f.do(call{method: "POST", path: "/bucket", body: body.String(), anonymous: true, header: header})
}

func TestFormStoresItsFile(t *testing.T) {
	f := withBucket(t)
	r := f.post(form{file: "picture", fields: [][2]string{
		{"key", "in//${filename}"},
		{"Content-Type", "image/jpeg"},
		{"Content-Language", "de"},
		{"Cache-Control", "no-store"},
		{"x-amz-meta-who", "me"},
		{"tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"},
		{"success_action_status", "201"},
		{"x-ignore-this", "x"},
	}})
	if r.status != 201 || !strings.Contains(r.body, "<Key>in//photo.jpg</Key>") || !strings.HasSuffix(r.header.Get("Location"), "/bucket/in//photo.jpg") {
		t.Fatalf("%d %s %v", r.status, r.body, r.header)
	}
	if got := r.header.Get("x-amz-checksum-crc64nvme"); got != checksumOf("CRC64NVME", "picture") {
		t.Errorf("its checksum is %q", got)
	}
	got := f.ok(call{method: "GET", path: "/bucket/in//photo.jpg"})
	for name, want := range map[string]string{"Content-Type": "image/jpeg", "Content-Language": "de", "Cache-Control": "no-store", "x-amz-meta-who": "me", "x-amz-tagging-count": "1"} {
		if v := got.header.Get(name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if got.body != "picture" {
		t.Errorf("stored %q", got.body)
	}
}

func TestFormIsAnsweredAsItAsks(t *testing.T) {
	f := withBucket(t)
	for status, want := range map[string]int{"200": 200, "201": 201, "204": 204, "404": 204} {
		if r := f.post(form{fields: [][2]string{{"key", "k"}, {"success_action_status", status}}}); r.status != want {
			t.Errorf("%s: %d %s", status, r.status, r.body)
		}
	}
}

func TestARedirectKeepsWhatItsURLSays(t *testing.T) {
	f := withBucket(t)
	const told = "bucket=bucket&key=k%26+k&etag=%22d41d8cd98f00b204e9800998ecf8427e%22"
	for target, want := range map[string]string{
		"http://example.com":                    "http://example.com?" + told,
		"http://example.com/done?":              "http://example.com/done?" + told,
		"http://example.com/done?z=1&a=2&z=3":   "http://example.com/done?z=1&a=2&z=3&" + told,
		"http://example.com/?flag&a=b+c;d%2f&&": "http://example.com/?flag&a=b+c;d%2f&&&" + told,
		"http://example.com/?bucket=mine#a?b":   "http://example.com/?bucket=mine&" + told + "#a?b",
	} {
		r := f.post(form{fields: [][2]string{{"key", "k& k"}, {"success_action_redirect", target}}})
		if got := r.header.Get("Location"); r.status != 303 || got != want {
			t.Errorf("%s: %d to %s, want %s", target, r.status, got, want)
		}
	}
}

// Programs look for the elements by their bare names, as AWS answers them.
func TestAnswerToAFormHasNoNamespace(t *testing.T) {
	f := withBucket(t)
	r := f.post(form{fields: [][2]string{{"key", "k"}, {"success_action_status", "201"}}})
	if !strings.Contains(r.body, "<PostResponse><Location>") || !strings.HasSuffix(r.body, "</PostResponse>") {
		t.Error(r.body)
	}
}

func TestFormThatIsRefusedStoresNothing(t *testing.T) {
	key := [2]string{"key", "k"}
	for name, tt := range map[string]struct {
		form form
		code string
	}{
		"no key":                    {form{fields: [][2]string{{"Content-Type", "x"}}}, "InvalidArgument"},
		"no file":                   {form{fields: [][2]string{key}, file: "none"}, "InvalidArgument"},
		"unsigned":                  {form{fields: [][2]string{key}, unsigned: true}, "AccessDenied"},
		"wrong secret":              {form{fields: [][2]string{key}, secret: "wrong"}, "SignatureDoesNotMatch"},
		"expired":                   {form{fields: [][2]string{key}, expires: -time.Minute}, "AccessDenied"},
		"a field not in the policy": {form{fields: [][2]string{key, {"extra", "x"}}}, "AccessDenied"},
		"another value":             {form{fields: [][2]string{key}, conditions: []string{`["eq","$key","other"]`}}, "AccessDenied"},
		"another prefix":            {form{fields: [][2]string{key}, conditions: []string{`["starts-with","$key","user/"]`}}, "AccessDenied"},
		"another bucket":            {form{fields: [][2]string{key}, conditions: []string{`{"bucket":"other"}`}}, "AccessDenied"},
		"an unknown condition":      {form{fields: [][2]string{key}, conditions: []string{`["like","$key","k"]`}}, "InvalidPolicyDocument"},
		"too small":                 {form{fields: [][2]string{key}, file: "x", conditions: []string{`["content-length-range",2,9]`}}, "EntityTooSmall"},
		"too large":                 {form{fields: [][2]string{key}, file: "0123456789", conditions: []string{`["content-length-range",2,9]`}}, "EntityTooLarge"},
		"too many fields":           {form{fields: [][2]string{key, {"x-amz-meta-a", strings.Repeat("x", maxFormBytes)}}}, "MaxPostPreDataLengthExceeded"},
		"too much metadata":         {form{fields: [][2]string{key, {"x-amz-meta-a", strings.Repeat("x", maxUserMeta)}}}, "MetadataTooLarge"},
		"metadata without a name":   {form{fields: [][2]string{key, {"x-amz-meta-", "x"}}}, "MalformedPOSTRequest"},
		"metadata that is no token": {form{fields: [][2]string{key, {"x-amz-meta-a b", "x"}}}, "MalformedPOSTRequest"},
		"a type that is no header":  {form{fields: [][2]string{key, {"Content-Type", "text/x\r\nSet-Cookie: y"}}}, "InvalidArgument"},
		"a field without a name":    {form{fields: [][2]string{key, {"", "x"}}}, "MalformedPOSTRequest"},
		"an ACL":                    {form{fields: [][2]string{key, {"acl", "public-read"}}}, "AccessControlListNotSupported"},
		"encryption":                {form{fields: [][2]string{key, {"x-amz-server-side-encryption", "AES256"}}}, "NotImplemented"},
		"a redirect to nowhere":     {form{fields: [][2]string{key, {"x-amz-website-redirect-location", "ftp://x"}}}, "InvalidRedirectLocation"},
		"a wrong checksum":          {form{fields: [][2]string{key, {"x-amz-checksum-crc32", "AAAAAA=="}}, file: "hello"}, "BadDigest"},
		"two checksums":             {form{fields: [][2]string{key, {"x-amz-checksum-crc32", crcOfHello}, {"x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="}}, file: "hello"}, "InvalidRequest"},
		"a checksum that is none":   {form{fields: [][2]string{key, {"x-amz-checksum-crc32", "x"}}}, "InvalidRequest"},
		"tags that are none":        {form{fields: [][2]string{key, {"tagging", "a=b"}}}, "MalformedXML"},
		"a token nobody gave":       {form{fields: [][2]string{key, {"x-amz-security-token", "x"}}}, "InvalidToken"},
		"a key that is too long":    {form{fields: [][2]string{{"key", strings.Repeat("k", 1025)}}}, "KeyTooLongError"},
	} {
		t.Run(name, func(t *testing.T) {
			f := withBucket(t)
			if r := f.post(tt.form); r.code() != tt.code {
				t.Errorf("%d %s, want %s", r.status, r.body, tt.code)
			}
			page, err := f.store.List(context.Background(), object.Query{Bucket: "bucket", Limit: 1})
			if err != nil || len(page.Objects) != 0 {
				t.Errorf("stored %v, %v", page.Objects, err)
			}
		})
	}
}

func TestConditionsOfAPolicySeeHowAFormIsSigned(t *testing.T) {
	f := withBucket(t)
	policy := base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2100-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},{"key":"k"}]}`))
	mac := hmac.New(sha1.New, []byte(testSecret))
	mac.Write([]byte(policy))
	signed := form{fields: [][2]string{{"key", "k"}}}
	old := form{unsigned: true, fields: [][2]string{{"key", "k"}, {"AWSAccessKeyId", testUser}, {"policy", policy}, {"signature", base64.StdEncoding.EncodeToString(mac.Sum(nil))}}}
	for _, tt := range []struct {
		form      form
		condition string
		code      string
	}{
		{signed, `"StringNotEquals":{"s3:authType":"POST"}`, ""},
		{signed, `"StringEquals":{"s3:authType":"POST"}`, "AccessDenied"},
		{signed, `"StringEquals":{"s3:signatureversion":"AWS4-HMAC-SHA256"}`, "AccessDenied"},
		{signed, `"NumericLessThan":{"s3:signatureAge":"600000"}`, "AccessDenied"},
		{signed, `"NumericGreaterThan":{"s3:signatureAge":"600000"}`, ""},
		{old, `"StringNotEquals":{"s3:authType":"POST"}`, ""},
		{old, `"StringEquals":{"s3:signatureversion":"AWS"}`, "AccessDenied"},
		{old, `"StringEquals":{"s3:signatureversion":"AWS4-HMAC-SHA256"}`, ""},
		{old, `"NumericEquals":{"s3:signatureAge":"0"}`, "AccessDenied"},
	} {
		f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{` + tt.condition + `}}]}`})
		if r := f.post(tt.form); r.code() != tt.code {
			t.Errorf("%s: %d %s, want %q", tt.condition, r.status, r.body, tt.code)
		}
	}
}

func TestFormNeedsItsContentType(t *testing.T) {
	f := withBucket(t)
	for kind, code := range map[string]string{"": "PreconditionFailed", "application/json": "PreconditionFailed", "multipart/form-data": "MalformedPOSTRequest", "multipart/form-data; boundary=x": "MalformedPOSTRequest"} {
		f.refused(code, call{method: "POST", path: "/bucket", body: "x", anonymous: true, header: map[string]string{"Content-Type": kind}})
	}
}

func TestFormCannotPutLinesIntoAnswers(t *testing.T) {
	f := withBucket(t)
	if r := f.post(form{fields: [][2]string{{"key", "k"}, {"x-amz-meta-a", "x\r\nSet-Cookie: y"}}}); r.status != http.StatusNoContent {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := f.ok(call{method: "GET", path: "/bucket/k"}); r.header.Get("Set-Cookie") != "" {
		t.Errorf("%v", r.header)
	}
}
