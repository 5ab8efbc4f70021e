package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Flock implements Flocker.
func (f *osFile) Flock() error {
	release, err := f.use()
	if err != nil {
		return f.fail("flock", err)
	}
	defer release()
	err = retryErr(func() error { return unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EACCES): // which SMB says
		return f.fail("flock", ErrLocked)
	case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return f.fail("flock", &classed{ErrUnsupported, err})
	}
	return f.fail("flock", err)
}
