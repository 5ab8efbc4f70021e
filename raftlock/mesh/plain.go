package mesh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A plain connection is for contents, where the network between the nodes is trusted with them:
// encrypting and decrypting costs more than all else that is done to them. It begins with
// plainMark, where TLS begins with 22, and a ticket, which its maker got over a connection that has proved itself.
const (
	plainMark  = 'p'
	ticketSize = 32 // bytes
	ticketTime = 10 * time.Second
	maxTickets = 1 << 12
)

// tickets are those that were given out and not shown yet, and until when they are good.
type tickets map[[ticketSize]byte]time.Time

// ErrTickets says that too many tickets are not used.
var ErrTickets = errors.New("mesh: too many connections are announced and not made")

// Ticket returns what lets another node in on a plain connection, once and soon.
func (m *Mesh) Ticket() ([]byte, error) {
	var t [ticketSize]byte
	_, _ = rand.Read(t[:]) // crypto/rand never fails
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for old, end := range m.tickets {
		if now.After(end) {
			delete(m.tickets, old)
		}
	}
	if len(m.tickets) >= maxTickets {
		return nil, ErrTickets
	}
	m.tickets[t] = now.Add(ticketTime)
	return t[:], nil
}

// HandlePlain has h serve plain connections. It closes them when it is done.
func (m *Mesh) HandlePlain(h func(c net.Conn)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plain = h
}

// DialPlain connects to the node that gave out a ticket. That the node does not let this one in
// shows when it is spoken to.
func (m *Mesh) DialPlain(ctx context.Context, address string, ticket []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	c, err := m.cfg.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	deadline, _ := ctx.Deadline()
	err = c.SetDeadline(deadline)
	if err == nil {
		_, err = c.Write(append([]byte{plainMark}, ticket...))
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", address, err), c.Close())
	}
	return c, nil
}

// admitPlain takes the ticket of who came on a plain connection, and returns what serves it.
func (m *Mesh) admitPlain(c net.Conn) (func(c net.Conn), error) {
	var t [ticketSize]byte
	if _, err := io.ReadFull(c, t[:]); err != nil {
		return nil, err
	}
	m.mu.Lock()
	end, known := m.tickets[t] // 256 random bits are not guessed by how long that takes
	delete(m.tickets, t)
	h := m.plain
	m.mu.Unlock()
	if !known || time.Now().After(end) || h == nil {
		return nil, fmt.Errorf("%w: it has no ticket", ErrRefused)
	}
	return h, c.SetDeadline(time.Time{})
}

// begun is a connection of which the first byte was read.
type begun struct {
	net.Conn
	first []byte // that, until it is read again
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.Conn.Read(p)
}
