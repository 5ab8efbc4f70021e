package format

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// The ballast is a file without a use but its room: where something else has filled a disk to the
// last byte nothing could be opened on it, not even to read or to delete. A drive is opened with
// what that gives back, and has it again when there is room. CockroachDB does so by hand.
const (
	ballastName  = "ballast"
	ballastMost  = 64 << 20 // bytes; what the store of a drive may write when it is opened is less
	ballastShare = 16       // of a small disk
	// ballastFree is how many times its size is to be free for it to be made.
	ballastFree = 4
)

// ballastOf returns the size of the ballast of a disk, in bytes.
func ballastOf(u vfs.Usage) uint64 { return min(ballastMost, u.Total/ballastShare) }

// lighten removes the ballast in a system directory where the disk has less left than half of that.
func lighten(dir vfs.Dir) error {
	u, err := dir.Usage()
	if err != nil || u.Free >= ballastOf(u)/2 {
		return nil //nolint:nilerr // that the disk is of no use shows otherwise
	}
	if err := dir.Remove(ballastName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give the ballast back: %w", err)
	}
	return nil
}

// ballast is that of an open drive.
type ballast struct {
	dir vfs.Dir
	log *slog.Logger

	mu     sync.Mutex
	loaded bool // or there cannot be any
}

// room returns how much room the disk has, in bytes, and takes of it for the ballast.
func (b *ballast) room() (left, all uint64, err error) {
	u, err := b.dir.Usage()
	if err == nil {
		b.load(u)
	}
	return u.Free, u.Total, err
}

// load makes the ballast if it is not there and the disk, of which u tells, has enough room.
func (b *ballast) load(u vfs.Usage) {
	if !b.mu.TryLock() {
		return // somebody else does
	}
	defer b.mu.Unlock()
	size := ballastOf(u)
	if b.loaded {
		return
	}
	st, err := b.dir.Stat(ballastName)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size == 0 { // its making was cut off
		if u.Free/ballastFree < size {
			return
		}
		err = b.make(int64(size)) //nolint:gosec // ballastMost at most
	}
	if err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		b.log.Warn("no room could be kept for when something else fills the disk", "error", err)
	}
	b.loaded = true
}

func (b *ballast) make(size int64) error {
	f, err := b.dir.Create(ballastName, 0o600)
	if err != nil {
		return err
	}
	err = vfs.ErrUnsupported
	if a, ok := f.(vfs.Allocator); ok {
		err = a.Allocate(size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, b.dir.Remove(ballastName))
	}
	return nil
}
