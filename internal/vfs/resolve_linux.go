package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// resolveBeneath is what openat2(2) is held to while it resolves a path.
const resolveBeneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// pathMax is the longest path that the kernel takes in one call, in bytes
// (PATH_MAX less its final NUL).
const pathMax = unix.PathMax - 1

// open resolves path beneath d and opens it with flags. A path longer than the
// kernel takes is walked in runs, through handles in between.
func (d *osDir) open(path string, flags int, perm uint32) (int, error) {
	if err := checkPath(path); err != nil {
		return -1, err
	}
	if err := d.enter(); err != nil {
		return -1, err
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	if d.tree.sharing != sharedKernel {
		return d.openShared(path, flags, perm)
	}
	at, opened := d.fd, -1
	for len(path) > pathMax {
		i := strings.LastIndexByte(path[:pathMax+1], '/')
		if i < 0 {
			i = strings.IndexByte(path, '/')
		}
		if i < 0 {
			break // one name, which the kernel will find too long
		}
		next, err := d.tree.openRun(at, path[:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		closePath(opened)
		if err != nil {
			return -1, err
		}
		at, opened, path = next, next, path[i+1:]
	}
	fd, err := d.tree.openRun(at, path, flags, perm)
	closePath(opened)
	return fd, err
}

// closePath closes a handle on the way to another, if there is one.
func closePath(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // a mere path: closing it cannot lose anything
	}
}

// movedTries is how often a path is tried of which the kernel says that it leads elsewhere
// (EXDEV). It looks at the end whether what it has found is beneath at still, and says so
// as well if somebody has just renamed that to another directory: a file that a gateway
// deletes, for one, goes to its session.
const movedTries = 10

// openRun opens a path of at most pathMax bytes beneath at.
func (t *tree) openRun(at int, path string, flags int, perm uint32) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_LARGEFILE // openat2 on a 32-bit kernel does not imply it
	}
	if t.noOpenat2 {
		return t.walk(at, path, flags, perm)
	}
	if flags&unix.O_DIRECTORY != 0 {
		flags &^= unix.O_NOFOLLOW // with both, a link at the end is ENOTDIR before it is ELOOP
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: resolveBeneath} //nolint:gosec // flags are not negative
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(perm)
	}
	for try := 1; ; try++ {
		fd, err := retry(func() (int, error) { return unix.Openat2(at, path, &how) })
		if try == movedTries || err != unix.EXDEV { //nolint:errorlint // a bare errno
			return fd, err
		}
	}
}

// walk is openRun where there is no openat2: one openat(2) for each name, none
// of which is allowed to be a symbolic link or lie on another device. Unlike
// openat2 it does not notice a bind mount of the same file system.
func (t *tree) walk(at int, path string, flags int, perm uint32) (int, error) {
	opened := -1
	for {
		name, rest, more := strings.Cut(path, "/")
		mode := flags
		if more {
			mode = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := t.step(at, name, mode, perm)
		closePath(opened)
		if err != nil || !more {
			return fd, err
		}
		at, opened, path = fd, fd, rest
	}
}

// step opens one name.
func (t *tree) step(at int, name string, flags int, perm uint32) (int, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(at, name, flags, perm) })
	var st unix.Stat_t
	if err != nil {
		// A link is ENOTDIR to O_DIRECTORY; openat2 says ELOOP, and so do we.
		if err == unix.ENOTDIR && unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK { //nolint:errorlint // a bare errno
			return -1, unix.ELOOP
		}
		return -1, err
	}
	if err = unix.Fstat(fd, &st); err == nil && uint64(st.Dev) != t.dev { //nolint:unconvert // 32 bits wide on some architectures
		err = unix.EXDEV
	}
	if err != nil {
		closePath(fd)
		return -1, err
	}
	return fd, nil
}
