package vfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MemoryOption takes something from a Memory that some file systems lack.
type MemoryOption func(*Memory)

// WithoutXattr makes Getxattr and Setxattr answer ErrUnsupported.
func WithoutXattr() MemoryOption { return func(m *Memory) { m.noXattr = true } }

// WithoutClone makes CopyFrom answer ErrUnsupported.
func WithoutClone() MemoryOption { return func(m *Memory) { m.noClone = true } }

// WithGranularity rounds the times of files down, as file systems do whose
// clock ticks seldom: changes within one tick then have equal times.
func WithGranularity(d time.Duration) MemoryOption { return func(m *Memory) { m.granularity = d } }

// OfType makes Usage tell that type.
func OfType(name string) MemoryOption { return func(m *Memory) { m.kind = name } }

// Memory is a file system in memory that keeps, over a Crash, no more than
// POSIX promises: the content and attributes of a file as of its last
// File.Sync, and the names in a directory as of its last Dir.Sync. A rename is
// atomic; nothing else is ordered.
//
// It is for tests, and safe for concurrent use.
type Memory struct {
	noXattr, noClone bool
	granularity      time.Duration
	kind             string

	mu      sync.Mutex
	epoch   int // crashes so far; a handle of another epoch is stale
	last    int64
	ino     uint64
	root    *node
	pending []*operation // directory operations that no Sync made durable
}

// node is an inode. Its live state is what calls see, its durable state what
// is left after a crash.
type node struct {
	ino      uint64
	nlink    uint64
	mode     fs.FileMode
	ctime    int64 // ns
	live     content
	durable  content
	rewrote  bool // live.data is not durable.data with something appended
	entries  map[string]*node
	onDisk   map[string]*node
	parent   *node // of a directory
	unlinked bool  // a directory that was removed
}

func (n *node) chown(uid, gid int) {
	if uid >= 0 {
		n.live.uid = uint32(uid) //nolint:gosec // checked
	}
	if gid >= 0 {
		n.live.gid = uint32(gid) //nolint:gosec // checked
	}
}

func (n *node) chmod(mode fs.FileMode) {
	const set = fs.ModePerm | fs.ModeSetgid | fs.ModeSticky
	n.mode = n.mode&^set | mode&set
}

// content is what File.Sync makes durable. The bytes of data are never changed
// in place, so that copies of the slice stay what they were.
type content struct {
	data     []byte
	xattrs   map[string]string
	uid, gid uint32
	mtime    int64 // ns
}

// operation is one change of the namespace, of which a crash keeps all or
// nothing.
type operation struct {
	changes []change
	removed *node // the directory that an Rmdir removed
}

// change says what a name came to mean; a nil node that it was removed.
type change struct {
	slot
	to *node
}

type slot struct {
	dir  *node
	name string
}

// NewMemory returns an empty file system, whose root is durable.
func NewMemory(options ...MemoryOption) *Memory {
	m := &Memory{kind: "memory"}
	for _, o := range options {
		o(m)
	}
	m.root = m.newNode(fs.ModeDir | 0o777)
	m.root.nlink = 2
	return m
}

// Root returns a new handle of the root directory.
func (m *Memory) Root() Dir {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memDir{m: m, n: m.root, epoch: m.epoch}
}

// Symlink makes a symbolic link. path is from the root, and its parent exists.
func (m *Memory) Symlink(target, path string) error {
	return m.special("symlink", path, fs.ModeSymlink|0o777, target)
}

// Mkfifo makes a FIFO. path is from the root, and its parent exists.
func (m *Memory) Mkfifo(path string) error {
	return m.special("mkfifo", path, fs.ModeNamedPipe|0o666, "")
}

func (m *Memory) special(op, path string, mode fs.FileMode, target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.root.parentOf(path)
	if err == nil && dir.entries[name] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError(op, path, err)
	}
	n := m.newNode(mode)
	n.live.data = []byte(target)
	n.durable = n.live
	m.change(&operation{changes: []change{{slot{dir, name}, n}}})
	return nil
}

// tick returns a time later than every one before, in ns.
func (m *Memory) tick() int64 {
	m.last = max(m.last+1, time.Now().UnixNano())
	return m.last - m.last%max(int64(m.granularity), 1)
}

func (m *Memory) newNode(mode fs.FileMode) *node {
	m.ino++
	n := &node{ino: m.ino, mode: mode, ctime: m.tick()}
	n.live.mtime = n.ctime
	n.durable.mtime = n.ctime
	if mode.IsDir() {
		n.entries, n.onDisk = map[string]*node{}, map[string]*node{}
	}
	return n
}

// change carries out a checked operation on the live state and notes that it
// is not durable.
func (m *Memory) change(op *operation) {
	now := m.tick()
	for _, c := range op.changes {
		if old := c.dir.entries[c.name]; old != nil {
			old.ctime = now
			m.unlink(old, c.dir)
		}
	}
	for _, c := range op.changes {
		if c.to == nil {
			delete(c.dir.entries, c.name)
		} else {
			c.dir.entries[c.name] = c.to
			c.to.ctime = now
			m.link(c.to, c.dir)
		}
		c.dir.live.mtime, c.dir.ctime = now, now
	}
	m.pending = append(m.pending, op)
}

func (m *Memory) link(n, dir *node) {
	if !n.mode.IsDir() {
		n.nlink++
		return
	}
	n.parent, n.unlinked, n.nlink = dir, false, n.nlink+2
	dir.nlink++
}

