package gateway

import (
	"archive/tar"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func (f *fixture) setPolicy(statements string) {
	f.t.Helper()
	f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Version": "2012-10-17", "Statement": [` + statements + `]}`})
}

const everyoneReads = `{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/open/*"}`

func TestAPolicyLetsInEveryone(t *testing.T) {
	f := serveBucket(t)
	f.put("open/k", "content")
	f.put("closed", "content")
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/open/k", anonymous: true})
	f.setPolicy(everyoneReads)
	if got := f.ok(call{method: "GET", path: "/bucket/open/k", anonymous: true}); got.body != "content" {
		t.Errorf("got %q", got.body)
	}
	for _, c := range []call{
		{method: "GET", path: "/bucket/closed"},
		{method: "GET", path: "/bucket/open/none"}, // who may not list is not told that it is missing
		{method: "PUT", path: "/bucket/open/k", body: "x"},
		{method: "DELETE", path: "/bucket/open/k"},
		{method: "GET", path: "/bucket"},
		{method: "GET", path: "/bucket", query: "policy"},
	} {
		c.anonymous = true
		f.refused("AccessDenied", c)
	}
	f.setPolicy(everyoneReads + `, {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}`)
	f.refused("NoSuchKey", call{method: "GET", path: "/bucket/open/none", anonymous: true})
	f.ok(call{method: "DELETE", path: "/bucket", query: "policy"})
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/open/k", anonymous: true})
}

func TestWhatAPolicyDeniesEvenRootMayNotDo(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "content")
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}`)
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/k"})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", body: "x"})
	f.refused("AccessDenied", call{method: "DELETE", path: "/bucket"})
	f.ok(call{method: "GET", path: "/bucket", query: "policy"})
	f.ok(call{method: "DELETE", path: "/bucket", query: "policy"})
	if got := f.get("k"); got != "content" {
		t.Errorf("got %q", got)
	}
}

func TestConditionsOfAPolicySeeTheRequest(t *testing.T) {
	f := serveBucket(t)
	f.ok(call{method: "PUT", path: "/bucket/tagged", body: "x", header: map[string]string{"x-amz-tagging": "open=yes"}})
	f.put("plain", "x")
	for _, tt := range []struct {
		condition string
		allowed   call
		denied    call
	}{
		{
			`"StringLike": {"aws:Referer": "https://example.com/*"}`,
			call{path: "/bucket/plain", header: map[string]string{"Referer": "https://example.com/page"}},
			call{path: "/bucket/plain"},
		},
		{`"StringEquals": {"s3:ExistingObjectTag/open": "yes"}`, call{path: "/bucket/tagged"}, call{path: "/bucket/plain"}},
		{
			`"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "StringLike": {"aws:UserAgent": "probe*"}`,
			call{path: "/bucket/plain", header: map[string]string{"User-Agent": "probe/1"}},
			call{path: "/bucket/plain"},
		},
		{`"StringEquals": {"aws:PrincipalType": "Anonymous"}, "Bool": {"aws:SecureTransport": "false"}`, call{path: "/bucket/plain"}, call{path: "/bucket/none"}},
		{`"DateGreaterThan": {"aws:CurrentTime": "2099-01-01"}`, call{path: "/", method: "OPTIONS"}, call{path: "/bucket/plain"}},
	} {
		f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {` + tt.condition + `}}`)
		if tt.allowed.method == "" {
			tt.allowed.method, tt.allowed.anonymous = "GET", true
			f.ok(tt.allowed)
		}
		tt.denied.method, tt.denied.anonymous = "GET", true
		f.refused("AccessDenied", tt.denied)
	}
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket", "Condition": {"StringLike": {"s3:prefix": "pub*"}, "NumericLessThanEquals": {"s3:max-keys": "10"}}}`)
	f.ok(call{method: "GET", path: "/bucket", query: "prefix=public&max-keys=5", anonymous: true})
	f.refused("AccessDenied", call{method: "GET", path: "/bucket", query: "prefix=public&max-keys=11", anonymous: true})
	f.refused("AccessDenied", call{method: "GET", path: "/bucket", query: "max-keys=5", anonymous: true})
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringNotEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}}`)
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", body: "x"})
	f.ok(call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"x-amz-storage-class": "STANDARD_IA"}})
}

func TestConditionsOfAPolicySeeWhereABucketIsToBe(t *testing.T) {
	o := serveOffice(t)
	make := func(bucket, condition, body string) call {
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:CreateBucket","Resource":"arn:aws:s3:::*","Condition":{` + condition + `}}]}`
		return o.assume("boss", "Policy", policy).as(call{method: "PUT", path: "/" + bucket, body: body})
	}
	const here = "<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>"
	const mustBeHere, mustNotBeSaid = `"StringLike":{"s3:LocationConstraint":"us-east-*"}`, `"Null":{"s3:LocationConstraint":"true"}`
	o.ok(make("one", mustBeHere, here))
	o.refused("AccessDenied", make("two", mustBeHere, ""))
	o.refused("AccessDenied", make("two", `"StringEquals":{"s3:LocationConstraint":"eu-west-1"}`, here))
	o.ok(make("two", mustNotBeSaid, ""))
	o.refused("AccessDenied", make("three", mustNotBeSaid, here))
	o.refused("AccessDenied", call{method: "PUT", path: "/three", body: here, anonymous: true})
	o.refused("NoSuchBucket", call{method: "GET", path: "/three", query: "location="})
}

