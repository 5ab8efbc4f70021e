package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Journal keeps batches of events until they are delivered. Its methods may be called
// concurrently.
type Journal interface {
	// Keep makes a batch durable and returns its name: a later one of this gateway's
	// sorts behind it. Behind its last slash are a number, a dot and the label.
	Keep(ctx context.Context, label string, content []byte) (name string, err error)
	// Left returns the sorted names of batches of gateways that keep none any more.
	Left(ctx context.Context) ([]string, error)
	// Fetch returns a batch, or fs.ErrNotExist.
	Fetch(ctx context.Context, name string) ([]byte, error)
	// Drop removes a batch. That it is gone is not an error.
	Drop(ctx context.Context, name string) error
}

// Foreign is the type, in labels, of batches that are for no target: package foreign
// keeps there what it remembers.
const Foreign = "foreign"

// Bounds of queues.
const (
	DefaultLimit = 100000  // events that wait for one target, at one gateway
	batchEvents  = 1000    // after which a batch takes no more
	batchBytes   = 1 << 20 // the same
	memoryBytes  = 8 << 20 // of batches that are not read back, of one target
	keepTime     = 20 * time.Second
)

// queue is what a target has yet to get from this gateway: a list of batches, of which
// only those that are being delivered, and the newest, are in memory.
//
// Events that come at once go into one batch: while one is written, the next gathers.
type queue struct {
	Destination
	journal Journal
	log     *slog.Logger
	in      chan *addition
	wake    chan struct{} // has room for one
	turned  chan struct{} // the same: there is another way
	over    chan struct{} // closed when nothing is taken any more

	mu      sync.Mutex
	way     *way
	limit   int
	leaving bool     // it ends when nothing waits
	keeping bool     // a batch is becoming durable
	entries []*entry // oldest first
	names   map[string]bool
	waiting int // events of entries that were kept here
	memory  int // bytes of batches in memory that nobody has begun to deliver

	inFlight, sent, failed, refused, dropped atomic.Int64
}

// addition is what one request adds.
type addition struct {
	lines  []byte // messages, each with a line feed behind it
	events int
	done   chan error
}

// entry is a batch.
type entry struct {
	name      string
	events    int
	content   []byte      // nil: it has to be read
	messages  []*delivery // once its delivery has begun
	left      int         // of messages
	inherited bool        // it is of a gateway that is gone
}

// way is a Sender and how many use it.
type way struct {
	Sender
	users sync.WaitGroup
}

func newQueue(t Target, journal Journal, log *slog.Logger) *queue {
	return &queue{
		Destination: t.Destination, journal: journal, log: log.With("target", t.String()),
		in: make(chan *addition), wake: make(chan struct{}, 1), turned: make(chan struct{}, 1), over: make(chan struct{}),
		names: make(map[string]bool), way: &way{Sender: t.Sender}, limit: t.limit(),
	}
}

// turn has what waits go another way from now on, and returns the one until now. It reports
// false if the queue is over.
func (q *queue) turn(t Target) (before *way, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended() {
		return nil, false
	}
	before, q.way, q.limit, q.leaving = q.way, &way{Sender: t.Sender}, t.limit(), false
	select {
	case q.turned <- struct{}{}:
	default:
	}
	return before, true
}

// leave has the queue end when nothing waits.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leaving = true
	q.wakeUp()
}

// stays reports whether the queue is that of a target that there is.
func (q *queue) stays() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.leaving
}

// end ends a queue that is left, once nothing waits. It reports whether it is over.
func (q *queue) end() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leaving && !q.keeping && len(q.entries) == 0 && !q.ended() {
		close(q.over)
	}
	return q.ended()
}

func (q *queue) ended() bool {
	select {
	case <-q.over:
		return true
	default:
		return false
	}
}

// close closes the way, when nobody uses it.
func (w *way) close() error {
	w.users.Wait()
	return w.Close()
}

// Why a queue takes nothing: its target has left for good, or too many wait.
var (
	errOver = errors.New("the target has left")
	errFull = errors.New("too many wait")
)

