package erasure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// finishing is a shard that is being made durable.
type finishing struct {
	done chan struct{} // closed at its end
	err  error         // valid then
}

// wait returns how it has ended: if not well, the drive has no shard.
func (f *finishing) wait(ctx context.Context) error {
	select {
	case <-f.done:
		if f.err != nil {
			return fmt.Errorf("%w: %w", register.ErrNoShard, f.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", register.ErrNoShard, context.Cause(ctx))
	}
}

// counted is a writer of a shard that counts calls that have not ended.
type counted struct {
	register.ShardWriter
	calls *atomic.Int64
}

// Write implements register.ShardWriter.
func (c *counted) Write(p []byte) (int, error) {
	c.calls.Add(1)
	defer c.calls.Add(-1)
	return c.ShardWriter.Write(p)
}

// Finish implements register.ShardWriter.
func (c *counted) Finish() error {
	c.calls.Add(1)
	defer c.calls.Add(-1)
	return c.ShardWriter.Finish()
}

// maxBacklog is how many shards a drive may be writing until it gets no more, if it is far behind the
// others of its set.
const maxBacklog = 64

// errBacklog says that a drive gets no shard, since it has far more to write than others.
var errBacklog = errors.New("erasure: the drive is far behind the others")

// backlog reports whether a drive is.
func (s *set) backlog(drive int) bool {
	n := s.writing[drive].Load()
	if n < maxBacklog {
		return false
	}
	all := make([]int64, len(s.writing))
	for i := range s.writing {
		all[i] = s.writing[i].Load()
	}
	slices.Sort(all)
	return n > 4*all[(len(all)-1)/2]
}

// patience returns how long a drive is waited for in all that is behind the others with a content.
func (s *set) patience(drive int) time.Duration {
	if s.shards.slow(drive) {
		return hedge
	}
	return shardTime
}

// judge takes note of the drives that were too slow for what they were sent, and of those that were not.
func (w *written) judge(writers []register.ShardWriter, left []error) {
	for i, err := range left {
		d := w.set.drive(w.start, i)
		switch {
		case writers[i] == nil: // it was sent nothing
		case errors.Is(err, shard.ErrSlow):
			w.set.shards.strike(d, strikes)
		case err == nil:
			w.set.shards.fine(d)
		}
	}
}

// finish writes the rest of the shards and makes them durable, all at the same time, and returns how
// many are, and why others are not. When that are least it waits for others about as long as the content
// took until now without having waited for any of them, or not at all if they are slow as ever: these are
// late then.
func (w *written) finish(took time.Duration, writers []register.ShardWriter, rest []func() error, least int) (good int, err error) {
	begun := time.Now()
	ended := make(chan int, len(writers))
	all := make([]*finishing, len(writers))
	waiting := 0
	for i, sw := range writers {
		switch {
		case sw == nil:
		case rest[i] == nil:
			go sw.Abort() // of a drive that hangs it would not return
		default:
			waiting++
			f := &finishing{done: make(chan struct{})}
			all[i] = f
			d := w.set.drive(w.start, i)
			go func() {
				if f.err = end(sw, rest[i]); f.err == nil { // who fails is not waited for
					w.set.finishes.came(d, begun, nil)
				}
				close(f.done)
				ended <- i
			}()
		}
	}
	var late <-chan time.Time
	for ; waiting > 0; waiting-- {
		select {
		case i := <-ended:
			if w.targets[w.set.drive(w.start, i)] = all[i].err == nil; all[i].err == nil {
				good++
			}
			err = errors.Join(err, all[i].err)
			all[i] = nil
		case <-late:
			for i, f := range all {
				if f != nil {
					w.set.finishes.strike(w.set.drive(w.start, i), 2)
				}
			}
			w.leave(all)
			return good, err
		}
		if good < least {
			continue
		}
		if !w.quick(all) {
			w.leave(all)
			return good, err
		}
		if late == nil {
			timer := time.NewTimer(min(max(took+time.Since(begun), straggle), shardTime))
			defer timer.Stop()
			late = timer.C
		}
	}
	return good, err
}

// end writes the rest of a shard, and makes it durable.
func end(sw register.ShardWriter, rest func() error) error {
	if err := rest(); err != nil {
		sw.Abort()
		return err
	}
	return sw.Finish()
}

// quick reports whether a drive may soon have made its shard durable of those that have not.
func (w *written) quick(all []*finishing) bool {
	for i, f := range all {
		if f != nil && !w.set.finishes.slow(w.set.drive(w.start, i)) {
			return true
		}
	}
	return false
}

// leave has shards be late.
func (w *written) leave(all []*finishing) {
	for i, f := range all {
		w.late[w.set.drive(w.start, i)] = f
	}
}

// settle waits for what is late, but not for long.
func (w *written) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shardTime)
	defer cancel()
	for d, f := range w.late {
		if f != nil {
			w.targets[d] = f.wait(ctx) == nil
		}
	}
	clear(w.late)
}
