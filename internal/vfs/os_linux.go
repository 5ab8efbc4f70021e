package vfs

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// direntBuffer is the size of the buffer for getdents64(2), in bytes. Over NFS
// it is also what the kernel asks the server for ahead of time.
const direntBuffer = 1 << 20

// copyBuffer is the size of the buffer through which Send copies, in bytes.
const copyBuffer = 256 << 10

// tree is what all handles beneath one root share.
type tree struct {
	noOpenat2 bool   // resolve with openat(2), name by name
	dev       uint64 // of the root; what the walk without openat2 compares with
	guard     guard  // nil unless what is in use must not be replaced
	smb       bool   // of an SMB server, of which times and attributes are special
	sharing   sharing
	byTime    func() bool // whether others see by time; nil: none does
	telling   rounds
	mine      bool // files are opened so that an NFS server does not delegate them
	routed    bool
	stale     time.Duration // for which another client may show what was before, if routed
	dirents   sync.Pool
	copies    sync.Pool
}

// OpenRoot opens the directory that path names, following symbolic links, as
// the root of a tree. The caller closes it.
func OpenRoot(path string) (Dir, error) {
	d, err := openRoot(path)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func openRoot(path string) (*osDir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, pathError("open root", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd) // opened for reading: there is nothing to lose
		return nil, pathError("open root", path, err)
	}
	t := &tree{
		dev:     uint64(st.Dev), //nolint:unconvert // 32 bits wide on some architectures
		dirents: sync.Pool{New: func() any { return new([direntBuffer]byte) }},
		copies:  sync.Pool{New: func() any { return new([copyBuffer]byte) }},
	}
	t.noOpenat2 = !hasOpenat2(fd)
	t.guard, t.smb = newGuard(fd)
	return &osDir{tree: t, fd: fd}, nil
}

// hasOpenat2 tells whether openat2(2) can be used. Before Linux 5.6 it is
// missing (ENOSYS); seccomp filters that do not know it answer EPERM or ENOSYS.
func hasOpenat2(fd int) bool {
	probe, err := retry(func() (int, error) {
		return unix.Openat2(fd, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveBeneath})
	})
	if err != nil {
		return false
	}
	_ = unix.Close(probe) // a mere path: closing it cannot lose anything
	return true
}

// retry repeats a system call that a signal interrupted. openat2(2) answers
// EAGAIN when a rename raced with it, which passes; a file under a lease
// (fcntl(2), F_SETLEASE) also answers EAGAIN, which may not, hence the bound.
func retry[T any](call func() (T, error)) (T, error) {
	for again := 0; ; {
		v, err := call()
		switch {
		case err == unix.EINTR: //nolint:errorlint // a bare errno
		case err == unix.EAGAIN && again < 32: //nolint:errorlint // a bare errno
			again++
		default:
			return v, err
		}
	}
}

// retryErr is retry for calls that return nothing else.
func retryErr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}

// osDir is an open directory. refs counts the calls under way, and closedBit
// says that no more may begin: the last one to leave closes the descriptor, so
// that its number cannot come to mean something else under a running call.
type osDir struct {
	tree  *tree
	fd    int
	path  string      // its path from the root when it was opened; "" for the root
	root  bool        // of a tree that OpenShared opened
	mere  bool        // a path, which cannot be synced; on NFS nothing has to be
	lease Lease       // nil: nobody else changes what is opened beneath it
	asked atomic.Bool // opening it has asked the server, and nothing was asked since
	refs  atomic.Int64
}

const closedBit = 1 << 62

// enter begins a call on d; nil means it must end with leave.
func (d *osDir) enter() error {
	if d.refs.Add(1)&closedBit != 0 {
		_ = d.leave() // the error is that d is closed
		return fs.ErrClosed
	}
	return nil
}

func (d *osDir) leave() error {
	if d.refs.Add(-1) != closedBit {
		return nil
	}
	// Swapped so that a call that comes too late, and so counts up and down
	// again, cannot close a second time.
	if d.refs.CompareAndSwap(closedBit, closedBit|closedBit>>1) {
		return unix.Close(d.fd)
	}
	return nil
}

// PathOf returns a path that leads to an open directory, wherever that is by now and whatever
// is mounted where it was: for who can be given no Dir. It is of use until the directory is
// closed. The error is ErrUnsupported where the system has no such path.
func PathOf(dir Dir) (string, error) {
	d, ok := dir.(*osDir)
	if !ok {
		return "", ErrUnsupported
	}
	if err := d.enter(); err != nil {
		return "", err
	}
	defer func() { _ = d.leave() }() // opened for reading: there is nothing to lose
	path := "/proc/self/fd/" + strconv.Itoa(d.fd)
	var here, there unix.Stat_t
	if err := unix.Fstat(d.fd, &here); err != nil {
		return "", pathError("path of", path, err)
	}
	if err := unix.Stat(path, &there); err != nil || here.Dev != there.Dev || here.Ino != there.Ino {
		return "", ErrUnsupported // proc(5) is not mounted
	}
	return path, nil
}

