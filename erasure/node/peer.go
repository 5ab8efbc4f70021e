package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// errAway says that nothing was asked of a node, since there is no connection to it.
var errAway = fmt.Errorf("node: it is away: %w", register.ErrUnknown)

// errBroken says that the connection was lost on which an answer was to come.
var errBroken = errors.New("node: the connection was lost")

// Peer is another node. Its methods may be called concurrently.
type Peer struct {
	dial func(ctx context.Context, protocol string) (net.Conn, error)
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}

	counts counts

	mu      sync.Mutex
	line    *line // nil: it is away
	changed chan struct{}
	idle    []idleBulk // the longest unused first
}

type idleBulk struct {
	*bulk
	since time.Time
}

// NewPeer returns a Peer to which a connection is kept up until Close. dial connects to it.
func NewPeer(ctx context.Context, dial func(ctx context.Context, protocol string) (net.Conn, error)) *Peer {
	p := &Peer{dial: dial, done: make(chan struct{}), changed: make(chan struct{}), counts: counts{begun: time.Now()}}
	p.ctx, p.stop = context.WithCancel(ctx)
	go p.run()
	return p
}

// Close ends all connections.
func (p *Peer) Close() {
	p.stop()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.idle {
		_ = b.conn.Close() // nothing is under way on it
	}
	p.idle = nil
}

// Online reports whether there is a connection to the node.
func (p *Peer) Online() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line != nil
}

// Changed returns a channel that is closed when the node has come or gone.
func (p *Peer) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// run keeps a connection for calls.
func (p *Peer) run() {
	defer close(p.done)
	for p.ctx.Err() == nil {
		c, err := p.dial(p.ctx, CallProtocol)
		if err == nil {
			c = p.counts.count(c, func() {})
			l := &line{conn: c, w: newWriter(c), counts: &p.counts, pending: make(map[uint64]chan frame), ended: make(chan struct{})}
			p.counts.connect()
			p.use(l)
			l.run(p.ctx)
			p.use(nil)
		}
		timer := time.NewTimer(redialTime)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
		}
		timer.Stop()
	}
}

func (p *Peer) use(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = l
	if l == nil { // what goes to that process leads nowhere any more
		for _, b := range p.idle {
			_ = b.conn.Close()
		}
		p.idle = nil
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// line is a connection over which calls are made.
type line struct {
	conn   net.Conn
	w      *writer
	counts *counts
	ended  chan struct{}

	mu      sync.Mutex
	pending map[uint64]chan frame // each with room for the one answer; nil: the line has ended
	last    uint64
}

// run reads answers until the connection is lost, or the node does not speak any more.
func (l *line) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { l.w.run(ctx.Done()) })
	running.Go(func() { l.ping(ctx) })
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	r := bufio.NewReaderSize(l.conn, 64<<10)
	for l.conn.SetReadDeadline(time.Now().Add(silentTime)) == nil {
		f, err := readFrame(r)
		if err != nil {
			break
		}
		l.counts.answered.Add(1)
		if f.call == pingCall {
			l.counts.pong()
		}
		l.mu.Lock()
		come := l.pending[f.call]
		delete(l.pending, f.call)
		l.mu.Unlock()
		if come != nil {
			come <- f
		}
	}
	stop()
	cancel()
	_ = l.conn.Close() // what was to be said on it has been, or is lost
	l.mu.Lock()
	l.pending = nil
	l.mu.Unlock()
	close(l.ended)
	running.Wait()
}

func (l *line) ping(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		l.counts.ping()
		if l.send(pingCall, opPing) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// pingCall is the number of pings; those of calls begin after it.
const pingCall = 0

func (l *line) send(call uint64, op byte, parts ...[]byte) error {
	l.counts.asked.Add(1)
	return l.w.send(call, op, parts...)
}

// begin returns the number of a new call, and where its answer comes.
func (l *line) begin() (uint64, chan frame, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		return 0, nil, errAway
	}
	l.last++
	come := make(chan frame, 1)
	l.pending[l.last] = come
	return l.last, come, nil
}

func (l *line) forget(call uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, call)
}

// defaultPatience is how long a call waits whose context has no end.
const defaultPatience = time.Minute

// call asks something of the node.
func (p *Peer) call(ctx context.Context, q request) ([]byte, error) {
	p.mu.Lock()
	l := p.line
	p.mu.Unlock()
	if l == nil {
		return nil, errAway
	}
	number, come, err := l.begin()
	if err != nil {
		return nil, err
	}
	q.patient = defaultPatience
	if deadline, ok := ctx.Deadline(); ok {
		q.patient = time.Until(deadline)
	}
	if err := l.send(number, q.op, q.head(), q.rest); err != nil {
		l.forget(number)
		return nil, errors.Join(errBroken, err)
	}
	select {
	case f := <-come:
		return f.rest, errorOf(f.what, f.rest)
	case <-l.ended:
		return nil, errBroken
	case <-ctx.Done():
		l.forget(number)
		return nil, context.Cause(ctx)
	}
}

// Ask asks the node itself.
func (p *Peer) Ask(ctx context.Context, question string, content []byte) ([]byte, error) {
	return p.call(ctx, request{op: opAsk, drive: question, rest: content})
}

// maxIdle is how many connections for shards are kept for the next ones.
const maxIdle = 16

// take returns a connection for shards.
func (p *Peer) take(ctx context.Context) (*bulk, error) {
	p.mu.Lock()
	now := time.Now()
	for len(p.idle) > 0 && now.Sub(p.idle[0].since) > idleTime/2 {
		_ = p.idle[0].conn.Close() // nothing is under way on it
		p.idle = p.idle[1:]
	}
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1].bulk
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return b, nil
	}
	away := p.line == nil
	p.mu.Unlock()
	if away {
		return nil, errAway
	}
	c, err := p.dial(ctx, BulkProtocol)
	if err != nil {
		return nil, err
	}
	p.counts.bulk.Add(1)
	return newBulk(p.counts.count(c, func() { p.counts.bulk.Add(-1) })), nil
}

// give takes a connection back on which nothing is under way.
func (p *Peer) give(b *bulk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == maxIdle || p.ctx.Err() != nil {
		_ = b.conn.Close() // nothing is under way on it
		return
	}
	p.idle = append(p.idle, idleBulk{b, time.Now()})
}
