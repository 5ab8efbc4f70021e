package drive

import (
	"sync"
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

// room knows whether there is room for more contents. It asks the disk once in a while.
type room struct {
	free func() (left, all uint64, err error) // nil: there is

	mu    sync.Mutex
	asked time.Time
	err   error
}

// check returns register.ErrFull if there is no room.
func (r *room) check() error {
	if r.free == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.asked) >= roomWindow {
		r.asked = now
		left, all, err := r.free()
		r.err = err
		if err == nil && left < max(leastFree, min(all/freeShare, mostFree)) {
			r.err = register.ErrFull
		}
	}
	return r.err
}
