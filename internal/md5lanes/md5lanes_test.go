package md5lanes_test

import (
	"crypto/md5" //nolint:gosec // what the sums are held against
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/md5lanes"
)

// TestSumsAreThoseOfMD5HoweverManyThereAre covers sums that are alone and that meet, and
// streams that are broken off while others go on.
func TestSumsAreThoseOfMD5HoweverManyThereAre(t *testing.T) {
	for _, streams := range []int{1, 2, 3, 4, 16, 40} {
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
		p := make([]byte, random.IntN(1<<(7+random.IntN(13))))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		if n, err := sum.Write(p); n != len(p) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(p), err)
		}
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

func TestASumGoesOnAfterItWasTold(t *testing.T) {
	var lanes md5lanes.Lanes
	sum := lanes.Open()
	defer sum.Close()
	for _, written := range []string{"a", "aa", "aaa"} {
		sum.Write([]byte("a"))
		if got, want := fmt.Sprintf("%x", sum.Sum(nil)), fmt.Sprintf("%x", md5.Sum([]byte(written))); got != want { //nolint:gosec // as above
			t.Errorf("%s: got %s, want %s", written, got, want)
		}
	}
}

func TestASumThatIsClosedTakesNothing(t *testing.T) {
	var lanes md5lanes.Lanes
	old, other := lanes.Open(), lanes.Open()
	defer other.Close()
	old.Write([]byte("left"))
	old.Close()
	old.Close()
	for _, size := range []int{1, 1 << 20} {
		if n, err := old.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("wrote %d of %d, %v", n, size, err)
		}
	}
	if got := old.Sum([]byte("b")); string(got) != "b" {
		t.Errorf("a closed sum tells %x", got)
	}
}
