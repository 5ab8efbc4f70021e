package protocol

import (
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Mark is a place in the order of a slot's changes. What was read after a mark
// was given holds all that comes before it.
type Mark struct {
	Slot   Slot
	Epoch  Epoch  // of the owner that gave it
	Number uint64 // of changes in that epoch
}

// Bounds of what is told of changes.
const (
	maxJournal    = 16 << 10 // bytes of a slot, each change with its overhead
	entryOverhead = 32
	maxTold       = 4096 // names in one answer
	maxToldBytes  = 256 << 10
)

// journal is the order of the changes of one slot: the name of each exclusive
// lease that ended, by whatever way. It is kept from when somebody first asks
// for changes, and until so many have come that nobody can follow any more who
// has asked so far: who does not use it pays for a counter.
type journal struct {
	on      bool
	last    uint64 // changes so far
	asked   uint64 // what last was when somebody asked
	lost    uint64 // the last change of those that are not in entries
	entries []change
	size    int
}

type change struct {
	number uint64
	name   string
}

// record takes note of the names that a lease excluded others from.
func (j *journal) record(items []Item) {
	for _, item := range items {
		if item.Mode != lock.Exclusive {
			continue
		}
		j.last++
		if j.on {
			j.append(item.Name)
		}
	}
}

func (j *journal) append(name string) {
	j.entries = append(j.entries, change{j.last, name})
	j.size += entryOverhead + len(name)
	j.shrink(maxJournal)
}

// shrink forgets the oldest changes until the others are within a bound, and
// all if nobody can follow them any more.
func (j *journal) shrink(bound int) {
	for j.size > bound {
		first := j.entries[0]
		j.entries[0].name = ""
		j.entries = j.entries[1:]
		j.lost, j.size = first.number, j.size-entryOverhead-len(first.name)
	}
	if j.lost > j.asked {
		*j = journal{last: j.last}
	}
}

// since returns the changes after a number; not known if some of them are not
// here.
func (j *journal) since(number uint64) (after []change, known bool) {
	if !j.on {
		j.on, j.lost = true, j.last
	}
	j.asked = j.last
	if number < j.lost || number > j.last {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(j.entries, number+1, func(c change, n uint64) int {
		if c.number < n {
			return -1
		}
		return 1
	})
	return j.entries[i:], true
}

// told is what owners tell of changes.
type told struct {
	prefixes []string
	names    []string
	size     int
	unknown  bool // names lacks some
}

// add takes a name if it begins with one of the prefixes.
func (t *told) add(name string) {
	if !slices.ContainsFunc(t.prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return
	}
	if len(t.names) >= maxTold || t.size+len(name) > maxToldBytes {
		t.unknown = true
		return
	}
	t.names = append(t.names, name)
	t.size += len(name)
}

// Since adds to t what has, or may have, changed in the slot since a mark: what
// exclusive leases that ended were on, and what those are on that are held
// now, for a change may be visible long before its lease ends. It returns the
// mark to ask from the next time, and not ok if the slot is another's or not
// all is known that is held of it.
func (o *OwnerSlot) since(mark Mark, t *told) (next Mark, ok bool) {
	if !o.active {
		return Mark{}, false
	}
	after, known := o.journal.since(mark.Number)
	if !known || mark.Epoch != o.epoch {
		t.unknown = true
	} else {
		for _, c := range after {
			t.add(c.name)
		}
		for name, q := range o.names {
			if q.exclusive > 0 {
				t.add(name)
			}
		}
	}
	return Mark{Slot: mark.Slot, Epoch: o.epoch, Number: o.journal.last}, true
}
