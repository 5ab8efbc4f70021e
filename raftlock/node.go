package raftlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/mesh"
	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Node is this process's part in the fleet. It goes from one life to the next
// by itself: it joins the generation that there is, or founds the next one.
type Node struct {
	cfg     Config
	started time.Time
	root    context.Context // what sessions live in, beyond any life
	ctx     context.Context // done when the node is being closed
	stop    context.CancelCauseFunc
	group   sync.WaitGroup
	metrics counters
	moved   event // a slot may have another owner

	recalling chan struct{} // has room for the one that recalls settings

	mu         sync.Mutex
	life       *life         // nil between two lives
	hearing    *life         // that Raft's connections are for: also one that is only beginning
	settings   *life         // the last that had a session
	recalled   *recalled     // nil: none
	session    *session      // the last that was opened
	fresh      chan struct{} // closed when life or session is another
	changed    chan struct{} // closed when a setting has changed
	lives      int
	leaving    bool
	refused    error                     // why there can be no session now, nil if that is not known
	unseen     error                     // why this node cannot see whether there is a generation, nil if it can or that is not known
	outside    error                     // why this node is in no generation, nil if that is not known
	lastFence  atomic.Int64              // ns since 1970
	known      atomic.Pointer[fleetTime] // what was said last of the time of the fleet
	clockWrong atomic.Bool               // that was said to be too much
}

// counters are what a node counts.
type counters struct {
	violations, sessionsLost, expired, fenced, generations atomic.Int64
	local, remote, timeouts, moved                         atomic.Int64
	inquiries, gaps, recalls                               atomic.Int64
}

// Open makes this process a node of its fleet, in the background. ctx ends the
// node without ceremony; Close does it in an orderly way.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, started: time.Now(), root: context.WithoutCancel(ctx), fresh: make(chan struct{}), changed: make(chan struct{}), recalling: make(chan struct{}, 1)}
	n.ctx, n.stop = context.WithCancelCause(ctx)
	n.cfg.Network.Handle(raftProtocol, n.answerRaft)
	n.cfg.Network.Handle(lockProtocol, n.answerLocks)
	n.cfg.Network.Handle(callProtocol, n.answerCalls)
	n.group.Go(n.run)
	n.group.Go(n.announce)
	return n, nil
}

// Close ends the node: it gives up its session, leaves the fleet, and if it was
// the last one ends the generation, so that the next node need not wait. Nothing
// may be under way in the session any more. What is not done when ctx ends the
// others find out by themselves.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	n.leaving = true
	l := n.life
	n.mu.Unlock()
	var err error
	if l != nil {
		err = l.leave(ctx)
	}
	n.stop(errClosed)
	n.group.Wait()
	if werr := n.cfg.Arbiter.Withdraw(ctx, n.cfg.Node); werr != nil {
		err = errors.Join(err, fmt.Errorf("withdraw: %w", werr))
	}
	return err
}

// removeTimeout is how long one attempt to have this node removed may take.
const removeTimeout = 2 * time.Second

// leave leaves the fleet. Where nobody else is alive it ends the generation, so
// that the next node need not wait. It has left when its life is over, too.
func (l *life) leave(ctx context.Context) error {
	closed, err := l.closeSession(ctx)
	if err != nil && l.ctx.Err() == nil {
		return err
	}
	for l.ctx.Err() == nil {
		others := 0
		l.look(func(s *protocol.State) {
			for _, session := range s.Sessions {
				if !session.Expired {
					others++
				}
			}
		})
		if others == 0 && (closed || l.leads() != nil) { // who had no session may know of nobody yet
			return l.node.cfg.Arbiter.End(ctx, l.generation)
		}
		attempt, cancel := context.WithTimeout(ctx, removeTimeout)
		_, err := l.tryLeader(attempt, request{Generation: l.generation, Leave: string(l.id)}, func() (response, error) {
			return response{}, l.remove(attempt, l.id)
		})
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, retryAfter)
	}
	return nil // the others have removed it, or are not there any more
}

