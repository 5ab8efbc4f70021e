package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// stuck is a drive that can be made to hang.
type stuck struct {
	erasure.Drive
	hangs atomic.Bool
	free  chan struct{}
}

func (s *stuck) wait() {
	if s.hangs.Load() {
		<-s.free
	}
}

func (s *stuck) Commit(ctx context.Context, c register.Change) error {
	s.wait()
	return s.Drive.Commit(ctx, c)
}

func (s *stuck) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	s.wait()
	return s.Drive.Promise(ctx, t, q)
}

func (s *stuck) Read(ctx context.Context, q register.Query) (register.View, error) {
	s.wait()
	return s.Drive.Read(ctx, q)
}

func (s *stuck) Decide(ctx context.Context, all []register.Decision) error {
	s.wait()
	return s.Drive.Decide(ctx, all)
}

func (s *stuck) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	s.wait()
	return s.Drive.Scan(ctx, q)
}

func (s *stuck) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	s.wait()
	return s.Drive.ReadShard(ctx, id, offset, p)
}

func (s *stuck) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	w, err := s.Drive.Create(ctx, id, size)
	return &stuckWriter{w, s}, err
}

type stuckWriter struct {
	register.ShardWriter
	s *stuck
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.s.wait()
	return w.ShardWriter.Write(p)
}

func (w *stuckWriter) Finish() error {
	w.s.wait()
	return w.ShardWriter.Finish()
}

// TestADriveThatHangsKeepsNobodyWaiting has each of four drives hang, in the middle of it
// all. In virtual time everything goes on within seconds.
func TestADriveThatHangsKeepsNobodyWaiting(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := drives(4)
				bad := &stuck{Drive: all[i], free: make(chan struct{})}
				all[i] = bad
				s := open(t, 2, all)
				defer time.Sleep(time.Minute) // what was left comes to its end
				defer close(bad.free)
				if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
					t.Fatal(err)
				}
				sizes := []int{100, 20_000, 3_000_000}
				put := func(key string, size int) {
					t.Helper()
					if _, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: key}, object.PutInput{Body: objecttest.NewBody(make([]byte, size), object.CRC64NVME)}); err != nil {
						t.Errorf("put %s: %v", key, err)
					}
				}
				for _, size := range sizes {
					put(fmt.Sprint("before ", size), size)
				}
				bad.hangs.Store(true)
				start := time.Now()
				for _, size := range sizes {
					put(fmt.Sprint("while ", size), size)
				}
				for _, size := range sizes {
					for _, when := range []string{"before ", "while "} {
						h, err := s.Open(t.Context(), object.Ref{Bucket: "bucket", Key: fmt.Sprint(when, size)})
						if err != nil {
							t.Errorf("open %s%d: %v", when, size, err)
							continue
						}
						if b, err := io.ReadAll(h.Range(0, int64(size))); err != nil || len(b) != size {
							t.Errorf("read %s%d: %d bytes, %v", when, size, len(b), err)
						}
					}
				}
				page, err := s.List(t.Context(), object.Query{Bucket: "bucket", Limit: 100})
				if err != nil || len(page.Objects) != 6 {
					t.Errorf("list: %d objects, %v", len(page.Objects), err)
				}
				if _, err := s.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "before 100"}, nil); err != nil {
					t.Errorf("delete: %v", err)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// slow is a drive that takes its time for each commit, as a disk that makes many durable at once.
type slow struct{ erasure.Drive }

func (s *slow) Commit(ctx context.Context, c register.Change) error {
	time.Sleep(400 * time.Millisecond)
	return s.Drive.Commit(ctx, c)
}

func TestDrivesThatAreSlowRefuseNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := drives(4)
		for i := range all {
			all[i] = &slow{all[i]}
		}
		s := open(t, 2, all)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for i := range 1000 { // many more than may be inside of a drive
			writers.Go(func() {
				ref := object.Ref{Bucket: "bucket", Key: fmt.Sprint(i)}
				if _, err := s.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody([]byte("x"), object.NoAlgorithm)}); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		time.Sleep(time.Minute) // the last ones are told that they are committed
	})
}

// busy is a drive that can be made to answer that it was not asked, as one of which too many calls are under way.
type busy struct {
	erasure.Drive
	full atomic.Bool
}

func (b *busy) Commit(ctx context.Context, c register.Change) error {
	if b.full.Load() {
		return fmt.Errorf("not asked: %w", register.ErrUnknown)
	}
	return b.Drive.Commit(ctx, c)
}

func TestWhoseDrivesCouldNotBeAskedHearsThatNothingWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, full := drives(4), make([]*busy, 4)
		for i := range all {
			full[i] = &busy{Drive: all[i]}
			all[i] = full[i]
		}
		s := open(t, 2, all)
		put := func() error {
			_, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "key"}, object.PutInput{Body: objecttest.NewBody([]byte("x"), object.NoAlgorithm)})
			return err
		}
		if err := errors.Join(s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}), put()); err != nil {
			t.Fatal(err)
		}
		for _, d := range full {
			d.full.Store(true)
		}
		if err := put(); !errors.Is(err, object.Unavailable) {
			t.Errorf("it is %v", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestADriveThatWasNotAskedIsToldFromOneThatDidNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
		defer inner.Close()
		d := &stuck{Drive: inner, free: make(chan struct{})}
		d.hangs.Store(true)
		guarded := erasure.Guard(d)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var first sync.WaitGroup
		for range 128 {
			first.Go(func() {
				if err := guarded.Commit(ctx, register.Change{}); err == nil || errors.Is(err, register.ErrUnknown) {
					t.Errorf("what is inside of it may be done yet: %v", err)
				}
			})
		}
		synctest.Wait()
		if err := guarded.Commit(ctx, register.Change{}); !errors.Is(err, register.ErrUnknown) || ctx.Err() != nil {
			t.Errorf("it was not asked: %v", err)
		}
		first.Wait()
		close(d.free)
		synctest.Wait()
	})
}

// told is a drive that notes how long shards are said to be.
type told struct {
	erasure.Drive
	mu    sync.Mutex
	sizes []int64
}

func (d *told) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = append(d.sizes, size)
	return d.Drive.Create(ctx, id, size)
}

func TestEveryDriveIsToldHowLongAShardWillBe(t *testing.T) {
	all, heard := drives(4), make([]*told, 4)
	for i := range all {
		heard[i] = &told{Drive: all[i]}
		all[i] = heard[i]
	}
	s := open(t, 2, all)
	body := objecttest.NewBody(make([]byte, 10<<20), object.NoAlgorithm)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "key"}, object.PutInput{Body: body}); err != nil {
		t.Fatal(err)
	}
	for i, d := range heard {
		if len(d.sizes) != 1 || d.sizes[0] < 5<<20 || d.sizes[0] > 6<<20 {
			t.Errorf("drive %d is told %d", i, d.sizes)
		}
	}
}
