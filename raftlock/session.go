package raftlock

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// session is one life of this node as the others know it: what it holds it
// holds in it, and what it stages is in a directory of its own.
type session struct {
	life     *life
	sid      protocol.SID
	dir      string
	id       string
	opened   time.Time
	ctx      context.Context
	end      context.CancelCauseFunc
	readable atomic.Int64 // until when caches may be read, on the life's clock

	// Guarded by the life's mutex.
	waiters   map[uint64]*waiter
	inquiries map[uint64]chan protocol.Findings // each with room for the one
	caches    map[uint64]*list.Element          // of cached
	cached    *list.List                        // of *CacheLease, the oldest first
}

// waiter waits for the decision on a request.
type waiter struct {
	decided chan protocol.Decision // has room for the one
}

// ID implements lock.Session.
func (s *session) ID() string { return s.id }

// Done implements lock.Session.
func (s *session) Done() <-chan struct{} { return s.ctx.Done() }

// wake hands a decision to who waits for it. The caller holds the life's mutex.
func (s *session) wake(d protocol.Decision) {
	if w := s.waiters[d.Request]; w != nil {
		delete(s.waiters, d.Request)
		w.decided <- d
	}
}

// sessions opens a session and keeps it, again and again.
func (l *life) sessions() {
	var said complaint
	for l.ctx.Err() == nil && l.mayOpen() {
		s, err := l.openSession(l.ctx)
		l.opening <- struct{}{}
		if l.ctx.Err() == nil && said.about(err) {
			l.log.Warn("no session could be opened yet", "generation", l.generation, "error", err)
		}
		if err != nil {
			sleep(l.ctx, redialMost)
			continue
		}
		l.log.Info("session opened", "session", s.id, "generation", l.generation, "node", l.id)
		l.node.publish(s)
		l.keep(s)
		if l.ctx.Err() == nil && !l.isLeaving() {
			l.log.Warn("session lost: what was under way in it fails", "session", s.id)
			l.node.metrics.sessionsLost.Add(1)
		}
	}
}

// mayOpen reports whether a session is to be opened, and has who wants to leave wait for that.
func (l *life) mayOpen() bool {
	select {
	case <-l.opening:
	case <-l.ctx.Done():
		return false
	}
	if l.isLeaving() {
		l.opening <- struct{}{}
		return false
	}
	return true
}

func (l *life) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

// openSession makes a session. Its directory is made before the fleet hears of
// it, and never again: one that a fence has removed stays away.
func (l *life) openSession(ctx context.Context) (*session, error) {
	dir := strings.ToLower(rand.Text())
	storage, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := l.node.tried(l.node.cfg.Arbiter.Begin(storage, l.generation, dir)); err != nil {
		return nil, l.storageFailed("make the directory of a session", err)
	}
	open := protocol.OpenSession{Node: string(l.id), Nonce: dir, Address: l.node.cfg.Address, Dir: dir, Feature: feature}
	result, _, err := l.propose(ctx, open)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	if result.Outcome != protocol.Done {
		l.end(errTooOld)
		return nil, errTooOld
	}
	sid := result.Session
	// The leader may have removed this node in the same moment: then it never hears of the session,
	// which by that time is over, and has to ask again.
	hears, cancel := context.WithTimeout(ctx, protocol.SessionTTL)
	defer cancel()
	if err := l.await(hears, func(s *protocol.State) bool { return s.Applied >= uint64(sid) }); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || l.state.Standing(sid) != protocol.Live {
		return nil, errors.New("the session ended at once")
	}
	s := &session{
		life: l, sid: sid, dir: dir, id: sessionID(l.generation, dir), opened: time.Now(),
		waiters: make(map[uint64]*waiter), inquiries: make(map[uint64]chan protocol.Findings),
		caches: make(map[uint64]*list.Element), cached: list.New(),
	}
	s.ctx, s.end = context.WithCancelCause(l.node.root)
	l.session, l.member = s, protocol.NewMember(sid, l.state, l.now())
	l.connect()
	l.settle()
	return s, nil
}

