package nasfs_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// world is a fleet of gateways in one process, over one tree. Its lock service
// keeps what package raftlock promises: no lease of a session passes on before
// the session's directory is gone.
type world struct {
	t          *testing.T
	mount      *mount.Mount
	generation uint32
	table      *table
	members    []*member
	gateways   []*nasfs.Fleet
	faults     []*vfs.Fault // what each gateway sees the tree through
	facts      facts
}

// facts are those of all gateways of a world.
type facts struct {
	known sync.Map

	mu        sync.Mutex
	count     uint64
	revisions map[string]uint64
	lost      error // why nobody hears of what is established
}

// Revision implements nasfs.Facts.
func (f *facts) Revision(record string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revisions[record]
}

// Change implements nasfs.Facts.
func (f *facts) Change(_ context.Context, record string) (func(context.Context, bool) error, error) {
	f.set(record, false)
	return func(_ context.Context, gone bool) error {
		f.set(record, !gone)
		return nil
	}, nil
}

func (f *facts) set(record string, stands bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.revisions == nil {
		f.revisions = make(map[string]uint64)
	}
	f.count++
	f.revisions[record] = 0
	if stands {
		f.revisions[record] = f.count
	}
}

// Holds implements nasfs.Facts.
func (f *facts) Holds(fact string) bool { _, ok := f.known.Load(fact); return ok }

// Establish implements nasfs.Facts.
func (f *facts) Establish(_ context.Context, fact string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost != nil {
		return f.lost
	}
	f.known.Store(fact, true)
	return nil
}

// lose has nobody hear of what is established, for that reason, or everybody again.
func (f *facts) lose(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = why
}

// fenceBefore fences the first gateway behind its back, just before its n-th rename
// or link until stop, which returns whether it came so far. tell tells the gateway.
func (w *world) fenceBefore(n int) (stop func() (reached bool), tell func()) {
	return w.overtakeBefore(n, func() {})
}

// overtakeBefore is fenceBefore, and has others do something before the call is made.
func (w *world) overtakeBefore(n int, others func()) (stop func() (reached bool), tell func()) {
	made, expired := 0, func() {}
	remove := w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op != vfs.OpRename && c.Op != vfs.OpLink {
			return nil
		}
		if made++; made == n {
			expired = w.members[0].expire()
			others()
		}
		return nil
	})
	stop = func() bool {
		remove()
		return made >= n
	}
	return stop, func() { expired() }
}

// swept waits until each gateway has swept what earlier sessions left.
func (w *world) swept() {
	for i, g := range w.gateways {
		nasfs.Swept(g, w.members[i].current().id)
	}
}

// newWorld opens n gateways, all at the same time, each with a configuration of
// its own from cfg.
func newWorld(t *testing.T, n int, cfg func() nasfs.Config) *world {
	t.Helper()
	w := &world{t: t, table: newTable(), gateways: make([]*nasfs.Fleet, n)}
	var err error
	if w.mount, err = mount.Open(t.Context(), cfg().Root, config(t, cfg().Root).Logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.mount.Close() }) // it has nothing to lose
	newest, err := w.mount.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.generation = newest.Number + 1
	if err := w.mount.Claim(t.Context(), w.generation, "test"); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range n {
		open := w.member(cfg())
		group.Go(func() { w.gateways[i] = open() })
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// member adds a member, and returns what opens its gateway; nil if that fails.
func (w *world) member(cfg nasfs.Config) (open func() *nasfs.Fleet) {
	m := &member{w: w, fresh: make(chan struct{})}
	w.members = append(w.members, m)
	m.begin()
	fault := vfs.NewFault(cfg.Root)
	w.faults = append(w.faults, fault)
	cfg.Root, cfg.Facts, cfg.Feed = fault.Root(), &w.facts, m
	return func() *nasfs.Fleet {
		f, err := nasfs.OpenFleet(w.t.Context(), cfg, m)
		if err != nil {
			w.t.Error(err)
			return nil
		}
		w.t.Cleanup(func() { w.close(f) })
		return f
	}
}

// close closes one gateway.
func (w *world) close(f *nasfs.Fleet) {
	if err := f.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

// fleetKinds are the trees that a fleet is tested on. Each function makes a
// tree, and returns what configures one gateway on it.
func fleetKinds() map[string]func(t *testing.T) func() nasfs.Config {
	shared := func(t *testing.T) func() nasfs.Config {
		dir := t.TempDir()
		return func() nasfs.Config {
			root, err := vfs.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = root.Close() }) // it has nothing to lose
			cfg := config(t, root)
			cfg.Durability = nasfs.Relaxed
			return cfg
		}
	}
	return withMounted(map[string]func(t *testing.T) func() nasfs.Config{
		"os": shared,
		"os with sidecars, detached": func(t *testing.T) func() nasfs.Config {
			make := shared(t)
			return func() nasfs.Config {
				cfg := make()
				cfg.Metadata, cfg.Detach = nasfs.Sidecar, nasfs.DetachAlways
				return cfg
			}
		},
		"memory as on SMB": func(t *testing.T) func() nasfs.Config {
			m := vfs.NewMemory(vfs.OfType("smb"))
			return func() nasfs.Config { return config(t, m.Root()) }
		},
		"memory": func(t *testing.T) func() nasfs.Config {
			m := vfs.NewMemory()
			return func() nasfs.Config { return config(t, m.Root()) }
		},
	}, sharedTree)
}

