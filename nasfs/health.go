package nasfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// health is what one prober finds out about the file system. It has at most
// one call under way, so a file system that hangs costs one thread here.
type health struct {
	lastOK  atomic.Int64 // ticks of the last success
	failure atomic.Pointer[error]
	quit    chan struct{}
	once    sync.Once
	done    chan struct{}
}

func (h *health) stop() { h.once.Do(func() { close(h.quit) }) }

// start has probe run now and then; write tells whether it is to write as well.
func (h *health) start(t *tree, probe func(write bool) error) {
	h.quit, h.done = make(chan struct{}), make(chan struct{})
	h.lastOK.Store(t.ticks())
	go h.watch(t, probe)
}

func (h *health) watch(t *tree, probe func(write bool) error) {
	defer close(h.done)
	ticker := time.NewTicker(t.cfg.ProbeInterval)
	defer ticker.Stop()
	lastWrite := int64(-1)
	for {
		select {
		case <-h.quit:
			return
		case <-ticker.C:
		}
		// Without requests since the last one a write would only keep an idle
		// disk from sleeping.
		used := t.lastUse.Load()
		if err := probe(used > lastWrite); err != nil {
			h.failure.Store(&err)
			continue
		}
		if used > lastWrite {
			lastWrite = used
		}
		h.failure.Store(nil)
		h.lastOK.Store(t.ticks())
	}
}

// probe looks at the root, and writes a file in the session. A full or
// read-only file system can be read: that is the requests' own to report.
func (s *Store) probe(write bool) error {
	if _, err := s.root.Stat(systemDir); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if err := s.numbersHold(); err != nil {
		return err
	}
	if !write {
		return nil
	}
	// The names are always the same: what a probe that failed has left the next
	// one takes away.
	const name, other = "h.0", "h.1"
	_, err := s.writeFile(s.session, name, []byte("probe"))
	if err == nil {
		err = s.session.Rename(name, s.session, other)
	}
	if err == nil {
		err = s.session.Remove(other)
	}
	if err = s.ofSession(err); takesNothing(err) || errors.Is(err, errFenced) {
		return nil
	}
	return err
}

// Healthy implements object.Health.
func (t *tree) Healthy() error {
	age := time.Duration(t.ticks() - t.health.lastOK.Load())
	if age <= t.cfg.ProbeTimeout {
		return nil
	}
	cause := fmt.Errorf("it was last seen to work %s ago", age.Round(time.Second))
	if failure := t.health.failure.Load(); failure != nil {
		cause = fmt.Errorf("%w: %w", cause, *failure)
	}
	return object.E("probe", t.cfg.Path, object.Unavailable, cause)
}
