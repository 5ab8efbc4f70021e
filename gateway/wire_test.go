package gateway

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// rawRequest returns the text of a signed request that declares length bytes of
// body.
func (f *fixture) rawRequest(c call, length int, extra ...string) string {
	f.t.Helper()
	if c.payload == "" {
		c.payload = "UNSIGNED-PAYLOAD"
	}
	req := f.request(c)
	var b strings.Builder
	target := c.path
	if c.query != "" {
		target += "?" + c.query
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.method, target, req.Host)
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	for k, v := range req.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", k, v[0])
	}
	for _, line := range extra {
		b.WriteString(line + "\r\n")
	}
	return b.String() + "\r\n"
}

func hmacHex(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// raw sends text over a new connection.
func (f *fixture) raw(text string) (*net.TCPConn, *bufio.Reader) {
	f.t.Helper()
	return dial(f.t, f.addr, text)
}

// readReply reads one answer from a raw connection.
func readReply(t *testing.T, r *bufio.Reader) reply {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func TestContinueIsSentOnlyToRequestsThatAreLetIn(t *testing.T) {
	f := withBucket(t)
	for _, tt := range []struct {
		name string
		c    call
		code string
	}{
		{"anonymous", call{method: "PUT", path: "/bucket/k", anonymous: true}, "AccessDenied"},
		{"wrong secret", call{method: "PUT", path: "/bucket/k", secret: "wrong"}, "SignatureDoesNotMatch"},
		{"encryption", call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-server-side-encryption": "AES256"}}, "NotImplemented"},
	} {
		_, r := f.raw(f.rawRequest(tt.c, 10, "Expect: 100-continue"))
		if got := readReply(t, r); got.code() != tt.code {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection goes on: %v", tt.name, err)
		}
	}
	for _, expect := range []string{"100-continue", "100-Continue"} {
		c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 2, "Expect: "+expect))
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
			t.Fatalf("%s: %q %v", expect, line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hi"); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, r); got.status != 200 {
			t.Errorf("%s: %d %s", expect, got.status, got.body)
		}
		if got := f.get("k"); got != "hi" {
			t.Errorf("%s: stored %q", expect, got)
		}
	}
}

func TestABodyThatStandsStillIsNotWaitedForASecondTime(t *testing.T) {
	f := withBucket(t)
	for failed, want := range map[error]int{errClientSilent: 0, errBadDigest: 50} {
		left := strings.NewReader(strings.Repeat("x", 50))
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.Header.SetContentLength(100)
		ctx.Request.SetBodyStream(left, 100)
		f.server.settleBody(&request{ctx: ctx, body: &body{wire: &wireReader{read: 50}, failed: failed}})
		if got := 50 - left.Len(); got != want {
			t.Errorf("after %v %d bytes are read, want %d", failed, got, want)
		}
	}
}

func TestAnExpectationThatIsSignedIsNotChanged(t *testing.T) {
	for _, tt := range []struct{ authorization, uri, want string }{
		{"AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=host;x-amz-date,Signature=0", "/bucket/k", "100-continue"},
		{"AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=expect;host;x-amz-date,Signature=0", "/bucket/k", "100-Continue"},
		{"", "/bucket/k?X-Amz-SignedHeaders=expect%3Bhost", "100-Continue"},
	} {
		var h fasthttp.RequestHeader
		h.SetRequestURI(tt.uri)
		h.Set("Authorization", tt.authorization)
		h.Set("Expect", "100-Continue")
		expectation(&h)
		if got := string(h.Peek("Expect")); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.authorization, tt.uri, got, tt.want)
		}
	}
}

func TestConnectionServesOnAfterAnEarlyError(t *testing.T) {
	f := withBucket(t)
	body := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x", 100_000)
	bad := f.rawRequest(call{method: "PUT", path: "/bucket/k", secret: "wrong"}, len(body))
	good := f.rawRequest(call{method: "PUT", path: "/bucket/k2"}, 2)
	_, r := f.raw(bad + body + good + "ok")
	if got := readReply(t, r); got.code() != "SignatureDoesNotMatch" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := readReply(t, r); got.status != 200 {
		t.Errorf("the next request: %d %s", got.status, got.body)
	}
	if got := f.get("k2"); got != "ok" {
		t.Errorf("stored %q", got)
	}
}