// storageFailed ends the life when the storage says that the generation is over.
func (l *life) storageFailed(what string, err error) error {
	if isOver(err) {
		l.end(errOver)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// keep tells the leader that the session is alive until it ends, and lets the
// Member's time pass.
func (l *life) keep(s *session) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	l.group.Go(func() { l.tick(ctx, s) })
	var number uint64
	for s.ctx.Err() == nil && l.ctx.Err() == nil {
		number++
		sent := l.now()
		alive, fresh, err := l.keepAlive(ctx, s.sid, number)
		switch {
		case errors.Is(err, errRemoved):
			l.end(errRemoved)
			return
		case err != nil:
			l.log.Debug("not known to be alive", "session", s.id, "error", err)
		case !alive:
			l.lose(s)
			return
		default:
			l.mu.Lock()
			if l.session == s {
				s.confirm(sent, fresh)
			}
			l.mu.Unlock()
		}
		rest := keepEvery
		if err != nil {
			rest = keepAgain
		}
		waitFor(ctx.Done(), l.ctx.Done(), rest)
	}
}

// confirm takes the leader's word that the session is alive. The caller holds the
// life's mutex.
func (s *session) confirm(sent time.Duration, fresh bool) {
	lease := s.life.member.Lease()
	if !fresh {
		lease.Confirm(sent)
		return
	}
	lease.ConfirmCaches(sent)
	s.readable.Store(int64(lease.Readable()))
}

// retryAfter is the least time between two attempts to be heard by the leader.
const retryAfter = 50 * time.Millisecond

// waitFor waits for either of two signals, at most for a time.
func waitFor(a, b <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a:
	case <-b:
	}
}

// lose ends a session that the fleet holds to be over.
func (l *life) lose(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == s {
		l.dropSession()
	}
}

// How often the Member's time passes: often while it waits for something.
const (
	tickBusy = 5 * time.Millisecond
	tickIdle = time.Second
)

func (l *life) tick(ctx context.Context, s *session) {
	for ctx.Err() == nil {
		rest := tickIdle
		var moves []protocol.MoveSlots
		l.mu.Lock()
		if l.session == s {
			moves = l.member.Moves(l.now())
			l.member.Tick(l.now())
			l.settle()
			if l.member != nil && l.member.Busy() {
				rest = tickBusy
			}
		}
		l.mu.Unlock()
		for _, m := range moves {
			l.group.Go(func() { l.move(ctx, m) })
		}
		t := time.NewTimer(rest)
		select {
		case <-t.C:
		case <-l.busy:
			sleep(ctx, tickBusy)
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// move has slots of this session go to one that uses them more. Those that stay
// for whatever reason are looked at again.
func (l *life) move(ctx context.Context, m protocol.MoveSlots) {
	if _, _, err := l.propose(ctx, m); err != nil {
		l.log.Debug("slots could not be moved", "to", uint64(m.To), "error", err)
		return
	}
	l.node.metrics.moved.Add(int64(len(m.Slots)))
}

// closeSession gives the session up in an orderly way: nothing may be under way
// in it any more. It reports whether there was one.
func (l *life) closeSession(ctx context.Context) (bool, error) {
	l.mu.Lock()
	l.leaving = true
	l.mu.Unlock()
	select {
	case <-l.opening: // the fleet may know of a session of which nothing is known here yet
	case <-l.ctx.Done():
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("open session: %w", context.Cause(ctx))
	}
	l.mu.Lock()
	s := l.session
	if s != nil {
		s.dropCaches()
		l.settle()
	}
	l.mu.Unlock()
	if s == nil {
		return false, nil
	}
	if err := l.node.cfg.Arbiter.Fence(ctx, l.generation, s.dir); err != nil {
		return false, fmt.Errorf("remove the session's directory: %w", err)
	}
	if _, _, err := l.propose(ctx, protocol.EndSession{Session: s.sid, Own: true}); err != nil {
		return false, fmt.Errorf("end session: %w", err)
	}
	l.lose(s)
	return true, nil
}

var _ lock.Session = (*session)(nil)
