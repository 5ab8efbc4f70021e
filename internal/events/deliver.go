package events

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// Sender brings events to a target. Its methods may be called concurrently.
type Sender interface {
	// Send returns nil when the target has the event. An error that wraps
	// ErrRefused says that it does not want this one. Texts of errors are logged.
	Send(ctx context.Context, m *Message) error
	// Close frees what the Sender holds, when nothing is being sent.
	Close() error
}

// ErrRefused is wrapped by errors of a target that does not take this event, and
// perhaps others.
var ErrRefused = errors.New("the target refuses the event")

// Target is a destination and the way there.
type Target struct {
	Destination
	Sender
	Limit int // events that may wait for it at one gateway; 0: DefaultLimit
}

func (t Target) limit() int {
	if t.Limit <= 0 {
		return DefaultLimit
	}
	return t.Limit
}

// How events are delivered.
const (
	lanes        = 16  // events that are sent at a time, of different keys
	windowEvents = 512 // events that are looked at
	sendTime     = 10 * time.Second
	firstPause   = 200 * time.Millisecond // after a pass in which something failed
	lastPause    = 10 * time.Second
	laneFailures = 3  // in a row, after which a lane takes the target for dead
	maxRefusals  = 3  // of an event, before it is given up
	maxPassed    = 30 // passes in which the target took others and not this one
)

// delivery is an event on its way.
type delivery struct {
	Message
	entry *entry
	done  bool

	refusals int
	passed   int // times it failed while others went through
}

// outcome is what became of an event in a pass.
type outcome struct {
	d   *delivery
	err error
}

// work delivers until ctx ends, or the queue is over. A pass sends what is in the window, each key's events
// one after the other. What fails stays in the window, and the pause before the next
// pass grows for as long as nothing gets through.
func (q *queue) work(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil && !q.end() {
		window, whole := q.window(ctx)
		left, err := q.pass(ctx, window)
		whole = q.settle(ctx) && whole
		wait := time.Duration(0)
		switch {
		case left == 0 && len(window) > 0 && whole:
			pause = firstPause
			continue
		case left < len(window):
			pause, wait = firstPause, firstPause
		case left > 0 || !whole:
			wait = pause
			pause = min(2*pause, lastPause)
		}
		if err != nil && ctx.Err() == nil {
			q.log.Warn("events could not be delivered yet", "tried", left, "waiting", q.length(), "again_in", wait.String(), "error", err)
		}
		q.rest(ctx, wait)
	}
}

// rest waits for a time, or until there is another way; for 0, until there is something to do.
func (q *queue) rest(ctx context.Context, d time.Duration) {
	if d == 0 {
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.turned:
	case <-ctx.Done():
	}
}

// pass tries to send each event once. It returns how many are left, and one of the
// errors.
func (q *queue) pass(ctx context.Context, window []*delivery) (left int, err error) {
	var perLane [lanes][]*delivery
	seed := maphash.MakeSeed()
	for _, d := range window {
		lane := maphash.String(seed, d.Object()) % lanes
		perLane[lane] = append(perLane[lane], d)
	}
	var results [lanes][]outcome
	var group sync.WaitGroup
	for i, list := range perLane {
		if len(list) > 0 {
			group.Go(func() { results[i] = q.lane(ctx, list) })
		}
	}
	group.Wait()
	all := slices.Concat(results[:]...)
	others := slices.ContainsFunc(all, func(o outcome) bool { return o.err == nil })
	for _, o := range all {
		if !q.judge(o, others) {
			err = o.err
		}
	}
	for _, d := range window {
		if !d.done {
			left++
		}
	}
	return left, err
}

// lane sends events in their order, but goes past those of a key of which one has
// failed.
func (q *queue) lane(ctx context.Context, list []*delivery) []outcome {
	var results []outcome
	stuck := make(map[string]bool)
	inRow := 0
	for _, d := range list {
		if stuck[d.Object()] {
			continue
		}
		err := q.try(ctx, d)
		if ctx.Err() != nil {
			return results
		}
		results = append(results, outcome{d, err})
		if err == nil {
			inRow = 0
			continue
		}
		stuck[d.Object()] = true
		if errors.Is(err, ErrRefused) {
			continue // it is there
		}
		if inRow++; inRow == laneFailures {
			break
		}
	}
	return results
}

func (q *queue) try(ctx context.Context, d *delivery) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	q.inFlight.Add(1)
	defer q.inFlight.Add(-1)
	q.mu.Lock()
	w := q.way
	w.users.Add(1)
	q.mu.Unlock()
	defer w.users.Done()
	return w.Send(ctx, &d.Message)
}

// judge notes what became of an event, and reports whether that is all. It gives one
// up that the target will not have, while it takes others or answers.
func (q *queue) judge(o outcome, others bool) (done bool) {
	d := o.d
	if o.err == nil {
		q.sent.Add(1)
		q.finish(d)
		return true
	}
	q.failed.Add(1)
	switch {
	case errors.Is(o.err, ErrRefused):
		d.refusals++
	case others:
		d.passed++
	}
	if d.refusals < maxRefusals && d.passed < maxPassed {
		return false
	}
	q.refused.Add(1)
	q.log.Error("an event is given up: the target does not take it", "event", string(d.Name), "bucket", d.Bucket, "key", d.Key, "error", o.err)
	q.finish(d)
	return true
}

func (q *queue) finish(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.done = true
	d.entry.left--
}
