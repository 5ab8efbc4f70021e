package vfs

import (
	"io/fs"
	"sync/atomic"
	"syscall"
)

// memDir is a handle of a directory in a Memory.
type memDir struct {
	m      *Memory
	n      *node
	epoch  int
	closed atomic.Bool
}

// enter locks the file system for one call, which ends with m.mu.Unlock.
func (d *memDir) enter(op, path string) error {
	if d.closed.Load() {
		return pathError(op, path, fs.ErrClosed)
	}
	d.m.mu.Lock()
	if d.epoch != d.m.epoch {
		d.m.mu.Unlock()
		return pathError(op, path, syscall.ESTALE)
	}
	return nil
}

// OpenDir implements Dir.
func (d *memDir) OpenDir(path string) (Dir, error) {
	if err := d.enter("open directory", path); err != nil {
		return nil, err
	}
	defer d.m.mu.Unlock()
	n, err := d.n.lookup(path, false)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil && n.unlinked {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, pathError("open directory", path, err)
	}
	return &memDir{m: d.m, n: n, epoch: d.epoch}, nil
}

// Open implements Dir.
func (d *memDir) Open(path string) (File, error) {
	if err := d.enter("open", path); err != nil {
		return nil, err
	}
	defer d.m.mu.Unlock()
	n, err := d.n.lookup(path, false)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return &memFile{m: d.m, n: n, epoch: d.epoch, name: path}, nil
}

// Create implements Dir.
func (d *memDir) Create(name string, perm fs.FileMode) (File, error) {
	if err := d.enter("create", name); err != nil {
		return nil, err
	}
	defer d.m.mu.Unlock()
	n, err := d.create(name, perm)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return &memFile{m: d.m, n: n, epoch: d.epoch, name: name, writable: true}, nil
}

func (d *memDir) create(name string, perm fs.FileMode) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	dir, name, err := d.n.parentOf(name)
	if err != nil {
		return nil, err
	}
	n := dir.entries[name]
	switch {
	case n == nil:
		n = d.m.newNode(perm.Perm())
		d.m.change(&operation{changes: []change{{slot{dir, name}, n}}})
	case n.mode.IsDir():
		return nil, syscall.EISDIR
	case n.mode&fs.ModeSymlink != 0:
		return nil, syscall.ELOOP
	case n.mode.IsRegular():
		n.live.data, n.rewrote = nil, true
		n.live.mtime = d.m.tick()
		n.ctime = n.live.mtime
	}
	return n, nil
}

// Mkdir implements Dir.
func (d *memDir) Mkdir(path string, perm fs.FileMode) error {
	if err := d.enter("make directory", path); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	dir, name, err := d.n.parentOf(path)
	if err == nil && dir.entries[name] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("make directory", path, err)
	}
	n := d.m.newNode(fs.ModeDir | perm.Perm())
	d.m.change(&operation{changes: []change{{slot{dir, name}, n}}})
	return nil
}

// Rename implements Dir.
func (d *memDir) Rename(oldname string, to Dir, newname string) error {
	return d.pair("rename", oldname, to, newname, func(from, into slot, n, target *node) error {
		op := &operation{changes: []change{{from, nil}, {into, n}}}
		switch {
		case n == target:
			return nil
		case target != nil && target.mode.IsDir() && !n.mode.IsDir():
			return syscall.EISDIR
		case target != nil && !target.mode.IsDir() && n.mode.IsDir():
			return syscall.ENOTDIR
		case target != nil && len(target.entries) > 0:
			return syscall.ENOTEMPTY
		case target != nil && target.mode.IsDir():
			op.removed = target
		}
		for up := into.dir; n.mode.IsDir() && up != nil; up = up.parent {
			if up == n {
				return syscall.EINVAL
			}
		}
		d.m.change(op)
		return nil
	})
}

// Link implements Dir.
func (d *memDir) Link(oldname string, to Dir, newname string) error {
	return d.pair("link", oldname, to, newname, func(_, into slot, n, target *node) error {
		switch {
		case n.mode.IsDir():
			return syscall.EPERM
		case target != nil:
			return syscall.EEXIST
		}
		d.m.change(&operation{changes: []change{{into, n}}})
		return nil
	})
}

