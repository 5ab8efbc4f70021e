package gateway

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// crcOfHello is the CRC32 of "hello" as headers have it.
const crcOfHello = "NhCmhg=="

// createUpload begins an upload of /bucket/m and returns the query that names it.
func (f *fixture) createUpload(header map[string]string) string {
	f.t.Helper()
	var up struct{ UploadId string }
	create := f.ok(call{method: "POST", path: "/bucket/m", query: "uploads=", header: header})
	if err := xml.Unmarshal([]byte(create.body), &up); err != nil || up.UploadId == "" {
		f.t.Fatalf("%s: %v", create.body, err)
	}
	return "uploadId=" + up.UploadId
}

// uploadPart returns the call that stores a part of the upload id.
func uploadPart(id string, number int, body string, header map[string]string) call {
	return call{method: "PUT", path: "/bucket/m", query: fmt.Sprintf("partNumber=%d&%s", number, id), body: body, header: header}
}

// complete returns the call that completes the upload id with the parts given
// as XML.
func complete(id, parts string, header map[string]string) call {
	return call{method: "POST", path: "/bucket/m", query: id, header: header, body: "<CompleteMultipartUpload>" + parts + "</CompleteMultipartUpload>"}
}

// partXML names a part, with more elements perhaps.
func partXML(number int, etag string, more ...string) string {
	return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", number, etag, strings.Join(more, ""))
}

func TestPartOfAnUploadWithoutAlgorithmMayHaveAnyChecksum(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(nil)
	f.refused("BadDigest", uploadPart(id, 1, "hello", map[string]string{"x-amz-checksum-crc32": "AAAAAA=="}))
	part := f.ok(uploadPart(id, 1, "hello", map[string]string{"x-amz-checksum-crc32": crcOfHello}))
	if got := part.header.Get("x-amz-checksum-crc32"); got != crcOfHello {
		t.Errorf("the part's checksum is %q", got)
	}
	etag := part.header.Get("ETag")
	f.ok(complete(id, partXML(1, etag, "<ChecksumCRC32>"+crcOfHello+"</ChecksumCRC32>"), nil))
	r := f.ok(call{method: "HEAD", path: "/bucket/m", header: map[string]string{"x-amz-checksum-mode": "ENABLED"}})
	if r.header.Get("x-amz-checksum-crc64nvme") == "" || r.header.Get("x-amz-checksum-type") != "FULL_OBJECT" {
		t.Errorf("the object's checksum: %v", r.header)
	}
}

// Paginators that follow the marker and nothing else, as that of the JavaScript SDK, would begin anew
// behind the last page.
func TestAPageWithoutPartsTellsNotWhereToGoOn(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(nil)
	for n := 1; n <= 3; n++ {
		f.ok(uploadPart(id, n, "hello", nil))
	}
	for query, want := range map[string]string{
		"&max-parts=2":                      "<NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>",
		"&max-parts=2&part-number-marker=2": "<NextPartNumberMarker>3</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>false</IsTruncated>",
		"&part-number-marker=3":             "<IsTruncated>false</IsTruncated>",
		"&max-parts=0":                      "<IsTruncated>false</IsTruncated>",
	} {
		page := f.ok(call{method: "GET", path: "/bucket/m", query: id + query}).body
		if !strings.Contains(page, want) || strings.Contains(page, "NextPartNumberMarker") != strings.Contains(want, "NextPartNumberMarker") {
			t.Errorf("%s: %s", query, page)
		}
	}
}

