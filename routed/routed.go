// Package routed is a Store that the gateways of a fleet serve in turns: each
// bucket by one of them at a time. It is for file systems whose clients cannot be
// made to see at once what other clients have changed. There a bucket is touched
// through the client of its owner alone; the others pass their calls on to it,
// over connections that package remote speaks on.
package routed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/remote"
	"github.com/shoal-storage/shoal/raftlock"
)

// Fleet knows who is to own what. *raftlock.Node is one, and its documentation
// holds for all.
type Fleet interface {
	lock.Locker
	Owner(name string) (raftlock.Owner, <-chan struct{})
	Live(session string) bool
	Prove(ctx context.Context, s lock.Session) error
}

// Config is what New needs.
type Config struct {
	// Store is this gateway's view of the storage. It stays the caller's to close,
	// after the routed Store.
	Store object.Store
	Fleet Fleet
	// Dial connects to a node at an address, where Serve is called.
	Dial func(ctx context.Context, address, node string) (net.Conn, error)
	// Settle returns for how long after a change the client of any gateway may
	// show what was before, unless it made the change itself.
	Settle func() time.Duration
	Drain  time.Duration
	Logger *slog.Logger
}

// Sweeper is implemented by a Store that has something to bring to an end in a
// bucket that another gateway has left.
type Sweeper interface {
	Sweep(ctx context.Context, bucket string) error
}

// How long a call waits, and how often it looks whether it need not any longer.
const (
	ownerWait  = 15 * time.Second // for an owner that answers
	againAfter = 50 * time.Millisecond
)

// errNoOwner is why a call is not served.
var errNoOwner = errors.New("no gateway is known to serve the bucket now")

// Store is an object.Store, Copier, Renamer and Health, in front of a Store that
// is all of that. All methods may be called concurrently.
//
// A call for a bucket that nobody serves now waits, and then fails with
// Unavailable. The creation and the deletion of a bucket take as long as its
// change takes to show to all gateways.
type Store struct {
	cfg    Config
	own    *owned
	server *remote.Server
	ctx    context.Context
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu    sync.Mutex
	peers map[string]*remote.Client // by session
}

var (
	_ object.Store   = (*Store)(nil)
	_ object.Copier  = (*Store)(nil)
	_ object.Renamer = (*Store)(nil)
	_ object.Health  = (*Store)(nil)
	_ object.Giver   = (*Store)(nil)

	_ object.Configured = (*Store)(nil)
)

// New returns a Store that goes on in the background until Close.
func New(ctx context.Context, cfg Config) *Store {
	s := &Store{cfg: cfg, peers: make(map[string]*remote.Client)}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.own = newOwned(s.ctx, cfg)
	s.server = remote.NewServer(s.ctx, s.own)
	s.group.Go(s.follow)
	return s
}

// Retire gives up what this gateway owns: it goes on serving what others own, and
// sending what is open. It is to be called before the session of the fleet is
// given up, and Close after that, so that others wait for nothing but the next
// owner.
func (s *Store) Retire() { s.own.giveUp() }

// Close gives up what this gateway owns, and waits for Config.Drain until others
// have read what they have open here. The caller sees to it that no other method
// runs.
func (s *Store) Close() error {
	s.own.giveUp()
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Drain)
	defer cancel()
	s.server.Close(ctx)
	s.stop()
	s.group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, peer := range s.peers {
		_ = peer.Close() // it cannot fail
	}
	return nil
}

// Serve answers another gateway on a connection until it ends. What is not this
// gateway's is not passed on once more.
func (s *Store) Serve(conn net.Conn) { s.server.Serve(conn) }

// Prove implements object.Giver. All gateways have mounted the same.
func (s *Store) Prove(ctx context.Context, f object.Files) error {
	if g, ok := s.cfg.Store.(object.Giver); ok {
		return g.Prove(ctx, f)
	}
	return object.E("set up files", "", object.NotImplemented, nil)
}

// Configured implements object.Configured. The Store in front knows it of all
// gateways' buckets.
func (s *Store) Configured() bool {
	c, ok := s.cfg.Store.(object.Configured)
	return !ok || c.Configured()
}

// Known implements object.Configured.
func (s *Store) Known(bucket string) (object.Bucket, bool) {
	if c, ok := s.cfg.Store.(object.Configured); ok {
		return c.Known(bucket)
	}
	return object.Bucket{}, false
}

// Healthy implements object.Health.
func (s *Store) Healthy() error {
	if h, ok := s.cfg.Store.(object.Health); ok {
		return h.Healthy()
	}
	return nil
}

// follow gives up what has passed to others, and those who have gone, whenever
// owners change.
func (s *Store) follow() {
	for {
		_, moved := s.cfg.Fleet.Owner(leaseName("any"))
		s.own.review()
		s.mu.Lock()
		for session, peer := range s.peers {
			if !s.cfg.Fleet.Live(session) {
				delete(s.peers, session)
				_ = peer.Close() // it cannot fail
			}
		}
		s.mu.Unlock()
		select {
		case <-moved:
		case <-s.ctx.Done():
			return
		}
	}
}

// peer returns the Store of another gateway.
func (s *Store) peer(at raftlock.Owner) object.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	peer := s.peers[at.Session]
	if peer == nil {
		peer = remote.NewClient(s.ctx, func(ctx context.Context) (net.Conn, error) { return s.cfg.Dial(ctx, at.Address, at.Node) })
		s.peers[at.Session] = peer
	}
	return peer
}

// leaseName is the name of the lease that makes a gateway the owner of a bucket,
// once the slot of the name has made it the one that should be.
func leaseName(bucket string) string { return "r/" + bucket }

// on makes a call where its bucket is served.
func on[T any](ctx context.Context, s *Store, op, bucket string, do func(at object.Store) (T, error)) (T, error) {
	late := time.NewTimer(ownerWait + s.cfg.Settle())
	defer late.Stop()
	for {
		owner, moved := s.cfg.Fleet.Owner(leaseName(bucket))
		var v T
		err := errors.Join(remote.ErrAgain, errNoOwner)
		switch {
		case owner.Self:
			v, err = do(s.own)
		case owner.Session != "":
			v, err = do(s.peer(owner))
		}
		if !errors.Is(err, remote.ErrAgain) {
			return v, err
		}
		select {
		case <-moved:
		case <-time.After(againAfter):
		case <-late.C:
			return v, object.E(op, bucket, object.Unavailable, err)
		case <-ctx.Done():
			return v, object.E(op, bucket, object.Unavailable, errors.Join(context.Cause(ctx), err))
		}
	}
}

// onErr is on for calls that return nothing else.
func onErr(ctx context.Context, s *Store, op, bucket string, do func(at object.Store) error) error {
	_, err := on(ctx, s, op, bucket, func(at object.Store) (struct{}, error) { return struct{}{}, do(at) })
	return err
}
