package vfs

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// nfsGrace is how long who replaces a file waits for those to be done that only look
// at it, which is cheaper than to make room.
const nfsGrace = 3 * time.Millisecond

// nfsGuard keeps an NFS client from replacing a name that it has in use. It would do
// so in two steps: move what has the name to .nfs..., and then the new file to it.
// Between them nobody finds anything, and if the second does not come any more the
// object is lost. Worse, the first cannot be fenced: it takes away whatever
// has the name when it arrives.
//
// A name is in use while it is looked up, and as long as a file is open that was
// opened by it (its dentry has more references than the rename itself; nfs_rename in
// fs/nfs/dir.c). So no name is looked up while it is replaced, and a file that stays
// open is opened once more by another name, a link in the directory that the new file
// comes from, and goes on by that. There is no reading ahead: a request of the
// kernel's own would hold the name as well.
//
// It knows what this process does. Others that have the mount in use are asked, if it is
// known how; of the rest the client may still take two steps.
type nfsGuard struct {
	others          func(path string) (done func()) // as Sharing has it
	grace, patience time.Duration
	seed            maphash.Seed
	links           atomic.Uint64
	names           [1024]nfsNames
}

// nfsNames are the names of one hash.
type nfsNames struct {
	use  sync.RWMutex // shared while one is looked up, exclusively while one is replaced
	mu   sync.Mutex
	open map[string][]*osFile // by path
	// closed is closed when a file was, if anybody waits for that.
	closed chan struct{}
}

func newNFSGuard() *nfsGuard {
	return &nfsGuard{grace: nfsGrace, patience: guardPatience, seed: maphash.MakeSeed()}
}

func (g *nfsGuard) of(path string) *nfsNames {
	return &g.names[maphash.String(g.seed, path)%uint64(len(g.names))]
}

// open implements guard.
func (g *nfsGuard) open(path string, open func() (*osFile, error), _ func() (Stat, error)) (*osFile, error) {
	n := g.of(path)
	n.use.RLock()
	defer n.use.RUnlock()
	f, err := open()
	if err != nil {
		return f, err
	}
	readNothingAhead(f.fd)
	f.guarded = &guarded{guard: g, path: path}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open == nil {
		n.open = make(map[string][]*osFile)
	}
	n.open[path] = append(n.open[path], f)
	return f, nil
}

// readNothingAhead has the kernel ask for nothing but what is read.
func readNothingAhead(fd int) {
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) // of what is no plain file nothing is read
}

// look implements guard.
func (g *nfsGuard) look(path string) *sync.RWMutex {
	n := g.of(path)
	n.use.RLock()
	return &n.use
}

// closed implements guard. The caller holds f's lock.
func (g *nfsGuard) closed(f *osFile) {
	g.of(f.guarded.path).forget(f)
	if f.guarded.kept != nil {
		f.guarded.kept.release()
	}
}

// forget takes f off what is open by its name.
func (n *nfsNames) forget(f *osFile) {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := f.guarded.path
	files := n.open[path]
	i := slices.Index(files, f)
	if i < 0 {
		return
	}
	if files = slices.Delete(files, i, i+1); len(files) > 0 {
		n.open[path] = files
	} else {
		delete(n.open, path)
	}
	if n.closed != nil {
		close(n.closed)
		n.closed = nil
	}
}

// stillOpen returns what is open by a name after so long, or as soon as that is nothing.
func (n *nfsNames) stillOpen(path string, wait time.Duration) []*osFile {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		n.mu.Lock()
		files := slices.Clone(n.open[path])
		if len(files) > 0 && n.closed == nil {
			n.closed = make(chan struct{})
		}
		closed := n.closed
		n.mu.Unlock()
		if len(files) == 0 {
			return nil
		}
		select {
		case <-closed:
		case <-late.C:
			return files
		}
	}
}

// replace implements guard.
func (g *nfsGuard) replace(m *move) error {
	if g.others != nil {
		defer g.others(m.target)() // first: two that wait for each other would do so in vain
	}
	n := g.of(m.target)
	n.use.Lock()
	defer n.use.Unlock()
	if n.isOpen(m.target) {
		if m.stageGone() {
			return unix.ESTALE
		}
		g.vacate(n, m, g.patience)
	}
	return m.rename()
}

