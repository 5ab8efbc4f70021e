package usage_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/quota"
	"github.com/shoal-storage/shoal/internal/usage"
)

// records are records in memory.
type records struct {
	mu       sync.Mutex
	values   map[string][]byte
	revision uint64
}

func (r *records) Get(name string) ([]byte, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values[name], r.revision, nil
}

func (r *records) List(prefix string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(r.values)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

func (r *records) Set(_ context.Context, name string, value []byte, revision uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if revision != r.revision {
		return quota.ErrChanged
	}
	r.revision++
	if r.values[name] = value; value == nil {
		delete(r.values, name)
	}
	return nil
}

func (r *records) Changed() <-chan struct{} { return nil }
func (r *records) Current() string          { return "session" }
func (r *records) Live(string) bool         { return true }

func put(t *testing.T, store object.Store, bucket, key string, size int) {
	t.Helper()
	_, err := store.Put(t.Context(), object.Ref{Bucket: bucket, Key: key}, object.PutInput{Body: objecttest.NewBody(make([]byte, size), object.CRC64NVME)})
	if err != nil {
		t.Fatal(err)
	}
}

func bucket(t *testing.T, store object.Store, b object.Bucket) {
	t.Helper()
	b.Created = time.Unix(1, 0)
	if err := store.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestCountTellsObjectsVersionsAndMarkersApart(t *testing.T) {
	store := objecttest.NewMemory()
	bucket(t, store, object.Bucket{Name: "bucket", Versioning: object.Versioned})
	for i := range 1500 {
		put(t, store, "bucket", fmt.Sprint("k", i), 10)
	}
	put(t, store, "bucket", "k1", 2<<20)
	if _, err := store.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "k2"}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := usage.Count(t.Context(), store, "bucket", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	want := usage.Usage{Bytes: 15000 + 2<<20, Objects: 1499, Versions: 1501, Markers: 1, At: u.At}
	want.Sizes[0], want.Sizes[2] = 1498, 1
	if u != want {
		t.Errorf("counted %+v, want %+v", u, want)
	}
}

func TestTheWorkerCountsAllBucketsOnceADayAndForgetsThoseThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r := objecttest.NewMemory(), &records{values: map[string][]byte{}}
		bucket(t, store, object.Bucket{Name: "one"})
		bucket(t, store, object.Bucket{Name: "two", Documents: map[string]string{quota.Document: quota.Limit{Bytes: 100}.String()}})
		put(t, store, "one", "k", 10)
		put(t, store, "two", "k", 10)
		locker := lock.NewLocal(1)
		defer locker.Close()
		w := usage.Worker{Store: store, Locker: locker, Records: r, Accounts: quota.NewAccounts(r, r, time.Now), Log: slog.New(slog.DiscardHandler), Now: time.Now, Every: 24 * time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		known := func(name string) int64 {
			t.Helper()
			b, err := store.StatBucket(t.Context(), name)
			if err != nil {
				b = object.Bucket{Name: name}
			}
			u, there, err := w.Known(b)
			if err != nil {
				t.Fatal(err)
			}
			if !there {
				return -1
			}
			return u.Bytes
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if known("one") != 10 || known("two") != 10 {
			t.Errorf("known are %d and %d bytes", known("one"), known("two"))
		}
		put(t, store, "one", "more", 5)
		time.Sleep(time.Hour)
		if known("one") != 10 {
			t.Error("it was counted again within the day")
		}
		if _, err := store.Delete(t.Context(), object.Ref{Bucket: "two", Key: "k"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := store.DeleteBucket(t.Context(), "two"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if known("one") != 15 || known("two") != -1 {
			t.Errorf("a day later, known are %d and %d bytes", known("one"), known("two"))
		}
		if len(r.values) != 1 {
			t.Errorf("kept are %d records", len(r.values))
		}
		cancel()
		running.Wait()
	})
}

// lister is a Store that counts who looks at what it holds.
type lister struct {
	object.Store
	pages, stats, lists atomic.Int64
}

func (l *lister) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	l.pages.Add(1)
	return l.Store.ListVersions(ctx, q)
}

func (l *lister) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	l.stats.Add(1)
	return l.Store.StatBucket(ctx, name)
}

func (l *lister) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	l.lists.Add(1)
	return l.Store.ListBuckets(ctx)
}

// gateways are two that share a Store; the first one counts.
type gateways struct {
	storage        *lister
	r              *records
	first, another *usage.Worker
	through        *quota.Store // the other one
}

func run(t *testing.T, test func(t *testing.T, g *gateways)) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateways{storage: &lister{Store: objecttest.NewMemory()}, r: &records{values: map[string][]byte{}}}
		locker := lock.NewLocal(1)
		defer locker.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer func() {
			cancel()
			running.Wait()
		}()
		for _, w := range []**usage.Worker{&g.first, &g.another} {
			accounts := quota.NewAccounts(g.r, g.r, time.Now)
			limited := quota.NewStore(g.storage, accounts)
			*w = &usage.Worker{Store: limited, Locker: locker, Records: g.r, Accounts: accounts, Log: slog.New(slog.DiscardHandler), Now: time.Now, Every: 24 * time.Hour}
			limited.Written, g.through = (*w).Written, limited
			running.Go(func() { (*w).Run(ctx) })
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Minute)
		test(t, g)
	})
}

