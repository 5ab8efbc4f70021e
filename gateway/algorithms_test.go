package gateway

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// sumsOfHello has the checksum of "hello" of each algorithm, as the reference library of
// xxHash and Python's hashlib compute it.
func sumsOfHello() map[string]string {
	return map[string]string{
		"CRC32":     "NhCmhg==",
		"CRC32C":    "mnG7TA==",
		"CRC64NVME": "M3eFcAZSQlc=",
		"MD5":       "XUFAKrxLKna5cZ2REBfFkg==",
		"SHA1":      "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
		"SHA256":    "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
		"SHA512":    "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==",
		"XXHASH64":  "JseCfYifbaM=",
		"XXHASH3":   "lVXoVVxi3P0=",
		"XXHASH128": "tenBrQcbPn/Hec+qXlI4GA==",
	}
}

// eachChecksum runs a test for each algorithm, with the header that carries its checksums,
// on a bucket without the keys k and m.
func eachChecksum(t *testing.T, test func(f *fixture, name, header, hello string)) {
	sums := sumsOfHello()
	if len(sums) != len(object.Algorithms()) {
		t.Fatalf("%d of %d algorithms are tested", len(sums), len(object.Algorithms()))
	}
	f := withBucket(t)
	for name, hello := range sums {
		t.Run(name, func(t *testing.T) {
			f := &fixture{t: t, addr: f.addr, store: f.store, client: f.client}
			for _, key := range []string{"k", "m"} {
				f.ok(call{method: "DELETE", path: "/bucket/" + key})
			}
			test(f, name, "x-amz-checksum-"+strings.ToLower(name), hello)
		})
	}
}

// has fails the test if an answer lacks a text.
func (f *fixture) has(c call, texts ...string) reply {
	f.t.Helper()
	r := f.ok(c)
	for _, text := range texts {
		if !strings.Contains(r.body, text) {
			f.t.Errorf("%s %s?%s: %s has no %s", c.method, c.path, c.query, r.body, text)
		}
	}
	return r
}

// told fails the test if the object's checksum is another one.
func (f *fixture) told(key, header, sum, kind string) {
	f.t.Helper()
	for _, method := range []string{"GET", "HEAD"} {
		r := f.ok(call{method: method, path: "/bucket/" + key, header: headers{"x-amz-checksum-mode": "ENABLED"}})
		if r.header.Get(header) != sum || r.header.Get("x-amz-checksum-type") != kind {
			f.t.Errorf("%s %s: %v, want %s: %s, %s", method, key, r.header, header, sum, kind)
		}
		if r := f.ok(call{method: method, path: "/bucket/" + key}); r.header.Get(header) != "" {
			f.t.Errorf("%s %s tells the checksum though nobody asked: %v", method, key, r.header)
		}
	}
}

func TestEveryChecksumIsHeldAgainstTheContent(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		put := func(sum string) call {
			return call{method: "PUT", path: "/bucket/k", body: "hello", header: headers{header: sum, "x-amz-sdk-checksum-algorithm": name}}
		}
		trailer := func(sum string) call {
			return call{
				method: "PUT", path: "/bucket/k", payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
				header: headers{"x-amz-decoded-content-length": "5", "x-amz-trailer": header, "x-amz-sdk-checksum-algorithm": name},
				body:   "5\r\nhello\r\n0\r\n" + header + ":" + sum + "\r\n\r\n",
			}
		}
		other := checksumOf(name, "other")
		for _, c := range []call{put(other), trailer(other)} {
			r := f.refused("BadDigest", c)
			if want := "The " + name + " you specified did not match the calculated checksum."; !strings.Contains(r.body, want) {
				f.t.Errorf("%s, want %s", r.body, want)
			}
		}
		f.refused("InvalidRequest", put(hello[4:]))
		f.refused("InvalidRequest", trailer(hello[4:]))
		f.missing("k")
		if r := f.post(form{fields: [][2]string{{"key", "k"}, {header, other}}, file: "hello"}); r.code() != "BadDigest" {
			f.t.Errorf("POST: %d %s", r.status, r.body)
		}
		f.missing("k")
		for _, c := range []call{put(hello), trailer(hello)} {
			if r := f.ok(c); r.header.Get(header) != hello || r.header.Get("x-amz-checksum-type") != "FULL_OBJECT" {
				f.t.Errorf("PUT answers %v", r.header)
			}
			f.told("k", header, hello, "FULL_OBJECT")
			f.ok(call{method: "DELETE", path: "/bucket/k"})
		}
		if r := f.post(form{fields: [][2]string{{"key", "k"}, {header, hello}}, file: "hello"}); r.status != 204 {
			f.t.Errorf("POST: %d %s", r.status, r.body)
		}
		f.told("k", header, hello, "FULL_OBJECT")
	})
}