// run lives one life after the other, until the node is to leave.
func (n *Node) run() {
	var dead uint32 // a generation that this node has found that nobody can keep alive
	for n.ctx.Err() == nil && !n.leaves() {
		l := n.enter(n.ctx, dead)
		if l == nil {
			return
		}
		n.metrics.generations.Add(1)
		n.replace(l)
		why := l.run()
		n.replace(nil)
		if dead = 0; errors.Is(why, errSilent) {
			dead = l.generation
		}
		if n.ctx.Err() == nil && !n.leaves() {
			n.cfg.Logger.Warn("this node looks for the fleet anew", "generation", l.generation, "why", why)
		}
	}
}

func (n *Node) leaves() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leaving
}

func (n *Node) newCandidate() *protocol.Candidate {
	return protocol.NewCandidate(n.now(), rand.Uint64())
}

func (n *Node) replace(l *life) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.life, n.outside = l, nil
	close(n.fresh)
	n.fresh = make(chan struct{})
	n.moved.happen()
}

// publish makes a session the one that locks are taken in.
func (n *Node) publish(s *session) {
	n.mu.Lock()
	n.session, n.settings = s, s.life
	close(n.fresh)
	n.fresh = make(chan struct{})
	n.mu.Unlock()
	n.settingsChanged()
	n.moved.happen()
}

func (n *Node) currentLife() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// awaitLife waits until the node is in a generation.
func (n *Node) awaitLife(ctx context.Context) (*life, error) {
	for {
		n.mu.Lock()
		l, again := n.life, n.fresh
		n.mu.Unlock()
		if l != nil {
			return l, nil
		}
		if err := n.wait(ctx, again); err != nil {
			return nil, err
		}
	}
}

// AwaitSession waits until the node has a session. The error is that of ctx, or
// says that the node was closed.
func (n *Node) AwaitSession(ctx context.Context) (lock.Session, error) {
	s, err := n.awaitSession(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (n *Node) awaitSession(ctx context.Context) (*session, error) {
	for {
		n.mu.Lock()
		s, again := n.session, n.fresh
		n.mu.Unlock()
		if s != nil && s.ctx.Err() == nil {
			return s, nil
		}
		if err := n.wait(ctx, again); err != nil {
			return nil, err
		}
	}
}

// ErrCutOff is why a node is not ready.
var ErrCutOff = errors.New("this gateway is cut off from the others, or from the shared storage")

// Ready returns nil while this node has a session that it knows to be alive: only
// then can anything be locked. Otherwise it returns why it can have none (Refused), or an ErrCutOff.
func (n *Node) Ready() error {
	n.mu.Lock()
	s, refused, outside := n.session, cmp.Or(n.unseen, n.refused), n.outside
	n.mu.Unlock()
	if s != nil && s.alive() {
		return nil
	}
	return cmp.Or(refused, outside, ErrCutOff)
}

// alive reports whether a session is known to be alive.
func (s *session) alive() bool {
	l := s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session == s && l.member.Lease().Valid(l.now())
}

// Refused returns why this node can have no session whatever the others do, nil if that is not known:
// the storage refuses what it takes to have one. It is over when the storage takes that.
func (n *Node) Refused() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return cmp.Or(n.unseen, n.refused)
}

// errDenied is an error of storage that does not let this node do what it takes to have a session.
var errDenied = errors.New("the storage does not let this gateway in")

// denied returns an error of the storage as an errDenied, if it is one.
func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", errDenied, err)
	}
	return err
}

// looked notes whether the storage lets this node see what there is. Until it does there is no session.
func (n *Node) looked(err error) error {
	var why error
	if err = denied(err); errors.Is(err, errDenied) {
		why = err
	}
	n.mu.Lock()
	n.unseen = why
	n.mu.Unlock()
	return err
}

// tried notes what the storage has said to something without which there is no session.
func (n *Node) tried(err error) error {
	var why error
	err = denied(err)
	switch {
	case errors.Is(err, errDenied):
		why = err
	case errors.Is(err, syscall.EROFS):
		why = fmt.Errorf("the storage is read-only: %w", err)
	case Refuses(err):
		why = fmt.Errorf("the storage is full: %w", err)
	}
	n.mu.Lock()
	n.refused = why
	n.mu.Unlock()
	return err
}

