package vfs

import (
	"errors"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direct says how a file is written to.
type direct uint8

const (
	buffered   direct = iota // through the page cache
	unbuffered               // past it: its descriptor has O_DIRECT
	never                    // the file system cannot do that
)

// WriteDirect implements DirectWriter.
func (f *osFile) WriteDirect(parts [][]byte) (int64, error) {
	release, err := f.use()
	if err != nil {
		return 0, f.fail("write", err)
	}
	defer release()
	if f.guarded != nil || f.written%DirectAlign != 0 || !aligned(parts) {
		return 0, ErrUnsupported
	}
	if err := f.setDirect(); err != nil {
		return 0, err
	}
	done := int64(0)
	for len(parts) > 0 {
		n, err := retry(func() (int, error) { return unix.Pwritev(f.fd, parts[:min(len(parts), maxParts)], f.written) })
		switch {
		case errors.Is(err, unix.EINVAL) && done == 0:
			if err := f.setBuffered(); err != nil {
				return 0, err
			}
			f.direct = never // its device wants more than DirectAlign
			return 0, ErrUnsupported
		case err == nil && n == 0:
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, f.fail("write", err)
		}
		done += int64(n)
		f.written += int64(n)
		parts = without(parts, n)
	}
	return done, nil
}

// maxParts is how many parts are given to the kernel at a time: it takes 1,024 (IOV_MAX).
const maxParts = 64

// aligned reports whether all parts can be written directly.
func aligned(parts [][]byte) bool {
	for _, p := range parts {
		if len(p) == 0 || len(p)%DirectAlign != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%DirectAlign != 0 { //nolint:gosec // looked at, not followed
			return false
		}
	}
	return true
}

// without returns the parts behind the first n bytes.
func without(parts [][]byte, n int) [][]byte {
	for n > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts = append([][]byte{parts[0][n:]}, parts[1:]...)
	}
	return parts
}

// setDirect has the descriptor be written to directly, or returns ErrUnsupported.
func (f *osFile) setDirect() error {
	switch f.direct {
	case unbuffered:
		return nil
	case never:
		return ErrUnsupported
	case buffered:
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, unix.O_DIRECT); err != nil { // its access mode stays
		f.direct = never
		return ErrUnsupported
	}
	f.direct = unbuffered
	return nil
}

// setBuffered has the descriptor be written to through the page cache.
func (f *osFile) setBuffered() error {
	if f.direct != unbuffered {
		return nil
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, 0); err != nil {
		return f.fail("write", err)
	}
	f.direct = buffered
	return nil
}
