package node

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// maxFrame bounds what is said at once in a call, in bytes.
const maxFrame = 32 << 20

var errFrame = errors.New("node: what came is no frame of a call")

// A frame is its length, the number of the call, a byte that says what it is, and the rest.
const frameHead = 4 + 8 + 1

// frame is one that came.
type frame struct {
	call uint64
	what byte
	rest []byte
}

func readFrame(r *bufio.Reader) (f frame, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < frameHead-4 || n > maxFrame {
		return f, errFrame
	}
	f = frame{call: binary.BigEndian.Uint64(head[4:]), what: head[12], rest: make([]byte, n-(frameHead-4))}
	_, err = io.ReadFull(r, f.rest)
	return f, err
}

// maxWaiting bounds, in bytes, what waits to be written on a connection. A peer that is
// slower than that is cut off.
const maxWaiting = 64 << 20

var errSlow = errors.New("node: the other end does not read")

// writer writes frames on a connection: as many at once as have come meanwhile.
type writer struct {
	conn net.Conn

	mu      sync.Mutex
	waiting []byte
	frames  int // in waiting
	spare   []byte
	wake    chan struct{}
	err     error
}

func newWriter(c net.Conn) *writer { return &writer{conn: c, wake: make(chan struct{}, 1)} }

// send has a frame be written.
func (w *writer) send(call uint64, what byte, parts ...[]byte) error {
	size := frameHead - 4
	for _, p := range parts {
		size += len(p)
	}
	if size > maxFrame {
		return fmt.Errorf("node: %d bytes are too much for one call", size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(w.waiting)+size > maxWaiting {
		w.err = errSlow
		go func() { _ = w.conn.Close() }() // whoever reads notices; it may wait for a peer that does not read
		return w.err
	}
	w.waiting = binary.BigEndian.AppendUint32(w.waiting, uint32(size)) //nolint:gosec // bounded
	w.waiting = append(binary.BigEndian.AppendUint64(w.waiting, call), what)
	for _, p := range parts {
		w.waiting = append(w.waiting, p...)
	}
	w.frames++
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return nil
}

// queue returns how many frames wait to be written.
func (w *writer) queue() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames
}

// keepSpare is how large a buffer may have grown to be used again, in bytes.
const keepSpare = 1 << 20

// run writes until done is closed or writing fails.
func (w *writer) run(done <-chan struct{}) {
	for {
		select {
		case <-w.wake:
		case <-done:
			return
		}
		w.mu.Lock()
		out := w.waiting
		w.waiting, w.frames, w.spare = w.spare[:0], 0, nil
		w.mu.Unlock()
		_, err := w.conn.Write(out)
		w.mu.Lock()
		if cap(out) <= keepSpare {
			w.spare = out
		}
		if err != nil && w.err == nil {
			w.err = err
		}
		w.mu.Unlock()
		if err != nil {
			_ = w.conn.Close() // whoever reads notices
			return
		}
	}
}
