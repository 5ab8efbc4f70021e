package gateway

import (
	"encoding/xml"
	"errors"
	"mime/multipart"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/shoal-storage/shoal/internal/object"
)

func TestRangeSelectsBytes(t *testing.T) {
	for _, tt := range []struct {
		header         string
		size           int64
		offset, length int64
		err            error
	}{
		{"bytes=0-0", 10, 0, 1, nil},
		{"bytes=0-", 10, 0, 10, nil},
		{"bytes=5-", 10, 5, 5, nil},
		{"bytes=5-99", 10, 5, 5, nil},
		{"bytes=-3", 10, 7, 3, nil},
		{"bytes=-99", 10, 0, 10, nil},
		{"bytes=5-99999999999999999999999", 10, 5, 5, nil},
		{"bytes=10-", 10, 0, 0, errInvalidRange},
		{"bytes=10-20", 10, 0, 0, errInvalidRange},
		{"bytes=-0", 10, 0, 0, errInvalidRange},
		{"bytes=0-", 0, 0, 0, errInvalidRange},
		{"bytes=-0", 0, 0, 0, errInvalidRange},
		{"bytes=-5", 0, 0, 0, errNoRange},
		{"bytes= 0-1", 10, 0, 0, errNoRange},
		{"bytes=0 -1", 10, 0, 0, errNoRange},
		{"bytes=99999999999999999999999-", 10, 0, 0, errInvalidRange},
		{"bytes=5-4", 10, 0, 0, errNoRange},
		{"bytes=0-1,3-4", 10, 0, 0, errNoRange},
		{"bytes=a-b", 10, 0, 0, errNoRange},
		{"bytes=-", 10, 0, 0, errNoRange},
		{"bytes=+1-2", 10, 0, 0, errNoRange},
		{"items=0-1", 10, 0, 0, errNoRange},
		{"", 10, 0, 0, errNoRange},
	} {
		offset, length, err := parseRange(tt.header, tt.size)
		if offset != tt.offset || length != tt.length || !errors.Is(err, tt.err) {
			t.Errorf("%q of %d: got %d+%d, %v; want %d+%d, %v", tt.header, tt.size, offset, length, err, tt.offset, tt.length, tt.err)
		}
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-1", int64(1))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		offset, length, err := parseRange(header, size)
		if err == nil && (offset < 0 || length < 1 || offset+length > size) {
			t.Errorf("%q of %d selects %d+%d", header, size, offset, length)
		}
	})
}

