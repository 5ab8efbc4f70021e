package gateway

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

const (
	testUser   = "tester"
	testSecret = "secret-of-tester"
)

// fixture is a Server over a memory Store.
type fixture struct {
	t      *testing.T
	addr   string
	store  object.Store
	server *Server
	client *http.Client
}

// listen listens on a port of this host.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func serve(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Store = objecttest.NewMemory()
	cfg.Authority = iam.NewRoot(testUser, testSecret)
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.wait = func(context.Context, time.Duration) error { return nil }
	if change != nil {
		change(&cfg)
	}
	before := runtime.NumGoroutine()
	s, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	transport := &http.Transport{DisableCompression: true}
	f := &fixture{t: t, addr: ln.Addr().String(), store: cfg.Store, server: s, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
		noLeak(t, before)
	})
	return f
}

// noLeak waits until no more goroutines run than before.
func noLeak(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before+2 { // fasthttp keeps a clock
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			return
		}
	}
}

// call is one request of a test.
type call struct {
	method, path, query string
	header              map[string]string
	body                string
	payload             string // x-amz-content-sha256; "" signs the body
	anonymous           bool
	user                string // "" is testUser
	secret              string // "" is testUser's
	token               string // of temporary credentials
	service             string // that is signed for, "" is s3
	now                 time.Time
}

// reply is the answer to a call.
type reply struct {
	status int
	header http.Header
	body   string
}

// code returns the code of an error answer.
func (r reply) code() string {
	var e struct{ Code string }
	if xml.Unmarshal([]byte(r.body), &e) != nil {
		return ""
	}
	return e.Code
}

