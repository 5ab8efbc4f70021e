// Package audit tells targets of every request and of what came of it. Requests never
// wait for a target: what there is no room for is counted as lost.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
	queues []*queue
	log    *slog.Logger
	ctx    context.Context // of sending; it ends some time after Close
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.RWMutex // held for reading while a record is added
	closed bool
}

// queue is what waits for a target.
type queue struct {
	Target
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
		q := &queue{Target: t, waiting: make(chan message, t.Room)}
		l.queues = append(l.queues, q)
		l.group.Go(func() { l.work(q) })
	}
	return l
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
		if n := q.lost.Load(); n > 0 {
			l.log.Error("records of the audit were lost", "target", q.Name, "lost", n)
		}
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}

// Enabled reports whether anybody is told.
func (l *Log) Enabled() bool { return l != nil && len(l.queues) > 0 }

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
		ctx, cancel := context.WithTimeout(l.ctx, attempt)
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
		case <-l.ctx.Done():
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
	all := make([]Measure, 0, len(l.queues))
	for _, q := range l.queues {
		all = append(all, Measure{Target: q.Name, Waiting: len(q.waiting), Room: q.Room, Sent: q.sent.Load(), Failed: q.failed.Load(), Lost: q.lost.Load()})
	}
	return all
}
