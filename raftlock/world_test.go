package raftlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mesh"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// world is a fleet in one process and one bubble of time: real nodes with a real
// Raft over a network of memory, and a mount of memory.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	root    vfs.Dir
	net     *memoryNet
	log     *slog.Logger
	started int
	running map[string]*process
	leaving map[string]*process // who was the last to leave an address
	group   sync.WaitGroup
	mutate  func(Arbiter) Arbiter           // nil: the storage does what it says
	lookup  func(context.Context) []string  // nil: there are no further addresses
	strange string                          // a name whose process the others refuse
	ahead   func(name string) time.Duration // of the clock of the host of a name; nil: all are right
}

// process is one run of a node.
type process struct {
	name    string
	node    *Node
	mount   *mount.Mount
	storage *vfs.Fault // what it sees of the world's
	kill    context.CancelFunc
	net     *endpoint
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), net: newMemoryNet(seed), log: testLog(), running: make(map[string]*process), leaving: make(map[string]*process)}
	w.root = vfs.NewMemory().Root()
	return w
}

// start starts a node at an address that is the name's.
func (w *world) start(name string) *process {
	w.t.Helper()
	w.started++
	return w.startAs(name, fmt.Sprintf("%s-%d", name, w.started))
}

// wall returns the clock of the host of a name.
func (w *world) wall(name string) func() time.Time {
	ahead := w.ahead
	if ahead == nil {
		return nil
	}
	return func() time.Time { return time.Now().Add(ahead(name)) }
}

// startAs starts a node under a UUID. Whoever is still about to leave the
// address is killed: nobody can serve at one that another process has.
func (w *world) startAs(name, uuid string) *process {
	w.t.Helper()
	if old := w.leaving[name]; old != nil {
		w.kill(old)
	}
	ctx, kill := context.WithCancel(context.Background())
	log := w.log.With("on", uuid)
	storage := vfs.NewFault(w.root)
	m, err := mount.Open(ctx, storage.Root(), log)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{name: name, mount: m, storage: storage, kill: kill, net: w.net.endpoint(name, uuid)}
	var arbiter Arbiter = m
	if w.mutate != nil {
		arbiter = w.mutate(m)
	}
	p.net.strange = name == w.strange
	p.node, err = Open(ctx, Config{Node: uuid, Address: name + ":1", Network: newDetours(ctx, p.net, log), Arbiter: arbiter, Logger: log, Wall: w.wall(name), Lookup: w.lookup})
	if err != nil {
		w.t.Fatal(err)
	}
	w.net.listen(p.net)
	w.running[name] = p
	return p
}

// crash ends a process at once: its connections break and nobody is at its
// address any more.
func (w *world) crash(p *process) {
	delete(w.running, p.name)
	w.kill(p)
}

func (w *world) kill(p *process) {
	w.net.remove(p.net)
	p.kill()
	w.group.Go(func() {
		p.node.group.Wait()
		_ = p.mount.Close()
	})
}

// leave ends a process in an orderly way, in the background.
func (w *world) leave(p *process) {
	delete(w.running, p.name)
	w.leaving[p.name] = p
	w.group.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = p.node.Close(ctx) // it may be cut off
		w.kill(p)
	})
}

// end ends all, and waits for what Raft leaves to run out.
func (w *world) end() {
	for _, p := range w.running {
		w.crash(p)
	}
	w.group.Wait()
	time.Sleep(30 * time.Second)
}

// memoryNet is a network whose links can be cut one way, and which delays what
// it carries.
type memoryNet struct {
	mu    sync.Mutex
	rand  *rand.Rand
	at    map[string]*endpoint
	cut   map[[2]string]bool // from, to
	conns map[*memoryConn]struct{}
	heal  chan struct{} // closed when the cuts have changed
}

func newMemoryNet(seed uint64) *memoryNet {
	return &memoryNet{
		rand: rand.New(rand.NewPCG(seed, 1)), at: make(map[string]*endpoint), cut: make(map[[2]string]bool),
		conns: make(map[*memoryConn]struct{}), heal: make(chan struct{}),
	}
}

// endpoint is one process's Network.
type endpoint struct {
	net      *memoryNet
	name     string
	uuid     string
	strange  bool
	handlers map[string]func(net.Conn, string)
}

func (n *memoryNet) endpoint(name, uuid string) *endpoint {
	return &endpoint{net: n, name: name, uuid: uuid, handlers: make(map[string]func(net.Conn, string))}
}

func (n *memoryNet) listen(e *endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[e.name] = e
}

func (n *memoryNet) remove(e *endpoint) {
	n.mu.Lock()
	if n.at[e.name] == e {
		delete(n.at, e.name)
	}
	n.mu.Unlock()
	n.reset(e)
}

// reset breaks the connections of a process, and what is on its way is lost.
func (n *memoryNet) reset(e *endpoint) {
	n.mu.Lock()
	var broken []*memoryConn
	for c := range n.conns {
		if c.end[0] == e || c.end[1] == e {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.reset()
	}
}

// set cuts or mends the way from one node to another.
func (n *memoryNet) set(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from, to}] = cut
	close(n.heal)
	n.heal = make(chan struct{})
}

// mend mends all.
func (n *memoryNet) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	close(n.heal)
	n.heal = make(chan struct{})
}

func (n *memoryNet) isCut(from, to string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}], n.heal
}

func (n *memoryNet) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := 100*time.Microsecond + time.Duration(n.rand.Int64N(int64(time.Millisecond)))
	if n.rand.IntN(100) == 0 {
		d *= 20
	}
	return d
}

