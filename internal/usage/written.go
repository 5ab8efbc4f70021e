package usage

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// clocks is by how much those of gateways are taken to differ.
const clocks = 5 * time.Second

// notes are the buckets in which this gateway has changed something. Who counts hears of them
// by their records: it is one gateway, and any may write.
type notes struct {
	mu  sync.Mutex
	all map[string]note
}

type note struct {
	at   time.Time // of the last change
	anew bool      // the bucket itself was made or removed: what was counted before is not of it
}

// Written notes that something in a bucket was changed, or with anew that the bucket was made or removed.
func (w *Worker) Written(bucket string, anew bool) {
	if w.Every == 0 {
		return
	}
	w.notes.mu.Lock()
	defer w.notes.mu.Unlock()
	if w.notes.all == nil {
		w.notes.all = make(map[string]note)
	}
	w.notes.all[bucket] = note{w.Now(), anew || w.notes.all[bucket].anew}
}

// names returns the buckets that there are notes of.
func (n *notes) names() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.all {
		names = append(names, name)
	}
	return names
}

func (n *notes) of(bucket string) note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[bucket]
}

// drop forgets a note, unless there is a later one.
func (n *notes) drop(bucket string, done note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all[bucket] == done {
		delete(n.all, bucket)
	}
}

// markAll has the records of buckets say that they were written to, until ctx ends.
func (w *Worker) markAll(ctx context.Context) {
	for lock.Pause(ctx, look) {
		var errs []error
		for _, bucket := range w.notes.names() {
			n := w.notes.of(bucket)
			done, err := w.mark(ctx, bucket, n)
			if done && err == nil {
				w.notes.drop(bucket, n)
			}
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
			w.Log.Warn("that buckets were written to could not be told to who counts them, and will be later", "error", err)
		}
	}
}

// mark has the record of a bucket say that it was written to, and reports whether there is nothing
// left to be said. One that says so already may be of before the count that is under way, and
// is looked at again. The daily count needs no such record.
func (w *Worker) mark(ctx context.Context, bucket string, n note) (done bool, err error) {
	r, revision, err := load(w.Records, bucket)
	switch {
	case err != nil:
		return false, err
	case n.anew:
		r = record{}
	case r.At.After(n.at.Add(clocks)), w.daily(&r):
		return true, nil
	case r.Written:
		return false, nil
	}
	r.Written = true
	return true, save(ctx, w.Records, bucket, r, revision)
}
