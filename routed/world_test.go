package routed_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/raftlock"
	"github.com/shoal-storage/shoal/routed"
)

// world is gateways over one storage, each of which sees it through a client that
// remembers. Its fleet keeps what package raftlock promises: no lease of a session
// passes on before it was fenced.
type world struct {
	t        *testing.T
	mu       sync.Mutex
	moved    chan struct{}
	owners   map[string]int // members, by bucket; others are spread
	held     map[string]*lease
	members  []*member
	gateways []*routed.Store
}

// member is one gateway's part in the fleet.
type member struct {
	world   *world
	index   int
	view    *view
	session *session
	frozen  bool // it does not notice what happens
	thinks  map[string]bool
}

type session struct {
	id     string
	ctx    context.Context
	end    context.CancelCauseFunc
	fenced bool
}

func (s *session) ID() string            { return s.id }
func (s *session) Done() <-chan struct{} { return s.ctx.Done() }

func newWorld(t *testing.T, n int, settle time.Duration) *world {
	w := &world{t: t, moved: make(chan struct{}), owners: make(map[string]int), held: make(map[string]*lease)}
	storage := objecttest.NewMemory()
	for i := range n {
		m := &member{world: w, index: i, thinks: make(map[string]bool)}
		m.view = &view{Store: storage, member: m, remembers: settle, seen: make(map[string]memory)}
		m.begin()
		w.members = append(w.members, m)
	}
	for _, m := range w.members {
		g := routed.New(t.Context(), routed.Config{
			Store: m.view, Fleet: m, Dial: w.dial, Settle: func() time.Duration { return settle },
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		w.gateways = append(w.gateways, g)
	}
	t.Cleanup(func() {
		for _, g := range w.gateways {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *world) robin() *objecttest.Robin {
	var gateways []object.Store
	for _, g := range w.gateways {
		gateways = append(gateways, g)
	}
	return objecttest.NewRobin(gateways...)
}

// dial connects to a gateway, whose node is its index.
func (w *world) dial(_ context.Context, _, node string) (net.Conn, error) {
	for i, g := range w.gateways {
		if fmt.Sprint(i) == node {
			here, there := net.Pipe()
			go g.Serve(there)
			return here, nil
		}
	}
	return nil, errors.New("no such node")
}

func (w *world) ownerOf(bucket string) int {
	if i, set := w.owners[bucket]; set {
		return i
	}
	h := fnv.New32a()
	h.Write([]byte(bucket))
	return int(h.Sum32()) % len(w.members)
}

// move makes a member the owner of a bucket.
func (w *world) move(bucket string, to int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		m.thinks[bucket] = w.ownerOf(bucket) == m.index // as it was, for who does not notice
	}
	w.owners[bucket] = to
	w.changed()
}

// changed ends the waits. The caller holds mu.
func (w *world) changed() {
	close(w.moved)
	w.moved = make(chan struct{})
}

// freeze has a member notice nothing more, until it is thawed.
func (w *world) freeze(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[i].frozen = true
}

// fence ends a member's session: nothing of it is committed any more, and what it
// held is free.
func (w *world) fence(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[i]
	m.session.fenced = true
	for name, l := range w.held {
		if l.session == m.session {
			delete(w.held, name)
		}
	}
	w.changed()
}

// thaw has a member notice what has happened, and go on in another session.
func (w *world) thaw(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[i]
	m.frozen = false
	if m.session.fenced {
		m.session.end(lock.ErrLost)
		m.begin()
	}
	w.changed()
}

func (m *member) begin() {
	m.session = &session{id: fmt.Sprintf("%d-%s", m.index, time.Now())}
	m.session.ctx, m.session.end = context.WithCancelCause(m.world.t.Context())
}

// Owner implements routed.Fleet.
func (m *member) Owner(name string) (raftlock.Owner, <-chan struct{}) {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	bucket := strings.TrimPrefix(name, "r/")
	owner := m.world.ownerOf(bucket)
	self := owner == m.index
	if m.frozen && m.thinks[bucket] {
		owner, self = m.index, true
	}
	return raftlock.Owner{Session: m.world.members[owner].session.id, Node: fmt.Sprint(owner), Self: self}, m.world.moved
}

// Live implements routed.Fleet.
func (m *member) Live(id string) bool {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	for _, other := range m.world.members {
		if other.session.id == id {
			return !other.session.fenced
		}
	}
	return false
}

// Prove implements routed.Fleet.
func (m *member) Prove(_ context.Context, s lock.Session) error {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	if s.(*session).fenced {
		return lock.ErrLost
	}
	return nil
}

// Session implements lock.Locker.
func (m *member) Session() lock.Session {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	return m.session
}

// lease is an exclusive lease on one name.
type lease struct {
	lock.Scope
	member  *member
	session *session
	name    string
}

// Acquire implements lock.Locker, for one name.
func (m *member) Acquire(ctx context.Context, _ lock.Mode, names ...string) (lock.Lease, error) {
	w := m.world
	for {
		w.mu.Lock()
		again := w.moved
		if w.held[names[0]] == nil {
			l := &lease{member: m, session: m.session, name: names[0]}
			l.Begin(ctx, m.session.ctx)
			w.held[l.name] = l
			w.mu.Unlock()
			return l, nil
		}
		w.mu.Unlock()
		select {
		case <-again:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *lease) Token() lock.Token     { return lock.Token{} }
func (l *lease) Session() lock.Session { return l.session }

func (l *lease) Release() {
	if !l.End() {
		return
	}
	w := l.member.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[l.name] == l {
		delete(w.held, l.name)
	}
	w.changed()
}

// view is the storage as one client shows it: what it has seen it goes on showing
// for a time, unless it changes it itself. What is done in a session that was
// fenced does not happen.
type view struct {
	object.Store
	member    *member
	remembers time.Duration
	beforePut func() // nil: nothing
	mu        sync.Mutex
	seen      map[string]memory
}

// memory is what a client has seen under a name.
type memory struct {
	until time.Time
	info  object.Info
	made  object.Handle
	all   []object.Bucket
	err   error
}

func (v *view) recall(name string, look func() (memory, error)) (memory, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m, known := v.seen[name]
	if !known || !time.Now().Before(m.until) {
		m, m.err = look()
		m.until = time.Now().Add(v.remembers)
		v.seen[name] = m
	}
	return m, m.err
}

// changes does what changes all that is remembered, which here is much less than
// in a real client.
func (v *view) changes(do func() error) error {
	v.member.world.mu.Lock()
	fenced := v.member.session.fenced
	v.member.world.mu.Unlock()
	if fenced {
		return object.E("change", "", object.Unavailable, errors.New("fenced"))
	}
	err := do()
	v.mu.Lock()
	clear(v.seen)
	v.mu.Unlock()
	return err
}

func (v *view) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	m, err := v.recall("o/"+ref.Bucket+"/"+ref.Key+"/"+ref.Version, func() (m memory, err error) {
		m.info, err = v.Store.Stat(ctx, ref)
		return m, err
	})
	return m.info, err
}

func (v *view) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	m, err := v.recall("h/"+ref.Bucket+"/"+ref.Key+"/"+ref.Version, func() (m memory, err error) {
		m.made, err = v.Store.Open(ctx, ref)
		return m, err
	})
	return m.made, err
}

func (v *view) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	m, err := v.recall("all", func() (m memory, err error) {
		m.all, err = v.Store.ListBuckets(ctx)
		return m, err
	})
	return slices.Clone(m.all), err
}

func (v *view) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	m, err := v.recall("b/"+name, func() (m memory, err error) {
		_, err = v.Store.StatBucket(ctx, name)
		return m, err
	})
	if err != nil {
		return object.Bucket{}, err
	}
	b, err := v.Store.StatBucket(ctx, name)
	if m.err == nil && err != nil {
		return object.Bucket{Name: name}, nil
	}
	return b, err
}

// check has a Check see what the client remembers.
func (v *view) check(ctx context.Context, ref object.Ref, check object.Check) object.Check {
	if check == nil {
		return nil
	}
	v.mu.Lock()
	m, known := v.seen["o/"+ref.Bucket+"/"+ref.Key+"/"+ref.Version]
	v.mu.Unlock()
	return func(current *object.Info) error {
		if known && time.Now().Before(m.until) {
			if current = &m.info; m.err != nil {
				current = nil
			}
		}
		return check(current)
	}
}

func (v *view) CreateBucket(ctx context.Context, b object.Bucket) error {
	return v.changes(func() error { return v.Store.CreateBucket(ctx, b) })
}

func (v *view) DeleteBucket(ctx context.Context, name string) error {
	return v.changes(func() error { return v.Store.DeleteBucket(ctx, name) })
}

func (v *view) Put(ctx context.Context, ref object.Ref, in object.PutInput) (info object.Info, err error) {
	if v.beforePut != nil {
		v.beforePut()
	}
	in.Check = v.check(ctx, ref, in.Check)
	err = v.changes(func() (err error) {
		info, err = v.Store.Put(ctx, ref, in)
		return err
	})
	return info, err
}

func (v *view) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (info object.Info, err error) {
	err = v.changes(func() (err error) {
		info, err = v.Store.Update(ctx, ref, fn)
		return err
	})
	return info, err
}

func (v *view) Delete(ctx context.Context, ref object.Ref, check object.Check) (done object.Deleted, err error) {
	err = v.changes(func() (err error) {
		done, err = v.Store.Delete(ctx, ref, v.check(ctx, ref, check))
		return err
	})
	return done, err
}

func (v *view) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (info object.Info, err error) {
	err = v.changes(func() (err error) {
		info, err = v.Store.(object.Copier).Copy(ctx, src, dst, in)
		return err
	})
	return info, err
}

func (v *view) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	return v.changes(func() error { return v.Store.(object.Renamer).Rename(ctx, src, dst, in) })
}

func (v *view) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (info object.Info, err error) {
	err = v.changes(func() (err error) {
		info, err = v.Store.CompleteUpload(ctx, ref, in)
		return err
	})
	return info, err
}
