// Package placement says which of several sets of drives has a key: keys fall into partitions,
// and a table says which set has each of these. It is pure: who keeps the table, and moves
// what is in a partition, is elsewhere.
package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/xxh3"
)

// Partitions is how many there are. What is stored depends on it: it must not change.
const Partitions = 1 << partitionBits

const partitionBits = 12

// Partition returns the partition of a key. The seed is the deployment's own, so that nobody
// can choose keys that all fall into one.
func Partition(seed uint64, key string) int {
	return int(xxh3.HashStringSeed(key, seed) >> (64 - partitionBits)) //nolint:gosec // 12 bits
}

// Seed returns the seed of a deployment.
func Seed(deployment string) uint64 { return xxh3.HashString(deployment) }

// Phase says how far partitions are on their way from one set to another.
type Phase byte

// The phases. Their values are stored and must not change.
const (
	// Settled says that none is.
	Settled Phase = 0
	// Announced says that some will be: who reads looks in both sets, who writes does so where
	// the partition was.
	Announced Phase = 1
	// Moving says that whoever writes does so where the partition goes.
	Moving Phase = 2
)

// Table says which set has a partition. It is not changed once it is used.
type Table struct {
	Epoch uint64 // raised with every change
	Phase Phase
	Homes [Partitions]uint16 // where a partition is, or goes
	From  [Partitions]uint16 // where it is on its way from; where it is, if it is on none
}

// New returns the Table of sets that are formed together: each has partitions in proportion to
// its weight, which is not negative, and at least one is not 0. The same weights give the same
// Table for ever, since it is not kept anywhere before it changes.
func New(weights []int) *Table {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	t := new(Table)
	credit := make([]int, len(weights))
	for p := range t.Homes {
		most := 0
		for i, w := range weights {
			if credit[i] += w; credit[i] > credit[most] {
				most = i
			}
		}
		credit[most] -= sum
		t.Homes[p] = uint16(most) //nolint:gosec // there are not so many sets
	}
	t.From = t.Homes
	return t
}

// Rebalanced returns the Table that gives each set its share by weight again, and has no more
// partitions move than that takes: no set loses some and gets others. It is nil if that is so
// already. The Table is Settled.
func (t *Table) Rebalanced(weights []int) *Table {
	spare := make([]int, len(weights)) // of each set: how many it has beyond its share; below 0: lacks
	for _, home := range New(weights).Homes {
		spare[home]--
	}
	for _, home := range t.Homes {
		spare[home]++
	}
	next, moved, to := *t, false, 0
	for p, home := range t.Homes {
		for to < len(spare) && spare[to] >= 0 {
			to++
		}
		if to == len(spare) {
			break
		}
		if spare[home] > 0 {
			spare[home]--
			spare[to]++
			next.Homes[p], moved = uint16(to), true //nolint:gosec // there are not so many sets
		}
	}
	if !moved {
		return nil
	}
	next.Epoch, next.Phase = t.Epoch+1, Announced
	return &next
}

// Next returns the Table of the next phase: of one that is Moving that all has moved.
func (t *Table) Next() *Table {
	next := *t
	next.Epoch++
	if t.Phase == Moving {
		next.Phase, next.From = Settled, t.Homes
	} else {
		next.Phase++
	}
	return &next
}

// Sets returns how many sets the Table needs.
func (t *Table) Sets() (n int) {
	for p := range t.Homes {
		n = max(n, int(t.Homes[p])+1, int(t.From[p])+1)
	}
	return n
}

// Moves returns how many partitions are on their way.
func (t *Table) Moves() (n int) {
	for p := range t.Homes {
		if t.From[p] != t.Homes[p] {
			n++
		}
	}
	return n
}

// Sources returns the sets that partitions leave, by their numbers.
func (t *Table) Sources() map[int]bool {
	sources := make(map[int]bool)
	for p := range t.Homes {
		if t.From[p] != t.Homes[p] {
			sources[int(t.From[p])] = true
		}
	}
	return sources
}

// Destinations returns the sets that partitions go to, by their numbers.
func (t *Table) Destinations() map[int]bool {
	destinations := make(map[int]bool)
	for p := range t.Homes {
		if t.From[p] != t.Homes[p] {
			destinations[int(t.Homes[p])] = true
		}
	}
	return destinations
}

// tableVersion is the first byte of a Table that is kept.
const tableVersion = 1

const tableSize = 2 + 8 + 4*Partitions + 4

// Encode returns the Table as it is kept.
func (t *Table) Encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{tableVersion, byte(t.Phase)}, t.Epoch)
	for p := range t.Homes {
		b = binary.BigEndian.AppendUint16(b, t.Homes[p])
		b = binary.BigEndian.AppendUint16(b, t.From[p])
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Decode is the inverse of Encode.
func Decode(b []byte) (*Table, error) {
	if len(b) != tableSize || b[0] != tableVersion {
		return nil, fmt.Errorf("placement: %d bytes are no table of version %d", len(b), tableVersion)
	}
	body := b[:tableSize-4]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[tableSize-4:]) {
		return nil, errors.New("placement: the table is damaged")
	}
	t := &Table{Phase: Phase(b[1]), Epoch: binary.BigEndian.Uint64(b[2:])}
	for p := range t.Homes {
		t.Homes[p] = binary.BigEndian.Uint16(b[10+4*p:])
		t.From[p] = binary.BigEndian.Uint16(b[12+4*p:])
	}
	if t.Phase > Moving || (t.Phase == Settled) != (t.From == t.Homes) {
		return nil, errors.New("placement: the table contradicts itself")
	}
	return t, nil
}
