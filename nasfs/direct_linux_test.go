package nasfs_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// TestALargeObjectOnALocalDiskIsWhatWasPut puts objects of which most is written past the page
// cache, and the end is not.
func TestALargeObjectOnALocalDiskIsWhatWasPut(t *testing.T) {
	s := open(t, config(t, osRoot(t)))
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{8 << 20, 8<<20 + 1, 9<<20 + 4096, 10<<20 - 1} {
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(content) // never fails
		if _, err := s.Put(t.Context(), ref("k"), object.PutInput{Body: body(string(content))}); err != nil {
			t.Fatal(err)
		}
		h, err := s.Open(t.Context(), ref("k"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(h.Range(0, int64(size)))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("of %d bytes %d came back, or others: %v", size, len(got), err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
