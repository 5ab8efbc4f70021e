// Package rebalance has every set of drives get its share of the objects: all nodes agree step by step on a table that
// says which set has what, and one of them moves it.
package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Records are what all processes with the drives have in common. Methods may be called concurrently.
type Records interface {
	// Get returns a record and its revision, nil and 0 if there is none. It does not wait.
	Get(name string) (value []byte, revision uint64, err error)
	// Set changes a record if it still has the revision, else it returns an error. When it
	// returns nil, Get says so everywhere.
	Set(ctx context.Context, name string, value []byte, revision uint64) error
	// Changed returns what is closed when any record changes.
	Changed() <-chan struct{}
}

// placementRecord is the setting that says which set of drives has the objects of a partition.
// Without it the sets have them that were formed first.
const placementRecord = "placement"

// How often it is looked whether objects are to be moved, and how others have got on.
const (
	placeLook = 5 * time.Second
	placeSoon = time.Second
	waitsTold = 60 // waits between two lines that say so
)

// Config says what a Placer places. Its functions may be called concurrently, and do not wait unless they
// get a context.
type Config struct {
	Store   *erasure.Store
	Records Records
	Locker  lock.Locker
	Logger  *slog.Logger
	Base    *placement.Table           // in force without a record; nil: there has to be one
	Sets    []Set                      // in their order
	Names   []string                   // of the pools
	Rooms   func() map[int]upkeep.Room // how much room the drives of each pool have, as far as they are there
	// Agree has the drives know which sets hold something, and Knows says whether so many do that a
	// start without the others finds it out.
	Agree func(ctx context.Context, r format.Roster) error
	Knows func(r format.Roster) bool
	// Follow reports whether every process places by this epoch or a later one, and by none
	// before it; nil: there is no other process.
	Follow func(epoch uint64) bool
}

// Placer has this process place objects as is agreed, and one of all processes move those that
// are to be elsewhere. It is an admin.Pools.
type Placer struct {
	Config
	placed atomic.Uint64 // the epoch by which this process does
	waits  int           // how often in turn the next step had to
}

// New returns a Placer that does nothing before Begin.
func New(cfg Config) *Placer {
	p := &Placer{Config: cfg}
	if cfg.Follow == nil {
		p.Follow = func(epoch uint64) bool { return p.placed.Load() >= epoch }
	}
	return p
}

// Set is a set that objects are placed in.
type Set struct {
	Number int // by which tables and drives know it
	Pool   int // that it is of, in the order in which they are named
	Drives int // by which it gets objects
}

// weigh returns how much of everything each set is to have, by its number.
func weigh(sets []Set, weight func(s Set) int) []int {
	var weights []int
	for _, s := range sets {
		weights = append(weights, make([]int, max(0, s.Number+1-len(weights)))...)
		weights[s.Number] = weight(s)
	}
	return weights
}

// BaseTable returns the Table of sets of which those that were formed first, by their numbers, have
// everything, by how many drives each has. It is nil if one of these is not named any more.
func BaseTable(sets []Set, formedFirst int) *placement.Table {
	first := 0
	weights := weigh(sets, func(s Set) int {
		if s.Number >= formedFirst {
			return 0
		}
		first++
		return s.Drives
	})
	if first < formedFirst {
		return nil
	}
	return placement.New(weights)
}

// table returns what is agreed, with the revision of its record; 0: there is none.
func (p *Placer) table() (*placement.Table, uint64, error) {
	value, revision, err := p.Records.Get(placementRecord)
	if err != nil || value == nil {
		return p.Base, revision, err
	}
	t, err := placement.Decode(value)
	return t, revision, err
}

// Begin places by what is agreed. It is to be called before anything is served.
func (p *Placer) Begin(ctx context.Context) error {
	t, _, err := p.table()
	if err == nil && t == nil {
		err = errors.New("not all sets of drives are named that were formed first")
	}
	if err == nil {
		err = p.Store.Place(ctx, t)
	}
	if err != nil {
		return fmt.Errorf("find out which drives have which objects: %w", err)
	}
	p.placed.Store(t.Epoch)
	return nil
}

// Placed returns the epoch of the table by which this process places objects; 0: it has not begun, or
// nothing was ever moved.
func (p *Placer) Placed() uint64 { return p.placed.Load() }

// Start has objects be placed and moved as is agreed until the returned function is called, which waits
// for what is under way. Values of ctx are used, and not when it ends.
func (p *Placer) Start(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { p.obey(ctx) })
	running.Go(func() { lock.Elect(ctx, p.Locker, "s/move", p.rebalance) })
	return func() error {
		cancel()
		running.Wait()
		return nil
	}
}

