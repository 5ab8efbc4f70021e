package gateway

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/trace"
)

// serveTraced is an office whose calls can be traced.
func serveTraced(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) { cfg.Trace, cfg.Node = new(trace.Hub), "here:9000" })
}

// watch returns what decodes the calls that a trace tells of.
func (o *office) watch(query string) *json.Decoder {
	o.t.Helper()
	resp, err := o.client.Do(o.request(call{method: "GET", path: "/minio/admin/v3/trace", query: query}))
	o.must(o.t, err)
	o.t.Cleanup(func() { resp.Body.Close() })
	return json.NewDecoder(resp.Body)
}

func TestATraceHasTheCallsThatAreAskedFor(t *testing.T) {
	o := serveTraced(t)
	for query, want := range map[string]string{
		"s3=true":                        "s3.PutObject 200 ",
		"s3=true&err=true":               "s3.GetObject 404 NoSuchKey",
		"internal=true":                  "admin.AdminInfo 200 ",
		"internal=true&s3=false&os=true": "admin.AdminInfo 200 ",
		"all=true&err=true":              "s3.GetObject 404 NoSuchKey",
	} {
		calls := o.watch(query)
		o.put("k", "x")
		o.do(call{method: "GET", path: "/bucket/none"})
		if _, code := o.admin(testUser, "GET", "info", "", ""); code != "" {
			t.Fatal(code)
		}
		for {
			var c trace.Call
			o.must(t, calls.Decode(&c))
			if c.Function == "admin.AdminTrace" {
				continue // of the one that watches itself
			}
			if got := strings.Join([]string{c.Function, strconv.Itoa(c.HTTP.Response.Status), c.Error}, " "); got != want || c.Node != "here:9000" {
				t.Errorf("%s: %q of %q, want %q", query, got, c.Node, want)
			}
			break
		}
	}
}

func TestATraceShowsNoSecrets(t *testing.T) {
	o := serveTraced(t)
	calls := o.watch("s3=true")
	o.do(call{method: "GET", path: "/bucket/k", query: "X-Amz-Security-Token=verysecret&prefix=shown", header: map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Key": "verysecret", "Cookie": "verysecret", "X-Other": "shown",
	}})
	var c json.RawMessage
	o.must(t, calls.Decode(&c))
	if text := string(c); strings.Contains(text, "verysecret") || strings.Contains(text, "Signature=") || strings.Count(text, "shown") != 2 {
		t.Errorf("%s", text)
	}
}

func TestATraceIsForWhoMayTrace(t *testing.T) {
	o := serveTraced(t)
	if _, code := o.admin("ann", "GET", "trace", "s3=true", ""); code != "AccessDenied" {
		t.Error(code)
	}
	for _, threshold := range []string{"long", "-1s"} {
		if _, code := o.admin(testUser, "GET", "trace", "threshold="+threshold, ""); code != "XMinioAdminInvalidArgument" {
			t.Errorf("%s: %s", threshold, code)
		}
	}
}

func TestAStopEndsATrace(t *testing.T) {
	o := serveTraced(t)
	calls := o.watch("s3=true")
	o.put("k", "x")
	var c trace.Call
	o.must(t, calls.Decode(&c))
	o.server.dismiss()
	if err := calls.Decode(&c); err != io.EOF {
		t.Error(err)
	}
}

func TestAThresholdLeavesOutWhatWasFaster(t *testing.T) {
	i := trace.Interest{Types: trace.S3, Threshold: time.Second}
	for took, want := range map[time.Duration]bool{time.Millisecond: false, time.Second: false, 2 * time.Second: true} {
		if got := i.Wants(&trace.Call{Type: trace.S3, Took: took}); got != want {
			t.Errorf("%v: %v", took, got)
		}
	}
}

// FuzzShownQuery has a secret in any query never shown.
func FuzzShownQuery(f *testing.F) {
	f.Add("a=b&%58-Amz-Signature=", "&c")
	f.Add("x=1&", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "0123456789abcdef0123456789abcdef"
		if strings.Contains(before+after, secret) {
			t.Skip("the secret is given without a name, too")
		}
		for _, name := range []string{"X-Amz-Signature", "x-amz-security-token", "%58-Amz-Signatur%65", "LDAPPassword", "WebIdentityToken"} {
			raw := before + "&" + name + "=" + secret + "&" + after
			if got := shownQuery(raw); strings.Contains(got, secret) {
				t.Errorf("%q is shown as %q", raw, got)
			}
		}
	})
}
