package nasfs_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/nasfs"
)

// benchStore opens a Store with a bucket over a real directory.
func benchStore(b *testing.B, durability nasfs.Durability) *nasfs.Store {
	b.Helper()
	cfg := config(b, osRoot(b))
	cfg.Durability = durability
	s := open(b, cfg)
	if err := s.CreateBucket(b.Context(), object.Bucket{Name: bucket}); err != nil {
		b.Fatal(err)
	}
	return s
}

func mustPut(b *testing.B, s *nasfs.Store, key string, content []byte) {
	b.Helper()
	if _, err := s.Put(b.Context(), ref(key), object.PutInput{Body: objecttest.NewBody(content, object.NoAlgorithm)}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPut4KiB(b *testing.B) {
	content := make([]byte, 4<<10)
	for name, durability := range map[string]nasfs.Durability{"strict": nasfs.Strict, "relaxed": nasfs.Relaxed} {
		b.Run(name, func(b *testing.B) {
			s := benchStore(b, durability)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				mustPut(b, s, fmt.Sprintf("dir/%d", n%1000), content)
				n++
			}
		})
	}
}

func BenchmarkStat(b *testing.B) {
	s := benchStore(b, nasfs.Relaxed)
	mustPut(b, s, "dir/k", make([]byte, 4<<10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Stat(b.Context(), ref("dir/k")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAndRead4KiB(b *testing.B) {
	s := benchStore(b, nasfs.Relaxed)
	mustPut(b, s, "dir/k", make([]byte, 4<<10))
	b.ReportAllocs()
	for b.Loop() {
		h, err := s.Open(b.Context(), ref("dir/k"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, h.Range(0, h.Info().Size)); err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListOf100000 lists pages of 1,000 in a flat bucket whose snapshot is
// there already; it is read anew every 3 s, as in use.
func BenchmarkListOf100000(b *testing.B) {
	s := benchStore(b, nasfs.Relaxed)
	for i := range 100_000 {
		mustPut(b, s, fmt.Sprintf("%06d", i), nil)
	}
	for name, after := range map[string]string{"first page": "", "last page": "098999"} {
		b.Run(name, func(b *testing.B) {
			if _, err := s.List(b.Context(), object.Query{Bucket: bucket, After: after, Limit: 1000}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				page, err := s.List(b.Context(), object.Query{Bucket: bucket, After: after, Limit: 1000})
				if err != nil || len(page.Objects) != 1000 {
					b.Fatal(len(page.Objects), err)
				}
			}
		})
	}
}

// BenchmarkComplete assembles three parts of 8 MiB.
func BenchmarkComplete(b *testing.B) {
	s := benchStore(b, nasfs.Relaxed)
	content := bytes.Repeat([]byte("x"), 8<<20)
	b.SetBytes(3 * int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		up, err := s.CreateUpload(b.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref("k")}, Algorithm: object.CRC64NVME})
		if err != nil {
			b.Fatal(err)
		}
		in := object.CompleteInput{Size: -1}
		for n := 1; n <= 3; n++ {
			p, err := s.PutPart(b.Context(), up.UploadRef, n, objecttest.NewBody(content, object.CRC64NVME))
			if err != nil {
				b.Fatal(err)
			}
			in.Parts = append(in.Parts, object.CompletedPart{Number: n, ETag: p.ETag})
		}
		b.StartTimer()
		if _, err := s.CompleteUpload(b.Context(), up.UploadRef, in); err != nil {
			b.Fatal(err)
		}
	}
}