// lifetime is a session of the fake lock service.
type lifetime struct {
	id, dir string
	ctx     context.Context // what its leases' contexts end with
	end     context.CancelFunc
	zombie  atomic.Bool // the fleet has ended it, and the member does not know yet
	fenced  bool        // what it held has passed on; guarded by the table's mutex
}

func (s *lifetime) ID() string            { return s.id }
func (s *lifetime) Done() <-chan struct{} { return s.ctx.Done() }

// member is one gateway's part in the fake lock service: a nasfs.Sessions.
type member struct {
	w       *world
	mu      sync.Mutex
	session *lifetime
	refused error
	fresh   chan struct{}
}

// begin opens the next session.
func (m *member) begin() {
	s := &lifetime{dir: strings.ToLower(rand.Text())}
	s.id = fmt.Sprintf("%08x-%s", m.w.generation, s.dir)
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(m.w.t.Context()))
	if err := m.w.mount.Begin(m.w.t.Context(), m.w.generation, s.dir); err != nil {
		m.w.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = s
	close(m.fresh)
	m.fresh = make(chan struct{})
}

func (m *member) current() *lifetime {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session
}

// fence is what the fleet does with a session that has ended.
func (m *member) fence(s *lifetime) {
	if err := m.w.mount.Fence(m.w.t.Context(), m.w.generation, s.dir); err != nil {
		m.w.t.Errorf("fence: %v", err)
	}
	m.w.table.drop(s)
}

// lose ends the session in front of the member's eyes.
func (m *member) lose() {
	s := m.current()
	s.end()
	m.fence(s)
}

// expire ends the session behind the member's back, who goes on holding and
// granting itself leases until it is told by the function returned.
func (m *member) expire() (tell func()) {
	s := m.current()
	s.zombie.Store(true)
	m.fence(s)
	return s.end
}

