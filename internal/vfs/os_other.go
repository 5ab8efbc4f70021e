//go:build !linux

package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// OpenRoot opens the directory that path names as the root of a tree. The
// caller closes it.
//
// Outside Linux this is os.Root, which keeps every path inside the tree but is
// weaker in three things: a directory handle is a path from the root and not
// the directory itself, a symbolic link that is put in place of a directory
// during a call may be followed inside the tree, and there are no attributes.
func OpenRoot(path string) (Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	return &osDir{root: root, base: ".", top: true}, nil
}

// PathOf returns a path that leads to an open directory wherever it is by now: there is none
// here.
func PathOf(Dir) (string, error) { return "", ErrUnsupported }

// OpenShared is OpenRoot for a tree that other clients of its file server change
// at the same time. Outside Linux nothing is known of what they show, and nothing
// done about it.
func OpenShared(path string, how Sharing) (Dir, error) {
	if how.Mode == Routed {
		return nil, &IncoherentError{"nothing is known here of what clients of file servers remember", "use Linux for gateways that route"}
	}
	return OpenRoot(path)
}

// IsRouted reports whether a root that OpenShared opened is to be Routed, and for
// how long after a change another client of it may show what was before.
func IsRouted(Dir) (stale time.Duration, routed bool) { return 0, false }

// NumbersHold returns an error if it is known that the inode numbers of a root are not
// those of its file server. Here it never is.
func NumbersHold(Dir) error { return nil }

type osDir struct {
	root   *os.Root
	base   string // of this directory, from the root
	top    bool   // closes root
	closed atomic.Bool
}

// full returns path from the root, after looking at each element: none may be
// a symbolic link, but for the last if leaf says so.
func (d *osDir) full(path string, leaf bool) (string, error) {
	if d.closed.Load() {
		return "", fs.ErrClosed
	}
	if err := checkPath(path); err != nil {
		return "", err
	}
	if path == "." {
		return d.base, nil
	}
	at := d.base
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if at == "." {
			at = name
		} else {
			at += "/" + name
		}
		if !more && leaf {
			break
		}
		fi, err := d.root.Lstat(at)
		if err != nil && (more || !errors.Is(err, fs.ErrNotExist)) {
			return "", err
		}
		if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
			return "", syscall.ELOOP
		}
	}
	return at, nil
}

// OpenDir implements Dir.
func (d *osDir) OpenDir(path string) (Dir, error) {
	at, err := d.full(path, false)
	if err != nil {
		return nil, pathError("open directory", path, err)
	}
	fi, err := d.root.Lstat(at)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, pathError("open directory", path, syscall.ENOTDIR)
	}
	return &osDir{root: d.root, base: at}, nil
}

// Open implements Dir.
func (d *osDir) Open(path string) (File, error) { return d.open("open", path, os.O_RDONLY|nonBlock, 0) }

// Create implements Dir.
func (d *osDir) Create(name string, perm fs.FileMode) (File, error) {
	if err := checkName(name); err != nil {
		return nil, pathError("create", name, err)
	}
	return d.open("create", name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|nonBlock, perm.Perm())
}

