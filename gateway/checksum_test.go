package gateway

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/object"
)

func TestARequestWithoutChecksumsPaysForNone(t *testing.T) {
	var ctx fasthttp.RequestCtx
	for _, name := range []string{"Host", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Checksum-Mode"} {
		ctx.Request.Header.Set(name, "value")
	}
	r := &request{ctx: &ctx}
	if paid := testing.AllocsPerRun(100, func() {
		if d, err := declaredChecksum(r); err != nil || d.algorithm != object.NoAlgorithm {
			t.Fatal(d, err)
		}
	}); paid > 0 {
		t.Errorf("%v allocations", paid)
	}
}

func TestChecksumRefusalNamesWhatIsWrong(t *testing.T) {
	f := withBucket(t)
	put := func(header map[string]string) call {
		return call{method: "PUT", path: "/bucket/k", body: "hello", header: header}
	}
	framed := func(trailer string) call {
		return call{
			method: "PUT", path: "/bucket/k", payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
			header: map[string]string{"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"},
			body:   "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + trailer + "\r\n\r\n",
		}
	}
	for _, tt := range []struct {
		name, message string
		call          call
	}{
		{"no value", "Value for x-amz-checksum-crc32 header is invalid.", put(map[string]string{"x-amz-checksum-crc32": ""})},
		{"not base64", "Value for x-amz-checksum-sha1 header is invalid.", put(map[string]string{"x-amz-checksum-sha1": "?"})},
		{
			"two headers without values", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
			put(map[string]string{"x-amz-checksum-crc32": "", "x-amz-checksum-sha1": ""}),
		},
		{
			"header and trailer", "Expecting a single x-amz-checksum- header",
			put(map[string]string{"x-amz-checksum-crc32": crcOfHello, "x-amz-trailer": "x-amz-checksum-crc32"}),
		},
		{"trailer too short", "Value for x-amz-checksum-crc32 trailing header is invalid.", framed("AAAA")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := f.refused("InvalidRequest", tt.call)
			if !strings.Contains(r.body, "<Message>"+tt.message+"</Message>") {
				t.Errorf("%s, want %q", r.body, tt.message)
			}
			f.missing("k")
		})
	}
}
