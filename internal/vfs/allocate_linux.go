package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Allocate implements Allocator.
func (f *osFile) Allocate(n int64) error {
	release, err := f.use()
	if err != nil {
		return f.fail("allocate", err)
	}
	defer release()
	err = retryErr(func() error { return unix.Fallocate(f.fd, 0, 0, n) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return f.fail("allocate", &classed{ErrUnsupported, err})
	}
	return f.fail("allocate", err)
}
