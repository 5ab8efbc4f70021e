package routed

import (
	"errors"
	"io"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// errBrokenOff is what reads of an object return when this gateway comes to own
// its bucket anew.
var errBrokenOff = errors.New("the bucket has passed to another gateway and back")

// handle is an object that is open through this gateway's client of the file
// system. As long as a file is open a client of SMB goes on showing it under its
// name, whatever others have put there: so it is closed before a later tenure of
// the bucket begins.
type handle struct {
	tenures *tenures
	bucket  string

	mu    sync.Mutex
	inner object.Handle
	err   error
}

// note takes note of an object that was opened.
func (ts *tenures) note(bucket string, inner object.Handle) *handle {
	h := &handle{tenures: ts, bucket: bucket, inner: inner}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open[bucket] == nil {
		ts.open[bucket] = make(map[*handle]struct{})
	}
	ts.open[bucket][h] = struct{}{}
	return h
}

// breakOff closes all that is open in a bucket.
func (ts *tenures) breakOff(bucket string) {
	ts.mu.Lock()
	open := ts.open[bucket]
	delete(ts.open, bucket)
	ts.mu.Unlock()
	for h := range open {
		h.mu.Lock()
		if h.err == nil {
			h.err = errors.Join(errBrokenOff, h.inner.Close())
		}
		h.mu.Unlock()
	}
}

// Info implements object.Handle.
func (h *handle) Info() object.Info { return h.inner.Info() }

// Range implements object.Handle.
func (h *handle) Range(offset, length int64) io.Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return &reader{handle: h}
	}
	return &reader{handle: h, inner: h.inner.Range(offset, length)}
}

// Close implements object.Handle.
func (h *handle) Close() error {
	h.tenures.mu.Lock()
	delete(h.tenures.open[h.bucket], h)
	if len(h.tenures.open[h.bucket]) == 0 {
		delete(h.tenures.open, h.bucket)
	}
	h.tenures.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil // closed already
	}
	h.err = errors.New("it was closed")
	return h.inner.Close()
}

// reader is a part of a handle's object. It is no io.WriterTo, since the file
// can be closed between two pieces only.
type reader struct {
	handle *handle
	inner  io.Reader
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	r.handle.mu.Lock()
	defer r.handle.mu.Unlock()
	if r.handle.err != nil {
		return 0, r.handle.err
	}
	return r.inner.Read(p)
}
