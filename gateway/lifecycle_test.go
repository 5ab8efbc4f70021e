package gateway

import (
	"strings"
	"testing"
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