func TestConditionsOfAPolicySeeTheTagsThatAreGiven(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	const allowed, denied = "team=blue", "team=red"
	document := func(tag string) string {
		name, value, _ := strings.Cut(tag, "=")
		return "<Tagging><TagSet><Tag><Key>" + name + "</Key><Value>" + value + "</Value></Tag></TagSet></Tagging>"
	}
	const either = `{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}, `
	for _, condition := range []string{
		`"StringEquals": {"s3:RequestObjectTag/team": "blue"}`,
		`"StringEquals": {"s3:RequestObjectTag/team": "blue"}, "ForAllValues:StringLike": {"s3:RequestObjectTagKeys": "t*"}`,
	} {
		f.setPolicy(either + `{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObjectTagging", "Resource": "arn:aws:s3:::bucket/*", "Condition": {` + condition + `}}`)
		for tag, code := range map[string]string{allowed: "", denied: "AccessDenied"} {
			f.refused(code, call{method: "PUT", path: "/bucket/k", query: "tagging=", body: document(tag), anonymous: true})
			f.refused(code, call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"x-amz-tagging": tag}, anonymous: true})
			if got := f.post(form{unsigned: true, fields: [][2]string{{"key", "k"}, {"tagging", document(tag)}}, file: "x"}); got.code() != code {
				t.Errorf("a form with %s: %d %s", tag, got.status, got.body)
			}
		}
	}
	f.ok(call{method: "PUT", path: "/bucket/red", body: "x", header: map[string]string{"x-amz-tagging": denied}})
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringNotEquals": {"s3:RequestObjectTag/team": "blue"}}}`)
	for directive, code := range map[string]string{"": "AccessDenied", "COPY": "AccessDenied", "REPLACE": ""} {
		f.refused(code, call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/red", "x-amz-tagging": allowed, "x-amz-tagging-directive": directive}})
	}
	f.setPolicy(either + `{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObjectTagging", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringEquals": {"s3:RequestObjectTag/team": "blue"}}}`)
	entry := tar.Header{Name: "k", Linkname: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{"minio.metadata.X-Amz-Tagging": denied}}
	archive := extracting(archived(t, entry), "x-amz-tagging", allowed)
	archive.anonymous = true
	f.refused("AccessDenied", archive)
	for _, body := range []string{document("other=blue"), "<Tagging>", ""} {
		f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", query: "tagging=", body: body, anonymous: true})
	}
}

