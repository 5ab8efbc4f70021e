package erasure

import (
	"sync"
	"time"
)

// ticks tell all who wait that some time has passed, with one timer: each timer that is the next to
// fire costs a wake-up of the thread that waits for all of them.
type ticks struct {
	mu   sync.Mutex
	next chan struct{}
}

// after returns a channel that is closed after some time, or earlier if others wait as well.
func (t *ticks) after(d time.Duration) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = make(chan struct{})
		time.AfterFunc(d, t.tick)
	}
	return t.next
}

func (t *ticks) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.next)
	t.next = nil
}
