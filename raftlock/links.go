package raftlock

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/mesh"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Bounds and times of the connections that locks go over.
const (
	maxFrame      = 4 << 20 // bytes
	maxBuffered   = 8 << 20 // bytes that wait to be written; a peer that is slower is cut off and asked anew
	redialFirst   = 20 * time.Millisecond
	redialMost    = time.Second
	refusedAgain  = 100 * time.Millisecond // after a refusal, to be sure
	pingEvery     = 2 * time.Second
	silentTooLong = 5 * time.Second
)

// link is the way to another session: the connection that this node has made,
// for what it says, and the one that came in, for what it is told. When either
// is new, what was said on an earlier one may be lost, and the Member is told.
//
// Everything but the connection's own work is guarded by the life's mutex.
type link struct {
	life     *life
	peer     protocol.SID
	self     protocol.SID
	node     raft.ServerID
	at       string
	ctx      context.Context
	stop     context.CancelFunc
	up       bool
	refused  bool   // the peer's process is not there any more, as far as can be told
	buffer   []byte // frames to be written
	spare    []byte
	wake     chan struct{}
	cut      chan struct{} // one token: the connection is to be broken
	incoming net.Conn
}

// connect makes the links to all other sessions and closes those to sessions
// that have ended. The caller holds the life's mutex.
func (l *life) connect() {
	if l.session == nil {
		return
	}
	sessions := l.current().Sessions
	for sid, s := range sessions {
		if sid == l.session.sid || l.links[sid] != nil {
			continue
		}
		k := &link{
			life: l, peer: sid, self: l.session.sid, node: raft.ServerID(s.Node), at: s.Address,
			wake: make(chan struct{}, 1), cut: make(chan struct{}, 1),
		}
		k.ctx, k.stop = context.WithCancel(l.session.ctx)
		l.links[sid] = k
		l.group.Go(k.run)
	}
	for sid, k := range l.links {
		if sessions[sid] == nil {
			k.close()
			delete(l.links, sid)
		}
	}
}

// close ends the link. The caller holds the life's mutex.
func (k *link) close() {
	k.stop()
	k.up, k.buffer = false, nil
	if k.incoming != nil {
		hangUp(k.incoming)
		k.incoming = nil
	}
}

// hangUp closes a connection, whose reader notices. Over TLS that says goodbye
// and can wait for a peer that does not read: nobody who holds a lock may.
func hangUp(c net.Conn) {
	go func() { _ = c.Close() }()
}

// push queues a message. While there is no connection it is dropped: both sides
// compare notes when there is one. The caller holds the life's mutex.
func (k *link) push(e protocol.Envelope) {
	if !k.up {
		return
	}
	start := len(k.buffer)
	b := append(k.buffer, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(e.From))
	b = binary.AppendUvarint(b, uint64(e.To))
	b = protocol.AppendMessage(b, e.Message)
	size := len(b) - start - 4
	if size > maxFrame || len(b) > maxBuffered {
		k.up, k.buffer = false, k.buffer[:0]
		signal(k.cut)
		return
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size)) //nolint:gosec // bounded
	k.buffer = b
	signal(k.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps a connection to the peer.
func (k *link) run() {
	wait, refused := redialFirst, 0
	for k.ctx.Err() == nil {
		c, err := k.dial()
		switch {
		case err == nil:
			refused = 0
			k.note(false)
			begun := time.Now()
			err = k.serve(c)
			_ = c.Close() // what was to be said on it has been, or is said again
			signal(k.life.alarm)
			if time.Since(begun) > redialMost { // a peer between two lives hangs up at once
				wait = redialFirst
			}
		case isGone(err):
			if refused++; refused >= 2 {
				k.note(true)
				k.life.suspect(k)
			}
			wait = refusedAgain
		default:
			refused = 0
			k.note(false)
		}
		if k.ctx.Err() != nil {
			return
		}
		k.life.log.Debug("no connection to a node", "node", k.node, "error", err)
		sleep(k.ctx, wait)
		wait = min(2*wait, redialMost)
	}
}

func (k *link) note(refused bool) {
	k.life.mu.Lock()
	k.refused = refused
	k.life.mu.Unlock()
	if refused {
		signal(k.life.alarm)
	}
}

// isGone reports whether a dial's error says that the process is not there any
// more.
func isGone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, mesh.ErrOtherNode)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (k *link) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(k.ctx, raftIOTimeout)
	defer cancel()
	return k.life.node.cfg.Network.Dial(ctx, k.at, nodeOf(k.node), lockProtocol)
}

