package gateway

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// part puts a part of an upload and returns its ETag.
func (f *fixture) part(key, id string, number int, content string, h headers) reply {
	f.t.Helper()
	return f.ok(call{method: "PUT", path: "/bucket/" + key, query: fmt.Sprintf("partNumber=%d&uploadId=%s", number, id), body: content, header: h})
}

// create begins an upload.
func (f *fixture) create(key string, h headers) (string, reply) {
	f.t.Helper()
	var up struct{ UploadId string }
	r := f.ok(call{method: "POST", path: "/bucket/" + key, query: "uploads=", header: h})
	if err := xml.Unmarshal([]byte(r.body), &up); err != nil {
		f.t.Fatal(err)
	}
	return up.UploadId, r
}

// completion is the document that completes an upload; a part can have a checksum.
func completion(etags []string, checksum func(i int) string) string {
	x := "<CompleteMultipartUpload>"
	for i, etag := range etags {
		x += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", i+1, etag, checksum(i))
	}
	return x + "</CompleteMultipartUpload>"
}

func noChecksum(int) string { return "" }

func TestAnEncryptedUploadBecomesAnEncryptedObject(t *testing.T) {
	f := withKeys(t, nil)
	parts := []string{strings.Repeat("marker 1 ", object.MinPartSize/9+1), strings.Repeat("marker 2 ", object.MinPartSize/9+8000), "marker 3"}
	whole := strings.Join(parts, "")
	for name, kind := range kinds() {
		for _, tt := range []struct {
			algorithm string
			completes headers // with the customer's key, or without
		}{{"", kind.read}, {"SHA256", kind.read}, {"CRC32C", kind.read}, {"SHA512", kind.read}, {"", nil}} {
			what := name + " " + tt.algorithm
			var ask headers
			if tt.algorithm != "" {
				ask = headers{"x-amz-checksum-algorithm": tt.algorithm}
			}
			id, created := f.create("m", and(kind.write, ask))
			tells(t, what+": Create", created, kind.told)
			var etags, sums []string
			for i, content := range parts {
				var sum headers
				if tt.algorithm != "" {
					header := "x-amz-checksum-" + strings.ToLower(tt.algorithm)
					sums = append(sums, checksumOf(tt.algorithm, content))
					sum = headers{header: sums[i]}
				}
				r := f.part("m", id, i+1, content, and(kind.read, sum))
				tells(t, what+": UploadPart", r, kind.told)
				etags = append(etags, r.header.Get("ETag"))
				if isMD5 := strings.Trim(etags[i], `"`) == fmt.Sprintf("%x", md5.Sum([]byte(content))); isMD5 != (name == "SSE-S3") {
					t.Errorf("%s: the ETag of a part is %s", what, etags[i])
				}
			}
			listed := f.ok(call{method: "GET", path: "/bucket/m", query: "uploadId=" + id, header: kind.read})
			for i, content := range parts {
				if !strings.Contains(listed.body, fmt.Sprintf("<Size>%d</Size>", len(content))) || tt.algorithm != "" && !strings.Contains(listed.body, sums[i]) {
					t.Errorf("%s: part %d is listed in %s", what, i+1, listed.body)
				}
			}
			document := completion(etags, func(i int) string {
				if tt.algorithm == "" {
					return ""
				}
				return fmt.Sprintf("<Checksum%s>%s</Checksum%s>", tt.algorithm, sums[i], tt.algorithm)
			})
			complete := call{method: "POST", path: "/bucket/m", query: "uploadId=" + id, body: document, header: and(tt.completes, headers{"x-amz-mp-object-size": fmt.Sprint(len(whole))})}
			for range 2 {
				done := f.ok(complete)
				told := kind.told
				if name == "SSE-C" {
					told = headers{}
				}
				tells(t, what+": Complete", done, told)
				if hasSum := strings.Contains(done.body, "<Checksum"); hasSum == (name == "SSE-C" && tt.completes == nil) {
					t.Errorf("%s: Complete answers %s", what, done.body)
				}
			}
			got := f.ok(call{method: "GET", path: "/bucket/m", header: and(kind.read, headers{"x-amz-checksum-mode": "ENABLED"})})
			if got.body != whole {
				t.Errorf("%s: %d other bytes came back", what, len(got.body))
			}
			tells(t, what+": GET", got, kind.told)
			if want := compositeOf(tt.algorithm, parts); want != "" && got.header.Get("x-amz-checksum-"+strings.ToLower(tt.algorithm)) != want {
				t.Errorf("%s: its checksum is %v, want %s", what, got.header, want)
			}
			attributes := f.ok(call{method: "GET", path: "/bucket/m", query: "attributes=", header: and(kind.read, headers{"x-amz-object-attributes": "ObjectParts"})})
			for _, sum := range sums {
				if !strings.Contains(attributes.body, sum) {
					t.Errorf("%s: the checksum %s of a part is not in %s", what, sum, attributes.body)
				}
			}
			edge := len(parts[0])
			r := f.ok(call{method: "GET", path: "/bucket/m", header: and(kind.read, headers{"Range": fmt.Sprintf("bytes=%d-%d", edge-10, edge+70000)})})
			if r.body != whole[edge-10:edge+70001] {
				t.Errorf("%s: a range over two parts is %d others", what, len(r.body))
			}
			if r = f.ok(call{method: "GET", path: "/bucket/m", query: "partNumber=2", header: and(kind.read, headers{"x-amz-checksum-mode": "ENABLED"})}); r.body != parts[1] {
				t.Errorf("%s: part 2 is %d others", what, len(r.body))
			}
			if got := r.header.Get("x-amz-checksum-" + strings.ToLower(tt.algorithm)); got != "" && got != checksumOf(tt.algorithm, parts[1]) {
				t.Errorf("%s: part 2 has the checksum %s", what, got)
			}
			if got := r.header.Get("x-amz-checksum-crc64nvme"); got != "" {
				t.Errorf("%s: part 2 of an object whose whole has one has the checksum %s", what, got)
			}
			if _, held := f.held("m"); bytes.Contains(held, []byte("marker")) {
				t.Errorf("%s: the content lies open in the Store", what)
			}
		}
	}
}

