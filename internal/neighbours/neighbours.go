// Package neighbours has the gateways of one host that share one mount of a file server
// ask one another to let go of a file before one of them replaces it: an NFS client
// replaces what any process has in use in two steps, and can lose it between them.
package neighbours

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Peer is another gateway of the fleet.
type Peer struct{ Node, Address string }

// Config is what a Group goes by.
type Config struct {
	// Here is the same for two processes if they use the same mount of one host.
	Here string
	// Others returns the other gateways that may use the tree. It is called for each
	// replacement.
	Others func() []Peer
	// Dial connects to one, whose Serve gets the other end.
	Dial func(ctx context.Context, p Peer) (net.Conn, error)
	// LetGo has this process let go of a path until done is called.
	LetGo  func(path string) (done func())
	Logger *slog.Logger
}

const (
	// answerTime is how long one waits for a neighbour. It is longer than a neighbour takes
	// to close a file that it cannot have go on by another name (package vfs).
	answerTime = time.Second
	// silence is how long one that has not answered is not asked again: it is frozen, or
	// has gone and the fleet does not know yet.
	silence = 5 * time.Second
	// holdTime bounds how long a neighbour has its way, if its end is not seen.
	holdTime = 10 * time.Second
	// maxIdle is how many connections to a neighbour are kept.
	maxIdle = 64
)

// Group is what this process knows of its neighbours. Its methods may be called
// concurrently.
type Group struct {
	ctx context.Context //nolint:containedctx // of New: who replaces a file has none that may end it half way
	cfg Config

	mu    sync.Mutex
	known map[string]*neighbour // by node
}

// New returns a Group. When ctx ends it asks nobody any more.
func New(ctx context.Context, cfg Config) *Group {
	return &Group{ctx: ctx, cfg: cfg, known: make(map[string]*neighbour)}
}

// Hold has all neighbours let go of a path until done is called. One that does not answer
// is not waited for.
func (g *Group) Hold(path string) (done func()) {
	all := g.neighbours()
	if len(all) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(g.ctx, answerTime)
	defer cancel()
	held := make([]*hold, len(all))
	var asked sync.WaitGroup
	for i, n := range all {
		asked.Go(func() { held[i] = n.hold(ctx, path) })
	}
	asked.Wait()
	return func() {
		for _, h := range held {
			if h != nil {
				h.end()
			}
		}
	}
}

// neighbours returns those of the others that may be neighbours.
func (g *Group) neighbours() []*neighbour {
	others := g.cfg.Others()
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*neighbour
	for _, p := range others {
		n := g.known[p.Node]
		if n == nil {
			n = &neighbour{group: g, peer: p}
			g.known[p.Node] = n
		}
		if n.mayBe() {
			all = append(all, n)
		}
	}
	if len(g.known) > 2*len(others)+maxForgotten {
		g.forget(others)
	}
	return all
}

// maxForgotten is how many are remembered that are no others any more.
const maxForgotten = 16

// forget drops who has gone. The caller holds mu.
func (g *Group) forget(others []Peer) {
	for node, n := range g.known {
		if !slices.ContainsFunc(others, func(p Peer) bool { return p.Node == node }) {
			n.close()
			delete(g.known, node)
		}
	}
}

// Close closes the connections that are kept.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(nil)
}
