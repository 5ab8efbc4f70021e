package gateway

import (
	"strings"
	"testing"
)

func appendAt(key, offset, body string) call {
	return call{method: "PUT", path: "/bucket/" + key, body: body, header: map[string]string{writeOffset: offset}}
}

func TestAppendPutsWhatIsSentBehindWhatIsThere(t *testing.T) {
	f := withBucket(t)
	f.ok(appendAt("log", "0", "one,"))
	first := f.ok(call{method: "PUT", path: "/bucket/log", body: "one,", header: map[string]string{"Content-Type": "text/log", "x-amz-meta-of": "me"}})
	r := f.ok(appendAt("log", "4", "two"))
	if got := f.get("log"); got != "one,two" {
		t.Errorf("the object is %q", got)
	}
	if r.header.Get("x-amz-object-size") != "7" || r.header.Get("ETag") == first.header.Get("ETag") {
		t.Errorf("answered %v", r.header)
	}
	whole := f.ok(call{method: "PUT", path: "/bucket/whole", body: "one,two"})
	for _, name := range []string{"ETag", "x-amz-checksum-crc64nvme"} {
		if r.header.Get(name) != whole.header.Get(name) {
			t.Errorf("%s is %q, that of the same content put at once %q", name, r.header.Get(name), whole.header.Get(name))
		}
	}
	head := f.ok(call{method: "HEAD", path: "/bucket/log"}).header
	if head.Get("Content-Type") != "text/log" || head.Get("x-amz-meta-of") != "me" {
		t.Errorf("the metadata did not stay: %v", head)
	}
}

func TestAppendElsewhereThanAtTheEndChangesNothing(t *testing.T) {
	f := withBucket(t)
	f.refused("InvalidWriteOffset", appendAt("log", "3", "x"))
	f.missing("log")
	f.put("log", "abc")
	for _, offset := range []string{"0", "2", "4"} {
		f.refused("InvalidWriteOffset", appendAt("log", offset, "x"))
	}
	for _, offset := range []string{"-1", "x", "99999999999999999999"} {
		f.refused("InvalidArgument", appendAt("log", offset, "x"))
	}
	bad := appendAt("log", "3", "x")
	bad.header["Content-MD5"] = md5Base64("y")
	f.refused("BadDigest", bad)
	unmatched := appendAt("log", "3", "x")
	unmatched.header["If-Match"] = `"other"`
	f.refused("PreconditionFailed", unmatched)
	if got := f.get("log"); got != "abc" {
		t.Errorf("the object is %q", got)
	}
}

func TestOfAppendsAtOnePlaceOneSucceeds(t *testing.T) {
	f := withBucket(t)
	f.put("log", "")
	const writers = 8
	statuses := make(chan int, writers)
	for range writers {
		req := f.request(appendAt("log", "0", strings.Repeat("x", 1<<20)))
		go func() {
			resp, err := f.client.Do(req)
			if err != nil {
				statuses <- 0
				return
			}
			statuses <- resp.StatusCode
			_ = resp.Body.Close()
		}()
	}
	won := 0
	for range writers {
		switch status := <-statuses; status {
		case 200:
			won++
		case 400, 409:
		default:
			t.Errorf("answered %d", status)
		}
	}
	if size := len(f.get("log")); won != 1 || size != 1<<20 {
		t.Errorf("%d appends succeeded, the object has %d bytes", won, size)
	}
}
