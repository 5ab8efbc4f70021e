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
	tightBelow = 4        // times that are left for contents: what was deleted goes sooner
	roomWindow = time.Second
)

// room knows whether there is room for more contents. It asks the disk once in a while, and adds up what was
// written since, and what is going to be. Who asks holds no lock: a disk may hang.
type room struct {
	free  func() (left, all uint64, err error) // nil: there is
	tight func(bool)                           // hears whether there is little

	mu       sync.Mutex
	known    bool // the disk has answered
	asking   bool
	asked    time.Time
	err      error // that it answered by
	limit    int64 // what spent may come to
	spent    int64 // bytes that were written since the drive was opened
	promised int64 // bytes that are going to be
}

// promise keeps n bytes free for a content. It returns register.ErrFull if there is not so much room.
func (r *room) promise(n int64) error {
	if r.free == nil {
		return nil
	}
	r.look()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return r.err
	case r.limit-r.spent-r.promised < max(n, 1):
		return register.ErrFull
	}
	r.promised += n
	return nil
}

// look asks the disk if that is due, and nobody does so; whoever is there before the first answer asks himself.
func (r *room) look() {
	r.mu.Lock()
	due := !r.known || !r.asking && time.Since(r.asked) >= roomWindow
	before := r.spent // what comes after this the disk may not know
	r.asking = r.asking || due
	r.mu.Unlock()
	if !due {
		return
	}
	left, all, err := r.free()
	kept := int64(max(leastFree, min(all/freeShare, mostFree))) //nolint:gosec // it is bounded
	room := int64(min(left, math.MaxInt64/2)) - kept            //nolint:gosec // it is bounded
	r.tight(err == nil && room < tightBelow*kept)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.asking, r.asked, r.err = true, false, time.Now(), err
	if err == nil {
		r.limit = before + room
	}
}

// settle ends a promise, or a part of it, for which so much was written.
func (r *room) settle(promised, written int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free != nil {
		r.promised -= promised
		r.spent += written
	}
}

// asFull returns an error of a disk that takes nothing more as what it is to whoever writes.
func asFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", register.ErrFull, err)
	}
	return err
}
