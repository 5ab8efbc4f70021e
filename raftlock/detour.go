package raftlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// detours is a Network whose connections go by way of a third node where two do not reach each
// other: what is said on one arrives in order, or it breaks, as on a direct one, so nothing else
// knows of it. Whoever knows the cluster's secret is believed who speaks on a connection that he
// passes on, as he could say so himself.
type detours struct {
	direct Network
	ctx    context.Context
	log    *slog.Logger
	own    chan struct{} // one for each connection of nodes that is passed on here
	others chan struct{} // one for each of those that use nodes

	mu       sync.Mutex
	handlers map[string]func(c net.Conn, peer string)
	ways     map[string]*way // by address
}

// way is what is known of the way to an address.
type way struct {
	node    string
	reached bool              // directly, the last time
	refused time.Time         // since when its port is closed; zero: it is not
	bent    bool              // it is reached by way of others
	conns   map[*wayConn]bool // by way of others, and those of who uses nodes
}

// Times and bounds of connections by way of a third node.
const (
	directTime     = 2 * time.Second // for a direct one, where others could be asked
	bendTime       = 3 * directTime  // until there is one by way of others, or none
	refusedTooLong = time.Second     // the session of a process that has gone is ended sooner
	straightens    = 5 * time.Second // between two looks whether the direct way is open again
	maxThirds      = 3               // who are asked at once
	maxWays        = 256
	maxPassedOn    = 256 // connections of nodes, and as many of those that use them
)

// order asks a third node for a connection to another one.
type order struct{ Address, Node, Protocol string }

// outcome answers an order. What follows it on the connection the other node says.
type outcome struct {
	Error string
	Gone  bool // the node is not there any more
}

// introduction begins a connection that was passed on.
type introduction struct{ From, Protocol string }

// isOwn reports whether nodes themselves speak a protocol, whose connections end with the detour.
// Who uses nodes may have something under way on his, and has them end when he likes.
func isOwn(protocol string) bool {
	return slices.Contains([]string{raftProtocol, lockProtocol, callProtocol}, protocol)
}

// newDetours returns a Network that has, beyond what direct does, ways by others, until ctx ends.
func newDetours(ctx context.Context, direct Network, log *slog.Logger) *detours {
	d := &detours{
		direct: direct, ctx: ctx, log: log, own: make(chan struct{}, maxPassedOn), others: make(chan struct{}, maxPassedOn),
		handlers: make(map[string]func(net.Conn, string)), ways: make(map[string]*way),
	}
	direct.Handle(relayProtocol, d.passOn)
	direct.Handle(relayedProtocol, d.receive)
	return d
}

// Handle implements Network.
func (d *detours) Handle(protocol string, h func(c net.Conn, peer string)) {
	d.mu.Lock()
	d.handlers[protocol] = h
	d.mu.Unlock()
	d.direct.Handle(protocol, h)
}

// Dial implements Network.
func (d *detours) Dial(ctx context.Context, address, node, protocol string) (net.Conn, error) {
	thirds, bent, to := d.thirds(address), d.isBent(address), order{address, node, protocol}
	if len(thirds) == 0 || node == "" && !bent { // who is not known yet answers soon, or is not asked
		c, _, err := d.dial(ctx, to)
		return c, err
	}
	if bent {
		if c, err := d.bend(ctx, thirds, to); err == nil || isGone(err) {
			return c, err
		}
	}
	straight, cancel := context.WithTimeout(ctx, directTime)
	defer cancel()
	c, closed, err := d.dial(straight, to)
	if err == nil || bent || ctx.Err() != nil || isGone(err) && closed < refusedTooLong {
		return c, err
	}
	c, bendErr := d.bend(ctx, thirds, to)
	if bendErr == nil {
		return c, nil
	}
	if isGone(bendErr) {
		return nil, bendErr
	}
	return nil, err
}

// dial connects directly, and returns also for how long the port has been closed.
func (d *detours) dial(ctx context.Context, to order) (net.Conn, time.Duration, error) {
	c, err := d.direct.Dial(ctx, to.Address, to.Node, to.Protocol)
	if named, ok := c.(interface{ Node() string }); ok && err == nil {
		to.Node = named.Node() // whoever is there could be asked for ways to others
	}
	closed := d.note(to.Address, to.Node, err)
	if err != nil {
		return nil, closed, err
	}
	return d.watch(c, to), 0, nil
}

