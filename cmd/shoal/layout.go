package main

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/rebalance"
)

// maxSet is how many drives a set has at most.
const maxSet = 16

// minSet is how many drives a set has at least, unless a pool has fewer or somebody says so.
const minSet = 4

// driveSet is a set of drives, which are paths or endpoints of nodes.
type driveSet[T any] struct {
	name         string // of its pool
	pool, number int    // number is its place in the pool
	drives       []T
	classes      *atomic.Pointer[classes] // one of all copies
}

// parity is how many of its drives may be lost.
func (s *driveSet[T]) parity() int { return s.classes.Load().parity }

// layout is all sets, in their order.
type layout[T any] []driveSet[T]

// poolOf is where the sets of a pool are from, as it was named.
type poolOf[T any] struct {
	name   string
	drives []T
}

// pools returns what each of the arguments stands for: the drives of a pool, if any of them
// has an ellipsis, and otherwise all of them one pool.
func pools(args []string) ([]poolOf[string], error) {
	var all []poolOf[string]
	ellipses := slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "{") })
	for i, arg := range args {
		expanded, err := expand(arg)
		if err != nil {
			return nil, err
		}
		if i > 0 && !ellipses {
			all[0].name, all[0].drives = all[0].name+" "+arg, append(all[0].drives, expanded...)
		} else {
			all = append(all, poolOf[string]{arg, expanded})
		}
	}
	return all, nil
}

// layoutOf puts the drives of pools into sets, and says how many of each may be lost.
func layoutOf[T any](f *serverFlags, pools []poolOf[T], node func(T) string) (layout[T], error) {
	var all layout[T]
	drives := 0
	for i, pool := range pools {
		sets, err := setsOf(pool.drives, node, f.setSize)
		if err != nil {
			return nil, err
		}
		for j, set := range sets {
			c, err := f.classesOf(len(set))
			if err != nil {
				return nil, err
			}
			s := driveSet[T]{name: pool.name, pool: i, number: j, drives: set, classes: new(atomic.Pointer[classes])}
			s.classes.Store(&c)
			all, drives = append(all, s), drives+len(set)
		}
	}
	if drives > erasure.MaxDrives {
		return nil, usage(fmt.Sprintf("%d drives are too many: there may be %d", drives, erasure.MaxDrives), "name fewer")
	}
	return all, nil
}

// setsOf puts the drives of a pool into sets of the same size, as large as they can be, and
// spreads those of each node over all sets.
func setsOf[T any](pool []T, node func(T) string, size int) ([][]T, error) {
	byNode := make(map[string][]int) // where its drives are in the pool
	var nodes []string
	for i, d := range pool {
		n := node(d)
		if byNode[n] == nil {
			nodes = append(nodes, n)
		}
		byNode[n] = append(byNode[n], i)
	}
	size, err := setSize(len(pool), len(nodes), size)
	if err != nil {
		return nil, err
	}
	var order []int // the first drive of each node, then the second of each, and so on
	for round := 0; len(order) < len(pool); round++ {
		for _, n := range nodes {
			if round < len(byNode[n]) {
				order = append(order, byNode[n][round])
			}
		}
	}
	var sets [][]T
	for places := range slices.Chunk(order, size) {
		var set []T
		for _, i := range slices.Sorted(slices.Values(places)) { // as they were named
			set = append(set, pool[i])
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// setSize returns how many drives a set of a pool has. wanted is what somebody wants, or 0.
func setSize(drives, nodes, wanted int) (int, error) {
	if wanted > 0 {
		if drives%wanted != 0 {
			return 0, usage(fmt.Sprintf("--set-size %d does not divide the %d drives of a pool", wanted, drives), "take one that does, or leave it out")
		}
		return wanted, nil
	}
	if drives <= maxSet {
		return drives, nil
	}
	for size := maxSet; size >= minSet; size-- {
		if drives%size == 0 && (size%nodes == 0 || nodes%size == 0) {
			return size, nil
		}
	}
	return 0, usage(fmt.Sprintf("%d drives of %d nodes cannot be put into sets of %d to %d that are alike", drives, nodes, minSet, maxSet),
		"name as many of each node, in a number that such a set divides, or give --set-size")
}

// each returns the drives of each set.
func (l layout[T]) each() (all [][]T) {
	for i := range l {
		all = append(all, l[i].drives)
	}
	return all
}

// placed returns the sets as objects are placed in them, by their numbers.
func (l layout[T]) placed(numbers []int) (all []rebalance.Set) {
	for i := range l {
		all = append(all, rebalance.Set{Number: numbers[i], Pool: l[i].pool, Drives: len(l[i].drives)})
	}
	return all
}

// names returns those of the pools.
func (l layout[T]) names() (all []string) {
	for i := range l {
		if l[i].number == 0 {
			all = append(all, l[i].name)
		}
	}
	return all
}

// drives returns how many drives all sets have.
func (l layout[T]) drives() (n int) {
	for i := range l {
		n += len(l[i].drives)
	}
	return n
}

// what says in a few words what the sets are.
func (l layout[T]) what() string {
	if len(l) == 1 {
		return fmt.Sprintf("%d drives, EC:%d", len(l[0].drives), l[0].parity())
	}
	return fmt.Sprintf("%d drives in %d sets, EC:%d", l.drives(), len(l), l.classes().parity)
}

// classes returns how many drives may be lost whichever they are.
func (l layout[T]) classes() classes {
	least := classes{maxSet, maxSet}
	for i := range l {
		c := l[i].classes.Load()
		least = classes{min(least.parity, c.parity), min(least.reduced, c.reduced)}
	}
	return least
}

// parities is what a gateway shows of it.
func (l layout[T]) parities() (standard, reduced int) {
	least := l.classes()
	return least.parity, least.reduced
}

// change opens what flags say of storage classes: use has it hold for what is stored from then on.
func (l layout[T]) change(f *serverFlags, store *erasure.Store) (use func(), err error) {
	found := make([]classes, len(l))
	for i := range l {
		if found[i], err = f.classesOf(len(l[i].drives)); err != nil {
			return nil, err
		}
	}
	return func() {
		for i := range l {
			l[i].classes.Store(&found[i])
		}
		store.SetParities(func(set int) (parity, reduced int) { return found[set].parity, found[set].reduced })
	}, nil
}

// at returns the set that a slot is of.
func (l layout[T]) at(slot int) (set int) {
	for slot >= len(l[set].drives) {
		slot -= len(l[set].drives)
		set++
	}
	return set
}

// configs returns what a Store is told of the sets, whose drives are given.
func (l layout[T]) configs(drives func(set int) []erasure.Drive) []erasure.SetConfig {
	var all []erasure.SetConfig
	for i := range l {
		c := l[i].classes.Load()
		all = append(all, erasure.SetConfig{Drives: drives(i), Parity: c.parity, Reduced: c.reduced})
	}
	return all
}

// status says how the sets stand, in the words that people know. offline is how many drives of
// each set are.
func (l layout[T]) status(offline []int) string {
	lost, spare := 0, maxSet
	for i := range l {
		lost, spare = lost+offline[i], min(spare, l[i].parity()-offline[i])
	}
	return fmt.Sprintf("Status: %d Online, %d Offline. We can withstand [%d] more drive failure(s).", l.drives()-lost, lost, max(0, spare))
}