// stageGone reports whether the directory that the new file is in was removed, as a fence
// does: then nothing can be moved, nor any more be kept there for readers.
func (m *move) stageGone() bool {
	st, err := statAt(m.from, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
	if err != nil {
		return err == unix.ESTALE || err == unix.ENOENT //nolint:errorlint // a bare errno
	}
	return st.Nlink == 0
}

// letGo is LetGo.
func (d *osDir) letGo(path string, in Dir, name string) (done func()) {
	g, guarded := d.tree.guard.(*nfsGuard)
	stage, ok := in.(*osDir)
	if !guarded || !ok {
		return func() {}
	}
	n := g.of(path)
	n.use.Lock()
	if n.isOpen(path) {
		g.vacateFor(d, path, stage, name)
	}
	return n.use.Unlock
}

// vacateFor has no file open at path, before another process replaces it, which waits for
// that and so for a shorter time. The caller holds its name.
func (g *nfsGuard) vacateFor(root *osDir, path string, stage *osDir, name string) {
	if root.enter() != nil {
		return // it is closed, and all files are
	}
	defer func() { _ = root.leave() }() // a directory open for reading has nothing to lose
	m := &move{from: -1, oldname: name, into: root.fd, newname: path, target: path}
	if stage.enter() == nil {
		defer func() { _ = stage.leave() }() // as above
		m.from = stage.fd
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, err := root.tree.openRun(root.fd, path[:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return // nor is the name in it known
		}
		defer closePath(parent)
		m.into, m.newname = parent, path[i+1:]
	}
	g.vacate(g.of(path), m, g.patience/4)
}

func (n *nfsNames) isOpen(path string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open[path]) > 0
}

// vacate sees to it that no file is open by the name that m replaces: it has them go on
// by another one. Where there can be none they are closed, if that takes longer than patience.
func (g *nfsGuard) vacate(n *nfsNames, m *move, patience time.Duration) {
	files := n.stillOpen(m.target, g.grace)
	if len(files) == 0 {
		return
	}
	kept, fd, err := g.keep(m)
	if err == unix.ENOENT && m.targetGone() { //nolint:errorlint // a bare errno
		return
	}
	if err != nil {
		files = n.stillOpen(m.target, patience)
	}
	for _, f := range files {
		if kept != nil {
			f.guarded.goOn(f, kept, fd)
		} else {
			f.guarded.breakOff(f)
		}
		n.forget(f)
	}
	if kept != nil {
		closePath(fd)
		kept.release()
	}
}

// targetGone reports whether the client knows nothing under the name any more. That a link
// was refused does not say so: it is what is told as well if there is no place for it.
func (m *move) targetGone() bool {
	_, err := statAt(m.into, m.newname, unix.AT_SYMLINK_NOFOLLOW)
	return err == unix.ENOENT //nolint:errorlint // a bare errno
}

// keptLink is a link to a file that was replaced, for those who have it open. The last
// of them removes it.
type keptLink struct {
	dir   int // a descriptor of its own
	name  string
	inode uint64
	users atomic.Int64
}

// keep makes a link to what m replaces, next to what it is replaced by, and opens it.
// The caller is its first user.
func (g *nfsGuard) keep(m *move) (k *keptLink, fd int, err error) {
	k = &keptLink{name: m.oldname + "-" + strconv.FormatUint(g.links.Add(1), 36)}
	k.users.Store(1)
	if k.dir, err = unix.FcntlInt(uintptr(m.from), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, -1, err
	}
	if err = linkNow(m, k.name); err != nil {
		closePath(k.dir)
		return nil, -1, err
	}
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE
	fd, err = retry(func() (int, error) { return unix.Openat(k.dir, k.name, flags, 0) })
	if err == nil {
		readNothingAhead(fd)
		k.inode, err = inodeAt(fd)
	}
	if err != nil {
		closePath(fd)
		k.release()
		return nil, -1, err
	}
	return k, fd, nil
}

// linkNow links what m replaces. A client that believes in a file which is not there any
// more is told so, and then asked to look again.
func linkNow(m *move, name string) error {
	link := func() error {
		err := retryErr(func() error { return unix.Linkat(m.into, m.newname, m.from, name, 0) })
		if err == unix.EEXIST { //nolint:errorlint // a bare errno
			return nil // made by a call whose answer was lost: nobody else has the name
		}
		return err
	}
	err := link()
	if err == unix.ESTALE && ask(m.into) == nil { //nolint:errorlint // a bare errno
		return link()
	}
	return err
}

// inodeAt returns the inode of an open file.
func inodeAt(fd int) (uint64, error) {
	st, err := statAt(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC)
	return st.Ino, err
}

// goOn has f, which was opened by the name that k is a link to, go on by fd, which was
// opened by k. One that is another file was replaced before, and has that name no longer.
func (h *guarded) goOn(f *osFile, k *keptLink, fd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.fd < 0 {
		return
	}
	if inode, err := inodeAt(f.fd); err != nil || inode != k.inode {
		return
	}
	if err := retryErr(func() error { return unix.Dup3(fd, f.fd, unix.O_CLOEXEC) }); err != nil {
		h.cut(f)
		return
	}
	k.users.Add(1)
	h.kept = k
}

// release ends the use of k. What cannot be removed goes with the directory.
func (k *keptLink) release() {
	if k.users.Add(-1) == 0 {
		_ = unix.Unlinkat(k.dir, k.name, 0)
		closePath(k.dir)
	}
}
