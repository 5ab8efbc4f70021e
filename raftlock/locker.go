package raftlock

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Names of locks are a kind, a bucket and the rest: "o/bucket/key". A bucket as
// a whole is "b/bucket": its exclusive lock is held in each of the slots that
// the bucket's names are spread over, its shared one in any of them, so that
// who shares it, which every write does, asks next door.
const bucketKind = "b"

// part is what a lease has, or asks for, in one slot.
type part struct {
	slot    protocol.Slot
	items   []protocol.Item
	request uint64
	first   bool // the first of the lease's names is in it
}

// Acquire implements lock.Locker.
func (n *Node) Acquire(ctx context.Context, mode lock.Mode, names ...string) (lock.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("acquire lease: %w", err)
	}
	s, err := n.awaitSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire lease: %w", err)
	}
	ls := &lease{session: s}
	ls.Begin(ctx, s.ctx)
	if err := s.parts(ls, mode, names); err != nil {
		return nil, fmt.Errorf("acquire lease: %w", err)
	}
	for i := range ls.parts {
		d, err := s.acquire(ctx, &ls.parts[i])
		if err != nil {
			s.release(ls.parts[:i])
			return nil, fmt.Errorf("acquire lease on %q: %w", ls.parts[i].items[0].Name, err)
		}
		if ls.parts[i].first {
			ls.token = lock.Token{Generation: s.life.generation, Epoch: uint64(d.Epoch), Sequence: d.Sequence}
		}
	}
	return ls, nil
}

// Session implements lock.Locker. Before the first session it returns one that
// has ended.
func (n *Node) Session() lock.Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session == nil {
		return none{}
	}
	return n.session
}

// none is a session that has ended before it began.
type none struct{}

// ID implements lock.Session.
func (none) ID() string { return "none" }

// Done implements lock.Session.
func (none) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// parts finds the slots of the names and puts them in the order in which every
// lease takes them.
func (s *session) parts(ls *lease, mode lock.Mode, names []string) error {
	ls.parts = ls.inline[:0]
	for i, name := range names {
		kind, rest, _ := strings.Cut(name, "/")
		bucket, _, _ := strings.Cut(rest, "/")
		if kind == "" || bucket == "" {
			return fmt.Errorf("%q is no name of a lock", name)
		}
		spread := s.life.node.cfg.Spread
		item := protocol.Item{Name: name, Mode: mode}
		switch {
		case kind != bucketKind:
			ls.add(protocol.SlotOf(bucket, name, spread), item, i == 0)
		case mode == lock.Shared:
			ls.add(s.near(bucket, spread), item, i == 0)
		default:
			for j, slot := range protocol.BucketSlots(bucket, spread) {
				ls.add(slot, item, i == 0 && j == 0)
			}
		}
	}
	if len(ls.parts) > 1 {
		slices.SortStableFunc(ls.parts, func(a, b part) int { return cmp.Compare(a.slot, b.slot) })
		ls.merge()
	}
	return nil
}

// near returns a slot of the bucket that this session owns, or else any, the
// same each time.
func (s *session) near(bucket string, spread int) protocol.Slot {
	slots := protocol.BucketSlots(bucket, spread)
	l := s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	owners := &l.current().Owners
	for _, slot := range slots {
		if owners[slot].Owner == s.sid {
			return slot
		}
	}
	return slots[uint64(s.sid)%uint64(len(slots))]
}

// lease implements lock.Lease.
type lease struct {
	lock.Scope
	session *session
	token   lock.Token
	parts   []part
	inline  [1]part
	item    [1]protocol.Item
}

func (ls *lease) add(slot protocol.Slot, item protocol.Item, first bool) {
	p := part{slot: slot, first: first}
	if len(ls.parts) == 0 {
		ls.item[0] = item
		p.items = ls.item[:1:1]
	} else {
		p.items = []protocol.Item{item}
	}
	ls.parts = append(ls.parts, p)
}

// merge makes one part of those in one slot, and sorts the items of each.
func (ls *lease) merge() {
	merged := ls.parts[:1]
	for _, p := range ls.parts[1:] {
		last := &merged[len(merged)-1]
		if last.slot != p.slot {
			merged = append(merged, p)
			continue
		}
		last.items = append(last.items, p.items...)
		last.first = last.first || p.first
	}
	for i := range merged {
		items := merged[i].items
		slices.SortFunc(items, func(a, b protocol.Item) int { return strings.Compare(a.Name, b.Name) })
		merged[i].items = slices.CompactFunc(items, func(a, b protocol.Item) bool { return a.Name == b.Name })
	}
	ls.parts = merged
}

// Token implements lock.Lease.
func (ls *lease) Token() lock.Token { return ls.token }

// Session implements lock.Lease.
func (ls *lease) Session() lock.Session { return ls.session }

// Release implements lock.Lease.
func (ls *lease) Release() {
	if ls.End() {
		ls.session.release(ls.parts)
	}
}

// acquire waits until a part is granted.
func (s *session) acquire(ctx context.Context, p *part) (protocol.Decision, error) {
	l := s.life
	l.mu.Lock()
	if l.session != s {
		l.mu.Unlock()
		return protocol.Decision{}, lock.ErrLost
	}
	d, decided := l.member.Acquire(p.slot, p.items, false, l.now())
	p.request = d.Request
	if decided {
		l.mu.Unlock()
		l.node.metrics.local.Add(1)
		return d, nil
	}
	w := &waiter{decided: make(chan protocol.Decision, 1)}
	s.waiters[p.request] = w
	l.settle()
	l.mu.Unlock()
	select {
	case d := <-w.decided:
		l.node.metrics.remote.Add(1)
		return d, nil
	case <-ctx.Done():
		l.node.metrics.timeouts.Add(1)
		s.withdraw(p)
		return protocol.Decision{}, context.Cause(ctx)
	case <-s.ctx.Done():
		return protocol.Decision{}, lock.ErrLost
	}
}

// withdraw takes a request back, whether or not it has been granted meanwhile.
func (s *session) withdraw(p *part) {
	l := s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(s.waiters, p.request)
	if l.session == s {
		l.member.Release(p.slot, p.request)
		l.settle()
	}
}

// release gives parts back.
func (s *session) release(parts []part) {
	l := s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != s {
		return
	}
	for i := range parts {
		l.member.Release(parts[i].slot, parts[i].request)
	}
	l.settle()
}

var _ lock.Locker = (*Node)(nil)
