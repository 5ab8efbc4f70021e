package drive

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// haltingFS is a file system whose writes do not fail: whoever meets an error in one waits
// for ever. Pebble panics where it cannot begin a log or end one, in a way that nothing can
// recover from (v2.1.7, DB.rotateWAL), which would end the process and the other drives
// with it. The store has failed then, which failed is told, and nothing begins in it again.
type haltingFS struct {
	vfs.FS
	armed  atomic.Bool // before, errors are returned
	failed func(what string, err error)
}

// check returns nil, or does not return.
func (h *haltingFS) check(what string, err error) error {
	if err == nil || !h.armed.Load() {
		return err
	}
	h.failed(what, err)
	select {}
}

func (h *haltingFS) file(what string, f vfs.File, err error) (vfs.File, error) {
	if err := h.check(what, err); err != nil {
		return nil, err
	}
	return &haltingFile{File: f, fs: h}, nil
}

// Create implements vfs.FS.
func (h *haltingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(name, category)
	return h.file("create "+name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (h *haltingFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.OpenReadWrite(name, category, opts...)
	return h.file("open "+name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (h *haltingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.ReuseForWrite(oldname, newname, category)
	return h.file("reuse "+oldname, f, err)
}

// OpenDir implements vfs.FS.
func (h *haltingFS) OpenDir(name string) (vfs.File, error) {
	f, err := h.FS.OpenDir(name)
	return h.file("open "+name, f, err)
}

// Link implements vfs.FS.
func (h *haltingFS) Link(oldname, newname string) error {
	return h.check("link "+newname, h.FS.Link(oldname, newname))
}

// Rename implements vfs.FS.
func (h *haltingFS) Rename(oldname, newname string) error {
	return h.check("rename "+newname, h.FS.Rename(oldname, newname))
}

// haltingFile is a file that is written in the same way.
type haltingFile struct {
	vfs.File
	fs *haltingFS
}

func (f *haltingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.check("write", err)
}

func (f *haltingFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	return n, f.fs.check("write", err)
}

func (f *haltingFile) Sync() error { return f.fs.check("sync", f.File.Sync()) }

func (f *haltingFile) SyncData() error { return f.fs.check("sync", f.File.SyncData()) }

func (f *haltingFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.check("sync", err)
}

func (f *haltingFile) Close() error { return f.fs.check("close", f.File.Close()) }
