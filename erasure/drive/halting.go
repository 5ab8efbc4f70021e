package drive

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// haltingFS is a file system whose writes do not fail: whoever meets an error in one waits
// for ever. Pebble panics where it cannot begin a log or end one, or sync its directory, in a
// way that nothing can recover from (v2.1.7, DB.rotateWAL, atomicfs.Marker.Move), which would end the process and the other drives
// with it. The store has failed then, which failed is told, and nothing begins in it again:
// once halted, whoever is about to change something waits as well, so that another store
// can be opened in its place.
type haltingFS struct {
	vfs.FS
	failed func(what string, err error)

	mu     sync.Mutex
	halted bool
	inside sync.WaitGroup         // calls that change something
	open   map[io.Closer]struct{} // files, and the lock
}

// halt has nothing begin any more that changes something.
func (h *haltingFS) halt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.halted = true
}

// release closes, after halt, what is open: the disk can be unmounted then. It returns when
// nothing that changes something is under way any more.
func (h *haltingFS) release() error {
	h.inside.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for c := range h.open {
		errs = append(errs, c.Close())
	}
	clear(h.open)
	return errors.Join(errs...)
}

// change makes a call that changes something, or does not return.
func (h *haltingFS) change(call func() error) error {
	h.mu.Lock()
	if h.halted {
		h.mu.Unlock()
		select {}
	}
	h.inside.Add(1)
	h.mu.Unlock()
	defer h.inside.Done()
	return call()
}

// must is change for a call that must not fail.
func (h *haltingFS) must(what string, call func() error) error {
	err := h.change(call)
	if err == nil {
		return nil
	}
	h.failed(what, err)
	select {}
}

// track takes note of what is open.
func (h *haltingFS) track(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = make(map[io.Closer]struct{})
	}
	h.open[c] = struct{}{}
}

// untrack reports whether that is the caller's to close.
func (h *haltingFS) untrack(c io.Closer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, mine := h.open[c]
	delete(h.open, c)
	return mine
}

// written returns a file that open makes to be written.
func (h *haltingFS) written(what string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = h.must(what, func() error {
		if f, err = open(); err == nil {
			h.track(f)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &haltingFile{File: f, fs: h}, nil
}

// Create implements vfs.FS.
func (h *haltingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return h.written("create "+name, func() (vfs.File, error) { return h.FS.Create(name, category) })
}

// OpenReadWrite implements vfs.FS.
func (h *haltingFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return h.written("open "+name, func() (vfs.File, error) { return h.FS.OpenReadWrite(name, category, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (h *haltingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return h.written("reuse "+oldname, func() (vfs.File, error) { return h.FS.ReuseForWrite(oldname, newname, category) })
}

// OpenDir implements vfs.FS.
func (h *haltingFS) OpenDir(name string) (vfs.File, error) {
	return h.written("open "+name, func() (vfs.File, error) { return h.FS.OpenDir(name) })
}

// Open implements vfs.FS. That a file cannot be read is no failure of the store.
func (h *haltingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	h.track(f)
	return &readFile{File: f, fs: h}, nil
}

// Lock implements vfs.FS.
func (h *haltingFS) Lock(name string) (io.Closer, error) {
	c, err := h.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	l := &heldLock{c, h}
	h.track(l.Closer)
	return l, nil
}

// Link implements vfs.FS.
func (h *haltingFS) Link(oldname, newname string) error {
	return h.must("link "+newname, func() error { return h.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (h *haltingFS) Rename(oldname, newname string) error {
	return h.must("rename "+newname, func() error { return h.FS.Rename(oldname, newname) })
}

// Remove implements vfs.FS.
func (h *haltingFS) Remove(name string) error {
	return h.change(func() error { return h.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (h *haltingFS) RemoveAll(name string) error {
	return h.change(func() error { return h.FS.RemoveAll(name) })
}

// MkdirAll implements vfs.FS.
func (h *haltingFS) MkdirAll(dir string, perm os.FileMode) error {
	return h.change(func() error { return h.FS.MkdirAll(dir, perm) })
}

// haltingFile is a file that is written in the same way.
type haltingFile struct {
	vfs.File
	fs *haltingFS
}

func (f *haltingFile) Write(p []byte) (n int, err error) {
	err = f.fs.must("write", func() error { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *haltingFile) WriteAt(p []byte, offset int64) (n int, err error) {
	err = f.fs.must("write", func() error { n, err = f.File.WriteAt(p, offset); return err })
	return n, err
}

func (f *haltingFile) Preallocate(offset, length int64) error {
	return f.fs.change(func() error { return f.File.Preallocate(offset, length) })
}

func (f *haltingFile) Sync() error { return f.fs.must("sync", f.File.Sync) }

func (f *haltingFile) SyncData() error { return f.fs.must("sync", f.File.SyncData) }

func (f *haltingFile) SyncTo(length int64) (full bool, err error) {
	err = f.fs.must("sync", func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}

func (f *haltingFile) Close() error {
	return f.fs.must("close", func() error {
		f.fs.untrack(f.File)
		return f.File.Close()
	})
}

// readFile is a file that is only read.
type readFile struct {
	vfs.File
	fs *haltingFS
}

func (f *readFile) Close() error {
	if !f.fs.untrack(f.File) {
		return nil
	}
	return f.File.Close()
}

// heldLock is the lock of a store.
type heldLock struct {
	io.Closer
	fs *haltingFS
}

func (l *heldLock) Close() error {
	if !l.fs.untrack(l.Closer) {
		return nil
	}
	return l.Closer.Close()
}