// AwaitSession implements nasfs.Sessions.
func (m *member) AwaitSession(ctx context.Context) (lock.Session, error) {
	for {
		m.mu.Lock()
		s, again := m.session, m.fresh
		m.mu.Unlock()
		if s.ctx.Err() == nil {
			return s, nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Refused implements nasfs.Sessions.
func (m *member) Refused() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// refuse has the member know why it can have no session.
func (m *member) refuse(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = why
}

// Session implements lock.Locker.
func (m *member) Session() lock.Session { return m.current() }

// Acquire implements lock.Locker.
func (m *member) Acquire(ctx context.Context, mode lock.Mode, names ...string) (lock.Lease, error) {
	got, err := m.AwaitSession(ctx)
	if err != nil {
		return nil, err
	}
	s := got.(*lifetime)
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	l := &fakeLease{table: m.w.table, session: s, mode: mode}
	l.Begin(ctx, s.ctx)
	for _, name := range names {
		if err := m.w.table.take(ctx, l, name); err != nil {
			l.Release()
			return nil, err
		}
	}
	l.token = lock.Token{Generation: m.w.generation, Sequence: m.w.table.sequence.Add(1)}
	return l, nil
}

// table is who holds what.
type table struct {
	sequence atomic.Uint64
	mu       sync.Mutex
	names    map[string]*holders
	changed  chan struct{}                   // closed when something was given back
	ended    []string                        // the names that exclusive leases were on that were given back, in order
	gap      int                             // marks of before say nothing
	asked    func(l *fakeLease, name string) // unless nil, of each lease that is asked for
	untold   func() bool                     // whether a name is left out that is to be told of; nil: none is
}

type holders struct {
	leases  map[*fakeLease]bool
	waiting int // for an exclusive lease: those behind it wait too
}

func newTable() *table {
	return &table{names: make(map[string]*holders), changed: make(chan struct{})}
}

// take waits for one name. A zombie that was fenced is granted it at once, by
// itself: it does not know that others may have it by now.
func (t *table) take(ctx context.Context, l *fakeLease, name string) error {
	if t.asked != nil {
		t.asked(l, name)
	}
	waiting := 0
	defer func() { t.with(name, func(h *holders) { h.waiting -= waiting }) }()
	for {
		granted, again := false, (<-chan struct{})(nil)
		t.with(name, func(h *holders) {
			again = t.changed
			if l.session.fenced {
				granted = l.session.zombie.Load() // or else it is about to be told
				return
			}
			free := len(h.leases) == 0
			if l.mode == lock.Shared {
				free = h.waiting == 0 && !slices.ContainsFunc(keysOf(h.leases), func(o *fakeLease) bool { return o.mode == lock.Exclusive })
			}
			if granted = free; granted {
				h.leases[l] = true
			} else if l.mode == lock.Exclusive && waiting == 0 {
				waiting = 1
				h.waiting++
			}
		})
		if granted {
			return nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.session.ctx.Done():
			return lock.ErrLost
		}
	}
}

func (t *table) with(name string, do func(*holders)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.names[name]
	if h == nil {
		h = &holders{leases: make(map[*fakeLease]bool)}
		t.names[name] = h
	}
	do(h)
}

func keysOf(m map[*fakeLease]bool) []*fakeLease {
	keys := make([]*fakeLease, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// giveBack takes leases away from who holds them. The caller holds the mutex.
func (t *table) giveBack(which func(*fakeLease) bool) {
	for name, h := range t.names {
		for l := range h.leases {
			if !which(l) {
				continue
			}
			delete(h.leases, l)
			if l.mode == lock.Exclusive {
				t.ended = append(t.ended, name)
			}
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// drop gives back what a session holds that is fenced.
func (t *table) drop(s *lifetime) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.fenced = true
	t.giveBack(func(l *fakeLease) bool { return l.session == s })
}

type fakeLease struct {
	lock.Scope
	table   *table
	session *lifetime
	mode    lock.Mode
	token   lock.Token
}

func (l *fakeLease) Token() lock.Token     { return l.token }
func (l *fakeLease) Session() lock.Session { return l.session }

// Release gives the lease back, unless its session has ended: then the fence
// does.
func (l *fakeLease) Release() {
	if l.End() && l.session.ctx.Err() == nil {
		l.table.mu.Lock()
		defer l.table.mu.Unlock()
		l.table.giveBack(func(o *fakeLease) bool { return o == l })
	}
}

// robin is a Store whose calls go to one gateway after the other.
func (w *world) robin() object.Store {
	var gateways []object.Store
	for _, g := range w.gateways {
		gateways = append(gateways, g)
	}
	return objecttest.NewRobin(gateways...)
}

// is reports an error that is not of the kind.
func is(t *testing.T, what string, err error, want object.Kind) {
	t.Helper()
	if !errors.Is(err, want) || object.KindOf(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
