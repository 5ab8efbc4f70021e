package unpack_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/shoal-storage/shoal/internal/unpack"
)

// bzipped is "b\n", packed by bzip2, which Go can only unpack.
const bzipped = "QlpoOTFBWSZTWRHViTEAAADBAAAQEAAgACEAgrF3JFOFCQEdWJMQ"

func TestReadsWhateverItIsPackedBy(t *testing.T) {
	packers := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"s2":   func(w io.Writer) io.WriteCloser { return s2.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
		"snappy": func(w io.Writer) io.WriteCloser { return s2.NewWriter(w, s2.WriterSnappyCompat()) },
	}
	content := strings.Repeat("what is packed ", 10000)
	for name, pack := range packers {
		var b bytes.Buffer
		w := pack(&b)
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		packed := b.Bytes()
		if got, err := unpacked(packed); err != nil || got != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if got, err := unpacked(packed[:len(packed)/2]); err == nil {
			t.Errorf("%s, cut off, reads as %d bytes", name, len(got))
		}
	}
	raw, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unpacked(raw); err != nil || got != "b\n" {
		t.Errorf("bzip2: %q, %v", got, err)
	}
	for _, plain := range []string{"", "x", content} {
		if got, err := unpacked([]byte(plain)); err != nil || got != plain {
			t.Errorf("of %d plain bytes there are %d, %v", len(plain), len(got), err)
		}
	}
}

func unpacked(packed []byte) (string, error) {
	r, err := unpack.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	return string(b), r.Close()
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("BZh9"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("\xff\x06\x00\x00S2sTwO"))
	f.Fuzz(func(_ *testing.T, packed []byte) {
		r, err := unpack.NewReader(bytes.NewReader(packed))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		_ = r.Close()
	})
}
