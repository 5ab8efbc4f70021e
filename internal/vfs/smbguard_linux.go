package vfs

import (
	"errors"
	"hash/maphash"
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

// open implements guard: it waits where the file is being replaced.
func (g *smbGuard) open(path string, open func() (*osFile, error)) (*osFile, error) {
	for {
		f, wait, err := g.tryOpen(path, open)
		if wait == nil {
			return f, err
		}
		<-wait
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
		return nil, inode.changed, f.Close() // opened for reading: it cannot fail
	}
	inode.open[f] = struct{}{}
	f.guarded = &guarded{guard: g, inode: st.Ino}
	return f, nil, nil
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
			g.breakOff(inode)
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
func (g *smbGuard) breakOff(inode *guardedInode) {
	g.mu.Lock()
	var open []*osFile
	for f := range inode.open {
		open = append(open, f)
	}
	g.mu.Unlock()
	for _, f := range open {
		f.guarded.breakOff(f)
		g.closed(f)
	}
}
