package gateway

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestWhatIsTunedIsInForceForTheNextRequest has one request hold the only place there is.
func TestWhatIsTunedIsInForceForTheNextRequest(t *testing.T) {
	f := serve(t, func(c *Config) { c.MaxRequests, c.AdmissionWait = 1, 50*time.Millisecond })
	f.ok(call{method: "PUT", path: "/bucket"})
	page := map[string]string{"Origin": "https://app.example.com"}
	if got := f.do(call{method: "HEAD", path: "/bucket", header: page}); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page that nobody has named: %v", got.header)
	}
	c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 20_000) + strings.Repeat("x", 10_000))
	for deadline := time.Now().Add(10 * time.Second); len(f.server.tuned.Load().slots) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the upload is not served")
		}
	}
	f.refused("SlowDown", call{method: "GET", path: "/bucket/x"})
	f.server.Tune(Tuning{MaxRequests: 2, CORSOrigins: []string{"https://app.example.com"}})
	if got := f.do(call{method: "HEAD", path: "/bucket", header: page}); got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != page["Origin"] {
		t.Errorf("%d %v", got.status, got.header)
	}
	if _, err := io.WriteString(c, strings.Repeat("x", 10_000)); err != nil {
		t.Fatal(err)
	}
	if got := readReply(t, r); got.status != 200 {
		t.Errorf("what was served before: %d %s", got.status, got.body)
	}
}