func (e *endpoint) Handle(protocol string, h func(net.Conn, string)) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.handlers[protocol] = h
}

func (e *endpoint) Dial(ctx context.Context, address, node, protocol string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for {
		one, heal := e.net.isCut(e.name, to)
		other, _ := e.net.isCut(to, e.name)
		if !one && !other {
			break
		}
		select {
		case <-heal:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	time.Sleep(e.net.delay())
	if e.strange {
		return nil, fmt.Errorf("connect to %s: %w by the other end", address, mesh.ErrRefused)
	}
	e.net.mu.Lock()
	peer, self := e.net.at[to], e.net.at[e.name]
	e.net.mu.Unlock()
	if peer == nil {
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	if self != e {
		return nil, errors.New("this process is dead")
	}
	if node != "" && peer.uuid != node {
		return nil, mesh.ErrOtherNode
	}
	c := newMemoryConn(e.net, e, peer)
	e.net.mu.Lock()
	h := peer.handlers[protocol]
	e.net.mu.Unlock()
	go h(c.side(1), e.uuid)
	return c.side(0), nil
}

// memoryConn is a connection: two sides.
type memoryConn struct {
	net    *memoryNet
	end    [2]*endpoint
	sides  [2]*side
	broken chan struct{}
	once   sync.Once
}

type side struct {
	conn    *memoryConn
	from    *endpoint // whose side it is
	to      *endpoint
	mu      sync.Mutex
	ready   []byte        // has arrived here
	coming  []byte        // on its way here
	ending  bool          // after it nothing comes any more
	eof     bool          // nothing comes any more
	sent    chan struct{} // one token: something is on its way
	arrived chan struct{} // one token
	closed  chan struct{}
	once    sync.Once
	readBy  time.Time
	moved   chan struct{} // the deadline was
}

func newMemoryConn(n *memoryNet, a, b *endpoint) *memoryConn {
	c := &memoryConn{net: n, end: [2]*endpoint{a, b}, broken: make(chan struct{})}
	for i := range c.sides {
		c.sides[i] = &side{
			conn: c, from: c.end[i], to: c.end[1-i], closed: make(chan struct{}),
			sent: make(chan struct{}, 1), arrived: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		}
	}
	n.mu.Lock()
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	for i := range c.sides {
		go c.carry(c.sides[i])
	}
	return c
}

func (c *memoryConn) side(i int) *side { return c.sides[i] }

// Node returns who is at the other end.
func (s *side) Node() string { return s.to.uuid }

// carry moves what was written to a side, after a while, and not while the way
// is cut.
func (c *memoryConn) carry(s *side) {
	for eof := false; !eof; {
		select {
		case <-s.sent:
		case <-c.broken:
			return
		}
		time.Sleep(c.net.delay())
		if !c.passes(s) {
			return
		}
		s.mu.Lock()
		s.ready, s.coming, s.eof = append(s.ready, s.coming...), s.coming[:0], s.ending
		eof = s.eof
		s.mu.Unlock()
		signal(s.arrived)
	}
}

// passes waits until the way to a side is not cut, or the connection broken.
func (c *memoryConn) passes(s *side) bool {
	for {
		cut, heal := c.net.isCut(s.to.name, s.from.name)
		if !cut {
			return true
		}
		select {
		case <-heal:
		case <-c.broken:
			return false
		}
	}
}

// reset breaks the connection for both sides.
func (c *memoryConn) reset() {
	c.once.Do(func() { close(c.broken) })
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
}

func (s *side) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		if len(s.ready) > 0 {
			n := copy(p, s.ready)
			s.ready = s.ready[n:]
			s.mu.Unlock()
			return n, nil
		}
		eof, by := s.eof, s.readBy
		s.mu.Unlock()
		if eof {
			return 0, io.EOF
		}
		var late <-chan time.Time
		if !by.IsZero() {
			d := time.Until(by)
			if d <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
			t := time.NewTimer(d)
			late = t.C
			defer t.Stop()
		}
		select {
		case <-s.arrived:
		case <-s.moved:
		case <-late:
		case <-s.closed:
			return 0, net.ErrClosed
		case <-s.conn.broken:
			return 0, syscall.ECONNRESET
		}
	}
}

func (s *side) Write(p []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	case <-s.conn.broken:
		return 0, syscall.ECONNRESET
	default:
	}
	peer := s.peer()
	peer.mu.Lock()
	peer.coming = append(peer.coming, p...)
	peer.mu.Unlock()
	signal(peer.sent)
	return len(p), nil
}

func (s *side) peer() *side {
	if s == s.conn.sides[0] {
		return s.conn.sides[1]
	}
	return s.conn.sides[0]
}

func (s *side) Close() error {
	s.once.Do(func() {
		close(s.closed)
		peer := s.peer()
		peer.mu.Lock()
		peer.ending = true
		peer.mu.Unlock()
		signal(peer.sent)
		if peer.isClosed() {
			s.conn.reset()
		}
	})
	return nil
}

func (s *side) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (s *side) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }
func (s *side) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	s.readBy = t
	s.mu.Unlock()
	signal(s.moved)
	return nil
}
func (s *side) SetWriteDeadline(time.Time) error { return nil }
func (s *side) LocalAddr() net.Addr              { return streamAddr(s.from.name) }
func (s *side) RemoteAddr() net.Addr             { return streamAddr(s.to.name) }
