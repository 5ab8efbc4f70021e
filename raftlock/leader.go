package raftlock

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// term is what a node does while it leads: it finds the dead, fences them,
// renews the generation on the storage, and saves what is set.
type term struct {
	life     *life
	ctx      context.Context
	group    sync.WaitGroup
	watch    *protocol.Watch
	waiting  map[protocol.SID]keep // for the next tick to be committed
	asked    map[protocol.SID]keep // for the one under way
	ticked   chan bool
	suspects chan protocol.SID
	fencing  map[protocol.SID]bool
	fenced   chan protocol.SID
	nudge    chan struct{} // one token: the others are to hear what is committed
	renewed  atomic.Int64  // when the generation was, on the life's clock; 0: not in this term
	archive  archive
	clocks   clocks
}

// keep is a session's word that it is alive.
type keep struct {
	session protocol.SID
	number  uint64
	alive   chan bool // has room for the one
}

// lead leads until ctx ends.
func (l *life) lead(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &term{
		life: l, ctx: ctx, waiting: make(map[protocol.SID]keep), asked: make(map[protocol.SID]keep), ticked: make(chan bool, 1),
		suspects: make(chan protocol.SID, 64), fencing: make(map[protocol.SID]bool), fenced: make(chan protocol.SID, 1),
		nudge: make(chan struct{}, 1),
	}
	t.archive.init(t)
	l.mu.Lock()
	l.term = t
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.term = nil
		l.mu.Unlock()
		cancel()
		t.group.Wait()
	}()
	t.group.Go(t.renew)
	// Nothing is decided on a State that may be behind what was committed.
	for l.consensus.raft.Barrier(applyTimeout).Error() != nil {
		if ctx.Err() != nil {
			return
		}
		sleep(ctx, retryAfter)
	}
	l.log.Info("this node leads the fleet", "generation", l.generation, "node", l.id)
	l.look(func(s *protocol.State) { t.watch = protocol.NewWatch(s.SessionIDs(), l.now()) })
	t.group.Go(t.archive.run)
	t.group.Go(t.reconcile)
	t.group.Go(t.tidy)
	t.run()
}

func (t *term) run() {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		t.sessions()
		t.propose()
		now := t.life.now()
		due.Reset(t.watch.Due(now) - now)
		select {
		case k := <-t.life.keeps:
			t.hear(k)
		case ok := <-t.ticked:
			t.tell(t.watch.Ticked(ok))
		case sid := <-t.suspects:
			t.expire(sid, "its process is not there any more")
		case sid := <-t.fenced:
			delete(t.fencing, sid)
			t.watch.Forget(sid)
		case <-t.nudge:
			// Followers hear that an entry is committed with the next one. Without
			// one they would after commitTimeout.
			t.life.consensus.apply(protocol.Tick{})
		case <-due.C:
			for _, sid := range t.watch.Overdue(t.life.now()) {
				t.expire(sid, "it was not heard of in time")
			}
		case <-t.ctx.Done():
			return
		}
	}
}

// sessions notes sessions that are new, and fences those that have expired.
func (t *term) sessions() {
	var dead []protocol.Session
	t.life.look(func(s *protocol.State) {
		for sid, session := range s.Sessions {
			switch {
			case session.Expired:
				dead = append(dead, *session)
			default:
				t.watch.Opened(sid, t.life.now())
			}
		}
	})
	for _, session := range dead {
		t.watch.Ended(session.ID)
		if !t.fencing[session.ID] {
			t.fencing[session.ID] = true
			runsOut := t.watch.RunsOut(session.ID, t.life.now())
			t.group.Go(func() { t.fence(session, runsOut) })
		}
	}
}

// hear takes a session's word.
func (t *term) hear(k keep) {
	if !t.watch.Keep(k.session, k.number, t.life.now()) {
		alive := false
		t.life.look(func(s *protocol.State) { alive = s.Standing(k.session) == protocol.Live })
		if !alive {
			k.alive <- false
			return
		}
		// It ended its own session, or one is being opened: it will ask again.
		t.watch.Opened(k.session, t.life.now())
		t.watch.Keep(k.session, k.number, t.life.now())
	}
	t.waiting[k.session] = k
}

// propose has a tick committed when sessions wait for one.
func (t *term) propose() {
	if !t.watch.Propose(t.life.now()) {
		return
	}
	t.asked, t.waiting = t.waiting, t.asked
	clear(t.waiting)
	future := t.life.consensus.apply(protocol.Tick{})
	t.group.Go(func() {
		err := future.Error()
		if err != nil {
			sleep(t.ctx, retryAfter) // it is proposed again as soon as it is told
		}
		select {
		case t.ticked <- err == nil:
		case <-t.ctx.Done():
		}
	})
}

func (t *term) tell(kept []protocol.Kept) {
	for _, k := range kept {
		if asked, ok := t.asked[k.Session]; ok && asked.number == k.Number {
			asked.alive <- true
		}
	}
	clear(t.asked)
}

