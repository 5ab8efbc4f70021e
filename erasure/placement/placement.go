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

// Common is the place, beside those of the partitions, of what belongs to no key: the records of
// buckets, and what the server itself keeps.
const Common = Partitions

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

// Table says which set has a partition, by the numbers of sets: one is never given twice. It is not
// changed once it is used.
type Table struct {
	Epoch uint64 // raised with every change
	Phase Phase
	Homes [Partitions]uint16 // where a partition is, or goes
	From  [Partitions]uint16 // where it is on its way from; where it is, if it is on none
	// The same of what is Common.
	CommonHome, CommonFrom uint16
}

// At returns where the contents of a place are, or go, and where they come from: that of a partition,
// or Common.
func (t *Table) At(place int) (from, home int) {
	if place == Common {
		return int(t.CommonFrom), int(t.CommonHome)
	}
	return int(t.From[place]), int(t.Homes[place])
}

// New returns the Table of sets that are formed together: each has partitions in proportion to
// its weight, by its number, which is not negative, and at least one is not 0. The set 0 has what is
// Common. The same weights give the same Table for ever, since it is not kept anywhere before it
// changes.
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
// partitions move than that takes: no set loses some and gets others. What is Common leaves a set
// that is to have nothing. It is nil if that is so already. The Table is Settled.
func (t *Table) Rebalanced(weights []int) *Table {
	next := *t
	spare := t.spare(weights)
	to := 0
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
			next.Homes[p] = uint16(to) //nolint:gosec // there are not so many sets
		}
	}
	if int(t.CommonHome) >= len(weights) || weights[t.CommonHome] == 0 {
		next.CommonHome = t.heir(weights)
	}
	if next == *t {
		return nil
	}
	next.Epoch, next.Phase = t.Epoch+1, Announced
	return &next
}

// spare returns, by set, how many partitions it has beyond its share by weight; below 0: lacks.
func (t *Table) spare(weights []int) []int {
	spare := make([]int, max(len(weights), t.Sets()))
	for _, home := range New(weights).Homes {
		spare[home]--
	}
	for _, home := range t.Homes {
		spare[home]++
	}
	return spare
}

// heir returns the set that gets what is Common: one that is to have something, and loses none.
func (t *Table) heir(weights []int) uint16 {
	spare := t.spare(weights)
	for i, w := range weights {
		if w > 0 && spare[i] <= 0 {
			return uint16(i) //nolint:gosec // there are not so many sets
		}
	}
	return t.CommonHome
}

// Next returns the Table of the next phase: of one that is Moving that all has moved.
func (t *Table) Next() *Table {
	next := *t
	next.Epoch++
	if t.Phase == Moving {
		next.Phase, next.From, next.CommonFrom = Settled, t.Homes, t.CommonHome
	} else {
		next.Phase++
	}
	return &next
}

// Sets returns what is above the numbers of all sets that have anything.
func (t *Table) Sets() (n int) {
	for set := range t.Used() {
		n = max(n, set+1)
	}
	return n
}

// Used returns the sets that have something, or will, by their numbers.
func (t *Table) Used() map[int]bool {
	used := make(map[int]bool)
	for p := range Common + 1 {
		from, home := t.At(p)
		used[from], used[home] = true, true
	}
	return used
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

// Sources returns the sets that something leaves, by their numbers.
func (t *Table) Sources() map[int]bool {
	sources := make(map[int]bool)
	for p := range Common + 1 {
		if from, home := t.At(p); from != home {
			sources[from] = true
		}
	}
	return sources
}

// Destinations returns the sets that something goes to, by their numbers.
func (t *Table) Destinations() map[int]bool {
	destinations := make(map[int]bool)
	for p := range Common + 1 {
		if from, home := t.At(p); from != home {
			destinations[home] = true
		}
	}
	return destinations
}

// The first byte of a Table that is kept. Where the set 0 has what is Common it is as programs know
// it that know no other.
const (
	tableVersion  = 1
	commonVersion = 2 // with where that is, and comes from
)

const (
	tableSize  = 2 + 8 + 4*Partitions + 4
	commonSize = tableSize + 4
)

// Encode returns the Table as it is kept.
func (t *Table) Encode() []byte {
	version := byte(tableVersion)
	if t.CommonHome != 0 || t.CommonFrom != 0 {
		version = commonVersion
	}
	b := binary.BigEndian.AppendUint64([]byte{version, byte(t.Phase)}, t.Epoch)
	for p := range t.Homes {
		b = binary.BigEndian.AppendUint16(b, t.Homes[p])
		b = binary.BigEndian.AppendUint16(b, t.From[p])
	}
	if version == commonVersion {
		b = binary.BigEndian.AppendUint16(b, t.CommonHome)
		b = binary.BigEndian.AppendUint16(b, t.CommonFrom)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Decode is the inverse of Encode.
func Decode(b []byte) (*Table, error) {
	known := len(b) == tableSize && b[0] == tableVersion || len(b) == commonSize && b[0] == commonVersion
	if !known {
		return nil, fmt.Errorf("placement: %d bytes are no table of version %d or %d", len(b), tableVersion, commonVersion)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, errors.New("placement: the table is damaged")
	}
	t := &Table{Phase: Phase(b[1]), Epoch: binary.BigEndian.Uint64(b[2:])}
	for p := range t.Homes {
		t.Homes[p] = binary.BigEndian.Uint16(b[10+4*p:])
		t.From[p] = binary.BigEndian.Uint16(b[12+4*p:])
	}
	if b[0] == commonVersion {
		t.CommonHome = binary.BigEndian.Uint16(b[tableSize-4:])
		t.CommonFrom = binary.BigEndian.Uint16(b[tableSize-2:])
	}
	moves := t.From != t.Homes || t.CommonFrom != t.CommonHome
	if t.Phase > Moving || moves == (t.Phase == Settled) || b[0] == commonVersion && t.CommonHome|t.CommonFrom == 0 {
		return nil, errors.New("placement: the table contradicts itself")
	}
	return t, nil
}
