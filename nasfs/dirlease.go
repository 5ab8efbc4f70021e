package nasfs

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// How long a lease on a directory is waited for, and how long it is held: a file system
// that hangs at one gateway must not keep the others from changing a directory.
const (
	dirLeaseWait = 15 * time.Second
	dirLeaseHold = 5 * time.Second
)

// errHeldTooLong says that the others did not wait for the holder of a lease.
var errHeldTooLong = errors.New("lease on a directory held for too long")

// lease has the directories of the tree be changed under leases.
func (t *tree) lease(lease vfs.Lease) error {
	root, err := vfs.Leased(t.bare, lease)
	if err != nil {
		return err
	}
	t.root = root
	if t.cfg.ReadRoot == nil {
		t.reads = root
	}
	return nil
}

// dirLease grants leases on directories (vfs.Leased) until ctx ends. They are the last
// that an operation takes: who holds one waits for a call into the file system, and for
// no other lease.
func dirLease(ctx context.Context, locker lock.Locker) vfs.Lease {
	return func(alone bool, dirs ...uint64) (func() error, error) {
		mode := lock.Shared
		if alone {
			mode = lock.Exclusive
		}
		names := make([]string, len(dirs))
		for i, inode := range dirs {
			names[i] = dirLock(inode)
		}
		waiting, stop := context.WithTimeout(ctx, dirLeaseWait)
		defer stop()
		held, err := locker.Acquire(waiting, mode, names...)
		if err != nil {
			return nil, err
		}
		tooLong := time.AfterFunc(dirLeaseHold, held.Release)
		return func() error {
			defer held.Release()
			switch {
			case !tooLong.Stop():
				return errors.Join(errHeldTooLong, vfs.ErrHung)
			case isOver(held.Session()):
				return lock.ErrLost
			}
			return nil
		}, nil
	}
}

func dirLock(inode uint64) string { return "d/" + strconv.FormatUint(inode, 16) }
