package vfs

import (
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// guardPatience is how long a file that is to be replaced may stay open.
const guardPatience = 2 * time.Second

// errReplaced is what reading a file returns that was closed so that it could be
// replaced. Its descriptor leads nowhere any more: who opens it anew may read on.
var errReplaced = fmt.Errorf("the file was replaced while it was open: %w", unix.ESTALE)

// guard keeps the client of a file server from the harm that it does when it
// replaces a file that it has in use. Paths are those from the root of the tree.
type guard interface {
	// open opens the file at path by open; stat describes what has that name.
	open(path string, open func() (*osFile, error), stat func() (Stat, error)) (*osFile, error)
	// look is called before path is looked up; what it returns, if anything, is
	// locked for reading until that was done.
	look(path string) *sync.RWMutex
	// replace makes a move, whose target may be in use.
	replace(m *move) error
	// closed says that a file is not open any more.
	closed(f *osFile)
}

// move is a rename.
type move struct {
	from    int // the directories
	oldname string
	into    int
	newname string
	target  string // path of newname
	rename  func() error
}

// newGuard returns the guard that a file system needs, nil for none, and whether it
// is that of an SMB server.
func newGuard(fd int) (g guard, smb bool) {
	var st unix.Statfs_t
	if retryErr(func() error { return unix.Fstatfs(fd, &st) }) != nil {
		return nil, false // then nothing else works either
	}
	switch uint32(st.Type) { //nolint:gosec // a magic number has 32 bits
	case magicCIFS, magicSMB2, unix.SMB_SUPER_MAGIC:
		return newSMBGuard(), true
	case unix.NFS_SUPER_MAGIC:
		return newNFSGuard(), false
	}
	return nil, false
}

// guarded is what a file of a guard has beside its descriptor.
type guarded struct {
	guard  guard
	inode  uint64       // if the guard knows files by it
	known  Stat         // what the file was when it was opened, likewise
	path   string       // if it knows them by that
	mu     sync.RWMutex // of the descriptor and kept: shared while it is used
	broken bool         // it was closed by who replaced the file
	kept   *keptLink    // under which the file goes on, if any
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

// breakOff closes the descriptor under who reads from it.
func (h *guarded) breakOff(f *osFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.fd >= 0 {
		h.cut(f)
	}
}

func (h *guarded) cut(f *osFile) {
	_ = unix.Close(f.fd) // it was read from
	f.fd, h.broken = -1, true
}
