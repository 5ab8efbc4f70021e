package gateway

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/shoal-storage/shoal/internal/object"
)

// writeOffset is the header of a PutObject that appends to an object, as in S3's
// directory buckets (https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-buckets-objects-append.html).
const writeOffset = "x-amz-write-offset-bytes"

// appendObject serves the PutObject that begins where the object ends. The object is
// written anew with its old content in front, so that readers never see a part of
// what is appended, and has the ETag and the checksum of all its content.
func (s *Server) appendObject(ctx context.Context, r *request, b *body, a appended) (object.Info, *encryption, error) {
	offset, err := strconv.ParseInt(r.header(writeOffset), 10, 64)
	if err != nil || offset < 0 {
		return object.Info{}, nil, errInvalidArgument.with("The write offset must be a number of bytes").
			detailed("ArgumentName", writeOffset).detailed("ArgumentValue", r.header(writeOffset))
	}
	a.offset = offset
	customer, err := s.readingKey(r)
	if err != nil {
		return object.Info{}, nil, err
	}
	h, old, err := s.openDecrypted(ctx, r.identity, r.ref(), customer)
	switch {
	case isAbsent(err) && offset == 0:
		return s.putEncrypted(ctx, r.ref(), object.PutInput{Body: b, Meta: a.meta, Check: object.All(a.check, endsAt(0)), Files: r.files()}, a.wish)
	case isAbsent(err):
		return object.Info{}, nil, errInvalidWriteOffset
	case err != nil:
		return object.Info{}, nil, err
	}
	if kept := old.keeping(); kept != nil && !a.stated {
		a.wish = kept
	}
	info, e, err := s.appendTo(ctx, h, r, b, a)
	return info, e, errors.Join(err, h.Close())
}

// isAbsent reports whether an error says that the object is not there.
func isAbsent(err error) bool {
	return errors.Is(err, object.NoSuchKey) || errors.Is(err, object.DeleteMarker)
}

// appended says where and how a body is appended.
type appended struct {
	offset int64
	meta   object.Meta // of which only the protection counts, where there is an object
	check  object.Check
	wish   *wish // how all of it is to be encrypted
	stated bool  // the request said so: otherwise it is as it was
}

func (s *Server) appendTo(ctx context.Context, h object.Handle, r *request, b *body, a appended) (object.Info, *encryption, error) {
	old := h.Info()
	if err := endsAt(a.offset)(&old); err != nil {
		return object.Info{}, nil, err
	}
	if b.Size() > object.MaxObjectSize-old.Size {
		return object.Info{}, nil, errEntityTooLarge
	}
	meta := old.Meta.Clone()
	meta.Retention, meta.LegalHold = a.meta.Retention, a.meta.LegalHold
	joined := &joinedBody{old: h.Range(0, old.Size), left: old.Size, more: b, size: -1, sums: newSummer(b.sums.algorithm), progress: r.progress}
	if b.Size() >= 0 {
		joined.size = old.Size + b.Size()
	}
	return s.putEncrypted(ctx, r.ref(), object.PutInput{Body: joined, Meta: meta, Check: object.All(a.check, endsAt(a.offset), stillIs(&old)), Files: r.files()}, a.wish)
}

// endsAt allows to append at offset.
func endsAt(offset int64) object.Check {
	return func(current *object.Info) error {
		size := int64(0)
		if current != nil {
			size = current.Size
		}
		if size != offset {
			return errInvalidWriteOffset.detailed("ObjectSize", strconv.FormatInt(size, 10)).detailed("WriteOffset", strconv.FormatInt(offset, 10))
		}
		return nil
	}
}

// stillIs allows to change the object that was read.
func stillIs(old *object.Info) object.Check {
	return func(now *object.Info) error {
		if now == nil || now.ETag != old.ETag || now.Version != old.Version || !now.Modified.Equal(old.Modified) {
			return errWriteConflict
		}
		return nil
	}
}

// joinedBody is an object's content and a request's body behind it, as an object.Body.
type joinedBody struct {
	old      io.Reader
	left     int64 // bytes of old that are still to come
	more     *body
	size     int64 // of both, -1 if unknown
	sums     summer
	progress func()
}

// Read reads and hashes; it ends well only where the request's body does.
func (j *joinedBody) Read(p []byte) (n int, err error) {
	if j.left > 0 {
		n, err = j.old.Read(p[:min(int64(len(p)), j.left)])
		j.left -= int64(n)
		if errors.Is(err, io.EOF) {
			err = nil
			if j.left > 0 {
				err = errWriteConflict.because(io.ErrUnexpectedEOF)
			}
		}
		if n > 0 && j.progress != nil {
			j.progress()
		}
	} else {
		n, err = j.more.Read(p)
	}
	j.sums.write(p[:n])
	return n, err
}

// Size returns the length of both in bytes, -1 if it is not known.
func (j *joinedBody) Size() int64 { return j.size }

// Digest describes both; it is valid after io.EOF.
func (j *joinedBody) Digest() object.Digest { return j.sums.digest() }
