package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/limits"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// limited is an office whose clock moves only while somebody waits.
type limited struct {
	*office
	mu     sync.Mutex
	now    time.Time
	waited time.Duration
}

func serveLimited(t *testing.T, change func(*Config)) *limited {
	t.Helper()
	l := &limited{now: time.Now()}
	l.office = serveOfficeWith(t, func(cfg *Config) {
		cfg.Now = func() time.Time {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.now
		}
		cfg.wait = func(_ context.Context, d time.Duration) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.now, l.waited = l.now.Add(d), l.waited+d
			return nil
		}
		change(cfg)
	})
	return l
}

// pauses returns for how long somebody waited since it was asked the last time, and has
// another hour go by.
func (l *limited) pauses() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	waited := l.waited
	l.now, l.waited = l.now.Add(time.Minute), 0
	return waited
}

func (l *limited) limitUser(name, document string) {
	l.t.Helper()
	if answer, code := l.admin(testUser, "PUT", "set-user-limits", "accessKey="+name, document); code != "" {
		l.t.Fatalf("%s: %s", document, answer.body)
	}
}

func (l *limited) limitBucket(document string) {
	l.t.Helper()
	l.ok(call{method: "PUT", path: "/bucket", query: LimitsQuery + "=", body: document})
}

// head returns how many of so many requests were admitted, and the last answer.
func (l *limited) head(n int, c call) (admitted int, last reply) {
	l.t.Helper()
	for range n {
		if last = l.do(c); last.status != http.StatusServiceUnavailable {
			admitted++
		}
	}
	return admitted, last
}

func TestRequestsBeyondTheLimitAreToldWhenToComeAgain(t *testing.T) {
	l := serveLimited(t, func(*Config) {})
	l.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	anns := call{method: "GET", path: "/bucket/k", user: "ann", secret: secretOf("ann")}
	annskeys := call{method: "GET", path: "/bucket/k", user: "annskey", secret: secretOf("annskey")}
	if got, _ := l.head(20, anns); got != 20 {
		t.Errorf("without a limit %d of 20 are admitted", got)
	}
	l.limitUser("ann", `{"requests":4}`)
	got, last := l.head(6, anns)
	if got != 4 || last.code() != "SlowDown" || last.header.Get("Retry-After") != "1" {
		t.Errorf("with a limit of 4 a second %d are admitted, the last is answered %v %s", got, last.header, last.body)
	}
	if got, _ := l.head(1, annskeys); got != 0 {
		t.Error("a service account has more than its user")
	}
	for who, secret := range map[string]string{"boss": secretOf("boss"), testUser: testSecret} {
		if got, _ := l.head(6, call{method: "GET", path: "/bucket/k", user: who, secret: secret}); got != 6 {
			t.Errorf("%s has the limit of another user: %d of 6 are admitted", who, got)
		}
	}
	l.pauses()
	if got, _ := l.head(6, annskeys); got != 4 {
		t.Errorf("later %d are admitted, want 4", got)
	}
	l.limitUser("ann", `{}`)
	if got, _ := l.head(6, anns); got != 6 {
		t.Errorf("with the limit lifted %d of 6 are admitted", got)
	}
}

