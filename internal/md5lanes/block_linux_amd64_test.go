//go:build !purego

package md5lanes

import (
	"crypto/md5" //nolint:gosec // what the sums are held against
	"os"
	"syscall"
	"testing"
)

// TestNothingIsReadBesideTheBlocks has them between pages that cannot be read.
func TestNothingIsReadBesideTheBlocks(t *testing.T) {
	page := os.Getpagesize()
	pages, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(pages) })
	for _, forbidden := range [][]byte{pages[:page], pages[2*page:]} {
		if err := syscall.Mprotect(forbidden, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	blocks := pages[page : 2*page]
	want := md5.Sum(append(make([]byte, md5.BlockSize), blocks...)) //nolint:gosec // as above
	for streams := 2; streams <= width; streams++ {
		var round []*Sum
		for range streams {
			round = append(round, sumOf(make([]byte, md5.BlockSize), blocks))
		}
		sumRound(round)
		for i, s := range round {
			if got := s.Sum(nil); string(got) != string(want[:]) {
				t.Errorf("stream %d of %d: got %x, want %x", i, streams, got, want)
			}
		}
	}
}
