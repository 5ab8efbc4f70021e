package foreign

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
)

// atOnce is how many events are made durable together.
const atOnce = 1000

// find looks at keys, and at all that begins with prefixes, tells what is new, and remembers
// what is there. The first time everything is new, and nothing is told.
//
// What S3's clients do is asked for before and after: before, so that what is found here is
// known to be there later than what was asked for; after, so that what is missing here is
// known to have been removed by them, or not.
func (s *search) find(ctx context.Context, b *bucket, names []string) error {
	s.ask(ctx, b)
	if len(names) == 0 {
		return nil
	}
	began := s.Now()
	prefixes, keys := cover(names)
	m := b.memory
	m.pass++
	told := false
	for prefix := range prefixes {
		news, err := s.list(ctx, b, prefix)
		if err != nil {
			return err
		}
		told = told || news
	}
	news, err := s.look(ctx, b, keys)
	if err != nil {
		return err
	}
	gone, err := s.confirm(ctx, b, m.missing(prefixes, keys))
	if err != nil {
		return err
	}
	removed, err := s.removed(ctx, b, gone)
	if err != nil {
		return err
	}
	if prefixes[""] {
		m.complete, m.settled = true, m.asked
		b.pending.looked(began, s.Now())
	}
	if told || news || removed || prefixes[""] {
		return s.remember(ctx, b)
	}
	return nil
}

// ask asks what S3's clients have changed since the last time, if that is of interest.
func (s *search) ask(ctx context.Context, b *bucket) {
	if !b.removals() || s.Touched == nil {
		return
	}
	touched, next, known := s.Touched(ctx, b.name, b.memory.mark)
	b.memory.mark = next
	if !known {
		b.memory.doubt()
	}
	for _, key := range touched {
		b.memory.touch(key)
	}
}

// list looks at all that begins with a prefix. It reports whether it has told something.
func (s *search) list(ctx context.Context, b *bucket, prefix string) (told bool, err error) {
	if prefix == "" {
		b.memory.asked = b.memory.mark
	}
	settled := s.Now().Add(-s.settle())
	q := object.Query{Bucket: b.name, Prefix: prefix, Limit: object.MaxListLimit}
	for {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return told, fmt.Errorf("list: %w", err)
		}
		var made []*object.Info
		for i := range page.Objects {
			o := &page.Objects[i]
			if b.memory.has(o) {
				continue
			}
			if isForeign(o) && o.Modified.After(settled) {
				s.wait(b, o.Key)
				continue
			}
			made = append(made, o)
		}
		news, err := s.made(ctx, b, made)
		told = told || news
		if err != nil || !page.More {
			return told, err
		}
		q.After = page.Next
	}
}

// wait has a file wait which may still be written to: until it has settled, where that can be
// seen, and else for the next time.
func (s *search) wait(b *bucket, key string) {
	b.memory.see(key)
	if s.watch != nil {
		b.pending.note(key, s.Now())
	}
}

// look looks at keys that were watched until they had settled. It reports whether it has told
// something.
func (s *search) look(ctx context.Context, b *bucket, keys []string) (told bool, err error) {
	var made []*object.Info
	for _, key := range keys {
		o, err := s.Store.Stat(ctx, object.Ref{Bucket: b.name, Key: key})
		switch {
		case isGone(err):
		case errors.Is(err, object.AccessDenied):
			b.memory.see(key) // a listing shows it all the same
		case err != nil:
			return false, fmt.Errorf("look at a file: %w", err)
		case !b.memory.has(&o):
			made = append(made, &o)
		}
	}
	return s.made(ctx, b, made)
}

func isGone(err error) bool {
	return errors.Is(err, object.NoSuchKey) || errors.Is(err, object.DeleteMarker)
}

// made tells of files that are new, and remembers what is there. It reports whether it has
// told something.
func (s *search) made(ctx context.Context, b *bucket, objects []*object.Info) (told bool, err error) {
	if err := b.memory.takes(objects); err != nil {
		return false, err // before they are told, or they would be again and again
	}
	var happened []events.Event
	for _, o := range objects {
		if isForeign(o) && b.memory.complete {
			happened = append(happened, s.event(events.ForeignCreated, b.name, o))
		}
	}
	if err := s.tell(ctx, b, happened); err != nil {
		return false, err
	}
	for _, o := range objects {
		if !isForeign(o) && !b.removals() {
			b.memory.forget(o.Key)
		} else {
			b.memory.put(o)
		}
	}
	return len(happened) > 0, nil
}

// confirm returns those of keys that are there no more. What a listing does not show may have
// been replaced at that moment.
func (s *search) confirm(ctx context.Context, b *bucket, missing []string) (gone []string, err error) {
	for _, key := range missing {
		if b.removals() {
			_, err := s.Store.Stat(ctx, object.Ref{Bucket: b.name, Key: key})
			if err == nil || errors.Is(err, object.AccessDenied) {
				continue
			}
			if !isGone(err) {
				return nil, fmt.Errorf("look at a file: %w", err)
			}
		}
		gone = append(gone, key)
	}
	return gone, nil
}

// removed forgets the files that are gone, and tells of those that no client of S3 can have
// removed. It reports whether it has told something.
func (s *search) removed(ctx context.Context, b *bucket, gone []string) (told bool, err error) {
	if len(gone) > 0 {
		s.ask(ctx, b)
	}
	var happened []events.Event
	for _, key := range gone {
		if b.removals() && s.Touched != nil && b.memory.complete && !b.memory.isTouched(key) {
			happened = append(happened, s.event(events.ForeignRemoved, b.name, &object.Info{Key: key}))
		}
	}
	if err := s.tell(ctx, b, happened); err != nil {
		return false, err
	}
	for _, key := range gone {
		b.memory.forget(key)
	}
	return len(happened) > 0, nil
}

func (s *search) tell(ctx context.Context, b *bucket, happened []events.Event) error {
	for some := range slices.Chunk(happened, atOnce) {
		if err := s.Tell(ctx, b.rules, some...); err != nil {
			return fmt.Errorf("tell: %w", err)
		}
	}
	return nil
}

func (w *Worker) event(name events.Name, bucket string, o *object.Info) events.Event {
	return events.Event{
		Name: name, Time: w.Now(), Region: w.Region, Bucket: bucket, Key: o.Key, Size: o.Size, ETag: o.ETag,
		Origin: events.Origin{Principal: "filesystem"},
	}
}