func TestPartsOfTheSameContentDoNotShowThatTheyAre(t *testing.T) {
	f := withKeys(t, nil)
	content := strings.Repeat("marker ", object.MinPartSize/7+1)
	for name, kind := range kinds() {
		id, _ := f.create("k", kind.write)
		var etags []string
		for i := range 2 {
			etags = append(etags, f.part("k", id, i+1, content, kind.read).header.Get("ETag"))
		}
		if (etags[0] == etags[1]) != (name == "SSE-S3") {
			t.Errorf("%s: the ETags are %q", name, etags)
		}
		f.ok(call{method: "POST", path: "/bucket/k", query: "uploadId=" + id, body: completion(etags, noChecksum), header: kind.read})
		info, held := f.held("k")
		if half := len(held) / 2; bytes.Equal(held[:half], held[half:]) || info.Parts[0].Checksum == info.Parts[1].Checksum {
			t.Errorf("%s: two parts are kept as the same", name)
		}
	}
}

func TestThePartsOfAnUploadNeedItsKey(t *testing.T) {
	f := withKeys(t, nil)
	const must = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
	const none = "The multipart upload was not begun with a key of the customer (SSE-C), so its parts take none."
	f.put("source", "v")
	encrypted, _ := f.create("k", customer(keyA))
	plain, _ := f.create("k", nil)
	underMaster, _ := f.create("k", managed())
	for _, tt := range []struct {
		id, message string
		header      headers
	}{
		{encrypted, must, nil},
		{encrypted, "The provided encryption parameters did not match the ones used originally.", customer(keyB)},
		{plain, none, customer(keyA)},
		{underMaster, none, customer(keyA)},
	} {
		part := call{method: "PUT", path: "/bucket/k", query: "partNumber=1&uploadId=" + tt.id, body: "x", header: tt.header}
		copied := call{method: "PUT", path: "/bucket/k", query: part.query, header: and(tt.header, headers{"x-amz-copy-source": "bucket/source"})}
		for _, c := range []call{part, copied} {
			r := f.refused("InvalidRequest", c)
			if !strings.Contains(r.body, tt.message) {
				t.Errorf("%s, want %s", r.body, tt.message)
			}
		}
	}
	f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/k", query: "partNumber=1&uploadId=" + underMaster, body: "x", header: managed()})
	withSums, _ := f.create("k", and(customer(keyA), headers{"x-amz-checksum-algorithm": "CRC32"}))
	r := f.part("k", withSums, 1, "x", and(customer(keyA), headers{"x-amz-checksum-crc32": checksumOf("CRC32", "x")}))
	document := completion([]string{r.header.Get("ETag")}, func(int) string { return "<ChecksumCRC32>" + checksumOf("CRC32", "x") + "</ChecksumCRC32>" })
	complete := call{method: "POST", path: "/bucket/k", query: "uploadId=" + withSums, body: document}
	f.refused("InvalidRequest", complete)
	complete.header = customer(keyB)
	f.refused("AccessDenied", complete)
	complete.header, complete.body = customer(keyA), strings.Replace(document, checksumOf("CRC32", "x"), checksumOf("CRC32", "y"), 1)
	f.refused("InvalidPart", complete)
	complete.body = document
	f.ok(complete)
}

func TestPartsAreCopiedFromEncryptedObjects(t *testing.T) {
	f := withKeys(t, nil)
	content := strings.Repeat("marker of the content ", 10000)
	for source, from := range kinds() {
		f.ok(call{method: "PUT", path: "/bucket/source", body: content, header: from.write})
		for target, to := range kinds() {
			id, _ := f.create("k", to.write)
			r := f.ok(call{method: "PUT", path: "/bucket/k", query: "partNumber=1&uploadId=" + id, header: and(to.read, sourceOf(from.read), headers{
				"x-amz-copy-source": "bucket/source", "x-amz-copy-source-range": "bytes=65000-140000",
			})})
			tells(t, source+" to "+target, r, to.told)
			var part struct{ ETag string }
			if err := xml.Unmarshal([]byte(r.body), &part); err != nil {
				t.Fatal(err)
			}
			f.ok(call{method: "POST", path: "/bucket/k", query: "uploadId=" + id, body: completion([]string{part.ETag}, noChecksum), header: to.read})
			if got := f.ok(call{method: "GET", path: "/bucket/k", header: to.read}); got.body != content[65000:140001] {
				t.Errorf("%s to %s: %d other bytes", source, target, len(got.body))
			}
		}
	}
}

// checksumOf returns a checksum as headers carry it.
func checksumOf(algorithm, content string) string {
	a, _ := object.ParseAlgorithm(algorithm)
	h := a.NewHash()
	h.Write([]byte(content))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// compositeOf returns the checksum of an object that was made of parts; "" of none.
func compositeOf(algorithm string, parts []string) string {
	if algorithm == "" {
		return ""
	}
	var sums []byte
	for _, p := range parts {
		raw, _ := base64.StdEncoding.DecodeString(checksumOf(algorithm, p))
		sums = append(sums, raw...)
	}
	return fmt.Sprintf("%s-%d", checksumOf(algorithm, string(sums)), len(parts))
}
