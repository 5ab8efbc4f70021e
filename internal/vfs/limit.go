package vfs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Limit bounds how many runs of file system calls are under way at a time. A
// call into a file system that hangs cannot be cancelled: it keeps a thread,
// and its slot with it, until it returns. So the slots bound the threads, and
// the callers are free to leave at their deadlines.
type Limit struct {
	slots []callSlot
	free  chan *callSlot
	base  time.Time
}

// callSlot is one slot; since is when its run began, in ns after base, plus 1,
// or 0 while it is free.
type callSlot struct {
	since atomic.Int64
	_     [7]int64 // a cache line of its own
}

// NewLimit returns a Limit of so many slots, at least one.
func NewLimit(slots int) *Limit {
	slots = max(slots, 1)
	l := &Limit{slots: make([]callSlot, slots), free: make(chan *callSlot, slots), base: time.Now()}
	for i := range l.slots {
		l.free <- &l.slots[i]
	}
	return l
}

// InUse returns how many slots are taken.
func (l *Limit) InUse() int { return len(l.slots) - len(l.free) }

// Slots returns how many slots there are.
func (l *Limit) Slots() int { return len(l.slots) }

// Stuck returns how many slots have been taken for longer than d.
func (l *Limit) Stuck(d time.Duration) int {
	before := int64(time.Since(l.base)-d) + 1
	n := 0
	for i := range l.slots {
		if since := l.slots[i].since.Load(); since != 0 && since < before {
			n++
		}
	}
	return n
}

// Who is to have the outcome of a run.
const (
	undecided int32 = iota
	returned        // the caller
	abandoned       // drop: the caller has left
)

// run is one run in a slot.
type run[T any] struct {
	outcome  atomic.Int32
	done     chan struct{}
	value    T
	err      error
	panicked any // what fn panicked with
}

// Call runs fn, which makes file system calls, in a slot of l and returns what
// it returns. When ctx ends first, Call returns ErrHung with the cause of ctx
// at once. fn then goes on alone and keeps its slot until it returns, and a
// value that it returns without an error goes to drop, if that is not nil. If
// no slot comes free before ctx ends, fn is not started.
//
// A panic of fn becomes one of Call, unless Call has returned.
func Call[T any](ctx context.Context, l *Limit, fn func() (T, error), drop func(T)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, hung(ctx)
	}
	var slot *callSlot
	select {
	case slot = <-l.free:
	default:
		select {
		case slot = <-l.free:
		case <-ctx.Done():
			return none, hung(ctx)
		}
	}
	r := &run[T]{done: make(chan struct{}, 1)}
	slot.since.Store(int64(time.Since(l.base)) + 1)
	go r.run(l, slot, fn, drop)
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.outcome.CompareAndSwap(undecided, abandoned) {
			return none, hung(ctx)
		}
		<-r.done // it returned at the same time
	}
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.value, r.err
}

func hung(ctx context.Context) error { return &classed{ErrHung, context.Cause(ctx)} }

// run runs fn and gives the slot back when all that may hang is over.
func (r *run[T]) run(l *Limit, slot *callSlot, fn func() (T, error), drop func(T)) {
	finished := false
	defer func() {
		if !finished {
			// fn panicked, or ended its goroutine by runtime.Goexit.
			if r.panicked = recover(); r.panicked == nil {
				r.panicked = "vfs: the function ended its goroutine"
			}
		}
		mine := r.outcome.CompareAndSwap(undecided, returned)
		if !mine && r.panicked != nil {
			panic(fmt.Sprintf("after its caller left: %v", r.panicked))
		}
		if !mine && r.err == nil && drop != nil {
			drop(r.value)
		}
		slot.since.Store(0)
		l.free <- slot
		if mine {
			r.done <- struct{}{}
		}
	}()
	r.value, r.err = fn()
	finished = true
}