func (g *gateways) make(t *testing.T, name string) {
	t.Helper()
	if err := g.through.CreateBucket(t.Context(), object.Bucket{Name: name, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

// known is how many bytes are known to be in a bucket, -1 if nothing is.
func (g *gateways) known(t *testing.T, name string) int64 {
	t.Helper()
	u, known, err := g.first.Known(object.Bucket{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		return -1
	}
	return u.Bytes
}

func TestABucketThatIsWrittenToIsCountedAgainWhenItIsTwiceAsOld(t *testing.T) {
	run(t, func(t *testing.T, g *gateways) {
		g.make(t, "young")
		put(t, g.through, "young", "k", 10)
		time.Sleep(3 * time.Minute)
		if got := g.known(t, "young"); got != 10 {
			t.Errorf("minutes after it was made, %d bytes are known", got)
		}
		counts, written := g.storage.pages.Load(), int64(10)
		for range 12 * 60 { // of the day's first half, each minute
			put(t, g.through, "young", fmt.Sprint("k", written), 1)
			written++
			time.Sleep(time.Minute)
		}
		if got := g.known(t, "young"); got < written/3 || g.storage.pages.Load()-counts > 10 {
			t.Errorf("of %d bytes %d are known, after %d more counts", written, got, g.storage.pages.Load()-counts)
		}
	})
}

func TestStorageIsNotTouchedForABucketThatNobodyHasWrittenTo(t *testing.T) {
	run(t, func(t *testing.T, g *gateways) {
		g.make(t, "young")
		put(t, g.through, "young", "k", 10)
		time.Sleep(10 * time.Minute)
		pages, stats, lists := g.storage.pages.Load(), g.storage.stats.Load(), g.storage.lists.Load()
		time.Sleep(23 * time.Hour)
		if p, s, l := g.storage.pages.Load(), g.storage.stats.Load(), g.storage.lists.Load(); p != pages || s != stats || l != lists {
			t.Errorf("pages %d, stats %d and lists %d became %d, %d and %d", pages, stats, lists, p, s, l)
		}
		time.Sleep(time.Hour)
		if g.storage.pages.Load() != pages+1 {
			t.Errorf("a day later it was looked at %d times", g.storage.pages.Load()-pages)
		}
	})
}

// countSlowly counts a bucket, while something is done after it was looked at.
func (g *gateways) countSlowly(t *testing.T, name string, do func()) int64 {
	t.Helper()
	b, err := g.storage.StatBucket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	w := &usage.Worker{Store: &slow{lister: g.storage, do: do}, Records: g.r, Now: time.Now, Every: 24 * time.Hour}
	u, err := w.Count(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return u.Bytes
}

func TestWhatIsWrittenWhileABucketIsCountedIsSeenByTheNextCount(t *testing.T) {
	run(t, func(t *testing.T, g *gateways) {
		g.make(t, "young")
		time.Sleep(10 * time.Minute)
		put(t, g.through, "young", "k", 1)
		time.Sleep(3 * time.Minute) // it was counted, and is not again for the next ten
		got := g.countSlowly(t, "young", func() {
			put(t, g.through, "young", "more", 10)
			time.Sleep(2 * time.Minute) // the other gateway says so
		})
		if got != 1 || g.known(t, "young") != 1 {
			t.Fatalf("counted %d bytes, known are %d", got, g.known(t, "young"))
		}
		time.Sleep(time.Hour)
		if got := g.known(t, "young"); got != 11 {
			t.Errorf("known are %d bytes", got)
		}
	})
}

func TestACountThatEndsLateDoesNotReplaceALaterOne(t *testing.T) {
	run(t, func(t *testing.T, g *gateways) {
		g.make(t, "young")
		time.Sleep(10 * time.Minute)
		g.countSlowly(t, "young", func() {
			put(t, g.through, "young", "more", 10)
			time.Sleep(5 * time.Minute) // it is counted by the worker
		})
		if got := g.known(t, "young"); got != 10 {
			t.Errorf("known are %d bytes", got)
		}
	})
}

// slow is a lister that does something after it has looked.
type slow struct {
	*lister
	do func()
}

func (s *slow) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	page, err := s.lister.ListVersions(ctx, q)
	s.do()
	return page, err
}

func TestABucketThatIsMadeAnewHasNothingOfTheOneBefore(t *testing.T) {
	run(t, func(t *testing.T, g *gateways) {
		g.make(t, "bucket")
		put(t, g.through, "bucket", "k", 10)
		time.Sleep(12 * time.Hour)
		if _, err := g.through.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := g.through.DeleteBucket(t.Context(), "bucket"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if got := g.known(t, "bucket"); got != -1 || len(g.r.values) != 0 {
			t.Errorf("of a bucket that is gone %d bytes are known, and %d records kept", got, len(g.r.values))
		}
		g.make(t, "bucket")
		put(t, g.through, "bucket", "k", 5)
		time.Sleep(3 * time.Minute)
		if got := g.known(t, "bucket"); got != 5 {
			t.Errorf("of the one that was made anew %d bytes are known", got)
		}
	})
}
