// Package audit tells targets of every request and of what came of it. Requests never
// wait for a target: what there is no room for is counted as lost.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
)

// Sender takes records, one at a time.
type Sender interface {
	// SendDocument returns nil when the target has the record. An error that wraps
	// events.ErrRefused says that it does not want this one. Texts of errors are logged.
	SendDocument(ctx context.Context, key string, document []byte) error
	// Close frees what the Sender holds, when nothing is being sent.
	Close() error
}

// Target is somebody who is told, and the way there.
type Target struct {
	Name string // for people and metrics
	Sender
	Room int // records that may wait, at least 1
}

// DefaultRoom is the room of a target that nothing is said about.
const DefaultRoom = 10000

// How records are sent.
const (
	attempt    = 10 * time.Second // for one record
	firstPause = 100 * time.Millisecond
	longPause  = 30 * time.Second
	farewell   = 5 * time.Second // for what waits when the log is closed
)

// Log tells all targets. Make it with New. Its methods may be called concurrently.
type Log struct {
	log    *slog.Logger
	ctx    context.Context // of sending; it ends some time after Close
	cancel context.CancelFunc
	group  sync.WaitGroup
	told   atomic.Int64 // how many targets there are

	mu     sync.RWMutex // held for reading while a record is added
	queues []*queue
	closed bool
}

// queue is what waits for a target.
type queue struct {
	Target
	ctx                context.Context //nolint:containedctx // of sending; it ends some time after the target has left
	cancel             context.CancelFunc
	over               chan struct{} // closed when nothing is sent any more
	waiting            chan message
	sent, failed, lost atomic.Int64
}

type message struct {
	key      string
	document []byte
}

// New returns a Log that sends until Close, which closes the targets too.
func New(ctx context.Context, targets []Target, log *slog.Logger) *Log {
	l := &Log{log: log}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, t := range targets {
		_ = l.Join(t) // it fails only where the Log is closed
	}
	return l
}

// Join adds a target, whose name no other one has, unless the Log is closed: then it is closed.
func (l *Log) Join(t Target) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return t.Close() //nolint:wrapcheck // it is the target's own
	}
	q := &queue{Target: t, waiting: make(chan message, t.Room), over: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(l.ctx)
	l.queues = append(l.queues, q)
	l.told.Add(1)
	l.group.Go(func() {
		defer close(q.over)
		l.work(q)
	})
	return nil
}

// Leave ends the target of a name, if there is one, as Close ends all. It does not wait for
// that.
func (l *Log) Leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.queues, func(q *queue) bool { return q.Name == name })
	if i < 0 || l.closed {
		return
	}
	q := l.queues[i]
	l.queues = slices.Delete(slices.Clone(l.queues), i, i+1)
	l.told.Add(-1)
	close(q.waiting)
	l.group.Go(func() {
		timer := time.AfterFunc(farewell, q.cancel)
		<-q.over
		timer.Stop()
		if err := l.end(q); err != nil {
			l.log.Warn("a target of the audit did not end well", "target", q.Name, "error", err)
		}
	})
}

// end closes a target to which nothing is sent any more.
func (l *Log) end(q *queue) error {
	q.cancel()
	if n := q.lost.Load(); n > 0 {
		l.log.Error("records of the audit were lost", "target", q.Name, "lost", n)
	}
	return q.Close() //nolint:wrapcheck // it is the target's own
}

// Close sends what waits, as far as that is quickly done, and counts the rest as lost.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for _, q := range l.queues {
		close(q.waiting)
	}
	l.mu.Unlock()
	timer := time.AfterFunc(farewell, l.cancel)
	l.group.Wait()
	timer.Stop()
	l.cancel()
	var errs []error
	for _, q := range l.queues {
		errs = append(errs, l.end(q))
	}
	return errors.Join(errs...)
}

// Enabled reports whether anybody is told.
func (l *Log) Enabled() bool { return l != nil && l.told.Load() > 0 }

// Add tells all targets, and waits for none.
func (l *Log) Add(r *Record) error {
	document, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a record of the audit: %w", err)
	}
	m := message{key: r.API.Bucket + "/" + r.API.Object, document: document}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, q := range l.queues {
		if l.closed {
			q.lost.Add(1)
			continue
		}
		select {
		case q.waiting <- m:
		default:
			if q.lost.Add(1) == 1 {
				l.log.Error("records of the audit are being lost: the target does not keep up", "target", q.Name, "room", q.Room)
			}
		}
	}
	return nil
}

func (l *Log) work(q *queue) {
	for m := range q.waiting {
		if err := l.send(q, m); err != nil {
			q.lost.Add(1)
			l.log.Error("a record of the audit is lost", "target", q.Name, "error", err)
			continue
		}
		q.sent.Add(1)
	}
}

// send sends a record, again and again until the target has it, refuses it, or the time
// for all is over.
func (l *Log) send(q *queue, m message) error {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		ctx, cancel := context.WithTimeout(q.ctx, attempt)
		err := q.SendDocument(ctx, m.key, m.document)
		cancel()
		if err == nil || errors.Is(err, events.ErrRefused) {
			return err //nolint:wrapcheck // it is logged with the target
		}
		if q.failed.Add(1) == 1 {
			l.log.Warn("the audit cannot be told of a request, and goes on trying", "target", q.Name, "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-q.ctx.Done():
			timer.Stop()
			return err //nolint:wrapcheck // it is logged with the target
		}
	}
}

// Measure is what is known of one target.
type Measure struct {
	Target  string
	Waiting int // records
	Room    int
	Sent    int64
	Failed  int64 // attempts
	Lost    int64 // records
}

// Measures returns what is known of all targets.
func (l *Log) Measures() []Measure {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]Measure, 0, len(l.queues))
	for _, q := range l.queues {
		all = append(all, Measure{Target: q.Name, Waiting: len(q.waiting), Room: q.Room, Sent: q.sent.Load(), Failed: q.failed.Load(), Lost: q.lost.Load()})
	}
	return all
}
