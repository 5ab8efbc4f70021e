package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/limits"
)

// conn is a client's connection. fasthttp's own timeouts span a whole body
// (FH7), so while a body moves the deadlines are set here, anew for every
// piece: a client must make progress, and may take all day.
type conn struct {
	*net.TCPConn
	stall   time.Duration // how long one read or write may take while a body moves
	secure  bool          // the client is to speak TLS
	reading atomic.Bool   // a request body is being read
	linger  atomic.Bool   // the client may still be sending when we close
	closed  atomic.Bool
	heard   atomic.Bool               // a byte has come
	from    *listener                 // that it came by
	surplus bool                      // there is no room for it: a request is told so
	pace    atomic.Pointer[pace]      // of what is written, or nil
	last    atomic.Pointer[time.Time] // until when a request may still come; nil: no matter
	standing
}

// call has the connection end unless a request comes until then, or has come.
func (c *conn) call(last time.Time) {
	c.last.Store(&last)
	// A connection that takes no deadline is broken, and ends by itself.
	_ = c.SetReadDeadline(last)
}

// SetReadDeadline sets a deadline, which for a request that has not come is the last
// call's at the latest: fasthttp sets its own when it begins to wait for one, and
// that may be after the call.
func (c *conn) SetReadDeadline(t time.Time) error {
	if err := c.TCPConn.SetReadDeadline(t); err != nil {
		return err
	}
	// Looked at after the deadline was set, so that of two at once the earlier stays.
	if last := c.last.Load(); last != nil && last.Before(t) {
		return c.TCPConn.SetReadDeadline(*last)
	}
	return nil
}

// Read reads with a fresh deadline while a request body is read. A client that
// has not said anything in time has no request that an answer could be for: to
// the reader it has gone.
func (c *conn) Read(p []byte) (int, error) {
	if c.reading.Load() {
		if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
			return 0, err
		}
	}
	n, err := c.TCPConn.Read(p)
	if n > 0 && !c.heard.Swap(true) && c.secure && 'A' <= p[0] && p[0] <= 'Z' { // as no record of TLS begins
		return 0, c.refusePlain()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.heard.Load() {
		return 0, io.EOF
	}
	return n, err
}

// errPlain says that a client does not speak TLS.
var errPlain = errors.New("the client speaks plain HTTP where HTTPS is served")

// refusePlain tells a client that does not speak TLS, in plain HTTP, what is the matter: it
// would see the connection end, and nothing else.
func (c *conn) refusePlain() error {
	const document = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<Error><Code>InvalidRequest</Code><Message>The request came over plain HTTP, and HTTPS is served here: use https://.</Message></Error>`
	c.linger.Store(true)
	_, err := c.write(fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(document), document))
	return errors.Join(errPlain, err)
}

// Write writes at the pace of the request.
func (c *conn) Write(p []byte) (int, error) {
	pace := c.pace.Load()
	if pace == nil {
		return c.write(p)
	}
	written := 0
	for written < len(p) {
		rest := p[written:]
		n, err := c.write(rest[:pace.piece(limits.Down, len(rest))])
		written += n
		if err == nil {
			err = pace.moved(limits.Down, int64(n), nil)
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// write writes with a deadline that is fresh for as long as the client takes anything.
func (c *conn) write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return written, err
		}
		n, err := c.TCPConn.Write(p[written:])
		written += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
	}
}

// sendStep is how much sendfile moves under one deadline, if the client takes it in time.
const sendStep = 4 << 20

// ReadFrom sends r, by sendfile(2) where it is a file, in steps each with its
// own deadline, at the pace of the request.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	pace := c.pace.Load()
	var sent int64
	for limited.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return sent, err
		}
		most := int(min(limited.N, sendStep))
		if pace != nil {
			most = pace.piece(limits.Down, most)
		}
		step := &io.LimitedReader{R: limited.R, N: int64(most)}
		n, err := c.TCPConn.ReadFrom(step)
		sent += n
		limited.N -= n
		if n > 0 && step.N+n == int64(most) && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // the client is slow, and nothing was read that was not sent
		}
		if pace != nil && err == nil {
			err = pace.moved(limits.Down, n, nil)
		}
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}

// Bounds of a lingering close: how much, and how long, a client that is still
// sending is listened to so that it can read our answer.
const (
	lingerBytes = 16 << 20
	lingerTime  = 5 * time.Second
)

// Close closes the connection. If the client may be sending still, closing at
// once would make the kernel answer with a reset, and the client would never
// see the error it was sent; so the rest is discarded for a while.
func (c *conn) Close() error {
	c.last.Store(nil)
	defer c.from.gone(c)
	if c.closed.Swap(true) || !c.linger.Load() {
		return c.TCPConn.Close()
	}
	if err := errors.Join(c.CloseWrite(), c.SetReadDeadline(time.Now().Add(lingerTime))); err != nil {
		return errors.Join(err, c.TCPConn.Close())
	}
	_, err := io.CopyN(io.Discard, c.TCPConn, lingerBytes)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, c.TCPConn.Close())
}

// clientConn returns the conn below what fasthttp hands out, or nil where a
// test gave it another connection.
func clientConn(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	found, _ := c.(*conn)
	return found
}

// clientGone reports whether err is a client's going away.
func clientGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded)
}
