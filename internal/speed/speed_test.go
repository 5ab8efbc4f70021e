package speed_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/speed"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// slow is a Store whose objects take a while, and the first calls of which may fail.
type slow struct {
	speed.Store
	puts, fails atomic.Int64
}

const putTakes, openTakes = 100 * time.Millisecond, 50 * time.Millisecond

func (s *slow) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	if s.puts.Add(1) == s.fails.Load() {
		return object.Info{}, errors.ErrUnsupported
	}
	time.Sleep(putTakes)
	return s.Store.Put(ctx, ref, in)
}

func (s *slow) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	time.Sleep(openTakes)
	return s.Store.Open(ctx, ref)
}

// isEmpty fails the test unless nothing was left behind.
func isEmpty(t *testing.T, store object.Buckets) {
	t.Helper()
	if left, err := store.ListBuckets(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

func TestARoundTellsWhatTheStoreDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := objecttest.NewMemory()
		var results []speed.Result
		cfg := speed.Config{Size: 100_000, Concurrency: 4, Duration: 2 * time.Second, Now: time.Now}
		if err := speed.Objects(t.Context(), &slow{Store: store}, cfg, func(r speed.Result) { results = append(results, r) }); err != nil {
			t.Fatal(err)
		}
		if len(results) != 1 {
			t.Fatalf("%d rounds", len(results))
		}
		r := results[0]
		if r.Put.Objects != 40 || r.Put.Bytes != 4e6 || r.Get.Objects != 80 || r.Get.Bytes != 8e6 || len(r.Put.Took) != 80 || r.Put.Took[0] != putTakes || r.Get.First[0] != openTakes {
			t.Errorf("%+v", r)
		}
		isEmpty(t, store)
	})
}

func TestMoreAtOnceIsTriedAsLongAsItBringsMore(t *testing.T) {
	for atOnce, want := range map[int][]int{speed.MaxConcurrency: {2, 4, 8, 16, 32, 64, 128, 256}, 4: {2, 4, 8}} {
		synctest.Test(t, func(t *testing.T) {
			store := objecttest.NewMemory()
			var at []int
			cfg := speed.Config{Size: 1, Concurrency: 2, Autotune: true, Duration: time.Second, Now: time.Now}
			err := speed.Objects(t.Context(), narrow{&slow{Store: store}, make(chan struct{}, atOnce)}, cfg, func(r speed.Result) { at = append(at, r.Concurrency) })
			if err != nil || !slices.Equal(at, want) {
				t.Errorf("with room for %d: %v at once, want %v; %v", atOnce, at, want, err)
			}
			isEmpty(t, store)
		})
	}
}

// narrow is a Store that writes and reads only so many objects at once.
type narrow struct {
	speed.Store
	room chan struct{}
}

func (n narrow) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	n.room <- struct{}{}
	defer func() { <-n.room }()
	return n.Store.Put(ctx, ref, in)
}

func (n narrow) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	n.room <- struct{}{}
	defer func() { <-n.room }()
	return n.Store.Open(ctx, ref)
}

func TestNothingIsLeftBehind(t *testing.T) {
	for what, tt := range map[string]struct {
		fails int64
		after time.Duration
	}{
		"when the first fails":                  {fails: 1},
		"when a later fails":                    {fails: 10},
		"when it is broken off while it writes": {after: 300 * time.Millisecond},
		"when it is broken off while it reads":  {after: 1500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := objecttest.NewMemory()
			s := &slow{Store: store}
			s.fails.Store(tt.fails)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.after > 0 {
				time.AfterFunc(tt.after, cancel)
			}
			cfg := speed.Config{Size: 100, Concurrency: 3, Duration: time.Second, Now: time.Now}
			if err := speed.Objects(ctx, s, cfg, func(speed.Result) { t.Errorf("%s: a result", what) }); tt.fails > 0 && err == nil {
				t.Errorf("%s: no error", what)
			}
			isEmpty(t, store)
		})
	}
}

func TestBoundsOfATest(t *testing.T) {
	good := speed.Config{Size: 1 << 20, Concurrency: 32, Duration: 10 * time.Second}
	for what, change := range map[string]func(*speed.Config){
		"no size":             func(c *speed.Config) { c.Size = 0 },
		"too long objects":    func(c *speed.Config) { c.Size = speed.MaxSize + 1 },
		"nobody":              func(c *speed.Config) { c.Concurrency = 0 },
		"too many at once":    func(c *speed.Config) { c.Concurrency = speed.MaxConcurrency + 1 },
		"too much at once":    func(c *speed.Config) { c.Size, c.Concurrency = speed.MaxSize, 9 },
		"too short":           func(c *speed.Config) { c.Duration = time.Millisecond },
		"longer than a while": func(c *speed.Config) { c.Duration = time.Hour },
	} {
		cfg := good
		change(&cfg)
		if cfg.Validate() == nil || good.Validate() != nil {
			t.Errorf("%s is taken", what)
		}
	}
}

func TestADriveIsWrittenAndReadAndNothingIsLeft(t *testing.T) {
	dir, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close() //nolint:errcheck // it was only read
	written, read, err := speed.Drive(t.Context(), dir, 1<<20, 4<<20, time.Now)
	if err != nil || written <= 0 || read <= 0 {
		t.Errorf("%f written, %f read, %v", written, read, err)
	}
	fault := vfs.NewFault(dir)
	fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpSync {
			return io.ErrShortWrite
		}
		return nil
	})
	if _, _, err := speed.Drive(t.Context(), fault.Root(), 1<<20, 4<<20, time.Now); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a drive that fails: %v", err)
	}
	if left, err := dir.ReadDir(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, block := range []int64{0, 1000, 32 << 20} {
		if _, _, err := speed.Drive(t.Context(), dir, block, 4<<20, time.Now); err == nil {
			t.Errorf("blocks of %d bytes", block)
		}
	}
}
