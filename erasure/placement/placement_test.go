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
		for _, set := range table.Homes {
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
	sum := crc32.ChecksumIEEE(fmt.Append(nil, placement.New([]int{4, 8, 4}).Homes))
	if want := uint32(0xbba5bd60); sum != want {
		t.Errorf("the table of three sets is another one: %#x, and was %#x", sum, want)
	}
}

func TestKeysSpreadOverPartitions(t *testing.T) {
	const keys = 100_000
	table := placement.New([]int{1, 1, 1, 1})
	have := make([]int, 4)
	for i := range keys {
		have[table.Homes[placement.Partition(7, fmt.Sprintf("dir/%d", i))]]++
	}
	for i, n := range have {
		if n < keys/4*95/100 || n > keys/4*105/100 {
			t.Errorf("set %d has %d of %d keys", i, n, keys)
		}
	}
}

func TestNoMorePartitionsMoveThanSharesTake(t *testing.T) {
	for _, c := range []struct {
		before, after []int
		moved         int
	}{
		{[]int{4, 0}, []int{4, 4}, 2048},
		{[]int{4, 4, 0, 0}, []int{4, 4, 4, 4}, 2048},
		{[]int{4, 4}, []int{4, 0}, 2048},
		{[]int{4, 12, 0}, []int{4, 12, 16}, 2048},
		{[]int{4, 4}, []int{4, 4}, 0},
	} {
		table := placement.New(c.before)
		next := table.Rebalanced(c.after)
		if next == nil {
			if c.moved != 0 {
				t.Errorf("%v to %v: nothing moves", c.before, c.after)
			}
			continue
		}
		have, moved, gains := make([]int, len(c.after)), 0, make(map[uint16]bool)
		for p, home := range next.Homes {
			have[home]++
			if next.From[p] != table.Homes[p] {
				t.Fatalf("partition %d comes from %d, and was in %d", p, next.From[p], table.Homes[p])
			}
			if home != next.From[p] {
				moved++
				gains[home] = true
			}
		}
		if moved != c.moved || next.Rebalanced(c.after) != nil {
			t.Errorf("%v to %v: %d partitions move, and then sets have %v", c.before, c.after, moved, have)
		}
		for set := range next.Sources() {
			if gains[uint16(set)] { //nolint:gosec // two or three
				t.Errorf("%v to %v: set %d loses partitions and gets others", c.before, c.after, set)
			}
		}
	}
}

// What belongs to no key leaves a set that is to have nothing, and goes where nothing is lost.
func TestWhatIsCommonLeavesASetThatIsDrained(t *testing.T) {
	for _, c := range []struct {
		before, after []int
		home          uint16
	}{
		{[]int{4, 4}, []int{4, 4}, 0},
		{[]int{4, 4}, []int{0, 4}, 1},
		{[]int{4, 8, 0}, []int{0, 4, 8}, 2},
		{[]int{4, 0, 4}, []int{0, 0, 4}, 2},
	} {
		next := placement.New(c.before).Rebalanced(c.after)
		if next == nil {
			next = placement.New(c.before)
		}
		if next.CommonHome != c.home || next.Sources()[int(c.home)] || next.CommonFrom != 0 {
			t.Errorf("%v to %v: it goes to %d, sources are %v", c.before, c.after, next.CommonHome, next.Sources())
		}
		for next.Phase != placement.Settled {
			again, err := placement.Decode(next.Encode())
			if err != nil || *again != *next {
				t.Fatalf("what was kept is read as another: %v", err)
			}
			next = next.Next()
		}
		if again, err := placement.Decode(next.Encode()); err != nil || *again != *next || next.Used()[0] != (c.after[0] > 0) {
			t.Errorf("%v to %v: then it is used %v, %v", c.before, c.after, next.Used(), err)
		}
	}
}

func TestATableGoesThroughItsPhases(t *testing.T) {
	table := placement.New([]int{4, 0}).Rebalanced([]int{4, 4})
	for i, want := range []placement.Phase{placement.Announced, placement.Moving, placement.Settled} {
		if table.Phase != want || table.Epoch != uint64(i)+1 || (len(table.Sources()) == 0) != (want == placement.Settled) {
			t.Errorf("step %d: phase %d of epoch %d", i, table.Phase, table.Epoch)
		}
		again, err := placement.Decode(table.Encode())
		if err != nil || *again != *table {
			t.Errorf("what was kept is read as another: %v", err)
		}
		table = table.Next()
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(placement.New([]int{4, 0}).Rebalanced([]int{4, 4}).Encode())
	f.Add(placement.New([]int{4, 0}).Rebalanced([]int{0, 4}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if table, err := placement.Decode(b); err == nil && string(table.Encode()) != string(b) {
			t.Error("a table is not kept as it was read")
		}
	})
}
