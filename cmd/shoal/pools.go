package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway"
)

// The settings that say which pools are drained, and how far objects are on their way.
const (
	drainedRecord  = "pools/drained"
	progressRecord = "pools/moved"
)

// drained are the pools whose objects are moved to others, by their numbers, and since when.
type drained map[int]time.Time

func (p *placer) drained() (d drained, revision uint64, err error) {
	value, revision, err := p.kept.Get(drainedRecord)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &d)
	}
	if err != nil {
		return nil, revision, fmt.Errorf("read which pools are drained: %w", err)
	}
	return d, revision, nil
}

// shares returns in which proportion the sets are to have objects.
func (p *placer) shares() ([]int, error) {
	d, _, err := p.drained()
	shares := make([]int, len(p.drives))
	for i, n := range p.drives {
		if _, drain := d[p.pools[i]]; !drain {
			shares[i] = n
		}
	}
	return shares, err
}

// Drain implements gateway.Pools.
func (p *placer) Drain(ctx context.Context, pool int, drain bool) error {
	if pool == p.pools[0] {
		return gateway.ErrFirstPool
	}
	d, revision, err := p.drained()
	if err != nil {
		return err
	}
	next := make(drained)
	maps.Copy(next, d)
	switch _, before := d[pool]; {
	case before == drain:
		return nil
	case drain:
		next[pool] = time.Now().UTC()
	default:
		delete(next, pool)
	}
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode which pools are drained: %w", err)
	}
	return p.kept.Set(ctx, drainedRecord, value, revision)
}

// Pools implements gateway.Pools.
func (p *placer) Pools() ([]gateway.Pool, error) {
	d, _, err := p.drained()
	if err != nil {
		return nil, err
	}
	t, _, err := p.table()
	if err != nil {
		return nil, err
	}
	var moved gateway.Progress
	value, _, err := p.kept.Get(progressRecord)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &moved)
	}
	if err != nil {
		return nil, fmt.Errorf("read how far objects are: %w", err)
	}
	used := make(map[int]bool)
	for i := range t.Homes {
		used[p.pools[t.Homes[i]]], used[p.pools[t.From[i]]] = true, true
	}
	var all []gateway.Pool
	for i, name := range p.names {
		all = append(all, gateway.Pool{Name: name, Draining: d[i], Empty: !used[i], Moved: moved})
	}
	return all, nil
}

// note writes how far objects are, for everybody to see.
func (p *placer) note(ctx context.Context, m erasure.Moved) {
	_, revision, err := p.kept.Get(progressRecord)
	value, encode := json.Marshal(gateway.Progress{Told: time.Now().UTC(), Names: m.Names, Bytes: m.Bytes, Failed: m.Failed})
	if err = errors.Join(err, encode); err == nil {
		err = p.kept.Set(ctx, progressRecord, value, revision)
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("how far objects are could not be written", "error", err)
	}
}