func TestErrorReachesAClientThatIsStillSending(t *testing.T) {
	f := withBucket(t)
	const length = 8 << 20
	c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k", secret: "wrong"}, length))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		chunk := make([]byte, 64<<10)
		for range length / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
	<-sent
	if got := readReply(t, r); got.code() != "SignatureDoesNotMatch" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBodyThatEndsEarlyIsNotStored(t *testing.T) {
	f := withBucket(t)
	for name, text := range map[string]string{
		"plain": f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 100_000) + strings.Repeat("x", 50_000),
		"form": f.rawRequest(call{method: "POST", path: "/bucket", header: map[string]string{"Content-Type": "multipart/form-data; boundary=b"}}, 1000) +
			"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf",
		"chunked": f.chunked(20, "a\r\n0123456789\r\n", 100),
	} {
		c, r := f.raw(text)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, r); got.code() != "IncompleteBody" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		f.missing("k")
	}
}

// chunked returns the text of an upload in unsigned chunks with a trailer.
func (f *fixture) chunked(decoded int, body string, length int) string {
	return f.rawRequest(call{
		method: "PUT", path: "/bucket/k", payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		header: map[string]string{"x-amz-decoded-content-length": fmt.Sprint(decoded), "x-amz-trailer": "x-amz-checksum-crc32", "Content-Encoding": "aws-chunked"},
	}, length) + body
}

