package format

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// A drive that is put back as it was some time ago, from a snapshot or a backup, has forgotten what it
// had acknowledged since then, and nobody else remembers a deletion that all drives had taken. So each drive counts
// how often it was started, and the others of its set note that number: who knows less of itself than they do
// is an older copy.

// ErrOlder says that a drive is an older copy of itself.
var ErrOlder = errors.New("it is an older copy of this drive, which was started later: what was deleted meanwhile would come back; empty it, and it is given everything")

// startedAgain is how long a drive is open until that counts as another start: copies of it
// that are older are noticed.
const startedAgain = 24 * time.Hour

// Older reports whether the drive is an older copy of itself, as others know.
func (id *Identity) Older(others []*Identity) bool {
	if id.Start == 0 { // it was never started by a program that counts
		return false
	}
	return slices.ContainsFunc(others, func(o *Identity) bool {
		return o.Drive != id.Drive && o.Deployment == id.Deployment && o.Starts[id.Drive] > id.Start
	})
}

// Witness has the drives of this node know, durably, how often those that are open were started.
func (l *Local) Witness(open []*Identity) error {
	return errors.Join(l.restart(), l.change(func(id *Identity) (changed bool) {
		for _, o := range open {
			if o.Start == 0 || o.Drive == id.Drive || o.Deployment != id.Deployment || !slices.Contains(id.Set, o.Drive) || id.Starts[o.Drive] == o.Start {
				continue
			}
			if !changed { // those who were given the identity have the map
				id.Starts = maps.Clone(id.Starts)
			}
			if changed = true; id.Starts == nil {
				id.Starts = make(map[string]uint32)
			}
			id.Starts[o.Drive] = o.Start
		}
		return changed
	}))
}

// restart counts a start of drives that have been open for long.
func (l *Local) restart() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, p := range l.places {
		if p.err == nil && p.drive != nil && time.Since(p.started) > startedAgain {
			errs = append(errs, p.raise())
		}
	}
	return errors.Join(errs...)
}

// openIdentities returns the identities of drives that are open.
func (l *Local) openIdentities() (all []*Identity) {
	for _, f := range l.Found() {
		if f.Open && f.Identity != nil {
			all = append(all, f.Identity)
		}
	}
	return all
}

// MostOlder is how many of a set of n drives are left out as older copies of themselves, at most: after a power cut
// disks that lie may all have forgotten, and are still all there is.
func MostOlder(n int) int { return n - register.Majority(n) }

// leaveOlder takes drives out of their slots that are older copies of themselves. The caller holds mu.
func (l *Local) leaveOlder(slots []*place) {
	var ids []*Identity
	var older []*place
	for _, p := range l.places {
		switch {
		case errors.Is(p.err, ErrOlder):
			older = append(older, p)
		case p.err == nil && p.id != nil:
			ids = append(ids, p.id)
		}
	}
	for _, p := range slots {
		if p != nil && p.drive == nil && p.id.Older(ids) {
			older = append(older, p)
		}
	}
	if len(older) > MostOlder(len(slots)) {
		return
	}
	for i, p := range slots {
		if p != nil && slices.Contains(older, p) {
			p.err, slots[i] = ErrOlder, nil
			l.log.Error("a drive is not used", "path", p.path, "error", p.err)
		}
	}
}
