package rebalance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// The settings that say which pools are drained, and how far objects are on their way.
const (
	drainedRecord  = "pools/draining"
	beganRecord    = "pools/room" // how much room the drives of those had when that began
	progressRecord = "pools/moved"
)

// drained are the pools whose objects are moved to others, each by the number of its first set, and
// since when.
type drained map[int]time.Time

// key returns the number of the first set of a pool.
func (p *Placer) key(pool int) int {
	i := slices.IndexFunc(p.Sets, func(s Set) bool { return s.Pool == pool })
	return p.Sets[i].Number
}

func (p *Placer) drained() (d drained, revision uint64, err error) {
	value, revision, err := p.Records.Get(drainedRecord)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &d)
	}
	if err != nil {
		return nil, revision, fmt.Errorf("read which pools are drained: %w", err)
	}
	return d, revision, nil
}

// shares returns in which proportion the sets are to have objects, by their numbers. Where only those
// are named that are drained these have them.
func (p *Placer) shares() ([]int, error) {
	d, _, err := p.drained()
	keep := func(s Set) bool {
		_, drain := d[p.key(s.Pool)]
		return !drain
	}
	all := !slices.ContainsFunc(p.Sets, keep)
	return weigh(p.Sets, func(s Set) int {
		if all || keep(s) {
			return s.Drives
		}
		return 0
	}), err
}

// Drain has what a pool holds be moved to the others, or no longer. It returns upkeep.ErrLastPool if there would be none
// left.
func (p *Placer) Drain(ctx context.Context, pool int, drain bool) error {
	d, revision, err := p.drained()
	if err != nil {
		return err
	}
	next := make(drained)
	maps.Copy(next, d)
	switch _, before := d[p.key(pool)]; {
	case before == drain:
		return nil
	case drain:
		next[p.key(pool)] = time.Now().UTC()
	default:
		delete(next, p.key(pool))
	}
	if !slices.ContainsFunc(p.Sets, func(s Set) bool { return next[p.key(s.Pool)].IsZero() }) {
		return upkeep.ErrLastPool
	}
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode which pools are drained: %w", err)
	}
	if drain {
		if err := p.began(ctx, pool); err != nil {
			return err
		}
	}
	return p.Records.Set(ctx, drainedRecord, value, revision)
}

// began takes note of how much room a pool has whose draining begins.
func (p *Placer) began(ctx context.Context, pool int) error {
	room, revision, err := p.roomBefore()
	if err != nil {
		return err
	}
	next := map[int]uint64{p.key(pool): p.Rooms()[pool].Free}
	for other, free := range room {
		if other != p.key(pool) {
			next[other] = free
		}
	}
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode how much room pools had: %w", err)
	}
	return p.Records.Set(ctx, beganRecord, value, revision)
}

// roomBefore returns how much room pools had when their draining began.
func (p *Placer) roomBefore() (room map[int]uint64, revision uint64, err error) {
	value, revision, err := p.Records.Get(beganRecord)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &room)
	}
	if err != nil {
		return nil, revision, fmt.Errorf("read how much room pools had: %w", err)
	}
	return room, revision, nil
}

// Pools returns how the pools stand, in the order in which they are named.
func (p *Placer) Pools() ([]upkeep.Pool, error) {
	d, _, err := p.drained()
	if err != nil {
		return nil, err
	}
	t, _, err := p.table()
	if err != nil {
		return nil, err
	}
	var moved upkeep.Progress
	value, _, err := p.Records.Get(progressRecord)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &moved)
	}
	if err != nil {
		return nil, fmt.Errorf("read how far objects are: %w", err)
	}
	before, _, err := p.roomBefore()
	if err != nil {
		return nil, err
	}
	rooms, known := p.Rooms(), p.Knows(p.roster(t))
	var all []upkeep.Pool
	for i, name := range p.Names {
		all = append(all, upkeep.Pool{Name: name, Draining: d[p.key(i)], Empty: known, Began: before[p.key(i)], Room: rooms[i], Moved: moved})
	}
	of := make(map[int]*upkeep.Pool)
	for _, s := range p.Sets {
		of[s.Number] = &all[s.Pool]
	}
	for number := range t.Used() {
		of[number].Empty = false
	}
	const each = 1 / float64(placement.Partitions)
	for i := range placement.Partitions {
		at, goes := t.At(i)
		home, from := of[goes], of[at]
		if home.Share += each; home != from {
			home.Coming, from.Leaving = home.Coming+each, from.Leaving+each
		}
	}
	return all, nil
}

// note writes how far objects are, for everybody to see.
func (p *Placer) note(ctx context.Context, g upkeep.Progress) {
	_, revision, err := p.Records.Get(progressRecord)
	g.Told = time.Now().UTC()
	value, encode := json.Marshal(g)
	if err = errors.Join(err, encode); err == nil {
		err = p.Records.Set(ctx, progressRecord, value, revision)
	}
	if err != nil && ctx.Err() == nil {
		p.Logger.Warn("how far objects are could not be written", "error", err)
	}
}