func TestUnsignedTrailerUpload(t *testing.T) {
	f := withBucket(t)
	const crc = "NhCmhg==" // of "hello"
	for _, tt := range []struct {
		name, body, code string
		decoded          int
	}{
		{"right", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crc + "\r\n\r\n", "", 5},
		{"wrong checksum", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest", 5},
		{"no trailer", "5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError", 5},
		{"wrong length", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crc + "\r\n\r\n", "IncompleteBody", 6},
		{"broken framing", "zz\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crc + "\r\n\r\n", "IncompleteBody", 5},
	} {
		_, r := f.raw(f.chunked(tt.decoded, tt.body, len(tt.body)))
		if got := readReply(t, r); got.code() != tt.code {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
		}
		if tt.code != "" {
			f.missing("k")
			continue
		}
		if got := f.get("k"); got != "hello" {
			t.Errorf("%s: stored %q", tt.name, got)
		}
		f.ok(call{method: "DELETE", path: "/bucket/k"})
	}
}

// chunkFrames returns the contents framed in signed chunks that follow the
// seed signature.
func chunkFrames(now time.Time, previous string, contents ...string) string {
	return chunkFramesUnder(testSecret, now, previous, contents...)
}

func chunkFramesUnder(secret string, now time.Time, previous string, contents ...string) string {
	date := now.UTC().Format("20060102T150405Z")
	key := sigv4.DeriveKey(secret, date[:8], object.DefaultRegion, "s3")
	empty := sha256.Sum256(nil)
	var b strings.Builder
	for _, data := range contents {
		sum := sha256.Sum256([]byte(data))
		previous = hmacHex(key[:], "AWS4-HMAC-SHA256-PAYLOAD\n"+date+"\n"+date[:8]+"/us-east-1/s3/aws4_request\n"+previous+"\n"+
			hex.EncodeToString(empty[:])+"\n"+hex.EncodeToString(sum[:]))
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n%s\r\n", len(data), previous, data)
	}
	return b.String()
}

func TestSignedChunksAreVerified(t *testing.T) {
	f := withBucket(t)
	content := strings.Repeat("c", 10_000)
	_, r := f.raw(f.signedChunks(content, func(s string) string { return s }))
	if got := readReply(t, r); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := f.get("k"); got != content {
		t.Errorf("stored %d bytes", len(got))
	}
}

func TestBodyThatStandsStillIsBrokenOff(t *testing.T) {
	f := serve(t, func(c *Config) { c.StallTimeout = 300 * time.Millisecond })
	f.ok(call{method: "PUT", path: "/bucket"})
	_, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 100_000) + strings.Repeat("x", 50_000))
	if got := readReply(t, r); got.code() != "RequestTimeout" {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.missing("k")
}

func TestSteadyBodyMayTakeLongerThanTheStallTimeout(t *testing.T) {
	f := serve(t, func(c *Config) { c.StallTimeout = 400 * time.Millisecond })
	f.ok(call{method: "PUT", path: "/bucket"})
	c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 20_000))
	for range 20 {
		if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got := readReply(t, r); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestOverlongHeadersAreRefused(t *testing.T) {
	f := withBucket(t)
	_, r := f.raw("GET /bucket HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", maxHeaderBytes) + "\r\n\r\n")
	if got := readReply(t, r); got.code() != "RequestHeaderSectionTooLarge" {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.refused("MetadataTooLarge", call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-meta-a": strings.Repeat("x", 2048)}})
	f.refused("KeyTooLongError", call{method: "PUT", path: "/bucket/" + strings.Repeat("k", 1025)})
	_, r = f.raw("GET /bucket/%zz HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := readReply(t, r); got.code() != "InvalidURI" {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.refused("InvalidBucketName", call{method: "PUT", path: "/Bad_Name"})
	_, r = f.raw(f.rawRequest(call{method: "PUT", path: "//bucket/k"}, 0))
	if got := readReply(t, r); got.code() != "InvalidBucketName" {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.refused("MalformedXML", call{method: "PUT", path: "/new-bucket", body: "<rubbish"})
}

func TestPutWithoutLengthIsRefused(t *testing.T) {
	f := withBucket(t)
	_, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, -1))
	if got := readReply(t, r); got.code() != "MissingContentLength" || got.status != 411 {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.missing("k")
}

func TestAClientOfHTTP10IsNotToldToGoOn(t *testing.T) {
	f := withBucket(t)
	for _, value := range []string{"100-continue", "100-Continue"} {
		text := f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 5, "Expect: "+value)
		_, r := f.raw(strings.Replace(text, "HTTP/1.1", "HTTP/1.0", 1) + "hello")
		if got := readReply(t, r); got.status != 200 {
			t.Errorf("%s: %d %s", value, got.status, got.body)
		}
	}
}

func TestAConditionMayBeInSeveralLines(t *testing.T) {
	f := withBucket(t)
	f.put("k", "content")
	const etag, other = `"9a0364b9e99bb480dd25e1f0284c8555"`, `"00000000000000000000000000000000"`
	get := call{method: "GET", path: "/bucket/k"}
	put := call{method: "PUT", path: "/bucket/k"}
	remove := call{method: "DELETE", path: "/bucket/k"}
	copied := func(name string) call {
		return call{method: "PUT", path: "/bucket/copy", header: headers{"x-amz-copy-source": "/bucket/k", name: other + "," + etag}} // as it is signed
	}
	for _, tt := range []struct {
		c      call
		header string
		lines  []string
		status int
	}{
		{get, "If-Match", []string{other, etag}, 200},
		{get, "If-None-Match", []string{other, etag}, 304},
		{get, "If-None-Match", []string{"", etag}, 304},
		{get, "If-None-Match", []string{other, other}, 200},
		{put, "If-Match", []string{other, etag}, 200},
		{put, "If-Match", []string{other, other}, 412},
		{put, "If-None-Match", []string{"", "*"}, 412},
		{put, "If-None-Match", []string{"*", etag}, 501},
		{copied("X-Amz-Copy-Source-If-Match"), "X-Amz-Copy-Source-If-Match", []string{other, etag}, 200},
		{copied("X-Amz-Copy-Source-If-None-Match"), "X-Amz-Copy-Source-If-None-Match", []string{other, etag}, 412},
		{remove, "If-Unmodified-Since", []string{"", "Thu, 01 Jan 1970 00:00:00 GMT"}, 501},
		{remove, "If-Match", []string{other, etag}, 204},
	} {
		body := ""
		if tt.c.method == "PUT" && tt.c.path == "/bucket/k" {
			body = "content"
		}
		text := f.rawRequest(tt.c, len(body), tt.header+": "+tt.lines[0], tt.header+": "+tt.lines[1]) + body
		_, r := f.raw(strings.Replace(text, tt.header+": "+other+","+etag+"\r\n", "", 1))
		if got := readReply(t, r); got.status != tt.status {
			t.Errorf("%s with %s %q: %d %s, want %d", tt.c.method, tt.header, tt.lines, got.status, got.body, tt.status)
		}
	}
}

func TestAChunkedTransferNeedsTheLengthOfItsContent(t *testing.T) {
	f := withBucket(t)
	for name, c := range map[string]call{
		"content":        {method: "PUT", path: "/bucket/k"},
		"framed content": {method: "PUT", path: "/bucket/k", payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
		"a document":     {method: "PUT", path: "/bucket", query: "tagging="},
		"a form":         {method: "POST", path: "/bucket", header: headers{"Content-Type": "multipart/form-data; boundary=b"}},
	} {
		_, r := f.raw(f.rawRequest(c, -1, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n")
		if got := readReply(t, r); got.status != 501 || got.code() != "NotImplemented" || !strings.Contains(got.body, "<Header>Transfer-Encoding</Header>") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	f.missing("k")
}

// curl sends no Content-Length with a PUT or POST that has no body.
func TestWhatNeedsNoBodyNeedsNoLength(t *testing.T) {
	f := withBucket(t)
	f.put("k", "content")
	for _, c := range []call{
		{method: "PUT", path: "/new-bucket"},
		{method: "PUT", path: "/bucket", query: "acl=", header: map[string]string{"x-amz-acl": "private"}},
		{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "bucket/k"}},
		{method: "POST", path: "/bucket/k", query: "uploads="},
	} {
		_, r := f.raw(f.rawRequest(c, -1))
		if got := readReply(t, r); got.status != 200 {
			t.Errorf("%s %s?%s: %d %s", c.method, c.path, c.query, got.status, got.body)
		}
	}
	_, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket", query: "tagging="}, -1))
	if got := readReply(t, r); got.code() != "MalformedXML" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestRequestsBeyondTheLimitGetSlowDown(t *testing.T) {
	f := serve(t, func(c *Config) { c.MaxRequests, c.AdmissionWait = 1, 50*time.Millisecond })
	f.ok(call{method: "PUT", path: "/bucket"})
	c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 20_000) + strings.Repeat("x", 10_000))
	for deadline := time.Now().Add(10 * time.Second); len(f.server.tuned.Load().slots) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the upload is not served")
		}
	}
	f.refused("SlowDown", call{method: "GET", path: "/bucket/x"})
	if _, err := io.WriteString(c, strings.Repeat("x", 10_000)); err != nil {
		t.Fatal(err)
	}
	if got := readReply(t, r); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	f.refused("NoSuchKey", call{method: "GET", path: "/bucket/x"})
}

// framed returns the text of an upload of "hello" in unsigned chunks with another Content-Encoding.
func (f *fixture) framed(encoding string) string {
	const body = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crcOfHello + "\r\n\r\n"
	return f.rawRequest(call{
		method: "PUT", path: "/bucket/k", payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		header: headers{"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32", "Content-Encoding": encoding},
	}, len(body)) + body
}

func TestAWSChunkedIsAboutTheTransferAndNotKept(t *testing.T) {
	f := withBucket(t)
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}`)
	kept := func() string { return f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("Content-Encoding") }
	for encoding, stripped := range map[string]string{"aws-chunked": "", "gzip, AWS-Chunked": "gzip", "br,aws-chunked,gzip": "br,gzip", "br, gzip": "br, gzip"} {
		_, r := f.raw(f.framed(encoding))
		if got := readReply(t, r); got.status != 200 || kept() != stripped {
			t.Errorf("%q, framed: %d, kept %q", encoding, got.status, kept())
		}
		header := headers{"Content-Encoding": encoding}
		f.ok(call{method: "PUT", path: "/bucket/k", query: f.presign("PUT", "/bucket/k", ""), anonymous: true, header: header, body: "hello"})
		if kept() != stripped {
			t.Errorf("%q, presigned: kept %q", encoding, kept())
		}
		for name, anonymous := range map[string]bool{"signed": false, "unsigned": true} {
			f.ok(call{method: "PUT", path: "/bucket/k", header: header, body: "hello", anonymous: anonymous})
			if kept() != stripped {
				t.Errorf("%q, %s: kept %q", encoding, name, kept())
			}
		}
	}
}

func TestFramingOfAnUnsignedPayloadIsRefused(t *testing.T) {
	f := withBucket(t)
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}`)
	const want = "<Message>aws-chunked encoding is not supported when x-amz-content-sha256 UNSIGNED-PAYLOAD is supplied.</Message>" +
		"<ArgumentName>Content-Encoding</ArgumentName><ArgumentValue>gzip, AWS-Chunked</ArgumentValue>"
	header := headers{"Content-Encoding": "gzip, AWS-Chunked"}
	upload := f.createUpload(nil)
	for _, c := range []call{{method: "PUT", path: "/bucket/k", body: "hello", header: header}, uploadPart(upload, 1, "hello", header)} {
		c.payload = "UNSIGNED-PAYLOAD"
		if r := f.refused("InvalidArgument", c); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", c.path, r.status, r.body)
		}
	}
	f.missing("k")
	header = headers{"Content-Encoding": "gzip, AWS-Chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
	f.ok(call{method: "PUT", path: "/bucket/k", header: header, anonymous: true, body: "hello"})
	f.ok(call{method: "PUT", path: "/bucket/k", query: f.presign("PUT", "/bucket/k", ""), header: header, anonymous: true, body: "hello"})
}