func (d *osDir) open(op, path string, flags int, perm fs.FileMode) (File, error) {
	at, err := d.full(path, false)
	if err != nil {
		return nil, pathError(op, path, err)
	}
	f, err := d.root.OpenFile(at, flags, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Mkdir implements Dir.
func (d *osDir) Mkdir(path string, perm fs.FileMode) error {
	return d.do("make directory", path, func(at string) error { return d.root.Mkdir(at, perm.Perm()) })
}

// Rename implements Dir.
func (d *osDir) Rename(oldname string, to Dir, newname string) error {
	return d.pair("rename", oldname, to, newname, d.root.Rename)
}

// Link implements Dir.
func (d *osDir) Link(oldname string, to Dir, newname string) error {
	return d.pair("link", oldname, to, newname, d.root.Link)
}

func (d *osDir) pair(op, oldname string, to Dir, newname string, call func(from, into string) error) error {
	other, ok := to.(*osDir)
	if !ok || other.root != d.root {
		return pathError(op, newname, syscall.EXDEV)
	}
	if err := errors.Join(checkName(oldname), checkName(newname)); err != nil {
		return pathError(op, oldname, err)
	}
	return d.do(op, oldname, func(from string) error {
		return other.do(op, newname, func(into string) error { return call(from, into) })
	})
}

// Remove implements Dir.
func (d *osDir) Remove(name string) error { return d.remove("remove", name, false) }

// Rmdir implements Dir.
func (d *osDir) Rmdir(name string) error { return d.remove("remove directory", name, true) }

func (d *osDir) remove(op, name string, dir bool) error {
	if err := checkName(name); err != nil {
		return pathError(op, name, err)
	}
	return d.do(op, name, func(at string) error {
		fi, err := d.root.Lstat(at)
		switch {
		case err != nil:
			return err
		case dir && !fi.IsDir():
			return syscall.ENOTDIR
		case !dir && fi.IsDir():
			return syscall.EISDIR
		}
		return d.root.Remove(at)
	})
}

func (d *osDir) do(op, path string, call func(at string) error) error {
	at, err := d.full(path, true)
	if err == nil {
		err = call(at)
	}
	if err != nil {
		return pathError(op, path, err)
	}
	return nil
}

// Stat implements Dir.
func (d *osDir) Stat(path string) (Stat, error) {
	at, err := d.full(path, true)
	if err != nil {
		return Stat{}, pathError("stat", path, err)
	}
	fi, err := d.root.Lstat(at)
	if err != nil {
		return Stat{}, err
	}
	return fromFileInfo(fi), nil
}

// ReadDir implements Dir.
func (d *osDir) ReadDir() ([]Entry, error) {
	at, err := d.full(".", false)
	if err != nil {
		return nil, pathError("read directory", ".", err)
	}
	f, err := d.root.Open(at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // open for reading: nothing to lose
	list, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, e := range list {
		entries = append(entries, Entry{Name: e.Name(), Type: e.Type()})
	}
	return entries, nil
}

// Usage implements Dir: what there is without statfs(2).
func (d *osDir) Usage() (Usage, error) { return Usage{}, pathError("statfs", ".", ErrUnsupported) }

// Chown implements Dir.
func (d *osDir) Chown(int, int) error { return pathError("chown", ".", ErrUnsupported) }

// Chmod implements Dir.
func (d *osDir) Chmod(fs.FileMode) error { return pathError("chmod", ".", ErrUnsupported) }

// Sync implements Dir.
func (d *osDir) Sync() error {
	at, err := d.full(".", false)
	if err != nil {
		return pathError("sync directory", ".", err)
	}
	f, err := d.root.Open(at)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // open for reading: nothing to lose
	return syncDir(f)
}

// Close implements Dir.
func (d *osDir) Close() error {
	if d.closed.Swap(true) {
		return pathError("close", ".", fs.ErrClosed)
	}
	if d.top {
		return d.root.Close()
	}
	return nil
}

type osFile struct{ *os.File }

// Send implements File.
func (f *osFile) Send(w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 {
		return 0, pathError("send", f.Name(), syscall.EINVAL)
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	sent, err := io.Copy(w, &io.LimitedReader{R: f.File, N: n})
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return sent, err
}

// CopyFrom implements File.
func (f *osFile) CopyFrom(File, int64, int64) (int64, error) {
	return 0, pathError("copy", f.Name(), ErrUnsupported)
}

// Stat implements File.
func (f *osFile) Stat() (Stat, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return Stat{}, err
	}
	return fromFileInfo(fi), nil
}

// Getxattr implements File.
func (f *osFile) Getxattr(string) ([]byte, error) {
	return nil, pathError("getxattr", f.Name(), ErrUnsupported)
}

// Setxattr implements File.
func (f *osFile) Setxattr(string, []byte) error {
	return pathError("setxattr", f.Name(), ErrUnsupported)
}
