package vfs

import (
	"io"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Op is an operation of a Dir or File.
type Op uint8

// The operations: those of Dir, and then those of File.
const (
	OpOpenDir Op = iota
	OpOpen
	OpCreate
	OpMkdir
	OpRename
	OpLink
	OpRemove
	OpRmdir
	OpStat
	OpReadDir
	OpUsage
	OpSyncDir
	OpCloseDir
	OpRead
	OpWrite
	OpSend
	OpCopy
	OpStatFile
	OpGetxattr
	OpSetxattr
	OpChown
	OpChmod
	OpSync
	OpClose
	numOps
)

// String returns the name of the operation.
func (o Op) String() string {
	names := [numOps]string{
		"OpenDir", "Open", "Create", "Mkdir", "Rename", "Link", "Remove", "Rmdir", "Stat", "ReadDir", "Usage", "SyncDir", "CloseDir",
		"Read", "Write", "Send", "Copy", "StatFile", "Getxattr", "Setxattr", "Chown", "Chmod", "Sync", "Close",
	}
	if o < numOps {
		return names[o]
	}
	return "Op(" + strconv.Itoa(int(o)) + ")"
}

// OpCall is one call of an operation.
type OpCall struct {
	Op   Op
	Path string // from the root, as the handle was opened; "." is the root
	To   string // of Rename and Link: the new path
}

// Fault passes calls on to another file system, but for those that it was told
// to fail or to hold up. It is safe for concurrent use.
type Fault struct {
	root  Dir
	calls [numOps]atomic.Int64
	mu    sync.Mutex
	rules []*rule
}

// rule is what is to be done to calls; one of its functions is set.
type rule struct {
	before, after func(OpCall) error
	hang          *Hang
}

// NewFault returns a Fault over the tree beneath root, which stays the
// caller's to close.
func NewFault(root Dir) *Fault { return &Fault{root: root} }

// Root returns a handle of the root. Closing it closes the one given to NewFault.
func (f *Fault) Root() Dir { return &faultDir{f: f, d: f.root, path: "."} }

// Inject makes calls fail for which match returns an error: the error is the
// result and the call is not made. It goes on until the returned function is
// called. match runs for one call at a time.
func (f *Fault) Inject(match func(OpCall) error) (remove func()) {
	return f.add(&rule{before: match})
}

// InjectAfter makes calls fail for which match returns an error, after they
// were carried out: as when the reply of a server is lost. If the call itself
// fails, its own error stays.
func (f *Fault) InjectAfter(match func(OpCall) error) (remove func()) {
	return f.add(&rule{after: match})
}

// Hang holds up the calls that match chooses until Release, before they are
// made: a file system that does not answer.
func (f *Fault) Hang(match func(OpCall) bool) *Hang {
	h := &Hang{match: match, reached: make(chan struct{}), released: make(chan struct{})}
	h.remove = f.add(&rule{hang: h})
	return h
}

// Hang is a condition under which calls are held up.
type Hang struct {
	match             func(OpCall) bool
	reached, released chan struct{}
	once              sync.Once
	arrive            sync.Once
	remove            func()
}

// Reached is closed when the first call is held up.
func (h *Hang) Reached() <-chan struct{} { return h.reached }

// Release lets all calls go on, and no later one be held up. It can be called
// twice.
func (h *Hang) Release() {
	h.once.Do(func() {
		h.remove()
		close(h.released)
	})
}

// Calls returns how often an operation was called, failed calls included.
func (f *Fault) Calls(op Op) int { return int(f.calls[op].Load()) }

// Total returns how many calls there were of all operations.
func (f *Fault) Total() int {
	sum := 0
	for op := range f.calls {
		sum += f.Calls(Op(op)) //nolint:gosec // below numOps
	}
	return sum
}

func (f *Fault) add(r *rule) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(slices.Clone(f.rules), r)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rules = slices.DeleteFunc(slices.Clone(f.rules), func(o *rule) bool { return o == r })
	}
}

// judge asks the rules what is to become of a call.
func (f *Fault) judge(c OpCall) (hangs []*Hang, before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		switch {
		case r.before != nil && before == nil:
			before = r.before(c)
		case r.after != nil && after == nil:
			after = r.after(c)
		case r.hang != nil && r.hang.match(c):
			hangs = append(hangs, r.hang)
		}
	}
	return hangs, before, after
}

