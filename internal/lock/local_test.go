package lock_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/shoal-storage/shoal/internal/lock"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")

func acquire(t *testing.T, l lock.Locker, mode lock.Mode, names ...string) lock.Lease {
	t.Helper()
	ls, err := l.Acquire(t.Context(), mode, names...)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// later acquires in a goroutine and returns whether it has been granted.
func later(t *testing.T, l lock.Locker, mode lock.Mode, order *[]string, mu *sync.Mutex, tag string, names ...string) {
	go func() {
		ls, err := l.Acquire(t.Context(), mode, names...)
		if err != nil {
			return
		}
		mu.Lock()
		*order = append(*order, tag)
		mu.Unlock()
		ls.Release()
	}()
	synctest.Wait()
}

func TestLeasesAreGrantedInOrderOfArrivalAndSharedOnesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lock.NewLocal(1)
		var mu sync.Mutex
		var order []string
		first := acquire(t, l, lock.Shared, "k")
		later(t, l, lock.Shared, &order, &mu, "beside", "k")
		later(t, l, lock.Exclusive, &order, &mu, "writer", "k")
		later(t, l, lock.Shared, &order, &mu, "reader behind writer", "k")
		later(t, l, lock.Exclusive, &order, &mu, "other name", "j")
		mu.Lock()
		if want := []string{"beside", "other name"}; !slices.Equal(order, want) {
			t.Errorf("granted while a shared lease is held: %q, want %q", order, want)
		}
		mu.Unlock()
		first.Release()
		synctest.Wait()
		if want := []string{"beside", "other name", "writer", "reader behind writer"}; !slices.Equal(order, want) {
			t.Errorf("granted %q, want %q", order, want)
		}
	})
}

func TestACancelledWaitLetsThoseBehindItPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lock.NewLocal(1)
		reader := acquire(t, l, lock.Shared, "k")
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, lock.Exclusive, "k")
			failed <- err
		}()
		synctest.Wait()
		var mu sync.Mutex
		var order []string
		later(t, l, lock.Shared, &order, &mu, "reader", "k")
		cancel()
		synctest.Wait()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if len(order) != 1 {
			t.Error("the reader behind the cancelled writer still waits")
		}
		reader.Release()
		acquire(t, l, lock.Exclusive, "k").Release()
	})
}

func TestACancelledAcquireOfManyNamesHoldsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lock.NewLocal(1)
		b := acquire(t, l, lock.Exclusive, "b")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		if _, err := l.Acquire(ctx, lock.Exclusive, "c", "a", "b", "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		acquire(t, l, lock.Exclusive, "a", "c").Release()
		b.Release()
	})
}

func TestTokensRiseWithEveryGrantAndGeneration(t *testing.T) {
	var last lock.Token
	for generation := range uint32(3) {
		l := lock.NewLocal(generation + 1)
		for i := range 10 {
			ls := acquire(t, l, lock.Exclusive, "k", fmt.Sprint(i))
			if ls.Token().Compare(last) <= 0 {
				t.Fatalf("%v after %v", ls.Token(), last)
			}
			last = ls.Token()
			ls.Release()
		}
	}
}

func TestSessionIDsAreUniqueAndWellFormed(t *testing.T) {
	a, b := lock.NewLocal(7).Session().ID(), lock.NewLocal(7).Session().ID()
	if a == b || len(a) > 64 {
		t.Errorf("%q and %q", a, b)
	}
}

func TestALeaseNamesTheSessionThatItWasGrantedIn(t *testing.T) {
	l := lock.NewLocal(1)
	ls := acquire(t, l, lock.Exclusive, "k")
	if got, want := ls.Session().ID(), l.Session().ID(); got != want {
		t.Errorf("session %q, want %q", got, want)
	}
	l.Close()
	if got, want := ls.Session().ID(), l.Session().ID(); got != want {
		t.Errorf("after the end: session %q, want %q", got, want)
	}
}

func TestClosingLosesLeasesAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lock.NewLocal(1)
		held := acquire(t, l, lock.Exclusive, "k")
		ctx := held.Context()
		failed := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), lock.Exclusive, "k")
			failed <- err
		}()
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("lost before its time")
		}
		l.Close()
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), lock.ErrLost) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		if err := <-failed; !errors.Is(err, lock.ErrLost) {
			t.Errorf("waiter got %v", err)
		}
		if _, err := l.Acquire(t.Context(), lock.Shared, "x"); !errors.Is(err, lock.ErrLost) {
			t.Errorf("after close: %v", err)
		}
		held.Release()
		held.Release()
	})
}

func TestALeaseContextEndsWithItsParentAndWithRelease(t *testing.T) {
	l := lock.NewLocal(1)
	parent, cancel := context.WithCancel(t.Context())
	ls, err := l.Acquire(parent, lock.Exclusive, "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx := ls.Context()
	cancel()
	if ctx.Err() == nil {
		t.Error("outlives its parent")
	}
	ls.Release()
	ls = acquire(t, l, lock.Exclusive, "k")
	ls.Release()
	if ls.Context().Err() == nil {
		t.Error("not done after Release")
	}
}

// TestRandomHoldersNeverBreakExclusion lets goroutines take random sets of
// names in random modes, some with a context that ends at a random moment.
func TestRandomHoldersNeverBreakExclusion(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	l := lock.NewLocal(1)
	names := []string{"a", "b", "c", "d"}
	var readers, writers [4]atomic.Int32
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(s, g))
			for range 2000 {
				var picked []string
				var idx []int
				for i, n := range names {
					if rng.IntN(2) == 0 {
						picked, idx = append(picked, n), append(idx, i)
					}
				}
				rng.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
				mode := lock.Mode(1 + rng.IntN(2))
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(3) == 0 {
					go cancel()
				}
				ls, err := l.Acquire(ctx, mode, picked...)
				if err == nil {
					for _, i := range idx {
						enter(t, mode, &readers[i], &writers[i])
					}
					for _, i := range idx {
						if mode == lock.Shared {
							readers[i].Add(-1)
						} else {
							writers[i].Add(-1)
						}
					}
					ls.Release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	acquire(t, l, lock.Exclusive, names...).Release()
}

func enter(t *testing.T, mode lock.Mode, readers, writers *atomic.Int32) {
	if mode == lock.Shared {
		readers.Add(1)
		if writers.Load() != 0 {
			t.Error("a reader beside a writer")
		}
		return
	}
	if writers.Add(1) != 1 || readers.Load() != 0 {
		t.Error("a writer beside another holder")
	}
}

func BenchmarkAcquireUncontended(b *testing.B) {
	l := lock.NewLocal(1)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		ls, err := l.Acquire(ctx, lock.Exclusive, "o/bucket/some/key")
		if err != nil {
			b.Fatal(err)
		}
		ls.Release()
	}
}

func BenchmarkAcquireParallelDistinctNames(b *testing.B) {
	l := lock.NewLocal(1)
	var n atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprintf("o/bucket/%d", n.Add(1))
		for pb.Next() {
			ls, err := l.Acquire(b.Context(), lock.Exclusive, name)
			if err != nil {
				b.Error(err)
				return
			}
			ls.Release()
		}
	})
}
