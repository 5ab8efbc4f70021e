package erasure

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Counts is what a Store has met and done since it was made.
type Counts struct {
	Records, Shards, Bytes int64 // brought to drives by healing
	Failed                 int64 // names that a pass could not heal
	DamagedScrub           int64 // shards that a scrub has found not whole
	DamagedRead            int64 // the same, while contents were read
	Forward, Back, Blocked int64 // states that were not decided: committed, taken back, and left as they were
	Drives                 []DriveCounts
}

// DriveCounts is what calls of one drive came to.
type DriveCounts struct {
	Inside  int              // calls that have not ended
	Calls   map[string]Timed // that have, by what was asked
	Refused map[string]int64 // calls that did not do what was asked, by the reason
	Late    int64            // answers that took so long that other drives were asked in its place
}

// Timed is how many calls there were, and how long they took together.
type Timed struct {
	Count int64
	Time  time.Duration
}

// Counts returns what was counted until now.
func (s *Store) Counts() Counts {
	n := &s.counts
	c := Counts{
		Records: n.records.Load(), Shards: n.shards.Load(), Bytes: n.bytes.Load(), Failed: n.failed.Load(),
		DamagedScrub: n.damagedScrub.Load(), DamagedRead: n.damagedRead.Load(),
		Forward: n.forward.Load(), Back: n.back.Load(), Blocked: n.blocked.Load(),
	}
	for _, set := range s.sets {
		for i, d := range set.drives {
			if g, ok := d.(*guarded); ok {
				n := g.calls.counts(len(g.inside))
				n.Late = set.late(i)
				c.Drives = append(c.Drives, n)
			}
		}
	}
	return c
}

// counts are the Counts of a Store as they grow, but for those of drives.
type counts struct {
	records, shards, bytes, failed, damagedScrub, damagedRead, forward, back, blocked atomic.Int64
}

// op is what a drive is asked.
type op int

const (
	opCommit op = iota
	opPromise
	opRead
	opDecide
	opScan
	opCreate
	opReadShard
	opDrop
	opInstall
	opPending
	opSince
	opClose
)

func opNames() []string {
	return []string{"commit", "promise", "read", "decide", "scan", "create", "read_shard", "drop", "install", "pending", "since", "close"}
}

// reason is why a drive has not done what it was asked.
type reason int

const (
	reasonStale reason = iota
	reasonNoShard
	reasonFenced
	reasonCrowded
	reasonFull
	reasonNotSynced // it is new, or not there
	reasonMissing   // there is no such shard
	reasonNoLog     // it cannot tell what others may have missed
	reasonHung      // so many calls do not end that none begins
	reasonFailed
)

func reasonNames() []string {
	return []string{"stale", "no_shard", "fenced", "crowded", "full", "not_in_sync", "missing", "no_log", "hung", "failed"}
}

// calls are the DriveCounts of a drive as they grow, in fixed places: counting a call is to
// cost nothing that can be measured.
type calls struct {
	ended   [opClose + 1]struct{ count, nanos atomic.Int64 }
	refused [reasonFailed + 1]atomic.Int64
}

// note counts a call that has ended.
func (c *calls) note(o op, took time.Duration, err error) {
	c.ended[o].count.Add(1)
	c.ended[o].nanos.Add(int64(took))
	if err != nil && !errors.Is(err, context.Canceled) { // who asked has enough answers
		c.refused[reasonOf(err)].Add(1)
	}
}

func reasonOf(err error) reason {
	for i, cause := range []error{register.ErrStale, register.ErrNoShard, register.ErrFenced, register.ErrCrowded, register.ErrFull, register.ErrUnknown, fs.ErrNotExist, register.ErrNoLog, errHung} {
		if errors.Is(err, cause) {
			return reason(i)
		}
	}
	return reasonFailed
}

func (c *calls) counts(inside int) DriveCounts {
	d := DriveCounts{Inside: inside, Calls: make(map[string]Timed), Refused: make(map[string]int64)}
	for i, name := range opNames() {
		d.Calls[name] = Timed{c.ended[i].count.Load(), time.Duration(c.ended[i].nanos.Load())}
	}
	for i, name := range reasonNames() {
		d.Refused[name] = c.refused[i].Load()
	}
	return d
}