func (n *Node) wait(ctx context.Context, again <-chan struct{}) error {
	select {
	case <-again:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.ctx.Done():
		return context.Cause(n.ctx)
	}
}

// How often a node without a generation looks for one, and after how long it says why it has found
// none: others that were started at the same moment do not answer yet.
const (
	enterPace     = 100 * time.Millisecond
	enterPatience = 5 * time.Second
)

// enter joins the generation that there is, or founds the next. It returns nil
// when ctx ends.
func (n *Node) enter(ctx context.Context, dead uint32) *life {
	e := entry{node: n, candidate: n.newCandidate(), dead: dead}
	var said complaint
	begun := time.Now()
	for ctx.Err() == nil {
		l, err := e.try(ctx)
		if l != nil {
			return l
		}
		if ctx.Err() == nil && time.Since(begun) > enterPatience {
			n.stays(err)
			if said.about(err) {
				n.cfg.Logger.Warn("not among the gateways of this tree yet"+advice(err), "error", err)
			}
		}
		sleep(ctx, enterPace)
	}
	e.discard()
	return nil
}

// stays notes why this node gets into no generation. That an attempt found nothing in its way, and nothing
// to do, does not say that it is over.
func (n *Node) stays(err error) {
	if err == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outside = fmt.Errorf("%w%s: %v", ErrCutOff, advice(err), err) //nolint:errorlint // it is what is behind ErrCutOff, and nothing else
}

// advice returns what is to be seen to where a node does not get into a generation.
func advice(err error) string {
	switch {
	case errors.Is(err, errDenied):
		return "; the user that it runs as must be allowed to use .shoal.sys"
	case Refuses(err):
		return "; its storage must be writable, and have room"
	case errors.Is(err, mesh.ErrRefused) && !errors.Is(err, mesh.ErrOtherNode):
		return "; they refuse this one: compare SHOAL_CLUSTER_SECRET, which must be the same on all"
	}
	return "; the cluster port must be open between them"
}

func (n *Node) now() time.Duration { return time.Since(n.started) }

// entry is a node's search for a generation.
type entry struct {
	node      *Node
	candidate *protocol.Candidate
	dead      uint32 // this generation is to be claimed over
	begun     *life  // what asks to be let in, as the same server each time
}

// discard gives up what has asked to be let in.
func (e *entry) discard() {
	if e.begun == nil {
		return
	}
	e.begun.end(errOver)
	if err := e.begun.consensus.close(); err != nil {
		e.node.cfg.Logger.Debug("raft did not end well", "error", err)
	}
	e.begun.calls.close()
	e.begun = nil
}

// try looks once.
func (e *entry) try(ctx context.Context) (*life, error) {
	seen, err := e.look(ctx)
	if err != nil {
		return nil, err
	}
	var joining error
	if number := seen.Number; number > 0 && !seen.Closed && number != e.dead {
		var joined, refused bool
		if joined, refused, joining = e.join(ctx, number); joined {
			return e.begun, nil
		}
		// That may have taken seconds, and what nobody renewed before be alive.
		if seen, err = e.look(ctx); err != nil {
			return nil, err
		}
		seen.Refused = refused && seen.Number == number
	}
	if e.candidate.Observe(seen, e.node.now()) != protocol.Claim && (e.dead == 0 || seen.Number != e.dead) {
		return nil, joining
	}
	e.dead = 0 // once
	e.discard()
	l, err := e.node.found(ctx, seen.Number+1)
	if errors.Is(err, mount.ErrTaken) {
		return nil, nil // another node was faster: look again
	}
	return l, err
}

// look returns what the storage shows of the newest generation now.
func (e *entry) look(ctx context.Context) (protocol.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	g, err := e.node.cfg.Arbiter.Newest(ctx)
	return protocol.Seen{Number: g.Number, Pulse: g.Pulse, Closed: g.Closed}, e.node.looked(err)
}

// join asks the members of a generation to let this node in. refused reports
// that none of them is there any more.
func (e *entry) join(ctx context.Context, generation uint32) (joined, refused bool, err error) {
	addresses, err := e.node.addresses(ctx)
	if err != nil || len(addresses) == 0 {
		return false, false, err
	}
	if e.begun != nil && e.begun.generation != generation {
		e.discard()
	}
	if e.begun == nil {
		if e.begun, err = e.node.begin(generation, false); err != nil {
			return false, false, err
		}
	}
	return e.knock(ctx, addresses)
}

