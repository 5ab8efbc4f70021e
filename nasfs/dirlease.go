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

// lease has the directories of the tree be changed under leases of a fleet.
func (t *tree) lease(ctx context.Context, locker lock.Locker) error {
	t.making = makingLease(ctx, locker)
	root, err := vfs.Leased(t.bare, dirLease(ctx, locker))
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

// makingLeases grants leases on directories that are made: alone to who makes one, until all
// others must see it, and together to those who have put something into it and wait for that.
type makingLeases func(mode lock.Mode, paths ...string) (lock.Lease, error)

func makingLease(ctx context.Context, locker lock.Locker) makingLeases {
	return func(mode lock.Mode, paths ...string) (lock.Lease, error) {
		waiting, stop := context.WithTimeout(ctx, dirLeaseWait)
		defer stop()
		names := make([]string, len(paths))
		for i, path := range paths {
			names[i] = makingLock(path)
		}
		return locker.Acquire(waiting, mode, names...)
	}
}

// make makes a directory and makes that known, where it matters under its lease.
func (t *tree) make(path string, fn func() error) error {
	if !vfs.TellsByTime(t.root) {
		return fn()
	}
	held, err := t.making(lock.Exclusive, path)
	if err != nil {
		return err
	}
	defer held.Release()
	return fn()
}

// awaitMade waits until all gateways must see directories that are there.
func (t *tree) awaitMade(paths ...string) error {
	if len(paths) == 0 || !vfs.TellsByTime(t.root) {
		return nil
	}
	held, err := t.making(lock.Shared, paths...)
	if err != nil {
		return err
	}
	held.Release()
	return nil
}

func makingLock(path string) string { return "m/" + path }

func dirLock(inode uint64) string { return "d/" + strconv.FormatUint(inode, 16) }