func TestConditionsOfAPolicySeeWhatIsCopiedHoweverItIsWritten(t *testing.T) {
	f := serveBucket(t)
	f.put("hidden/k", "x")
	f.put("open/k", "x")
	from := func(source string) call {
		return call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": source}}
	}
	for _, pattern := range []string{"bucket/hidden/*", "/bucket/hidden/*"} {
		for operator, source := range map[string]string{"StringLike": "hidden", "StringNotLike": "open"} {
			f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"` + operator + `": {"s3:x-amz-copy-source": "` + pattern + `"}}}`)
			for _, form := range []string{"bucket/%s/k", "/bucket/%s/k", "bucket%%2F%s%%2Fk", "/bucket/%s%%2Fk?versionId=null"} {
				f.refused("AccessDenied", from(fmt.Sprintf(form, source)))
			}
			f.ok(from("/bucket/" + map[string]string{"hidden": "open", "open": "hidden"}[source] + "/k"))
		}
	}
}

func TestConditionsOfAPolicySeeAMasterKeyHoweverItIsWritten(t *testing.T) {
	f := withKeys(t, nil)
	put := func(id string) call { return call{method: "PUT", path: "/bucket/k", body: "x", header: named(id)} }
	for _, id := range []string{"second", "arn:aws:kms:second"} {
		f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "` + id + `"}}}`)
		for _, form := range []string{"second", "arn:aws:kms:second", "arn:aws:kms:us-east-1:111122223333:key/second"} {
			f.refused("AccessDenied", put(form))
		}
		f.ok(put("first"))
	}
}

