package main

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
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/lock"
)

// placementRecord is the setting that says which set of drives has the objects of a partition.
// Without it the sets have them that were formed first.
const placementRecord = "placement"

// How often it is looked whether objects are to be moved, and how others have got on.
const (
	placeLook = 5 * time.Second
	placeSoon = time.Second
	waitsTold = 60 // waits between two lines that say so
)

// placer has this process place objects as is agreed, and one of all processes move those that
// are to be elsewhere.
type placer struct {
	store  *erasure.Store
	kept   records
	locker lock.Locker
	log    *slog.Logger
	base   *placement.Table // in force without a record; nil: there has to be one
	sets   []placedSet      // in their order
	names  []string         // of the pools
	shown  func() []gateway.Drive
	// agree has the drives know which sets hold something, and knows says whether so many do that a
	// start without the others finds it out.
	agree func(ctx context.Context, r format.Roster) error
	knows func(r format.Roster) bool
	// follow reports whether every process places by this epoch or a later one, and by none
	// before it.
	follow func(epoch uint64) bool
	placed atomic.Uint64 // the epoch by which this process does
	waits  int           // how often in turn the next step had to
}

// placedSet is a set that objects are placed in.
type placedSet struct {
	number int // by which tables and drives know it
	pool   int // that it is of, in the order in which they are named
	drives int // by which it gets objects
}

// weigh returns how much of everything each set is to have, by its number.
func weigh(sets []placedSet, weight func(s placedSet) int) []int {
	var weights []int
	for _, s := range sets {
		weights = append(weights, make([]int, max(0, s.number+1-len(weights)))...)
		weights[s.number] = weight(s)
	}
	return weights
}

// baseTable is the Table of sets of which those that were formed first, by their numbers, have
// everything, by how many drives each has. It is nil if one of these is not named any more.
func baseTable(sets []placedSet, formedFirst int) *placement.Table {
	first := 0
	weights := weigh(sets, func(s placedSet) int {
		if s.number >= formedFirst {
			return 0
		}
		first++
		return s.drives
	})
	if first < formedFirst {
		return nil
	}
	return placement.New(weights)
}

// table returns what is agreed, with the revision of its record; 0: there is none.
func (p *placer) table() (*placement.Table, uint64, error) {
	value, revision, err := p.kept.Get(placementRecord)
	if err != nil || value == nil {
		return p.base, revision, err
	}
	t, err := placement.Decode(value)
	return t, revision, err
}

// begin places by what is agreed, before anything is served.
func (p *placer) begin(ctx context.Context) error {
	t, _, err := p.table()
	if err == nil && t == nil {
		err = errors.New("not all sets of drives are named that were formed first")
	}
	if err == nil {
		err = p.store.Place(ctx, t)
	}
	if err != nil {
		return &failure{code: exitUnsafe, what: "cannot find out which drives have which objects", cause: err, remedy: "name all drives that were named before"}
	}
	p.placed.Store(t.Epoch)
	return nil
}

// run does so until the returned function is called.
func (p *placer) run(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { p.obey(ctx) })
	running.Go(func() { lock.Elect(ctx, p.locker, "s/move", p.rebalance) })
	return func() error {
		cancel()
		running.Wait()
		return nil
	}
}

