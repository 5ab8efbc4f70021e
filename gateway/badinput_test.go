package gateway

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
)

// signedChunks returns an upload in signed chunks, and the wire form of its
// body; spoil may change that form.
func (f *fixture) signedChunks(content string, spoil func(string) string) string {
	f.t.Helper()
	now := time.Now()
	c := call{
		method: "PUT", path: "/bucket/k", payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", now: now,
		header: map[string]string{"x-amz-decoded-content-length": fmt.Sprint(len(content)), "Content-Encoding": "aws-chunked"},
	}
	_, after, _ := strings.Cut(f.rawRequest(c, 0), "Signature=")
	body := spoil(chunkFrames(now, after[:64], content, ""))
	return f.rawRequest(c, len(body)) + body
}

func TestConnectionIsRightAfterEveryRefusal(t *testing.T) {
	f := withBucket(t)
	put := func(body string, header map[string]string) string {
		return f.rawRequest(call{method: "PUT", path: "/bucket/k", header: header}, len(body)) + body
	}
	unsigned := func(decoded int, body string) string { return f.chunked(decoded, body, len(body)) }
	long := strings.Repeat("c", 20_000)
	keep := func(s string) string { return s }
	for _, tt := range []struct{ name, code, text string }{
		{"wrong MD5", "BadDigest", put("hello", map[string]string{"Content-MD5": md5Base64("other")})},
		{"wrong MD5 of a long body", "BadDigest", put(long, map[string]string{"Content-MD5": md5Base64("other")})},
		{"declarations that make no sense", "InvalidDigest", put(long, map[string]string{"Content-MD5": "x"})},
		{"header that is not offered", "NotImplemented", put(long, map[string]string{"x-amz-server-side-encryption": "AES256"})},
		{"wrong secret", "SignatureDoesNotMatch", f.rawRequest(call{method: "PUT", path: "/bucket/k", secret: "x"}, len(long)) + long},
		{"no such bucket", "NoSuchBucket", f.rawRequest(call{method: "PUT", path: "/none/k"}, len(long)) + long},
		{"no length", "MissingContentLength", f.rawRequest(call{method: "PUT", path: "/bucket/k"}, -1)},
		{"document that is none", "MalformedXML", f.rawRequest(call{method: "PUT", path: "/bucket", query: "tagging="}, 5) + "<rub>"},
		{"document with a tail", "MalformedXML", f.rawRequest(call{method: "PUT", path: "/bucket", query: "tagging="}, 53) + "<Tagging><TagSet></TagSet></Tagging><Tagging/><a></a>"},
		{"the checksum of parts", "InvalidRequest", put("hello", map[string]string{"x-amz-checksum-crc32": crcOfHello + "-1"})},
		{"wrong trailer", "BadDigest", unsigned(5, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")},
		{"broken framing", "IncompleteBody", unsigned(5, "5\r\nhelloXX0\r\nx-amz-checksum-crc32:"+crcOfHello+"\r\n\r\n")},
		{"framing that goes on", "MalformedTrailerError", unsigned(5, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:"+crcOfHello+"\r\n\r\n"+long)},
		{"more than was declared", "IncompleteBody", unsigned(4, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:"+crcOfHello+"\r\n\r\n")},
		{"altered chunk", "SignatureDoesNotMatch", f.signedChunks(long, func(s string) string { return strings.Replace(s, "cc", "cd", 1) })},
		{"altered chunk signature", "SignatureDoesNotMatch", f.signedChunks(long, func(s string) string {
			i := strings.Index(s, "chunk-signature=") + len("chunk-signature=")
			return s[:i] + strings.Repeat("0", 64) + s[i+64:]
		})},
		{"chunk without a signature", "IncompleteBody", f.signedChunks(long, func(s string) string { return strings.Replace(s, "chunk-signature", "chunk-extension", 1) })},
		{"chunk signature of another length", "IncompleteBody", f.signedChunks(long, func(s string) string { return strings.Replace(s, "chunk-signature=", "chunk-signature=0", 1) })},
		{"nothing wrong", "", f.signedChunks(long, keep)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, r := f.raw(tt.text + f.rawRequest(call{method: "GET", path: "/bucket", query: "location="}, -1))
			if got := readReply(t, r); got.code() != tt.code {
				t.Errorf("%d %s", got.status, got.body)
			}
			if next := readReply(t, r); next.status != 200 || !strings.Contains(next.body, "LocationConstraint") {
				t.Errorf("the next request: %d %s", next.status, next.body)
			}
			if tt.code != "" {
				f.missing("k")
			}
		})
	}
}

func TestSignedBodyThatEndsEarlyIsNotStored(t *testing.T) {
	f := withBucket(t)
	long := strings.Repeat("c", 20_000)
	var whole string
	text := f.signedChunks(long, func(s string) string { whole = s; return s })
	head := text[:len(text)-len(whole)]
	for _, cut := range []int{0, 10, 10_000, len(whole) - 100, len(whole) - 1} {
		c, r := f.raw(head + whole[:cut])
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, r); got.code() != "IncompleteBody" {
			t.Errorf("cut at %d: %d %s", cut, got.status, got.body)
		}
		f.missing("k")
	}
}

func TestBrokenTransferCodingIsTheClientsError(t *testing.T) {
	f := withBucket(t)
	content := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crcOfHello + "\r\n\r\n"
	whole := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(content), content)
	for name, tt := range map[string]struct{ text, code string }{
		"nothing wrong":       {whole, ""},
		"a size that is none": {"zz\r\n", "IncompleteBody"},
		"a size that is long": {strings.Repeat("f", 40) + "\r\n", "IncompleteBody"},
		"no line":             {"5hello", "IncompleteBody"},
		"no end of a chunk":   {"3\r\n5\r\nXXXX", "IncompleteBody"},
		"a broken trailer":    {strings.TrimSuffix(whole, "\r\n") + "no field\r\n\r\n", "IncompleteBody"},
		"a chunk that is cut": {whole[:10], "IncompleteBody"},
		"a size that is cut":  {whole[:1], "IncompleteBody"},
	} {
		text := strings.Replace(f.chunked(5, tt.text, -1), "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
		c, r := f.raw(text)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, r); got.code() != tt.code {
			t.Errorf("%s: %d %s, want %q", name, got.status, got.body, tt.code)
		}
	}
}

func TestAClientThatHangsUpIsNoFailureOfTheServer(t *testing.T) {
	log, access := &lines{}, &lines{}
	f := serve(t, func(c *Config) {
		c.Logger, c.AccessLog = slog.New(slog.NewTextHandler(log, nil)), slog.New(slog.NewTextHandler(access, nil))
	})
	f.ok(call{method: "PUT", path: "/bucket"})
	c, _ := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 1<<20) + strings.Repeat("x", 100_000))
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil { // a reset
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(access.String(), "operation=PutObject"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no end of it: %s", access)
		}
	}
	if !strings.Contains(access.String(), "status=400") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%s%s", access, log)
	}
}

