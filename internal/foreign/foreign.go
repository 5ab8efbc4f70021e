// Package foreign tells of files that somebody has made, changed or removed beside S3, in the
// buckets whose rules ask for that.
package foreign

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// lockName is what one gateway of all that serve the buckets holds. It is of a kind
// that no Store locks.
const lockName = "l/foreign"

const (
	maxSettle  = 10 * time.Second // after its last change, for a file to count as whole
	quiet      = time.Second      // the same, at least, for one that was watched while it changed
	rulesEvery = 10 * time.Second // the rules are looked at, where it can be seen what others do
	tick       = 500 * time.Millisecond
)

// Worker looks through the buckets in one of the gateways that share a Locker.
type Worker struct {
	Store   object.Store
	Journal events.Journal // where it remembers what it has seen
	Locker  lock.Locker
	// Tell returns when what has happened in a bucket with rules is durable.
	Tell func(ctx context.Context, rules *events.Configuration, happened ...events.Event) error
	// Touched returns the keys that S3's clients have changed in a bucket since a mark, or
	// are about to, and the next mark; the first is "". Where it is not known anything may
	// have changed. nil: it never is.
	Touched func(ctx context.Context, bucket, since string) (touched []string, next string, known bool)
	// Watch begins to watch what others do: saw is told of a key, or a prefix of keys, which
	// is "" or ends with "/", where something may have changed; a bucket "" means all. nil:
	// that cannot be seen.
	Watch  func(saw func(bucket, name string)) (Watch, error)
	Log    *slog.Logger
	Now    func() time.Time
	Every  time.Duration // between two looks
	Region string
}

// Watch is over the buckets that are added to it. It need not see everything.
type Watch interface {
	Add(bucket string) error
	Remove(bucket string)
	Close() error
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) { lock.Elect(ctx, w.Locker, lockName, w.hold) }

// hold looks for as long as the lock is held. What it knows it forgets then: another one may
// have gone on when it is held again.
func (w *Worker) hold(held context.Context) {
	s := &search{Worker: w, buckets: make(map[string]*bucket)}
	defer s.end()
	if w.Watch != nil {
		watch, err := w.Watch(s.saw)
		if err != nil {
			w.Log.Warn("what others do in the buckets is not watched, and found by looking from time to time", "error", err)
		} else {
			s.watch = watch
		}
	}
	s.nextLook = w.Now().Add(w.Every)
	if s.nextRules = s.nextLook; s.watch != nil {
		s.nextRules = w.Now() // what happened while nobody watched is looked for at once
	}
	for lock.Pause(held, s.pause()) {
		if err := s.step(held); err != nil && held.Err() == nil {
			w.Log.Warn("files of others were not looked for everywhere, and will be the next time", "error", err)
		}
	}
}

// wanted returns the rules of the buckets that are to be looked through.
func (w *Worker) wanted(ctx context.Context) (map[string]*events.Configuration, error) {
	if c, ok := w.Store.(object.Configured); ok && !c.Configured() {
		return nil, nil
	}
	buckets, err := w.Store.ListBuckets(ctx)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	all := make(map[string]*events.Configuration)
	for _, b := range buckets {
		text, there := b.Documents[events.Document]
		if !there {
			continue
		}
		rules, err := events.Parse(text)
		if err != nil {
			return nil, err
		}
		if rules.Wants(events.ForeignCreated) || rules.Wants(events.ForeignRemoved) {
			all[b.Name] = rules
		}
	}
	return all, nil
}

// isForeign reports whether an object was made, or changed since, by somebody else:
// Stores tell by an ETag that nothing which S3 makes has.
func isForeign(o *object.Info) bool { return strings.HasSuffix(o.ETag, "-0") }
