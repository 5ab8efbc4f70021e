package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// copyStep is how much is copied before the caller's context is looked at
// again, in bytes.
const copyStep = 64 << 20

// Copy implements object.Copier. The copy is a file of its own, whose blocks
// the file system may share with the source's.
func (s *Store) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	const op = "copy"
	st := &staged{bucket: dst.Bucket, asked: in.Files}
	err := s.seek(ctx, s.data, src, func(sure bool) error { return s.stageCopy(ctx, st, src, dst, in, sure) }, func() { s.remove(st) })
	if err != nil {
		if !errors.Is(err, errLeft) {
			s.discard(ctx, st)
		}
		return object.Info{}, failChecked(op, src, err)
	}
	return s.commit(ctx, op, st, dst, in.Check)
}

// stageCopy makes the staged file from the source, anew if that is changed in
// place, or gone, meanwhile.
func (s *Store) stageCopy(ctx context.Context, st *staged, src, dst object.Ref, in object.CopyInput, sure bool) error {
	var err error
	for range maxTries {
		if err = s.tryCopy(ctx, st, src, dst, in, sure); !errors.Is(err, errChanged) && !errors.Is(err, syscall.ESTALE) {
			return err
		}
		s.remove(st)
		*st = staged{bucket: dst.Bucket, asked: in.Files}
	}
	return err
}

func (s *Store) tryCopy(ctx context.Context, st *staged, src, dst object.Ref, in object.CopyInput, sure bool) error {
	o, err := s.find(src, sure)
	if err != nil {
		return err
	}
	defer closeFile(o.file)
	info := s.info(src, o.stamp(), o.rec, o.state)
	if in.SourceCheck != nil {
		if err := in.SourceCheck(&info); err != nil {
			return refused{err}
		}
	}
	if err := s.bucketThere(dst.Bucket); err != nil {
		return err
	}
	if err := s.create(st); err != nil {
		return err
	}
	if err := s.appendFile(ctx, st, o.file, info.Held()); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	after, err := o.file.Stat()
	if err != nil {
		return err
	}
	if stampOf(after) != o.stamp() || st.size != info.Held() {
		return object.E("copy", src.Key, object.Conflict, errChanged)
	}
	rec := record{key: dst.Key, checksum: info.Checksum, overhead: info.Overhead, parts: info.Parts, meta: info.Meta, modified: s.cfg.Now().UTC()}
	if rec.etag = info.ETag; o.rec != nil {
		rec.etag, rec.md5 = o.rec.etag, o.rec.md5
	}
	if in.Meta != nil {
		rec.meta = in.Meta.Clone()
		rec.meta.Seal = info.Meta.Seal
	}
	return s.seal(ctx, st, rec)
}

// appendFile appends n bytes of a file to the staged one, inside the file
// system where it can and otherwise through a buffer.
func (s *Store) appendFile(ctx context.Context, st *staged, src vfs.File, n int64) error {
	for off := int64(0); off < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := st.file.CopyFrom(src, off, min(n-off, copyStep))
		st.size, off = st.size+m, off+m
		if errors.Is(err, vfs.ErrUnsupported) {
			return s.appendThrough(ctx, st, src, off, n)
		}
		if err != nil {
			return err
		}
		if m == 0 {
			return fmt.Errorf("copy at %d: %w", off, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// appendThrough appends what is between off and end.
func (s *Store) appendThrough(ctx context.Context, st *staged, src vfs.File, off, end int64) error {
	buf := s.buffers.get(end - off)
	defer s.buffers.put(buf)
	for off < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := src.ReadAt((*buf)[:min(int64(len(*buf)), end-off)], off)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := s.extend(st, (*buf)[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