// pair resolves a name in d and one in another directory, which may be new,
// and runs do on them.
func (d *memDir) pair(op, oldname string, to Dir, newname string, do func(from, into slot, n, target *node) error) error {
	other, ok := to.(*memDir)
	if !ok || other.m != d.m {
		return pathError(op, newname, syscall.EXDEV)
	}
	if err := checkName(newname); err != nil {
		return pathError(op, newname, err)
	}
	if err := checkName(oldname); err != nil {
		return pathError(op, oldname, err)
	}
	if other.closed.Load() {
		return pathError(op, newname, fs.ErrClosed)
	}
	if err := d.enter(op, oldname); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	if other.epoch != d.m.epoch {
		return pathError(op, newname, syscall.ESTALE)
	}
	n, err := d.n.child(oldname)
	if err != nil {
		return pathError(op, oldname, err)
	}
	dir, name, err := other.n.parentOf(newname)
	if err == nil {
		err = do(slot{d.n, oldname}, slot{dir, name}, n, dir.entries[name])
	}
	if err != nil {
		return pathError(op, newname, err)
	}
	return nil
}

// Remove implements Dir.
func (d *memDir) Remove(name string) error {
	return d.remove("remove", name, func(n *node) error {
		if n.mode.IsDir() {
			return syscall.EISDIR
		}
		return nil
	})
}

// Rmdir implements Dir.
func (d *memDir) Rmdir(name string) error {
	return d.remove("remove directory", name, func(n *node) error {
		switch {
		case !n.mode.IsDir():
			return syscall.ENOTDIR
		case len(n.entries) > 0:
			return syscall.ENOTEMPTY
		}
		return nil
	})
}

func (d *memDir) remove(op, name string, check func(*node) error) error {
	if err := checkName(name); err != nil {
		return pathError(op, name, err)
	}
	if err := d.enter(op, name); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	n, err := d.n.child(name)
	if err == nil {
		err = check(n)
	}
	if err != nil {
		return pathError(op, name, err)
	}
	o := &operation{changes: []change{{slot{d.n, name}, nil}}}
	if n.mode.IsDir() {
		o.removed = n
	}
	d.m.change(o)
	return nil
}

// Stat implements Dir.
func (d *memDir) Stat(path string) (Stat, error) {
	if err := d.enter("stat", path); err != nil {
		return Stat{}, err
	}
	defer d.m.mu.Unlock()
	n, err := d.n.lookup(path, true)
	if err != nil {
		return Stat{}, pathError("stat", path, err)
	}
	return n.stat(), nil
}

// ReadDir implements Dir.
func (d *memDir) ReadDir() ([]Entry, error) {
	if err := d.enter("read directory", "."); err != nil {
		return nil, err
	}
	defer d.m.mu.Unlock()
	if d.n.unlinked {
		return nil, pathError("read directory", ".", syscall.ENOENT)
	}
	entries := make([]Entry, 0, len(d.n.entries))
	for name, n := range d.n.entries {
		entries = append(entries, Entry{Name: name, Type: n.mode.Type()})
	}
	return entries, nil
}

// Usage implements Dir.
func (d *memDir) Usage() (Usage, error) {
	if err := d.enter("statfs", "."); err != nil {
		return Usage{}, err
	}
	defer d.m.mu.Unlock()
	return Usage{Type: d.m.kind, Total: 1 << 40, Free: 1 << 40, NameMax: memoryNameMax, LocalDisk: true}, nil
}

// Chown implements Dir.
func (d *memDir) Chown(uid, gid int) error {
	if err := d.enter("chown", "."); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	d.n.chown(uid, gid)
	return nil
}

// Chmod implements Dir.
func (d *memDir) Chmod(mode fs.FileMode) error {
	if err := d.enter("chmod", "."); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	d.n.chmod(mode)
	return nil
}

// Sync implements Dir.
func (d *memDir) Sync() error {
	if err := d.enter("sync directory", "."); err != nil {
		return err
	}
	defer d.m.mu.Unlock()
	d.m.settle(d.n)
	return nil
}

// Close implements Dir.
func (d *memDir) Close() error {
	if d.closed.Swap(true) {
		return pathError("close", ".", fs.ErrClosed)
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.epoch != d.m.epoch {
		return pathError("close", ".", syscall.ESTALE)
	}
	return nil
}
