package gateway

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// archived returns an archive of entries.
func archived(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := h.Linkname // carries it for files
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = int64(len(content)), ""
		} else {
			content = ""
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }

// extracting is the call that puts an archive.
func extracting(archive string, header ...string) call {
	all := map[string]string{extractHeader: "true"}
	for i := 0; i+1 < len(header); i += 2 {
		all[header[i]] = header[i+1]
	}
	return call{method: "PUT", path: "/bucket/archive.tar", body: archive, header: all}
}

func TestAnArchiveBecomesTheObjectsInIt(t *testing.T) {
	large := strings.Repeat("large", 100<<10)
	plain := archived(t, file("./a", "1"), file("/b/c", "22"), file("large", large), tar.Header{Name: "dir/", Typeflag: tar.TypeDir},
		tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "a"}, file("a", "last"),
		tar.Header{Name: "meta", Linkname: "m", Format: tar.FormatPAX, PAXRecords: map[string]string{
			"minio.metadata.Content-Type": "text/x", "minio.metadata.X-Amz-Meta-Of": "me", "minio.metadata.X-Amz-Tagging": "k=v",
		}})
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string]string{"plain": plain, "packed": packed.String()} {
		t.Run(name, func(t *testing.T) {
			f := withBucket(t)
			f.ok(extracting(archive))
			for key, want := range map[string]string{"a": "last", "b/c": "22", "large": large, "dir/": "", "meta": "m"} {
				if got := f.get(key); got != want {
					t.Errorf("%s has %d bytes, want %d", key, len(got), len(want))
				}
			}
			h := f.ok(call{method: "HEAD", path: "/bucket/meta"}).header
			if h.Get("Content-Type") != "text/x" || h.Get("x-amz-meta-of") != "me" || h.Get("x-amz-tagging-count") != "1" {
				t.Errorf("the metadata of an entry is %v", h)
			}
			f.missing("link")
			f.missing("archive.tar")
		})
	}
}

func TestTheEntriesOfAnArchiveGoWhereTheClientSays(t *testing.T) {
	f := withBucket(t)
	f.ok(extracting(archived(t, file("a", "1"), tar.Header{Name: "dir/", Typeflag: tar.TypeDir}), extractPrefix, "into/", extractIgnoreDirs, "true"))
	if f.get("into/a") != "1" {
		t.Error("the prefix is not kept")
	}
	f.missing("into/dir/")
}

func TestABrokenArchiveIsAnErrorAndLeavesNoPartOfAnEntry(t *testing.T) {
	f := withBucket(t)
	whole := archived(t, file("first", "1"), file("second", strings.Repeat("x", 300<<10)))
	for name, archive := range map[string]string{
		"rubbish":       strings.Repeat("rubbish", 1000),
		"cut off":       whole[:len(whole)/2],
		"damaged":       strings.Replace(whole, "second", "sEcond", 1),
		"not gzip":      "\x1f\x8brubbish and more of it",
		"a long key":    archived(t, file(strings.Repeat("k", 1025), "x")),
		"bad tags":      archived(t, tar.Header{Name: "x", Linkname: "m", Format: tar.FormatPAX, PAXRecords: map[string]string{"minio.metadata.x-amz-tagging": "=v"}}),
		"much metadata": archived(t, tar.Header{Name: "x", Linkname: "m", Format: tar.FormatPAX, PAXRecords: map[string]string{"minio.metadata.x-amz-meta-a": strings.Repeat("v", 3000)}}),
	} {
		if r := f.do(extracting(archive)); r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for _, record := range [][2]string{{"x-amz-meta-", "v"}, {"x-amz-meta-a b", "v"}, {"x-amz-meta-a\r\nset-cookie: b", "v"}, {"x-amz-meta-ä", "v"}, {"x-amz-meta-a", "v\r\nset-cookie: b"}, {"x-amz-meta-a", "v\x7f"}} {
		f.refused("InvalidArgument", extracting(archived(t, tar.Header{Name: "x", Linkname: "m", Format: tar.FormatPAX, PAXRecords: map[string]string{"minio.metadata." + record[0]: record[1]}})))
		f.missing("x")
	}
	f.missing("second")
	wrong := extracting(whole)
	wrong.header["Content-MD5"] = md5Base64("other")
	f.refused("BadDigest", wrong)
}

func TestWhatIsWrongWithOneEntryEndsAnArchiveUnlessToldOtherwise(t *testing.T) {
	f := withBucket(t)
	mixed := archived(t, file(strings.Repeat("k", 1025), "x"), file("good", "1"))
	f.refused("KeyTooLongError", extracting(mixed))
	f.missing("good")
	f.ok(extracting(mixed, extractIgnoreErrors, "true"))
	if f.get("good") != "1" {
		t.Error("the good entry is not there")
	}
	f.refused("PreconditionFailed", extracting(archived(t, file("good", "2")), "If-None-Match", "*"))
	if f.get("good") != "1" {
		t.Error("an entry replaced what it must not")
	}
}

func TestEachEntryOfAnArchiveNeedsPermission(t *testing.T) {
	f := withBucket(t)
	f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":["arn:aws:s3:::bucket/archive.tar","arn:aws:s3:::bucket/open/*"]}]}`})
	c := extracting(archived(t, file("open/a", "1"), file("closed", "1")))
	c.anonymous = true
	f.refused("AccessDenied", c)
	f.missing("closed")
}
