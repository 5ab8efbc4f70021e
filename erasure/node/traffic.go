package node

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Traffic is what has gone over the connections that this node makes to another one, since it was
// started.
type Traffic struct {
	Online    bool          `json:"online"`
	Connected int64         `json:"connected"`           // how often the connection for calls was made
	Age       time.Duration `json:"age,omitempty"`       // of that; 0: it was never made
	Sent      int64         `json:"sent"`                // bytes, with those of shards
	Received  int64         `json:"received"`            // the same
	Asked     int64         `json:"asked"`               // calls and pings
	Answered  int64         `json:"answered"`            // of those
	Waiting   int           `json:"waiting,omitempty"`   // of those, not sent yet
	Shards    int           `json:"shards,omitempty"`    // that are on their way
	Silence   time.Duration `json:"silence,omitempty"`   // since the answer to the last ping; 0: there was none
	RoundTrip time.Duration `json:"roundTrip,omitempty"` // of that ping
	Longest   time.Duration `json:"longest,omitempty"`   // of all of them
}

// Traffic returns what has gone over the connections to the node.
func (p *Peer) Traffic() Traffic {
	p.mu.Lock()
	l, idle := p.line, len(p.idle)
	p.mu.Unlock()
	c, now := &p.counts, p.counts.now()
	t := Traffic{
		Online: l != nil, Connected: c.connected.Load(),
		Sent: c.sent.Load(), Received: c.received.Load(), Asked: c.asked.Load(), Answered: c.answered.Load(),
		Shards:    max(0, int(c.bulk.Load())-idle),
		RoundTrip: time.Duration(c.roundTrip.Load()), Longest: time.Duration(c.longest.Load()),
	}
	if l != nil {
		t.Waiting = l.w.queue()
	}
	if at := c.since.Load(); at != 0 {
		t.Age = time.Duration(now - at)
	}
	if at := c.ponged.Load(); at != 0 {
		t.Silence = time.Duration(now - at)
	}
	return t
}

// counts is what a Peer counts: a call adds to numbers, and takes no lock for it. Times are in
// nanoseconds since begun.
type counts struct {
	begun time.Time

	connected, sent, received, asked, answered atomic.Int64

	since  atomic.Int64 // when the connection for calls was made last
	bulk   atomic.Int64 // connections for shards
	pinged atomic.Int64 // when the ping was sent that is not answered; 0: all are
	ponged atomic.Int64 // when one was answered last

	roundTrip, longest atomic.Int64
}

func (c *counts) now() int64 { return int64(time.Since(c.begun)) }

// connect takes note of a new connection for calls.
func (c *counts) connect() {
	c.pinged.Store(0)
	c.since.Store(c.now())
	c.connected.Add(1)
}

// ping takes note that the other end is pinged. What is measured is the longest wait there is: a
// ping that is sent while another one is not answered does not count.
func (c *counts) ping() { c.pinged.CompareAndSwap(0, c.now()) }

// pong takes note of an answer. One goroutine calls it at a time.
func (c *counts) pong() {
	sent := c.pinged.Swap(0)
	if sent == 0 {
		return
	}
	now := c.now()
	c.longest.Store(max(c.longest.Load(), now-sent))
	c.roundTrip.Store(now - sent)
	c.ponged.Store(now)
}

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	counts *counts
	gone   func() // is called when it is closed
}

func (c *counts) count(conn net.Conn, gone func()) net.Conn {
	return &counted{conn, c, sync.OnceFunc(gone)}
}

// Read implements net.Conn.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.counts.received.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.counts.sent.Add(int64(n))
	return n, err
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.gone()
	return c.Conn.Close()
}
