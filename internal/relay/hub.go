// Package relay has who listens at one gateway hear what happens at all of them. Nothing
// is sent as long as nobody listens, and only what he wants.
package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Interest is what a listener wants to hear of things of a type. As JSON it is told to
// other gateways.
type Interest[E any] interface {
	Wants(e *E) bool
}

// Bounds of listening.
const (
	maxListeners = 256  // at one gateway, those of other gateways included
	listenerRoom = 4096 // things that a listener may be behind
)

// ErrTooMany is returned where as many listen as may.
var ErrTooMany = errors.New("relay: too many listeners")

// ErrTooSlow is why a listener gets no more: it has missed some.
var ErrTooSlow = errors.New("relay: the listener is too slow")

// Listener hears of things, as lines, until Close.
type Listener struct {
	lines chan []byte
	leave func()
	stop  context.CancelCauseFunc
	ctx   context.Context
}

// Lines returns where they come out: JSON without a line feed.
func (l *Listener) Lines() <-chan []byte { return l.lines }

// Context is done when nothing more comes; its cause says why.
func (l *Listener) Context() context.Context { return l.ctx }

// Close ends listening. It can be called twice.
func (l *Listener) Close() {
	l.stop(context.Canceled)
	l.leave()
}

// offer gives the listener a line, or ends it if it is too far behind: it would not
// know that it has missed one.
func (l *Listener) offer(line []byte) {
	select {
	case l.lines <- line:
	default:
		l.stop(ErrTooSlow)
	}
}

// Hub knows the listeners at this gateway. Its methods may be called concurrently.
type Hub[E any, I Interest[E]] struct {
	Peers Peers // the other gateways; nil: there are none
	// Past returns how many of the last things of each gateway a listener hears first, of
	// those that it wants and up to Keep, and then in their order; nil: none.
	Past func(interest I) int
	Keep int // things that are remembered for that: Publish has to be called for each

	listening atomic.Int32
	followers sync.WaitGroup

	mu        sync.Mutex
	listeners map[*Listener]I
	kept      []told[E] // the last ones, a ring of Keep
	next      int       // in kept, when it is full
}

// told is a thing that was published.
type told[E any] struct {
	thing  E
	encode func(*E) ([]byte, error)
}

// Listening reports whether anybody listens. It costs nothing.
func (h *Hub[E, I]) Listening() bool { return h.listening.Load() > 0 }

// Listen returns a Listener that hears what happens at all gateways, those included
// that join later.
func (h *Hub[E, I]) Listen(ctx context.Context, interest I) (*Listener, error) {
	line, err := json.Marshal(interest)
	if err != nil {
		return nil, fmt.Errorf("encode interest: %w", err)
	}
	l, err := h.add(ctx, interest)
	if err != nil || h.Peers == nil {
		return l, err
	}
	h.follow(l, append(line, '\n'))
	return l, nil
}

func (h *Hub[E, I]) add(ctx context.Context, interest I) (*Listener, error) {
	l := &Listener{lines: make(chan []byte, listenerRoom)}
	l.leave = func() { h.remove(l) }
	l.ctx, l.stop = context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= maxListeners {
		l.stop(ErrTooMany)
		return nil, ErrTooMany
	}
	if h.listeners == nil {
		h.listeners = make(map[*Listener]I)
	}
	if err := h.replay(l, interest); err != nil {
		l.stop(err)
		return nil, err
	}
	h.listeners[l] = interest
	h.listening.Store(int32(len(h.listeners))) //nolint:gosec // it is bounded
	return l, nil
}

// replay offers a listener what was before it.
func (h *Hub[E, I]) replay(l *Listener, interest I) error {
	if h.Past == nil {
		return nil
	}
	var wanted []*told[E]
	for i := range h.kept {
		if old := &h.kept[(h.next+i)%len(h.kept)]; interest.Wants(&old.thing) {
			wanted = append(wanted, old)
		}
	}
	for _, old := range wanted[len(wanted)-max(0, min(len(wanted), h.Past(interest))):] {
		line, err := old.encode(&old.thing)
		if err != nil {
			return fmt.Errorf("tell a listener of the past: %w", err)
		}
		l.offer(line)
	}
	return nil
}

// keep remembers a thing for those who come later.
func (h *Hub[E, I]) keep(e *E, encode func(*E) ([]byte, error)) {
	if len(h.kept) < h.Keep {
		h.kept = append(h.kept, told[E]{*e, encode})
		return
	}
	if h.Keep > 0 {
		h.kept[h.next] = told[E]{*e, encode}
		h.next = (h.next + 1) % h.Keep
	}
}

func (h *Hub[E, I]) remove(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
	h.listening.Store(int32(len(h.listeners))) //nolint:gosec // it is bounded
}

// Close ends all listening.
func (h *Hub[E, I]) Close() {
	h.mu.Lock()
	for l := range h.listeners {
		l.stop(context.Canceled)
	}
	h.mu.Unlock()
	h.followers.Wait()
}

// Publish gives a thing to those who want it. It is encoded if there are any, as JSON in
// one line.
func (h *Hub[E, I]) Publish(e *E, encode func(e *E) ([]byte, error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(e, encode)
	var line []byte
	for l, interest := range h.listeners {
		if !interest.Wants(e) {
			continue
		}
		if line == nil {
			var err error
			if line, err = encode(e); err != nil {
				return fmt.Errorf("tell listeners: %w", err)
			}
		}
		l.offer(line)
	}
	return nil
}
