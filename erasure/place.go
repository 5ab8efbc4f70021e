package erasure

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// place is where the registers of a key are, and the lock under which they change.
type place struct {
	set   *set  // where new ones are made
	moves *move // nil: all of them are there
	lock  string
	key   register.Key
	epoch uint64 // of the Table that says so
}

// move says that registers are on their way from one set to another: each is in the one or the
// other, and in both for a moment, while what the later of them says counts.
type move struct{ from, to *set }

// in returns the place of those registers that one set has.
func (p place) in(s *set) place {
	p.set, p.moves = s, nil
	return p
}

// sets returns those that may have registers of the place.
func (p *place) sets() []*set {
	if p.moves == nil {
		return []*set{p.set}
	}
	return []*set{p.moves.from, p.moves.to}
}

// epoch is a placement.Table, and who acts by it.
type epoch struct {
	table   *placement.Table
	sources map[*set]bool // the sets that something moves from
	active  atomic.Int64  // operations that began while it was in force
}

func (s *Store) newEpoch(t *placement.Table) *epoch {
	e := &epoch{table: t, sources: make(map[*set]bool)}
	for i := range t.Sources() {
		e.sources[s.by[i]] = true
	}
	return e
}

// enter begins an operation, which is over with leave.
func (s *Store) enter() *epoch {
	for {
		e := s.epoch.Load()
		e.active.Add(1)
		if s.epoch.Load() == e {
			return e
		}
		e.leave() // who waits for the former ones may not have seen this one
	}
}

func (e *epoch) leave() { e.active.Add(-1) }

// drainLook is how often it is looked whether the operations of a former Table are over.
const drainLook = 20 * time.Millisecond

// Place has keys be where a Table says, which is of the next epoch, and returns when every
// operation is over that began by the Table before. One call is made at a time.
func (s *Store) Place(ctx context.Context, t *placement.Table) error {
	if err := s.cfg.fits(t); err != nil {
		return err
	}
	before := s.epoch.Load()
	if t.Epoch == before.table.Epoch {
		return nil
	}
	s.epoch.Store(s.newEpoch(t))
	for before.active.Load() > 0 {
		select {
		case <-time.After(drainLook):
		case <-ctx.Done():
			return fmt.Errorf("erasure: operations of placement %d are not over: %w", before.table.Epoch, context.Cause(ctx))
		}
	}
	return nil
}

// Placement returns the Table by which keys are placed.
func (s *Store) Placement() *placement.Table { return s.epoch.Load().table }

// partition returns that of a key.
func (s *Store) partition(key string) int { return placement.Partition(s.cfg.Seed, key) }

// placed returns a place where new objects and uploads of a key are put into.
func (s *Store) placed(key string, at place) place { return s.placedAt(s.partition(key), at) }

// common returns a place of what belongs to no key.
func (s *Store) common(at place) place { return s.placedAt(placement.Common, at) }

func (s *Store) placedAt(p int, at place) place {
	e := s.epoch.Load()
	at.set, at.moves = s.homeAt(e, p)
	at.epoch = e.table.Epoch
	return at
}

// home returns the set that new objects and uploads of a key are put into.
func (s *Store) home(key string) *set {
	home, _ := s.homeAt(s.epoch.Load(), s.partition(key))
	return home
}

// homeAt returns the set that new things are put into of a partition, or of what is Common, in some
// epoch, and how those are on their way that there are; nil: they are all in it.
func (s *Store) homeAt(e *epoch, p int) (*set, *move) {
	if len(s.sets) == 1 {
		return s.sets[0], nil
	}
	at, home := e.table.At(p)
	from, to := s.by[at], s.by[home]
	switch {
	case from == to:
		return to, nil
	case e.table.Phase == placement.Announced:
		return from, &move{from, to}
	}
	return to, &move{from, to}
}

// homed reports whether a set may have objects of a key in some epoch. What it has of others was
// left there by somebody who was late, and does not count.
func (s *Store) homed(e *epoch, set *set, key string) bool {
	return s.homedAt(e, set, s.partition(key))
}

func (s *Store) homedAt(e *epoch, set *set, p int) bool {
	home, moves := s.homeAt(e, p)
	return set == home || moves != nil && (set == moves.from || set == moves.to)
}

// commonSets returns those that may have what belongs to no key.
func (s *Store) commonSets() []*set {
	at := s.common(place{})
	return at.sets()
}

// located reads a register without a lock, and says which set has it. What moves is read where
// it comes from before and after it is where it goes: if nothing has changed there, this is how
// things were in between.
func (s *Store) located(ctx context.Context, at place, ask func(asking) (*register.Record, error)) (*register.Record, *set, error) {
	return at.located(func(in place) (*register.Record, error) { return s.settledIn(ctx, in, ask) })
}

// located is Store.located with what reads the register in one set.
func (p place) located(read func(in place) (*register.Record, error)) (*register.Record, *set, error) {
	if p.moves == nil {
		r, err := read(p)
		return r, p.set, err
	}
	before, err := read(p.in(p.moves.from))
	if err != nil {
		return nil, nil, err
	}
	for range maxSettled {
		there, err := read(p.in(p.moves.to))
		if err != nil {
			return nil, nil, err
		}
		again, err := read(p.in(p.moves.from))
		if err != nil {
			return nil, nil, err
		}
		if same(before, again) {
			r, set := p.moves.winner(again, there)
			return r, set, nil
		}
		before = again
	}
	return nil, nil, object.E("read", p.key.Name, object.Unavailable, errRestless)
}

// errRestless says that a key changes faster than it can be read.
var errRestless = errors.New("erasure: it moves from one set to another, and changes all the time")

func same(a, b *register.Record) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Version == b.Version && a.Changed == b.Changed
}

// winner returns which of two states counts that the sets have: the one that was made later.
// Of two that were made as one, that which has not been removed where it comes from.
func (m *move) winner(from, to *register.Record) (*register.Record, *set) {
	if to != nil && (from == nil || from.Made.Less(to.Made)) {
		return to, m.to
	}
	return from, m.from
}
