package protocol

import (
	"flag"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 1000, "how many fault schedules the simulation runs, with -short a fiftieth")
	first = flag.Uint64("seed", 1, "the first of them")
)

// runSim runs one schedule: faults, then peace in which everybody has to get
// on, then silence in which nothing may be left held.
func runSim(seed uint64, m mutant) *sim {
	s := newSim(seed, 3+int(seed%3), m)
	s.run(20 * time.Second)
	s.faults = false
	s.run(26 * time.Second)
	for _, n := range s.nodes {
		for _, c := range n.clients {
			c.done = 0
		}
	}
	s.run(29 * time.Second)
	for _, n := range s.nodes {
		for _, c := range n.clients {
			if c.done == 0 && len(s.bad) == 0 {
				s.fail("client %d of node %d does not get on, %d commits in all", c.id, n.id, s.commits)
			}
		}
	}
	s.stopped = true
	s.run(40 * time.Second)
	for _, n := range s.nodes {
		if n.member == nil || len(s.bad) > 0 {
			continue
		}
		if c := n.member.Counts(); c.Granted+c.Queued+c.Holding+c.Waiting+c.Recovering > 0 {
			s.fail("node %d still has %+v when nobody wants anything", n.id, c)
		}
	}
	return s
}

// schedules returns how many of n schedules a test runs: with -short a fiftieth.
func schedules(n int) uint64 {
	if testing.Short() {
		n = (n + 49) / 50
	}
	return uint64(n)
}

func TestNoScheduleOfFaultsBreaksTheLocks(t *testing.T) {
	n := schedules(*seeds)
	var commits, fenced, expired, moved, patched, cached atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d schedules: %d commits, %d refused by the fence, %d sessions expired, %d slots followed their users; read: %d copies kept by changes, %d under cache leases",
			n, commits.Load(), fenced.Load(), expired.Load(), moved.Load(), patched.Load(), cached.Load())
		if patched.Load() == 0 || cached.Load() == 0 || n > 1 && moved.Load() == 0 {
			t.Error("no cache was ever read, or no slot ever moved")
		}
	})
	for seed := *first; seed < *first+n; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			s := runSim(seed, "")
			for _, b := range s.bad {
				t.Errorf("-seed %d -seeds 1: %s", seed, b)
			}
			commits.Add(int64(s.commits))
			fenced.Add(int64(s.fenced))
			expired.Add(int64(s.expired))
			moved.Add(int64(s.moved))
			patched.Add(int64(s.patched))
			cached.Add(int64(s.cached))
		})
	}
}

// A seed that is told is of use only if it leads to the same end again.
func TestASeedGivesOneHistory(t *testing.T) {
	for seed := *first; seed < *first+schedules(12); seed++ {
		one, two := runSim(seed, ""), runSim(seed, "")
		if one.serial != two.serial || one.commits != two.commits || one.rng.Uint64() != two.rng.Uint64() {
			t.Errorf("seed %d: %d commits by event %d, then %d by %d", seed, one.commits, one.serial, two.commits, two.serial)
		}
	}
}

// Each rule is there for something: without it some schedule ends badly. The
// search begins where one was found before.
func TestEveryRuleIsNeeded(t *testing.T) {
	begin := map[mutant]uint64{
		noFence: 1, oldEpochGrants: 12, noAssert: 1, noResync: 1, noResign: 1, noTombstones: 1, noRecall: 1, noCacheAssert: 1, noRunOut: 148,
		lostChanges: 1, noFlux: 1, blindToGaps: 1, blindToOverrun: 1, onePart: 1,
	}
	for m, from := range begin {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			for seed := from; seed < from+300; seed++ {
				if s := runSim(seed, m); len(s.bad) > 0 {
					t.Logf("seed %d: %s", seed, s.bad[0])
					return
				}
			}
			t.Error("no schedule notices")
		})
	}
}