// maxAsked is at how many addresses a node asks at once: those of hosts that have gone do not answer.
const maxAsked = 16

// knock asks at addresses, and where they say that the leader is, until one lets this node in.
func (e *entry) knock(ctx context.Context, addresses []raft.ServerAddress) (joined, refused bool, err error) {
	type answer struct {
		from, leader raft.ServerAddress
		gone         bool
		err          error
	}
	var group sync.WaitGroup
	defer group.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answers := make(chan answer, maxAsked)
	refused, asking := true, 0
	tried := make(map[raft.ServerAddress]bool)
	for {
		for ; len(addresses) > 0 && asking < maxAsked; addresses = addresses[1:] {
			to := addresses[0]
			if tried[to] {
				continue
			}
			tried[to] = true
			asking++
			group.Go(func() {
				leader, gone, err := e.begun.apply(ctx, to)
				answers <- answer{to, leader, gone, err}
			})
		}
		if asking == 0 {
			return false, refused, err
		}
		a := <-answers
		asking--
		if a.err == nil {
			e.begun.heard("", a.from)
			return true, false, nil
		}
		refused = refused && a.gone
		if !errors.Is(err, mesh.ErrRefused) { // which tells more than who has gone
			err = a.err
		}
		if a.leader != "" {
			addresses = append([]raft.ServerAddress{a.leader}, addresses...)
		}
	}
}

// begin begins a life.
func (n *Node) begin(generation uint32, found bool) (*life, error) {
	l := newLife(n, generation, n.nextID())
	n.mu.Lock()
	n.hearing = l
	n.mu.Unlock()
	var err error
	if l.consensus, err = newConsensus(l, found); err != nil {
		l.end(err)
		return nil, err
	}
	return l, nil
}

// joinTimeout is how long one member may take to let a node in.
const joinTimeout = time.Second

// apply asks a node, or whoever is at an address, to let this one in. If it is not the leader
// it may know who is, who may be reached by way of others only. gone reports that nobody is there.
func (l *life) apply(ctx context.Context, to raft.ServerAddress) (leader raft.ServerAddress, gone bool, err error) {
	patience := joinTimeout
	if id, _ := splitAddress(to); id != "" {
		patience += bendTime
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err := l.calls.ask(ctx, to, request{Generation: l.generation, Join: &joinRequest{ID: string(l.id), Address: l.node.cfg.Address}})
	if err != nil {
		return "", isGone(err), err
	}
	if a.Error != "" {
		return raft.ServerAddress(a.Leader), false, fmt.Errorf("%s does not let this node in: %s", to, a.Error)
	}
	return "", false, nil
}

// lookupTimeout is how long further addresses are waited for: where names are not resolved the storage tells
// of the others all the same.
const lookupTimeout = 2 * time.Second

// addresses returns where other nodes may be, whichever they are.
func (n *Node) addresses(ctx context.Context) ([]raft.ServerAddress, error) {
	storage, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	members, err := n.cfg.Arbiter.Members(storage)
	if err != nil {
		return nil, fmt.Errorf("read who is there: %w", err)
	}
	var all []string
	for _, m := range members {
		if m.Node != n.cfg.Node {
			all = append(all, m.Addresses...)
		}
	}
	all = append(all, n.cfg.Peers...)
	if n.cfg.Lookup != nil {
		names, cancel := context.WithTimeout(ctx, lookupTimeout)
		all = append(all, n.cfg.Lookup(names)...)
		cancel()
	}
	var others []raft.ServerAddress
	for _, at := range all {
		if at != n.cfg.Address {
			others = append(others, raftAddress("", at))
		}
	}
	return others, nil
}

func (n *Node) nextID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives++
	return fmt.Sprintf("%s.%d", n.cfg.Node, n.lives)
}

// foundTimeout is how long a node that founds a generation may take to lead it.
const foundTimeout = 10 * time.Second