// request makes the signed HTTP request of a call.
func (f *fixture) request(c call) *http.Request {
	f.t.Helper()
	url := "http://" + f.addr + c.path
	if c.query != "" {
		url += "?" + c.query
	}
	req, err := http.NewRequest(c.method, url, strings.NewReader(c.body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.URL.Opaque = c.path // as it is: tests send odd paths
	for k, v := range c.header {
		req.Header.Set(k, v)
		if strings.EqualFold(k, "Host") {
			req.Host = v
		}
	}
	if c.anonymous {
		return req
	}
	if c.payload == "" {
		sum := sha256.Sum256([]byte(c.body))
		c.payload = hex.EncodeToString(sum[:])
	}
	if c.secret == "" {
		c.secret = testSecret
	}
	if c.user == "" {
		c.user = testUser
	}
	if c.now.IsZero() {
		c.now = time.Now()
	}
	fields := sigv4.Fields{{Name: "Host", Value: req.Host}}
	for k := range req.Header {
		fields = append(fields, sigv4.Field{Name: k, Value: req.Header.Get(k)})
	}
	creds := sigv4.Credentials{AccessKey: c.user, Secret: c.secret, Region: object.DefaultRegion, SecurityToken: c.token, Service: c.service}
	for _, h := range creds.Sign(sigv4.Request{Method: c.method, Path: c.path, Query: c.query, Header: fields}, c.payload, c.now) {
		req.Header.Set(h.Name, h.Value)
	}
	return req
}

// do sends a call.
func (f *fixture) do(c call) reply {
	f.t.Helper()
	resp, err := f.client.Do(f.request(c))
	if err != nil {
		f.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// ok sends a call that must succeed.
func (f *fixture) ok(c call) reply {
	f.t.Helper()
	r := f.do(c)
	if r.status >= 300 {
		f.t.Fatalf("%s %s?%s: %d %s", c.method, c.path, c.query, r.status, r.body)
	}
	return r
}

// refused sends a call that must be refused with the code.
func (f *fixture) refused(code string, c call) reply {
	f.t.Helper()
	r := f.do(c)
	if r.code() != code {
		f.t.Errorf("%s %s?%s: %d %s, want %s", c.method, c.path, c.query, r.status, r.body, code)
	}
	return r
}

// withBucket serves with a bucket named "bucket".
func withBucket(t *testing.T) *fixture {
	f := serve(t, nil)
	f.ok(call{method: "PUT", path: "/bucket"})
	return f
}

func (f *fixture) put(key, body string) {
	f.t.Helper()
	f.ok(call{method: "PUT", path: "/bucket/" + key, body: body})
}

func (f *fixture) get(key string) string {
	f.t.Helper()
	return f.ok(call{method: "GET", path: "/bucket/" + key}).body
}

func md5Base64(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// missing fails the test if the object is there.
func (f *fixture) missing(key string) {
	f.t.Helper()
	if _, err := f.store.Stat(context.Background(), object.Ref{Bucket: "bucket", Key: key}); !errors.Is(err, object.NoSuchKey) {
		f.t.Errorf("%s was stored: %v", key, err)
	}
}

func TestObjectComesBackAsItWasPut(t *testing.T) {
	f := withBucket(t)
	put := f.ok(call{method: "PUT", path: "/bucket/a%20b/%C3%BC", body: "content", header: map[string]string{
		"Content-Type": "text/plain", "Cache-Control": "no-store", "Content-Encoding": "gzip", "Content-Language": "de",
		"Content-Disposition": "inline", "Expires": "Thu, 01 Dec 2050 16:00:00 GMT", "x-amz-meta-Color": "blue", "x-amz-storage-class": "STANDARD_IA",
		"x-amz-tagging": "a=1&b=2", "x-amz-website-redirect-location": "/x",
	}})
	const md5 = `"9a0364b9e99bb480dd25e1f0284c8555"`
	if got := put.header.Get("ETag"); got != md5 {
		t.Errorf("ETag %s", got)
	}
	if put.header.Get("x-amz-checksum-crc64nvme") == "" {
		t.Error("no default checksum")
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := f.ok(call{method: method, path: "/bucket/a%20b/%C3%BC", header: map[string]string{"x-amz-checksum-mode": "ENABLED"}})
		for name, want := range map[string]string{
			"ETag": md5, "Content-Length": "7", "Content-Type": "text/plain", "Cache-Control": "no-store", "Content-Encoding": "gzip",
			"Content-Language": "de", "Content-Disposition": "inline", "Expires": "Thu, 01 Dec 2050 16:00:00 GMT", "X-Amz-Meta-Color": "blue",
			"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Tagging-Count": "2", "X-Amz-Website-Redirect-Location": "/x", "Accept-Ranges": "bytes",
			"X-Amz-Checksum-Crc64nvme": put.header.Get("x-amz-checksum-crc64nvme"), "X-Amz-Checksum-Type": "FULL_OBJECT",
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
		if want := map[string]string{"GET": "content", "HEAD": ""}[method]; r.body != want {
			t.Errorf("%s: body %q", method, r.body)
		}
	}
}

func TestRangesAndParts(t *testing.T) {
	f := withBucket(t)
	f.put("k", "0123456789")
	for _, tt := range []struct {
		header, body, contentRange string
		status                     int
	}{
		{"bytes=2-4", "234", "bytes 2-4/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206},
		{"bytes=0-0,2-2", "0123456789", "", 200},
		{"rubbish", "0123456789", "", 200},
	} {
		r := f.do(call{method: "GET", path: "/bucket/k", header: map[string]string{"Range": tt.header}})
		if r.status != tt.status || r.body != tt.body || r.header.Get("Content-Range") != tt.contentRange {
			t.Errorf("%s: %d %q %q", tt.header, r.status, r.body, r.header.Get("Content-Range"))
		}
	}
	f.put("empty", "")
	if r := f.do(call{method: "GET", path: "/bucket/empty", header: map[string]string{"Range": "bytes=-1"}}); r.status != 200 {
		t.Errorf("the last byte of nothing: %d", r.status)
	}
	if r := f.refused("InvalidRange", call{method: "GET", path: "/bucket/empty", header: map[string]string{"Range": "bytes=0-0"}}); r.header.Get("Content-Range") != "bytes */0" {
		t.Errorf("the first byte of nothing: %q", r.header.Get("Content-Range"))
	}
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket/none", query: "partNumber=x"})
	f.refused("InvalidRequest", call{method: "GET", path: "/bucket/k", query: "partNumber=1", header: map[string]string{"Range": "bytes=0-1"}})
	r := f.refused("InvalidRange", call{method: "GET", path: "/bucket/k", header: map[string]string{"Range": "bytes=10-"}})
	if r.status != 416 || r.header.Get("Content-Range") != "bytes */10" {
		t.Errorf("%d, %q", r.status, r.header.Get("Content-Range"))
	}
	f.refused("InvalidPartNumber", call{method: "GET", path: "/bucket/k", query: "partNumber=2"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket/k", query: "partNumber=0"})
	if got := f.ok(call{method: "GET", path: "/bucket/k", query: "response-content-type=text%2Fx"}).header.Get("Content-Type"); got != "text/x" {
		t.Errorf("override gives %q", got)
	}
	for _, value := range []string{"%00", "a%0D%0ASet-Cookie:b", "%7F"} {
		f.refused("InvalidArgument", call{method: "GET", path: "/bucket/k", query: "response-content-disposition=" + value})
		f.refused("", call{method: "HEAD", path: "/bucket/k", query: "response-content-type=" + value})
	}
	if got := f.ok(call{method: "GET", path: "/bucket/k", query: "response-content-disposition=a%09%C3%A9"}).header.Get("Content-Disposition"); got != "a\té" {
		t.Errorf("override gives %q", got)
	}
}

func TestIfModifiedSinceCountsUpToTheServersClock(t *testing.T) {
	f := serve(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(10 * time.Minute) } })
	f.ok(call{method: "PUT", path: "/bucket"})
	f.put("k", "hello")
	at := func(d time.Duration) string { return httpTime(time.Now().Add(d)) }
	for _, method := range []string{"GET", "HEAD"} {
		for since, want := range map[string]int{f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("Last-Modified"): 304, at(5 * time.Minute): 304, at(15 * time.Minute): 200} {
			if r := f.do(call{method: method, path: "/bucket/k", header: headers{"If-Modified-Since": since}}); r.status != want {
				t.Errorf("%s since %s: %d, want %d", method, since, r.status, want)
			}
		}
	}
	copied := func(since string) call {
		return call{method: "PUT", path: "/bucket/copy", header: headers{"x-amz-copy-source": "/bucket/k", "x-amz-copy-source-if-modified-since": since}}
	}
	f.refused("PreconditionFailed", copied(at(5*time.Minute)))
	f.ok(copied(at(15 * time.Minute)))
}

func TestAConditionThatDoesNotHoldIsNamed(t *testing.T) {
	f := withBucket(t)
	f.put("k", "v")
	etag, past := f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("ETag"), "Sat, 01 Jan 2000 00:00:00 GMT"
	for _, tt := range []struct {
		method, condition, header, value string
	}{
		{"GET", "If-Match", "If-Match", `"x"`},
		{"GET", "If-Unmodified-Since", "If-Unmodified-Since", past},
		{"PUT", "If-Match", "If-Match", `"x"`},
		{"PUT", "If-None-Match", "If-None-Match", "*"},
		{"DELETE", "If-Match", "If-Match", `"x"`},
		{"DELETE", "x-amz-if-match-size", "x-amz-if-match-size", "2"},
		{"DELETE", "x-amz-if-match-last-modified-time", "x-amz-if-match-last-modified-time", past},
		{"PUT", "x-amz-copy-source-If-Match", "x-amz-copy-source-if-match", `"x"`},
		{"PUT", "x-amz-copy-source-If-Unmodified-Since", "x-amz-copy-source-if-unmodified-since", past},
		{"PUT", "x-amz-copy-source-If-None-Match", "x-amz-copy-source-if-none-match", etag},
		{"PUT", "x-amz-copy-source-If-Modified-Since", "x-amz-copy-source-if-modified-since", httpTime(time.Now())},
	} {
		header, path := headers{tt.header: tt.value}, "/bucket/k"
		if strings.HasPrefix(tt.header, "x-amz-copy") {
			header["x-amz-copy-source"], path = "/bucket/k", "/bucket/copy"
		}
		r := f.refused("PreconditionFailed", call{method: tt.method, path: path, header: header})
		if !strings.Contains(r.body, "<Condition>"+tt.condition+"</Condition>") {
			t.Errorf("%s with %s: %s", tt.method, tt.header, r.body)
		}
	}
}

func TestConditionalWritesAreDecidedByTheCurrentObject(t *testing.T) {
	f := withBucket(t)
	put := func(header map[string]string) call {
		return call{method: "PUT", path: "/bucket/k", body: "v", header: header}
	}
	f.refused("NoSuchKey", put(map[string]string{"If-Match": `"x"`}))
	f.ok(put(map[string]string{"If-None-Match": "*"}))
	f.refused("PreconditionFailed", put(map[string]string{"If-None-Match": "*"}))
	f.refused("PreconditionFailed", put(map[string]string{"If-Match": `"x"`}))
	f.refused("NotImplemented", put(map[string]string{"If-None-Match": `"x"`}))
	for _, name := range []string{"If-Unmodified-Since", "If-Modified-Since", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"} {
		f.refused("NotImplemented", put(map[string]string{name: "Sat, 01 Jan 2000 00:00:00 GMT"}))
	}
	for _, name := range []string{"If-Unmodified-Since", "If-None-Match"} {
		f.refused("NotImplemented", call{method: "DELETE", path: "/bucket/k", header: map[string]string{name: "*"}})
	}
	etag := f.ok(put(map[string]string{"If-Match": "*"})).header.Get("ETag")
	f.ok(put(map[string]string{"If-Match": etag}))
	f.refused("PreconditionFailed", call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-copy-source": "/bucket/k", "x-amz-metadata-directive": "REPLACE", "If-None-Match": "*"}})
	f.refused("PreconditionFailed", call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": `"x"`}})
	f.ok(call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": etag}})
	f.refused("NoSuchKey", call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": etag}})
	f.ok(call{method: "DELETE", path: "/bucket/k"})
}

func TestTheOwnerIsExpectedByEitherOfHisNames(t *testing.T) {
	f := withBucket(t)
	for _, name := range []string{stsAccount, ownerID} {
		f.ok(call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-expected-bucket-owner": name}, body: "x"})
	}
}

func TestEveryRowOfTheOperationTableIsReached(t *testing.T) {
	rows := newTable(operations())
	for _, row := range operations() {
		path := map[level]string{service: "/", bucketLevel: "/bucket", objectLevel: "/bucket/key"}[row.level]
		if row.query != "" {
			path += "?" + row.query
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.Header.SetMethod(row.method)
		ctx.Request.Header.SetRequestURI(path)
		if row.header != "" {
			ctx.Request.Header.Set(row.header, "bucket/key")
		}
		r := &request{ctx: ctx}
		if err := r.parse(nil, nil); err != nil {
			t.Fatal(err)
		}
		if found, err := rows.find(r); err != nil || found.name != row.name {
			t.Errorf("%s %s: found %v, %v, want %s", row.method, path, found, err, row.name)
		}
	}
}

func TestARequestForTwoThingsIsRefused(t *testing.T) {
	f := withBucket(t)
	for query, named := range map[string]string{"acl&policy": "acl, policy", "versions&uploads": "uploads, versions", "tagging=&cors=": "cors, tagging"} {
		r := f.do(call{method: "GET", path: "/bucket", query: query})
		if r.code() != "InvalidArgument" || !strings.Contains(r.body, "Conflicting query string parameters: "+named) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	f.ok(call{method: "GET", path: "/bucket", query: "versions&versions"})
}

func TestUnsignedAndWronglySignedRequestsAreRefused(t *testing.T) {
	f := withBucket(t)
	f.put("k", "v")
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/k", anonymous: true})
	f.refused("AccessDenied", call{method: "PUT", path: "/nobody-knows", anonymous: true})
	for _, c := range []call{
		{method: "GET", path: "/nobody-knows"},
		{method: "DELETE", path: "/nobody-knows"},
		{method: "GET", path: "/nobody-knows", query: "policy"},
		{method: "GET", path: "/nobody-knows/k"},
		{method: "PUT", path: "/nobody-knows/k", body: "x"},
	} {
		c.anonymous = true
		f.refused("NoSuchBucket", c)
	}
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k2", body: "x", anonymous: true})
	f.refused("SignatureDoesNotMatch", call{method: "GET", path: "/bucket/k", secret: "wrong"})
	f.refused("RequestTimeTooSkewed", call{method: "GET", path: "/bucket/k", now: time.Now().Add(-16 * time.Minute)})
	f.refused("RequestTimeTooSkewed", call{method: "GET", path: "/bucket/k", now: time.Now().Add(16 * time.Minute)})
	f.refused("XAmzContentSHA256Mismatch", call{method: "PUT", path: "/bucket/k2", body: "x", payload: strings.Repeat("0", 64)})
	f.missing("k2")
}

func TestWrongDigestsAreRefusedAndNotStored(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct{ code, name, value string }{
		{"BadDigest", "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="},
		{"InvalidDigest", "Content-MD5", "rubbish"},
		{"InvalidDigest", "Content-MD5", "YWJj"},
		{"BadDigest", "x-amz-checksum-crc32", "AAAAAA=="},
		{"BadDigest", "x-amz-checksum-crc32c", "AAAAAA=="},
		{"BadDigest", "x-amz-checksum-crc64nvme", "AAAAAAAAAAA="},
		{"BadDigest", "x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		{"BadDigest", "x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		{"InvalidRequest", "x-amz-checksum-crc32", "AAAA"},
		{"BadDigest", "x-amz-checksum-md5", "XUFAKrxLKna5cZ2REBfFkg=="},
		{"InvalidRequest", "x-amz-checksum-sha512", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		{"InvalidRequest", "x-amz-checksum-xxhash32", "AAAAAA=="},
		{"InvalidRequest", "x-amz-checksum-none", "AAAA"},
		{"InvalidRequest", "x-amz-checksum-sha256", "not base64"},
		{"InvalidRequest", "x-amz-sdk-checksum-algorithm", "CRC32"},
		{"InvalidRequest", "x-amz-trailer", "x-amz-meta-x"},
		{"InvalidRequest", "x-amz-trailer", "x-amz-checksum-crc32"},
	} {
		f.refused(tt.code, call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{tt.name: tt.value}})
		f.missing("k")
	}
}

func TestMultipartUpload(t *testing.T) {
	f := withBucket(t)
	var up struct{ UploadId string }
	create := f.ok(call{method: "POST", path: "/bucket/m", query: "uploads=", header: map[string]string{"x-amz-meta-a": "b"}})
	if err := xml.Unmarshal([]byte(create.body), &up); err != nil || up.UploadId == "" {
		t.Fatalf("%s: %v", create.body, err)
	}
	id := "uploadId=" + up.UploadId
	part1, part2 := strings.Repeat("a", object.MinPartSize), "tail"
	etag1 := f.ok(call{method: "PUT", path: "/bucket/m", query: "partNumber=1&" + id, body: part1}).header.Get("ETag")
	etag2 := f.ok(call{method: "PUT", path: "/bucket/m", query: "partNumber=2&" + id, body: part2}).header.Get("ETag")
	f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/m", query: "partNumber=10001&" + id, body: "x"})
	f.refused("NoSuchUpload", call{method: "PUT", path: "/bucket/m", query: "partNumber=1&uploadId=none", body: "x"})
	if r := f.ok(call{method: "GET", path: "/bucket/m", query: id}); strings.Count(r.body, "<Part>") != 2 {
		t.Errorf("parts: %s", r.body)
	}
	if r := f.ok(call{method: "GET", path: "/bucket", query: "uploads="}); !strings.Contains(r.body, up.UploadId) {
		t.Errorf("uploads: %s", r.body)
	}
	complete := func(list string) call {
		return call{method: "POST", path: "/bucket/m", query: id, body: "<CompleteMultipartUpload>" + list + "</CompleteMultipartUpload>"}
	}
	part := func(n, etag string) string {
		return "<Part><PartNumber>" + n + "</PartNumber><ETag>" + etag + "</ETag></Part>"
	}
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket/m", query: id})
	f.refused("MalformedXML", complete(""))
	f.refused("MalformedXML", complete("<Part><PartNumber>1</PartNumber></Part>"))
	if r := f.refused("InvalidPartOrder", complete(part("2", etag2)+part("1", etag1))); !strings.Contains(r.body, "<UploadId>"+up.UploadId+"</UploadId>") {
		t.Errorf("parts in the wrong order: %s", r.body)
	}
	f.refused("InvalidPart", complete(part("1", etag2)))
	f.refused("EntityTooSmall", complete(part("2", etag2)+part("3", etag2)))
	f.ok(complete(part("1", etag1) + part("2", etag2)))
	if got := f.get("m"); got != part1+part2 {
		t.Errorf("%d bytes", len(got))
	}
	r := f.ok(call{method: "GET", path: "/bucket/m", query: "partNumber=2"})
	if r.body != part2 || r.header.Get("x-amz-mp-parts-count") != "2" || !strings.HasSuffix(r.header.Get("ETag"), `-2"`) {
		t.Errorf("part 2: %q %v", r.body, r.header)
	}
	if r := f.ok(call{method: "GET", path: "/bucket/m", query: "attributes=", header: map[string]string{"x-amz-object-attributes": "ObjectParts,ObjectSize"}}); !strings.Contains(r.body, "<PartsCount>2</PartsCount>") {
		t.Errorf("attributes: %s", r.body)
	}
}

// sharing is a Store whose deletions wait until as many are under way as share a sync.
type sharing struct {
	object.Store
	others sync.WaitGroup
}

func (s *sharing) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	s.others.Done()
	together := make(chan struct{})
	go func() {
		s.others.Wait()
		close(together)
	}()
	select {
	case <-together:
		return s.Store.Delete(ctx, ref, check)
	case <-time.After(5 * time.Second):
		return object.Deleted{}, errors.New("no others came")
	}
}

func TestConcurrentCreatorsHaveOneWinner(t *testing.T) {
	f := withBucket(t)
	results := make(chan int, 50)
	for range cap(results) {
		go func() {
			resp, err := f.client.Do(f.request(call{method: "PUT", path: "/bucket/k", body: "x", header: map[string]string{"If-None-Match": "*"}}))
			if err != nil {
				results <- 0
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			results <- resp.StatusCode
		}()
	}
	count := map[int]int{}
	for range cap(results) {
		count[<-results]++
	}
	if count[200] != 1 || count[412] != cap(results)-1 {
		t.Errorf("%v", count)
	}
}

// slowStore completes nothing before it is told to.
type slowStore struct {
	object.Store
	complete chan error
}

func (s slowStore) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	if err := <-s.complete; err != nil {
		return object.Info{}, err
	}
	return s.Store.CompleteUpload(ctx, ref, in)
}

func TestLongCompletionKeepsTheClientAlive(t *testing.T) {
	slow := slowStore{objecttest.NewMemory(), make(chan error)}
	f := serve(t, func(c *Config) { c.Store, c.Patience = slow, 10*time.Millisecond })
	f.ok(call{method: "PUT", path: "/bucket"})
	var up struct{ UploadId string }
	create := f.ok(call{method: "POST", path: "/bucket/m", query: "uploads="})
	if err := xml.Unmarshal([]byte(create.body), &up); err != nil {
		t.Fatal(err)
	}
	id := "uploadId=" + up.UploadId
	etag := f.ok(call{method: "PUT", path: "/bucket/m", query: "partNumber=1&" + id, body: "x"}).header.Get("ETag")
	complete := call{method: "POST", path: "/bucket/m", query: id, body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"}
	for _, outcome := range []error{errSlowDown, nil} {
		resp, err := f.client.Do(f.request(complete))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Fatalf("status %d before the outcome is known", resp.StatusCode)
		}
		slow.complete <- outcome
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		r := reply{resp.StatusCode, resp.Header, string(body)}
		if outcome != nil && r.code() != "SlowDown" || outcome == nil && !strings.Contains(r.body, "<CompleteMultipartUploadResult") {
			t.Errorf("%v: %q", outcome, r.body)
		}
	}
}
