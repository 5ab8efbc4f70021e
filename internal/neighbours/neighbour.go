package neighbours

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// neighbour is another gateway, which may be one.
type neighbour struct {
	group *Group
	peer  Peer

	mu       sync.Mutex
	stranger bool      // it uses another mount, and always will
	silent   time.Time // until then it is not asked
	idle     []net.Conn
	closed   bool
}

// mayBe reports whether it has to be asked.
func (n *neighbour) mayBe() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.stranger && !time.Now().Before(n.silent)
}

// hold is a path that a neighbour has let go of.
type hold struct {
	neighbour *neighbour
	conn      net.Conn
}

// hold has the neighbour let go of a path; nil if it is none, or does not answer.
func (n *neighbour) hold(ctx context.Context, path string) *hold {
	for {
		conn, kept, err := n.connect(ctx)
		if conn == nil && err == nil {
			return nil // a stranger
		}
		if err == nil {
			if err = ask(ctx, conn, path); err == nil {
				return &hold{n, conn}
			}
			_ = conn.Close() // it is broken
			if kept && ctx.Err() == nil {
				continue // it was closed at the other end while nobody used it
			}
		}
		n.fell(err)
		return nil
	}
}

// ask has the other end let go of a path.
func ask(ctx context.Context, c net.Conn, path string) error {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if err := writeText(c, path); err != nil {
		return err
	}
	return readSign(c, signHeld)
}

// connect returns a connection to the neighbour, nil if it is none. kept says that it is
// one from before.
func (n *neighbour) connect(ctx context.Context) (c net.Conn, kept bool, err error) {
	n.mu.Lock()
	if last := len(n.idle) - 1; last >= 0 {
		c, n.idle = n.idle[last], n.idle[:last]
	}
	n.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	if c, err = n.group.cfg.Dial(ctx, n.peer); err != nil {
		return nil, false, err
	}
	same, err := n.greet(ctx, c)
	if err != nil || !same {
		_ = c.Close() // nothing was said that matters
		return nil, false, err
	}
	return c, false, nil
}

// greet finds out whether the other end is a neighbour.
func (n *neighbour) greet(ctx context.Context, c net.Conn) (same bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return false, err
	}
	if err := writeText(c, n.group.cfg.Here); err != nil {
		return false, err
	}
	var answer [1]byte
	if _, err := c.Read(answer[:]); err != nil {
		return false, err
	}
	switch answer[0] {
	case signSame:
		return true, nil
	case signOther:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.stranger = true
		return false, nil
	}
	return false, fmt.Errorf("a neighbour says %#x", answer[0])
}

// fell notes that the neighbour did not answer.
func (n *neighbour) fell(err error) {
	n.mu.Lock()
	n.silent = time.Now().Add(silence)
	n.mu.Unlock()
	n.group.cfg.Logger.Debug("another gateway does not say whether it uses this mount", "node", n.peer.Node, "error", err)
}

// end lets the neighbour go on.
func (h *hold) end() {
	n := h.neighbour
	err := h.conn.SetDeadline(time.Now().Add(answerTime))
	if err == nil {
		_, err = h.conn.Write([]byte{signDone})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || n.closed || len(n.idle) >= maxIdle {
		_ = h.conn.Close() // which says the same
		return
	}
	n.idle = append(n.idle, h.conn)
}

// close closes what is kept.
func (n *neighbour) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, c := range n.idle {
		_ = c.Close() // nothing is under way on it
	}
	n.idle = nil
}
