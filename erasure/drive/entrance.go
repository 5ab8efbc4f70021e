package drive

import (
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// errClosed says that a drive or its store is closed: nothing was done.
var errClosed = fmt.Errorf("drive: it is closed: %w", register.ErrUnknown)

// entrance lets calls in until it is closed.
type entrance struct {
	mu     sync.RWMutex
	closed bool
	inside sync.WaitGroup
}

// enter returns nil if the call may begin, which ends with leave.
func (e *entrance) enter() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return errClosed
	}
	e.inside.Add(1)
	return nil
}

func (e *entrance) leave() { e.inside.Done() }

// shut lets nobody in any more, and drain waits for those that are inside.
func (e *entrance) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
}

func (e *entrance) drain() { e.inside.Wait() }
