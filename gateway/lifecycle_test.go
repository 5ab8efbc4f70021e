package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// rules sets lifecycle rules of the fixture's bucket.
func (f *fixture) rules(inside ...string) {
	f.t.Helper()
	f.ok(call{method: "PUT", path: "/bucket", query: "lifecycle", body: "<LifecycleConfiguration><Rule>" + strings.Join(inside, "</Rule><Rule>") + "</Rule></LifecycleConfiguration>"})
}

func TestLifecycleRulesAreKeptAndToldOf(t *testing.T) {
	f := serveBucket(t)
	set := func(rule string) call {
		return call{method: "PUT", path: "/bucket", query: "lifecycle", body: "<LifecycleConfiguration><Rule>" + rule + "</Rule></LifecycleConfiguration>"}
	}
	f.refused("NoSuchLifecycleConfiguration", call{method: "GET", path: "/bucket", query: "lifecycle"})
	f.ok(set("<ID>old logs</ID><Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Expiration><Days>1</Days></Expiration>"))
	kept := f.ok(call{method: "GET", path: "/bucket", query: "lifecycle"}).body
	if !strings.Contains(kept, "<ID>old logs</ID>") || !strings.Contains(kept, "<Prefix>log/</Prefix>") || !strings.Contains(kept, "<Days>1</Days>") {
		t.Errorf("kept %s", kept)
	}
	put := f.ok(call{method: "PUT", path: "/bucket/log/a", body: "x"}).header.Get("X-Amz-Expiration")
	head := f.ok(call{method: "HEAD", path: "/bucket/log/a"}).header.Get("X-Amz-Expiration")
	if put != head || !strings.HasPrefix(put, `expiry-date="`) || !strings.HasSuffix(put, `00:00:00 GMT", rule-id="old+logs"`) {
		t.Errorf("put %q, head %q", put, head)
	}
	if other := f.ok(call{method: "PUT", path: "/bucket/k", body: "x"}).header.Get("X-Amz-Expiration"); other != "" {
		t.Errorf("an object that stays: %q", other)
	}
	f.refused("MalformedXML", set("<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"))
	f.refused("MalformedXML", set("<Status>Enabled</Status><Filter/><Expiration><Days>1</Days><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>"))
	f.refused("InvalidArgument", set("<Status>Enabled</Status><Filter/><Expiration><Days>0</Days></Expiration>"))
	f.refused("InvalidRequest", set("<Status>Enabled</Status><Filter/>"))
	f.refused("NotImplemented", set("<Status>Enabled</Status><Filter/><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"))
	if again := f.ok(call{method: "GET", path: "/bucket", query: "lifecycle"}).body; again != kept {
		t.Errorf("after refusals: %s", again)
	}
	f.ok(call{method: "DELETE", path: "/bucket", query: "lifecycle"})
	f.refused("NoSuchLifecycleConfiguration", call{method: "GET", path: "/bucket", query: "lifecycle"})
}