// Close implements Dir.
func (d *osDir) Close() error {
	for {
		n := d.refs.Load()
		if n&closedBit != 0 {
			return pathError("close", ".", fs.ErrClosed)
		}
		if d.refs.CompareAndSwap(n, (n+1)|closedBit) {
			break
		}
	}
	if err := d.leave(); err != nil {
		return pathError("close", ".", err)
	}
	return nil
}

// OpenDir implements Dir.
func (d *osDir) OpenDir(path string) (Dir, error) {
	fd, err := d.open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, pathError("open directory", path, err)
	}
	opened := &osDir{tree: d.tree, fd: fd, path: d.pathTo(path), lease: d.lease}
	opened.asked.Store(d.tree.sharing != sharedKernel)
	return opened, nil
}

// Open implements Dir.
func (d *osDir) Open(path string) (File, error) { return d.openFile(path, d.open) }

func (d *osDir) openFile(path string, by opener) (File, error) {
	open := func() (*osFile, error) {
		fd, err := d.openToRead(path, by)
		return &osFile{tree: d.tree, fd: fd, name: path}, err
	}
	var f *osFile
	var err error
	if g := d.tree.guard; g != nil {
		f, err = g.open(d.pathTo(path), open, func() (Stat, error) { return d.stat(path) })
	} else {
		f, err = open()
	}
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return f, nil
}