func TestConditionsFollowRFC9110(t *testing.T) {
	modified := time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC)
	before, at, after := modified.Add(-time.Hour), modified.Truncate(time.Second), modified.Add(time.Hour)
	for _, tt := range []struct {
		name string
		c    conditions
		want error
	}{
		{"none", conditions{}, nil},
		{"match", conditions{match: `"e"`}, nil},
		{"any", conditions{match: `*`}, nil},
		{"no match", conditions{match: `"x"`}, errPreconditionFailed},
		{"none match holds", conditions{noneMatch: `"x"`}, nil},
		{"none match fails", conditions{noneMatch: `"e"`}, errNotModified},
		{"modified since", conditions{modified: before}, nil},
		{"not modified since its very time", conditions{modified: at}, errNotModified},
		{"unmodified since its very time", conditions{unmodified: at}, nil},
		{"unmodified since before", conditions{unmodified: before}, errPreconditionFailed},
		{"match goes before unmodified", conditions{match: `"e"`, unmodified: before}, nil},
		{"none match goes before modified", conditions{noneMatch: `"x"`, modified: after}, nil},
		{"none match fails though modified", conditions{noneMatch: `"e"`, modified: before}, errNotModified},
	} {
		err := tt.c.evaluate("e", modified)
		if (err == nil) != (tt.want == nil) || err != nil && toS3(err).code != toS3(tt.want).code {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestBucketNames(t *testing.T) {
	for name, want := range map[string]bool{
		"abc": true, "a.b-c.d": true, "123": true, strings.Repeat("a", 63): true, "1.2.3": true,
		"": false, "ab": false, strings.Repeat("a", 64): false, "Abc": false, "a_b": false, "-ab": false, "ab-": false, ".ab": false, "ab.": false,
		"a..b": false, "a.-b": false, "a-.b": false, "192.168.1.1": false, "xn--abc": false, "abc-s3alias": false, "minio": false, "a/b": false, "..": false, ".shoal.sys": false,
	} {
		if got := validBucketName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestVirtualHostNamesTheBucket(t *testing.T) {
	domains := []string{"s3.example.com", "localhost"}
	for host, want := range map[string]string{
		"bucket.s3.example.com": "bucket", "bucket.s3.example.com:9000": "bucket", "my.bucket.s3.example.com": "my.bucket", "BUCKET.S3.example.com": "bucket",
		"s3.example.com": "", "example.com": "", "bucket.localhost:9000": "bucket", "127.0.0.1:9000": "", "[::1]:9000": "", "xs3.example.com": "",
	} {
		if got := hostBucket(host, domains); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("a=b&c&d=%20+")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err == nil && len(q) > maxQueryKeys {
			t.Errorf("%d parameters", len(q))
		}
	})
}

func FuzzURLEncodingRoundTrips(f *testing.F) {
	f.Add("a b/ü+%\x00")
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := unescape(escapeURL(s), true); !ok || got != s {
			t.Errorf("%q becomes %q, %v", s, got, ok)
		}
	})
}

func FuzzXMLTextRoundTrips(f *testing.F) {
	f.Add(`a<b>&"c`)
	f.Fuzz(func(t *testing.T, s string) {
		w := newXML("Root")
		w.text("Key", s)
		document := w.end("Root")
		if !utf8.Valid(document) {
			t.Fatalf("%q makes a document that is not UTF-8", s)
		}
		var out struct{ Key string }
		err := xml.Unmarshal(document, &out)
		if storable(s) && (err != nil || out.Key != s) {
			t.Errorf("%q becomes %q, %v", s, out.Key, err)
		}
	})
}

// storable reports whether XML 1.0 can hold s as it is.
func storable(s string) bool {
	for _, c := range s {
		if c < 0x20 && c != '\t' && c != '\n' || c == 0xFFFE || c == 0xFFFF {
			return false
		}
	}
	return utf8.ValidString(s)
}

func FuzzParseXML(f *testing.F) {
	f.Add([]byte(`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>`))
	f.Add([]byte(`<Delete><Object><Key>a</Key></Object></Delete>`))
	f.Fuzz(func(_ *testing.T, document []byte) {
		var c completeRequest
		if parseXML(document, &c) == nil {
			_, _ = c.parts()
		}
		var d deleteRequest
		_ = parseXML(document, &d)
		var bucket createBucketRequest
		_ = parseXML(document, &bucket)
		var tags taggingRequest
		_ = parseXML(document, &tags)
	})
}

func TestMetadataIsMailSafeInAnswers(t *testing.T) {
	for stored, sent := range map[string]string{
		"plain": "plain", "": "", "a b=c": "a b=c", "Größe": "=?UTF-8?b?R3LDtsOfZQ==?=", "\xe9": "=?ISO-8859-1?b?6Q==?=",
	} {
		if got := encodeWords(stored); got != sent {
			t.Errorf("%q is sent as %q, want %q", stored, got, sent)
		}
	}
	for sent, stored := range map[string]string{
		"plain": "plain", "Größe": "Größe", "=?UTF-8?B?R3LDtsOfZQ==?=": "Größe", "=?UTF-8?Q?Gr=C3=B6=C3=9Fe?=": "Größe", "=?rubbish": "=?rubbish", "=?KOI8?B?eA==?=": "=?KOI8?B?eA==?=",
	} {
		if got := decodeWords(sent); got != stored {
			t.Errorf("%q is stored as %q, want %q", sent, got, stored)
		}
	}
}

func FuzzMetadataRoundTrips(f *testing.F) {
	f.Add("Größe")
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) && encodeWords(s) != s && decodeWords(encodeWords(s)) != s {
			t.Errorf("%q becomes %q", s, decodeWords(encodeWords(s)))
		}
	})
}

func FuzzTagHeader(f *testing.F) {
	f.Add("a=1&b=%2B+")
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTagHeader(header)
		if err == nil && len(tags) > maxObjectTags {
			t.Errorf("%d tags", len(tags))
		}
		for i := 1; err == nil && i < len(tags); i++ {
			if tags[i-1].Key >= tags[i].Key {
				t.Errorf("%q before %q", tags[i-1].Key, tags[i].Key)
			}
		}
	})
}

func FuzzCopySource(f *testing.F) {
	f.Add("/bucket/a%2Fb?versionId=null")
	f.Fuzz(func(t *testing.T, header string) {
		ref, err := parseCopySource(header)
		if err == nil && (!validBucketName(ref.Bucket) || ref.Key == "" || len(ref.Key) > object.MaxKeyLen) {
			t.Errorf("%q names %v", header, ref)
		}
	})
}

func FuzzCopyRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		offset, length, err := copyRange(header, size)
		if err == nil && header != "" && (offset < 0 || length < 1 || offset+length > size) {
			t.Errorf("%q of %d selects %d+%d", header, size, offset, length)
		}
	})
}

func FuzzContinuationToken(f *testing.F) {
	f.Add("a/b", "MWJhcg")
	f.Fuzz(func(t *testing.T, name, token string) {
		if got, err := decodeToken(encodeToken(name)); err != nil || got != name {
			t.Errorf("%q becomes %q, %v", name, got, err)
		}
		_, _ = decodeToken(token)
	})
}

// FuzzForm reads a form as POST does, up to and through the file.
func FuzzForm(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		read, err := readForm(multipart.NewReader(strings.NewReader(body), "b"))
		if err != nil {
			if toS3(err).status >= 500 {
				t.Errorf("our fault: %v", err)
			}
			return
		}
		total := 0
		for name, value := range read.fields {
			total += len(name) + len(value)
		}
		if total > maxFormBytes || len(read.fields) > maxFormFields {
			t.Errorf("%d fields with %d bytes", len(read.fields), total)
		}
		_ = read.key()
		if _, err := read.meta(); err != nil && toS3(err).status == 500 {
			t.Errorf("our fault: %v", err)
		}
		if _, err := read.checksum(); err != nil && toS3(err).status >= 500 {
			t.Errorf("our fault: %v", err)
		}
	})
}

func TestTheRangeOfAPartThatIsCopiedIsWithinTheSource(t *testing.T) {
	for header, code := range map[string]string{
		"bytes=0-9": "", "bytes=9-9": "", "bytes=0-10": "InvalidArgument", "bytes=9-10": "InvalidArgument", "bytes=10-10": "InvalidRequest", "bytes=100-200": "InvalidRequest",
		"bytes=1-0": "InvalidArgument", "bytes=1-": "InvalidArgument", "bytes=-1": "InvalidArgument", "0-8": "InvalidArgument", "bytes=0-1,3-4": "InvalidArgument",
	} {
		_, _, err := copyRange(header, 10)
		if (err == nil) != (code == "") || err != nil && toS3(err).code != code {
			t.Errorf("%s: %v, want %q", header, err, code)
		}
	}
}

func TestATagThatIsRefusedIsNamed(t *testing.T) {
	f := withBucket(t)
	f.put("k", "v")
	document := func(key, value string) string {
		return "<Tagging><TagSet><Tag><Key>" + key + "</Key><Value>" + value + "</Value></Tag></TagSet></Tagging>"
	}
	for _, tt := range []struct{ path, key, value, want string }{
		{"/bucket", "a,b", "v", "The TagKey you have provided is invalid</Message><TagKey>a,b</TagKey>"},
		{"/bucket/k", "a", "v,w", "The TagValue you have provided is invalid</Message><TagKey>a</TagKey><TagValue>v,w</TagValue>"},
		{"/bucket", "aws:a", "v", "System tags cannot be added/updated by requester</Message><TagKey>aws:a</TagKey>"},
		{"/bucket/k", "aws:a", "v", "Your TagKey cannot be prefixed with aws:</Message><TagKey>aws:a</TagKey>"},
	} {
		if r := f.refused("InvalidTag", call{method: "PUT", path: tt.path, query: "tagging", body: document(tt.key, tt.value)}); !strings.Contains(r.body, tt.want) {
			t.Errorf("%s=%s of %s: %s", tt.key, tt.value, tt.path, r.body)
		}
	}
}

func TestTagSetRules(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name, header string
		code         string
	}{
		{"none", "", ""},
		{"two", "b=2&a=1", ""},
		{"empty value", "a=", ""},
		{"duplicate", "a=1&a=2", "InvalidArgument"},
		{"no name", "=1", "InvalidArgument"},
		{"eleven", "a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=", "BadRequest"},
		{"long key", long + "=1", "InvalidTag"},
		{"reserved key", "aws:x=1", "InvalidTag"},
		{"bad character", "a%7B=1", "InvalidTag"},
		{"bad escape", "a=%zz", "InvalidArgument"},
	} {
		tags, err := parseTagHeader(tt.header)
		code := ""
		if err != nil {
			code = toS3(err).code
		}
		if code != tt.code {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.code)
		}
		if tt.name == "two" && (len(tags) != 2 || tags[0].Key != "a") {
			t.Errorf("not sorted: %v", tags)
		}
	}
}