func TestALimitOfABucketCountsForEverybody(t *testing.T) {
	l := serveLimited(t, func(*Config) {})
	l.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	l.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`})
	l.limitBucket(`{"requests":3}`)
	l.pauses()
	for _, c := range []call{{user: "ann", secret: secretOf("ann")}, {}, {anonymous: true}} {
		c.method, c.path = "GET", "/bucket/k"
		if got, last := l.head(1, c); got != 1 {
			t.Errorf("%+v: %s", c, last.body)
		}
	}
	for _, c := range []call{{user: "ann", secret: secretOf("ann")}, {}, {anonymous: true}} {
		c.method, c.path = "GET", "/bucket/k"
		if got, last := l.head(1, c); got != 0 {
			t.Errorf("beyond the limit, %+v: %s", c, last.body)
		}
	}
	if got, _ := l.head(1, call{method: "GET", path: "/"}); got != 1 {
		t.Error("what is not about the bucket has its limit")
	}
}

// TestBodiesMoveAtTheirPace moves 1 MiB at 64 KiB a second in each way that there is: some
// 15 seconds, since those of a second are there at once.
func TestBodiesMoveAtTheirPace(t *testing.T) {
	const size, least, most = 1 << 20, 14 * time.Second, 16 * time.Second
	l := serveLimited(t, func(*Config) {})
	l.ok(call{method: "PUT", path: "/bucket/k", body: strings.Repeat("x", size)})
	form, header := l.form("form", strings.Repeat("x", size))
	for what, tt := range map[string]struct {
		document string
		c        call
	}{
		"up":                     {`{"up":65536}`, call{method: "PUT", path: "/bucket/up", body: strings.Repeat("x", size)}},
		"up, by a form":          {`{"up":65536}`, call{method: "POST", path: "/bucket", body: form, header: header, anonymous: true}},
		"down":                   {`{"down":65536}`, call{method: "GET", path: "/bucket/k"}},
		"down, the slower of it": {`{"down":65536,"up":131072,"requests":1}`, call{method: "GET", path: "/bucket/k"}},
	} {
		l.limitBucket(tt.document)
		l.pauses()
		answer := l.do(tt.c)
		if got := l.pauses(); answer.status/100 != 2 || got < least || got > most {
			t.Errorf("%s: %d after %v, want %v: %.100s", what, answer.status, got, least, answer.body)
		}
		l.limitBucket(`{}`)
	}
	l.limitUser("ann", `{"down":65536}`)
	if got := l.do(call{method: "GET", path: "/bucket/k", user: "ann", secret: secretOf("ann")}); len(got.body) != size || l.pauses() < least {
		t.Errorf("a user's: %d bytes", len(got.body))
	}
	if got := l.do(call{method: "GET", path: "/bucket/k"}); len(got.body) != size || l.pauses() != 0 {
		t.Error("another user on the same connection has to wait")
	}
}

// form returns a form with which strangers may upload a file from then on, and its header.
func (l *limited) form(key, file string) (body string, header map[string]string) {
	l.t.Helper()
	l.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}]}`})
	const part = "--edge\r\nContent-Disposition: form-data; name="
	body = part + "key\r\n\r\n" + key + "\r\n" + part + "\"file\"; filename=\"f\"\r\n\r\n" + file + "\r\n--edge--\r\n"
	return body, map[string]string{"Content-Type": "multipart/form-data; boundary=edge"}
}

func TestWhoHasNoLimitsOfHisOwnHasThoseOfAll(t *testing.T) {
	l := serveLimited(t, func(cfg *Config) {
		cfg.UserRates, cfg.BucketRates = limits.Rates{Requests: 2}, limits.Rates{Requests: 8}
	})
	l.pauses()
	list := func(who string) call {
		return call{method: "GET", path: "/bucket", user: who, secret: secretOf(who)}
	}
	if got, _ := l.head(4, list("boss")); got != 2 {
		t.Errorf("a user: %d are admitted, want 2", got)
	}
	l.pauses()
	l.limitUser("boss", `{"requests":5}`)
	if got, _ := l.head(7, list("boss")); got != 5 {
		t.Errorf("with a limit of his own: %d are admitted, want 5", got)
	}
	if got, _ := l.head(9, call{method: "GET", path: "/bucket"}); got != 3 {
		t.Errorf("of the bucket is left: %d, want 3", got)
	}
}

func TestAGatewayKeepsToItsShareOfALimit(t *testing.T) {
	l := serveLimited(t, func(cfg *Config) { cfg.Peers = func() int { return 3 } })
	l.limitUser("boss", `{"requests":12}`)
	if got, _ := l.head(12, call{method: "GET", path: "/bucket", user: "boss", secret: secretOf("boss")}); got != 4 {
		t.Errorf("one of three gateways admits %d, want 4", got)
	}
}

func TestLimitsAreShownAsTheyWereSet(t *testing.T) {
	o := serveOffice(t)
	const document = `{"requests":5,"up":2048,"down":4096}`
	if got, code := o.admin(testUser, "PUT", "set-user-limits", "accessKey=ann", document); code != "" {
		t.Error(got.body)
	}
	o.ok(call{method: "PUT", path: "/bucket", query: LimitsQuery + "=", body: document})
	for who, want := range map[string]string{"ann": "", "boss": "", testUser: ""} {
		got, code := o.admin(who, "GET", "get-user-limits", "accessKey=ann", "")
		if code != want || got.body != document {
			t.Errorf("%s sees %s", who, got.body)
		}
	}
	if got := o.do(call{method: "GET", path: "/bucket", query: LimitsQuery + "="}); got.body != document {
		t.Errorf("of the bucket: %s", got.body)
	}
}

