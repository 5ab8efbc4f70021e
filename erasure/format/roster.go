package format

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Roster says which sets of a deployment hold something, so that none may be left out when drives are
// named. Every drive knows one, and of two both count (Merge).
type Roster struct {
	// Epoch is that of the placement by which they do.
	Epoch uint64 `json:"epoch,omitempty"`
	// Needed are these sets, by their numbers, and the pools that they were named for: "" is one that
	// is not known, or that of another set.
	Needed map[int]string `json:"needed,omitempty"`
	// Next is above all numbers that were given to sets. None is given twice.
	Next int `json:"next,omitempty"`
}

// Merge returns what follows from two Rosters: of that with the later epoch its sets, and of two with
// the same those of both.
func (r Roster) Merge(o Roster) Roster {
	if r.Epoch < o.Epoch {
		r, o = o, r
	}
	all := Roster{Epoch: r.Epoch, Needed: maps.Clone(r.Needed), Next: max(r.Next, o.Next)}
	if r.Epoch > o.Epoch {
		return all
	}
	if all.Needed == nil {
		all.Needed = make(map[int]string)
	}
	for number, pool := range o.Needed {
		all.Needed[number] = cmp.Or(all.Needed[number], pool)
	}
	return all
}

// Covers reports whether who knows this Roster knows the other one, and nothing later.
func (r Roster) Covers(o Roster) bool {
	for number := range o.Needed {
		if _, ok := r.Needed[number]; !ok {
			return false
		}
	}
	return r.Epoch == o.Epoch && r.Next >= o.Next
}

// Needs reports whether a set holds something.
func (r Roster) Needs(number int) bool {
	_, needed := r.Needed[number]
	return needed
}

// Missing returns a set that is needed and not among some, by their numbers, and its pool. ok says
// that there is one.
func (r Roster) Missing(among map[int]bool) (number int, pool string, ok bool) {
	number = -1
	for n := range r.Needed {
		if !among[n] && (number < 0 || n < number) {
			number = n
		}
	}
	return number, r.Needed[number], number >= 0
}

// Known returns the Roster that the drive knows. One that was told of none knows the sets that it was
// formed with, or those that were there then.
func (id *Identity) Known() Roster {
	r := Roster{Needed: make(map[int]string), Next: max(1, id.Of, id.Number+1)}
	for number := range max(1, id.Of) {
		r.Needed[number] = ""
	}
	if id.Roster == nil {
		return r
	}
	told := *id.Roster
	told.Next = max(told.Next, r.Next)
	return told
}

// Agreed reports whether, of each of some sets, a majority of the drives is among those that know a
// Roster. A drive in whose place another one has been put meanwhile does not count.
func Agreed(r Roster, drives []Identity, sets []int) bool {
	for _, number := range sets {
		var of Table
		knows := make(map[string]bool)
		for i := range drives {
			if id := &drives[i]; id.Number == number {
				if of.Set == nil || of.Epoch < id.Epoch {
					of = id.Table()
				}
				knows[id.Drive] = id.Known().Covers(r)
			}
		}
		n := 0
		for _, drive := range of.Set {
			if knows[drive] {
				n++
			}
		}
		if of.Set == nil || n < register.Majority(len(of.Set)) {
			return false
		}
	}
	return true
}

// rosterOf returns what drives know together.
func rosterOf(places []*place) (all Roster) {
	for _, p := range places {
		if p != nil && p.err == nil && p.id != nil {
			all = all.Merge(p.id.Known())
		}
	}
	return all
}

// Same reports whether both Rosters need the same sets in the same epoch.
func (r Roster) Same(o Roster) bool { return r.Covers(o) && len(r.Needed) == len(o.Needed) }

// Knows reports whether a Roster counts, and a majority of the drives of each set that is needed by it
// knows that: so every start will find it out.
func Knows(sets []*Set, r Roster) bool {
	var all Roster
	var drives []Identity
	for _, s := range sets {
		for _, f := range s.local.Found() {
			if f.Identity != nil {
				all, drives = all.Merge(f.Identity.Known()), append(drives, *f.Identity)
			}
		}
	}
	return all.Same(r) && Agreed(r, drives, slices.Collect(maps.Keys(r.Needed)))
}

// Agree has the drives of sets that this process has know a Roster, durably: a majority of each set
// that is needed by it.
func Agree(sets []*Set, r Roster) error {
	var drives []Identity
	var errs []error
	for _, s := range sets {
		known, err := s.local.Note(r)
		drives, errs = append(drives, known...), append(errs, err)
	}
	if Agreed(r, drives, slices.Collect(maps.Keys(r.Needed))) {
		return nil
	}
	return errors.Join(append(errs, fmt.Errorf("%w: which sets hold something is known to fewer than a majority of each", ErrTooFew))...)
}

// Note has the drives know a Roster, durably, and returns what they are then.
func (l *Local) Note(r Roster) ([]Identity, error) {
	err := l.change(func(id *Identity) bool {
		known := id.Known()
		told := known.Merge(r)
		if known.Covers(told) {
			return false
		}
		id.Roster = &told
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	var drives []Identity
	for _, p := range l.places {
		if p.err == nil && p.id != nil {
			drives = append(drives, *p.id)
		}
	}
	return drives, err
}
