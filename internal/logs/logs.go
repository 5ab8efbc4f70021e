// Package logs tells who wants to watch what gateways log, at all of them. The documents
// are those of MinIO, so that "mc admin logs" shows them.
package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/relay"
)

// Kind is what a line is about.
type Kind string

// The kinds, by MinIO's names for them.
const (
	Request Kind = "APPLICATION" // a request
	Process Kind = "MINIO"       // everything else
)

// Line is one line of a gateway's log. Nothing in it is secret: who logs sees to that.
type Line struct {
	Node    string    `json:"node"`
	Text    string    `json:"ConsoleMsg"` // all of it, as it is read
	Level   string    `json:"level"`
	Kind    Kind      `json:"errKind"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	Request string    `json:"requestID,omitempty"`
	// Deployment is Deployment: mc shows no line that has none.
	Deployment string `json:"deploymentid"`
}

// Deployment is what lines have for the ID of a deployment.
const Deployment = "shoal"

// Interest is what somebody wants to watch.
type Interest struct {
	Node string // "": all
	Kind Kind   // "": all
	Last int    // lines of the past, of each gateway
}

// Wants implements relay.Interest.
func (i Interest) Wants(l *Line) bool {
	return (i.Node == "" || i.Node == l.Node) && (i.Kind == "" || i.Kind == l.Kind)
}

// MaxLast is how many lines of the past are kept, and maxText how many bytes of each.
const (
	MaxLast = 1000
	maxText = 16 << 10
)

// Hub knows who watches. Its methods may be called concurrently.
type Hub = relay.Hub[Line, Interest]

// NewHub returns a Hub that remembers the last lines.
func NewHub() *Hub {
	return &Hub{Keep: MaxLast, Past: func(i Interest) int { return i.Last }}
}

// Handler logs by another one, and tells those who watch.
type Handler struct {
	slog.Handler
	watched slog.Handler // writes lines to out
	out     *lines
	request string // of the attributes that all lines have, or ""
}

// lines is where watched writes one line at a time.
type lines struct {
	hub *Hub

	mu   sync.Mutex
	node string
	text bytes.Buffer
}

// NewHandler returns a Handler that logs by another one as opts say.
func NewHandler(to slog.Handler, hub *Hub, opts *slog.HandlerOptions) *Handler {
	out := &lines{hub: hub}
	return &Handler{Handler: to, watched: slog.NewTextHandler(&out.text, opts), out: out}
}

// Name sets what this gateway is called from now on.
func (h *Handler) Name(node string) {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.node = node
}

// requestKey is the attribute that has the ID of a request.
const requestKey = "request"

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if err := h.Handler.Handle(ctx, r); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	l := Line{Level: r.Level.String(), Kind: Process, Time: r.Time, Message: r.Message, Request: h.request, Deployment: Deployment}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == requestKey {
			l.Request = a.Value.String()
		}
		return true
	})
	if l.Request != "" {
		l.Kind = Request
	}
	return h.out.tell(ctx, h.watched, r, l)
}

// tell publishes a line. It is told in the order in which it is written.
func (o *lines) tell(ctx context.Context, watched slog.Handler, r slog.Record, l Line) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
	if err := watched.Handle(ctx, r); err != nil {
		return fmt.Errorf("log to those who watch: %w", err)
	}
	text := bytes.TrimSuffix(o.text.Bytes(), []byte("\n"))
	l.Node, l.Text = o.node, string(text[:min(len(text), maxText)])
	return o.hub.Publish(&l, encode)
}

func encode(l *Line) ([]byte, error) {
	line, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode a line of the log: %w", err)
	}
	return line, nil
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler, c.watched = h.Handler.WithAttrs(attrs), h.watched.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == requestKey {
			c.request = a.Value.String()
		}
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler, c.watched = h.Handler.WithGroup(name), h.watched.WithGroup(name)
	return &c
}
