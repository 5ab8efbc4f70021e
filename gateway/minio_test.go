package gateway

import (
	"fmt"
	"strings"
	"testing"
)

func TestForceDeletesABucketWithAllThatIsInIt(t *testing.T) {
	f := withBucket(t)
	f.ok(call{method: "PUT", path: "/bucket", query: "versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"})
	for i := range 20 {
		f.put(fmt.Sprintf("dir/%d", i), "1")
		f.put(fmt.Sprintf("dir/%d", i), "2")
	}
	f.ok(call{method: "DELETE", path: "/bucket/dir/1"})
	f.refused("BucketNotEmpty", call{method: "DELETE", path: "/bucket"})
	f.refused("BucketNotEmpty", call{method: "DELETE", path: "/bucket", header: map[string]string{forceHeader: "false"}})
	f.ok(call{method: "DELETE", path: "/bucket", header: map[string]string{forceHeader: "true"}})
	f.refused("NoSuchBucket", call{method: "GET", path: "/bucket"})
	f.refused("NoSuchBucket", call{method: "DELETE", path: "/bucket", header: map[string]string{forceHeader: "true"}})
}

func TestForceDeletesNeitherWhatIsLockedNorABucketThatHoldsIt(t *testing.T) {
	f := serve(t, nil)
	f.ok(call{method: "PUT", path: "/bucket", header: map[string]string{"x-amz-bucket-object-lock-enabled": "true"}})
	f.put("held", "1")
	f.ok(call{method: "PUT", path: "/bucket/held", query: "legal-hold", header: map[string]string{"Content-MD5": md5Base64("<LegalHold><Status>ON</Status></LegalHold>")}, body: "<LegalHold><Status>ON</Status></LegalHold>"})
	f.refused("AccessDenied", call{method: "DELETE", path: "/bucket", header: map[string]string{forceHeader: "true"}})
	if f.get("held") != "1" {
		t.Error("what was held is gone")
	}
}

func TestForceOnObjectsIsRefused(t *testing.T) {
	f := withBucket(t)
	f.put("dir/a", "1")
	f.refused("NotImplemented", call{method: "DELETE", path: "/bucket/dir", header: map[string]string{forceHeader: "true"}})
	if f.get("dir/a") != "1" {
		t.Error("the object is gone")
	}
}

func TestListingsTellMetadataToWhoAsksAndMayReadIt(t *testing.T) {
	f := withBucket(t)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "1", header: map[string]string{"Content-Type": "text/x", "x-amz-meta-of": "a<b", "x-amz-meta-o!k": "x", "x-amz-tagging": "a=1&b=2%2B3"}})
	wanted := []string{"<UserTags>a=1&amp;b=2%2B3</UserTags>", "<content-type>text/x</content-type>", "<X-Amz-Meta-Of>a&lt;b</X-Amz-Meta-Of>"}
	for _, query := range []string{"list-type=2&metadata=true", "versions&metadata=true"} {
		list := call{method: "GET", path: "/bucket", query: query}
		body := f.ok(list).body
		for _, want := range wanted {
			if !strings.Contains(body, want) {
				t.Errorf("%s has no %s: %s", query, want, body)
			}
		}
		if strings.Contains(body, "o!k") {
			t.Errorf("%s has an element that XML cannot have", query)
		}
		list.query = strings.TrimSuffix(query, "&metadata=true")
		if strings.Contains(f.ok(list).body, "UserMetadata") {
			t.Errorf("%s tells metadata", list.query)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}]}`})
	r := f.ok(call{method: "GET", path: "/bucket", query: "list-type=2&metadata=true", anonymous: true})
	if strings.Contains(r.body, "UserMetadata") || !strings.Contains(r.body, "<Key>k</Key>") {
		t.Errorf("who may only list is told %s", r.body)
	}
}

func TestWhatMinIOHasBesideS3IsRefusedIfItAsksForSomething(t *testing.T) {
	f := withBucket(t)
	versioning := func(more string) call {
		return call{method: "PUT", path: "/bucket", query: "versioning", body: "<VersioningConfiguration><Status>Enabled</Status>" + more + "</VersioningConfiguration>"}
	}
	rules := func(more string) call {
		return call{method: "PUT", path: "/bucket", query: "lifecycle", body: "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter/>" + more + "</Rule></LifecycleConfiguration>"}
	}
	zip := func(value string) call {
		return call{method: "GET", path: "/bucket", query: "list-type=2&prefix=a.zip/", header: map[string]string{zipHeader: value}}
	}
	for _, tt := range []struct {
		asks, not call
		says      string
	}{
		{versioning("<ExcludedPrefixes><Prefix>tmp/</Prefix></ExcludedPrefixes>"), versioning("<ExcludedPrefixes></ExcludedPrefixes>"), "excluded"},
		{versioning("<ExcludeFolders>true</ExcludeFolders>"), versioning("<ExcludeFolders>false</ExcludeFolders>"), "excluded"},
		{rules("<Expiration><Days>1</Days><ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration>"), rules("<Expiration><Days>1</Days><ExpiredObjectAllVersions>false</ExpiredObjectAllVersions></Expiration>"), "all versions"},
		{rules("<DelMarkerExpiration><Days>1</Days></DelMarkerExpiration>"), rules("<Expiration><Days>1</Days></Expiration><DelMarkerExpiration/>"), "delete markers"},
		{zip("true"), zip("false"), "ZIP"},
	} {
		if r := f.refused("NotImplemented", tt.asks); r.status != 501 || !strings.Contains(r.body, tt.says) {
			t.Errorf("%s: %d %s", tt.asks.body, r.status, r.body)
		}
		f.ok(tt.not)
	}
	f.put("k", "x")
	if f.do(call{method: "HEAD", path: "/bucket/k"}).header.Get(expirationHeader) == "" {
		t.Error("rules that were taken are not read again")
	}
}

func TestAnErrorOfHEADIsToldInHeaders(t *testing.T) {
	f := withBucket(t)
	f.put("k", "x")
	etag := f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("ETag")
	for _, tt := range []struct {
		c          call
		status     int
		code, desc string
	}{
		{call{method: "HEAD", path: "/bucket/none"}, 404, "NoSuchKey", `"The specified key does not exist."`},
		{call{method: "HEAD", path: "/no-such-bucket"}, 404, "NoSuchBucket", `"The specified bucket does not exist"`},
		{call{method: "HEAD", path: "/bucket/k", header: map[string]string{zipHeader: "true"}}, 501, "NotImplemented", `"Looking into archives of the format ZIP is not supported."`},
		{call{method: "HEAD", path: "/bucket/k", header: map[string]string{"If-None-Match": etag}}, 304, "", ""},
		{call{method: "HEAD", path: "/bucket/k"}, 200, "", ""},
		{call{method: "GET", path: "/bucket/none"}, 404, "", ""},
	} {
		r := f.do(tt.c)
		if code, desc := r.header.Get("x-minio-error-code"), r.header.Get("x-minio-error-desc"); r.status != tt.status || code != tt.code || desc != tt.desc {
			t.Errorf("%s %s: %d %s %s", tt.c.method, tt.c.path, r.status, code, desc)
		}
	}
}
