package vfs

import "errors"

// ErrLocked is returned by Flock while another open file has the lock.
var ErrLocked = errors.New("locked by another process")

// Flocker is implemented by a File whose file system has locks that belong to
// the open file and end with it, whatever ends the process.
type Flocker interface {
	// Flock takes the file's exclusive lock until Close, without waiting, as
	// flock(2) does: ErrLocked if another open file has it, ErrUnsupported
	// where there are no such locks.
	Flock() error
}
