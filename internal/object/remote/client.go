package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Bounds of what a Client keeps open without use.
const (
	maxIdle  = 64
	idleTime = time.Minute
)

// maxAge is how long a connection takes further calls. A new one may go a better way: where two
// gateways do not reach each other, theirs go by way of a third.
const maxAge = time.Minute

// stallTime is how long the next piece of an object is waited for.
const stallTime = 30 * time.Second

// Client is an object.Store whose content is at the other end of connections,
// each of which carries one call at a time and is kept for the next.
//
// When a connection is lost before the answer, a call that changes nothing fails
// with Unavailable and ErrAgain, and one that changes something with Unknown
// unless it is certain that nothing was begun (ErrAgain) or done (Unavailable).
type Client struct {
	root context.Context
	dial func(ctx context.Context) (net.Conn, error)
	pool *sync.Pool

	mu     sync.Mutex
	links  map[*link]struct{} // all
	idle   []idleLink         // the longest unused first
	closed bool
}

type idleLink struct {
	*link
	since time.Time
}

var (
	_ object.Store   = (*Client)(nil)
	_ object.Copier  = (*Client)(nil)
	_ object.Renamer = (*Client)(nil)
)

// NewClient returns a Client that connects by dial. Its connections end with
// root.
func NewClient(root context.Context, dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{root: root, dial: dial, pool: newPool(), links: make(map[*link]struct{})}
}

// Close ends all connections, and with them what is under way.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for l := range c.links {
		l.close(errClosed)
	}
	c.idle = nil
	return nil
}

// take returns a connection that nobody uses.
func (c *Client) take(ctx context.Context) (*link, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	for len(c.idle) > 0 {
		l := c.idle[len(c.idle)-1].link
		c.idle = c.idle[:len(c.idle)-1]
		if l.ctx.Err() == nil {
			c.mu.Unlock()
			return l, nil
		}
	}
	c.mu.Unlock()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := newLink(c.root, conn, c.pool)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close(errClosed)
		return nil, errClosed
	}
	c.links[l] = struct{}{}
	context.AfterFunc(l.ctx, func() { c.forget(l) })
	return l, nil
}

func (c *Client) forget(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
}

// give takes a connection back on which nothing is under way.
func (c *Client) give(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.closed || len(c.idle) == maxIdle || now.Sub(l.made) > maxAge {
		l.close(errClosed)
		return
	}
	for len(c.idle) > 0 && now.Sub(c.idle[0].since) > idleTime {
		c.idle[0].close(errClosed)
		c.idle = c.idle[1:]
	}
	c.idle = append(c.idle, idleLink{l, now})
}

// exchange is one call at the Client.
type exchange struct {
	call     call
	body     object.Body                // nil: none
	consider func(ask) (verdict, error) // answers an Ask; nil: there are none
	keep     bool                       // the caller goes on with link, unless the call fails

	link    *link
	ready   chan struct{} // closed when the body is wanted
	opened  bool          // the body was read from
	sent    bool          // all of it was sent
	refused error         // what consider returned
	broken  error         // what the body returned
}

// run makes a call.
func (c *Client) run(ctx context.Context, x *exchange) (answer, error) {
	l, err := c.take(ctx)
	if err != nil {
		return answer{}, x.fail(object.Unavailable, errors.Join(ErrAgain, err))
	}
	x.link, x.ready = l, make(chan struct{})
	if deadline, ok := ctx.Deadline(); ok {
		x.call.Patience = max(time.Until(deadline), 1)
	}
	left := context.AfterFunc(ctx, func() { l.close(context.Cause(ctx)) })
	a, answered := x.converse()
	switch {
	case !left() || !answered || x.opened && !x.sent: // something may be on its way
		l.close(errClosed)
	case !x.keep || a.Failure != nil:
		c.give(l)
	}
	if !answered {
		return answer{}, x.lost()
	}
	return a, x.outcome(a.Failure)
}

// converse sends the call and its body, and listens until the answer comes. It
// returns false if none does.
func (x *exchange) converse() (answer, bool) {
	if x.link.send(message{Call: &x.call}, false) != nil {
		return answer{}, false
	}
	if x.body == nil {
		return x.listen()
	}
	var a answer
	var answered bool
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		a, answered = x.listen()
	}()
	x.sendBody(heard)
	<-heard
	return a, answered
}

// listen does what the Server asks until it answers.
func (x *exchange) listen() (answer, bool) {
	for {
		m, ok := x.link.next()
		switch {
		case !ok:
			return answer{}, false
		case m.Answer != nil:
			return *m.Answer, true
		case m.Ask != nil && x.consider != nil:
			v, err := x.consider(*m.Ask)
			if err != nil {
				x.refused, v.Refused = err, true
			}
			_ = x.link.send(message{Verdict: &v}, false) // it closes the link if it fails
		case m.Word == ready && x.body != nil:
			close(x.ready)
		default:
			x.link.close(errMisplaced)
		}
	}
}

// sendBody sends the body once it is wanted, until its end or until the call is
// answered.
func (x *exchange) sendBody(answered <-chan struct{}) {
	select {
	case <-x.ready:
	case <-answered:
		return
	}
	x.opened = true
	l := x.link
	buffer := l.pool.Get().(*[headerSize + pieceSize]byte) //nolint:forcetypeassert // the pool has nothing else
	defer l.pool.Put(buffer)
	for {
		n, err := readPiece(x.body, buffer)
		if n > 0 {
			select {
			case <-l.credit:
			case <-answered:
				return
			}
			if l.sendPiece(buffer, n, n < pieceSize) != nil {
				return
			}
		}
		if err == nil {
			continue
		}
		e := end{}
		if err == io.EOF { //nolint:errorlint // an error that wraps it is another
			e.Digest = x.body.Digest()
			x.sent = true // or perhaps
		} else {
			x.broken, e.Failure = err, failureOf(err)
		}
		_ = l.send(message{End: &e}, false) // it closes the link if it fails
		return
	}
}

// readPiece reads until a piece is full, the reader fails, or ends.
func readPiece(r io.Reader, buffer *[headerSize + pieceSize]byte) (n int, err error) {
	for n < pieceSize && err == nil {
		var m int
		m, err = r.Read(buffer[headerSize+n:])
		n += m
	}
	return n, err
}

// outcome returns the error that a call came to.
func (x *exchange) outcome(f *failure) error {
	switch {
	case f == nil:
		return nil
	case f.Refused && x.refused != nil:
		return x.refused
	case f.Body && x.broken != nil:
		if _, ok := errors.AsType[*object.Error](x.broken); ok {
			return x.broken
		}
		return x.fail(object.KindOf(x.broken), x.broken)
	}
	return f.err()
}

// lost returns the error of a call whose answer does not come.
func (x *exchange) lost() error {
	err := context.Cause(x.link.ctx)
	switch {
	case !x.call.Op.changes(), x.body != nil && !x.opened:
		return x.fail(object.Unavailable, errors.Join(ErrAgain, err))
	case x.body != nil && !x.sent:
		return x.fail(object.Unavailable, err)
	}
	return x.fail(object.Unknown, err)
}

func (x *exchange) fail(kind object.Kind, err error) error {
	return object.E(x.call.Op.String(), x.call.name(), kind, err)
}
