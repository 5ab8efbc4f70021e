// Package placement says which of several sets of drives has a key: keys fall into partitions,
// and a table says which set has each of these. It is pure: who keeps the table, and moves
// what is in a partition, is elsewhere.
package placement

import "github.com/zeebo/xxh3"

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

// Table says which set has a partition.
type Table [Partitions]uint16

// New returns the Table of sets that are formed together: each has partitions in proportion to
// its weight, which is not negative, and at least one is not 0. The same weights give the same
// Table for ever, since it is not kept anywhere.
func New(weights []int) *Table {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	t := new(Table)
	credit := make([]int, len(weights))
	for p := range t {
		most := 0
		for i, w := range weights {
			if credit[i] += w; credit[i] > credit[most] {
				most = i
			}
		}
		credit[most] -= sum
		t[p] = uint16(most) //nolint:gosec // there are not so many sets
	}
	return t
}
