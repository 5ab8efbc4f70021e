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
	"strconv"
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

func TestAResponseOverrideOfAHeaderThatHasNoneIsRefused(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	const want = "<Message>response-foo is not in the set of overridable response headers. Please refer to the S3 API documentation for a complete list of overridable response headers.</Message>" +
		"<ArgumentName>response-foo</ArgumentName><ArgumentValue>bar</ArgumentValue>"
	for _, query := range []string{"response-foo=bar", "response-expires=0&response-foo=bar"} {
		if r := f.refused("InvalidArgument", call{method: "GET", path: "/bucket/k", query: query}); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
		if r := f.do(call{method: "HEAD", path: "/bucket/k", query: query}); r.status != 400 {
			t.Errorf("HEAD %s: %d", query, r.status)
		}
	}
	for _, o := range responseOverrides() {
		f.ok(call{method: "GET", path: "/bucket/k", query: o[0] + "=x"})
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
	f.refused("PreconditionFailed", call{method: "PUT", path: "/bucket/copy", header: headers{"x-amz-copy-source": "/bucket/k", "x-amz-copy-source-if-modified-since": at(15 * time.Minute)}})
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
	etag := f.ok(put(map[string]string{"If-Match": "*"})).header.Get("ETag")
	f.ok(put(map[string]string{"If-Match": etag}))
	f.refused("PreconditionFailed", call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-copy-source": "/bucket/k", "x-amz-metadata-directive": "REPLACE", "If-None-Match": "*"}})
	f.refused("PreconditionFailed", call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": `"x"`}})
	f.ok(call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": etag}})
	f.refused("NoSuchKey", call{method: "DELETE", path: "/bucket/k", header: map[string]string{"If-Match": etag}})
	f.ok(call{method: "DELETE", path: "/bucket/k"})
}

func TestWhatIsNotOfferedIsRefusedAndNotStored(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct {
		code   string
		header map[string]string
		query  string
	}{
		{"NotImplemented", map[string]string{"x-amz-server-side-encryption": "AES256"}, ""},
		{"NotImplemented", map[string]string{"x-amz-server-side-encryption": "aws:kms"}, ""},
		{"InvalidRequest", map[string]string{"x-amz-server-side-encryption-customer-algorithm": "AES256"}, ""},
		{"InvalidArgument", map[string]string{"x-amz-object-lock-mode": "GOVERNANCE"}, ""},
		{"AccessControlListNotSupported", map[string]string{"x-amz-acl": "public-read"}, ""},
		{"AccessControlListNotSupported", map[string]string{"x-amz-grant-read": "id=x"}, ""},
		{"InvalidStorageClass", map[string]string{"x-amz-storage-class": "GLACIER"}, ""},
		{"InvalidArgument", map[string]string{"x-amz-acl": "rubbish"}, ""},
		{"AccessDenied", map[string]string{"x-amz-expected-bucket-owner": "123456789012"}, ""},
		{"InvalidBucketOwnerAWSAccountID", map[string]string{"x-amz-expected-bucket-owner": "somebody"}, ""},
		{"InvalidRedirectLocation", map[string]string{"x-amz-website-redirect-location": "ftp://x"}, ""},
		{"InvalidArgument", nil, "versionId=null"},
		{"InvalidArgument", nil, "partNumber=1"},
		{"InvalidArgument", nil, "uploadId=x&partNumber=1&versionId=null"},
	} {
		f.refused(tt.code, call{method: "PUT", path: "/bucket/k", query: tt.query, header: tt.header, body: "x"})
		f.missing("k")
	}
	for code, header := range map[string][2]string{
		"InvalidBucketAclWithObjectOwnership": {"x-amz-acl", "public-read"},
		"InvalidArgument":                     {"x-amz-object-ownership", "rubbish"},
		"NotImplemented":                      {"x-amz-object-ownership", "ObjectWriter"},
	} {
		f.refused(code, call{method: "PUT", path: "/new-bucket", header: map[string]string{header[0]: header[1]}})
		f.refused("NoSuchBucket", call{method: "GET", path: "/new-bucket"})
	}
	for _, sub := range []string{"replication", "abac", "metadataInventoryTable", "metadataJournalTable", "replication-reset"} {
		f.refused("NotImplemented", call{method: "PUT", path: "/bucket", query: sub, body: "<x/>"})
	}
}

func TestWhatAsksForAnOperationOfMinIOsIsNotTakenForThePlainOne(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	for _, tt := range []call{
		{method: "PUT", path: "/new-bucket", query: "replication-reset=&arn=x"},
		{method: "GET", path: "/bucket", query: "replication-metrics=2"},
		{method: "GET", path: "/bucket", query: "replication-reset-status="},
		{method: "GET", path: "/bucket", query: "replication-check="},
		{method: "GET", path: "/bucket/k", query: "lambdaArn=x"},
	} {
		f.refused("NotImplemented", tt)
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/new-bucket"})
}

func TestAnOperationThatIsNotImplementedIsNamed(t *testing.T) {
	f := withBucket(t)
	answer := f.do(call{method: "POST", path: "/bucket/k", query: "restore=", body: "<RestoreRequest/>"})
	if want := "<Message>The operation POST ?restore is not implemented.</Message>"; answer.status != 501 || !strings.Contains(answer.body, want) {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}

func TestSubresourcesOfBucketsAreNoneOfKeys(t *testing.T) {
	f := withBucket(t)
	for query, want := range map[string]string{
		"versions": "There is no such thing as the ?versions sub-resource for a key",
		"uploads":  "Key is not expected for the GET method ?uploads subresource",
	} {
		r := f.refused("InvalidRequest", call{method: "GET", path: "/bucket/k", query: query})
		if r.status != 400 || !strings.Contains(r.body, "<Message>"+want+"</Message>") {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

// What S3 does not do says nothing of a bucket, and there need be none.
func TestStrangersAreToldWhatS3DoesNotDo(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct {
		c           call
		status      int
		code, allow string
	}{
		{call{method: "POST", path: "/bucket/k"}, 405, "MethodNotAllowed", ""},
		{call{method: "POST", path: "/bucket/k", header: headers{"Content-Type": "application/json"}}, 405, "MethodNotAllowed", ""},
		{call{method: "POST", path: "/none/k"}, 405, "MethodNotAllowed", ""},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x"}, 405, "MethodNotAllowed", "DELETE, POST, GET"},
		{call{method: "PUT", path: "/bucket/k", query: "partNumber=1"}, 400, "InvalidArgument", ""},
		{call{method: "GET", path: "/bucket/k", query: "uploads"}, 400, "InvalidRequest", ""},
		{call{method: "GET", path: "/bucket/k", query: "versions"}, 400, "InvalidRequest", ""},
		{call{method: "GET", path: "/bucket/k", query: "torrent"}, 403, "AccessDenied", ""},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x&partNumber=1"}, 403, "AccessDenied", ""},
	} {
		tt.c.anonymous = true
		if r := f.refused(tt.code, tt.c); r.status != tt.status || r.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s?%s: %d, Allow %q", tt.c.method, tt.c.path, tt.c.query, r.status, r.header.Get("Allow"))
		}
		tt.c.anonymous, tt.c.secret = false, "wrong"
		f.refused("SignatureDoesNotMatch", tt.c)
	}
}

func TestAPartNumberWithoutAnUploadIsRefused(t *testing.T) {
	f := withBucket(t)
	f.put("source", "x")
	const want = "<Message>This operation does not accept partNumber without uploadId</Message><ArgumentName>partNumber</ArgumentName><ArgumentValue>partNumber</ArgumentValue>"
	for _, header := range []headers{nil, {"x-amz-copy-source": "/bucket/source"}} {
		if r := f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/k", query: "partNumber=1", header: header}); !strings.Contains(r.body, want) {
			t.Errorf("%q: %s", header, r.body)
		}
		f.missing("k")
	}
}

func TestTheSourceOfACopyIsRefusedWhereNothingIsCopied(t *testing.T) {
	f := withBucket(t)
	f.put("k", "kept")
	const want = "<Message>You can only specify a copy source header for copy requests.</Message><ArgumentName>x-amz-copy-source</ArgumentName><ArgumentValue>/bucket/a%20b</ArgumentValue>"
	for _, c := range []call{
		{method: "DELETE", path: "/bucket/k"},
		{method: "DELETE", path: "/bucket/k", query: "uploadId=x"},
		{method: "DELETE", path: "/bucket"},
		{method: "GET", path: "/bucket/k"},
		{method: "GET", path: "/bucket"},
		{method: "HEAD", path: "/bucket/k"},
		{method: "HEAD", path: "/bucket"},
		{method: "POST", path: "/bucket/k", query: "uploadId=x"},
		{method: "GET", path: "/bucket/k", anonymous: true},
		{method: "DELETE", path: "/bucket/k", secret: "wrong"},
	} {
		c.header = headers{"x-amz-copy-source": "/bucket/a%20b"}
		if r := f.do(c); r.status != 400 || c.method != "HEAD" && !strings.Contains(r.body, "<Code>InvalidArgument</Code>"+want) {
			t.Errorf("%s %s?%s: %d %s", c.method, c.path, c.query, r.status, r.body)
		}
	}
	if got := f.get("k"); got != "kept" {
		t.Errorf("k holds %q", got)
	}
}

func TestAMethodThatIsNotAllowedIsToldWithWhatItIsNotAllowedFor(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	marker := f.ok(call{method: "DELETE", path: "/bucket/k"}).header.Get("x-amz-version-id")
	for _, tt := range []struct {
		c         call
		allow     string
		what, how string
	}{
		{call{method: "PUT", path: "/"}, "", "SERVICE", "PUT"},
		{call{method: "POST", path: "/"}, "", "SERVICE", "POST"},
		{call{method: "PATCH", path: "/bucket"}, "", "BUCKET", "PATCH"},
		{call{method: "POST", path: "/bucket/k"}, "", "OBJECT", "POST"},
		{call{method: "POST", path: "/bucket/k", anonymous: true, header: headers{"Content-Type": "multipart/form-data; boundary=x"}}, "", "OBJECT", "POST"},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x"}, "DELETE, POST, GET", "UPLOAD", "PUT"},
		{call{method: "PUT", path: "/bucket/k", query: "uploadId=x", header: headers{"x-amz-copy-source": "/bucket/k"}}, "DELETE, POST, GET", "UPLOAD", "PUT"},
		{call{method: "GET", path: "/bucket/k", query: "versionId=" + marker}, "DELETE", "DeleteMarker", "GET"},
	} {
		r := f.refused("MethodNotAllowed", tt.c)
		want := "<Method>" + tt.how + "</Method><ResourceType>" + tt.what + "</ResourceType>"
		if r.status != 405 || !strings.Contains(r.body, want) || strings.Count(r.body, "<Method>") != 1 || r.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s?%s: %d, Allow %q, %s", tt.c.method, tt.c.path, tt.c.query, r.status, r.header.Get("Allow"), r.body)
		}
	}
}

func TestTheOwnerIsExpectedByEitherOfHisNames(t *testing.T) {
	f := withBucket(t)
	for _, name := range []string{stsAccount, ownerID} {
		f.ok(call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-expected-bucket-owner": name}, body: "x"})
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	f := withBucket(t)
	copyOf := func(source string) headers { return headers{"x-amz-copy-source": source} }
	for want, c := range map[string]call{
		"<Key>a &amp; b</Key>":               {method: "GET", path: "/bucket/a%20&%20b"},
		"<BucketName>no-bucket</BucketName>": {method: "GET", path: "/no-bucket/k"},
		"<Key>source</Key>":                  {method: "PUT", path: "/bucket/to", header: copyOf("/bucket/source")},
		"<BucketName>no-source</BucketName>": {method: "PUT", path: "/bucket/to", header: copyOf("/no-source/k")},
	} {
		if r := f.do(c); r.status != 404 || strings.Count(string(r.body), want) != 1 {
			t.Errorf("%s: %d %s", c.path, r.status, r.body)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket/there", body: "x"})
	r := f.do(call{method: "PUT", path: "/no-target/k", header: copyOf("/bucket/there")})
	if r.code() != "NoSuchBucket" || !strings.Contains(r.body, "<BucketName>no-target</BucketName>") {
		t.Errorf("a copy to where there is no bucket: %s", r.body)
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

func TestUnsignedAndWronglySignedRequestsAreRefused(t *testing.T) {
	f := withBucket(t)
	f.put("k", "v")
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/k", anonymous: true})
	f.refused("AccessDenied", call{method: "GET", path: "/nobody-knows", anonymous: true})
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
	f.refused("MalformedXML", complete(""))
	f.refused("MalformedXML", complete("<Part><PartNumber>1</PartNumber></Part>"))
	f.refused("InvalidPartOrder", complete(part("2", etag2)+part("1", etag1)))
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

func TestListings(t *testing.T) {
	f := withBucket(t)
	for _, k := range []string{"a-b", "a/b", "a/c", "a0", "b%01%3C"} {
		f.put(k, "x")
	}
	type listing struct {
		IsTruncated           bool
		NextContinuationToken string
		NextMarker            string
		Contents              []struct{ Key, ETag, StorageClass string }
		CommonPrefixes        []struct{ Prefix string }
	}
	list := func(query string) (l listing) {
		t.Helper()
		if err := xml.Unmarshal([]byte(f.ok(call{method: "GET", path: "/bucket", query: query}).body), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	names := func(l listing) string {
		var out []string
		for _, c := range l.Contents {
			out = append(out, c.Key)
		}
		for _, p := range l.CommonPrefixes {
			out = append(out, p.Prefix)
		}
		return strings.Join(out, " ")
	}
	if got := names(list("encoding-type=url&list-type=2")); got != "a-b a/b a/c a0 b%01%3C" {
		t.Errorf("all: %s", got)
	}
	if got := names(list("delimiter=%2F&encoding-type=url")); got != "a-b a0 b%01%3C a/" {
		t.Errorf("folders: %s", got)
	}
	var paged []string
	token := ""
	for range 10 {
		q := "delimiter=%2F&encoding-type=url&list-type=2&max-keys=1"
		if token != "" {
			q = "continuation-token=" + token + "&" + q
		}
		l := list(q)
		paged = append(paged, names(l))
		if token = l.NextContinuationToken; !l.IsTruncated {
			break
		}
	}
	if got := strings.Join(paged, " "); got != "a-b a/ a0 b%01%3C" {
		t.Errorf("pages: %s", got)
	}
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "max-keys=-1"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "encoding-type=x"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "continuation-token=%21&list-type=2"})
	for _, other := range []string{"", "1", "two"} {
		if got := f.ok(call{method: "GET", path: "/bucket", query: "encoding-type=url&list-type=" + other}).body; !strings.Contains(got, "<Marker>") || strings.Contains(got, "<KeyCount>") {
			t.Errorf("list-type=%s is not taken for version 1: %s", other, got)
		}
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/no-such-bucket"})
	if r := f.ok(call{method: "GET", path: "/bucket", query: "versions="}); strings.Count(r.body, "<VersionId>null</VersionId>") != 5 {
		t.Errorf("versions: %s", r.body)
	}
}

func TestAListingTellsTheRegionOfItsBucketWithoutAnotherLookAtIt(t *testing.T) {
	f := withBucket(t)
	if err := f.store.CreateBucket(t.Context(), object.Bucket{Name: "older", Region: "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	l := &looked{Store: f.store}
	f.server.Store = l
	for path, region := range map[string]string{"/bucket": "us-east-1", "/older": "eu-west-1"} {
		for _, query := range []string{"", "list-type=2"} {
			got := f.ok(call{method: "GET", path: path, query: query}).header.Get("x-amz-bucket-region")
			if n := l.times.Swap(0); got != region || n != 1 {
				t.Errorf("%s?%s: region %q, want %q; looks at the bucket %d times", path, query, got, region, n)
			}
		}
	}
}

// Stores that know their buckets let requests do without a look at them.
func TestAListingTellsTheServersRegionWhereItKnowsNoOther(t *testing.T) {
	s := &Server{Config: Config{Region: "eu-west-1"}}
	r := &request{ctx: new(fasthttp.RequestCtx)}
	s.setRegion(r)
	if got := string(r.ctx.Response.Header.Peek("x-amz-bucket-region")); got != "eu-west-1" {
		t.Errorf("region %q", got)
	}
}

func TestDeleteObjects(t *testing.T) {
	f := withBucket(t)
	f.put("a", "x")
	f.put("b", "y")
	body := `<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><ETag>"wrong"</ETag></Object><Object><Key>none</Key></Object></Delete>`
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket", query: "delete=", body: body})
	r := f.ok(call{method: "POST", path: "/bucket", query: "delete=", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}})
	if strings.Count(r.body, "<Deleted>") != 2 || !strings.Contains(r.body, "<Code>PreconditionFailed</Code>") {
		t.Errorf("%s", r.body)
	}
	f.missing("a")
	if got := f.get("b"); got != "y" {
		t.Errorf("b is %q", got)
	}
	f.refused("MalformedXML", call{method: "POST", path: "/bucket", query: "delete=", body: "<Delete>", header: map[string]string{"Content-MD5": md5Base64("<Delete>")}})
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

func TestDeletionsOfOneRequestShareWhatTheyWaitFor(t *testing.T) {
	const together = 64
	store := &sharing{Store: objecttest.NewMemory()}
	store.others.Add(together)
	f := serve(t, func(c *Config) { c.Store = store })
	f.ok(call{method: "PUT", path: "/bucket"})
	body := "<Delete>"
	for i := range together {
		body += "<Object><Key>" + strconv.Itoa(i) + "</Key></Object>"
	}
	body += "</Delete>"
	r := f.ok(call{method: "POST", path: "/bucket", query: "delete", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}})
	if n := strings.Count(r.body, "<Deleted>"); n != together {
		t.Errorf("%d were deleted: %s", n, r.body)
	}
}

func TestOwnPages(t *testing.T) {
	f := serve(t, nil)
	for _, path := range []string{"/minio/health/live", "/minio/health/ready", "/livez", "/readyz"} {
		if r := f.do(call{method: "GET", path: path, anonymous: true}); r.status != 200 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	f.refused("AccessDenied", call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true})
	f.server.Drain()
	if r := f.do(call{method: "GET", path: "/minio/health/ready", anonymous: true}); r.status != 503 {
		t.Errorf("draining and ready: %d", r.status)
	}
	if r := f.do(call{method: "GET", path: "/minio/health/live", anonymous: true}); r.status != 200 {
		t.Errorf("draining and not live: %d", r.status)
	}
}

func TestMaintenanceIsRefusedWhereNothingCouldBeWrittenMeanwhile(t *testing.T) {
	var drives []Drive
	f := serve(t, func(c *Config) { c.Node, c.Drives = "n1", func() []Drive { return drives } })
	drive := func(node string, online bool) Drive { return Drive{Node: node, Parity: 2, Online: online} }
	for what, tt := range map[string]struct {
		drives []Drive
		want   int
	}{
		"one of four":                    {[]Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"one of three that are left":     {[]Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", false)}, 412},
		"two of four drives":             {[]Drive{drive("n1", true), drive("n1", true), drive("n3", true), drive("n4", true)}, 412},
		"one whose drive is away anyway": {[]Drive{drive("n1", false), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"the only one":                   {[]Drive{drive("", true), drive("", true), drive("", true), drive("", true)}, 412},
	} {
		drives = tt.drives
		if r := f.do(call{method: "GET", path: "/minio/health/cluster", query: "maintenance=true", anonymous: true}); r.status != tt.want {
			t.Errorf("%s: %d %s, want %d", what, r.status, r.body, tt.want)
		}
		if r := f.do(call{method: "GET", path: "/minio/health/cluster", anonymous: true}); r.status != 200 {
			t.Errorf("%s, without maintenance: %d", what, r.status)
		}
	}
}

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
