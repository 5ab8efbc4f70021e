package erasure_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// TestNobodyWaitsForALockThatIsOfNoUse has a lock be held by somebody who cannot be reached.
func TestNobodyWaitsForALockThatIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker := lock.NewLocal(1)
		defer locker.Close()
		var few atomic.Bool
		s, err := erasure.New(context.Background(), erasure.Config{
			Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
			Sets: []erasure.SetConfig{{Drives: drives(4), Parity: 2, Writable: func() error {
				if few.Load() {
					return errors.New("too few drives can be reached")
				}
				return nil
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		held, err := locker.Acquire(t.Context(), lock.Exclusive, "b/bucket")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(30*time.Second, func() { few.Store(true) })
		begun := time.Now()
		err = s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"})
		if waited := time.Since(begun); object.KindOf(err) != object.Unavailable || waited < 30*time.Second || waited > 32*time.Second {
			t.Errorf("it gives up after %v: %v", waited, err)
		}
		begun = time.Now()
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); object.KindOf(err) != object.Unavailable || time.Since(begun) != 0 {
			t.Errorf("who comes later gives up after %v: %v", time.Since(begun), err)
		}
		few.Store(false)
		time.AfterFunc(10*time.Second, held.Release)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
			t.Errorf("once there are enough: %v", err)
		}
	})
}
