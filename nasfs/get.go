package nasfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// opened is an object's file, open, with what was found out about it: all of
// it through one descriptor, so that it belongs together.
type opened struct {
	file    vfs.File
	stat    vfs.Stat
	rec     *record // nil for what somebody else wrote
	state   *record // nil unless metadata was changed since
	content []byte  // all of it; nil unless it was read when it was opened
}

func (o *opened) stamp() stamp { return stampOf(o.stat) }

// copied reports whether the file is a copy of an object's that somebody has made with its
// record, rather than what was put.
func (o *opened) copied() bool { return o.rec != nil && o.rec.stamp != o.stamp() }

// openObject opens the current version of ref; errNoKey if there is none. It
// takes no lock: what it finds was there at one moment while it ran.
func (s *Store) openObject(ref object.Ref) (*opened, error) {
	return retryStale(func() (*opened, error) {
		o, err := s.openSlot(ref, keypath.Plain, s.reads.Open)
		if !errors.Is(err, errNoKey) || !s.mayAlias() {
			return o, err
		}
		if o, err = s.openSlot(ref, keypath.Alias, s.reads.Open); !errors.Is(err, errNoKey) {
			return o, err
		}
		// It may have moved from the one to the other between the two looks.
		return s.openSlot(ref, keypath.Plain, s.reads.Open)
	})
}

// glance is openObject for a caller who looks again if there is nothing.
func (s *Store) glance(ref object.Ref) (*opened, error) {
	o, err := s.openSlot(ref, keypath.Plain, func(path string) (vfs.File, error) { return vfs.Glance(s.reads, path) })
	if isGone(err) {
		err = errNoKey
	}
	return o, err
}

// openSlot opens the file in a slot of a key.
func (s *Store) openSlot(ref object.Ref, slot keypath.Slot, open func(path string) (vfs.File, error)) (*opened, error) {
	path := s.path(ref, slot)
	for try := 1; try <= maxTries; try++ {
		o, missing, err := s.openFile(path, open)
		if err != nil || !missing {
			return o, err
		}
		// A record is not where it should, or might, be. If the file was replaced
		// meanwhile that is the reason, and its successor is what counts. Where a file
		// that is replaced is gone the successor may have its inode.
		st, err := s.reads.Stat(path)
		if err == nil && st.Ino == o.stat.Ino && (!s.stateless || stampOf(st) == o.stamp() || try == maxTries) {
			return o, nil
		}
		closeFile(o.file)
		if err != nil && !isAbsent(err) {
			return nil, err
		}
	}
	return nil, errAgain
}

func (s *Store) openFile(path string, open func(path string) (vfs.File, error)) (o *opened, missing bool, err error) {
	f, err := open(path)
	if err != nil {
		if isAbsent(err) {
			err = errNoKey
		}
		return nil, false, err
	}
	return s.describeFile(f)
}

// describeFile finds out what there is to know of an open file, and closes it if
// that fails. missing says that a record is not where it should, or might, be.
func (s *Store) describeFile(f vfs.File) (o *opened, missing bool, err error) {
	o = &opened{file: f}
	if o.stat, err = f.Stat(); err == nil && !o.stat.Mode.IsRegular() {
		err = errNoKey
	}
	if err == nil {
		o.rec, missing, err = s.loadRecord(f, o.stamp())
	}
	if err == nil {
		o.state, err = s.loadState(o)
		missing = missing || o.state == nil && s.haveTags[o.stamp().bin()].Load() && s.mayStamp()
	}
	if err != nil {
		closeFile(f)
		return nil, false, err
	}
	return o, missing, nil
}

// current returns the current version of ref, or nil if there is none.
func (s *Store) current(ref object.Ref) (*object.Info, error) {
	o, err := s.openObject(ref)
	if errors.Is(err, errNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	closeFile(o.file)
	info := s.info(ref, o.stamp(), o.rec, o.state)
	return &info, nil
}

// find opens the version that ref names. If there is none it says why; unless sure
// is set that may be errNoKey for what is there.
func (s *Store) find(ref object.Ref, sure bool) (o *opened, err error) {
	switch {
	case ref.Version != "":
		o, err = s.findVersion(ref)
	case !sure:
		o, err = s.glance(ref)
	default:
		if o, err = s.openObject(ref); errors.Is(err, errNoKey) {
			return nil, s.missing(ref)
		}
	}
	if err == nil {
		s.etags.put(o.stat, o.rec)
	}
	return o, err
}

// seek runs fn, which finds the object of ref, as a phase. Where a key can be
// missing, or its file be gone, while it is replaced, it is so only under its
// lock; before that fn need not be sure.
func (s *Store) seek(ctx context.Context, l *limit, ref object.Ref, fn func(sure bool) error, late func()) error {
	err := s.phase(ctx, l, func() error { return fn(!s.gaps) }, late)
	if !s.gaps || !errors.Is(err, errNoKey) && !errors.Is(err, syscall.ESTALE) {
		return err
	}
	lease, lost := s.locker.Acquire(ctx, lock.Shared, keyLock(ref.Bucket, ref.Key))
	if lost != nil {
		return lost
	}
	defer lease.Release()
	return s.phase(ctx, l, func() error { return fn(true) }, late)
}

// Stat implements object.Objects.
func (s *Store) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	var info object.Info
	err := s.seek(ctx, s.calls, ref, func(sure bool) error {
		o, err := s.find(ref, sure)
		if err != nil {
			return err
		}
		closeFile(o.file)
		info = s.info(ref, o.stamp(), o.rec, o.state)
		return nil
	}, nil)
	if err != nil {
		return object.Info{}, fail("stat", ref.Bucket+"/"+ref.Key, err)
	}
	return info, nil
}

