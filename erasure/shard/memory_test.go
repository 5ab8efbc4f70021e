package shard_test

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

// TestMemoryThatSomebodyMayWriteToIsNotUsedAgain has Readers use memory of those before, while what
// failed goes on writing to what it was given.
func TestMemoryThatSomebodyMayWriteToIsNotUsedAgain(t *testing.T) {
	content := random(3 << 20)
	s := write(t, 2, 2, content, true)
	var late sync.WaitGroup
	var kept [][]byte
	var mu sync.Mutex
	source := func(i int, offset int64, p []byte) error {
		if i == 0 {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, p)
			return errGone
		}
		return s.source(i, offset, p)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 10 {
				r := s.codec.NewReader(s.id, s.size, 0, s.size, source, nil)
				got, err := io.ReadAll(r)
				r.Free()
				r.Free()
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes of %d, or others: %v", len(got), len(content), err)
				}
				mu.Lock()
				for _, p := range kept {
					late.Go(func() { clear(p) })
				}
				kept = nil
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	late.Wait()
}
