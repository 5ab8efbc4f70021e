package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/audit"
)

// book is a target of the audit.
type book chan string

func (b book) SendDocument(_ context.Context, _ string, document []byte) error {
	b <- string(document)
	return nil
}

func (book) Close() error { return nil }

// serveAudited is an office whose requests are written down.
func serveAudited(t *testing.T) (*office, book) {
	t.Helper()
	b := make(book, 100)
	l := audit.New(t.Context(), []audit.Target{{Name: "book", Sender: b, Room: 100}}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = l.Close() })
	o := serveOfficeWith(t, func(cfg *Config) { cfg.Audit, cfg.Node = l, "here:9000" })
	<-b // of the bucket of the office
	return o, b
}

func TestEveryRequestIsAuditedWithWhoDidWhatAndWithWhatResult(t *testing.T) {
	o, b := serveAudited(t)
	ann := func(c call) call {
		c.user, c.secret = "annskey", secretOf("annskey")
		return c
	}
	for _, tt := range []struct {
		do         func()
		who, whose string
		api        audit.API
		code       string
	}{
		{func() { o.put("k", "abc") }, testUser, "", audit.API{Name: "PutObject", Bucket: "bucket", Object: "k", Code: 200, Received: 3}, ""},
		{func() { o.do(ann(call{method: "GET", path: "/bucket/k"})) }, "annskey", "ann", audit.API{Name: "GetObject", Bucket: "bucket", Object: "k", Code: 200, Sent: 3}, ""},
		{func() { o.do(ann(call{method: "PUT", path: "/bucket/k"})) }, "annskey", "ann", audit.API{Name: "PutObject", Bucket: "bucket", Object: "k", Code: 403}, "AccessDenied"},
		{func() { o.do(call{method: "GET", path: "/bucket/k", user: "ann", secret: "a wrong one"}) }, "ann", "", audit.API{Name: "GetObject", Bucket: "bucket", Object: "k", Code: 403}, "SignatureDoesNotMatch"},
		{func() { o.do(call{method: "GET", path: "/bucket/k", anonymous: true}) }, "", "", audit.API{Name: "GetObject", Bucket: "bucket", Object: "k", Code: 403}, "AccessDenied"},
		{func() { o.admin("boss", "DELETE", "remove-user", "accessKey=ann", "") }, "boss", "", audit.API{Name: "AdminRemoveUser", Code: 200}, ""},
	} {
		tt.do()
		var got audit.Record
		o.must(t, json.Unmarshal([]byte(<-b), &got))
		tt.api.Status, tt.api.Duration, tt.api.DurationNS = http.StatusText(tt.api.Code), got.API.Duration, got.API.DurationNS
		if got.API.Code >= 400 {
			tt.api.Sent = got.API.Sent
		}
		if got.API != tt.api || got.AccessKey != tt.who || got.Parent != tt.whose || got.Error != tt.code {
			t.Errorf("got %+v\nwant %+v of %q, %q with %q", got, tt.api, tt.who, tt.whose, tt.code)
		}
		if got.Node != "here:9000" || got.Remote != "127.0.0.1" || got.RequestID == "" || got.Time.IsZero() || got.API.Duration == "" {
			t.Errorf("it lacks something: %+v", got)
		}
	}
}

func TestTheAuditHasNoSecrets(t *testing.T) {
	o, b := serveAudited(t)
	sealed := o.seal(testUser, `{"secretKey":"verysecret","status":"enabled"}`)
	o.admin(testUser, "PUT", "add-user", "accessKey=carl", sealed)
	o.do(call{method: "GET", path: "/bucket/k", query: "X-Amz-Security-Token=verysecret&X-Amz-Signature=verysecret", header: map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Key": "verysecret", "Cookie": "verysecret",
	}})
	o.do(federated("AssumeRoleWithLDAPIdentity", "LDAPUsername", "eve", "LDAPPassword", "verysecret", "WebIdentityToken", "verysecret"))
	for range 3 {
		if got := <-b; strings.Contains(got, "verysecret") || strings.Contains(got, "Signature=") || strings.Contains(got, testSecret) {
			t.Errorf("%s", got)
		}
	}
}
