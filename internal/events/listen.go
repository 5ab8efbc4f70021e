package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Interest is what a listener wants to hear.
type Interest struct {
	Bucket         string   // "" for all
	Events         []string // names and families; none: all
	Prefix, Suffix string
}

// Validate refuses events that there are not.
func (i Interest) Validate() error {
	for _, pattern := range i.Events {
		if standingOf(pattern) == unknown {
			return invalid{ErrArgument, "A specified event is not supported for notifications."}
		}
	}
	return nil
}

func (i *Interest) wants(e *Event) bool {
	return (i.Bucket == "" || i.Bucket == e.Bucket) && strings.HasPrefix(e.Key, i.Prefix) && strings.HasSuffix(e.Key, i.Suffix) &&
		(len(i.Events) == 0 || matchesAny(e.Name, i.Events))
}

// Bounds of listening.
const (
	maxListeners = 256  // at one gateway, those of other gateways included
	listenerRoom = 4096 // events that a listener may be behind
)

// ErrTooMany is returned where as many listen as may.
var ErrTooMany = errors.New("events: too many listeners")

// ErrTooSlow is why a listener gets no more: it has missed some.
var ErrTooSlow = errors.New("events: the listener is too slow")

// Listener hears of events, as documents with one record each, until Close.
type Listener struct {
	interest Interest
	hub      *hub
	lines    chan []byte
	stop     context.CancelCauseFunc
	ctx      context.Context
}

// Lines returns where the events come out: JSON without a line feed.
func (l *Listener) Lines() <-chan []byte { return l.lines }

// Context is done when nothing more comes; its cause says why.
func (l *Listener) Context() context.Context { return l.ctx }

// Close ends listening. It can be called twice.
func (l *Listener) Close() {
	l.stop(context.Canceled)
	l.hub.remove(l)
}

// offer gives the listener an event, or ends it if it is too far behind: it would not
// know that it has missed one.
func (l *Listener) offer(line []byte) {
	select {
	case l.lines <- line:
	default:
		l.stop(ErrTooSlow)
	}
}

// hub knows the listeners at this gateway.
type hub struct {
	listening atomic.Int32

	mu        sync.Mutex
	listeners map[*Listener]struct{}
}

func (h *hub) add(ctx context.Context, interest Interest) (*Listener, error) {
	l := &Listener{interest: interest, hub: h, lines: make(chan []byte, listenerRoom)}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= maxListeners {
		l.stop(ErrTooMany)
		return nil, ErrTooMany
	}
	if h.listeners == nil {
		h.listeners = make(map[*Listener]struct{})
	}
	h.listeners[l] = struct{}{}
	h.listening.Store(int32(len(h.listeners))) //nolint:gosec // it is bounded
	return l, nil
}

func (h *hub) remove(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
	h.listening.Store(int32(len(h.listeners))) //nolint:gosec // it is bounded
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		l.stop(context.Canceled)
	}
}

// publish gives an event to those who want it.
func (h *hub) publish(e *Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var line []byte
	for l := range h.listeners {
		if !l.interest.wants(e) {
			continue
		}
		if line == nil {
			body, err := e.encode("", string(e.Name))
			if err == nil {
				line, err = encode(struct{ Records []json.RawMessage }{[]json.RawMessage{body}})
			}
			if err != nil {
				return fmt.Errorf("tell listeners: %w", err)
			}
		}
		l.offer(line)
	}
	return nil
}

// Listen returns a Listener that hears what happens at all gateways, those included
// that join later.
func (s *Service) Listen(ctx context.Context, interest Interest) (*Listener, error) {
	l, err := s.hub.add(ctx, interest)
	if err != nil || s.cfg.Peers == nil {
		return l, err
	}
	s.follow(l)
	return l, nil
}
