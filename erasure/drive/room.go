package drive

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// What a disk keeps free, so that records can be written when it is full: deletions above
// all, which make room. The store of a drive that cannot write is lost until the next start.
const (
	leastFree  = 64 << 20 // bytes, at least,
	freeShare  = 50       // a share of the disk,
	mostFree   = 1 << 30  // bytes, at most
	roomWindow = time.Second
)

// room knows whether there is room for more contents. It asks the disk once in a while, and adds up what was
// written since, and what is going to be.
type room struct {
	free func() (left, all uint64, err error) // nil: there is

	mu       sync.Mutex
	asked    time.Time
	err      error // of that
	left     int64 // bytes that contents may take, as the disk has said, without those that were written since
	promised int64 // bytes of these that are kept for contents that are being written
}

// promise keeps n bytes free for a content. It returns register.ErrFull if there is not so much room.
func (r *room) promise(n int64) error {
	if r.free == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.asked) >= roomWindow {
		r.asked = now
		var left, all uint64
		if left, all, r.err = r.free(); r.err == nil {
			r.left = int64(min(left, math.MaxInt64)) - int64(max(leastFree, min(all/freeShare, mostFree))) //nolint:gosec // both are bounded
		}
	}
	switch {
	case r.err != nil:
		return r.err
	case r.left-r.promised < max(n, 1):
		return register.ErrFull
	}
	r.promised += n
	return nil
}

// spend says that so much of what was promised has been written.
func (r *room) spend(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promised -= n
	r.left -= n
}

// settle ends a promise of which rest is not spent, for a content of which the disk has more than was spent.
func (r *room) settle(rest, more int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promised -= rest
	r.left -= more
}

// asFull returns an error of a disk that takes nothing more as what it is to whoever writes.
func asFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", register.ErrFull, err)
	}
	return err
}