// through makes a call as the rules will have it. If its reply is lost, drop
// frees what it returned.
func through[T any](f *Fault, c OpCall, call func() (T, error), drop func(T)) (T, error) {
	var none T
	f.calls[c.Op].Add(1)
	hangs, before, after := f.judge(c)
	for _, h := range hangs {
		h.arrive.Do(func() { close(h.reached) })
		<-h.released
	}
	if before != nil {
		return none, before
	}
	v, err := call()
	if err == nil && after != nil {
		if drop != nil {
			drop(v)
		}
		return none, after
	}
	return v, err
}

// do is through for calls that return nothing else.
func (f *Fault) do(c OpCall, call func() error) error {
	_, err := through(f, c, func() (struct{}, error) { return struct{}{}, call() }, nil)
	return err
}

type faultDir struct {
	f    *Fault
	d    Dir
	path string
}

func (d *faultDir) join(path string) string {
	switch {
	case d.path == ".":
		return path
	case path == ".":
		return d.path
	}
	return d.path + "/" + path
}

// seesByTime is SeesByTime.
func (d *faultDir) seesByTime() bool { return SeesByTime(d.d) }

// tellsByTime is TellsByTime.
func (d *faultDir) tellsByTime() bool { return TellsByTime(d.d) }

// leased is Leased.
func (d *faultDir) leased(lease Lease) (Dir, error) {
	root, err := Leased(d.d, lease)
	if err != nil || root == d.d {
		return d, err
	}
	return &faultDir{f: d.f, d: root, path: d.path}, nil
}

func (d *faultDir) call(op Op, path string) OpCall { return OpCall{Op: op, Path: d.join(path)} }

// OpenDir implements Dir.
func (d *faultDir) OpenDir(path string) (Dir, error) {
	c := d.call(OpOpenDir, path)
	opened, err := through(d.f, c, func() (Dir, error) { return d.d.OpenDir(path) }, func(o Dir) { _ = o.Close() }) // nobody has it
	if err != nil {
		return nil, err
	}
	return &faultDir{f: d.f, d: opened, path: c.Path}, nil
}

// Open implements Dir.
func (d *faultDir) Open(path string) (File, error) {
	return d.file(d.call(OpOpen, path), func() (File, error) { return d.d.Open(path) })
}

// Create implements Dir.
func (d *faultDir) Create(name string, perm fs.FileMode) (File, error) {
	return d.file(d.call(OpCreate, name), func() (File, error) { return d.d.Create(name, perm) })
}

func (d *faultDir) file(c OpCall, open func() (File, error)) (File, error) {
	opened, err := through(d.f, c, open, func(o File) { _ = o.Close() }) // nobody has it
	if err != nil {
		return nil, err
	}
	return &faultFile{f: d.f, file: opened, path: c.Path}, nil
}

// Mkdir implements Dir.
func (d *faultDir) Mkdir(path string, perm fs.FileMode) error {
	return d.f.do(d.call(OpMkdir, path), func() error { return d.d.Mkdir(path, perm) })
}

// Rename implements Dir.
func (d *faultDir) Rename(oldname string, to Dir, newname string) error {
	c, to := d.pair(OpRename, oldname, to, newname)
	return d.f.do(c, func() error { return d.d.Rename(oldname, to, newname) })
}

// Link implements Dir.
func (d *faultDir) Link(oldname string, to Dir, newname string) error {
	c, to := d.pair(OpLink, oldname, to, newname)
	return d.f.do(c, func() error { return d.d.Link(oldname, to, newname) })
}

// pair returns the call and the directory that "to" wraps. One that is not
// ours is passed on, for the other file system to refuse.
func (d *faultDir) pair(op Op, oldname string, to Dir, newname string) (OpCall, Dir) {
	c := d.call(op, oldname)
	c.To = newname
	if t, ok := to.(*faultDir); ok {
		c.To, to = t.join(newname), t.d
	}
	return c, to
}

// Remove implements Dir.
func (d *faultDir) Remove(name string) error {
	return d.f.do(d.call(OpRemove, name), func() error { return d.d.Remove(name) })
}

// Rmdir implements Dir.
func (d *faultDir) Rmdir(name string) error {
	return d.f.do(d.call(OpRmdir, name), func() error { return d.d.Rmdir(name) })
}

