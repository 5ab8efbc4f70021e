package gateway

import (
	"testing"
)

func TestCopies(t *testing.T) {
	f := withBucket(t)
	f.ok(call{method: "PUT", path: "/bucket/src%20x", body: "content", header: map[string]string{"x-amz-meta-a": "1", "x-amz-tagging": "t=1"}})
	from := func(extra ...string) map[string]string {
		h := map[string]string{"x-amz-copy-source": "/bucket/src%20x"}
		for i := 0; i < len(extra); i += 2 {
			h[extra[i]] = extra[i+1]
		}
		return h
	}
	f.ok(call{method: "PUT", path: "/bucket/dst", header: from()})
	if r := f.ok(call{method: "GET", path: "/bucket/dst"}); r.body != "content" || r.header.Get("x-amz-meta-a") != "1" || r.header.Get("x-amz-tagging-count") != "1" {
		t.Errorf("%q %v", r.body, r.header)
	}
	f.ok(call{method: "PUT", path: "/bucket/dst", header: from("x-amz-metadata-directive", "REPLACE", "x-amz-meta-b", "2", "x-amz-checksum-algorithm", "SHA256")})
	r := f.ok(call{method: "GET", path: "/bucket/dst", header: map[string]string{"x-amz-checksum-mode": "ENABLED"}})
	if r.header.Get("x-amz-meta-a") != "" || r.header.Get("x-amz-meta-b") != "2" || r.header.Get("x-amz-checksum-sha256") == "" {
		t.Errorf("%v", r.header)
	}
	f.refused("PreconditionFailed", call{method: "PUT", path: "/bucket/dst", header: from("x-amz-copy-source-if-match", "x")})
	f.refused("InvalidRequest", call{method: "PUT", path: "/bucket/src%20x", header: from()})
	f.refused("NoSuchKey", call{method: "PUT", path: "/bucket/dst", header: map[string]string{"x-amz-copy-source": "bucket/none"}})
	for _, source := range []string{"", "/", "bucket", "bucket/", "Bad_Name/k", "bucket/%zz", "bucket/a%2"} {
		f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/dst", header: map[string]string{"x-amz-copy-source": source}})
	}
	f.refused("NoSuchVersion", call{method: "PUT", path: "/bucket/dst", header: map[string]string{"x-amz-copy-source": "/bucket/src%20x?versionId=VWVT9JkWTreQ95JbRmQt6T3LWrljLpRZ"}})
	f.ok(call{method: "PUT", path: "/bucket/dst", header: map[string]string{"x-amz-copy-source": "bucket%2Fsrc%20x?versionId=null"}})
	f.refused("InvalidRequest", call{method: "PUT", path: "/bucket/dst", body: "content that would be left out", header: from()})
	f.ok(call{method: "PUT", path: "/bucket/moved", query: "renameObject=", header: map[string]string{"x-amz-rename-source": "/src%20x"}})
	f.missing("src x")
	if got := f.get("moved"); got != "content" {
		t.Errorf("moved is %q", got)
	}
}

// As on S3: some clients encode the source of a copy as a path, some as a form.
func TestAPlusInTheSourceOfACopyIsASpace(t *testing.T) {
	f := withBucket(t)
	f.put("a%20b", "with a space")
	f.put("a+b", "with a plus")
	for source, want := range map[string]string{"bucket/a+b": "with a space", "bucket/a%20b": "with a space", "bucket/a%2Bb": "with a plus"} {
		f.ok(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": source}})
		if got := f.get("copy"); got != want {
			t.Errorf("of %s: %q", source, got)
		}
	}
}
