package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// lockName is what one gateway of all that serve the buckets holds. It is of a kind
// that no Store locks.
const lockName = "l/lifecycle"

// How the Worker waits, unless Every says otherwise.
const (
	settle = 5 * time.Minute  // after it has got the lock
	behind = 10 * time.Minute // midnight, when rules come to be due
)

// Worker sweeps the buckets once a day, in one of the gateways that share a Locker.
type Worker struct {
	Store  object.Store
	Locker lock.Locker
	Log    *slog.Logger
	Now    func() time.Time
	// Done is called with every action that was carried out, and what the Store did.
	Done  func(ctx context.Context, a Action, ref object.Ref, done object.Deleted)
	Every time.Duration // between two sweeps; 0: shortly after each midnight UTC
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) { lock.Elect(ctx, w.Locker, lockName, w.hold) }

// hold sweeps for as long as the lock is held.
func (w *Worker) hold(held context.Context) {
	for wait := w.first(); lock.Pause(held, wait); wait = w.next() {
		s := &Sweep{Store: w.Store, Now: w.Now(), Done: func(a Action, ref object.Ref, done object.Deleted) {
			w.Log.Info("lifecycle", "action", string(a), "bucket", ref.Bucket, "key", ref.Key, "version", ref.Version)
			w.Done(held, a, ref, done)
		}}
		if err := s.Run(held); err != nil && held.Err() == nil {
			w.Log.Warn("the lifecycle rules of some buckets were not carried out, and will be the next time", "error", err)
		}
	}
}

func (w *Worker) first() time.Duration {
	if w.Every > 0 {
		return min(w.Every, settle)
	}
	return settle
}

func (w *Worker) next() time.Duration {
	if w.Every > 0 {
		return w.Every
	}
	now := w.Now()
	return midnight(now).AddDate(0, 0, 1).Add(behind).Sub(now)
}
