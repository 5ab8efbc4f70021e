package raftlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Reasons why a life ends.
var (
	errOver      = errors.New("the generation is over")
	errSilent    = errors.New("nobody keeps the generation alive")
	errRemoved   = errors.New("the fleet has forgotten this node")
	errTooOld    = errors.New("the fleet has gone over to a later version")
	errNoStorage = errors.New("the storage could not be renewed in time")
	errClosed    = errors.New("the node was closed")
)

// life is a node's part in one generation, under one name in its Raft. What was
// agreed in it lives in the memory of its members; when all is lost the mount
// has what the next generation needs.
type life struct {
	node       *Node
	log        *slog.Logger
	generation uint32
	id         raft.ServerID
	address    raft.ServerAddress
	consensus  *consensus
	ctx        context.Context // done when the life is over
	end        context.CancelCauseFunc
	group      sync.WaitGroup
	keeps      chan keep     // what the leader's loop is told
	busy       chan struct{} // one token: the Member waits for something
	alarm      chan struct{} // one token: a process has gone, or hung up
	opening    chan struct{} // one token: whoever opens a session has it meanwhile
	calls      *calls
	asked      atomic.Uint32 // acquaintances

	mu      sync.Mutex
	leaving bool             // no session is to be opened any more
	state   *protocol.State  // while there is no session
	member  *protocol.Member // of the session; the state is in it
	session *session
	sponsor raft.ServerAddress // who may be the leader, while Raft knows none
	applied chan struct{}      // closed, and made anew, when the state has changed
	awaits  int                // of applied
	links   map[protocol.SID]*link
	seen    map[protocol.SID]time.Duration // when the leader first saw a session
	term    *term                          // while this node leads
}

func newLife(n *Node, generation uint32, id string) *life {
	l := &life{
		node: n, log: n.cfg.Logger, generation: generation, id: raft.ServerID(id),
		state: protocol.NewState(), applied: make(chan struct{}), links: make(map[protocol.SID]*link),
		keeps: make(chan keep),
		busy:  make(chan struct{}, 1), alarm: make(chan struct{}, 1), opening: make(chan struct{}, 1), seen: make(map[protocol.SID]time.Duration),
	}
	l.opening <- struct{}{}
	l.address = raftAddress(l.id, n.cfg.Address)
	l.ctx, l.end = context.WithCancelCause(n.ctx)
	l.calls = newCalls(n.cfg.Network)
	return l
}

// run lives until the life is over and returns why.
func (l *life) run() error {
	l.group.Go(l.follow)
	l.group.Go(l.sessions)
	l.group.Go(l.guard)
	<-l.ctx.Done()
	l.mu.Lock()
	l.dropSession() // and no link is made any more
	l.mu.Unlock()
	l.group.Wait()
	if err := l.consensus.close(); err != nil {
		l.log.Warn("raft did not end well", "error", err)
	}
	l.calls.close()
	return context.Cause(l.ctx)
}

// follow runs the leader's loop while this node is the leader.
func (l *life) follow() {
	stop := func() {}
	var group sync.WaitGroup
	for {
		var leading bool
		select {
		case leading = <-l.consensus.leading:
		case <-l.ctx.Done():
		}
		stop()
		group.Wait()
		if l.ctx.Err() != nil {
			return
		}
		if leading {
			ctx, cancel := context.WithCancel(l.ctx)
			stop = cancel
			group.Go(func() { l.lead(ctx) })
		}
	}
}

// guardPace is how often a node that is not known to be alive looks whether its
// generation is; one that is known to be looks when it has cause to, and at itself
// now and then.
const (
	guardPace = 250 * time.Millisecond
	guardRest = time.Second
)

// guard ends the life when the generation is over, or nobody can keep it alive, or
// somebody does of whom this node hears nothing.
func (l *life) guard() {
	candidate, pace := l.node.newCandidate(), guardPace
	var outside outsider
	for l.ctx.Err() == nil {
		alarmed := l.awaitAlarm(pace)
		l.mu.Lock()
		alive := l.member != nil && l.member.Lease().Valid(l.now())
		l.mu.Unlock()
		leads := l.consensus.raft.State() == raft.Leader
		// Who caches reads without the storage: it is not fenced until its time is up.
		lost := !leads && l.quorumLost() && !l.othersCache()
		well := alive && !lost
		if well && !alarmed {
			candidate, pace, outside = l.node.newCandidate(), guardRest, outsider{}
			continue
		}
		pace = guardPace
		ctx, cancel := context.WithTimeout(l.ctx, storageTimeout)
		g, err := l.node.cfg.Arbiter.Newest(ctx)
		cancel()
		if err != nil {
			continue
		}
		seen := protocol.Seen{Number: g.Number, Pulse: g.Pulse, Closed: g.Closed, Refused: lost}
		switch {
		case g.Number != l.generation:
			l.end(errOver)
		case well: // the leader says so, however late the storage shows what it renews
		case candidate.Observe(seen, l.now()) == protocol.Claim && !leads:
			l.end(errSilent)
		case outside.observe(g.Pulse, l.now(), l.hears()):
			l.end(errRemoved)
		}
	}
}

// awaitAlarm waits at most for a time, and reports whether there was cause to look before it was over.
func (l *life) awaitAlarm(most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-l.alarm:
		return true
	case <-t.C:
	case <-l.ctx.Done():
	}
	return false
}

