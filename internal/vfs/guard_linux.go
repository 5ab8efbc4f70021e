package vfs

import (
	"errors"
	"hash/maphash"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// guardPatience is how long a file that is to be replaced may stay open.
const guardPatience = 2 * time.Second

// errReplaced is what reading a file returns that was closed so that it could be
// replaced.
var errReplaced = errors.New("the file was replaced while it was open")

// guard keeps the files of an SMB mount from being destroyed. Its server does not
// let a client replace a file that the same client has open; the client then
// removes it and fails, so that in the end there is neither the old file nor the
// new one. So a file is replaced when this process has not got it open: who wants
// to replace it waits until that is so, and in the end closes it himself.
type guard struct {
	patience time.Duration
	seed     maphash.Seed
	// names are held by last name: shared while a file is opened, exclusively
	// while its name is given to another one.
	names [64]sync.RWMutex
	mu    sync.Mutex
	files map[uint64]*guardedInode // that are open, or being replaced
}

// guardedInode is an inode that is in use. It is guarded by the guard's mutex.
type guardedInode struct {
	open      map[*osFile]struct{}
	replacing int
	changed   chan struct{} // closed when one of the others has changed
}

// guarded is what a file of a guard has beside its descriptor.
type guarded struct {
	guard  *guard
	inode  uint64
	mu     sync.RWMutex // of the descriptor: shared while it is used
	broken bool         // it was closed by who replaced the file
}

// newGuard returns the guard that a file system needs, nil for none.
func newGuard(fd int) *guard {
	var st unix.Statfs_t
	if retryErr(func() error { return unix.Fstatfs(fd, &st) }) != nil {
		return nil // then nothing else works either
	}
	switch uint32(st.Type) { //nolint:gosec // a magic number has 32 bits
	case magicCIFS, magicSMB2, unix.SMB_SUPER_MAGIC:
		return makeGuard()
	}
	return nil
}

func makeGuard() *guard {
	return &guard{patience: guardPatience, seed: maphash.MakeSeed(), files: make(map[uint64]*guardedInode)}
}

// name returns the lock of the last name of a path.
func (g *guard) name(path string) *sync.RWMutex {
	leaf := path[strings.LastIndexByte(path, '/')+1:]
	return &g.names[maphash.String(g.seed, leaf)%uint64(len(g.names))]
}

// open opens a file by open, unless it is being replaced: then it waits.
func (g *guard) open(path string, open func() (*osFile, error)) (*osFile, error) {
	for {
		f, wait, err := g.tryOpen(path, open)
		if wait == nil {
			return f, err
		}
		<-wait
	}
}

func (g *guard) tryOpen(path string, open func() (*osFile, error)) (f *osFile, wait <-chan struct{}, err error) {
	lock := g.name(path)
	lock.RLock()
	defer lock.RUnlock()
	if f, err = open(); err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	inode := g.inode(st.Ino)
	if inode.replacing > 0 {
		return nil, inode.changed, f.Close() // opened for reading: it cannot fail
	}
	inode.open[f] = struct{}{}
	f.guarded = &guarded{guard: g, inode: st.Ino}
	return f, nil, nil
}

// inode returns an inode that is in use, or comes to be. The caller holds mu.
func (g *guard) inode(number uint64) *guardedInode {
	inode := g.files[number]
	if inode == nil {
		inode = &guardedInode{open: make(map[*osFile]struct{}), changed: make(chan struct{})}
		g.files[number] = inode
	}
	return inode
}

// touched tells who waits that an inode has changed. The caller holds mu.
func (g *guard) touched(number uint64, inode *guardedInode) {
	close(inode.changed)
	inode.changed = make(chan struct{})
	if len(inode.open) == 0 && inode.replacing == 0 {
		delete(g.files, number)
	}
}

// closed says that a file is not open any more.
func (g *guard) closed(f *osFile) {
	g.mu.Lock()
	defer g.mu.Unlock()
	number := f.guarded.inode
	if inode := g.files[number]; inode != nil {
		delete(inode.open, f)
		g.touched(number, inode)
	}
}

// replace runs rename, which puts another file in the place of the one that name
// names in dir.
func (g *guard) replace(dir int, name string, rename func() error) error {
	st, err := statAt(dir, name, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode.IsRegular() {
		g.begin(st.Ino)
		defer g.end(st.Ino)
	}
	lock := g.name(name)
	lock.Lock()
	defer lock.Unlock()
	return rename()
}

// begin lets nobody open an inode any more, and waits until nobody has it open.
func (g *guard) begin(number uint64) {
	late := time.NewTimer(g.patience)
	defer late.Stop()
	g.mu.Lock()
	inode := g.inode(number)
	inode.replacing++
	for len(inode.open) > 0 {
		changed := inode.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-late.C:
			g.breakOff(inode)
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
}

func (g *guard) end(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	inode := g.files[number]
	inode.replacing--
	g.touched(number, inode)
}

// breakOff closes what is open of an inode.
func (g *guard) breakOff(inode *guardedInode) {
	g.mu.Lock()
	var open []*osFile
	for f := range inode.open {
		open = append(open, f)
	}
	g.mu.Unlock()
	for _, f := range open {
		f.guarded.mu.Lock()
		if f.fd >= 0 {
			_ = unix.Close(f.fd) // it was read from
			f.fd, f.guarded.broken = -1, true
		}
		f.guarded.mu.Unlock()
		g.closed(f)
	}
}

// use is osFile.use.
func (h *guarded) use(f *osFile) (release func(), err error) {
	h.mu.RLock()
	switch {
	case h.broken:
		err = errReplaced
	case f.fd < 0:
		err = fs.ErrClosed
	}
	if err != nil {
		h.mu.RUnlock()
		return nil, err
	}
	return h.mu.RUnlock, nil
}

// close is osFile.Close.
func (h *guarded) close(f *osFile) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		h.broken = false // and closed
		return nil
	}
	err := f.shut()
	h.guard.closed(f)
	return err
}
