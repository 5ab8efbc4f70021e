package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
)

// memFile is a handle of a file in a Memory.
type memFile struct {
	m        *Memory
	n        *node
	epoch    int
	name     string
	written  int64
	writable bool
	closed   bool
}

func (f *memFile) fail(op string, err error) error { return pathError(op, f.name, err) }

// enter locks the file system for one call, which ends with m.mu.Unlock.
func (f *memFile) enter(op string) error {
	f.m.mu.Lock()
	err := fs.ErrClosed
	switch {
	case f.closed:
	case f.epoch != f.m.epoch:
		err = syscall.ESTALE
	default:
		return nil
	}
	f.m.mu.Unlock()
	return f.fail(op, err)
}

// content returns the bytes of the file as they are now.
func (f *memFile) content(op string) ([]byte, error) {
	if err := f.enter(op); err != nil {
		return nil, err
	}
	defer f.m.mu.Unlock()
	switch {
	case f.n.mode.IsDir():
		return nil, f.fail(op, syscall.EISDIR)
	case !f.n.mode.IsRegular():
		return nil, f.fail(op, syscall.ESPIPE)
	}
	return f.n.live.data, nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	data, err := f.content("read")
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.fail("read", syscall.EINVAL)
	}
	n := copy(p, data[min(off, int64(len(data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements File.
func (f *memFile) Write(p []byte) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if !f.writable {
		return 0, f.fail("write", syscall.EBADF)
	}
	f.append(p)
	return len(p), nil
}

// append writes at the handle's position. Bytes that are there already are
// copied and not changed.
func (f *memFile) append(p []byte) {
	c := &f.n.live
	if f.written < int64(len(c.data)) {
		tail := c.data[min(f.written+int64(len(p)), int64(len(c.data))):]
		c.data = slices.Concat(c.data[:f.written], p, tail)
		f.n.rewrote = true
	} else {
		c.data = append(c.data, make([]byte, f.written-int64(len(c.data)))...)
		c.data = append(c.data, p...)
	}
	f.written += int64(len(p))
	c.mtime = f.m.tick()
	f.n.ctime = c.mtime
}

// Send implements File.
func (f *memFile) Send(w io.Writer, off, n int64) (int64, error) {
	data, err := f.content("send")
	if err != nil {
		return 0, err
	}
	if off < 0 || n < 0 {
		return 0, f.fail("send", syscall.EINVAL)
	}
	data = data[min(off, int64(len(data))):]
	short := int64(len(data)) < n
	sent, err := w.Write(data[:min(n, int64(len(data)))])
	if err == nil && short {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return int64(sent), f.fail("send", err)
	}
	return int64(sent), nil
}

// CopyFrom implements File.
func (f *memFile) CopyFrom(src File, off, n int64) (int64, error) {
	from, ok := src.(*memFile)
	if !ok || from.m != f.m || f.m.noClone {
		return 0, f.fail("copy", ErrUnsupported)
	}
	data, err := from.content("copy")
	if err != nil {
		return 0, err
	}
	if off < 0 || n < 0 {
		return 0, f.fail("copy", syscall.EINVAL)
	}
	data = data[min(off, int64(len(data))):]
	short := int64(len(data)) < n
	got, err := f.Write(data[:min(n, int64(len(data)))])
	if err == nil && short {
		err = f.fail("copy", io.ErrUnexpectedEOF)
	}
	return int64(got), err
}

// Stat implements File.
func (f *memFile) Stat() (Stat, error) {
	if err := f.enter("stat"); err != nil {
		return Stat{}, err
	}
	defer f.m.mu.Unlock()
	return f.n.stat(), nil
}

// LinkTo implements Linker.
func (f *memFile) LinkTo(dir Dir, name string) error {
	to, ok := dir.(*memDir)
	if !ok || to.m != f.m {
		return f.fail("link", syscall.EXDEV)
	}
	if err := checkName(name); err != nil {
		return f.fail("link", err)
	}
	if err := f.enter("link"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	switch {
	case to.closed.Load():
		return f.fail("link", fs.ErrClosed)
	case f.n.nlink == 0, to.n.unlinked:
		return f.fail("link", syscall.ENOENT)
	case to.n.entries[name] != nil:
		return f.fail("link", syscall.EEXIST)
	}
	f.m.change(&operation{changes: []change{{slot{to.n, name}, f.n}}})
	return nil
}

// Getxattr implements File.
func (f *memFile) Getxattr(name string) ([]byte, error) {
	if err := f.enter("getxattr"); err != nil {
		return nil, err
	}
	defer f.m.mu.Unlock()
	if f.m.noXattr {
		return nil, f.fail("getxattr", ErrUnsupported)
	}
	value, ok := f.n.live.xattrs[name]
	if !ok {
		return nil, f.fail("getxattr", ErrNoXattr)
	}
	return []byte(value), nil
}

// Setxattr implements File.
func (f *memFile) Setxattr(name string, value []byte) error {
	if err := f.enter("setxattr"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if f.m.noXattr {
		return f.fail("setxattr", ErrUnsupported)
	}
	xattrs := maps.Clone(f.n.live.xattrs)
	if xattrs == nil {
		xattrs = map[string]string{}
	}
	xattrs[name] = string(value)
	f.n.live.xattrs = xattrs
	f.n.ctime = f.m.tick()
	return nil
}

// Chown implements File.
func (f *memFile) Chown(uid, gid int) error {
	if err := f.enter("chown"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.n.chown(uid, gid)
	f.n.ctime = f.m.tick()
	return nil
}

// Chmod implements File. A Memory's modes survive a crash at once.
func (f *memFile) Chmod(mode fs.FileMode) error {
	if err := f.enter("chmod"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.n.chmod(mode)
	f.n.ctime = f.m.tick()
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	if err := f.enter("sync"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.n.durable, f.n.rewrote = f.n.live, false
	f.n.durable.data = slices.Clip(f.n.live.data)
	return nil
}

// Close implements File.
func (f *memFile) Close() error {
	if err := f.enter("close"); err != nil {
		if errors.Is(err, syscall.ESTALE) {
			f.closed = true
		}
		return err
	}
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
