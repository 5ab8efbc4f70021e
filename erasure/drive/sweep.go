package drive

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// When a drive is swept. What nothing refers to for as long as orphanAge nothing will: who writes several
// contents for one record, which takes hours at most, would have it refused by a drive that lacks one.
const (
	sweepSoon  = time.Minute // after it was opened, for files; shards that are due somebody may still be reading (grace)
	sweepEvery = 6 * time.Hour
	orphanAge  = 24 * time.Hour
)

// sweeper gives back the space of what nothing refers to, in the background.
type sweeper struct {
	stop    chan struct{} // nil: there is none
	stopped sync.WaitGroup
	due     atomic.Bool // shards were begun since the last time, or some are marked
}

// StartSweeping has the drive give back, in the background, what a process that ended has left of files
// that it was writing, the shards that were to be removed when it ended, and those that no register refers
// to for a day, whose writer went before it committed them. A drive that nobody writes to is not looked at.
// It is called before anything else.
func (d *Drive) StartSweeping(log *slog.Logger) {
	d.sweeper.stop = make(chan struct{})
	d.sweeper.stopped.Go(func() {
		if d.pause(sweepSoon) && d.told(log, d.sweepFiles) && d.pause(grace-sweepSoon) {
			d.sweeper.due.Store(true) // what the process before has left
			for d.told(log, d.sweepShards) && d.pause(sweepEvery) {
			}
		}
	})
}

func (s *sweeper) close() {
	if s.stop != nil {
		close(s.stop)
		s.stopped.Wait()
	}
}

// pause waits, and reports whether the drive is not being closed.
func (d *Drive) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.sweeper.stop:
		return false
	}
}

// told sweeps, and reports whether it is to go on. What is in its way may be gone the next time.
func (d *Drive) told(log *slog.Logger, sweep func() (int, error)) bool {
	removed, err := sweep()
	switch {
	case errors.Is(err, errStopped):
		return false
	case err != nil:
		log.Warn("some of what nothing refers to stays on a drive for now", "error", err)
	case removed > 0:
		log.Info("shards that nothing refers to were removed from a drive", "shards", removed)
	}
	return true
}

// stopping returns errStopped if the drive is being closed.
func (d *Drive) stopping() error {
	select {
	case <-d.sweeper.stop:
		return errStopped
	default:
		return nil
	}
}

// sweepFiles removes files that are no shards, and that nobody is writing. One that cannot be removed is no reason to
// keep others; the error is of the last one.
func (d *Drive) sweepFiles() (removed int, err error) {
	var stuck error
	err = d.files.Each(func(id register.DataID, begun bool) error {
		if err := d.stopping(); err != nil {
			return err
		}
		gone, err := d.sweepFile(id, begun)
		if gone {
			removed++
		}
		if err != nil {
			stuck = err
		}
		return nil
	})
	return removed, cmp.Or(err, stuck)
}

// sweepFile removes a file if it is no shard, or comes to be none while it is looked at, and nobody is
// writing it; of one that was begun in the place of a shard that.
func (d *Drive) sweepFile(id register.DataID, begun bool) (removed bool, err error) {
	for again := true; again && !removed && err == nil; {
		if !d.claims.take(id) {
			return false, nil
		}
		var found bool
		switch _, found, err = d.kv.Get(dataName(id)); {
		case err != nil:
		case begun:
			err = d.files.RemoveBegun(id)
			removed = err == nil
		case !found:
			err = d.files.Remove(id)
			removed = err == nil
		}
		again = d.claims.give(id)
	}
	return removed, err
}

// sweepShards marks shards that no register refers to, and removes those that were marked long ago. One that cannot
// be removed is no reason to keep others; the error is of the last one.
func (d *Drive) sweepShards() (removed int, err error) {
	if !d.sweeper.due.Swap(false) {
		return 0, nil
	}
	defer func() {
		if err != nil {
			d.sweeper.due.Store(true)
		}
	}()
	marks, err := d.marks()
	if err != nil {
		return 0, err
	}
	buried := d.grave.holds() // they have a time of their own
	var b Batch
	now := time.Now()
	var stuck error
	all, err := d.orphans(func(id register.DataID) error {
		marked, ok := marks[id]
		delete(marks, id)
		d.sweeper.due.Store(true)
		switch {
		case buried[id]:
		case !ok:
			b.Set(markName(id), markOf(now))
		case now.Sub(marked) >= orphanAge:
			if err := d.free(id); err != nil {
				stuck = err
			} else {
				removed++
			}
		}
		return nil
	})
	if all {
		for id := range marks { // they are referred to, or gone
			b.Remove(markName(id))
		}
	}
	if err == nil && len(b.ops) > 0 {
		err = d.kv.Apply(&b, false)
	}
	return removed, cmp.Or(err, stuck)
}

// markOf is the value of a mark: since when nothing refers to a content.
func markOf(since time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(since.Unix())) //nolint:gosec // after 1970
}

func markName(id register.DataID) []byte { return append([]byte{markKey}, id[:]...) }

// marks returns since when shards are marked.
func (d *Drive) marks() (all map[register.DataID]time.Time, err error) {
	it, err := d.kv.Scan([]byte{markKey}, []byte{markKey + 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	all = make(map[register.DataID]time.Time)
	for it.Next() {
		id, ok := idOf(it.Key())
		if !ok || len(it.Value()) != 8 {
			return nil, fmt.Errorf("drive: a mark is damaged: %x", it.Key())
		}
		all[id] = time.Unix(int64(binary.BigEndian.Uint64(it.Value())), 0) //nolint:gosec // as it was written
	}
	return all, nil
}

// idOf returns the content that a key is of, behind its first byte.
func idOf(key []byte) (id register.DataID, ok bool) {
	return id, len(key) > len(id) && copy(id[:], key[1:]) == len(id)
}

// maxOrphans is how many are seen to at a time. The others are the next time.
const maxOrphans = 100_000

// orphans calls fn for shards that no register refers to. all says that there are no more.
func (d *Drive) orphans(fn func(id register.DataID) error) (all bool, err error) {
	shards, err := d.kv.Scan([]byte{dataKey}, []byte{dataKey + 1})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, shards.Close()) }()
	refs, err := d.kv.Scan([]byte{refKey}, []byte{refKey + 1})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, refs.Close()) }()
	more := refs.Next()
	for found := 0; shards.Next(); {
		if err := d.stopping(); err != nil || found == maxOrphans {
			return false, err
		}
		id, ok := idOf(shards.Key())
		if !ok {
			return false, errData
		}
		prefix := append([]byte{refKey}, id[:]...)
		for more && bytes.Compare(refs.Key(), prefix) < 0 {
			more = refs.Next()
		}
		if more && bytes.HasPrefix(refs.Key(), prefix) {
			continue
		}
		found++
		if err := fn(id); err != nil {
			return false, err
		}
	}
	return true, nil
}
