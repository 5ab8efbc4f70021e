package erasure

import (
	"context"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// decider tells drives what is committed, in the background. What it cannot tell is found
// out by who reads.
type decider struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{}
}

// maxDeciding is how many things drives are told at the same time; beyond it they are not
// told.
const maxDeciding = 256

func newDecider(ctx context.Context) *decider {
	ctx, cancel := context.WithCancel(ctx)
	return &decider{ctx: ctx, cancel: cancel, slots: make(chan struct{}, maxDeciding)}
}

// tell tells all drives that a state is committed. With forget they are told to forget it
// once all of them know: one that has it and does not know would take it for unsettled.
func (d *decider) tell(s *set, what register.Decision, forget bool) {
	d.start(func() {
		decide := func(ctx context.Context, drive Drive) error {
			return drive.Decide(ctx, []register.Decision{what})
		}
		if all := d.all(s, decide); all && forget {
			what.Forget = true
			d.all(s, decide)
		}
	})
}

// drop tells drives that nothing will refer to a content.
func (d *decider) drop(s *set, id register.DataID) {
	d.start(func() {
		d.all(s, func(ctx context.Context, drive Drive) error { return drive.Drop(ctx, id) })
	})
}

func (d *decider) start(do func()) {
	select {
	case d.slots <- struct{}{}:
	default:
		return
	}
	d.running.Go(func() {
		defer func() { <-d.slots }()
		do()
	})
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

func (d *decider) close() {
	d.running.Wait()
	d.cancel()
}
