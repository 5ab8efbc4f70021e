package raftlock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// MaxCacheLeases is how many cache leases a node holds. One more costs it the
// one that it has held longest.
const MaxCacheLeases = 16384

// ErrInUse is returned for a cache lease on a name that somebody changes, or
// waits to change, and where an owner has granted too many.
var ErrInUse = errors.New("raftlock: the name is in use, nothing of it can be cached now")

// CacheLease lets this node use what it reads of a name after it got the lease,
// again and again without asking anybody: before an exclusive lease on the name
// is granted, the cache lease is taken back. Its methods may be called
// concurrently.
type CacheLease struct {
	session *session
	slot    protocol.Slot
	request uint64
	over    atomic.Bool
}

// Cache takes a cache lease on a name. It never waits for those who change it
// (ErrInUse), only for an answer.
//
// The first one of a session makes that one a caching session: should the fleet
// take it for dead, its locks and slots pass on only when it knows so itself,
// by its clock, and not as soon as it is fenced.
func (n *Node) Cache(ctx context.Context, name string) (*CacheLease, error) {
	s, err := n.awaitSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("cache %q: %w", name, err)
	}
	var ls lease
	if err := s.parts(&ls, lock.Shared, []string{name}); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if err := s.startCaching(ctx); err != nil {
		return nil, fmt.Errorf("cache %q: start caching: %w", name, err)
	}
	c := &CacheLease{session: s, slot: ls.parts[0].slot}
	if err := s.cache(ctx, c, name); err != nil {
		return nil, fmt.Errorf("cache %q: %w", name, err)
	}
	return c, nil
}

// Good reports whether what was read under the lease may be used now. It asks
// nobody. Once it is not good the lease never is again, but for the
// moments in which the fleet has not confirmed that the session lives.
func (c *CacheLease) Good() bool {
	return !c.over.Load() && int64(c.session.life.now()) < c.session.readable.Load()
}

// Release gives the lease back. It can be called twice and never blocks.
func (c *CacheLease) Release() {
	l := c.session.life
	l.mu.Lock()
	defer l.mu.Unlock()
	c.session.giveBack(c)
	l.settle()
}

// startCaching has the fleet know that the session caches.
func (s *session) startCaching(ctx context.Context) error {
	l := s.life
	caches := func(st *protocol.State) bool { return st.Caches(s.sid) || st.Standing(s.sid) != protocol.Live }
	ready := false
	l.look(func(st *protocol.State) { ready = caches(st) })
	if ready {
		return nil
	}
	if _, _, err := l.propose(ctx, protocol.StartCaching{Session: s.sid}); err != nil {
		return err
	}
	return l.await(ctx, caches)
}

// cache waits for the decision on a cache lease.
func (s *session) cache(ctx context.Context, c *CacheLease, name string) error {
	l := s.life
	l.mu.Lock()
	if l.session != s || l.leaving {
		l.mu.Unlock()
		return lock.ErrLost
	}
	if s.cached.Len() >= MaxCacheLeases {
		s.giveBack(s.cached.Front().Value.(*CacheLease))
	}
	d, decided := l.member.Cache(c.slot, name, l.now())
	c.request = d.Request
	if decided && d.Verdict != protocol.Granted {
		l.settle()
		l.mu.Unlock()
		return ErrInUse
	}
	s.caches[c.request] = s.cached.PushBack(c) // before it can be recalled
	if decided {
		l.settle()
		l.mu.Unlock()
		return nil
	}
	w := &waiter{decided: make(chan protocol.Decision, 1)}
	s.waiters[c.request] = w
	l.settle()
	l.mu.Unlock()
	select {
	case d := <-w.decided:
		if d.Verdict == protocol.Granted {
			return nil
		}
		c.Release()
		return ErrInUse
	case <-ctx.Done():
		c.Release()
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return lock.ErrLost
	}
}

// giveBack ends a cache lease, and only then lets the owner know. The caller
// holds the life's mutex.
func (s *session) giveBack(c *CacheLease) {
	c.over.Store(true)
	elem := s.caches[c.request]
	if elem == nil {
		return
	}
	s.cached.Remove(elem)
	delete(s.caches, c.request)
	s.wake(protocol.Decision{Request: c.request, Verdict: protocol.Busy}) // should it still be waited for
	if s.life.session == s {
		s.life.member.Release(c.slot, c.request)
	}
}

// recall gives a cache lease back that somebody waits for. The caller holds the
// life's mutex.
func (s *session) recall(r protocol.Recall) {
	if elem := s.caches[r.Request]; elem != nil {
		s.life.node.metrics.recalls.Add(1)
		s.giveBack(elem.Value.(*CacheLease))
	}
}

// dropCaches ends all cache leases, for good. The caller holds the life's mutex.
func (s *session) dropCaches() {
	for s.cached.Len() > 0 {
		s.giveBack(s.cached.Front().Value.(*CacheLease))
	}
}