// hears reports whether Raft knows a leader.
func (l *life) hears() bool {
	address, _ := l.consensus.raft.LeaderWithID()
	return address != ""
}

// outsider is a node without a session that hears of no leader.
type outsider struct {
	since time.Duration // when it was first seen so; 0: it is not
	pulse string        // of the generation then
}

// observe reports whether the generation has been kept alive without the node for so long
// that it has to look for the others anew. Those whom it knew may have gone.
func (o *outsider) observe(pulse string, now time.Duration, hears bool) bool {
	switch {
	case hears:
		*o = outsider{}
	case o.since == 0:
		*o = outsider{now, pulse}
	}
	return o.since != 0 && pulse != o.pulse && now-o.since > forgetAfter
}

// othersCache reports whether another session may hold cache leases.
func (l *life) othersCache() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sid, s := range l.current().Sessions {
		if s.Caches && (l.session == nil || sid != l.session.sid) {
			return true
		}
	}
	return false
}

// quorumLost reports whether so many voters' processes have gone that the others
// can elect nobody.
func (l *life) quorumLost() bool {
	voters, _ := l.servers()
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := make(map[raft.ServerID]bool)
	for _, k := range l.links {
		gone[k.node] = k.refused
	}
	left := count(voters, func(s raft.Server) bool { return !gone[s.ID] })
	return len(voters) > 0 && left <= len(voters)/2
}

// now is the time that the protocol goes by.
func (l *life) now() time.Duration { return time.Since(l.node.started) }

// current returns the State. The caller holds mu.
func (l *life) current() *protocol.State {
	if l.member != nil {
		return l.member.State()
	}
	return l.state
}

// look runs f on the State, which it must not change nor keep.
func (l *life) look(f func(s *protocol.State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.current())
}

// changed ends the waits for a change of the State. The caller holds mu.
func (l *life) changed() {
	close(l.applied)
	l.applied = make(chan struct{})
}

// await waits until the State is as ready says.
func (l *life) await(ctx context.Context, ready func(s *protocol.State) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaits++
	defer func() { l.awaits-- }()
	for !ready(l.current()) {
		again := l.applied
		l.mu.Unlock()
		var err error
		select {
		case <-again:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-l.ctx.Done():
			err = context.Cause(l.ctx)
		}
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// settle does what the Member wants done. The caller holds mu.
func (l *life) settle() {
	if l.member != nil && l.member.Busy() {
		signal(l.busy)
	}
	for l.member != nil && !l.member.Idle() {
		l.carryOut(l.member.Take())
	}
}

// carryOut does what the Member wants done. Cache leases come first: nobody may
// be told that one was given back while it is still good. The caller holds mu.
func (l *life) carryOut(e protocol.Effects) {
	for _, r := range e.Recall {
		l.session.recall(r)
	}
	for _, v := range e.Violations {
		l.node.metrics.violations.Add(1)
		l.log.Error("the locks of this fleet cannot be trusted: please report this", "error", v)
	}
	for _, envelope := range e.Send {
		if to := l.links[envelope.To]; to != nil {
			to.push(envelope)
		}
	}
	for _, d := range e.Wake {
		l.session.wake(d)
	}
	for _, f := range e.Found {
		l.session.answer(f)
	}
	if e.Lost {
		l.dropSession()
	}
}

// dropSession ends the session, if there is one. The caller holds mu.
func (l *life) dropSession() {
	s := l.session
	if s == nil {
		return
	}
	l.state, l.member, l.session = l.member.State(), nil, nil
	for sid, link := range l.links {
		link.close()
		delete(l.links, sid)
	}
	s.dropCaches()
	s.end(lock.ErrLost)
	l.changed()
	l.node.moved.happen()
}

// machine is a life as Raft's state machine.
type machine life

// Apply implements raft.FSM. It returns a protocol.Result.
func (m *machine) Apply(entry *raft.Log) any {
	l := (*life)(m)
	c, err := protocol.ParseCommand(entry.Data)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.ctx.Err() != nil {
		// To leave out an entry would make this State another than the others':
		// from here on the node has no part in the generation any more.
		l.end(fmt.Errorf("%w: entry %d: %w", errTooOld, entry.Index, err))
		return protocol.Result{Outcome: protocol.Unsupported}
	}
	var result protocol.Result
	if l.member != nil {
		result = l.member.Apply(entry.Index, c, l.now())
	} else {
		result = l.state.Apply(entry.Index, c)
	}
	l.settle()
	l.connect()
	_, tick := c.(protocol.Tick)
	if !tick || l.awaits > 0 {
		l.changed()
	}
	switch c.(type) {
	case protocol.OpenSession, protocol.ExpireSession, protocol.EndSession, protocol.MoveSlots:
		l.node.moved.happen()
	}
	if !tick {
		l.noteChange(entry, c, result)
		if l.term != nil {
			signal(l.term.nudge)
		}
	}
	return result
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	l := (*life)(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	return image(l.current().AppendSnapshot(nil)), nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(from io.ReadCloser) error {
	b, err := io.ReadAll(from)
	if err = errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	later, err := protocol.ParseSnapshot(b)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	l := (*life)(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.member != nil {
		l.member.Install(later, l.now())
	} else {
		l.state = later
	}
	l.settle()
	l.connect()
	l.changed()
	l.node.moved.happen()
	return nil
}

// image is a State ready to be stored.
type image []byte

// Persist implements raft.FSMSnapshot.
func (i image) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(i); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (image) Release() {}
