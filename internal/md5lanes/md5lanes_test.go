package md5lanes_test

import (
	"crypto/md5" //nolint:gosec // what the sums are held against
	"fmt"
	"hash"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/md5lanes"
)

// TestSumsAreThoseOfMD5HoweverManyThereAre covers sums with and without a lane, those that
// find none free, and lanes that were left in the middle of another stream.
func TestSumsAreThoseOfMD5HoweverManyThereAre(t *testing.T) {
	for _, streams := range []int{1, 3, 4, 16, 40} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			var lanes md5lanes.Lanes
			for range 3 {
				var group sync.WaitGroup
				for i := range streams {
					sum := lanes.Open()
					group.Go(func() { stream(t, sum, uint64(i)) })
				}
				group.Wait()
			}
		})
	}
}

// stream writes pieces of any size, and closes the sum in the middle or when it was right.
func stream(t *testing.T, sum *md5lanes.Sum, seed uint64) {
	defer sum.Close()
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	want := md5.New()                        //nolint:gosec // as above
	leaves := random.IntN(3) == 0
	for range random.IntN(20) {
		p := make([]byte, random.IntN(100<<10))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		sum.Write(p)
		want.Write(p)
		clear(p) // what was written is the writer's again
		if leaves {
			return
		}
	}
	if got, want := sum.Sum(nil), want.Sum(nil); string(got) != string(want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestASumThatIsClosedTakesNothingFromTheOneThatHasItsLane(t *testing.T) {
	var lanes md5lanes.Lanes
	var open []*md5lanes.Sum
	for range 16 {
		open = append(open, lanes.Open())
	}
	old := open[15]
	old.Write([]byte("left"))
	old.Close()
	old.Close()
	anew := lanes.Open()
	anew.Write([]byte("x"))
	old.Write([]byte("late"))
	if got, want := fmt.Sprintf("%x", anew.Sum(nil)), fmt.Sprintf("%x", md5.Sum([]byte("x"))); got != want { //nolint:gosec // as above
		t.Errorf("got %s, want %s", got, want)
	}
	if got := old.Sum(nil); got != nil {
		t.Errorf("a closed sum tells %x", got)
	}
	for _, s := range append(open, anew) {
		s.Close()
	}
}

func TestSumsGoOnWhenTheirLanesAreClosed(t *testing.T) {
	var lanes md5lanes.Lanes
	var open []*md5lanes.Sum
	for range 8 {
		open = append(open, lanes.Open())
	}
	lanes.Close()
	for i, s := range append(open, lanes.Open()) {
		s.Write([]byte{byte(i)})
		if got, want := fmt.Sprintf("%x", s.Sum(nil)), fmt.Sprintf("%x", md5.Sum([]byte{byte(i)})); got != want { //nolint:gosec // as above
			t.Errorf("sum %d: got %s, want %s", i, got, want)
		}
		s.Close()
	}
}

// BenchmarkStreams compares the sums of streams that are under way at once with crypto/md5.
func BenchmarkStreams(b *testing.B) {
	const size = 4 << 20
	for _, streams := range []int{1, 4, 8, 16} {
		b.Run(fmt.Sprintf("%d/md5", streams), func(b *testing.B) {
			benchmark(b, streams, size, func() hash.Hash { return md5.New() }) //nolint:gosec // as above
		})
		b.Run(fmt.Sprintf("%d/lanes", streams), func(b *testing.B) {
			var lanes md5lanes.Lanes
			benchmark(b, streams, size, func() *md5lanes.Sum { return lanes.Open() })
		})
	}
}

func benchmark[S interface {
	Write(p []byte) (int, error)
	Sum(b []byte) []byte
}](b *testing.B, streams, size int, open func() S,
) {
	piece := make([]byte, 256<<10)
	b.SetBytes(int64(streams * size))
	for b.Loop() {
		var group sync.WaitGroup
		for range streams {
			sum := open()
			group.Go(func() {
				for range size / len(piece) {
					sum.Write(piece)
				}
				sum.Sum(nil)
				if c, ok := any(sum).(*md5lanes.Sum); ok {
					c.Close()
				}
			})
		}
		group.Wait()
	}
}
