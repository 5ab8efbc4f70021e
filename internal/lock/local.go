package lock

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// localShards is how many independent tables the names are spread over, so
// that leases on different names do not meet on one mutex.
const localShards = 64

// maxIdleQueues is how many unused queues a shard keeps for the next name.
const maxIdleQueues = 64

// Local is the Locker of one process. A name's leases are granted in the order
// of the calls: a shared one waits behind an exclusive one that waits, so that
// neither side starves. Create one with NewLocal.
type Local struct {
	session    *localSession
	generation uint32
	sequence   atomic.Uint64
	seed       maphash.Seed
	shards     [localShards]localShard
}

type localShard struct {
	mu    sync.Mutex
	names map[string]*queue
	idle  []*queue
	_     [64]byte // the mutexes of two shards do not share a cache line
}

// queue is the state of one name that is held or waited for.
type queue struct {
	shard     *localShard
	name      string
	shared    int // holders
	exclusive bool
	waiters   []*waiter // in order of arrival
}

type waiter struct {
	mode    Mode
	granted chan struct{}
}

// NewLocal returns a Locker whose tokens are greater than all of earlier
// generations. The caller keeps generation where it survives the process, and
// raises it before each call.
func NewLocal(generation uint32) *Local {
	l := &Local{
		session:    newLocalSession(generation),
		generation: generation,
		seed:       maphash.MakeSeed(),
	}
	for i := range l.shards {
		l.shards[i].names = make(map[string]*queue)
	}
	return l
}

// Session implements Locker.
func (l *Local) Session() Session { return l.session }

// Close ends the session: the contexts of all leases are done with the cause
// ErrLost, and Acquire fails. It can be called twice.
func (l *Local) Close() { l.session.end() }

// Acquire implements Locker.
func (l *Local) Acquire(ctx context.Context, mode Mode, names ...string) (Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("acquire lease: %w", err)
	}
	if l.session.ctx.Err() != nil {
		return nil, fmt.Errorf("acquire lease: %w", ErrLost)
	}
	if len(names) > 1 {
		names = slices.Clone(names)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	ls := &localLease{session: l.session, mode: mode}
	ls.Begin(ctx, l.session.ctx)
	ls.held = ls.inline[:0]
	for _, name := range names {
		q, err := l.acquire(ctx, mode, name)
		if err != nil {
			ls.Release()
			return nil, fmt.Errorf("acquire lease on %q: %w", name, err)
		}
		ls.held = append(ls.held, q)
	}
	// Whoever excluded this lease took its token before it released a name that
	// is held now, so this token is greater.
	ls.token = Token{Generation: l.generation, Sequence: l.sequence.Add(1)}
	return ls, nil
}

// acquire waits for one name.
func (l *Local) acquire(ctx context.Context, mode Mode, name string) (*queue, error) {
	s := &l.shards[maphash.String(l.seed, name)%localShards]
	s.mu.Lock()
	q := s.queue(name)
	if len(q.waiters) == 0 && q.admits(mode) {
		q.take(mode)
		s.mu.Unlock()
		return q, nil
	}
	w := &waiter{mode: mode, granted: make(chan struct{})}
	q.waiters = append(q.waiters, w)
	s.mu.Unlock()
	select {
	case <-w.granted:
		return q, nil
	case <-ctx.Done():
		q.withdraw(w)
		return nil, ctx.Err()
	case <-l.session.Done():
		q.withdraw(w)
		return nil, ErrLost
	}
}

// queue returns the queue of name, a new one if there is none. The caller
// holds the mutex.
func (s *localShard) queue(name string) *queue {
	if q := s.names[name]; q != nil {
		return q
	}
	var q *queue
	if n := len(s.idle); n > 0 {
		q = s.idle[n-1]
		s.idle = s.idle[:n-1]
	} else {
		q = &queue{shard: s}
	}
	q.name = name
	s.names[name] = q
	return q
}

// admits reports whether a lease can be granted beside those that are held.
func (q *queue) admits(mode Mode) bool {
	return !q.exclusive && (mode == Shared || q.shared == 0)
}

func (q *queue) take(mode Mode) {
	if mode == Shared {
		q.shared++
		return
	}
	q.exclusive = true
}

// release gives one lease back.
func (q *queue) release(mode Mode) {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	if mode == Shared {
		q.shared--
	} else {
		q.exclusive = false
	}
	q.advance()
}

// withdraw takes back a wait, or what was granted to it meanwhile.
func (q *queue) withdraw(w *waiter) {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	if i := slices.Index(q.waiters, w); i >= 0 {
		q.waiters = slices.Delete(q.waiters, i, i+1)
	} else if w.mode == Shared {
		q.shared--
	} else {
		q.exclusive = false
	}
	q.advance()
}

// advance grants the leases that are next in order, and forgets a name that
// nobody holds or waits for. The caller holds the mutex.
func (q *queue) advance() {
	for len(q.waiters) > 0 && q.admits(q.waiters[0].mode) {
		w := q.waiters[0]
		q.waiters[0] = nil
		q.waiters = q.waiters[1:]
		q.take(w.mode)
		close(w.granted)
	}
	if q.exclusive || q.shared > 0 || len(q.waiters) > 0 {
		return
	}
	s := q.shard
	delete(s.names, q.name)
	q.name, q.waiters = "", nil
	if len(s.idle) < maxIdleQueues {
		s.idle = append(s.idle, q)
	}
}

// localLease is a lease on the names of held.
type localLease struct {
	Scope
	session *localSession
	mode    Mode
	token   Token
	held    []*queue
	inline  [2]*queue // the room of held for up to two names
}

// Token implements Lease.
func (ls *localLease) Token() Token { return ls.token }

// Session implements Lease.
func (ls *localLease) Session() Session { return ls.session }

// Release implements Lease.
func (ls *localLease) Release() {
	if !ls.End() {
		return
	}
	for i := len(ls.held) - 1; i >= 0; i-- {
		ls.held[i].release(ls.mode)
	}
}

// localSession lives as long as its Local.
type localSession struct {
	id  string
	ctx context.Context
	end context.CancelFunc
}

func newLocalSession(generation uint32) *localSession {
	// The session is a root of its own: nothing that calls Acquire outlives it.
	ctx, end := context.WithCancel(context.Background()) //nolint:forbidigo // see above
	return &localSession{id: fmt.Sprintf("%08x-%s", generation, rand.Text()), ctx: ctx, end: end}
}

// ID implements Session.
func (s *localSession) ID() string { return s.id }

// Done implements Session.
func (s *localSession) Done() <-chan struct{} { return s.ctx.Done() }