func (m *Memory) unlink(n, dir *node) {
	if !n.mode.IsDir() {
		n.nlink--
		return
	}
	n.unlinked, n.nlink = true, n.nlink-2
	dir.nlink--
}

// settle makes every operation on dir durable, in order. To remove a directory
// a file system must first have emptied it, so the operations in one that was
// removed come with its removal.
func (m *Memory) settle(dir *node) {
	dirs := map[*node]bool{dir: true}
	for grown := true; grown; {
		grown = false
		for _, op := range m.pending {
			if op.removed != nil && !dirs[op.removed] && op.touches(dirs) {
				dirs[op.removed], grown = true, true
			}
		}
	}
	var rest []*operation
	later := map[slot]bool{} // what an operation made durable that came after
	for _, op := range slices.Backward(m.pending) {
		if !op.touches(dirs) {
			op.changes = slices.DeleteFunc(op.changes, func(c change) bool { return later[c.slot] })
			if len(op.changes) > 0 {
				rest = append(rest, op)
			}
			continue
		}
		for _, c := range op.changes {
			if !later[c.slot] {
				c.store()
			}
			later[c.slot] = true
		}
	}
	slices.Reverse(rest)
	m.pending = rest
}

func (op *operation) touches(dirs map[*node]bool) bool {
	return slices.ContainsFunc(op.changes, func(c change) bool { return dirs[c.dir] })
}

// store carries out a change on the durable state.
func (c change) store() {
	if c.to == nil {
		delete(c.dir.onDisk, c.name)
	} else {
		c.dir.onDisk[c.name] = c.to
	}
}

// Crash loses what was not synced, and makes every handle stale (ESTALE). With
// a nil rng all of it is lost; otherwise an arbitrary part: each directory
// operation may have been kept, and of what was written to a file any first
// part, the end of which may read as zeros.
func (m *Memory) Crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	if rng != nil {
		for _, op := range m.pending {
			if rng.IntN(2) == 0 || op.removed != nil && len(op.removed.onDisk) > 0 {
				continue
			}
			for _, c := range op.changes {
				c.store()
			}
		}
	}
	m.pending = nil
	m.root.nlink = 2
	m.root.recover(rng, map[*node]bool{m.root: true})
}

// recover makes the durable state below directory n the live one.
func (n *node) recover(rng *rand.Rand, seen map[*node]bool) {
	n.entries = maps.Clone(n.onDisk)
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		child := n.entries[name]
		if !seen[child] {
			child.nlink = 0
		}
		if !child.mode.IsDir() {
			child.nlink++
		}
		if seen[child] {
			continue
		}
		seen[child] = true
		if child.mode.IsDir() {
			child.parent, child.unlinked, child.nlink = n, false, 2
			n.nlink++
			child.recover(rng, seen)
			continue
		}
		child.lose(rng)
	}
}

// lose leaves of a file what a crash may leave.
func (n *node) lose(rng *rand.Rand) {
	left := n.durable
	if rng != nil && rng.IntN(2) == 0 {
		left = n.live
		first := len(n.durable.data)
		if n.rewrote {
			first = 0
		}
		cut := first + rng.IntN(len(left.data)-first+1)
		left.data = slices.Clone(left.data[:cut])
		if rng.IntN(2) == 0 {
			clear(left.data[first+rng.IntN(cut-first+1):])
		}
		if rng.IntN(2) == 0 {
			left.xattrs = n.durable.xattrs
		}
	}
	n.live, n.durable, n.rewrote = left, left, false
}

// lookup resolves a path below directory n, of which no name is a symbolic
// link but, if leaf, the last.
func (n *node) lookup(path string, leaf bool) (*node, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if path == "." {
		return n, nil
	}
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		child, err := n.child(name)
		if err != nil {
			return nil, err
		}
		if child.mode&fs.ModeSymlink != 0 && (more || !leaf) {
			return nil, syscall.ELOOP
		}
		n = child
	}
	return n, nil
}

// child returns what a name in n means, ENOENT if nothing.
func (n *node) child(name string) (*node, error) {
	if !n.mode.IsDir() {
		return nil, syscall.ENOTDIR
	}
	if len(name) > memoryNameMax {
		return nil, syscall.ENAMETOOLONG
	}
	if c := n.entries[name]; c != nil && !n.unlinked {
		return c, nil
	}
	return nil, syscall.ENOENT
}

// memoryNameMax is the longest name, in bytes.
const memoryNameMax = 255

// parentOf returns the directory of the last name in path, and that name, which
// may be new.
func (n *node) parentOf(path string) (*node, string, error) {
	if err := checkPath(path); err != nil {
		return nil, "", err
	}
	dir, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	if err := checkName(name); err != nil {
		return nil, "", err
	}
	parent, err := n.lookup(dir, false)
	switch {
	case err != nil:
		return nil, "", err
	case !parent.mode.IsDir():
		return nil, "", syscall.ENOTDIR
	case parent.unlinked:
		return nil, "", syscall.ENOENT
	case len(name) > memoryNameMax:
		return nil, "", syscall.ENAMETOOLONG
	}
	return parent, name, nil
}

func (n *node) stat() Stat {
	s := Stat{
		Dev: 1, Ino: n.ino, Nlink: n.nlink, Size: int64(len(n.live.data)), Mode: n.mode,
		UID: n.live.uid, GID: n.live.gid, Mtime: time.Unix(0, n.live.mtime), Ctime: time.Unix(0, n.ctime),
	}
	if n.mode.IsDir() {
		s.Size = int64(len(n.entries))
	}
	return s
}
