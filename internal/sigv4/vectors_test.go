package sigv4_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// The examples that AWS publishes with their signatures:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html,
// sigv4-query-string-auth.html, sigv4-streaming.html,
// sigv4-streaming-trailers.html and sigv4-post-example.html.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	emptySHA256   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func exampleTime() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }

func exampleCredentials() sigv4.Credentials {
	return sigv4.Credentials{AccessKey: exampleKey, Secret: exampleSecret, Region: "us-east-1"}
}

// example is a request of the documentation; its headers are those signed.
type example struct {
	name      string
	request   sigv4.Request
	signed    string
	signature string
}

func host(more ...sigv4.Field) sigv4.Fields {
	return append(sigv4.Fields{{Name: "Host", Value: "examplebucket.s3.amazonaws.com"}}, more...)
}

func withDateAndHash(h sigv4.Fields, hash string) sigv4.Fields {
	return append(h, sigv4.Field{Name: "x-amz-content-sha256", Value: hash}, sigv4.Field{Name: "x-amz-date", Value: "20130524T000000Z"})
}

func examples() []example {
	const putHash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
	return []example{
		{
			"GET Object with a range",
			sigv4.Request{Method: "GET", Path: "/test.txt", Header: withDateAndHash(host(sigv4.Field{Name: "Range", Value: "bytes=0-9"}), emptySHA256)},
			"host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		}, {
			"PUT Object",
			sigv4.Request{Method: "PUT", Path: "/test$file.text", Header: withDateAndHash(host(
				sigv4.Field{Name: "Date", Value: "Fri, 24 May 2013 00:00:00 GMT"}, sigv4.Field{Name: "x-amz-storage-class", Value: "REDUCED_REDUNDANCY"}), putHash)},
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		}, {
			"GET Bucket lifecycle",
			sigv4.Request{Method: "GET", Path: "/", Query: "lifecycle", Header: withDateAndHash(host(), emptySHA256)},
			"host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		}, {
			"List Objects",
			sigv4.Request{Method: "GET", Path: "/", Query: "max-keys=2&prefix=J", Header: withDateAndHash(host(), emptySHA256)},
			"host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	}
}

func authorize(r sigv4.Request, signed, signature string) sigv4.Request {
	r.Header = append(append(sigv4.Fields(nil), r.Header.(sigv4.Fields)...), sigv4.Field{
		Name:  "Authorization",
		Value: "AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + signature,
	})
	return r
}

func TestVerifyAcceptsTheExamplesOfAWS(t *testing.T) {
	for _, tt := range examples() {
		t.Run(tt.name, func(t *testing.T) {
			r := authorize(tt.request, tt.signed, tt.signature)
			a, err := sigv4.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if a.AccessKey != exampleKey || a.Presigned || !a.Time.Equal(exampleTime()) {
				t.Errorf("parsed %+v", a)
			}
			if err := a.CheckScope("us-east-1"); err != nil {
				t.Error(err)
			}
			if err := a.Verify(r, exampleSecret, exampleTime()); err != nil {
				t.Error(err, explain(err))
			}
		})
	}
}

// explain shows what was signed.
func explain(err error) string {
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		return "\n" + e.CanonicalRequest + "\n" + e.StringToSign
	}
	return ""
}

func TestSignMakesTheSignaturesOfAWS(t *testing.T) {
	for _, tt := range examples() {
		t.Run(tt.name, func(t *testing.T) {
			var bare sigv4.Fields
			for _, f := range tt.request.Header.(sigv4.Fields) {
				if f.Name != "x-amz-date" && f.Name != "x-amz-content-sha256" {
					bare = append(bare, f)
				}
			}
			hash := tt.request.Header.Get("x-amz-content-sha256")
			tt.request.Header = bare
			added := sigv4.Fields(exampleCredentials().Sign(tt.request, hash, exampleTime()))
			got := added.Get("authorization")
			if !strings.HasSuffix(got, ",SignedHeaders="+tt.signed+",Signature="+tt.signature) {
				t.Errorf("got %s", got)
			}
		})
	}
}

const presignedQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
	"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
	"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"

func TestPresignedExampleOfAWS(t *testing.T) {
	r := sigv4.Request{Method: "GET", Path: "/test.txt", Header: host()}
	if got := exampleCredentials().Presign(r, 24*time.Hour, exampleTime()); got != presignedQuery {
		t.Errorf("presigned %s", got)
	}
	r.Query = presignedQuery
	a, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Presigned || a.Expires != 24*time.Hour || a.PayloadHash != "UNSIGNED-PAYLOAD" {
		t.Errorf("parsed %+v", a)
	}
	if err := a.Verify(r, exampleSecret, exampleTime().Add(24*time.Hour)); err != nil {
		t.Error(err, explain(err))
	}
}

// chunkExample is a body of 65 KiB of 'a' in chunks of 64 KiB and 1 KiB.
func chunkExample(signatures ...string) []byte {
	var b bytes.Buffer
	for i, size := range []int{64 << 10, 1 << 10, 0} {
		b.WriteString(strconv.FormatInt(int64(size), 16) + ";chunk-signature=" + signatures[i] + "\r\n")
		if size > 0 {
			b.WriteString(strings.Repeat("a", size) + "\r\n")
		}
	}
	return b.Bytes()
}

func TestChunkedUploadExamplesOfAWS(t *testing.T) {
	plain := append(chunkExample("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
		"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"), "\r\n"...)
	trailer := chunkExample("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
		"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992")
	const trailerSignature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
	for _, tt := range []struct {
		name      string
		mode      sigv4.Mode
		header    sigv4.Fields
		signed    string
		signature string
		body      []byte
		trailers  []string
	}{
		{
			"signed chunks", sigv4.Chunked,
			sigv4.Fields{{Name: "Content-Length", Value: "66824"}},
			"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", plain, nil,
		}, {
			"a signed trailer", sigv4.ChunkedTrailer,
			sigv4.Fields{{Name: "x-amz-trailer", Value: "x-amz-checksum-crc32c"}},
			"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
			append(trailer, "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:"+trailerSignature+"\r\n\r\n"...),
			[]string{"x-amz-checksum-crc32c"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := authorize(sigv4.Request{Method: "PUT", Path: "/examplebucket/chunkObject.txt", Header: append(withDateAndHash(sigv4.Fields{
				{Name: "Host", Value: "s3.amazonaws.com"},
				{Name: "x-amz-storage-class", Value: "REDUCED_REDUNDANCY"},
				{Name: "Content-Encoding", Value: "aws-chunked"},
				{Name: "x-amz-decoded-content-length", Value: "66560"},
			}, tt.mode.String()), tt.header...)}, tt.signed, tt.signature)
			a, err := sigv4.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Verify(r, exampleSecret, exampleTime()); err != nil {
				t.Error(err, explain(err))
			}
			c := sigv4.NewChunkReader(bytes.NewReader(tt.body), sigv4.ChunkConfig{
				Mode: tt.mode, DecodedLength: 66560, Auth: a, Secret: exampleSecret, Trailers: tt.trailers,
			})
			got, err := io.ReadAll(c)
			if err != nil || string(got) != strings.Repeat("a", 66560) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if tt.trailers != nil && c.Trailer("X-Amz-Checksum-Crc32c") != "sOO8/Q==" {
				t.Errorf("trailer %q", c.Trailer("X-Amz-Checksum-Crc32c"))
			}
			if err := iotest.TestReader(sigv4.NewChunkReader(bytes.NewReader(tt.body), sigv4.ChunkConfig{
				Mode: tt.mode, DecodedLength: 66560, Auth: a, Secret: exampleSecret, Trailers: tt.trailers,
			}), got); err != nil {
				t.Error(err)
			}
		})
	}
}

const examplePolicy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"

func TestPOSTExampleOfAWS(t *testing.T) {
	fields := map[string]string{
		"bucket": "sigv4examplebucket", "key": "user/user1/photo.png", "acl": "public-read",
		"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
		"content-type":            "image/png", "x-amz-meta-uuid": "14365123651274", "x-amz-server-side-encryption": "AES256",
		"x-amz-credential": exampleKey + "/20151229/us-east-1/s3/aws4_request", "x-amz-algorithm": "AWS4-HMAC-SHA256",
		"x-amz-date": "20151229T000000Z", "x-amz-meta-tag": "", "policy": examplePolicy,
		"x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
	}
	a, err := sigv4.ParsePost(fields)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.CheckScope("us-east-1"), a.VerifyPolicy(examplePolicy, exampleSecret)); err != nil {
		t.Error(err)
	}
	if got := exampleCredentials().SignPolicy(examplePolicy, a.Time); got != a.Signature {
		t.Errorf("signed %s", got)
	}
	p, err := sigv4.ParsePolicy(examplePolicy)
	if err != nil {
		t.Fatal(err)
	}
	if p.MinSize != 0 || p.MaxSize != math.MaxInt64 {
		t.Errorf("range %d to %d", p.MinSize, p.MaxSize)
	}
	if err := p.Check(a.Time, fields, 100); err != nil {
		t.Error(err)
	}
}
