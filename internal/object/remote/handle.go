package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// handle is an object that is open at the other end, or whose whole content is
// here already.
type handle struct {
	client *Client
	link   *link // nil once it was given back
	info   object.Info
	whole  []byte
	last   *reader // the newest; nil before the first
}

// takeWhole takes in a content that came with the answer, and is done with the
// connection.
func (h *handle) takeWhole() (object.Handle, error) {
	h.last = &reader{link: h.link, left: h.info.Held()}
	var content bytes.Buffer
	if _, err := h.last.WriteTo(&content); err != nil {
		return nil, errors.Join(object.E(open.String(), h.info.Bucket+"/"+h.info.Key, object.Unavailable, errors.Join(ErrAgain, err)), h.Close())
	}
	h.client.give(h.link)
	h.link, h.last, h.whole = nil, nil, content.Bytes()
	return h, nil
}

// Info implements object.Handle.
func (h *handle) Info() object.Info { return h.info }

// Range implements object.Handle.
func (h *handle) Range(offset, length int64) io.Reader {
	if h.link == nil {
		return io.NewSectionReader(bytes.NewReader(h.whole), offset, length)
	}
	if h.last != nil {
		h.last.abandon()
	}
	h.last = &reader{link: h.link, left: length}
	_ = h.link.send(message{Range: &extent{offset, length}}, false) // if it fails the reader finds the link gone
	return h.last
}

// Close implements object.Handle.
func (h *handle) Close() error {
	l := h.link
	if l == nil {
		return nil
	}
	h.link = nil
	if h.last != nil && !h.last.over {
		l.close(errClosed) // pieces may be on their way
		return nil
	}
	if l.send(message{Word: done}, false) == nil {
		h.client.give(l)
	}
	return nil
}

// reader is a content that comes in.
type reader struct {
	link *link
	left int64
	now  piece  // that is being read
	rest []byte // of now
	over bool   // the end has come
	err  error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	var sum int64
	for {
		if len(r.rest) > 0 {
			n, err := w.Write(r.rest)
			sum += int64(n)
			r.rest = r.rest[n:]
			if err != nil {
				return sum, err
			}
		}
		if err := r.advance(); errors.Is(err, io.EOF) {
			return sum, nil
		} else if err != nil {
			return sum, err
		}
	}
}

// advance gives the last piece back and waits for the next.
func (r *reader) advance() error {
	if r.now.buffer != nil {
		_ = r.link.taken(r.now) // if it fails the link is gone, which the wait finds
		r.now = piece{}
	}
	if r.err != nil {
		return r.err
	}
	p, err := r.link.receive(r.link.ctx, stallTime)
	switch {
	case err != nil:
		r.err = err // never io.EOF: see newLink
	case p.end != nil:
		r.over = true
		_ = r.link.taken(p)
		if r.err = p.end.Failure.err(); r.err == nil {
			r.err = io.EOF
		}
		if r.left > 0 && errors.Is(r.err, io.EOF) {
			r.err = io.ErrUnexpectedEOF
		}
	default:
		r.now, r.rest = p, p.data
		r.left -= int64(len(p.data))
	}
	return r.err
}

// abandon leaves the rest of the content out.
func (r *reader) abandon() {
	if r.over || r.err != nil {
		return
	}
	r.rest = nil
	_ = r.link.send(message{Word: stop}, false) // if it fails the wait finds the link gone
	for r.advance() == nil {
		r.rest = nil
	}
}

// receive waits for the next piece of a content. A stall of 0 is waited for ever.
func (l *link) receive(ctx context.Context, stall time.Duration) (piece, error) {
	select {
	case p := <-l.pieces:
		return p, nil
	default:
	}
	var late <-chan time.Time
	if stall > 0 {
		timer := time.NewTimer(stall)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case p := <-l.pieces:
		return p, nil
	case <-late:
		return piece{}, fmt.Errorf("the other end sent nothing for %s", stall)
	case <-ctx.Done():
		return piece{}, context.Cause(ctx)
	case <-l.ctx.Done():
	}
	select {
	case p := <-l.pieces: // the last that came
		return p, nil
	default:
		return piece{}, context.Cause(l.ctx)
	}
}
