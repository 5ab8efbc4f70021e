package dirsnap

import (
	"iter"
	"slices"
	"strings"
)

// View is a directory as it is to be shown: a snapshot, and what changed since
// it was read. It never changes.
type View struct {
	base    *Snapshot
	overlay []change // sorted by key
}

// change is what is known of one key after the snapshot was read.
type change struct {
	Entry
	removed bool
}

func compareKey(c change, key string) int { return strings.Compare(c.Key, key) }

// From returns the entries in ascending order from the first one whose Key is
// not less than key, or with after set is greater.
func (v *View) From(key string, after bool) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		i := v.base.Seek(key)
		if after {
			i = v.base.SeekAfter(key)
		}
		j, found := slices.BinarySearchFunc(v.overlay, key, compareKey)
		if found && after {
			j++
		}
		v.merge(i, j, yield)
	}
}

// merge yields from the i-th entry of the snapshot and the j-th change on. Of
// an entry and a change of one key the change counts.
func (v *View) merge(i, j int, yield func(Entry) bool) {
	for j < len(v.overlay) {
		c := v.overlay[j]
		for i < v.base.Len() {
			e := v.base.At(i)
			if e.Key >= c.Key {
				if e.Key == c.Key {
					i++
				}
				break
			}
			if !yield(e) {
				return
			}
			i++
		}
		if !c.removed && !yield(c.Entry) {
			return
		}
		j++
	}
	for ; i < v.base.Len(); i++ {
		if !yield(v.base.At(i)) {
			return
		}
	}
}

// Has reports whether there is an entry of the Key.
func (v *View) Has(key string) bool {
	if j, found := slices.BinarySearchFunc(v.overlay, key, compareKey); found {
		return !v.overlay[j].removed
	}
	i := v.base.Seek(key)
	return i < v.base.Len() && v.base.At(i).Key == key
}

// fold returns the snapshot that shows the same.
func (v *View) fold() (*Snapshot, error) {
	size := len(v.base.arena)
	for _, c := range v.overlay {
		size += len(c.Key) + 1
	}
	p := newPacker(v.base.Len()+len(v.overlay), size)
	for e := range v.From("", false) {
		p.add(e)
	}
	return p.finish(v.base.long)
}

// overlaid returns sorted with the later changes of log in it; sorted stays as
// it is.
func overlaid(sorted, log []change) []change {
	if len(log) == 0 {
		return sorted
	}
	all := slices.Concat(sorted, log)
	slices.SortStableFunc(all, func(x, y change) int { return strings.Compare(x.Key, y.Key) })
	kept := all[:0]
	for i, c := range all {
		if i+1 == len(all) || all[i+1].Key != c.Key {
			kept = append(kept, c) // of several of one key the last
		}
	}
	return kept
}
