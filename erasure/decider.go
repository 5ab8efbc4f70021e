package erasure

import (
	"context"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// decider tells drives what is committed, in the background. What it cannot tell is found
// out by who reads, or by who goes through what is pending.
type decider struct {
	ctx    context.Context
	cancel context.CancelFunc
	lost   func() // hears that drives may not have been told something
	slots  chan struct{}

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// maxDeciding is how many things drives are told at the same time; beyond it they are not
// told.
const maxDeciding = 256

func newDecider(ctx context.Context, lost func()) *decider {
	ctx, cancel := context.WithCancel(ctx)
	return &decider{ctx: ctx, cancel: cancel, lost: lost, slots: make(chan struct{}, maxDeciding)}
}

// tell tells all drives that a state is committed. A tombstone that all of them hold they are
// told to forget once all of them know: one that has it and does not know would take it for
// unsettled.
func (d *decider) tell(s *set, what register.Decision, tombstone bool) {
	told := d.start(func() {
		decide := func(ctx context.Context, drive Drive) error {
			return drive.Decide(ctx, []register.Decision{what})
		}
		all := d.all(s, decide)
		if all && tombstone && what.Everywhere {
			what = forgotten(what)
			all = d.all(s, decide)
		}
		if !all {
			d.lost()
		}
	})
	if !told {
		d.lost()
	}
}

// forgotten is what drives are told of a tombstone that all of them know to be committed.
func forgotten(what register.Decision) register.Decision {
	what.Everywhere, what.Forget = false, true
	return what
}

// drop tells drives that nothing will refer to a content, once they have all of it.
func (d *decider) drop(w *written) {
	d.start(func() {
		w.settle(d.ctx)
		d.all(w.set, func(ctx context.Context, drive Drive) error { return drive.Drop(ctx, w.id) })
	})
}

// start has something be told, and reports whether it will be.
func (d *decider) start(do func()) bool {
	select {
	case d.slots <- struct{}{}:
	default:
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		<-d.slots
		return false
	}
	d.running.Go(func() {
		defer func() { <-d.slots }()
		do()
	})
	return true
}

// all tells all drives something, and reports whether all of them have heard.
func (d *decider) all(s *set, tell func(ctx context.Context, drive Drive) error) bool {
	ctx, cancel := context.WithTimeout(d.ctx, callTime)
	defer cancel()
	heard := make(chan bool, len(s.drives))
	for _, drive := range s.staying {
		go func() { heard <- tell(ctx, drive) == nil }()
	}
	all := true
	for range s.staying {
		select {
		case ok := <-heard:
			all = ok && all
		case <-ctx.Done():
			return false
		}
	}
	return all
}

// close waits for what is being told. Nothing is told any more.
func (d *decider) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
	d.cancel()
}
