package nasfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// Sessions is a Locker whose session can end while the process lives, and is
// followed by another one. Before a session begins its directory is made, below
// that of its generation; when it has ended the directory is emptied and
// removed before any lease of it passes on.
type Sessions interface {
	lock.Locker
	// AwaitSession returns a session that has not ended, and waits for one until
	// ctx ends.
	AwaitSession(ctx context.Context) (lock.Session, error)
	// Refused returns why there can be no session for now, nil if that is not known: the file system
	// is full or read-only, or does not let this process in.
	Refused() error
}

// Fleet is an object.Store over a tree that gateways in other processes serve
// at the same time, each by a Fleet of its own. It is a Copier, Renamer and
// Health as well. Its methods may be called concurrently, but for Close.
//
// An operation lives in one session. If that ends before the operation has
// changed anything, it fails with Unavailable. While there is no session, what
// changes something waits for one until its context ends, or fails as soon as it is known that
// the file system lets it have none; what only reads needs none, but on NFS to find that a key is missing.
type Fleet struct {
	*tree
	sessions Sessions
	stop     context.CancelFunc
	followed chan struct{} // closed when follow has returned
	closed   sync.Once

	mu      sync.Mutex
	current *tenure
	fresh   chan struct{} // closed when current is another
}

// tenure is the Store of one session.
type tenure struct {
	*Store
	users int           // operations under way; guarded by Fleet.mu
	swept chan struct{} // closed when the session's sweep is over
}

func newTenure(s *Store) *tenure { return &tenure{Store: s, swept: make(chan struct{})} }

var (
	_ object.Store   = (*Fleet)(nil)
	_ object.Copier  = (*Fleet)(nil)
	_ object.Renamer = (*Fleet)(nil)
	_ object.Health  = (*Fleet)(nil)
	_ object.Giver   = (*Fleet)(nil)
	_ object.Judge   = (*Fleet)(nil)

	_ object.Configured = (*Fleet)(nil)
)

// OpenFleet makes the tree ready for a fleet and returns this process's part of
// it. It waits for the first session until ctx ends, and refuses what Open does,
// but not a tree that others serve: who serves one alone must not at the same
// time.
func OpenFleet(ctx context.Context, cfg Config, sessions Sessions) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	t, err := openTree(cfg, func(path string) (vfs.Dir, error) { return vfs.OpenShared(path, vfs.Sharing{Mode: vfs.Direct}) })
	if err != nil {
		return nil, err
	}
	t.fleet = true
	first := &Store{tree: t}
	if err = t.lease(context.WithoutCancel(ctx), sessions); err == nil {
		err = first.begin()
	}
	if err == nil {
		err = first.join(ctx, sessions)
	}
	if err != nil {
		first.abandonOpen()
		return nil, object.E("open", cfg.Path, kindOf(err), err)
	}
	f := &Fleet{tree: t, sessions: sessions, followed: make(chan struct{}), fresh: make(chan struct{}), current: newTenure(first)}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	first.startReaper()
	t.health.start(t, f.probe)
	go f.follow(background)
	if !cfg.Unswept {
		go f.sweepAll(background)
	}
	return f, nil
}

// LetGo is what other processes of this host that use the same mount ask for before they
// replace the file at a path of the tree (vfs.LetGo).
func (f *Fleet) LetGo(path string) (done func()) {
	f.mu.Lock()
	t := f.current
	t.users++
	f.mu.Unlock()
	defer f.leave(t)
	return vfs.LetGo(f.root, path, t.session, t.tempName("k"))
}

// join makes s the Store of the first session in which the tree can be opened.
func (s *Store) join(ctx context.Context, sessions Sessions) error {
	for {
		session, err := sessions.AwaitSession(ctx)
		if err != nil {
			return errors.Join(errNoSession, err)
		}
		err = s.joinIn(ctx, bound{sessions, session})
		if err == nil || !isOver(session) {
			return err
		}
		if s.session != nil {
			closeDir(s.session)
			s.session = nil
		}
	}
}

func (s *Store) joinIn(ctx context.Context, b bound) (err error) {
	s.locker = b
	if s.session, err = s.openSession(b.session.ID()); err != nil {
		return err
	}
	if err := errors.Join(s.proveReads(), s.proveFiles(s.cfg.Files), s.proveNames()); err != nil {
		return err
	}
	if err := s.loadFacts(); err != nil {
		return err
	}
	f, err := s.agreeFormat(ctx)
	if err != nil {
		return err
	}
	if err := s.chooseMetadata(&f); err != nil {
		return err
	}
	s.useNames(f)
	s.deployment, s.base = f.Deployment, f.Generation
	s.shareBeliefs()
	if err := s.loadStamped(); err != nil {
		return err
	}
	return s.tellFacts(ctx)
}

// followPause is how long follow waits where a session's directory cannot be
// opened.
const followPause = 100 * time.Millisecond