func TestConditionsOfAPolicySeeTheACLOfAForm(t *testing.T) {
	f := serveBucket(t)
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}}`)
	for acl, code := range map[string]string{"bucket-owner-full-control": "", "private": "AccessDenied"} {
		if got := f.post(form{unsigned: true, fields: [][2]string{{"key", "k"}, {"acl", acl}}, file: "x"}); got.code() != code {
			t.Errorf("%s: %d %s", acl, got.status, got.body)
		}
	}
}

func TestHeadersBesideAFormDoNotCountForConditions(t *testing.T) {
	f := serveBucket(t)
	f.put("source", "x")
	for name, value := range map[string]string{
		"x-amz-acl": "bucket-owner-full-control", "if-none-match": "*", "x-amz-copy-source": "/bucket/source", "x-amz-server-side-encryption": "AES256",
	} {
		f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringEquals": {"s3:` + name + `": "` + value + `"}}}`)
		if got := f.post(form{unsigned: true, fields: [][2]string{{"key", "k"}}, file: "x", header: map[string]string{name: value}}); got.code() != "AccessDenied" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		f.missing("k")
	}
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:PutObjectTagging"], "Resource": "arn:aws:s3:::bucket/*", "Condition": {"StringEquals": {"s3:RequestObjectTag/a": "b"}}}`)
	if got := f.post(form{unsigned: true, fields: [][2]string{{"key", "k"}}, file: "x", header: map[string]string{"x-amz-tagging": "a=b"}}); got.code() != "AccessDenied" {
		t.Errorf("tags: %d %s", got.status, got.body)
	}
}

func TestToRenameAnObjectOneMustBeAllowedToReadIt(t *testing.T) {
	f := serveBucket(t)
	f.put("hidden/k", "content")
	f.put("open/k", "content")
	f.setPolicy(everyoneReads + `, {"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::bucket/*"}`)
	rename := func(from string) call {
		return call{method: "PUT", path: "/bucket/open/moved", query: "renameObject=", header: map[string]string{"x-amz-rename-source": from}, anonymous: true}
	}
	f.refused("AccessDenied", rename("hidden/k"))
	f.ok(rename("open/k"))
}

func TestToTagWhatOneWritesTakesAPermissionOfItsOwn(t *testing.T) {
	f := serveBucket(t)
	f.put("plain", "x")
	f.ok(call{method: "PUT", path: "/bucket/tagged", body: "x", header: map[string]string{"x-amz-tagging": "a=b"}})
	tags := map[string]string{"x-amz-tagging": "a=b"}
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObjectTagging", "Resource": "arn:aws:s3:::bucket/*"}`)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", body: "x", header: tags})
	f.refused("AccessDenied", call{method: "POST", path: "/bucket/k", query: "uploads=", header: tags})
	copied := func(source, directive string) call {
		return call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/" + source, "x-amz-tagging": "a=b", "x-amz-tagging-directive": directive}}
	}
	f.ok(copied("plain", "COPY"))
	f.refused("AccessDenied", copied("tagged", "COPY"))
	f.refused("AccessDenied", copied("plain", "REPLACE"))
}

// TestWhatAPolicyCannotGiveToStrangers: with one that allows everything to everyone.
func TestWhatAPolicyCannotGiveToStrangers(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}`)
	upload := f.upload("m")
	from := headers{"x-amz-copy-source": "/bucket/k"}
	for name, c := range map[string]struct {
		call
		code, message string
	}{
		"GetBucketPolicy":         {call{method: "GET", path: "/bucket", query: "policy"}, "MethodNotAllowed", ""},
		"PutBucketPolicy":         {call{method: "PUT", path: "/bucket", query: "policy", body: "{}"}, "MethodNotAllowed", ""},
		"DeleteBucketPolicy":      {call{method: "DELETE", path: "/bucket", query: "policy"}, "MethodNotAllowed", ""},
		"GetOwnershipControls":    {call{method: "GET", path: "/bucket", query: "ownershipControls"}, "AccessDenied", "s3:GetBucketOwnershipControls does not support Anonymous requests!"},
		"DeletePublicAccessBlock": {call{method: "DELETE", path: "/bucket", query: "publicAccessBlock"}, "AccessDenied", "does not support Anonymous requests!"},
		"CopyObject":              {call{method: "PUT", path: "/bucket/copy", header: from}, "AccessDenied", "Anonymous users cannot copy objects.  Please authenticate."},
		"UploadPartCopy":          {call{method: "PUT", path: "/bucket/m", query: "partNumber=1&uploadId=" + upload, header: from}, "AccessDenied", "Anonymous users cannot copy objects.  Please authenticate."},
		"CreateMultipartUpload":   {call{method: "POST", path: "/bucket/new", query: "uploads"}, "AccessDenied", "Anonymous users cannot initiate multipart uploads.  Please authenticate."},
	} {
		c.anonymous = true
		if r := f.do(c.call); r.code() != c.code || !strings.Contains(r.body, c.message) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	f.ok(call{method: "GET", path: "/bucket/k", anonymous: true})
	f.ok(call{method: "GET", path: "/bucket", query: "policy"})
}

func TestWhoMayNotReadAnObjectIsNotToldWhetherItHasAnETag(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	etag := f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("ETag")
	for match, allowed := range map[string]bool{etag: false, `"0123456789abcdef0123456789abcdef"`: false, "*": true} {
		f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}`)
		deletes := "<Delete><Object><Key>k</Key><ETag>" + match + "</ETag></Object></Delete>"
		for name, c := range map[string]call{
			"PutObject":     {method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"If-Match": match}},
			"DeleteObject":  {method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": match}},
			"DeleteObjects": {method: "POST", path: "/bucket", query: "delete=", body: deletes, header: map[string]string{"Content-MD5": md5Base64(deletes)}},
		} {
			f.put("k", "x")
			if got := f.do(c); strings.Contains(got.body, "AccessDenied") == allowed {
				t.Errorf("%s if it is %s: %d %s", name, match, got.status, got.body)
			}
		}
	}
}

func TestToCopyTagsOneMustBeAllowedToReadThem(t *testing.T) {
	f := serveBucket(t)
	f.put("plain", "x")
	f.ok(call{method: "PUT", path: "/bucket/tagged", body: "x", header: map[string]string{"x-amz-tagging": "a=b"}})
	copied := func(source, directive string) call {
		return call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/" + source, "x-amz-tagging-directive": directive}}
	}
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObjectTagging", "Resource": "arn:aws:s3:::bucket/tagged"}`)
	for _, directive := range []string{"", "COPY"} {
		f.refused("AccessDenied", copied("tagged", directive))
		f.ok(copied("plain", directive))
	}
	f.ok(copied("tagged", "REPLACE"))
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObjectVersionTagging", "Resource": "arn:aws:s3:::bucket/tagged"}`)
	f.refused("AccessDenied", copied("tagged?versionId=null", ""))
	f.ok(copied("tagged", ""))
}

func TestToLearnHowManyTagsThereAreOneMustBeAllowedToReadThem(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	put := f.ok(call{method: "PUT", path: "/bucket/k", body: "x", header: headers{"x-amz-tagging": "a=b"}})
	version := "versionId=" + put.header.Get("x-amz-version-id")
	for denied, want := range map[string]headers{"GetObjectTagging": {"": "", version: "1"}, "GetObjectVersionTagging": {"": "1", version: ""}} {
		f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:` + denied + `", "Resource": "arn:aws:s3:::bucket/*"}`)
		for query, count := range want {
			for _, method := range []string{"GET", "HEAD"} {
				if got := f.ok(call{method: method, path: "/bucket/k", query: query}).header.Get("x-amz-tagging-count"); got != count {
					t.Errorf("%s ?%s without s3:%s: %q, want %q", method, query, denied, got, count)
				}
			}
		}
	}
}

// The policy is AWS's example of a bucket in which nothing is overwritten.
func TestAPolicyEnforcesConditionalWrites(t *testing.T) {
	f := serveBucket(t)
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*",
		"Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}}`)
	put := call{method: "PUT", path: "/bucket/k", body: "x"}
	f.refused("AccessDenied", put)
	put.header = map[string]string{"If-None-Match": "*"}
	f.ok(put)
	f.refused("PreconditionFailed", put)
	f.ok(call{method: "POST", path: "/bucket/k", query: "uploads="})
}

func TestConditionsOfAPolicySeeWhoAsks(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	get := call{method: "GET", path: "/bucket/k"}
	for _, condition := range []string{
		`"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:root"}`, `"StringEquals": {"aws:PrincipalAccount": "000000000000"}`,
		`"StringEquals": {"aws:ResourceAccount": "000000000000", "s3:ResourceAccount": "000000000000"}`,
		`"StringEquals": {"aws:RequestedRegion": "us-east-1"}, "Bool": {"aws:ViaAWSService": "false"}`,
	} {
		f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {` + condition + `}}`)
		f.refused("AccessDenied", get)
	}
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:root"}}}`)
	f.ok(get)
}

// TestWhatIsNotThereIsToldToWhoListsTheBucketOnly has GET and copies refuse others.
func TestWhatIsNotThereIsToldToWhoListsTheBucketOnly(t *testing.T) {
	f := serveBucket(t)
	f.ok(call{method: "PUT", path: "/other"})
	get := call{method: "GET", path: "/bucket/none"}
	copied := call{method: "PUT", path: "/other/k", header: headers{"x-amz-copy-source": "/bucket/none"}}
	upload, _ := f.create("u", nil)
	part := call{method: "PUT", path: "/bucket/u", query: "partNumber=1&uploadId=" + upload, header: copied.header}
	f.refused("NoSuchKey", get)
	f.refused("NoSuchKey", copied)
	f.refused("NoSuchKey", part)
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}`)
	f.refused("AccessDenied", get)
	f.refused("AccessDenied", copied)
	f.refused("AccessDenied", part)
}

func TestDeleteObjectsAsksForEachObject(t *testing.T) {
	f := serveBucket(t)
	f.put("keep", "x")
	f.put("drop", "x")
	f.setPolicy(`{"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::bucket/keep"}`)
	body := "<Delete><Object><Key>keep</Key></Object><Object><Key>drop</Key></Object></Delete>"
	got := f.ok(call{method: "POST", path: "/bucket", query: "delete", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}}).body
	if !strings.Contains(got, "<Error><Key>keep</Key><Code>AccessDenied</Code>") || !strings.Contains(got, "<Deleted><Key>drop</Key>") {
		t.Errorf("got %s", got)
	}
	f.get("keep")
}

func TestWhoMayDeleteSomeObjectsMayDeleteThemTogether(t *testing.T) {
	f := serveBucket(t)
	f.put("keep", "x")
	f.put("drop/k", "x")
	body := "<Delete><Object><Key>keep</Key></Object><Object><Key>drop/k</Key></Object></Delete>"
	drop := call{method: "POST", path: "/bucket", query: "delete", body: body, anonymous: true, header: map[string]string{"Content-MD5": md5Base64(body)}}
	if got := f.ok(drop).body; strings.Count(got, "<Code>AccessDenied</Code>") != 2 || strings.Contains(got, "<Deleted>") {
		t.Errorf("without a policy: %s", got)
	}
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::bucket/drop/*"}`)
	if got := f.ok(drop).body; !strings.Contains(got, "<Error><Key>keep</Key><Code>AccessDenied</Code>") || !strings.Contains(got, "<Deleted><Key>drop/k</Key>") {
		t.Errorf("got %s", got)
	}
	f.get("keep")
	f.missing("drop/k")
}

func TestToSeeTheAttributesOfAnObjectOneMustBeAllowedToReadIt(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	attributes := call{method: "GET", path: "/bucket/k", query: "attributes=", anonymous: true, header: map[string]string{"x-amz-object-attributes": "ETag"}}
	for actions, code := range map[string]string{
		`"s3:GetObject"`: "AccessDenied", `"s3:GetObjectAttributes"`: "AccessDenied", `"s3:GetObject", "s3:GetObjectAttributes"`: "",
		`"s3:GetObjectVersion", "s3:GetObjectAttributes"`: "AccessDenied",
	} {
		f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": [` + actions + `], "Resource": "arn:aws:s3:::bucket/*"}`)
		if got := f.do(attributes); got.code() != code {
			t.Errorf("%s: %d %s", actions, got.status, got.body)
		}
	}
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:GetObjectAttributes"], "Resource": "arn:aws:s3:::bucket/*"}`)
	attributes.path = "/bucket/missing"
	f.refused("AccessDenied", attributes) // who may not list is not told what is missing
}

func TestAPolicyIsKeptAsItWasSet(t *testing.T) {
	f := serveBucket(t)
	f.refused("NoSuchBucketPolicy", call{method: "GET", path: "/bucket", query: "policy"})
	f.refused("NoSuchBucketPolicy", call{method: "GET", path: "/bucket", query: "policyStatus"})
	text := `{"Version":"2012-10-17",  "Statement":[` + everyoneReads + `]}`
	if put := f.do(call{method: "PUT", path: "/bucket", query: "policy", body: text}); put.status != http.StatusNoContent {
		t.Errorf("put: %d %s", put.status, put.body)
	}
	got := f.ok(call{method: "GET", path: "/bucket", query: "policy"})
	if got.body != text || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %q, %v", got.body, got.header)
	}
	if status := f.ok(call{method: "GET", path: "/bucket", query: "policyStatus"}).body; !strings.Contains(status, "<IsPublic>true</IsPublic>") {
		t.Errorf("status: %s", status)
	}
	misspelled := strings.Replace(text, `"Effect"`, `"Condition": {"Bool": {"aws:SecureTransprot": "false"}}, "Effect"`, 1)
	twice := strings.Replace(text, `"Effect"`, `"Effect": "Deny", "Effect"`, 1)
	for _, bad := range []string{`{"Statement": []}`, misspelled, twice} {
		f.refused("MalformedPolicy", call{method: "PUT", path: "/bucket", query: "policy", body: bad})
	}
	f.refused("InvalidArgument", call{method: "PUT", path: "/bucket", query: "policy", body: `{"Id": "` + strings.Repeat("x", 20<<10) + `"}`})
	if again := f.ok(call{method: "GET", path: "/bucket", query: "policy"}); again.body != text {
		t.Errorf("after a refusal: %q", again.body)
	}
}

func TestPublicAccessCanBeBlocked(t *testing.T) {
	f := serveBucket(t)
	f.put("open/k", "x")
	f.setPolicy(everyoneReads)
	f.refused("NoSuchPublicAccessBlockConfiguration", call{method: "GET", path: "/bucket", query: "publicAccessBlock"})
	block := func(parts string) {
		t.Helper()
		f.ok(call{method: "PUT", path: "/bucket", query: "publicAccessBlock", body: "<PublicAccessBlockConfiguration>" + parts + "</PublicAccessBlockConfiguration>"})
	}
	block("<RestrictPublicBuckets>true</RestrictPublicBuckets>")
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/open/k", anonymous: true})
	block("<BlockPublicPolicy>true</BlockPublicPolicy>")
	f.ok(call{method: "GET", path: "/bucket/open/k", anonymous: true})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket", query: "policy", body: `{"Statement": [` + everyoneReads + `]}`})
	got := f.ok(call{method: "GET", path: "/bucket", query: "publicAccessBlock"}).body
	if !strings.Contains(got, "<BlockPublicPolicy>true</BlockPublicPolicy>") || !strings.Contains(got, "<BlockPublicAcls>false</BlockPublicAcls>") {
		t.Errorf("got %s", got)
	}
	f.ok(call{method: "DELETE", path: "/bucket", query: "publicAccessBlock"})
	f.setPolicy(everyoneReads)
}

func TestAccessControlListsSayWhatIsSoAnyway(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	own := func(grantee string) string {
		return "<AccessControlPolicy><Owner><ID>" + ownerID + "</ID></Owner><AccessControlList><Grant><Grantee><ID>" + grantee + "</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
	}
	for _, path := range []string{"/bucket", "/bucket/k"} {
		f.ok(call{method: "PUT", path: path, query: "acl", header: map[string]string{"x-amz-acl": "private"}})
		f.ok(call{method: "PUT", path: path, query: "acl", body: own(ownerID)})
		f.refused("AccessControlListNotSupported", call{method: "PUT", path: path, query: "acl", body: own("somebody")})
		f.refused("MalformedACLError", call{method: "PUT", path: path, query: "acl", body: "<AccessControlPolicy>"})
	}
	f.refused("AccessControlListNotSupported", call{method: "PUT", path: "/bucket/k", query: "acl", header: map[string]string{"x-amz-acl": "public-read"}})
	f.refused("NoSuchKey", call{method: "PUT", path: "/bucket/none", query: "acl", header: map[string]string{"x-amz-acl": "private"}})
	f.refused("UnexpectedContent", call{method: "PUT", path: "/bucket/k", query: "acl", header: map[string]string{"x-amz-acl": "private"}, body: "<AccessControlPolicy/>"})
	ownership := func(rule string) call {
		return call{method: "PUT", path: "/bucket", query: "ownershipControls", body: "<OwnershipControls><Rule><ObjectOwnership>" + rule + "</ObjectOwnership></Rule></OwnershipControls>"}
	}
	f.ok(ownership("BucketOwnerEnforced"))
	f.refused("NotImplemented", ownership("ObjectWriter"))
	f.refused("MalformedXML", ownership("Nobody"))
	f.refused("NoSuchBucket", call{method: "DELETE", path: "/none", query: "ownershipControls"})
	f.ok(call{method: "DELETE", path: "/bucket", query: "ownershipControls"})
	if got := f.ok(call{method: "GET", path: "/bucket", query: "ownershipControls"}).body; !strings.Contains(got, "BucketOwnerEnforced") {
		t.Errorf("got %s", got)
	}
}

// secured is a connection that came by a version of TLS.
type secured struct {
	net.Conn
	version uint16
}

func (secured) Handshake() error { return nil }

func (c secured) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{Version: c.version}
}

func TestConditionsOfAPolicySeeTheVersionOfTLS(t *testing.T) {
	plain, _ := net.Pipe()
	for _, c := range []struct {
		conn net.Conn
		want []string
	}{{plain, nil}, {secured{plain, tls.VersionTLS12}, []string{"1.2"}}, {secured{plain, tls.VersionTLS13}, []string{"1.3"}}} {
		r := &request{ctx: &fasthttp.RequestCtx{}}
		r.ctx.Init2(c.conn, nil, false)
		if got := (&conditionValues{r: r}).Value("s3:tlsversion"); !slices.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}
