package gateway

import (
	"strings"
	"testing"
)

func TestAResponseOverrideOfAHeaderThatHasNoneIsRefused(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	const want = "<Message>response-foo is not in the set of overridable response headers. Please refer to the S3 API documentation for a complete list of overridable response headers.</Message>" +
		"<ArgumentName>response-foo</ArgumentName><ArgumentValue>bar</ArgumentValue>"
	for _, query := range []string{"response-foo=bar", "response-expires=0&response-foo=bar"} {
		if r := f.refused("InvalidArgument", call{method: "GET", path: "/bucket/k", query: query}); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
		if r := f.do(call{method: "HEAD", path: "/bucket/k", query: query}); r.status != 400 {
			t.Errorf("HEAD %s: %d", query, r.status)
		}
	}
	for _, o := range responseOverrides() {
		f.ok(call{method: "GET", path: "/bucket/k", query: o[0] + "=x"})
	}
}

func TestWhatIsNotOfferedIsRefusedAndNotStored(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct {
		code   string
		header map[string]string
		query  string
	}{
		{"NotImplemented", map[string]string{"x-amz-server-side-encryption": "AES256"}, ""},
		{"NotImplemented", map[string]string{"x-amz-server-side-encryption": "aws:kms"}, ""},
		{"InvalidRequest", map[string]string{"x-amz-server-side-encryption-customer-algorithm": "AES256"}, ""},
		{"InvalidArgument", map[string]string{"x-amz-object-lock-mode": "GOVERNANCE"}, ""},
		{"AccessControlListNotSupported", map[string]string{"x-amz-acl": "public-read"}, ""},
		{"AccessControlListNotSupported", map[string]string{"x-amz-grant-read": "id=x"}, ""},
		{"InvalidStorageClass", map[string]string{"x-amz-storage-class": "GLACIER"}, ""},
		{"InvalidArgument", map[string]string{"x-amz-acl": "rubbish"}, ""},
		{"AccessDenied", map[string]string{"x-amz-expected-bucket-owner": "123456789012"}, ""},
		{"InvalidBucketOwnerAWSAccountID", map[string]string{"x-amz-expected-bucket-owner": "somebody"}, ""},
		{"InvalidRedirectLocation", map[string]string{"x-amz-website-redirect-location": "ftp://x"}, ""},
		{"InvalidArgument", nil, "versionId=null"},
		{"InvalidArgument", nil, "partNumber=1"},
		{"InvalidArgument", nil, "uploadId=x&partNumber=1&versionId=null"},
	} {
		f.refused(tt.code, call{method: "PUT", path: "/bucket/k", query: tt.query, header: tt.header, body: "x"})
		f.missing("k")
	}
	f.refused("InvalidArgument", call{method: "POST", path: "/bucket/k", query: "uploads=&versionId=null"})
	for code, header := range map[string][2]string{
		"InvalidBucketAclWithObjectOwnership": {"x-amz-acl", "public-read"},
		"InvalidArgument":                     {"x-amz-object-ownership", "rubbish"},
		"NotImplemented":                      {"x-amz-object-ownership", "ObjectWriter"},
	} {
		f.refused(code, call{method: "PUT", path: "/new-bucket", header: map[string]string{header[0]: header[1]}})
		f.refused("NoSuchBucket", call{method: "GET", path: "/new-bucket"})
	}
	for _, sub := range []string{"replication", "abac", "metadataInventoryTable", "metadataJournalTable", "replication-reset"} {
		f.refused("NotImplemented", call{method: "PUT", path: "/bucket", query: sub, body: "<x/>"})
	}
}

