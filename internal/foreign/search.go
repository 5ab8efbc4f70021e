package foreign

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
)

// search is what a Worker knows and does while it holds the lock. What is watched may be told
// at any time; all else is done by one goroutine.
type search struct {
	*Worker
	watch     Watch // nil: there is none
	loaded    bool
	nextRules time.Time // they are looked at
	nextLook  time.Time // all buckets are looked through

	mu      sync.Mutex // guards what is in the map; only the one goroutine changes it
	buckets map[string]*bucket
}

// bucket is one that asks to be told.
type bucket struct {
	name    string
	rules   *events.Configuration
	memory  *memory
	pending pending
}

// removals reports whether the rules ask for files that are gone.
func (b *bucket) removals() bool { return b.rules.Wants(events.ForeignRemoved) }

// settle is how long after its last change a file counts as whole.
func (s *search) settle() time.Duration { return min(s.Every, maxSettle) }

func (s *search) rulesEvery() time.Duration {
	if s.watch == nil {
		return s.Every
	}
	return min(s.Every, rulesEvery)
}

// pause returns how long there is nothing to do.
func (s *search) pause() time.Duration {
	next := s.nextLook
	if s.nextRules.Before(next) {
		next = s.nextRules
	}
	wait := max(next.Sub(s.Now()), 0)
	for _, b := range s.buckets {
		if s.watch != nil || b.removals() {
			wait = min(wait, tick)
		}
	}
	return wait
}

// saw takes note of what may have changed.
func (s *search) saw(name, what string) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.buckets {
		if name == "" || name == b.name {
			b.pending.note(what, now)
		}
	}
}

// step does what is due. What goes wrong in one bucket does not keep it from the others.
func (s *search) step(ctx context.Context) error {
	now := s.Now()
	var errs []error
	if !now.Before(s.nextRules) {
		s.nextRules = now.Add(s.rulesEvery())
		errs = append(errs, s.follow(ctx))
	}
	all := !now.Before(s.nextLook)
	if all {
		s.nextLook = now.Add(s.Every)
	}
	for _, name := range slices.Sorted(maps.Keys(s.buckets)) {
		b := s.buckets[name]
		due := b.pending.take(now, s.settle())
		if all {
			due = append(due, "")
		}
		if err := s.find(ctx, b, due); err != nil {
			b.pending.put(due, now)
			errs = append(errs, fmt.Errorf("look through %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// follow takes up the buckets that ask, and lets go of those that do so no more.
func (s *search) follow(ctx context.Context) error {
	wanted, err := s.wanted(ctx)
	if err != nil || len(wanted) == 0 && len(s.buckets) == 0 {
		return err
	}
	var errs []error
	if !s.loaded {
		known, err := s.load(ctx)
		if err != nil {
			return err
		}
		s.loaded = true
		for name, m := range known {
			if wanted[name] == nil {
				errs = append(errs, s.drop(ctx, m.batches))
				continue
			}
			errs = append(errs, s.begin(&bucket{name: name, memory: m}))
		}
	}
	for name, rules := range wanted {
		if s.buckets[name] == nil {
			errs = append(errs, s.begin(&bucket{name: name, memory: newMemory()}))
		}
		s.buckets[name].rules = rules
	}
	for name, b := range s.buckets {
		if wanted[name] == nil {
			errs = append(errs, s.drop(ctx, b.memory.batches))
			s.leave(name)
		}
	}
	return errors.Join(errs...)
}

// begin takes up a bucket. Where it can be seen what is done in it, it is looked through at
// once, to find what was done before.
func (s *search) begin(b *bucket) error {
	s.mu.Lock()
	s.buckets[b.name] = b
	s.mu.Unlock()
	if s.watch == nil {
		return nil
	}
	b.pending.note("", s.Now())
	if err := s.watch.Add(b.name); err != nil {
		return fmt.Errorf("watch %s: %w", b.name, err)
	}
	return nil
}

func (s *search) leave(name string) {
	s.mu.Lock()
	delete(s.buckets, name)
	s.mu.Unlock()
	if s.watch != nil {
		s.watch.Remove(name)
	}
}

func (s *search) end() {
	if s.watch == nil {
		return
	}
	if err := s.watch.Close(); err != nil {
		s.Log.Warn("end watching the buckets", "error", err)
	}
}