// serve writes what is queued until the connection breaks.
func (k *link) serve(c net.Conn) error {
	// From here on messages are kept for this connection: when the peer has heard
	// of it, it asks anew for what it was not told, and is answered over this one.
	l := k.life
	l.mu.Lock()
	if k.ctx.Err() != nil {
		l.mu.Unlock()
		return k.ctx.Err()
	}
	k.up, k.buffer = true, k.buffer[:0]
	l.member.Connected(k.peer, l.now())
	l.settle()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		k.up = false
		l.mu.Unlock()
	}()
	if err := writePreamble(c, l.generation, strconv.FormatUint(uint64(k.self), 10)); err != nil {
		return err
	}
	if err := k.ping(c); err != nil {
		return err
	}
	broken := make(chan error, 1)
	l.group.Go(func() {
		for {
			if err := k.pong(c); err != nil {
				broken <- err
				return
			}
		}
	})
	return k.write(c, broken)
}

func (k *link) ping(c net.Conn) error {
	if err := c.SetWriteDeadline(time.Now().Add(raftIOTimeout)); err != nil {
		return err
	}
	_, err := c.Write(make([]byte, 4))
	return err
}

func (k *link) pong(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(silentTooLong)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

func (k *link) write(c net.Conn, broken <-chan error) error {
	pings := time.NewTicker(pingEvery)
	defer pings.Stop()
	for {
		select {
		case <-k.wake:
			if err := k.flush(c); err != nil {
				return err
			}
		case <-pings.C:
			if err := k.ping(c); err != nil {
				return err
			}
		case <-k.cut:
			return errors.New("it is too slow")
		case err := <-broken:
			return err
		case <-k.ctx.Done():
			return k.ctx.Err()
		}
	}
}

// flush writes all that is queued, in one write.
func (k *link) flush(c net.Conn) error {
	l := k.life
	l.mu.Lock()
	b := k.buffer
	if len(b) == 0 {
		l.mu.Unlock()
		return nil
	}
	k.buffer, k.spare = k.spare[:0], nil
	l.mu.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(raftIOTimeout)); err != nil {
		return err
	}
	_, err := c.Write(b)
	if cap(b) > maxFrame {
		b = nil // grown once, not to be kept
	}
	l.mu.Lock()
	k.spare = b[:0]
	l.mu.Unlock()
	return err
}

// receive serves the connection that another session has made, until it breaks
// and returns why.
func (l *life) receive(c net.Conn, peer string, text string) error {
	sid, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	k, err := l.take(c, peer, protocol.SID(sid))
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		if err := c.SetReadDeadline(time.Now().Add(silentTooLong)); err != nil {
			return err
		}
		frame, err := readFrame(r)
		if err != nil {
			return err
		}
		if len(frame) == 0 {
			if err := k.ping(c); err != nil {
				return err
			}
			continue
		}
		if err := k.deliver(c, r, frame); err != nil {
			return err
		}
	}
}

// take makes a connection the one that a session is heard over.
func (l *life) take(c net.Conn, peer string, sid protocol.SID) (*link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.links[sid]
	if k == nil || nodeOf(k.node) != peer {
		return nil, fmt.Errorf("session %d of %s is not known here", sid, peer)
	}
	if k.incoming != nil {
		hangUp(k.incoming)
	}
	k.incoming = c
	l.member.Connected(sid, l.now())
	l.settle()
	return k, nil
}

// readFrame reads a frame; one that is empty is a ping.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes", protocol.ErrMalformed, n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// parseFrame reads what is in a frame. A message of a later version is nil.
func parseFrame(b []byte) (e protocol.Envelope, err error) {
	from, n := binary.Uvarint(b)
	if n <= 0 {
		return e, protocol.ErrMalformed
	}
	to, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return e, protocol.ErrMalformed
	}
	e.From, e.To = protocol.SID(from), protocol.SID(to)
	e.Message, err = protocol.ParseMessage(b[n+m:])
	if errors.Is(err, protocol.ErrUnknown) {
		return e, nil
	}
	return e, err
}

// deliver hands a frame to the Member, and with it those that have come
// already.
func (k *link) deliver(c net.Conn, r *bufio.Reader, frame []byte) error {
	l := k.life
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.settle()
	for {
		if k.incoming != c {
			return errors.New("there is a newer connection")
		}
		e, err := parseFrame(frame)
		if err != nil {
			return err
		}
		if e.From != k.peer {
			return fmt.Errorf("%w: session %d speaks for session %d", protocol.ErrMalformed, k.peer, e.From)
		}
		if e.Message != nil && l.member != nil {
			l.member.Receive(e, l.now())
		}
		if !whole(r) {
			return nil
		}
		if frame, err = readFrame(r); err != nil {
			return err
		}
	}
}

// whole reports whether a frame that is no ping can be read without waiting.
func whole(r *bufio.Reader) bool {
	head, err := r.Peek(min(4, r.Buffered()))
	if err != nil || len(head) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(head)
	return n > 0 && n <= maxFrame && r.Buffered() >= 4+int(n)
}
