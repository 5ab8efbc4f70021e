package routed

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object/remote"
)

// drainTime is how long what is under way in a bucket may go on when the bucket
// has passed to another gateway, which waits for it.
const drainTime = 2 * time.Second

// Why something cannot be done, or go on, in a bucket.
var (
	errNotOwner = errors.New("another gateway serves the bucket")
	errPassed   = errors.New("the bucket has passed to another gateway")
)

// tenure is a time in which this gateway owns a bucket. It has a lease that no
// other gateway has at the same time, and begins when it has had it for as long
// as the client of the file system here may show what was before.
type tenure struct {
	bucket string
	ctx    context.Context // done when the bucket must not be touched any more
	end    context.CancelCauseFunc
	begun  chan struct{} // closed when the bucket may be touched, or lease is nil
	lease  lock.Lease
	change chan struct{} // has room for the one that creates or deletes the bucket

	// Guarded by the mutex of tenures.
	users int
	over  bool          // no new calls
	gone  chan struct{} // closed when the lease is given back
	shown chan struct{} // closed when all gateways see what became of the bucket; nil: they do
}

// tenures are those of one gateway.
type tenures struct {
	cfg   Config
	ctx   context.Context
	group sync.WaitGroup

	mu      sync.Mutex
	ended   bool                            // no tenure begins any more
	current map[string]*tenure              // by bucket
	open    map[string]map[*handle]struct{} // by bucket: of whichever tenure
}

func newTenures(ctx context.Context, cfg Config) *tenures {
	return &tenures{cfg: cfg, ctx: ctx, current: make(map[string]*tenure), open: make(map[string]map[*handle]struct{})}
}

// enter waits until this gateway owns a bucket. The caller leaves the tenure when
// it is done. It returns ErrAgain where another gateway is to be the owner.
func (ts *tenures) enter(ctx context.Context, bucket string) (*tenure, error) {
	if owner, _ := ts.cfg.Fleet.Owner(leaseName(bucket)); !owner.Self {
		return nil, errors.Join(remote.ErrAgain, errNotOwner)
	}
	t := ts.join(bucket)
	if t == nil {
		return nil, errors.Join(remote.ErrAgain, errPassed)
	}
	select {
	case <-t.begun:
	case <-ctx.Done():
		ts.leave(t)
		return nil, errors.Join(remote.ErrAgain, context.Cause(ctx))
	}
	if !ts.goesOn(t) {
		ts.leave(t)
		return nil, errors.Join(remote.ErrAgain, errPassed, context.Cause(t.ctx))
	}
	return t, nil
}

// join returns the tenure of a bucket, which begins if there is none; nil once no
// more do.
func (ts *tenures) join(bucket string) *tenure {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.ended {
		return nil
	}
	t := ts.current[bucket]
	if t == nil {
		t = &tenure{bucket: bucket, begun: make(chan struct{}), change: make(chan struct{}, 1), users: 1, gone: make(chan struct{})}
		t.ctx, t.end = context.WithCancelCause(ts.ctx)
		ts.current[bucket] = t
		ts.group.Go(func() { ts.begin(t) })
	}
	t.users++
	return t
}

// leave is called by who has entered, or joined.
func (ts *tenures) leave(t *tenure) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.users--
	ts.settleUp(t)
}

// comeBack is enter for who has left. It reports whether the tenure goes on; the
// caller leaves it in any case.
func (ts *tenures) comeBack(t *tenure) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.users++
	return t.goesOn()
}

// goesOn reports whether something may be begun in a tenure.
func (ts *tenures) goesOn(t *tenure) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return t.goesOn()
}

// goesOn is that of tenures for who holds their mutex.
func (t *tenure) goesOn() bool { return !t.over && t.ctx.Err() == nil }

// settleUp gives the lease of a tenure back that is over. The caller holds mu.
func (ts *tenures) settleUp(t *tenure) {
	if !t.over || t.users > 0 {
		return
	}
	t.end(errPassed)
	if t.lease != nil {
		t.lease.Release()
	}
	select {
	case <-t.gone: // before, and somebody has come back
	default:
		close(t.gone)
	}
}

