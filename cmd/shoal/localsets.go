package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/healing"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// localSets are sets of which this process has all drives. Slots are counted over all of them.
type localSets struct {
	layout layout[string]
	all    []*format.Set
}

// close closes their drives.
func (s localSets) close() error {
	var errs []error
	for _, set := range s.all {
		errs = append(errs, set.Close())
	}
	return errors.Join(errs...)
}

// lookEvery is how often it is looked whether drives have gone or come.
const lookEvery = 2 * time.Second

// lookAfter looks so until the returned function is called.
func (s localSets) lookAfter(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var looking sync.WaitGroup
	looking.Go(func() {
		for lock.Pause(ctx, lookEvery) {
			for _, set := range s.all {
				set.Look(ctx)
			}
		}
	})
	return func() error {
		cancel()
		looking.Wait()
		return nil
	}
}

// boot returns the number of this start: it is later than that of any before, since that of each
// set is.
func (s localSets) boot() (n uint32) {
	for _, set := range s.all {
		n = max(n, set.Boot)
	}
	return n
}

func (s localSets) tellFormed(log *slog.Logger) {
	for i, set := range s.all {
		if set.Formed {
			log.Info("formed a set of drives", "set", i+1, "drives", len(s.layout[i].drives), "parity", s.layout[i].parity(), "deployment", set.Deployment)
		}
	}
}

// offline returns how many drives of each set cannot be used, or do not have all yet.
func (s localSets) offline() (all []int) {
	for i, set := range s.all {
		all = append(all, len(s.layout[i].drives)-set.Online()+len(set.Blank()))
	}
	return all
}

// standing is how the drives stand.
func (s localSets) standing(store *erasure.Store) healing.Standing {
	all := healing.Standing{Missed: store.Missed(), Blank: make(map[int]string)}
	first := 0
	for i, set := range s.all {
		all.Joined += int(set.Joined())
		for slot, id := range set.Blank() {
			all.Blank[first+slot] = id
		}
		first += len(s.layout[i].drives)
	}
	for _, n := range s.offline() {
		all.Offline += n
	}
	all.Offline -= len(all.Blank)
	return all
}

// healed takes note that drives have all they should.
func (s localSets) healed(_ context.Context, drives []string) error {
	var errs []error
	for _, set := range s.all {
		errs = append(errs, set.Healed(drives))
	}
	return errors.Join(errs...)
}

func (s localSets) shown() (all []admin.Drive) {
	first := 0
	for i, set := range s.all {
		l := &s.layout[i]
		for _, d := range set.States() {
			shown := admin.Drive{Path: d.Path, ID: d.Drive, Pool: l.pool, Set: l.number, Parity: l.parity(), Slot: d.Slot, Online: d.Online, Healing: d.Blank, Room: upkeep.Room(d.Room)}
			if d.Slot >= 0 {
				shown.Slot += first
			}
			all = append(all, shown)
		}
		first += len(l.drives)
	}
	return all
}