func TestPartChecksumMustBeOfTheUploadsAlgorithm(t *testing.T) {
	f := withBucket(t)
	composite := f.createUpload(map[string]string{"x-amz-checksum-algorithm": "SHA256"})
	full := f.createUpload(map[string]string{"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
	f.refused("InvalidRequest", uploadPart(composite, 1, "hello", map[string]string{"x-amz-checksum-crc32": crcOfHello}))
	f.refused("InvalidRequest", uploadPart(composite, 1, "hello", nil))
	f.ok(uploadPart(full, 1, "hello", nil))
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket/m", query: "uploads=", header: map[string]string{"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"}})
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket/m", query: "uploads=", header: map[string]string{"x-amz-checksum-type": "COMPOSITE"}})
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket/m", query: "uploads=", header: map[string]string{"x-amz-checksum-algorithm": "MD4"}})
}

func TestCompletionHoldsWhatTheClientStates(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(map[string]string{"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
	small := f.ok(uploadPart(id, 1, "hello", nil)).header.Get("ETag")
	f.ok(uploadPart(id, 2, "hello", nil))
	sum := func(name, value string) string { return "<Checksum" + name + ">" + value + "</Checksum" + name + ">" }
	one := partXML(1, small)
	for _, tt := range []struct {
		name, code, parts string
		header            map[string]string
	}{
		{"no parts", "MalformedXML", "", nil},
		{"no number", "MalformedXML", "<Part><ETag>x</ETag></Part>", nil},
		{"part 0", "InvalidArgument", partXML(0, small), nil},
		{"part 10001", "InvalidPart", partXML(10001, small), nil},
		{"a part that is not there", "InvalidPart", partXML(3, small), nil},
		{"descending", "InvalidPartOrder", partXML(2, small) + one, nil},
		{"twice", "InvalidPartOrder", one + one, nil},
		{"too small", "EntityTooSmall", one + partXML(2, small), nil},
		{"two checksums", "InvalidArgument", partXML(1, small, sum("CRC32", crcOfHello), sum("SHA1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0=")), nil},
		{"checksum that is none", "InvalidArgument", partXML(1, small, sum("CRC32", "x")), nil},
		{"wrong checksum", "InvalidPart", partXML(1, small, sum("CRC32", "AAAAAA==")), nil},
		{"checksum of another algorithm", "BadDigest", partXML(1, small, sum("SHA1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0=")), nil},
		{"another type", "InvalidRequest", one, map[string]string{"x-amz-checksum-type": "COMPOSITE"}},
		{"no type", "InvalidRequest", one, map[string]string{"x-amz-checksum-type": "x"}},
		{"wrong object checksum", "BadDigest", one, map[string]string{"x-amz-checksum-crc32": "AAAAAA=="}},
		{"wrong size", "InvalidRequest", one, map[string]string{"x-amz-mp-object-size": "6"}},
		{"negative size", "InvalidRequest", one, map[string]string{"x-amz-mp-object-size": "-5"}},
		{"no size", "InvalidRequest", one, map[string]string{"x-amz-mp-object-size": "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fixture{t: t, addr: f.addr, store: f.store, client: f.client}
			f.refused(tt.code, complete(id, tt.parts, tt.header))
			f.missing("m")
		})
	}
	done := map[string]string{"x-amz-checksum-type": "FULL_OBJECT", "x-amz-checksum-crc32": crcOfHello, "x-amz-mp-object-size": "5"}
	first := f.ok(complete(id, one, done))
	if again := f.ok(complete(id, one, done)); again.body != first.body {
		t.Errorf("repeated:\n%s\nfirst:\n%s", again.body, first.body)
	}
	f.refused("NoSuchUpload", uploadPart(id, 1, "x", nil))
}

func TestRefusedPartIsNamed(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(nil)
	etag := f.ok(uploadPart(id, 1, "hello", nil)).header.Get("ETag")
	f.ok(uploadPart(id, 2, "x", nil))
	r := f.refused("EntityTooSmall", complete(id, partXML(1, etag)+partXML(2, etag), nil))
	for _, want := range []string{"<ProposedSize>5<", "<MinSizeAllowed>5242880<", "<PartNumber>1<", "<ETag>" + strings.Trim(etag, `"`) + "<"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %s in %s", want, r.body)
		}
	}
}

func TestAPartThatIsNotThereIsNamedBehindItsUpload(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(nil)
	etag := f.ok(uploadPart(id, 1, "hello", nil)).header.Get("ETag")
	_, upload, _ := strings.Cut(id, "=")
	want := fmt.Sprintf("<UploadId>%s</UploadId><PartNumber>3</PartNumber><ETag>%s</ETag>", upload, strings.Trim(etag, `"`))
	if r := f.refused("InvalidPart", complete(id, partXML(3, etag), nil)); !strings.Contains(r.body, want) {
		t.Errorf("no %s in %s", want, r.body)
	}
}

func TestANumberOfPartsThatIsNoneIsIgnored(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(headers{"x-amz-checksum-algorithm": "SHA256"})
	part := f.ok(uploadPart(id, 1, "hello", headers{"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": sumsOfHello()["SHA256"]}))
	f.ok(complete(id, partXML(1, part.header.Get("ETag"), "<ChecksumSHA256>"+sumsOfHello()["SHA256"]+"</ChecksumSHA256>"), nil))
	attributes := call{method: "GET", path: "/bucket/m", query: "attributes=", header: headers{"x-amz-object-attributes": "ObjectParts"}}
	whole := f.has(attributes, "<MaxParts>1000</MaxParts><IsTruncated>false</IsTruncated><Part>").body
	for _, number := range []string{"abc", "-1", "99999999999999999999"} {
		attributes.header["x-amz-max-parts"] = number
		f.has(attributes, whole)
	}
}

func TestUploadIsLookedForInItsBucketFirst(t *testing.T) {
	f := withBucket(t)
	for path, code := range map[string]string{"/bucket/m": "NoSuchUpload", "/no-such-bucket/m": "NoSuchBucket"} {
		for _, c := range []call{
			{method: "PUT", query: "partNumber=1&uploadId=none", body: "x"},
			{method: "PUT", query: "partNumber=1&uploadId=none", header: map[string]string{"x-amz-copy-source": "bucket/k"}},
			{method: "GET", query: "uploadId=none"},
			{method: "DELETE", query: "uploadId=none"},
			{method: "POST", query: "uploadId=none", body: "<CompleteMultipartUpload>" + partXML(1, "x") + "</CompleteMultipartUpload>"},
		} {
			c.path = path
			f.refused(code, c)
		}
	}
}

func TestAbortMayBeTiedToTheTimeOfTheUpload(t *testing.T) {
	f := withBucket(t)
	id := f.createUpload(nil)
	abort := func(at time.Time) call {
		return call{method: "DELETE", path: "/bucket/m", query: id, header: map[string]string{"x-amz-if-match-initiated-time": at.UTC().Format(http.TimeFormat)}}
	}
	page, err := f.store.ListUploads(t.Context(), object.UploadQuery{Bucket: "bucket", Limit: 1})
	if err != nil || len(page.Uploads) != 1 {
		t.Fatalf("%v, %v", page, err)
	}
	initiated := page.Uploads[0].Initiated
	f.refused("PreconditionFailed", abort(initiated.Add(-time.Hour)))
	f.ok(abort(initiated))
	f.refused("NoSuchUpload", abort(initiated))
}