// retire lets no more calls into a tenure, those that wait for it to begin included, and ends
// those that take long.
func (ts *tenures) retire(t *tenure) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	if ts.current[t.bucket] == t {
		delete(ts.current, t.bucket)
	}
	select {
	case <-t.begun:
		time.AfterFunc(drainTime, func() { t.end(errPassed) })
	default:
		t.end(errPassed) // nobody has touched anything yet, and the next owner is waited for
	}
	ts.settleUp(t)
}

// begin makes a tenure begin: nobody else touches the bucket, nothing here has a
// file of it open from an earlier tenure, and then what the client of the file
// system remembers of it is waited out.
func (ts *tenures) begin(t *tenure) {
	defer ts.leave(t)
	defer close(t.begun)
	ts.breakOff(t.bucket)
	lease, err := ts.cfg.Fleet.Acquire(t.ctx, lock.Exclusive, leaseName(t.bucket))
	if err != nil {
		t.end(err)
		ts.retire(t)
		return
	}
	t.lease = lease
	context.AfterFunc(lease.Context(), func() {
		t.end(lock.ErrLost)
		ts.retire(t)
	})
	settled := time.NewTimer(ts.cfg.Settle())
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-t.ctx.Done():
		return
	}
	if s, ok := ts.cfg.Store.(Sweeper); ok {
		ts.mu.Lock()
		t.users++
		ts.mu.Unlock()
		ts.group.Go(func() {
			defer ts.leave(t)
			if err := s.Sweep(t.ctx, t.bucket); err != nil && t.ctx.Err() == nil {
				ts.cfg.Logger.Warn("what other gateways left half done is left to the next owner", "bucket", t.bucket, "error", err)
			}
		})
	}
}

// review retires the tenures of buckets that have passed to others.
func (ts *tenures) review() {
	ts.mu.Lock()
	var passed []*tenure
	for bucket, t := range ts.current {
		if owner, _ := ts.cfg.Fleet.Owner(leaseName(bucket)); !owner.Self {
			passed = append(passed, t)
		}
	}
	ts.mu.Unlock()
	for _, t := range passed {
		ts.retire(t)
	}
}

// giveUp waits until nothing is owned, and nothing will be.
func (ts *tenures) giveUp() {
	ts.mu.Lock()
	ts.ended = true
	all := slices.Collect(maps.Values(ts.current))
	ts.mu.Unlock()
	for _, t := range all {
		ts.retire(t)
	}
	for _, t := range all {
		<-t.gone
	}
	ts.group.Wait()
}

// scope returns ctx as long as the bucket may be touched.
func (t *tenure) scope(ctx context.Context) (context.Context, context.CancelFunc) {
	scope, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	return scope, func() {
		stop()
		cancel(nil)
	}
}

// transition makes or removes the bucket itself. Other gateways may see for a
// while that it is not, or still, there; until that is over nobody gets an answer
// that this one has found otherwise.
func (ts *tenures) transition(ctx context.Context, t *tenure, do func() (mayHaveChanged bool, err error)) error {
	select {
	case t.change <- struct{}{}:
		defer func() { <-t.change }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	shown := make(chan struct{})
	ts.mu.Lock()
	t.shown = shown
	ts.mu.Unlock()
	changed, err := do()
	if changed {
		time.Sleep(ts.cfg.Settle()) // whoever may have left: others wait for it too
	}
	ts.mu.Lock()
	t.shown = nil
	ts.mu.Unlock()
	close(shown)
	return err
}

// shown waits until all gateways see of the bucket what this one does.
func (ts *tenures) shown(ctx context.Context, t *tenure) error {
	ts.mu.Lock()
	shown := t.shown
	ts.mu.Unlock()
	if shown == nil {
		return nil
	}
	select {
	case <-shown:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