// obey places by what is agreed, whenever that changes.
func (p *Placer) obey(ctx context.Context) {
	for ctx.Err() == nil {
		changed := p.Records.Changed()
		t, _, err := p.table()
		if err == nil && t.Epoch != p.placed.Load() {
			if err = p.Store.Place(ctx, t); err == nil {
				p.placed.Store(t.Epoch)
				continue
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				p.Logger.Error("objects cannot be placed as was agreed, and will be later", "error", err)
			}
			lock.Pause(ctx, placeLook)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// rebalance has every set get its share of the objects.
func (p *Placer) rebalance(ctx context.Context) {
	for lock.Pause(ctx, placeSoon); ctx.Err() == nil; {
		again, err := p.step(ctx)
		if err != nil && ctx.Err() == nil {
			p.Logger.Error("objects cannot be moved to other sets of drives, and will be later", "error", err)
		}
		lock.Pause(ctx, again)
	}
}

// step does what is next, and says when to go on.
func (p *Placer) step(ctx context.Context) (again time.Duration, err error) {
	t, revision, err := p.table()
	if err != nil {
		return placeLook, err
	}
	next := t.Next()
	if t.Phase == placement.Settled {
		shares, err := p.shares()
		if err != nil {
			return placeLook, err
		}
		next = t.Rebalanced(shares)
		if next == nil && (t.Epoch == 0 || p.Knows(p.roster(t))) {
			return placeLook, nil
		}
	}
	if !p.Follow(t.Epoch) {
		p.wait("not all nodes are there, or an operation that began before does not end", t)
		return placeSoon, nil
	}
	if next == nil {
		return placeLook, p.Agree(ctx, p.roster(t)) // what holds nothing need not be named any more
	}
	switch t.Phase {
	case placement.Settled:
		if err := p.clear(ctx, next); errors.Is(err, erasure.ErrAway) {
			p.wait("a drive of those that they are to go to is not there", t)
			return placeLook, nil
		} else if err != nil {
			return placeLook, fmt.Errorf("prepare placement %d: %w", next.Epoch, err)
		}
		if err := p.Agree(ctx, p.roster(next)); err != nil { // before anything is where it is not known to be
			return placeLook, fmt.Errorf("prepare placement %d: %w", next.Epoch, err)
		}
		p.Logger.Info("objects are to be moved to other sets of drives", "placement", next.Epoch, "partitions", next.Moves())
	case placement.Announced:
	case placement.Moving:
		if done, err := p.move(ctx); err != nil || !done {
			return placeLook, err
		}
		p.Logger.Info("all objects are where they are to be", "placement", next.Epoch)
	}
	p.waits = 0
	return placeSoon, p.set(ctx, next, revision)
}

// maxPoolName bounds the names that drives know pools by, in bytes.
const maxPoolName = 200

// roster returns which sets hold something by a table, or are of a pool that does.
func (p *Placer) roster(t *placement.Table) format.Roster {
	used, pools := t.Used(), make(map[int]bool)
	for _, s := range p.Sets {
		if used[s.Number] {
			pools[s.Pool] = true
		}
	}
	r := format.Roster{Epoch: t.Epoch, Needed: make(map[int]string)}
	for _, s := range p.Sets {
		if !pools[s.Pool] {
			continue
		}
		r.Needed[s.Number] = ""
		if s.Number == p.key(s.Pool) {
			name := p.Names[s.Pool]
			r.Needed[s.Number] = name[:min(len(name), maxPoolName)]
		}
	}
	return r
}

// clear has the sets be cleared that objects are to go to.
func (p *Placer) clear(ctx context.Context, next *placement.Table) error {
	begun, told := time.Now().UTC(), time.Now()
	err := p.Store.Clear(ctx, next, func(looked int64) {
		if time.Since(told) > placeLook {
			told = time.Now()
			p.note(ctx, upkeep.Progress{Begun: begun, Looked: looked})
			p.Logger.Info("sets of drives are looked through that objects are to be moved to", "names", looked)
		}
	})
	if err == nil {
		p.note(ctx, upkeep.Progress{Begun: begun}) // and not how far another move was before
	}
	return err //nolint:wrapcheck // it says what it is
}

// wait takes note that the next step has to wait, and says why now and then.
func (p *Placer) wait(why string, t *placement.Table) {
	if p.waits++; p.waits%waitsTold == 0 {
		p.Logger.Warn("objects wait to be moved: "+why, "placement", t.Epoch)
	}
}

func (p *Placer) set(ctx context.Context, t *placement.Table, revision uint64) error {
	if err := p.Records.Set(ctx, placementRecord, t.Encode(), revision); err != nil {
		return fmt.Errorf("agree on placement %d: %w", t.Epoch, err)
	}
	return nil
}

// move makes a pass, and reports whether there was nothing left to move.
func (p *Placer) move(ctx context.Context) (done bool, err error) {
	begun := time.Now().UTC()
	tell := func(msg string, m erasure.Moved) {
		p.note(ctx, upkeep.Progress{Begun: begun, Names: m.Names, Versions: m.Versions, Bytes: m.Bytes, Failed: m.Failed})
		p.Logger.Info(msg, "names", m.Names, "versions", m.Versions, "bytes", m.Bytes, "failed", m.Failed)
	}
	told := time.Now()
	m, err := p.Store.Move(ctx, func(m erasure.Moved) {
		if time.Since(told) > placeLook {
			told = time.Now()
			tell("objects are being moved to other sets of drives", m)
		}
	})
	if err == nil && m.Names > 0 {
		tell("objects were moved to other sets of drives", m)
	}
	return err == nil && m.Names == 0, err //nolint:wrapcheck // it says what it is
}
