package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
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

// watched is a drive that knows which shards were begun on it, and can refuse changes.
type watched struct {
	erasure.Drive
	mu      sync.Mutex
	begun   []register.DataID
	refuses func(c register.Change) error // nil: nothing
	leaves  func(key register.Key) bool   // what it is brought that it cannot take; nil: nothing
	away    atomic.Bool                   // for scans
	full    atomic.Bool                   // for shards
}

func (w *watched) Install(ctx context.Context, key register.Key, r register.Record, t register.Token) (bool, error) {
	if w.leaves != nil && w.leaves(key) {
		return false, errAway
	}
	return w.Drive.Install(ctx, key, r, t)
}

func (w *watched) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	if w.away.Load() {
		return register.ScanPage{}, errAway
	}
	return w.Drive.Scan(ctx, q)
}

func (w *watched) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	if w.full.Load() {
		return nil, register.ErrFull
	}
	w.mu.Lock()
	w.begun = append(w.begun, id)
	w.mu.Unlock()
	return w.Drive.Create(ctx, id, size)
}

func (w *watched) Commit(ctx context.Context, c register.Change) error {
	if w.refuses != nil {
		if err := w.refuses(c); err != nil {
			return err
		}
	}
	return w.Drive.Commit(ctx, c)
}

func watchedDrives(n int) (all []*watched, as []erasure.Drive) {
	for _, d := range drives(n) {
		d.(*drive.Drive).StartSweeping(slog.New(slog.DiscardHandler))
		w := &watched{Drive: d}
		all, as = append(all, w), append(as, w)
	}
	return all, as
}

// kept returns how many of the shards that were begun are still there.
func kept(all ...*watched) (n int) {
	for _, w := range all {
		for _, id := range w.begun {
			if _, err := w.ReadShard(context.Background(), id, 0, make([]byte, 10)); !errors.Is(err, fs.ErrNotExist) {
				n++
			}
		}
	}
	return n
}

// upload begins an upload with so many parts.
func upload(t *testing.T, s *erasure.Store, parts int) (ref object.UploadRef, in object.CompleteInput) {
	t.Helper()
	up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: at("k", "")}, Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true})
	if err != nil {
		t.Fatal(err)
	}
	in.Size = -1
	for i := range parts {
		p, err := s.PutPart(t.Context(), up.UploadRef, i+1, objecttest.NewBody(bytes.Repeat([]byte{byte(i)}, 5<<20), object.CRC64NVME))
		if err != nil {
			t.Fatal(err)
		}
		in.Parts = append(in.Parts, object.CompletedPart{Number: i + 1, ETag: p.ETag})
	}
	return up.UploadRef, in
}

func TestABucketThatIsDeletedTakesItsUploadsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, as := watchedDrives(4)
		s := open(t, 2, as)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			upload(t, s, 2)
		}
		ctx, cancel := context.WithCancel(t.Context())
		all[0].refuses = func(c register.Change) error {
			if c.Key.Space == register.Buckets {
				cancel() // who has asked for it goes away
			}
			return nil
		}
		if err := s.DeleteBucket(ctx, inBucket); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n := kept(all...); n > 0 {
			t.Errorf("%d shards of parts are left", n)
		}
		for _, space := range []register.Space{register.Uploads, register.Parts} {
			if page, err := all[0].Pending(t.Context(), register.PendingQuery{Space: space, Limit: 10}); err != nil || len(page.Items) > 0 {
				t.Errorf("%d registers of %c are left, %v", len(page.Items), space, err)
			}
		}
	})
}

// Who completes an upload has its lock, and waits for that of the bucket.
func TestABucketIsDeletedWhileItsUploadsAreCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, as := watchedDrives(4)
		s := open(t, 2, as)
		for range 20 {
			if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
				t.Fatal(err)
			}
			ref, in := upload(t, s, 1)
			var completing sync.WaitGroup
			completing.Go(func() { _, _ = s.CompleteUpload(t.Context(), ref, in) })
			begun := time.Now()
			err := s.DeleteBucket(t.Context(), inBucket)
			completing.Wait()
			if took := time.Since(begun); took > time.Second {
				t.Errorf("it took %v", took)
			}
			if errors.Is(err, object.BucketNotEmpty) {
				if _, err = s.Delete(t.Context(), ref.Ref, nil); err == nil {
					err = s.DeleteBucket(t.Context(), inBucket)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// goingAway returns a context that ends when a drive is to remove the second part.
func goingAway(t *testing.T, d *watched) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	var gone atomic.Int64
	d.refuses = func(c register.Change) error {
		if c.Key.Space == register.Parts && c.Record.Kind == register.Tombstone && gone.Add(1) == 2 {
			cancel()
		}
		return nil
	}
	return ctx
}

func TestAnUploadIsEndedAlsoIfWhoAskedForItIsGone(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, s *erasure.Store, ref object.UploadRef, in object.CompleteInput) error{
		"abort": func(ctx context.Context, s *erasure.Store, ref object.UploadRef, _ object.CompleteInput) error {
			return s.AbortUpload(ctx, ref)
		},
		"complete": func(ctx context.Context, s *erasure.Store, ref object.UploadRef, in object.CompleteInput) error {
			_, err := s.CompleteUpload(ctx, ref, in)
			if err == nil {
				_, err = s.Delete(context.WithoutCancel(ctx), ref.Ref, nil)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, as := watchedDrives(4)
				s := open(t, 2, as)
				if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
					t.Fatal(err)
				}
				ref, in := upload(t, s, 20)
				if err := end(goingAway(t, all[0]), s, ref, in); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Minute)
				if n := kept(all...); n > 0 {
					t.Errorf("%d shards of parts are left", n)
				}
			})
		})
	}
}

// The gateway waits 20 s for an abort.
func TestAnAbortOfManyPartsIsOverSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, as := watchedDrives(4)
		s := open(t, 2, as)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
			t.Fatal(err)
		}
		ref, _ := upload(t, s, 1)
		for n := range 1999 {
			if _, err := s.PutPart(t.Context(), ref, n+2, objecttest.NewBody([]byte("part"), object.CRC64NVME)); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range all {
			w.refuses = func(register.Change) error { time.Sleep(10 * time.Millisecond); return nil }
		}
		begun := time.Now()
		if err := s.AbortUpload(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Minute)
		if n := kept(all...); n > 0 {
			t.Errorf("%d shards of parts are left", n)
		}
	})
}