func TestLimitsAreRefusedThatAreNotPossibleOrNotTheSendersToSet(t *testing.T) {
	o := serveOffice(t)
	for _, tt := range []struct{ who, query, document, want string }{
		{testUser, "accessKey=ann", `{"requests":-1}`, "InvalidArgument"},
		{testUser, "accessKey=ann", `{"up":1}`, "InvalidArgument"},
		{testUser, "accessKey=ann", `{"down":1.5}`, "InvalidArgument"},
		{testUser, "accessKey=ann", `{"speed":10}`, "InvalidArgument"},
		{testUser, "accessKey=nobody", `{"requests":1}`, "XMinioAdminNoSuchUser"},
		{"ann", "accessKey=ann", `{"requests":1}`, "AccessDenied"},
	} {
		if got, code := o.admin(tt.who, "PUT", "set-user-limits", tt.query, tt.document); code != tt.want {
			t.Errorf("%+v: %s", tt, got.body)
		}
	}
	if _, code := o.admin("ann", "GET", "get-user-limits", "accessKey=boss", ""); code != "AccessDenied" {
		t.Errorf("another user's: %s", code)
	}
	for _, who := range []string{"ann", "boss"} {
		got := o.do(call{method: "PUT", path: "/bucket", query: LimitsQuery + "=", body: `{"requests":-1}`, user: who, secret: secretOf(who)})
		if want := map[string]string{"ann": "AccessDenied", "boss": "InvalidArgument"}[who]; got.code() != want {
			t.Errorf("%s: %s", who, got.body)
		}
	}
}

func TestLimitsOfBucketsAreInTheirArchives(t *testing.T) {
	o := serveOffice(t)
	const document = `{"requests":5}`
	o.ok(call{method: "PUT", path: "/bucket", query: LimitsQuery + "=", body: document})
	archive, code := o.admin(testUser, "GET", "export-bucket-metadata", "", "")
	if code != "" {
		t.Fatal(archive.body)
	}
	o.ok(call{method: "PUT", path: "/bucket", query: LimitsQuery + "=", body: `{}`})
	if got, code := o.admin(testUser, "PUT", "import-bucket-metadata", url.Values{}.Encode(), archive.body); code != "" {
		t.Fatal(got.body)
	}
	if got := o.do(call{method: "GET", path: "/bucket", query: LimitsQuery + "="}); got.body != document {
		t.Errorf("after the import: %s", got.body)
	}
}

// BenchmarkNoLimit is what limits cost those who have none.
func BenchmarkNoLimit(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Store, cfg.Authority = objecttest.NewMemory(), iam.NewRoot(testUser, testSecret)
	s := &Server{Config: cfg}
	r := &request{bucket: "bucket", identity: iam.Identity{AccessKey: "ann"}, known: bucketDocuments{bucket: "bucket"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.limit(r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFilesAreSentAtTheirPace sends one as sendfile(2) is called, by a connection.
func TestFilesAreSentAtTheirPace(t *testing.T) {
	const size, rate = 1 << 20, 64 << 10
	ln := listen(t)
	defer ln.Close()
	received := make(chan int64, 1)
	go func() {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		n, _ := io.Copy(io.Discard, client)
		received <- n
	}()
	tcp, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	now, waited := time.Unix(0, 0), time.Duration(0)
	c := &conn{TCPConn: tcp, stall: time.Minute}
	c.pace.Store(&pace{
		ctx: t.Context(), limiter: limits.New(func() time.Time { return now }, func() int { return 1 }), who: []limits.Subject{{Name: "user/ann", Rates: limits.Rates{Down: rate}}},
		wait: func(_ context.Context, d time.Duration) error {
			now, waited = now.Add(d), waited+d
			return nil
		},
	})
	for _, from := range []io.Reader{&io.LimitedReader{R: strings.NewReader(strings.Repeat("x", 2*size)), N: size}, strings.NewReader(strings.Repeat("x", size))} {
		if n, err := c.ReadFrom(from); n != size || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := tcp.Close(); err != nil {
		t.Error(err)
	}
	if n := <-received; n != 2*size || waited < 30*time.Second || waited > 32*time.Second {
		t.Errorf("%d bytes came after %v, want %d after 31 s", n, waited, 2*size)
	}
}