// found claims a generation and begins it. When it returns without an error the
// node leads it, has renewed it, and has given it the settings.
func (n *Node) found(ctx context.Context, generation uint32) (l *life, err error) {
	if err := n.tried(n.cfg.Arbiter.Claim(ctx, generation, n.cfg.Node)); err != nil {
		return nil, fmt.Errorf("claim generation %d: %w", generation, err)
	}
	n.cfg.Logger.Info("this node founds a generation of the fleet", "generation", generation)
	known, base, err := n.loadSettings(ctx)
	if err != nil {
		return nil, err
	}
	if l, err = n.begin(generation, true); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, foundTimeout)
	defer cancel()
	if err := l.bringUp(ctx, base, known.state.Settings); err != nil {
		l.end(errOver)
		return nil, errors.Join(fmt.Errorf("begin generation %d: %w", generation, err), l.consensus.close())
	}
	return l, nil
}

// bringUp makes this node the leader of a generation that it has just claimed.
func (l *life) bringUp(ctx context.Context, base uint64, settings map[string]protocol.Setting) error {
	for l.consensus.raft.State() != raft.Leader {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.stand()
		sleep(ctx, redialFirst)
	}
	if err := l.node.tried(l.node.cfg.Arbiter.Renew(ctx, l.generation)); err != nil {
		return err
	}
	return l.restore(ctx, base, settings)
}

// announce keeps this node's entry among the members current.
func (n *Node) announce() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var said reminder
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, storageTimeout)
		m := mount.Member{Node: n.cfg.Node, Addresses: []string{n.cfg.Address}, Host: host, PID: os.Getpid(), Version: n.cfg.Version, Refreshed: time.Now()}
		err := n.cfg.Arbiter.Announce(ctx, m)
		cancel()
		if fails, _ := said.about(err); fails && n.ctx.Err() == nil {
			n.cfg.Logger.Warn("this node could not be announced on the shared storage", "error", err)
		}
		sleep(n.ctx, announceEvery)
	}
}

// answerRaft serves a connection of Raft.
func (n *Node) answerRaft(c net.Conn, _ string) {
	if l := n.meant(c); l != nil {
		l.consensus.stream.offer(c)
	}
}

// meant reads which life a connection is meant for. It closes one that is for
// another.
func (n *Node) meant(c net.Conn) *life {
	generation, id, err := readPreamble(c)
	n.mu.Lock()
	l := n.hearing
	n.mu.Unlock()
	if err != nil || l == nil || l.generation != generation || string(l.id) != id {
		_ = c.Close() // who means this life tries again
		return nil
	}
	return l
}

// answerLocks serves a connection that locks go over.
func (n *Node) answerLocks(c net.Conn, peer string) {
	defer c.Close() //nolint:errcheck // what was on it is said again
	generation, sid, err := readPreamble(c)
	l := n.currentLife()
	if err != nil || l == nil || l.generation != generation {
		return
	}
	err = l.receive(c, peer, sid)
	n.hungUp(peer, err)
}

// hungUp says why a connection that came in has ended.
func (n *Node) hungUp(peer string, err error) {
	if errors.Is(err, protocol.ErrMalformed) {
		n.cfg.Logger.Warn("a node says what makes no sense, and was hung up on", "node", peer, "error", err)
		return
	}
	n.cfg.Logger.Debug("a connection of a node ended", "node", peer, "error", err)
}

func isOver(err error) bool { return errors.Is(err, mount.ErrOver) }

// MeshNetwork makes a Mesh a Network, for this node and whatever else nodes have to say to one another.
// Where two of them do not reach each other it connects them by way of a third, until ctx ends.
func MeshNetwork(ctx context.Context, m *mesh.Mesh, log *slog.Logger) Network {
	return newDetours(ctx, meshNetwork{m}, log)
}

type meshNetwork struct{ mesh *mesh.Mesh }

func (n meshNetwork) Dial(ctx context.Context, address, node, protocol string) (net.Conn, error) {
	return n.mesh.Dial(ctx, address, node, protocol)
}

func (n meshNetwork) Handle(protocol string, h func(c net.Conn, peer string)) {
	n.mesh.Handle(protocol, func(c *mesh.Conn) { h(c, c.Peer) })
}
