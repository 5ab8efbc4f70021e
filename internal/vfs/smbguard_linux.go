package vfs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// smbGuard keeps the files of an SMB mount from being destroyed. Its server does not
// let a client replace a file that the same client has open; the client then
// removes it and fails, so that in the end there is neither the old file nor the
// new one. So a file is replaced when this process has not got it open: who wants
// to replace it waits until that is so, and in the end closes it himself.
type smbGuard struct {
	patience time.Duration
	seed     maphash.Seed
	// names are held by last name: shared while a file is opened, exclusively
	// while its name is given to another one.
	names [64]sync.RWMutex
	mu    sync.Mutex
	files map[uint64]*guardedInode // that are open, or being replaced
}

func newSMBGuard() *smbGuard {
	return &smbGuard{patience: guardPatience, seed: maphash.MakeSeed(), files: make(map[uint64]*guardedInode)}
}

// guardedInode is an inode that is in use. It is guarded by the guard's mutex.
type guardedInode struct {
	open      map[*osFile]struct{}
	replacing int
	changed   chan struct{} // closed when one of the others has changed
}

// name returns the lock of the last name of a path.
func (g *smbGuard) name(path string) *sync.RWMutex {
	leaf := path[strings.LastIndexByte(path, '/')+1:]
	return &g.names[maphash.String(g.seed, leaf)%uint64(len(g.names))]
}

// errElsewhere is what remains when a file is open under another name and stays so.
var errElsewhere = fmt.Errorf("the file is open under another name: %w", unix.ETIMEDOUT)

// open implements guard: it waits where the file is being replaced. A file that is
// open under another of its names is opened no second time: the client asks for all
// names with one key of a lease, which the server takes for one name at a time
// (STATUS_INVALID_PARAMETER). If it is this process that has it open its descriptor
// is shared; otherwise the client itself has it, for a second after the last close.
func (g *smbGuard) open(path string, open func() (*osFile, error), stat func() (Stat, error)) (*osFile, error) {
	for end := time.Now().Add(g.patience); ; {
		f, wait, err := g.tryOpen(path, open)
		if errors.Is(err, unix.EINVAL) {
			f, wait, err = g.tryOpen(path, func() (*osFile, error) { return g.share(path, stat) })
		}
		switch {
		case wait != nil:
			<-wait
		case errors.Is(err, errElsewhere) && time.Now().Before(end):
			time.Sleep(g.patience / 50)
		default:
			return f, err
		}
	}
}

func (g *smbGuard) tryOpen(path string, open func() (*osFile, error)) (f *osFile, wait <-chan struct{}, err error) {
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
		return nil, inode.changed, f.shut() // opened for reading: it cannot fail
	}
	inode.open[f] = struct{}{}
	f.guarded = &guarded{guard: g, inode: st.Ino, known: st}
	return f, nil, nil
}

// share opens what stat describes by a descriptor that is open already.
func (g *smbGuard) share(path string, stat func() (Stat, error)) (*osFile, error) {
	st, err := stat()
	if err != nil {
		return nil, err
	}
	for _, other := range g.opened(st.Ino) {
		release, err := other.use()
		if err != nil {
			continue // it was closed just now
		}
		fd, err := unix.FcntlInt(uintptr(other.fd), unix.F_DUPFD_CLOEXEC, 0)
		release()
		return &osFile{tree: other.tree, fd: fd, name: path, guarded: &guarded{guard: g, inode: st.Ino, known: st}}, err
	}
	return nil, errElsewhere
}

// opened returns what is open of an inode.
func (g *smbGuard) opened(number uint64) []*osFile {
	g.mu.Lock()
	defer g.mu.Unlock()
	if inode := g.files[number]; inode != nil {
		return slices.Collect(maps.Keys(inode.open))
	}
	return nil
}

// inode returns an inode that is in use, or comes to be. The caller holds mu.
func (g *smbGuard) inode(number uint64) *guardedInode {
	inode := g.files[number]
	if inode == nil {
		inode = &guardedInode{open: make(map[*osFile]struct{}), changed: make(chan struct{})}
		g.files[number] = inode
	}
	return inode
}

// touched tells who waits that an inode has changed. The caller holds mu.
func (g *smbGuard) touched(number uint64, inode *guardedInode) {
	close(inode.changed)
	inode.changed = make(chan struct{})
	if len(inode.open) == 0 && inode.replacing == 0 {
		delete(g.files, number)
	}
}

// look implements guard: a look does no harm.
func (g *smbGuard) look(string) *sync.RWMutex { return nil }

// closed implements guard.
func (g *smbGuard) closed(f *osFile) {
	g.mu.Lock()
	defer g.mu.Unlock()
	number := f.guarded.inode
	if inode := g.files[number]; inode != nil {
		delete(inode.open, f)
		g.touched(number, inode)
	}
}

// replace implements guard.
func (g *smbGuard) replace(m *move) error {
	st, err := statAt(m.into, m.newname, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode.IsRegular() {
		g.begin(st.Ino)
		defer g.end(st.Ino)
	}
	lock := g.name(m.newname)
	lock.Lock()
	defer lock.Unlock()
	return m.rename()
}

// begin lets nobody open an inode any more, and waits until nobody has it open.
func (g *smbGuard) begin(number uint64) {
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
			g.breakOff(number)
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
}

func (g *smbGuard) end(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	inode := g.files[number]
	inode.replacing--
	g.touched(number, inode)
}

// breakOff closes what is open of an inode.
func (g *smbGuard) breakOff(number uint64) {
	for _, f := range g.opened(number) {
		f.guarded.breakOff(f)
		g.closed(f)
	}
}