func TestWhatAsksForAnOperationOfMinIOsIsNotTakenForThePlainOne(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	for _, tt := range []call{
		{method: "PUT", path: "/new-bucket", query: "replication-reset=&arn=x"},
		{method: "GET", path: "/bucket", query: "replication-metrics=2"},
		{method: "GET", path: "/bucket", query: "replication-reset-status="},
		{method: "GET", path: "/bucket", query: "replication-check="},
		{method: "GET", path: "/bucket/k", query: "lambdaArn=x"},
	} {
		f.refused("NotImplemented", tt)
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/new-bucket"})
}

func TestAnOperationThatIsNotImplementedIsNamed(t *testing.T) {
	f := withBucket(t)
	answer := f.do(call{method: "POST", path: "/bucket/k", query: "restore=", body: "<RestoreRequest/>"})
	if want := "<Message>The operation POST ?restore is not implemented.</Message>"; answer.status != 501 || !strings.Contains(answer.body, want) {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}

func TestSubresourcesOfBucketsAreNoneOfKeys(t *testing.T) {
	f := withBucket(t)
	for query, want := range map[string]string{
		"versions": "There is no such thing as the ?versions sub-resource for a key",
		"uploads":  "Key is not expected for the GET method ?uploads subresource",
	} {
		r := f.refused("InvalidRequest", call{method: "GET", path: "/bucket/k", query: query})
		if r.status != 400 || !strings.Contains(r.body, "<Message>"+want+"</Message>") {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

// What S3 does not do says nothing of a bucket, and there need be none.
func TestStrangersAreToldWhatS3DoesNotDo(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct {
		c           call
		status      int
		code, allow string
	}{
		{call{method: "POST", path: "/bucket/k"}, 405, "MethodNotAllowed", ""},
		{call{method: "POST", path: "/bucket/k", header: headers{"Content-Type": "application/json"}}, 405, "MethodNotAllowed", ""},
		{call{method: "POST", path: "/none/k"}, 405, "MethodNotAllowed", ""},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x"}, 405, "MethodNotAllowed", "DELETE, POST, GET"},
		{call{method: "PUT", path: "/bucket/k", query: "partNumber=1"}, 400, "InvalidArgument", ""},
		{call{method: "GET", path: "/bucket/k", query: "uploads"}, 400, "InvalidRequest", ""},
		{call{method: "GET", path: "/bucket/k", query: "versions"}, 400, "InvalidRequest", ""},
		{call{method: "GET", path: "/bucket/k", query: "torrent"}, 403, "AccessDenied", ""},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x&partNumber=1"}, 403, "AccessDenied", ""},
	} {
		tt.c.anonymous = true
		if r := f.refused(tt.code, tt.c); r.status != tt.status || r.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s?%s: %d, Allow %q", tt.c.method, tt.c.path, tt.c.query, r.status, r.header.Get("Allow"))
		}
		tt.c.anonymous, tt.c.secret = false, "wrong"
		f.refused("SignatureDoesNotMatch", tt.c)
	}
}

func TestAPartNumberWithoutAnUploadIsRefused(t *testing.T) {
	f := withBucket(t)
	f.put("source", "x")
	const want = "<Message>This operation does not accept partNumber without uploadId</Message><ArgumentName>partNumber</ArgumentName><ArgumentValue>partNumber</ArgumentValue>"
	for _, header := range []headers{nil, {"x-amz-copy-source": "/bucket/source"}} {
		if r := f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/k", query: "partNumber=1", header: header}); !strings.Contains(r.body, want) {
			t.Errorf("%q: %s", header, r.body)
		}
		f.missing("k")
	}
}

func TestTheSourceOfACopyIsRefusedWhereNothingIsCopied(t *testing.T) {
	f := withBucket(t)
	f.put("k", "kept")
	const want = "<Message>You can only specify a copy source header for copy requests.</Message><ArgumentName>x-amz-copy-source</ArgumentName><ArgumentValue>/bucket/a%20b</ArgumentValue>"
	for _, c := range []call{
		{method: "DELETE", path: "/bucket/k"},
		{method: "DELETE", path: "/bucket/k", query: "uploadId=x"},
		{method: "DELETE", path: "/bucket"},
		{method: "GET", path: "/bucket/k"},
		{method: "GET", path: "/bucket"},
		{method: "HEAD", path: "/bucket/k"},
		{method: "HEAD", path: "/bucket"},
		{method: "POST", path: "/bucket/k", query: "uploadId=x"},
		{method: "GET", path: "/bucket/k", anonymous: true},
		{method: "DELETE", path: "/bucket/k", secret: "wrong"},
	} {
		c.header = headers{"x-amz-copy-source": "/bucket/a%20b"}
		if r := f.do(c); r.status != 400 || c.method != "HEAD" && !strings.Contains(r.body, "<Code>InvalidArgument</Code>"+want) {
			t.Errorf("%s %s?%s: %d %s", c.method, c.path, c.query, r.status, r.body)
		}
	}
	if got := f.get("k"); got != "kept" {
		t.Errorf("k holds %q", got)
	}
}

func TestAMethodThatIsNotAllowedIsToldWithWhatItIsNotAllowedFor(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	marker := f.ok(call{method: "DELETE", path: "/bucket/k"}).header.Get("x-amz-version-id")
	for _, tt := range []struct {
		c         call
		allow     string
		what, how string
	}{
		{call{method: "PUT", path: "/"}, "", "SERVICE", "PUT"},
		{call{method: "POST", path: "/"}, "", "SERVICE", "POST"},
		{call{method: "PATCH", path: "/bucket"}, "", "BUCKET", "PATCH"},
		{call{method: "POST", path: "/bucket/k"}, "", "OBJECT", "POST"},
		{call{method: "POST", path: "/bucket/k", anonymous: true, header: headers{"Content-Type": "multipart/form-data; boundary=x"}}, "", "OBJECT", "POST"},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x"}, "DELETE, POST, GET", "UPLOAD", "PUT"},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x", header: headers{"x-amz-copy-source": "/bucket/k"}}, "DELETE, POST, GET", "UPLOAD", "PUT"},
		{call{method: "GET", path: "/bucket/k", query: "versionId=" + marker}, "DELETE", "DeleteMarker", "GET"},
	} {
		r := f.refused("MethodNotAllowed", tt.c)
		want := "<Method>" + tt.how + "</Method><ResourceType>" + tt.what + "</ResourceType>"
		if r.status != 405 || !strings.Contains(r.body, want) || strings.Count(r.body, "<Method>") != 1 || r.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s?%s: %d, Allow %q, %s", tt.c.method, tt.c.path, tt.c.query, r.status, r.header.Get("Allow"), r.body)
		}
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	f := withBucket(t)
	copyOf := func(source string) headers { return headers{"x-amz-copy-source": source} }
	for want, c := range map[string]call{
		"<Key>a &amp; b</Key>":               {method: "GET", path: "/bucket/a%20&%20b"},
		"<BucketName>no-bucket</BucketName>": {method: "GET", path: "/no-bucket/k"},
		"<Key>source</Key>":                  {method: "PUT", path: "/bucket/to", header: copyOf("/bucket/source")},
		"<BucketName>no-source</BucketName>": {method: "PUT", path: "/bucket/to", header: copyOf("/no-source/k")},
	} {
		if r := f.do(c); r.status != 404 || strings.Count(string(r.body), want) != 1 {
			t.Errorf("%s: %d %s", c.path, r.status, r.body)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket/there", body: "x"})
	r := f.do(call{method: "PUT", path: "/no-target/k", header: copyOf("/bucket/there")})
	if r.code() != "NoSuchBucket" || !strings.Contains(r.body, "<BucketName>no-target</BucketName>") {
		t.Errorf("a copy to where there is no bucket: %s", r.body)
	}
}
