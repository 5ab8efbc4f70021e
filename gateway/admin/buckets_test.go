package admin

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
)

// FuzzReadBucketArchive has no file make the reader do anything but refuse or bound it.
func FuzzReadBucketArchive(f *testing.F) {
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	file, err := w.Create("bucket/cors.xml")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := file.Write([]byte("<CORSConfiguration/>")); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(packed.Bytes())
	f.Fuzz(func(t *testing.T, packed []byte) {
		buckets, err := readBucketArchive(packed, "")
		for name, files := range buckets {
			for file, content := range files {
				if err != nil || len(content) > maxBucketFile || strings.Contains(file, "/") {
					t.Errorf("%s/%s: %d bytes, %v", name, file, len(content), err)
				}
			}
		}
	})
}