// follow goes from one session to the next until ctx ends.
func (f *Fleet) follow(ctx context.Context) {
	defer close(f.followed)
	for {
		// The first time this is the session that was joined.
		session, err := f.sessions.AwaitSession(ctx)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Warn("there will be no more sessions", "error", err)
			}
			return
		}
		var pause <-chan time.Time
		if err := f.enter(session); err != nil {
			f.log.Warn("the directory of a session cannot be opened", "session", session.ID(), "error", err)
			pause = time.After(followPause)
		}
		select {
		case <-session.Done():
		case <-pause:
		case <-ctx.Done():
			return
		}
	}
}

// enter makes a session the one that operations live in from now on.
func (f *Fleet) enter(session lock.Session) error {
	f.mu.Lock()
	same := f.current.locker.Session().ID() == session.ID()
	f.mu.Unlock()
	if same {
		return nil
	}
	dir, err := f.openSession(session.ID())
	if err != nil {
		return err
	}
	s := &Store{tree: f.tree, locker: bound{f.sessions, session}, session: dir}
	if err := s.lookAgain(); err != nil {
		closeDir(dir)
		return err
	}
	next := newTenure(s)
	f.mu.Lock()
	last := f.current
	idle := last.users == 0
	f.current = next
	close(f.fresh)
	f.fresh = make(chan struct{})
	f.mu.Unlock()
	if idle {
		closeDir(last.session)
	}
	f.log.Info("this gateway goes on in another session", "session", session.ID())
	return nil
}

// lookAgain finds out what has become of the tree since the session before: while there was none a process may
// have served it alone.
func (s *Store) lookAgain() error {
	if err := s.loadFacts(); err != nil {
		return err
	}
	f, err := readFormat(s.root)
	if err != nil {
		return err
	}
	s.base = f.Generation
	return s.loadStamped()
}

// sweepAll sweeps once in each session, until ctx ends.
func (f *Fleet) sweepAll(ctx context.Context) {
	for {
		f.mu.Lock()
		t, again := f.current, f.fresh
		t.users++
		f.mu.Unlock()
		if err := t.sweep(ctx); err != nil && ctx.Err() == nil && !isOver(t.locker.Session()) {
			f.log.Warn("what other gateways left half done is left to the next session", "error", err)
		}
		close(t.swept)
		f.leave(t)
		select {
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// Ready returns nil while changes need not wait for a session.
func (f *Fleet) Ready() error {
	f.mu.Lock()
	over := isOver(f.current.locker.Session())
	f.mu.Unlock()
	if !over {
		return nil
	}
	return object.E("look for a session", f.cfg.Path, object.Unavailable, cmp.Or(f.sessions.Refused(), errNoSession))
}

// refusedPace is how often what waits for a session asks whether it can have one.
const refusedPace = 250 * time.Millisecond

// read returns the Store of the last session, which may have ended.
func (f *Fleet) read() *tenure {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current.users++
	return f.current
}

// write returns the Store of a session that has not ended.
func (f *Fleet) write(ctx context.Context) (*tenure, error) {
	for {
		f.mu.Lock()
		t, again := f.current, f.fresh
		if !isOver(t.locker.Session()) {
			t.users++
			f.mu.Unlock()
			return t, nil
		}
		f.mu.Unlock()
		if why := f.sessions.Refused(); errors.Is(why, fs.ErrPermission) {
			return nil, object.E("look for a session", f.cfg.Path, object.Unavailable, why) // it is not the client who may not
		} else if why != nil {
			return nil, fmt.Errorf("this gateway can have no session: %w", why)
		}
		select {
		case <-again:
		case <-time.After(refusedPace):
		case <-ctx.Done():
			return nil, errors.Join(errNoSession, context.Cause(ctx))
		}
	}
}

// leave is to be called when an operation has returned. The last one of a
// session that was replaced closes its directory.
func (f *Fleet) leave(t *tenure) {
	f.mu.Lock()
	t.users--
	last := t.users == 0 && t != f.current
	f.mu.Unlock()
	if last {
		closeDir(t.session)
	}
}

// probe is what Healthy goes by. That there is no session says nothing of the
// file system.
func (f *Fleet) probe(write bool) error {
	t := f.read()
	defer f.leave(t)
	return t.probe(write && !isOver(t.locker.Session()))
}

// Close frees what OpenFleet opened. The session stays its owner's to end. The
// caller sees to it that no other method runs. It waits for what is being
// cleaned up, but no longer than Config.CloseTimeout.
func (f *Fleet) Close() error {
	var err error
	f.closed.Do(func() { err = f.shut() })
	return err
}

func (f *Fleet) shut() error {
	f.stop()
	f.health.stop()
	done := make(chan error, 1)
	go func() {
		f.reaper.stop()
		<-f.health.done
		<-f.followed
		closeDir(f.current.session)
		done <- fail("close", "", f.close())
	}()
	return f.await(done)
}