func TestEveryChecksumOfADocumentIsHeldAgainstIt(t *testing.T) {
	const document = "<Delete><Object><Key>k</Key></Object></Delete>"
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		f.put("k", "content")
		remove := func(sum string) call {
			return call{method: "POST", path: "/bucket", query: "delete=", body: document, header: headers{header: sum}}
		}
		f.refused("BadDigest", remove(hello))
		if got := f.get("k"); got != "content" {
			f.t.Errorf("holds %q", got)
		}
		f.ok(remove(checksumOf(name, document)))
		f.missing("k")
	})
}

func TestEveryChecksumIsTold(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		f.ok(call{method: "PUT", path: "/bucket/k", body: "hello", header: headers{header: hello}})
		f.has(call{method: "GET", path: "/bucket/k", query: "attributes=", header: headers{"x-amz-object-attributes": "Checksum"}},
			"<Checksum"+name+">"+hello+"</Checksum"+name+"><ChecksumType>FULL_OBJECT</ChecksumType>")
		for _, query := range []string{"", "list-type=2", "versions="} {
			f.has(call{method: "GET", path: "/bucket", query: query}, "<ChecksumAlgorithm>"+name+"</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>")
		}
	})
}

func TestACopyHasTheChecksumThatIsAskedForOrItsSources(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		f.put("plain", "hello")
		want := "<Checksum" + name + ">" + hello + "</Checksum" + name + ">"
		f.has(call{method: "PUT", path: "/bucket/asked", header: headers{"x-amz-copy-source": "bucket/plain", "x-amz-checksum-algorithm": name}}, want)
		f.told("asked", header, hello, "FULL_OBJECT")
		f.has(call{method: "PUT", path: "/bucket/kept", header: headers{"x-amz-copy-source": "bucket/asked"}}, want)
		f.told("kept", header, hello, "FULL_OBJECT")
	})
}

func TestWhatIsAppendedIsInTheChecksumOfAll(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		f.ok(call{method: "PUT", path: "/bucket/k", body: "hello", header: headers{header: hello}})
		more := headers{header: checksumOf(name, " world"), writeOffset: "5"}
		f.ok(call{method: "PUT", path: "/bucket/k", body: " world", header: more})
		f.told("k", header, checksumOf(name, "hello world"), "FULL_OBJECT")
	})
}

func TestUploadsOfEveryAlgorithm(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		a, _ := object.ParseAlgorithm(name)
		kind := a.DefaultType().String()
		f.put("source", "hello")
		upload := f.createUpload(headers{"x-amz-checksum-algorithm": strings.ToLower(name)})
		listed := "<ChecksumAlgorithm>" + name + "</ChecksumAlgorithm><ChecksumType>" + kind + "</ChecksumType>"
		f.has(call{method: "GET", path: "/bucket", query: "uploads="}, listed)
		if a.DefaultType() == object.Composite {
			f.refused("InvalidRequest", uploadPart(upload, 1, "hello", nil))
		}
		f.refused("BadDigest", uploadPart(upload, 1, "hello", headers{header: checksumOf(name, "other")}))
		put := f.ok(uploadPart(upload, 1, "hello", headers{header: hello}))
		if put.header.Get(header) != hello {
			f.t.Errorf("UploadPart answers %v", put.header)
		}
		element := "<Checksum" + name + ">" + hello + "</Checksum" + name + ">"
		f.has(call{method: "GET", path: "/bucket/m", query: upload}, listed, element)
		copied := uploadPart(upload, 2, "", headers{"x-amz-copy-source": "bucket/source"})
		f.has(copied, element)

		f.refused("InvalidPart", complete(upload, partXML(1, put.header.Get("ETag"), strings.ReplaceAll(element, hello, checksumOf(name, "other"))), nil))
		f.refused("BadDigest", complete(upload, partXML(1, put.header.Get("ETag"), element), headers{header: checksumOf(name, "other")}))
		whole := hello
		if a.DefaultType() == object.Composite {
			whole = compositeOf(name, []string{"hello"})
		}
		done := f.has(complete(upload, partXML(1, put.header.Get("ETag"), element), headers{header: whole, "x-amz-checksum-type": kind}))
		if want := "<Checksum" + name + ">" + whole + "</Checksum" + name + "><ChecksumType>" + kind + "</ChecksumType>"; !strings.Contains(done.body, want) {
			f.t.Errorf("Complete answers %s, want %s", done.body, want)
		}
		f.told("m", header, whole, kind)
		if a.DefaultType() == object.Composite {
			f.has(call{method: "GET", path: "/bucket/m", query: "attributes=", header: headers{"x-amz-object-attributes": "ObjectParts"}}, "<Size>5</Size>"+element)
		}
		for _, method := range []string{"GET", "HEAD"} {
			part := f.ok(call{method: method, path: "/bucket/m", query: "partNumber=1", header: headers{"x-amz-checksum-mode": "ENABLED"}}).header
			if part.Get(header) != hello || part.Get("x-amz-checksum-type") != kind { // of one part, it is that of the whole too
				f.t.Errorf("%s of part 1: %v, want %s", method, part, hello)
			}
		}
	})
}