func TestAnEndThatNoDateCanTellIsNotTold(t *testing.T) {
	f := serveBucket(t)
	f.rules("<Status>Enabled</Status><Filter/><Expiration><Days>2147483647</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>2147483647</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	put := f.ok(call{method: "PUT", path: "/bucket/k", body: "x"}).header
	create := f.ok(call{method: "POST", path: "/bucket/k", query: "uploads"}).header
	if put.Get("x-amz-expiration")+create.Get("x-amz-abort-date") != "" {
		t.Errorf("an object: %v; an upload: %v", put, create)
	}
}

func TestTheDefaultSizeOfTransitionsIsToldAsOnAWS(t *testing.T) {
	f := serveBucket(t)
	rules := "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
	put := call{method: "PUT", path: "/bucket", query: "lifecycle", header: map[string]string{}, body: rules}
	const name, size = "x-amz-transition-default-minimum-object-size", "all_storage_classes_128K"
	for _, said := range []string{"", size} {
		put.header[name] = said
		for _, c := range []call{put, {method: "GET", path: "/bucket", query: "lifecycle"}} {
			if got := f.ok(c).header.Get(name); got != size {
				t.Errorf("%s after %q: %q", c.method, said, got)
			}
		}
	}
	put.header[name] = "varies_by_storage_class"
	f.refused("NotImplemented", put)
	put.header[name] = "all"
	f.refused("InvalidArgument", put)
}

func TestARuleThatKeepsMarkersIsToldAsItWasSet(t *testing.T) {
	f := serveBucket(t)
	const keeps = "<Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>"
	f.rules("<ID>none</ID><Status>Enabled</Status><Filter/>" + keeps)
	if kept := f.ok(call{method: "GET", path: "/bucket", query: "lifecycle"}).body; !strings.Contains(kept, keeps) {
		t.Errorf("kept %s", kept)
	}
}

func TestCopiesAndCompletedUploadsTellWhenTheyGo(t *testing.T) {
	f := serveBucket(t)
	f.ok(call{method: "PUT", path: "/source"})
	f.ok(call{method: "PUT", path: "/source/tagged", body: "x", header: map[string]string{"x-amz-tagging": "tmp=yes"}})
	f.ok(call{method: "PUT", path: "/source/large", body: "12345"})
	f.rules("<ID>old logs</ID><Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Expiration><Days>3</Days></Expiration>",
		"<ID>tmp</ID><Status>Enabled</Status><Filter><Tag><Key>tmp</Key><Value>yes</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>",
		"<ID>large</ID><Status>Enabled</Status><Filter><ObjectSizeGreaterThan>4</ObjectSizeGreaterThan></Filter><Expiration><Days>2</Days></Expiration>")
	copied := func(key, source string, more ...string) string {
		header := map[string]string{"x-amz-copy-source": "/source/" + source}
		for i := 0; i < len(more); i += 2 {
			header[more[i]] = more[i+1]
		}
		return f.ok(call{method: "PUT", path: "/bucket/" + key, header: header}).header.Get(expirationHeader)
	}
	completed := func(key string) string { return f.ok(completing(key, f.upload(key))).header.Get(expirationHeader) }
	for _, made := range []struct{ key, told, rule string }{
		{"log/copy", copied("log/copy", "large", "x-amz-checksum-algorithm", "SHA256"), "large"},
		{"tagged", copied("tagged", "tagged"), "tmp"},
		{"untagged", copied("untagged", "tagged", "x-amz-tagging-directive", "REPLACE"), ""},
		{"log/upload", completed("log/upload"), "old+logs"},
		{"upload", completed("upload"), ""},
	} {
		head := f.ok(call{method: "HEAD", path: "/bucket/" + made.key}).header.Get(expirationHeader)
		if made.told != head || made.rule != "" && !strings.HasSuffix(made.told, `00:00:00 GMT", rule-id="`+made.rule+`"`) || made.rule == "" && made.told != "" {
			t.Errorf("%s: told %q, HEAD %q", made.key, made.told, head)
		}
	}
}

func TestUploadsTellWhenTheyEnd(t *testing.T) {
	f := serveBucket(t)
	f.rules("<ID>up loads</ID><Status>Enabled</Status><Filter><Prefix>up/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
		"<ID>off</ID><Status>Disabled</Status><Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	for key, rule := range map[string]string{"up/k": "up+loads", "other": ""} {
		create := f.ok(call{method: "POST", path: "/bucket/" + key, query: "uploads"})
		page, err := f.store.ListUploads(t.Context(), object.UploadQuery{Bucket: "bucket", Prefix: key, Limit: 1})
		if err != nil || len(page.Uploads) != 1 {
			t.Fatalf("%s: %+v, %v", key, page, err)
		}
		up, date := page.Uploads[0], ""
		if rule != "" {
			date = up.Initiated.UTC().Truncate(24*time.Hour).AddDate(0, 0, 3).Format(http.TimeFormat)
		}
		list := f.ok(call{method: "GET", path: "/bucket/" + key, query: "uploadId=" + up.ID})
		for name, header := range map[string]http.Header{"CreateMultipartUpload": create.header, "ListParts": list.header} {
			if at, by := header.Get("x-amz-abort-date"), header.Get("x-amz-abort-rule-id"); at != date || by != rule {
				t.Errorf("%s of %s: %q by %q, want %q by %q", name, key, at, by, date, rule)
			}
		}
	}
}

// looked counts how often a bucket was looked at.
type looked struct {
	object.Store
	times atomic.Int64
}

func (l *looked) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	l.times.Add(1)
	return l.Store.StatBucket(ctx, name)
}

func TestWhatGoesByItselfIsToldWithoutAnotherLookAtTheBucket(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	id := f.upload("m")
	l := &looked{Store: f.store}
	f.server.Store = l
	for _, c := range []call{
		{method: "POST", path: "/bucket/other", query: "uploads"},
		{method: "GET", path: "/bucket/m", query: "uploadId=" + id},
		completing("m", id),
		{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k"}},
	} {
		f.ok(c)
		if n := l.times.Swap(0); n != 1 {
			t.Errorf("%s %s?%s looks at the bucket %d times", c.method, c.path, c.query, n)
		}
	}
}
