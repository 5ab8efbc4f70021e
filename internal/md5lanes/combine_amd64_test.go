//go:build !purego

package md5lanes

import (
	"crypto/md5" //nolint:gosec // what the sums are held against
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// writing is a stream that a goroutine writes at once.
type writing struct {
	sum     *Sum
	content []byte
	ended   bool
}

// write begins one.
func write(l *Lanes, group *sync.WaitGroup, size int) *writing {
	w := &writing{sum: l.Open(), content: make([]byte, size)}
	for i := range w.content {
		w.content[i] = byte(i * size)
	}
	group.Go(func() {
		w.sum.Write(w.content)
		w.ended = true
	})
	return w
}

func (w *writing) check(t *testing.T) {
	t.Helper()
	defer w.sum.Close()
	if got, want := w.sum.Sum(nil), md5.Sum(w.content); string(got) != string(want[:]) { //nolint:gosec // as above
		t.Errorf("%d bytes: got %x, want %x", len(w.content), got, want)
	}
}

func TestACombinerSumsWhatOthersHandedOverAndOneOfThemFollowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lanes
		var group sync.WaitGroup
		own := l.Open()
		defer own.Close()
		l.now = 1 // it is own
		short, long := write(&l, &group, 100_000), write(&l, &group, 1_000_000)
		synctest.Wait()
		if short.ended || long.ended {
			t.Error("somebody did not wait")
		}
		own.job.left = make([]byte, 3000*md5.BlockSize)
		l.combine(own)
		synctest.Wait()
		if !short.ended || long.ended {
			t.Errorf("ended: the short one %v, the long one %v", short.ended, long.ended)
		}
		l.leave()
		group.Wait()
		short.check(t)
		long.check(t)
		if l.now != 0 || len(l.queue) != 0 {
			t.Errorf("%d combiners, %d wait", l.now, len(l.queue))
		}
	})
}

func TestManyDoNotWaitForOneCombiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lanes
		var group sync.WaitGroup
		own := l.Open()
		defer own.Close()
		l.now = 1 // it is own, which does nothing
		var all []*writing
		for range width + 1 {
			all = append(all, write(&l, &group, 300_000))
			synctest.Wait()
		}
		if all[0].ended != all[1].ended || all[2].ended || !all[width].ended {
			t.Error("the last one had to sum its own, and what waited longest")
		}
		l.leave()
		group.Wait()
		for _, w := range all {
			w.check(t)
		}
	})
}

// FuzzBlocks holds the sums of streams of several lengths against crypto/md5, from any
// state on.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte("the state"), make([]byte, 6*md5.BlockSize))
	f.Add([]byte{}, []byte(strings.Repeat("content", 1000)))
	f.Add([]byte{}, make([]byte, 4*width*together*md5.BlockSize))
	f.Fuzz(func(t *testing.T, before, content []byte) {
		for streams := 2; streams <= width; streams++ {
			var all, round []*Sum
			var want []string
			for i := range streams {
				n := len(content) / (streams - i + 1) / md5.BlockSize * md5.BlockSize
				all = append(all, sumOf(before, content[:n]))
				one := sumOf(before, nil)
				one.hash.Write(content[:n])
				want = append(want, string(one.Sum(nil)))
				content = content[n:]
			}
			for round = hasLeft(all); len(round) > 0; round = hasLeft(all) {
				sumRound(round)
			}
			for i, s := range all {
				if got := string(s.Sum(nil)); got != want[i] {
					t.Errorf("stream %d of %d: got %x, want %x", i, streams, got, want[i])
				}
			}
		}
	})
}

func hasLeft(all []*Sum) (some []*Sum) {
	for _, s := range all {
		if len(s.job.left) > 0 {
			some = append(some, s)
		}
	}
	return some
}

// sumOf returns a sum of whole blocks that begin with some bytes, and has left what is to come.
func sumOf(before, left []byte) *Sum {
	s := &Sum{hash: md5.New(), job: newJob()} //nolint:gosec // as above
	s.hash.Write(before)
	s.hash.Write(make([]byte, -len(before)&(md5.BlockSize-1)))
	s.job.left = left
	return s
}
