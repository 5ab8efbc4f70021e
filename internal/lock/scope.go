package lock

import (
	"context"
	"sync"
)

// Scope is the life of a lease as a context, for implementations of Locker. The
// context is made when it is first asked for: it costs more than a lease.
type Scope struct {
	parent  context.Context
	session context.Context
	mu      sync.Mutex
	ended   bool
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stop    func() bool
}

// Begin begins the scope of a lease that is granted to parent within a session.
func (s *Scope) Begin(parent, session context.Context) { s.parent, s.session = parent, session }

// Context returns a context that is done when parent is, when the session is
// (cause ErrLost), and after End.
func (s *Scope) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx != nil {
		return s.ctx
	}
	s.ctx, s.cancel = context.WithCancelCause(s.parent)
	cancel := s.cancel
	if s.ended {
		cancel(context.Canceled)
		return s.ctx
	}
	if s.session.Err() != nil {
		// AfterFunc would cancel from another goroutine, a moment too late for
		// a caller that asks at once.
		cancel(ErrLost)
		return s.ctx
	}
	s.stop = context.AfterFunc(s.session, func() { cancel(ErrLost) })
	return s.ctx
}

// End ends the scope. It reports whether this was the first time.
func (s *Scope) End() bool {
	s.mu.Lock()
	done, cancel, stop := s.ended, s.cancel, s.stop
	s.ended = true
	s.mu.Unlock()
	if done {
		return false
	}
	if stop != nil {
		stop()
	}
	if cancel != nil {
		cancel(context.Canceled)
	}
	return true
}
