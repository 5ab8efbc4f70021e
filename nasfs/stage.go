package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// staged is a file in the session's directory that is to become an object or
// part. It belongs to one phase, or to nobody else, at a time.
type staged struct {
	bucket string       // that it is to become an object of; empty for a part
	asked  object.Files // what it is to be given, before what the bucket says
	direct bool         // it is written past the page cache

	name   string
	file   vfs.File     // nil once it is closed
	size   int64        // bytes written
	files  object.Files // what it was given
	stat   vfs.Stat     // after the last write
	losses uint64       // of inode numbers (numbers), when it was made
	rec    record

	linked    bool // the file has another name
	published bool // the file has, or may have, another name: its sidecar stays
}

// The sizes of the buffers that content passes through. The largest is what makes the
// writes of a large object large, and bounds what an upload takes.
const (
	bufferSmall  = 16 << 10
	bufferMedium = 128 << 10
	bufferLarge  = 1 << 20
)

// minDirect is the size, in bytes, from which on an object is written past the page cache of a
// local disk: it is made durable at once, and would push out of the cache what is read.
const minDirect = 8 << 20

// buffers are the pools of buffers, by size.
type buffers struct{ small, medium, large sync.Pool }

func (b *buffers) pool(size int) *sync.Pool {
	switch size {
	case bufferSmall:
		return &b.small
	case bufferMedium:
		return &b.medium
	}
	return &b.large
}

// get returns a buffer that a body of size bytes, or -1, fits in with room to
// spare if one can be had, so that its end shows in the first filling.
func (b *buffers) get(size int64) *[]byte {
	n := bufferLarge
	switch {
	case size >= 0 && size < bufferSmall:
		n = bufferSmall
	case size >= 0 && size < bufferMedium:
		n = bufferMedium
	}
	if buf, ok := b.pool(n).Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, n)
	return &buf
}

func (b *buffers) put(buf *[]byte) { b.pool(len(*buf)).Put(buf) }

// fill reads until buf is full or the body ends.
func fill(body io.Reader, buf []byte) (n int, end bool, err error) {
	const idle = 100 // reads of nothing before it counts as an error, as in package bufio
	for empty := 0; n < len(buf); {
		m, err := body.Read(buf[n:])
		n += m
		switch {
		case err == io.EOF: //nolint:errorlint // object.Body: on this and on nothing that wraps it
			return n, true, nil
		case err != nil:
			return n, false, err
		case m > 0:
			empty = 0
		default:
			if empty++; empty == idle {
				return n, false, io.ErrNoProgress
			}
		}
	}
	return n, false, nil
}

// stage writes a body to a file of the session, and when it has ended seals the
// file with the record that describe makes of its digest. A body in one buffer
// takes one phase; of a longer one each buffer takes one.
//
// st says what the file is to become, and has nothing yet; it is returned.
func (s *Store) stage(ctx context.Context, st *staged, body object.Body, describe func(object.Digest) record) (*staged, error) {
	st.direct = s.localDisk && s.strict && st.bucket != "" && body.Size() >= minDirect
	buf := s.buffers.get(body.Size())
	keep := true
	defer func() {
		if keep {
			s.buffers.put(buf)
		}
	}()
	for {
		n, end, err := fill(body, *buf)
		if err != nil {
			s.discard(ctx, st)
			return nil, fmt.Errorf("read body: %w", err)
		}
		if st.size+int64(n) > object.MaxObjectSize {
			s.discard(ctx, st)
			return nil, object.TooLarge
		}
		chunk := (*buf)[:n]
		var rec record
		if end {
			rec = describe(body.Digest())
		}
		limit := s.data
		if end && st.file == nil {
			limit = s.calls
		}
		err = s.phase(ctx, limit, func() error {
			if err := s.extend(st, chunk); err != nil || !end {
				return err
			}
			return s.seal(ctx, st, rec)
		}, func() { s.remove(st) })
		if err != nil {
			keep = !errors.Is(err, errLeft) // the write goes on reading the buffer
			if keep {
				s.discard(ctx, st)
			}
			return nil, err
		}
		if end {
			return st, nil
		}
	}
}

// extend appends to the staged file, and makes it first.
func (s *Store) extend(st *staged, chunk []byte) error {
	if st.file == nil {
		if err := s.create(st); err != nil {
			return err
		}
	}
	if len(chunk) == 0 {
		return nil
	}
	if st.direct {
		n, err := vfs.Append(st.file, chunk)
		st.size += n
		return err
	}
	n, err := st.file.Write(chunk)
	st.size += int64(n)
	return err
}

func (s *Store) create(st *staged) (err error) {
	st.name = s.tempName("p")
	st.losses = s.numbers.losses.Load()
	if st.file, err = s.session.Create(st.name, s.cfg.FileMode); err != nil || st.bucket == "" {
		return s.ofSession(err)
	}
	of, err := s.filesOf(st.bucket)
	if err != nil {
		return err
	}
	st.files = st.asked.Or(of)
	return giveFile(st.file, st.files)
}

// seal gives the staged file its record, makes it durable and closes it.
func (s *Store) seal(ctx context.Context, st *staged, rec record) error {
	var err error
	if st.stat, err = st.file.Stat(); err != nil {
		return err
	}
	if st.stat.Size != st.size {
		return fmt.Errorf("wrote %d bytes, and the file has %d", st.size, st.stat.Size)
	}
	if err := s.numbered(st); err != nil {
		return err
	}
	rec.stamp, rec.writer = stampOf(st.stat), s.locker.Session().ID()
	if rec.version, err = s.draftVersion(st.bucket); err != nil {
		return err
	}
	st.rec = rec
	if err := s.stamping(ctx, func() error { return s.saveRecord(st.file, &st.rec) }); err != nil {
		return err
	}
	if s.strict {
		if err := st.file.Sync(); err != nil {
			return err
		}
	}
	f := st.file
	st.file = nil
	return f.Close()
}

// discard removes a staged file that will not be published.
func (s *Store) discard(ctx context.Context, st *staged) {
	if st.name == "" {
		return
	}
	err := s.phase(ctx, s.calls, func() error { s.remove(st); return nil }, nil)
	if errors.Is(err, errNotStarted) {
		s.reaper.add("staged file", func() error { s.remove(st); return nil })
	}
}

// remove is discard within a phase.
func (s *Store) remove(st *staged) {
	if st.name == "" {
		return
	}
	if st.file != nil {
		closeFile(st.file)
		st.file = nil
	}
	// The sidecar goes first: once the file is gone, the next one may get its
	// inode and its stamp.
	if st.stat.Ino != 0 && !st.published {
		s.nowOrLater("sidecar", func() error { return s.removeStamp(s.stamps.meta, &s.haveMeta, stampOf(st.stat)) })
	}
	s.removeTemp(st.name)
}
