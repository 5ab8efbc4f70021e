package format_test

import (
	"maps"
	"testing"

	"github.com/shoal-storage/shoal/erasure/format"
)

func needing(epoch uint64, sets ...int) format.Roster {
	r := format.Roster{Epoch: epoch, Needed: make(map[int]string)}
	for _, n := range sets {
		r.Needed[n] = ""
	}
	return r
}

func TestOfTwoRostersTheLaterCountsAndOfTheSameEpochBoth(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want format.Roster }{
		"a later one":     {needing(1, 0, 1), needing(2, 1), needing(2, 1)},
		"of the same":     {needing(2, 0), needing(2, 1), needing(2, 0, 1)},
		"none and one":    {format.Roster{}, needing(0, 0), needing(0, 0)},
		"the very same":   {needing(4, 3), needing(4, 3), needing(4, 3)},
		"one without any": {needing(3, 1), format.Roster{Epoch: 2}, needing(3, 1)},
	} {
		for _, got := range []format.Roster{c.a.Merge(c.b), c.b.Merge(c.a)} {
			if got.Epoch != c.want.Epoch || !maps.Equal(got.Needed, c.want.Needed) {
				t.Errorf("%s: %+v, want %+v", name, got, c.want)
			}
		}
	}
	if got := (format.Roster{Next: 3}).Merge(format.Roster{Epoch: 1, Next: 2}); got.Next != 3 {
		t.Errorf("a number is given again: %+v", got)
	}
}

func TestADriveThatWasReplacedDoesNotAgree(t *testing.T) {
	r := needing(1, 0)
	identity := func(drive string, epoch uint32, set []string, told *format.Roster) format.Identity {
		return format.Identity{Drive: drive, Epoch: epoch, Set: set, Roster: told}
	}
	before, after := []string{"a", "b", "c"}, []string{"x", "b", "c"}
	drives := []format.Identity{identity("a", 0, before, &r), identity("b", 0, before, &r), identity("c", 0, before, nil)}
	if !format.Agreed(r, drives, []int{0}) {
		t.Error("two of three are a majority")
	}
	drives[2] = identity("c", 1, after, nil)
	if format.Agreed(r, drives, []int{0}) {
		t.Error("of the two one is none of the set any more")
	}
	if format.Agreed(needing(0, 0), drives[:2], []int{0}) {
		t.Error("who knows a later one is not of one mind with an earlier one")
	}
	if format.Agreed(needing(1, 0), drives[:2], []int{0, 1}) {
		t.Error("nothing is known of the other set")
	}
}