func TestBytesBehindABodyAreNotPartOfIt(t *testing.T) {
	f := withBucket(t)
	_, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 5) + "hello, and more\r\n\r\n")
	if got := readReply(t, r); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := readReply(t, r); got.code() != "BadRequest" {
		t.Errorf("what follows: %d %s", got.status, got.body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
	if got := f.get("k"); got != "hello" {
		t.Errorf("stored %q", got)
	}
}

func TestAmbiguousFramingIsRefused(t *testing.T) {
	f := withBucket(t)
	put := f.rawRequest(call{method: "PUT", path: "/bucket/k"}, -1, "MARK")
	smuggled := f.rawRequest(call{method: "PUT", path: "/bucket/smuggled"}, 0)
	for name, lines := range map[string]string{
		"length and chunked":    "Content-Length: 5\r\nTransfer-Encoding: chunked",
		"chunked and length":    "Transfer-Encoding: chunked\r\nContent-Length: 5",
		"two lengths":           "Content-Length: 5\r\nContent-Length: 6",
		"a list of lengths":     "Content-Length: 5, 5",
		"a negative length":     "Content-Length: -5",
		"a signed length":       "Content-Length: +5",
		"an unknown coding":     "Transfer-Encoding: xchunked",
		"space before a colon":  "Content-Length : 5",
		"another host":          "Content-Length: 5\r\nHost: other",
		"a length in a comment": "Content-Length: 5 (five)",
	} {
		_, r := f.raw(strings.Replace(put, "MARK", lines, 1) + "0\r\n\r\n" + smuggled)
		if got := readReply(t, r); got.code() != "BadRequest" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection goes on: %v", name, err)
		}
		f.missing("k")
		f.missing("smuggled")
	}
}

