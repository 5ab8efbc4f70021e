package neighbours

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// host is some gateways that can reach one another.
type host struct {
	mu     sync.Mutex
	groups map[string]*Group
	dials  atomic.Int32
	conns  []net.Conn
}

var errNobody = errors.New("nobody is there")

// add starts a gateway on a mount, which notes what it has let go of.
func (h *host) add(t *testing.T, node, mount string) *letter {
	l := &letter{holding: make(map[string]int)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.groups == nil {
		h.groups = make(map[string]*Group)
	}
	l.Group = New(t.Context(), Config{
		Here: mount, Others: func() []Peer { return h.others(node) }, Dial: h.dial, LetGo: l.letGo, Logger: slog.New(slog.DiscardHandler),
	})
	h.groups[node] = l.Group
	return l
}

func (h *host) others(node string) (all []Peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.groups {
		if name != node {
			all = append(all, Peer{Node: name})
		}
	}
	return all
}

func (h *host) dial(_ context.Context, p Peer) (net.Conn, error) {
	h.dials.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[p.Node]
	if g == nil {
		return nil, errNobody
	}
	ours, theirs := net.Pipe()
	h.conns = append(h.conns, theirs)
	go g.Serve(theirs)
	return ours, nil
}

// cut ends all connections.
func (h *host) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		_ = c.Close() // one that is closed already is as good
	}
	h.conns = nil
}

// letter is a Group with what it has let go of.
type letter struct {
	*Group
	mu      sync.Mutex
	holding map[string]int
	stuck   atomic.Bool // it never lets go
}

func (l *letter) letGo(path string) (done func()) {
	if l.stuck.Load() {
		time.Sleep(time.Hour)
	}
	l.count(path, 1)
	return func() { l.count(path, -1) }
}

func (l *letter) count(path string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding[path] += n
}

func (l *letter) has(path string) bool {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holding[path] > 0
}

func TestNeighboursLetGoUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h host
		a, b, c := h.add(t, "a", "mount"), h.add(t, "b", "mount"), h.add(t, "c", "another")
		for range 3 {
			first, second := a.Hold("bucket/key"), a.Hold("bucket/other")
			if !b.has("bucket/key") || !b.has("bucket/other") || a.has("bucket/key") || c.has("bucket/key") {
				t.Error("what is let go of is not what was asked for, by those who use the mount")
			}
			first()
			if b.has("bucket/key") || !b.has("bucket/other") {
				t.Error("it is over for another path than the one that is done")
			}
			second()
		}
		if n := h.dials.Load(); n != 3 {
			t.Errorf("%d connections were made: two at the same time to the neighbour, and one to find out who is none", n)
		}
		a.Close()
		h.cut()
	})
}

func TestWhoEndsHasNothingHeldAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h host
		a, b := h.add(t, "a", "mount"), h.add(t, "b", "mount")
		done := a.Hold("key")
		if !b.has("key") {
			t.Fatal("it is not let go of")
		}
		h.cut()
		if b.has("key") {
			t.Error("it is held for one who is gone")
		}
		done()
		done = a.Hold("key") // by a connection of before, which does not live any more
		if !b.has("key") {
			t.Error("it is not let go of over a new connection")
		}
		time.Sleep(holdTime + time.Second)
		if b.has("key") {
			t.Error("it is held for one who says nothing")
		}
		done()
		a.Close()
		h.cut()
	})
}

func TestWhoDoesNotAnswerIsNotWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h host
		a, b := h.add(t, "a", "mount"), h.add(t, "b", "mount")
		b.stuck.Store(true)
		var waited []time.Duration
		for range 3 {
			began := time.Now()
			a.Hold("key")()
			waited = append(waited, time.Since(began))
		}
		if want := []time.Duration{answerTime, 0, 0}; !slices.Equal(waited, want) {
			t.Errorf("it is waited for %v, and not %v", waited, want)
		}
		b.stuck.Store(false)
		time.Sleep(silence + time.Second)
		defer a.Hold("key")()
		if !b.has("key") {
			t.Error("it is never asked again")
		}
		a.Close()
		h.cut()
		time.Sleep(2 * time.Hour)
	})
}
