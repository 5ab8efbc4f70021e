package usage_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
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
