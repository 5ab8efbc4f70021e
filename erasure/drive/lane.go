package drive

import (
	"fmt"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// hungAfter is how long nothing ends of what is inside a drive until it is asked nothing more:
// nobody waits any longer for what is inside.
const hungAfter = 10 * time.Second

// errHung says that the drive does not answer: nothing was done.
var errHung = fmt.Errorf("drive: it does not answer: %w", register.ErrUnknown)

// lane is calls of a kind that need the disk, and knows whether they end. A disk that hangs holds those that are
// inside for ever; further ones would wait for nothing, and have others wait.
type lane struct {
	mu     sync.Mutex
	inside int
	since  time.Time // when the last one has ended, or the first one begun
}

// enter returns nil if a call may begin, which ends with leave.
func (l *lane) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hangs() {
		return errHung
	}
	if l.inside == 0 {
		l.since = time.Now()
	}
	l.inside++
	return nil
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
	l.since = time.Now()
}

// hangs is called with mu held.
func (l *lane) hangs() bool { return l.inside > 0 && time.Since(l.since) > hungAfter }

func (l *lane) hung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hangs()
}

// enter has Close wait for a call until it leaves; l is nil for one that may take long, or
// does not wait for the disk. After an error nothing was done.
func (d *Drive) enter(l *lane) error {
	if err := d.entrance.enter(); err != nil || l == nil {
		return err
	}
	if err := l.enter(); err != nil {
		d.entrance.leave()
		return err
	}
	return nil
}

func (d *Drive) leave(l *lane) {
	if l != nil {
		l.leave()
	}
	d.entrance.leave()
}

// Hangs reports whether the drive is asked nothing more, since what it was asked does not end.
// When something ends it is asked again.
func (d *Drive) Hangs() bool { return d.reads.hung() || d.syncs.hung() }
