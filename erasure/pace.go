package erasure

import (
	"context"
	"io"
	"math"
	"sync"
	"time"
)

// MinHealRate is the least rate of healing but none, in bytes a second: slower than that a drive
// would be without what it lacks for so long that others may fail meanwhile.
const MinHealRate = 1 << 20

// recordCost is what a record counts for, in bytes: about what a drive writes for it.
const recordCost = 1 << 10

// How long is waited for the rate, at most: between two pieces of a shard no longer than that, since nodes
// give those up who send none for longer (package node). What is too early then is waited for
// before the next name.
const (
	maxPause = 10 * time.Second
	forever  = time.Duration(math.MaxInt64)
)

// pacer keeps passes that bring drives what they lack to a rate. What they write is a debt, which
// goes down as time goes by, and is waited for before they go on: so nobody waits who has begun
// what others wait for. Its methods may be called concurrently.
type pacer struct {
	now func() time.Time

	mu      sync.Mutex
	rate    int64         // bytes a second; 0: there is none
	debt    float64       // bytes
	at      time.Time     // when it was that
	changed chan struct{} // closed when the rate changes
}

func newPacer(now func() time.Time) *pacer { return &pacer{now: now, changed: make(chan struct{})} }

// set changes the rate. Who waits does so by the new one.
func (p *pacer) set(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	p.rate = rate
	close(p.changed)
	p.changed = make(chan struct{})
}

// settle brings the debt to what it is now.
func (p *pacer) settle() {
	now := p.now()
	if p.rate == 0 {
		p.debt = 0
	}
	p.debt = max(0, p.debt-now.Sub(p.at).Seconds()*float64(p.rate))
	p.at = now
}

// spend counts bytes that were written.
func (p *pacer) spend(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	p.debt += float64(n)
}

// left returns how long what was written takes at the rate that holds until changed is closed.
func (p *pacer) left() (wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	if p.debt > 0 && p.rate > 0 {
		wait = time.Duration(math.Ceil(p.debt / float64(p.rate) * float64(time.Second)))
	}
	return wait, p.changed
}

// wait waits until what was written is within the rate, or for so long.
func (p *pacer) wait(ctx context.Context, longest time.Duration) error {
	until := p.now().Add(longest)
	for {
		wait, changed := p.left()
		wait = min(wait, until.Sub(p.now()))
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// pacedWriter writes what a pass makes. Where nobody waits for it, it keeps to the rate from one piece
// to the next.
type pacedWriter struct {
	io.Writer
	ctx    context.Context //nolint:containedctx // of the pass
	pace   *pacer
	urgent bool // somebody waits
}

// Write implements io.Writer.
func (w *pacedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.pace.spend(int64(n))
	if err != nil || w.urgent {
		return n, err //nolint:wrapcheck // it is the shard's
	}
	return n, w.pace.wait(w.ctx, maxPause)
}

// SetHealRate has what passes write to drives that lack something be no more than so many bytes a
// second, of all passes of this Store together, from now on; 0: as much as goes. Passes that are
// under way keep to it. A shard that somebody may wait for, since its key is locked, is
// written at once, and counts before the next.
func (s *Store) SetHealRate(bytes int64) { s.pace.set(bytes) }

// HealRate returns that rate.
func (s *Store) HealRate() int64 {
	s.pace.mu.Lock()
	defer s.pace.mu.Unlock()
	return s.pace.rate
}