// obey places by what is agreed, whenever that changes.
func (p *placer) obey(ctx context.Context) {
	for ctx.Err() == nil {
		changed := p.kept.Changed()
		t, _, err := p.table()
		if err == nil && t.Epoch != p.placed.Load() {
			if err = p.store.Place(ctx, t); err == nil {
				p.placed.Store(t.Epoch)
				continue
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				p.log.Error("objects cannot be placed as was agreed, and will be later", "error", err)
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
func (p *placer) rebalance(ctx context.Context) {
	for lock.Pause(ctx, placeSoon); ctx.Err() == nil; {
		again, err := p.step(ctx)
		if err != nil && ctx.Err() == nil {
			p.log.Error("objects cannot be moved to other sets of drives, and will be later", "error", err)
		}
		lock.Pause(ctx, again)
	}
}

// step does what is next, and says when to go on.
func (p *placer) step(ctx context.Context) (again time.Duration, err error) {
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
		if next == nil && (t.Epoch == 0 || p.knows(p.roster(t))) {
			return placeLook, nil
		}
	}
	if !p.follow(t.Epoch) {
		p.wait("not all nodes are there, or an operation that began before does not end", t)
		return placeSoon, nil
	}
	if next == nil {
		return placeLook, p.agree(ctx, p.roster(t)) // what holds nothing need not be named any more
	}
	switch t.Phase {
	case placement.Settled:
		if err := p.clear(ctx, next); errors.Is(err, erasure.ErrAway) {
			p.wait("a drive of those that they are to go to is not there", t)
			return placeLook, nil
		} else if err != nil {
			return placeLook, fmt.Errorf("prepare placement %d: %w", next.Epoch, err)
		}
		if err := p.agree(ctx, p.roster(next)); err != nil { // before anything is where it is not known to be
			return placeLook, fmt.Errorf("prepare placement %d: %w", next.Epoch, err)
		}
		p.log.Info("objects are to be moved to other sets of drives", "placement", next.Epoch, "partitions", next.Moves())
	case placement.Announced:
	case placement.Moving:
		if done, err := p.move(ctx); err != nil || !done {
			return placeLook, err
		}
		p.log.Info("all objects are where they are to be", "placement", next.Epoch)
	}
	p.waits = 0
	return placeSoon, p.set(ctx, next, revision)
}

// maxPoolName bounds the names that drives know pools by, in bytes.
const maxPoolName = 200

// roster returns which sets hold something by a table, or are of a pool that does.
func (p *placer) roster(t *placement.Table) format.Roster {
	used, pools := t.Used(), make(map[int]bool)
	for _, s := range p.sets {
		if used[s.number] {
			pools[s.pool] = true
		}
	}
	r := format.Roster{Epoch: t.Epoch, Needed: make(map[int]string)}
	for _, s := range p.sets {
		if !pools[s.pool] {
			continue
		}
		r.Needed[s.number] = ""
		if s.number == p.key(s.pool) {
			name := p.names[s.pool]
			r.Needed[s.number] = name[:min(len(name), maxPoolName)]
		}
	}
	return r
}

// clear has the sets be cleared that objects are to go to.
func (p *placer) clear(ctx context.Context, next *placement.Table) error {
	begun, told := time.Now().UTC(), time.Now()
	err := p.store.Clear(ctx, next, func(looked int64) {
		if time.Since(told) > placeLook {
			told = time.Now()
			p.note(ctx, gateway.Progress{Begun: begun, Looked: looked})
			p.log.Info("sets of drives are looked through that objects are to be moved to", "names", looked)
		}
	})
	if err == nil {
		p.note(ctx, gateway.Progress{Begun: begun}) // and not how far another move was before
	}
	return err //nolint:wrapcheck // it says what it is
}

// wait takes note that the next step has to wait, and says why now and then.
func (p *placer) wait(why string, t *placement.Table) {
	if p.waits++; p.waits%waitsTold == 0 {
		p.log.Warn("objects wait to be moved: "+why, "placement", t.Epoch)
	}
}

func (p *placer) set(ctx context.Context, t *placement.Table, revision uint64) error {
	if err := p.kept.Set(ctx, placementRecord, t.Encode(), revision); err != nil {
		return fmt.Errorf("agree on placement %d: %w", t.Epoch, err)
	}
	return nil
}

// move makes a pass, and reports whether there was nothing left to move.
func (p *placer) move(ctx context.Context) (done bool, err error) {
	begun := time.Now().UTC()
	tell := func(msg string, m erasure.Moved) {
		p.note(ctx, gateway.Progress{Begun: begun, Names: m.Names, Versions: m.Versions, Bytes: m.Bytes, Failed: m.Failed})
		p.log.Info(msg, "names", m.Names, "versions", m.Versions, "bytes", m.Bytes, "failed", m.Failed)
	}
	told := time.Now()
	m, err := p.store.Move(ctx, func(m erasure.Moved) {
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