// Stat implements Dir.
func (d *faultDir) Stat(path string) (Stat, error) {
	return through(d.f, d.call(OpStat, path), func() (Stat, error) { return d.d.Stat(path) }, nil)
}

// ReadDir implements Dir.
func (d *faultDir) ReadDir() ([]Entry, error) {
	return through(d.f, d.call(OpReadDir, "."), d.d.ReadDir, nil)
}

// Usage implements Dir.
func (d *faultDir) Usage() (Usage, error) {
	return through(d.f, d.call(OpUsage, "."), d.d.Usage, nil)
}

// Chown implements Dir.
func (d *faultDir) Chown(uid, gid int) error {
	return d.f.do(d.call(OpChown, "."), func() error { return d.d.Chown(uid, gid) })
}

// Chmod implements Dir.
func (d *faultDir) Chmod(mode fs.FileMode) error {
	return d.f.do(d.call(OpChmod, "."), func() error { return d.d.Chmod(mode) })
}

// Sync implements Dir.
func (d *faultDir) Sync() error { return d.f.do(d.call(OpSyncDir, "."), d.d.Sync) }

// Close implements Dir.
func (d *faultDir) Close() error { return d.f.do(d.call(OpCloseDir, "."), d.d.Close) }

type faultFile struct {
	f    *Fault
	file File
	path string
}

func (f *faultFile) call(op Op) OpCall { return OpCall{Op: op, Path: f.path} }

// ReadAt implements File.
func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	return through(f.f, f.call(OpRead), func() (int, error) { return f.file.ReadAt(p, off) }, nil)
}

// Write implements File.
func (f *faultFile) Write(p []byte) (int, error) {
	return through(f.f, f.call(OpWrite), func() (int, error) { return f.file.Write(p) }, nil)
}

// Send implements File.
func (f *faultFile) Send(w io.Writer, off, n int64) (int64, error) {
	return through(f.f, f.call(OpSend), func() (int64, error) { return f.file.Send(w, off, n) }, nil)
}

// CopyFrom implements File.
func (f *faultFile) CopyFrom(src File, off, n int64) (int64, error) {
	if s, ok := src.(*faultFile); ok {
		src = s.file
	}
	return through(f.f, f.call(OpCopy), func() (int64, error) { return f.file.CopyFrom(src, off, n) }, nil)
}

// Stat implements File.
func (f *faultFile) Stat() (Stat, error) { return through(f.f, f.call(OpStatFile), f.file.Stat, nil) }

// LinkTo implements Linker, where the file does.
func (f *faultFile) LinkTo(dir Dir, name string) error {
	linker, ok := f.file.(Linker)
	if !ok {
		return pathError("link", f.path, ErrUnsupported)
	}
	c := f.call(OpLink)
	c.To = name
	if t, ok := dir.(*faultDir); ok {
		c.To, dir = t.join(name), t.d
	}
	return f.f.do(c, func() error { return linker.LinkTo(dir, name) })
}

// Getxattr implements File.
func (f *faultFile) Getxattr(name string) ([]byte, error) {
	return through(f.f, f.call(OpGetxattr), func() ([]byte, error) { return f.file.Getxattr(name) }, nil)
}

// Setxattr implements File.
func (f *faultFile) Setxattr(name string, value []byte) error {
	return f.f.do(f.call(OpSetxattr), func() error { return f.file.Setxattr(name, value) })
}

// Chown implements File.
func (f *faultFile) Chown(uid, gid int) error {
	return f.f.do(f.call(OpChown), func() error { return f.file.Chown(uid, gid) })
}

// Chmod implements File.
func (f *faultFile) Chmod(mode fs.FileMode) error {
	return f.f.do(f.call(OpChmod), func() error { return f.file.Chmod(mode) })
}

// Sync implements File.
func (f *faultFile) Sync() error { return f.f.do(f.call(OpSync), f.file.Sync) }

// Close implements File. A close that fails still closes what it wraps, as
// close(2) does.
func (f *faultFile) Close() error {
	closed := false
	err := f.f.do(f.call(OpClose), func() error {
		closed = true
		return f.file.Close()
	})
	if err != nil && !closed {
		_ = f.file.Close() // the injected error is the answer
	}
	return err
}
