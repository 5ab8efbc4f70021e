package nasfs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// Outcomes that functions of this package tell one another.
var (
	errNoKey      = errors.New("no such object")
	errAgain      = errors.New("the tree changed meanwhile")
	errNotStarted = errors.New("the call was not begun")
	errLeft       = errors.New("still inside the file system at the deadline")
	errNoSession  = errors.New("no session before the deadline")
	errFenced     = errors.New("the session of this gateway was ended")
)

// unknown is an error after which it is not known whether the change happened.
type unknown struct{ cause error }

func (u unknown) Error() string { return u.cause.Error() }
func (u unknown) Unwrap() error { return u.cause }

// fail classes an error of the file system, and wraps it with what was done to
// what. An error that carries a Kind already keeps it.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[unknown](err); ok {
		return object.E(op, name, object.Unknown, err)
	}
	if _, ok := errors.AsType[*object.Error](err); ok {
		return err
	}
	if kind, ok := errors.AsType[object.Kind](err); ok {
		return object.E(op, name, kind, err)
	}
	return object.E(op, name, kindOf(err), err)
}

// kindOf returns the Kind of an error of the file system.
func kindOf(err error) object.Kind {
	for _, c := range []struct {
		err  error
		kind object.Kind
	}{
		{vfs.ErrHung, object.Unavailable},
		{vfs.ErrNumbers, object.Unavailable},
		{errNotStarted, object.Unavailable},
		{errLeft, object.Unavailable},
		{context.Canceled, object.Unavailable},
		{context.DeadlineExceeded, object.Unavailable},
		{lock.ErrLost, object.Unavailable},
		{errNoSession, object.Unavailable},
		{errFenced, object.Unavailable},
		{syscall.ESTALE, object.Unavailable},
		{syscall.EMFILE, object.Unavailable},
		{syscall.ENFILE, object.Unavailable},
		{syscall.ETIMEDOUT, object.Unavailable},
		{errAgain, object.Conflict},
		{syscall.EBUSY, object.Conflict},
		{syscall.ETXTBSY, object.Conflict},
		{errNoKey, object.NoSuchKey},
		{syscall.ENOSPC, object.Full},
		{syscall.EDQUOT, object.Full},
		{syscall.EROFS, object.ReadOnly},
		{fs.ErrPermission, object.AccessDenied},
		{syscall.ENAMETOOLONG, object.BadName},
	} {
		if errors.Is(err, c.err) {
			return c.kind
		}
	}
	return object.Internal
}

// isAbsent reports whether an error says that a path names nothing that could
// be an object: not there, below what is no directory, or a symbolic link,
// socket or device without a driver.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) ||
		errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV)
}

// isGone reports whether an error says that a name, or the directory that a
// handle leads to, is not there.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE)
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// takesNothing reports whether a file system refuses what is new. It can be read.
func takesNothing(err error) bool { return isFull(err) || errors.Is(err, syscall.EROFS) }

// isTaken reports whether an error of a rename or link says that there is a
// directory of the name.
func isTaken(err error) bool {
	return errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}

// noLinks reports whether an error of a link says that the file system has no
// hard links. Linux answers EPERM there (link(2)).
func noLinks(err error) bool {
	return errors.Is(err, vfs.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}

// staleTries is how often an operation that met a stale handle is tried again, and
// staleWait how long after the first of them. Each further one waits twice as long as
// the one before, which is half a second in all.
const (
	staleTries = 10
	staleWait  = time.Millisecond
)

// retryStale runs fn again while it meets handles that the file server no
// longer knows, as after a rename or restart there, or because other gateways remove
// directories and make them again. What may have happened is not
// tried again: a Check would then see its own change.
func retryStale[T any](fn func() (T, error)) (T, error) {
	for try, wait := 1, staleWait; ; try, wait = try+1, 2*wait {
		v, err := fn()
		if try == staleTries || isUnknown(err) || !errors.Is(err, syscall.ESTALE) {
			return v, err
		}
		time.Sleep(wait)
	}
}

// retryStaleErr is retryStale for what returns nothing else.
func retryStaleErr(fn func() error) error {
	_, err := retryStale(func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

// isMount reports whether an error says that a path leads to another file
// system.
func isMount(err error) bool { return errors.Is(err, syscall.EXDEV) }
