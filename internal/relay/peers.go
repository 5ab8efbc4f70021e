package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Peers are the other gateways. Its methods may be called concurrently.
type Peers interface {
	// Others returns those that are alive, by names that stand for one life of each.
	Others() []string
	// Dial connects to one; what it is answered from is its Serve.
	Dial(ctx context.Context, peer string) (net.Conn, error)
}

// How gateways talk: the one that listens sends its interest as one line, and gets a
// line for each thing, the first of them, and some in between, empty.
const (
	lookEvery    = time.Second // for gateways that are new
	introduction = 2 * time.Second
	beat         = 5 * time.Second
	silence      = 4 * beat // after which the other end is taken for dead
	maxLine      = 1 << 20  // bytes
	maxInterest  = 64 << 10 // bytes
)

// follow brings a listener what happens at other gateways, until it ends. It returns
// when those that are there now tell it, or do not answer in time.
func (h *Hub[E, I]) follow(l *Listener, interest []byte) {
	f := &following{peers: h.Peers, listener: l, interest: interest, told: make(map[string]bool)}
	first := f.look()
	h.followers.Go(func() {
		for pause(l.ctx, lookEvery) {
			f.look()
		}
	})
	ctx, cancel := context.WithTimeout(l.ctx, introduction)
	defer cancel()
	for _, ready := range first {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
}

// following is how a listener hears other gateways.
type following struct {
	peers    Peers
	listener *Listener
	interest []byte // as a line

	mu   sync.Mutex
	told map[string]bool // which peers are connected, or being connected
}

// look connects to the gateways that are not. The channels it returns are closed when
// each tells, or does not.
func (f *following) look() []chan struct{} {
	var fresh []chan struct{}
	for _, peer := range f.peers.Others() {
		f.mu.Lock()
		known := f.told[peer]
		f.told[peer] = true
		f.mu.Unlock()
		if known {
			continue
		}
		ready := make(chan struct{})
		fresh = append(fresh, ready)
		go func() {
			once := sync.OnceFunc(func() { close(ready) })
			defer once()
			f.hear(peer, once)
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.told, peer)
		}()
	}
	return fresh
}

// hear passes on what one gateway tells, until the connection ends. That it does needs
// no word: the next look connects anew.
func (f *following) hear(peer string, ready func()) {
	l := f.listener
	c, err := f.peers.Dial(l.ctx, peer)
	if err != nil {
		return
	}
	defer context.AfterFunc(l.ctx, func() { _ = c.Close() })()
	defer c.Close() //nolint:errcheck // it was read from
	if _, err := c.Write(f.interest); err != nil {
		return
	}
	in := bufio.NewScanner(c)
	in.Buffer(make([]byte, 0, 4<<10), maxLine)
	for {
		if c.SetReadDeadline(time.Now().Add(silence)) != nil || !in.Scan() {
			return
		}
		ready()
		if len(in.Bytes()) > 0 {
			l.offer(append([]byte(nil), in.Bytes()...))
		}
	}
}

// Serve tells a listener at another gateway what happens here, until the connection
// ends, which it closes.
func (h *Hub[E, I]) Serve(ctx context.Context, c net.Conn) error {
	defer c.Close() //nolint:errcheck // what it did not take it asks for anew
	in := bufio.NewScanner(c)
	in.Buffer(make([]byte, 0, 4<<10), maxInterest)
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return fmt.Errorf("tell another gateway: %w", err)
	}
	if !in.Scan() {
		return in.Err()
	}
	var interest I
	if err := json.Unmarshal(in.Bytes(), &interest); err != nil {
		return fmt.Errorf("tell another gateway: %w", err)
	}
	l, err := h.add(ctx, interest)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("tell another gateway: %w", err)
	}
	go func() {
		in.Scan() // nothing comes but the end
		l.Close()
	}()
	return tell(l, c)
}

// tell writes what a listener hears, and empty lines in between.
func tell(l *Listener, c net.Conn) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var line []byte
	for {
		if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return fmt.Errorf("tell another gateway: %w", err)
		}
		if _, err := c.Write(slices.Concat(line, []byte{'\n'})); err != nil {
			return nil // it is gone
		}
		select {
		case line = <-l.lines:
		case <-ticker.C:
			line = nil
		case <-l.ctx.Done():
			return nil
		}
	}
}

// pause waits, and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