func TestUploadsHaveOnlyTheTypesThatTheirAlgorithmHas(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, _, _ string) {
		a, _ := object.ParseAlgorithm(name)
		for _, kind := range []object.ChecksumType{object.FullObject, object.Composite} {
			create := call{method: "POST", path: "/bucket/m", query: "uploads=", header: headers{"x-amz-checksum-algorithm": name, "x-amz-checksum-type": kind.String()}}
			if a.Supports(kind) {
				if r := f.ok(create); r.header.Get("x-amz-checksum-algorithm") != name || r.header.Get("x-amz-checksum-type") != kind.String() {
					f.t.Errorf("%v: %v", kind, r.header)
				}
				continue
			}
			want := fmt.Sprintf("The %v checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(name))
			if r := f.refused("InvalidRequest", create); !strings.Contains(r.body, want) {
				f.t.Errorf("%s, want %s", r.body, want)
			}
		}
	})
}

func TestAPartOfAnUploadWithoutAlgorithmMayHaveEveryChecksum(t *testing.T) {
	eachChecksum(t, func(f *fixture, name, header, hello string) {
		upload := f.createUpload(nil)
		f.refused("BadDigest", uploadPart(upload, 1, "hello", headers{header: checksumOf(name, "other")}))
		part := f.ok(uploadPart(upload, 1, "hello", headers{header: hello}))
		if part.header.Get(header) != hello {
			f.t.Errorf("UploadPart answers %v", part.header)
		}
		f.ok(complete(upload, partXML(1, part.header.Get("ETag"), "<Checksum"+name+">"+hello+"</Checksum"+name+">"), nil))
		f.told("m", "x-amz-checksum-crc64nvme", sumsOfHello()["CRC64NVME"], "FULL_OBJECT")
	})
}

func TestAnUnknownAlgorithmIsAnsweredWithThoseThatThereAre(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	const want = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: " +
		"[CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]<"
	for _, c := range []call{
		{method: "POST", path: "/bucket/m", query: "uploads=", header: headers{"x-amz-checksum-algorithm": "XXHASH32"}},
		{method: "PUT", path: "/bucket/copy", header: headers{"x-amz-copy-source": "bucket/k", "x-amz-checksum-algorithm": "XXHASH32"}},
	} {
		if r := f.refused("InvalidRequest", c); !strings.Contains(r.body, want) {
			t.Errorf("%s, want %s", r.body, want)
		}
	}
}

func TestEveryChecksumOfAnEncryptedObjectIsTold(t *testing.T) {
	f := withKeys(t, nil)
	for name, hello := range sumsOfHello() {
		header := "x-amz-checksum-" + strings.ToLower(name)
		for kind, k := range kinds() {
			f.ok(call{method: "PUT", path: "/bucket/k", body: "hello", header: and(k.write, headers{header: hello})})
			r := f.ok(call{method: "GET", path: "/bucket/k", header: and(k.read, headers{"x-amz-checksum-mode": "ENABLED"})})
			if r.body != "hello" || r.header.Get(header) != hello {
				t.Errorf("%s: %q, %v", kind, r.body, r.header)
			}
		}
	}
}

func TestAnMD5ThatIsTheETagIsNotComputedAgainAsAChecksum(t *testing.T) {
	if s := newSummer(object.MD5); s.sum != nil {
		t.Error("there are two hashes")
	}
	for _, opt := range []bodyOptions{{}, {algorithm: object.CRC32, fixed: true}} {
		b := &body{declared: object.MD5}
		b.choose(opt)
		if b.check != nil || b.sums.sum != nil && b.sums.algorithm == object.MD5 {
			t.Errorf("%+v: there are two hashes", opt)
		}
	}
	s := newSummer(object.MD5)
	for chunk := range slices.Chunk([]byte("hello"), 2) {
		s.write(chunk)
	}
	d := s.digest()
	if sum := md5.Sum([]byte("hello")); d.MD5 != sum || d.Checksum != (object.Checksum{Algorithm: object.MD5, Value: string(sum[:])}) {
		t.Errorf("%+v", d)
	}
}