// add returns when messages are durable, or were dropped because too many wait. The error is
// errOver if the queue is over.
func (q *queue) add(ctx context.Context, messages []Message) error {
	a := &addition{events: len(messages), done: make(chan error, 1)}
	for i := range messages {
		line, err := json.Marshal(&messages[i])
		if err != nil {
			return fmt.Errorf("encode message: %w", err)
		}
		a.lines = append(append(a.lines, line...), '\n')
	}
	select {
	case q.in <- a:
	case <-q.over:
		return errOver
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gather makes batches of additions until ctx ends, or the queue is over.
func (q *queue) gather(ctx context.Context) {
	for {
		select {
		case a := <-q.in:
			q.keep(ctx, q.more(a))
		case <-q.over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// more returns what waits to be added, together with a.
func (q *queue) more(a *addition) []*addition {
	all, events, size := []*addition{a}, a.events, len(a.lines)
	for events < batchEvents && size < batchBytes {
		select {
		case next := <-q.in:
			all, events, size = append(all, next), events+next.events, size+len(next.lines)
		default:
			return all
		}
	}
	return all
}

// keep makes additions durable, as one batch, and answers them.
func (q *queue) keep(ctx context.Context, all []*addition) {
	var lines bytes.Buffer
	events := 0
	for _, a := range all {
		lines.Write(a.lines)
		events += a.events
	}
	err := q.keepBatch(ctx, lines.Bytes(), events)
	for _, a := range all {
		a.done <- err
	}
}

func (q *queue) keepBatch(ctx context.Context, content []byte, events int) error {
	switch err := q.reserve(events); {
	case errors.Is(err, errFull):
		q.dropped.Add(int64(events))
		q.log.Error("events are lost: too many wait for the target", "events", events, "limit", q.capacity())
		return nil
	case err != nil:
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	name, err := q.journal.Keep(ctx, q.label(events), content)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keeping = false
	if err != nil {
		q.waiting -= events
		q.wakeUp()
		return fmt.Errorf("keep events for %s: %w", q, err)
	}
	e := &entry{name: name, events: events}
	if q.memory+len(content) <= memoryBytes {
		e.content = content
		q.memory += len(content)
	}
	q.push(e)
	return nil
}

// reserve takes the room for a batch. The errors are errOver and errFull.
func (q *queue) reserve(events int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.ended():
		return errOver
	case q.waiting+events > q.limit:
		return errFull
	}
	q.waiting += events
	q.keeping = true
	return nil
}

// label is what the name of a batch tells of it.
func (q *queue) label(events int) string { return strconv.Itoa(events) + "." + q.String() }

// parseLabel reads the label in the name of a batch.
func parseLabel(name string) (to Destination, events int, ok bool) {
	name = name[strings.LastIndexByte(name, '/')+1:]
	p := strings.SplitN(name, ".", 4)
	if len(p) != 4 {
		return to, 0, false
	}
	events, err := strconv.Atoi(p[1])
	return Destination{Type: p[2], ID: p[3]}, events, err == nil && events > 0
}

// push adds an entry. q.mu is held.
func (q *queue) push(e *entry) {
	q.entries = append(q.entries, e)
	q.names[e.name] = true
	q.wakeUp()
}

func (q *queue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// inherit adds a batch of a gateway that is gone, unless it is there already.
func (q *queue) inherit(name string, events int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.names[name] && !q.ended() {
		q.push(&entry{name: name, events: events, inherited: true})
	}
}

// disinherit leaves to another gateway what was inherited.
func (q *queue) disinherit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if e.inherited {
			delete(q.names, e.name)
		}
		return e.inherited
	})
}

// capacity returns how many events may wait.
func (q *queue) capacity() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit
}

// length returns how many events wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, e := range q.entries {
		if e.messages != nil {
			n += e.left
		} else {
			n += e.events
		}
	}
	return n
}

// open reads what is in an entry. It reports false if that is not to be had now.
func (q *queue) open(ctx context.Context, e *entry) bool {
	content := e.content
	if content == nil {
		var err error
		content, err = q.journal.Fetch(ctx, e.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Another gateway has inherited and delivered it.
		case err != nil:
			q.log.Warn("events cannot be read now", "batch", e.name, "error", err)
			return false
		}
	}
	messages := q.parse(e, content)
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.content != nil {
		q.memory -= len(e.content)
		e.content = nil
	}
	e.messages, e.left = messages, len(messages)
	return true
}

func (q *queue) parse(e *entry, content []byte) []*delivery {
	messages := make([]*delivery, 0, e.events)
	for line := range bytes.Lines(content) {
		d := &delivery{entry: e}
		if err := json.Unmarshal(line, &d.Message); err != nil {
			q.dropped.Add(1)
			q.log.Error("an event is lost: it cannot be read", "batch", e.name, "error", err)
			continue
		}
		messages = append(messages, d)
	}
	return messages
}

// window returns the oldest events that are to be delivered, as many as are
// delivered at a time, and whether all could be read.
func (q *queue) window(ctx context.Context) (all []*delivery, whole bool) {
	whole = true
	for _, e := range q.oldest() {
		if e.messages == nil && !q.open(ctx, e) {
			whole = false
			continue
		}
		for _, d := range e.messages {
			if !d.done {
				all = append(all, d)
			}
		}
		if len(all) >= windowEvents {
			break
		}
	}
	return all, whole
}

// oldest returns as many entries as a window may need.
func (q *queue) oldest() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.entries[:min(len(q.entries), windowEvents)])
}

// settle removes the batches that are delivered, and reports whether it could.
func (q *queue) settle(ctx context.Context) bool {
	done := make(map[*entry]bool)
	defer q.forget(done)
	for _, e := range q.oldest() {
		if e.messages == nil || e.left > 0 {
			continue
		}
		if err := q.journal.Drop(ctx, e.name); err != nil {
			q.log.Warn("a batch of events that were delivered cannot be removed yet", "batch", e.name, "error", err)
			return false
		}
		done[e] = true
	}
	return true
}

// forget takes batches off the list; some may have been disinherited.
func (q *queue) forget(done map[*entry]bool) {
	if len(done) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if done[e] {
			delete(q.names, e.name)
			if !e.inherited {
				q.waiting -= e.events
			}
		}
		return done[e]
	})
}
