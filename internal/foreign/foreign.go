// Package foreign tells of files that somebody has made or changed beside S3, in the
// buckets whose rules ask for that.
package foreign

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
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
	maxSettle = 10 * time.Second // after its last change, for a file to count as whole
	maxFiles  = 4 << 20          // that are remembered of one bucket
	idSize    = 8                // bytes
)

// Worker looks through the buckets in one of the gateways that share a Locker.
type Worker struct {
	Store   object.Store
	Journal events.Journal // where it remembers what it has seen
	Locker  lock.Locker
	// Tell returns when what has happened in a bucket with rules is durable.
	Tell   func(ctx context.Context, rules *events.Configuration, happened ...events.Event) error
	Log    *slog.Logger
	Now    func() time.Time
	Every  time.Duration // between two looks
	Region string

	known map[string]*memory // by bucket
}

// memory is what was seen in a bucket the last time.
type memory struct {
	seen    map[id]struct{}
	batches []string // in the Journal, that together hold it
}

// id stands for a file with its content.
type id [idSize]byte

func idOf(o *object.Info) id {
	sum := sha256.Sum256([]byte(o.Key + "\x00" + o.ETag))
	return id(sum[:idSize])
}

// isForeign reports whether an object was made, or changed since, by somebody else:
// Stores tell by an ETag that nothing which S3 makes has.
func isForeign(o *object.Info) bool { return strings.HasSuffix(o.ETag, "-0") }

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) { lock.Elect(ctx, w.Locker, lockName, w.hold) }

// hold looks for as long as the lock is held.
func (w *Worker) hold(held context.Context) {
	w.known = nil // another one may have gone on since
	for lock.Pause(held, w.Every) {
		if err := w.round(held); err != nil && held.Err() == nil {
			w.Log.Warn("files of others were not looked for everywhere, and will be the next time", "error", err)
		}
	}
}

// round looks through all buckets once. What goes wrong in one does not keep it from
// the others.
func (w *Worker) round(ctx context.Context) error {
	wanted, err := w.wanted(ctx)
	if err != nil || len(wanted) == 0 && len(w.known) == 0 {
		return err
	}
	if w.known == nil {
		if w.known, err = w.load(ctx); err != nil {
			return err
		}
	}
	var errs []error
	for _, bucket := range slices.Sorted(maps.Keys(wanted)) {
		if err := w.look(ctx, bucket, wanted[bucket]); err != nil {
			errs = append(errs, fmt.Errorf("look through %s: %w", bucket, err))
		}
	}
	for bucket, m := range w.known {
		if wanted[bucket] == nil {
			errs = append(errs, w.drop(ctx, m.batches))
			delete(w.known, bucket)
		}
	}
	return errors.Join(errs...)
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
		if rules.Wants(events.ForeignCreated) {
			all[b.Name] = rules
		}
	}
	return all, nil
}

// look goes through one bucket, tells what is new, and remembers what is there. The
// first time everything is new, and nothing is told. A file that was changed a moment
// ago may still be written to, and has to wait for the next time.
func (w *Worker) look(ctx context.Context, bucket string, rules *events.Configuration) error {
	settled := w.Now().Add(-min(w.Every, maxSettle))
	last := w.known[bucket]
	seen := make(map[id]struct{})
	q := object.Query{Bucket: bucket, Limit: object.MaxListLimit}
	for {
		page, err := w.Store.List(ctx, q)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		var happened []events.Event
		for i := range page.Objects {
			o := &page.Objects[i]
			if !isForeign(o) {
				continue
			}
			file := idOf(o)
			if !last.has(file) {
				if o.Modified.After(settled) {
					continue
				}
				if last != nil {
					happened = append(happened, w.event(bucket, o))
				}
			}
			seen[file] = struct{}{}
		}
		if len(happened) > 0 {
			if err := w.Tell(ctx, rules, happened...); err != nil {
				return err
			}
		}
		if len(seen) > maxFiles {
			return fmt.Errorf("it holds more than %d files of others, which cannot be remembered", maxFiles)
		}
		if !page.More {
			return w.remember(ctx, bucket, seen)
		}
		q.After = page.Next
	}
}

func (w *Worker) event(bucket string, o *object.Info) events.Event {
	return events.Event{
		Name: events.ForeignCreated, Time: w.Now(), Region: w.Region, Bucket: bucket, Key: o.Key, Size: o.Size, ETag: o.ETag,
		Origin: events.Origin{Principal: "filesystem"},
	}
}

func (m *memory) has(file id) bool {
	if m == nil {
		return false
	}
	_, ok := m.seen[file]
	return ok
}

// remember keeps what was seen in a bucket, for this gateway and the next.
func (w *Worker) remember(ctx context.Context, bucket string, seen map[id]struct{}) error {
	last := w.known[bucket]
	if last != nil && len(last.batches) == 1 && maps.Equal(last.seen, seen) {
		return nil
	}
	content := binary.BigEndian.AppendUint32(nil, idSize) // so that it is never empty
	for file := range seen {
		content = append(content, file[:]...)
	}
	name, err := w.Journal.Keep(ctx, "1."+events.Foreign+"."+bucket, content)
	if err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	w.known[bucket] = &memory{seen: seen, batches: []string{name}}
	if last == nil {
		return nil
	}
	return w.drop(ctx, last.batches)
}

func (w *Worker) drop(ctx context.Context, batches []string) error {
	var errs []error
	for _, name := range batches {
		if err := w.Journal.Drop(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("forget: %w", err))
		}
	}
	return errors.Join(errs...)
}

// load returns what gateways that are gone have remembered. If one died while it
// replaced a batch there are two: what is in either was told.
func (w *Worker) load(ctx context.Context) (map[string]*memory, error) {
	names, err := w.Journal.Left(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what is remembered: %w", err)
	}
	all := make(map[string]*memory)
	for _, name := range names {
		bucket, ok := bucketOf(name)
		if !ok {
			continue
		}
		content, err := w.Journal.Fetch(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what is remembered: %w", err)
		}
		m := all[bucket]
		if m == nil {
			m = &memory{seen: make(map[id]struct{})}
			all[bucket] = m
		}
		m.batches = append(m.batches, name)
		if len(content) < 4 || binary.BigEndian.Uint32(content) != idSize || (len(content)-4)%idSize != 0 {
			w.Log.Error("what was remembered of the files in a bucket cannot be read", "bucket", bucket)
			continue
		}
		for file := range slices.Chunk(content[4:], idSize) {
			m.seen[id(file)] = struct{}{}
		}
	}
	return all, nil
}

// bucketOf returns the bucket of a batch whose name remember has chosen.
func bucketOf(name string) (string, bool) {
	_, label, _ := strings.Cut(name, ".")
	return strings.CutPrefix(label, "1."+events.Foreign+".")
}
