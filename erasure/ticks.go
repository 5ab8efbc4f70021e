package erasure

import (
	"sync/atomic"
	"time"
)

// ticks tell all who wait that some time has passed, with one timer: each timer that is the next to
// fire costs a wake-up of the thread that waits for all of them.
type ticks struct{ next atomic.Pointer[tick] }

type tick struct{ over chan struct{} }

// after returns a channel that is closed after some time, or earlier if others wait as well.
func (t *ticks) after(d time.Duration) <-chan struct{} {
	for {
		if next := t.next.Load(); next != nil {
			return next.over
		}
		next := &tick{make(chan struct{})}
		if t.next.CompareAndSwap(nil, next) {
			time.AfterFunc(d, func() {
				t.next.Store(nil)
				close(next.over)
			})
			return next.over
		}
	}
}