// note keeps in mind how a direct connection went, and returns for how long the port has been closed.
func (d *detours) note(address, node string, err error) (closed time.Duration) {
	if node == "" {
		return 0 // whoever is there
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.ways[address]
	if w == nil || w.node != node {
		if w != nil && w.bent {
			return 0
		}
		d.makeRoom()
		w = &way{node: node, conns: make(map[*wayConn]bool)}
		d.ways[address] = w
	}
	w.reached = err == nil
	switch {
	case !isGone(err):
		w.refused = time.Time{}
	case w.refused.IsZero():
		w.refused = time.Now()
	default:
		return time.Since(w.refused)
	}
	return 0
}

// makeRoom forgets the ways to nodes that are not reached where there are too many. The caller
// holds mu.
func (d *detours) makeRoom() {
	if len(d.ways) >= maxWays {
		maps.DeleteFunc(d.ways, func(_ string, w *way) bool { return !w.bent })
	}
}

// thirds returns orders for connections to nodes that are reached directly, in any order.
func (d *detours) thirds(but string) []order {
	d.mu.Lock()
	defer d.mu.Unlock()
	var thirds []order
	for address, w := range d.ways {
		if address != but && w.reached {
			thirds = append(thirds, order{address, w.node, relayProtocol})
		}
	}
	rand.Shuffle(len(thirds), func(i, j int) { thirds[i], thirds[j] = thirds[j], thirds[i] })
	return thirds[:min(len(thirds), maxThirds)]
}

func (d *detours) isBent(address string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.ways[address]
	return w != nil && w.bent
}

// bend connects by way of the first of some nodes that has a connection.
func (d *detours) bend(ctx context.Context, thirds []order, to order) (net.Conn, error) {
	ctx, enough := context.WithTimeout(ctx, bendTime-directTime)
	defer enough()
	type result struct {
		c   net.Conn
		by  string
		err error
	}
	results := make(chan result, len(thirds))
	for _, third := range thirds {
		go func() {
			c, err := d.ask(ctx, third, to)
			results <- result{c, third.Node, err}
		}()
	}
	var first result
	var errs []error
	for range thirds {
		r := <-results
		switch {
		case r.err != nil:
			errs = append(errs, r.err)
		case first.c != nil:
			hangUp(r.c)
		default:
			first = r
			enough()
		}
	}
	if first.c == nil {
		return nil, errors.Join(errs...)
	}
	return d.turn(first.c, to, first.by), nil
}

// ask asks a third node for a connection.
func (d *detours) ask(ctx context.Context, third, to order) (net.Conn, error) {
	c, _, err := d.dial(ctx, third)
	if err != nil {
		return nil, fmt.Errorf("by way of node %s: %v", third.Node, err) //nolint:errorlint // that this one has gone says nothing of the other
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var a outcome
	if err = writeJSON(c, to); err == nil {
		err = readJSON(c, &a)
	}
	switch {
	case err != nil:
	case a.Gone:
		err = fmt.Errorf("%w: %s", syscall.ECONNREFUSED, a.Error)
	case a.Error != "":
		err = errors.New(a.Error)
	case !stop():
		err = context.Cause(ctx) // the connection has a deadline that is over
	}
	if err != nil {
		hangUp(c)
		return nil, fmt.Errorf("by way of node %s: %w", third.Node, err)
	}
	return c, nil
}

// wayConn is a connection to a node.
type wayConn struct {
	net.Conn
	bent   bool // it goes by way of a third node
	own    bool // of the nodes themselves
	closed func()
}

// Close implements net.Conn.
func (c *wayConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// NetConn returns what is below TLS: closing that does not wait for a peer that does not listen.
func (c *wayConn) NetConn() net.Conn {
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c.Conn
}

// way returns what is known of the way to a node; nil: another one is there by now, and who dials
// soon finds out. The caller holds mu.
func (d *detours) way(to order) *way {
	w := d.ways[to.Address]
	if w == nil || to.Node != "" && w.node != to.Node {
		return nil
	}
	return w
}

// watch keeps a direct connection of who uses nodes in mind, or one that goes on from a third: nodes
// find out themselves when nothing arrives on theirs any more.
func (d *detours) watch(c net.Conn, to order) net.Conn {
	if isOwn(to.Protocol) {
		return c
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.way(to); w != nil {
		return d.keep(w, &wayConn{Conn: c})
	}
	return c
}

// turn takes note of a connection by way of a third node. On the direct ones nothing arrives any more.
func (d *detours) turn(c net.Conn, to order, by string) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.way(to)
	if w == nil {
		return c
	}
	if !w.bent {
		w.bent = true
		d.log.Warn("a node does not answer here, and does elsewhere: it is spoken to by way of another one", "node", to.Node, "address", to.Address, "by", by)
		w.hangUp(func(c *wayConn) bool { return !c.bent })
		go d.straighten(to)
	}
	return d.keep(w, &wayConn{Conn: c, bent: true, own: isOwn(to.Protocol)})
}

// keep keeps a connection in mind until it is closed. The caller holds mu.
func (d *detours) keep(w *way, c *wayConn) net.Conn {
	c.closed = func() {
		d.mu.Lock()
		delete(w.conns, c)
		d.mu.Unlock()
	}
	w.conns[c] = true
	return c
}

// hangUp ends those of its connections that are to end.
func (w *way) hangUp(which func(c *wayConn) bool) {
	for c := range w.conns {
		if which(c) {
			hangUp(c)
		}
	}
}

// straighten looks for the direct way to a node until it is open or nobody needs it. The nodes' own
// connections by way of others are ended then, and who needs them makes new ones.
func (d *detours) straighten(to order) {
	for unused := 0; unused < 3 && d.ctx.Err() == nil; {
		sleep(d.ctx, straightens)
		ctx, cancel := context.WithTimeout(d.ctx, directTime)
		c, err := d.direct.Dial(ctx, to.Address, to.Node, callProtocol)
		cancel()
		if err == nil {
			hangUp(c)
			break
		}
		if unused++; d.isUsed(to.Address) {
			unused = 0
		}
	}
	d.mu.Lock()
	w := d.ways[to.Address]
	delete(d.ways, to.Address)
	w.hangUp(func(c *wayConn) bool { return c.own })
	d.mu.Unlock()
	d.log.Info("a node is spoken to directly again, if it is there", "node", to.Node, "address", to.Address)
}

func (d *detours) isUsed(address string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.ways[address].conns {
		if c.bent {
			return true
		}
	}
	return false
}

// passOn connects two other nodes that do not reach each other.
func (d *detours) passOn(c net.Conn, peer string) {
	defer c.Close() //nolint:errcheck // what was on it is said again
	var o order
	if err := errors.Join(c.SetDeadline(time.Now().Add(2*directTime)), readJSON(c, &o)); err != nil {
		d.log.Debug("a node asks for a way to another one, and does not say to which", "node", peer, "error", err)
		return
	}
	to, err := d.connect(o, peer)
	var a outcome
	if err != nil {
		a = outcome{Error: err.Error(), Gone: isGone(err)}
	} else {
		defer func() { <-d.places(o.Protocol) }()
		defer to.Close() //nolint:errcheck // what was on it is said again
	}
	if writeJSON(c, a) == nil && err == nil && c.SetDeadline(time.Time{}) == nil {
		join(c, to)
	}
}

// connect makes the connection that a node has asked for, which then has a place.
func (d *detours) connect(o order, from string) (net.Conn, error) {
	places := d.places(o.Protocol)
	select {
	case places <- struct{}{}:
	default:
		return nil, errors.New("too many connections are passed on")
	}
	ctx, cancel := context.WithTimeout(d.ctx, directTime)
	defer cancel()
	c, _, err := d.dial(ctx, order{o.Address, o.Node, relayedProtocol})
	if err == nil {
		if err = writeJSON(c, introduction{From: from, Protocol: o.Protocol}); err == nil {
			return c, nil
		}
		hangUp(c)
	}
	<-places
	return nil, err
}

// places returns what has one for each connection of a protocol's kind that is passed on: contents
// do not take those that locks need.
func (d *detours) places(protocol string) chan struct{} {
	if isOwn(protocol) {
		return d.own
	}
	return d.others
}

// join copies what comes on either connection to the other one, until one ends. It closes both.
func join(a, b net.Conn) {
	var group sync.WaitGroup
	for _, way := range [...][2]net.Conn{{a, b}, {b, a}} {
		group.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // how it ends is no matter: both ends make new ones
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	group.Wait()
}

// receive serves a connection that another node has passed on.
func (d *detours) receive(c net.Conn, peer string) {
	var i introduction
	err := errors.Join(c.SetReadDeadline(time.Now().Add(directTime)), readJSON(c, &i), c.SetReadDeadline(time.Time{}))
	d.mu.Lock()
	h := d.handlers[i.Protocol]
	d.mu.Unlock()
	if err != nil || h == nil {
		d.log.Debug("a connection that was passed on is not served", "by", peer, "from", i.From, "protocol", i.Protocol, "error", err)
		_ = c.Close()
		return
	}
	h(c, i.From)
}