// Open implements object.Objects.
func (s *Store) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	var o *opened
	err := s.seek(ctx, s.calls, ref, func(sure bool) (err error) {
		if o, err = s.find(ref, sure); err != nil {
			return err
		}
		if err = s.keep(o); err != nil {
			closeFile(o.file)
			o = nil
		}
		return err
	}, func() {
		if o != nil {
			closeFile(o.file)
		}
	})
	if err != nil {
		return nil, fail("open", ref.Bucket+"/"+ref.Key, err)
	}
	return &handle{store: s, ctx: ctx, opened: o, hold: s.holdLong(o), info: s.info(ref, o.stamp(), o.rec, o.state)}, nil
}

// keep reads the content of an object that is small enough to be read at once, where it
// could be gone when it is asked for. Only that is an error: what else goes wrong is told
// to the reader.
func (s *Store) keep(o *opened) error {
	if !s.stateless || o.stat.Size >= bufferMedium {
		return nil
	}
	content := make([]byte, o.stat.Size)
	n, err := o.file.ReadAt(content, 0)
	if n == len(content) {
		var st vfs.Stat
		if st, err = o.file.Stat(); err == nil && stampOf(st) == o.stamp() {
			o.content = content
		}
	}
	if !errors.Is(err, syscall.ESTALE) {
		return nil
	}
	return err
}

// readAt reads content as io.ReaderAt does.
func (o *opened) readAt(p []byte, off int64) (int, error) {
	if o.content != nil {
		return bytes.NewReader(o.content).ReadAt(p, off)
	}
	return o.file.ReadAt(p, off)
}

// handle implements object.Handle on one file. An overwrite leaves the file
// what it was; a change in place, by somebody else, makes reading fail.
type handle struct {
	store  *Store
	ctx    context.Context //nolint:containedctx // of Open: what waits for a slot ends with it
	opened *opened
	hold   *hold
	info   object.Info
	ranged rangeReader
}

// Info implements object.Handle.
func (h *handle) Info() object.Info { return h.info }

// Close implements object.Handle.
func (h *handle) Close() error {
	h.hold.stop()
	defer h.hold.drop()
	return fail("close", h.info.Key, h.opened.file.Close())
}

// Range implements object.Handle. The reader is an io.WriterTo.
func (h *handle) Range(offset, length int64) io.Reader {
	h.ranged = rangeReader{h: h, off: offset, left: max(length, 0)}
	return &h.ranged
}

// rangeReader reads a part of a handle's file. It gives out the last bytes only
// when the file is found to be still what it was, so that whoever has got all
// of them has got them of one version.
type rangeReader struct {
	h         *handle
	off, left int64
}

// heldBack is how much WriteTo holds back until it has looked at the file once
// more, in bytes.
const heldBack = bufferSmall

// Read implements io.Reader.
func (r *rangeReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), r.left)]
	if err := r.h.enter(); err != nil {
		return 0, err
	}
	defer r.h.leave()
	n, err := r.read(p)
	r.off, r.left = r.off+int64(n), r.left-int64(n)
	return n, err
}

// read fills p.
func (r *rangeReader) read(p []byte) (int, error) {
	n, err := r.h.opened.readAt(p, r.off)
	switch {
	case n == len(p):
		err = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err == nil && int64(n) == r.left {
		err = r.h.unchanged()
	}
	if err != nil {
		return 0, fail("read", r.h.info.Key, err)
	}
	return n, nil
}

// WriteTo implements io.WriterTo, by sendfile(2) where w can.
func (r *rangeReader) WriteTo(w io.Writer) (int64, error) {
	if r.left == 0 {
		return 0, nil
	}
	if err := r.h.enter(); err != nil {
		return 0, err
	}
	defer r.h.leave()
	var sent int64
	if r.left >= bufferMedium {
		n, err := r.h.opened.file.Send(w, r.off, r.left-heldBack)
		sent, r.off, r.left = n, r.off+n, r.left-n
		if err != nil {
			return sent, fail("send", r.h.info.Key, err)
		}
	}
	buf := r.h.store.buffers.get(r.left - 1) // it need not have room to spare
	defer r.h.store.buffers.put(buf)
	p := (*buf)[:r.left]
	if _, err := r.read(p); err != nil {
		return sent, err
	}
	n, err := w.Write(p)
	sent, r.off, r.left = sent+int64(n), r.off+int64(n), r.left-int64(n)
	if err != nil {
		return sent, fmt.Errorf("write to the client: %w", err)
	}
	return sent, nil
}

// errChanged is returned when a file was changed in place while it was read.
var errChanged = errors.New("the file was changed while it was read")

// unchanged looks whether the file is still what it was when it was opened.
func (h *handle) unchanged() error {
	if h.opened.content != nil {
		return nil // that was looked at when it was read
	}
	st, err := h.opened.file.Stat()
	if err != nil {
		return err
	}
	if stampOf(st) != h.opened.stamp() {
		return object.E("read", h.info.Key, object.Conflict, errChanged)
	}
	return nil
}

// enter takes a place among the bodies being sent: each may come to hold a
// thread when the file system hangs. It is made inline, since a call that
// writes to the client cannot be left behind.
func (h *handle) enter() error {
	s := h.store
	s.lastUse.Store(s.ticks())
	select {
	case s.streams <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.streams <- struct{}{}:
		return nil
	case <-h.ctx.Done():
		return fail("read", h.info.Key, errors.Join(errNotStarted, context.Cause(h.ctx)))
	}
}

func (h *handle) leave() { <-h.store.streams }