// expire has a session taken for dead. It keeps what it has until it is fenced.
func (t *term) expire(sid protocol.SID, why string) {
	live := false
	t.life.look(func(s *protocol.State) { live = s.Standing(sid) == protocol.Live })
	if !live {
		t.watch.Ended(sid)
		return
	}
	t.life.log.Warn("a session is taken for dead", "session", uint64(sid), "why", why)
	t.life.node.metrics.expired.Add(1)
	t.life.consensus.apply(protocol.ExpireSession{Session: sid})
	t.watch.Ended(sid)
}

// fence ends a dead session for good, and then gives away what it had. It does
// not give up: until the storage says that the dead cannot commit, nothing of
// theirs may pass on. Caches need no storage to be read, so who may have some is
// dead only when its lease has run out as well.
func (t *term) fence(s protocol.Session, runsOut time.Duration) {
	l := t.life
	defer func() {
		select {
		case t.fenced <- s.ID:
		case <-t.ctx.Done():
		}
	}()
	wait := redialFirst
	var said complaint
	for {
		ctx, cancel := context.WithTimeout(t.ctx, storageTimeout)
		err := l.node.cfg.Arbiter.Fence(ctx, l.generation, s.Dir)
		cancel()
		if err == nil {
			break
		}
		if t.ctx.Err() != nil {
			return
		}
		if said.about(err) {
			l.log.Warn("a dead session could not be fenced yet: its locks stay taken", "session", uint64(s.ID), "error", err)
		}
		sleep(t.ctx, wait)
		wait = min(2*wait, redialMost)
	}
	if s.Caches {
		sleep(t.ctx, runsOut-l.now())
	}
	if t.ctx.Err() != nil {
		return
	}
	future := l.consensus.apply(protocol.EndSession{Session: s.ID})
	if err := future.Error(); err != nil {
		sleep(t.ctx, retryAfter) // it is fenced again as soon as this returns
		return
	}
	l.log.Info("a dead session is fenced", "session", uint64(s.ID))
	l.node.metrics.fenced.Add(1)
	l.node.lastFence.Store(time.Now().UnixNano())
}

// renew keeps the generation alive on the storage. A leader that cannot for the
// time of a session makes way for one that can.
func (t *term) renew() {
	l := t.life
	renewed := l.now()
	for t.ctx.Err() == nil {
		begun := l.now()
		ctx, cancel := context.WithTimeout(t.ctx, protocol.SessionTTL)
		err := l.node.tried(l.node.cfg.Arbiter.Renew(ctx, l.generation))
		cancel()
		switch {
		case err == nil:
			renewed = begun
			t.renewed.Store(int64(begun))
		case isOver(err):
			l.end(errOver)
			return
		case l.now()-renewed > protocol.SessionTTL && t.ctx.Err() == nil:
			l.log.Warn("this node cannot renew its generation on the shared storage and leads no more", "error", err)
			l.end(errNoStorage)
			return
		}
		sleep(t.ctx, renewEvery-(l.now()-begun))
	}
}

// suspect takes note that a session's process has gone. The leader takes the
// session for dead; if it was the leader's, who may follow it stands for
// election at once.
func (l *life) suspect(k *link) {
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t != nil {
		select {
		case t.suspects <- k.peer:
		default: // it is suspected again soon
		}
		return
	}
	if _, leader := l.consensus.raft.LeaderWithID(); leader != k.node {
		return
	}
	voters, _ := l.servers()
	if slices.ContainsFunc(voters, func(s raft.Server) bool { return s.ID == l.id }) {
		// Not all at the same moment, or they take each other's votes.
		sleep(k.ctx, rand.N(maxHaste))
		l.stand()
	}
}

// maxHaste is over what time elections are spread that several stand for.
const maxHaste = 150 * time.Millisecond

// kept hands a session's word to the leader's loop on this node, and waits
// until it counts. It returns whether the session is alive, and whether the
// generation has been renewed of late. A session can be opened in the very moment in which its
// node is removed: the node hears nothing of what is agreed and has to join anew (errRemoved).
func (l *life) kept(ctx context.Context, sid protocol.SID, number uint64) (alive, fresh bool, err error) {
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t == nil {
		return false, false, raft.ErrNotLeader
	}
	if l.isForgotten(sid) {
		return false, false, errRemoved
	}
	k := keep{session: sid, number: number, alive: make(chan bool, 1)}
	select {
	case l.keeps <- k:
	case <-t.ctx.Done():
		return false, false, raft.ErrNotLeader
	case <-ctx.Done():
		return false, false, context.Cause(ctx)
	}
	select {
	case alive := <-k.alive:
		return alive, t.fresh(), nil
	case <-t.ctx.Done():
		return false, false, raft.ErrNotLeader
	case <-ctx.Done():
		return false, false, context.Cause(ctx)
	}
}

// fresh reports whether the generation was renewed so lately that caches may be
// read for their time.
func (t *term) fresh() bool {
	at := t.renewed.Load()
	return at != 0 && t.life.now()-time.Duration(at) < protocol.FreshRenewal
}
