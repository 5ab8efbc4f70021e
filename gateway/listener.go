package gateway

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/accept"
	"github.com/shoal-storage/shoal/internal/samehost"
)

// listener hands out conns, and knows those on which no request is under way: clients
// open connections in advance, and keep them for later. Where there are too many, those
// that have waited make room for others.
type listener struct {
	*net.TCPListener
	stall  time.Duration
	secure bool          // clients are to speak TLS
	most   int           // connections that are served
	spare  int           // that may be there beyond those
	grace  time.Duration // for which one may wait before it has to make room

	full    func()      // is called when one comes that there is no room for
	starved func(error) // is called when there is no file for one

	mu      sync.Mutex
	open    int        // connections, but for those that were told to leave
	there   int        // connections, with those
	waiting list.List  // of conns, the one that has waited longest first
	last    *time.Time // the last call, nil before it
	closed  error      // of the first Close, after it
}

// standing is what a listener knows of a conn. It is guarded by the listener's lock.
type standing struct {
	counts bool          // among those that are open
	left   bool          // it is closed
	place  *list.Element // among those that wait, or nil
	since  time.Time     // when it began to wait
}

// spareConnections is how many may be there beyond those that are served, at most: to be told that
// there is no room for them.
const spareConnections = 256

// serverConnections is how many fasthttp takes where so many are served. They are never reached: it would answer
// who comes then before it takes the next one (FH16), and over TLS would wait for ever for a client that
// says nothing. The difference is for those that are to leave, or are closed, and that it still counts.
func serverConnections(served int) int { return served + 4*spareConnections }

// Accept waits for the next client that there is room for, be it to be told that there is not.
func (l *listener) Accept() (net.Conn, error) {
	for {
		tcp, err := accept.Next(l.AcceptTCP, l.lacks)
		if err != nil {
			return nil, err
		}
		c := &conn{TCPConn: tcp, stall: l.stall, secure: l.secure, from: l}
		if l.admit(c) {
			samehost.Unpace(tcp)
			return c, nil
		}
		l.full()
		if l.bears() {
			return c, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

// lacks makes room where there are no files for connections: nobody else can.
func (l *listener) lacks(err error) {
	l.mu.Lock()
	l.makeRoom()
	l.mu.Unlock()
	l.starved(err)
}

// admit counts a connection, and reports whether there is room for it.
func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	l.there++
	c.counts = true
	c.surplus = l.open > l.most && !l.makeRoom()
	l.wait(c)
	return !c.surplus
}

// bears reports whether one for which there is no room can be told so.
func (l *listener) bears() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.there <= l.most+l.spare
}

// makeRoom lets the connection go that has waited longest, unless that is not long: a client that
// has just connected is about to ask.
func (l *listener) makeRoom() bool {
	longest := l.waiting.Front()
	if longest == nil {
		return false
	}
	c := longest.Value.(*conn) //nolint:forcetypeassert // there is nothing else
	now := time.Now()
	if now.Sub(c.since) < l.grace {
		return false
	}
	l.strike(c)
	l.forget(c)
	c.call(now)
	return true
}

// wait puts a connection among those on which no request is under way.
func (l *listener) wait(c *conn) {
	if c.place != nil {
		return
	}
	c.place, c.since = l.waiting.PushBack(c), time.Now()
	c.last.Store(l.last)
}

// strike takes a connection from those.
func (l *listener) strike(c *conn) {
	if c.place != nil {
		l.waiting.Remove(c.place)
		c.place = nil
	}
}

// forget counts a connection no more.
func (l *listener) forget(c *conn) {
	if c.counts {
		c.counts = false
		l.open--
	}
}

// answered tells that a request of a connection has its answer.
func (l *listener) answered(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(c)
}

// asked tells that a request has come. If the connection was to leave, it stays.
func (l *listener) asked(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strike(c)
	if !c.counts {
		c.counts = true
		l.open++
	}
	c.last.Store(nil)
}

// gone tells that a connection is closed.
func (l *listener) gone(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strike(c)
	l.forget(c)
	if !c.left {
		c.left = true
		l.there--
	}
}

// lastCall is how long a client that has connected may still ask after no
// others are taken.
const lastCall = time.Second

// Close takes no more clients. Those that have asked for nothing are let go
// soon: fasthttp would wait for them as for requests under way. Closing again does
// nothing, and returns what the first Close did.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil {
		return l.closed
	}
	l.closed = l.TCPListener.Close()
	last := time.Now().Add(lastCall)
	l.last = &last
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		e.Value.(*conn).call(last) //nolint:forcetypeassert // as above
	}
	return l.closed
}

// listeners are those of a server, until it is shut down. fasthttp knows of one only from when its
// Serve has begun (FH15): one that had not when it was shut down would stay open.
type listeners struct {
	mu     sync.Mutex
	open   []*listener
	closed bool
}

// add reports whether the server may still serve l.
func (ls *listeners) add(l *listener) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.closed {
		ls.open = append(ls.open, l)
	}
	return !ls.closed
}

// close closes all, and those to come.
func (ls *listeners) close() (err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for _, l := range ls.open {
		err = errors.Join(err, l.Close())
	}
	return err
}

// connState tells the listener what fasthttp does with a connection. Of the first request fasthttp
// says that it has come before it has (FH13): begin tells of that.
func connState(nc net.Conn, state fasthttp.ConnState) {
	c := clientConn(nc)
	switch {
	case c == nil:
	case state == fasthttp.StateActive && c.heard.Load():
		c.from.asked(c)
	case state == fasthttp.StateIdle:
		c.from.answered(c)
	}
}
