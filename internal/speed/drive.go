package speed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// MaxBlock bounds what is written and read at once, in bytes.
const MaxBlock = 16 << 20

// filePrefix is what the name of the file begins with that a drive is tested with.
const filePrefix = ".shoal.speedtest."

// Drive writes a file to a directory and reads it, past the page cache where that is possible, and
// returns how many bytes a second that makes. The file is durable when it counts as written, and
// removed at the end.
func Drive(ctx context.Context, dir vfs.Dir, block, size int64, now func() time.Time) (written, read float64, err error) {
	if block < vfs.DirectAlign || block > MaxBlock || block%vfs.DirectAlign != 0 {
		return 0, 0, fmt.Errorf("speed: a block must have %d to %d bytes, a multiple of the former", vfs.DirectAlign, MaxBlock)
	}
	if size < block || size > MaxSize {
		return 0, 0, fmt.Errorf("speed: a file must have a block to %d bytes", MaxSize)
	}
	name := filePrefix + strings.ToLower(rand.Text()[:12])
	f, err := dir.Create(name, 0o600)
	if err != nil {
		return 0, 0, fmt.Errorf("make a file: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Remove(name)) }()
	begun := now()
	n, err := fill(ctx, f, block, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, 0, fmt.Errorf("write a file: %w", err)
	}
	written = float64(n) / max(now().Sub(begun).Seconds(), 1e-9)
	begun = now()
	if n, err = drain(ctx, dir, name, block); err != nil {
		return written, 0, fmt.Errorf("read a file: %w", err)
	}
	return written, float64(n) / max(now().Sub(begun).Seconds(), 1e-9), nil
}

// fill writes whole blocks until there are as many bytes as may be, and makes them durable.
func fill(ctx context.Context, f vfs.File, block, size int64) (n int64, err error) {
	content := make([]byte, block)
	_, _ = rand.Read(content) // it cannot fail
	for n+block <= size {
		if err := ctx.Err(); err != nil {
			return n, err //nolint:wrapcheck // of the caller
		}
		if _, err := vfs.Append(f, content); err != nil {
			return n, err //nolint:wrapcheck // it names the file
		}
		n += block
	}
	return n, f.Sync() //nolint:wrapcheck // it names the file
}

// drain reads a file.
func drain(ctx context.Context, dir vfs.Dir, name string, block int64) (n int64, err error) {
	f, err := dir.Open(name)
	if err != nil {
		return 0, err //nolint:wrapcheck // it names the file
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := make([]byte, block)
	for {
		if err := ctx.Err(); err != nil {
			return n, err //nolint:wrapcheck // of the caller
		}
		got, err := f.ReadAt(buffer, n)
		n += int64(got)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err //nolint:wrapcheck // it names the file
		}
	}
}
