package placement_test

import (
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/shoal-storage/shoal/erasure/placement"
)

func TestPartitionsAreSharedInProportionToWeights(t *testing.T) {
	for _, weights := range [][]int{{4}, {4, 4}, {16, 16, 16}, {4, 12}, {0, 5}, {3, 5, 7, 11}} {
		table, sum := placement.New(weights), 0
		for _, w := range weights {
			sum += w
		}
		have := make([]int, len(weights))
		for _, set := range table {
			have[set]++
		}
		for i, w := range weights {
			if want := w * placement.Partitions / sum; have[i] < want || have[i] > want+1 {
				t.Errorf("weights %v: set %d has %d partitions, its share are %d", weights, i, have[i], want)
			}
		}
	}
}

// What is stored is found by these.
func TestPlacesStayWhatTheyWere(t *testing.T) {
	for key, want := range map[string]int{"": 2997, "a": 440, "photos/2026/01.jpg": 520} {
		if got := placement.Partition(placement.Seed("5f0f5f3c"), key); got != want {
			t.Errorf("%q is in partition %d, and was in %d", key, got, want)
		}
	}
	sum := crc32.ChecksumIEEE(fmt.Append(nil, *placement.New([]int{4, 8, 4})))
	if want := uint32(0xbba5bd60); sum != want {
		t.Errorf("the table of three sets is another one: %#x, and was %#x", sum, want)
	}
}

func TestKeysSpreadOverPartitions(t *testing.T) {
	const keys = 100_000
	table := placement.New([]int{1, 1, 1, 1})
	have := make([]int, 4)
	for i := range keys {
		have[table[placement.Partition(7, fmt.Sprintf("dir/%d", i))]]++
	}
	for i, n := range have {
		if n < keys/4*95/100 || n > keys/4*105/100 {
			t.Errorf("set %d has %d of %d keys", i, n, keys)
		}
	}
}
