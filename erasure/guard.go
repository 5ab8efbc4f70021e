package erasure

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// How much of the process a drive that does not answer can take with it.
const (
	maxInside = 128                    // calls inside of it
	stall     = time.Second            // that none of these ends: then
	admission = 100 * time.Millisecond // is how long one is waited for
	shardTime = 2 * time.Second        // for the next piece of a shard, while others have theirs
)

// errHung says that a drive does not answer.
var errHung = errors.New("erasure: the drive does not answer")

// errFull says that a drive was not asked, since it has enough to do: nothing was done.
var errFull = fmt.Errorf("%w: as many calls wait for it as may: %w", errHung, register.ErrUnknown)

// guarded is a drive whose calls are left when their context ends: a disk that hangs holds
// what is inside of it for ever. When too many calls are, further ones fail at once.
type guarded struct {
	d      Drive
	inside chan struct{}
	begun  time.Time
	moved  *atomic.Int64 // when a call has ended, or began alone, in nanoseconds since begun
	calls  *calls
	stays  bool // calls are not left
}

// Guard returns a drive whose calls are left when their context ends, though what they do may
// never end, and which refuses further ones when too many do not.
func Guard(d Drive) Drive { return guard(d) }

// Bound is Guard for who can wait for a call that never ends: it is not left.
func Bound(d Drive) Drive { return guard(d).staying() }

func guard(d Drive) *guarded {
	return &guarded{d: d, inside: make(chan struct{}, maxInside), begun: time.Now(), moved: new(atomic.Int64), calls: new(calls)}
}

// staying returns the drive for those who make each call in a goroutine that nobody waits for, so
// that it takes no other one.
func (g *guarded) staying() *guarded {
	s := *g
	s.stays = true
	return &s
}

// enter makes a call.
func enter[T any](ctx context.Context, g *guarded, o op, call func() (T, error)) (T, error) {
	var none T
	if err := g.admit(ctx); err != nil {
		return none, err
	}
	if g.stays {
		return within(g, o, call)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := within(g, o, call)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, errors.Join(errHung, context.Cause(ctx))
	}
}

// admit waits until there is room for a call: of a drive that is slow as long as its calls end, and of
// one that hangs not long. After an error the drive was not asked.
func (g *guarded) admit(ctx context.Context) error {
	select {
	case g.inside <- struct{}{}:
		if len(g.inside) == 1 {
			g.move()
		}
		return nil
	default:
	}
	look := time.NewTicker(admission)
	defer look.Stop()
	for {
		select {
		case g.inside <- struct{}{}:
			return nil
		case <-look.C:
			if time.Since(g.begun)-time.Duration(g.moved.Load()) > stall {
				g.calls.refused[reasonHung].Add(1)
				return errFull
			}
		case <-ctx.Done():
			return errors.Join(errFull, context.Cause(ctx))
		}
	}
}

func (g *guarded) move() { g.moved.Store(int64(time.Since(g.begun))) }

// within makes a call that was admitted.
func within[T any](g *guarded, o op, call func() (T, error)) (T, error) {
	defer func() {
		g.move()
		<-g.inside
	}()
	begun := time.Now()
	v, err := call()
	g.calls.note(o, time.Since(begun), err)
	return v, err
}

func enterErr(ctx context.Context, g *guarded, o op, call func() error) error {
	_, err := enter(ctx, g, o, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Inner returns the drive to heal: one that is new as it is, but guarded.
func (g *guarded) Inner() Drive {
	if w, ok := g.d.(wrapped); ok {
		return &guarded{d: w.Inner(), inside: g.inside, begun: g.begun, moved: g.moved, calls: g.calls, stays: g.stays}
	}
	return g
}

// Commit implements Drive.
func (g *guarded) Commit(ctx context.Context, c register.Change) error {
	return enterErr(ctx, g, opCommit, func() error { return g.d.Commit(ctx, c) })
}

// Promise implements Drive.
func (g *guarded) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return enter(ctx, g, opPromise, func() (register.View, error) { return g.d.Promise(ctx, t, q) })
}

// Read implements Drive.
func (g *guarded) Read(ctx context.Context, q register.Query) (register.View, error) {
	return enter(ctx, g, opRead, func() (register.View, error) { return g.d.Read(ctx, q) })
}

// Decide implements Drive.
func (g *guarded) Decide(ctx context.Context, all []register.Decision) error {
	return enterErr(ctx, g, opDecide, func() error { return g.d.Decide(ctx, all) })
}

// Scan implements Drive.
func (g *guarded) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	return enter(ctx, g, opScan, func() (register.ScanPage, error) { return g.d.Scan(ctx, q) })
}

// Pending implements Drive.
func (g *guarded) Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error) {
	return enter(ctx, g, opPending, func() (register.ScanPage, error) { return g.d.Pending(ctx, q) })
}

// Create implements Drive. The writer is left by who waits for it (shard.Writer).
func (g *guarded) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	return enter(ctx, g, opCreate, func() (register.ShardWriter, error) { return g.d.Create(ctx, id, size) })
}

// ReadShard implements Drive.
func (g *guarded) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	return enter(ctx, g, opReadShard, func() (int, error) { return g.d.ReadShard(ctx, id, offset, p) })
}

// Drop implements Drive.
func (g *guarded) Drop(ctx context.Context, id register.DataID) error {
	return enterErr(ctx, g, opDrop, func() error { return g.d.Drop(ctx, id) })
}

// Since implements Drive.
func (g *guarded) Since(ctx context.Context, epoch uint64) error {
	return enterErr(ctx, g, opSince, func() error { return g.d.Since(ctx, epoch) })
}

// Install implements Drive.
func (g *guarded) Install(ctx context.Context, key register.Key, r register.Record, t register.Token) (bool, error) {
	return enter(ctx, g, opInstall, func() (bool, error) { return g.d.Install(ctx, key, r, t) })
}

// Close implements Drive. It does not wait for ever.
func (g *guarded) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime) //nolint:forbidigo // closing has no caller that waits
	defer cancel()
	return enterErr(ctx, g, opClose, g.d.Close)
}
