package vfs

import "errors"

// DirectAlign is what lengths, offsets and memory of direct writes are multiples of, in bytes.
const DirectAlign = 4096

// DirectWriter is implemented by a File whose file system may take what is written from the
// memory where it is, without a copy in the page cache.
type DirectWriter interface {
	// WriteDirect appends parts to what this File has written, one behind the other
	// (pwritev(2) with O_DIRECT). It returns ErrUnsupported, and has written nothing,
	// unless all memory, all lengths and what was written so far are multiples of
	// DirectAlign, and where the file system cannot do it: then Write does. What was written
	// is no more durable than by Write.
	WriteDirect(parts [][]byte) (int64, error)
}

// Append appends parts to what a File has written, by WriteDirect where that is possible.
func Append(f File, parts ...[]byte) (written int64, err error) {
	if d, ok := f.(DirectWriter); ok {
		if written, err = d.WriteDirect(parts); !errors.Is(err, ErrUnsupported) {
			return written, err
		}
		written = 0
	}
	for _, p := range parts {
		n, err := f.Write(p)
		if written += int64(n); err != nil {
			return written, err
		}
	}
	return written, nil
}
