package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/register"
)

// errDisagreed says that too few drives know which sets hold something.
var errDisagreed = errors.New("fewer than a majority of the drives of a set were told which sets hold something")

// Agree has all drives know a Roster, durably: a majority of those of each set that it needs.
func (c *Cluster) Agree(ctx context.Context, r format.Roster) error {
	return c.note(ctx, r, slices.Collect(maps.Keys(r.Needed)))
}

// note is Agree, of a majority of each of some sets, by their numbers.
func (c *Cluster) note(ctx context.Context, r format.Roster, sets []int) error {
	var drives []format.Identity
	for _, m := range c.members {
		b, err := c.askOf(ctx, m, questionRoster, r)
		var known []format.Identity
		if err == nil && json.Unmarshal(b, &known) == nil {
			drives = append(drives, known...)
		}
	}
	if !format.Agreed(r, drives, sets) {
		return errDisagreed
	}
	return nil
}

// roster returns what the drives know of the sets that hold something, by what all nodes said last.
func (c *Cluster) roster() (r format.Roster, drives []format.Identity) {
	s := c.survey()
	for _, f := range s.found {
		if f != nil && f.Identity != nil {
			r, drives = r.Merge(f.Identity.Known()), append(drives, *f.Identity)
		}
	}
	return r, drives
}

// Knows reports whether a Roster counts, and so many drives know that, as all nodes said last, that every
// start will find it out.
func (c *Cluster) Knows(r format.Roster) bool {
	all, drives := c.roster()
	return all.Same(r) && format.Agreed(r, drives, slices.Collect(maps.Keys(r.Needed)))
}

// rosterOf returns what a drive has to know that is new in a set. So many of the others know of the set
// as it is with that drive, that of any majority one was asked which agreed on something before.
func (c *Cluster) rosterOf(ctx context.Context, table format.Table) (r format.Roster, err error) {
	if err := c.ask(ctx, false); err != nil {
		return r, err
	}
	_, drives := c.roster()
	heard := make(map[string]bool)
	for i := range drives {
		id := &drives[i]
		if r = r.Merge(id.Known()); id.Number == table.Number && id.Epoch == table.Epoch && slices.Equal(id.Set, table.Set) {
			heard[id.Drive] = true
		}
	}
	if need := register.ReadQuorum(len(table.Set)); len(heard) < need {
		return r, fmt.Errorf("%w: %d, and %d are needed", errUndecided, len(heard), need)
	}
	return r, nil
}

// Numbers returns the numbers of the sets, once Open has returned.
func (c *Cluster) Numbers() (all []int) {
	for _, t := range c.Tables() {
		all = append(all, t.Number)
	}
	return all
}

// Fresh reports whether a set held nothing that is needed when Open was called.
func (c *Cluster) Fresh(set int) bool {
	return !c.before.Needs(c.Numbers()[set])
}
