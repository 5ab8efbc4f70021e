package nasfs

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Where a phase is.
const (
	phaseIdle    int32 = iota
	phaseRunning       // fn is under way
	phaseOver          // fn has returned, and the caller is there
	phaseLeft          // the caller has left
)

// phase runs fn, a run of file system calls, in a slot of l. Its error is that
// of fn, or
//
//   - errNotStarted: no slot came free before ctx ended, or inode numbers are made
//     up (numbers), and fn will not run;
//   - errLeft: fn was still running when ctx ended. It goes on alone, and when
//     it has returned, late runs if it is not nil. What fn uses belongs to the
//     two of them from then on, so fn sets no named results of its caller, who
//     sets them too when he returns.
//
// Phases must not be nested: each could wait for the other's slot.
func (s *Store) phase(ctx context.Context, l *limit, fn func() error, late func()) error {
	s.lastUse.Store(s.ticks())
	if err := s.numbers.state(); err != nil {
		return errors.Join(errNotStarted, err)
	}
	if l.inline != nil {
		return l.run(ctx, fn)
	}
	var state atomic.Int32
	var result error
	_, err := vfs.Call(ctx, l.slots, func() (struct{}, error) {
		if !state.CompareAndSwap(phaseIdle, phaseRunning) {
			return struct{}{}, nil
		}
		result = fn()
		if !state.CompareAndSwap(phaseRunning, phaseOver) && late != nil {
			late()
		}
		return struct{}{}, nil
	}, nil)
	switch {
	case err == nil, state.Load() == phaseOver:
		return result
	case state.CompareAndSwap(phaseIdle, phaseLeft):
		return errors.Join(errNotStarted, err)
	case state.CompareAndSwap(phaseRunning, phaseLeft):
		return errors.Join(errLeft, err)
	}
	return result // it returned at the same time
}

// limit bounds phases: with goroutines of their own on a file system that may
// hang, otherwise in the goroutine of the caller, which is cheaper by half.
type limit struct {
	slots  *vfs.Limit
	inline chan struct{}
}

func newLimit(n int, detach bool) *limit {
	if detach {
		return &limit{slots: vfs.NewLimit(n)}
	}
	return &limit{inline: make(chan struct{}, n)}
}

// run runs fn inline.
func (l *limit) run(ctx context.Context, fn func() error) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	return fn()
}

func (l *limit) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return errors.Join(errNotStarted, context.Cause(ctx))
	}
	select {
	case l.inline <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.inline <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errors.Join(errNotStarted, context.Cause(ctx))
	}
}

func (l *limit) leave() { <-l.inline }

// outcome is the error of a phase that changes what others see: if it is still
// running, whether the change will have happened is not known.
func outcome(err error) error {
	if errors.Is(err, errLeft) {
		return unknown{err}
	}
	return err
}