func TestErrorsOfHeadHaveNoBody(t *testing.T) {
	f := withBucket(t)
	var text strings.Builder
	for _, c := range []call{
		{path: "/bucket/none"},
		{path: "/no-such-bucket"},
		{path: "/bucket/none", secret: "wrong"},
		{path: "/bucket/none", query: "partNumber=0"},
	} {
		c.method = "HEAD"
		text.WriteString(f.rawRequest(c, -1))
	}
	_, r := f.raw(text.String() + f.rawRequest(call{method: "GET", path: "/bucket", query: "location="}, -1))
	for _, status := range []int{404, 404, 403, 400} {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			t.Fatalf("%q, %v, want %d", line, err, status)
		}
		for line != "\r\n" {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := readReply(t, r); got.status != 200 {
		t.Errorf("the next request: %d %s", got.status, got.body)
	}
}

func TestHeaderThatStandsStillIsBrokenOff(t *testing.T) {
	f := serve(t, func(c *Config) { c.HeaderTimeout = 200 * time.Millisecond })
	_, r := f.raw("GET /bucket HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if got := readReply(t, r); got.code() != "RequestTimeout" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestIdleConnectionIsClosedWithoutAWord(t *testing.T) {
	f := serve(t, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
	_, r := f.raw("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := readReply(t, r); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestOldClientsAreServedAndLeft(t *testing.T) {
	f := withBucket(t)
	f.put("k", "v")
	text := strings.Replace(f.rawRequest(call{method: "GET", path: "/bucket/k"}, -1), "HTTP/1.1", "HTTP/1.0", 1)
	_, r := f.raw(text)
	if got := readReply(t, r); got.status != 200 || got.body != "v" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestRefusedBodyIsNotKeptInMemory(t *testing.T) {
	f := withBucket(t)
	const length = 32 << 20
	c, r := f.raw(f.rawRequest(call{method: "PUT", path: "/bucket/k", header: map[string]string{"Content-MD5": "x"}}, length))
	piece := make([]byte, 64<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range length / len(piece) {
		if _, err := c.Write(piece); err != nil {
			break // the server has listened long enough
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated for a body of %d that nobody wanted", grown, length)
	}
	if got := readReply(t, r); got.code() != "InvalidDigest" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Clients repeat a request that was signed for another region when they are told
// which is the right one.
func TestRequestSignedForAnotherRegionLearnsTheRightOne(t *testing.T) {
	f := serve(t, func(c *Config) { c.Region = "eu-west-1" })
	header := f.refused("AuthorizationHeaderMalformed", call{method: "GET", path: "/bucket"})
	form := f.post(form{fields: [][2]string{{"key", "k"}}})
	if form.code() != "InvalidArgument" {
		t.Errorf("a form: %d %s", form.status, form.body)
	}
	for _, r := range []reply{header, form} {
		if !strings.Contains(r.body, "<Region>eu-west-1</Region>") {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

func TestBucketsAreListedOfRegionsThatCanBe(t *testing.T) {
	f := withBucket(t)
	for region, listed := range map[string]bool{"": true, "us-east-1": true, "ap-south-1": false} {
		if got := f.ok(call{method: "GET", path: "/", query: "bucket-region=" + region}).body; strings.Contains(got, "<Name>bucket</Name>") != listed {
			t.Errorf("of %q: %s", region, got)
		}
	}
	const want = "<Message>Argument value abc is not a valid AWS Region</Message><ArgumentName>bucket-region</ArgumentName><ArgumentValue>abc</ArgumentValue>"
	if r := f.refused("InvalidArgument", call{method: "GET", path: "/", query: "bucket-region=abc"}); r.status != 400 || !strings.Contains(r.body, want) {
		t.Errorf("%d %s", r.status, r.body)
	}
	for name, config := range map[string]Config{"the server's own": {Region: "abc"}, "any": {Region: "us-east-1", AnyRegion: true}} {
		asked, err := parseQuery("bucket-region=abc")
		if err != nil {
			t.Fatal(err)
		}
		if region, err := (&Server{Config: config}).listedRegion(&request{query: asked}); region != "abc" || err != nil {
			t.Errorf("%s: %q, %v", name, region, err)
		}
	}
}

func TestADocumentOfAnObjectsTagsThatIsMissingIsToldFromOneThatIsMalformed(t *testing.T) {
	f := withBucket(t)
	f.put("k", "x")
	f.refused("MissingRequestBodyError", call{method: "PUT", path: "/bucket/k", query: "tagging="})
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket/k", query: "tagging=", body: "<Tagging/>"})
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket/k", query: "tagging=", body: "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"})
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket/k", query: "tagging=", body: "<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>"})
}

func TestRequestsForAnyRegionAreServedWhereTheyAreToBe(t *testing.T) {
	f := serve(t, func(c *Config) { c.Region, c.AnyRegion = "eu-west-1", true })
	f.ok(call{method: "PUT", path: "/bucket", body: `<CreateBucketConfiguration><LocationConstraint>ap-south-1</LocationConstraint></CreateBucketConfiguration>`})
	if got := f.ok(call{method: "GET", path: "/bucket", query: "location"}).body; !strings.Contains(got, ">eu-west-1<") {
		t.Errorf("it is in %s", got)
	}
	f.ok(call{method: "PUT", path: "/bucket/presigned", query: f.presign("PUT", "/bucket/presigned", ""), anonymous: true, body: "x"})
}

// SDKs ask by HeadBucket which region to sign for, before they know it and without credentials.
func TestWhoIsRefusedABucketLearnsTheRegionFromItsHead(t *testing.T) {
	f := serve(t, func(c *Config) { c.Region = "eu-west-1" })
	for name, c := range map[string]call{
		"a stranger":                    {method: "HEAD", path: "/bucket", anonymous: true},
		"an unknown key":                {method: "HEAD", path: "/bucket", user: "nobody"},
		"who signs for another region":  {method: "HEAD", path: "/bucket"},
		"who asks for a bucket in vain": {method: "HEAD", path: "/no-such-bucket", anonymous: true},
	} {
		if got := f.do(c); got.status < 400 || got.header.Get("x-amz-bucket-region") != "eu-west-1" {
			t.Errorf("%s: %d, region %q", name, got.status, got.header.Get("x-amz-bucket-region"))
		}
	}
}