// Create implements Dir.
func (d *osDir) Create(name string, perm fs.FileMode) (File, error) {
	created := -1
	err := d.name("create", name, func(fd int) error {
		return d.changing(fd, func() (err error) {
			created, err = d.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK, uint32(perm.Perm()))
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return &osFile{tree: d.tree, fd: created, name: name, unsure: d.tree.smb}, nil
}

// Mkdir implements Dir.
func (d *osDir) Mkdir(path string, perm fs.FileMode) error {
	return d.at("make directory", path, func(fd int, name string) error {
		return d.changing(fd, func() error { return unix.Mkdirat(fd, name, uint32(perm.Perm())) })
	})
}

// Remove implements Dir.
func (d *osDir) Remove(name string) error {
	return d.unlink("remove", name, 0)
}

// Rmdir implements Dir.
func (d *osDir) Rmdir(name string) error {
	return d.unlink("remove directory", name, unix.AT_REMOVEDIR)
}

func (d *osDir) unlink(op, name string, flags int) error {
	return d.name(op, name, func(fd int) error {
		return d.changing(fd, func() error { return unix.Unlinkat(fd, name, flags) })
	})
}

// Rename implements Dir.
func (d *osDir) Rename(oldname string, to Dir, newname string) error {
	return d.pair("rename", oldname, to, newname, func(from int, into *osDir) error {
		rename := func() error {
			return d.pinned(from, oldname, func() error {
				return d.changingBoth(into, func() error { return unix.Renameat(from, oldname, into.fd, newname) })
			})
		}
		if g := d.tree.guard; g != nil {
			return g.replace(&move{from, oldname, into.fd, newname, into.pathTo(newname), rename})
		}
		return rename()
	})
}

// Link implements Dir.
func (d *osDir) Link(oldname string, to Dir, newname string) error {
	return d.pair("link", oldname, to, newname, func(from int, into *osDir) error {
		if lock := d.look(oldname); lock != nil {
			defer lock.RUnlock()
		}
		return into.changing(into.fd, func() error { return unix.Linkat(from, oldname, into.fd, newname, 0) })
	})
}

// pathTo returns the path from the root of what path names in d.
func (d *osDir) pathTo(path string) string {
	switch {
	case d.path == "":
		return path
	case path == ".":
		return d.path
	}
	return d.path + "/" + path
}

// look is guard.look, nil if there is no guard.
func (d *osDir) look(path string) *sync.RWMutex {
	if d.tree.guard == nil || path == "." {
		return nil
	}
	return d.tree.guard.look(d.pathTo(path))
}

// name runs a call on a name in d.
func (d *osDir) name(op, name string, call func(fd int) error) error {
	err := checkName(name)
	if err == nil {
		err = d.enter()
	}
	if err != nil {
		return pathError(op, name, err)
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	if err := retryErr(func() error { return call(d.fd) }); err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// pair runs a call on a name in d and one in another directory.
func (d *osDir) pair(op, oldname string, to Dir, newname string, call func(from int, into *osDir) error) error {
	if err := checkName(newname); err != nil {
		return pathError(op, newname, err)
	}
	into, ok := to.(*osDir)
	if !ok {
		return pathError(op, newname, unix.EXDEV)
	}
	if err := into.enter(); err != nil {
		return pathError(op, newname, err)
	}
	defer func() { _ = into.leave() }() // as above
	return d.name(op, oldname, func(fd int) error { return call(fd, into) })
}

// at runs a call on the last name of path in the directory that holds it.
func (d *osDir) at(op, path string, call func(fd int, name string) error) error {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return d.name(op, path, func(fd int) error {
			if d.root {
				if err := ask(fd); err != nil {
					return err
				}
			}
			return call(fd, path)
		})
	}
	if err := checkPath(path); err != nil {
		return pathError(op, path, err)
	}
	name := path[i+1:]
	parent, err := d.openAbove(path[:i])
	if err != nil {
		return pathError(op, path, err)
	}
	defer closePath(parent)
	if err = retryErr(func() error { return call(parent, name) }); err != nil {
		return pathError(op, path, err)
	}
	return nil
}

// openAbove opens a directory as a mere path, to look up a name in it or to change one.
func (d *osDir) openAbove(path string) (int, error) {
	if d.tree.sharing == sharedKernel {
		return d.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err := d.enter(); err != nil {
		return -1, err
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	return d.openAsking(path, d.tree.openAsked)
}

// Stat implements Dir.
func (d *osDir) Stat(path string) (Stat, error) {
	if lock := d.look(path); lock != nil {
		defer lock.RUnlock()
	}
	st, err := d.stat(path)
	if err != nil {
		return Stat{}, pathError("stat", path, err)
	}
	return st, nil
}

// statNow is StatNow.
func (d *osDir) statNow(name string) (st Stat, err error) {
	if !d.tree.smb {
		return d.Stat(name)
	}
	err = d.name("stat", name, func(fd int) error {
		st, err = statAt(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_FORCE_SYNC)
		return err
	})
	return st, err
}

func (d *osDir) stat(path string) (Stat, error) {
	if strings.IndexByte(path, '/') >= 0 {
		fd, err := d.open(path, unix.O_PATH, 0)
		if err != nil {
			return Stat{}, err
		}
		defer func() { _ = unix.Close(fd) }() // a mere path
		return statAt(fd, "", unix.AT_EMPTY_PATH)
	}
	if err := checkPath(path); err != nil {
		return Stat{}, err
	}
	if err := d.enter(); err != nil {
		return Stat{}, err
	}
	defer func() { _ = d.leave() }() // as above
	if path == "." {
		if d.asked.Swap(false) {
			return statAt(d.fd, "", unix.AT_EMPTY_PATH)
		}
		return statAt(d.fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
	}
	if d.root {
		if err := ask(d.fd); err != nil {
			return Stat{}, err
		}
	}
	return statAt(d.fd, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
}

// ReadDir implements Dir. It reads through a descriptor of its own: concurrent
// calls do not share a position, and an NFS client revalidates what it has
// cached of the directory when it is opened (close-to-open, nfs(5)).
func (d *osDir) ReadDir() ([]Entry, error) {
	fd, err := d.open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, pathError("read directory", ".", err)
	}
	defer func() { _ = unix.Close(fd) }() // open for reading: nothing to lose
	buf := d.tree.dirents.Get().(*[direntBuffer]byte)
	defer d.tree.dirents.Put(buf)
	var entries []Entry
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf[:]) })
		if err != nil {
			return nil, pathError("read directory", ".", err)
		}
		if n == 0 {
			return entries, nil
		}
		if entries, err = appendDirents(entries, string(buf[:n])); err != nil {
			return nil, pathError("read directory", ".", err)
		}
	}
}

// Usage implements Dir.
func (d *osDir) Usage() (Usage, error) {
	if err := d.enter(); err != nil {
		return Usage{}, pathError("statfs", ".", err)
	}
	defer func() { _ = d.leave() }() // as above
	var st unix.Statfs_t
	if err := retryErr(func() error { return unix.Fstatfs(d.fd, &st) }); err != nil {
		return Usage{}, pathError("statfs", ".", err)
	}
	return usage(&st), nil
}

// Chown implements Dir.
func (d *osDir) Chown(uid, gid int) error {
	return d.itself("chown", func() error { return unix.Fchown(d.fd, uid, gid) })
}

// Chmod implements Dir.
func (d *osDir) Chmod(mode fs.FileMode) error {
	return d.itself("chmod", func() error { return unix.Fchmod(d.fd, modeBits(mode)) })
}

// touch is Touch.
func (d *osDir) touch() error {
	if !d.tree.smb {
		return ErrUnsupported
	}
	return d.itself("touch", openDir(d.fd).touch)
}

func (d *osDir) itself(op string, call func() error) error {
	if err := d.enter(); err != nil {
		return pathError(op, ".", err)
	}
	defer func() { _ = d.leave() }() // as above
	if err := retryErr(func() error { return d.changing(d.fd, call) }); err != nil {
		return pathError(op, ".", err)
	}
	return nil
}

// Sync implements Dir. File systems that cannot sync a directory say so with
// EINVAL (fsync(2)).
func (d *osDir) Sync() error {
	if err := d.enter(); err != nil {
		return pathError("sync directory", ".", err)
	}
	defer func() { _ = d.leave() }() // as above
	var err error
	if !d.mere {
		err = retryErr(func() error { return unix.Fsync(d.fd) })
	}
	switch {
	case err == nil && d.tree.tells():
		if err = d.tell(); err == nil {
			return nil
		}
	case err == nil:
		return nil
	case errors.Is(err, syscall.EINVAL):
		err = &classed{ErrUnsupported, err}
	}
	return pathError("sync directory", ".", err)
}