func TestStrangersCannotSignChunks(t *testing.T) {
	f := withBucket(t)
	f.setPolicy(`{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}`)
	const want = "<Message>Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.</Message>"
	for _, payload := range []string{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"} {
		body := chunkFrames(time.Now(), strings.Repeat("0", 64), "hello", "")
		r := f.refused("InvalidRequest", call{
			method: "PUT", path: "/bucket/k", anonymous: true, body: body,
			header: headers{"x-amz-content-sha256": payload, "x-amz-decoded-content-length": "5"},
		})
		if r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", payload, r.status, r.body)
		}
	}
	f.missing("k")
}

func TestContentThatIsTooLongIsRefusedBeforeItIsSent(t *testing.T) {
	f := withBucket(t)
	const most = 5 << 30
	framed := map[string]string{"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": strconv.Itoa(most + 1)}
	for name, tt := range map[string]struct {
		c    call
		size int
		code string
	}{
		"object":   {call{method: "PUT", path: "/bucket/k"}, most + 1, "EntityTooLarge"},
		"part":     {call{method: "PUT", path: "/bucket/k", query: "partNumber=1&uploadId=u"}, most + 1, "EntityTooLarge"},
		"framed":   {call{method: "PUT", path: "/bucket/k", header: framed, payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, most + 100, "EntityTooLarge"},
		"the most": {call{method: "PUT", path: "/bucket/k"}, most, ""},
	} {
		_, r := f.raw(f.rawRequest(tt.c, tt.size, "Expect: 100-continue"))
		if tt.code == "" {
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
				t.Errorf("%s: %q %v", name, line, err)
			}
			continue
		}
		if got := readReply(t, r); got.code() != tt.code {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}
