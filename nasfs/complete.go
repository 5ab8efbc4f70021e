package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// CompleteUpload implements object.Uploads. The upload is locked from the
// choice of the parts to its end, the key for the commit only.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	const op = "complete upload"
	lease, err := s.locker.Acquire(ctx, lock.Exclusive, uploadLock(ref.Bucket, ref.ID))
	if err != nil {
		return object.Info{}, fail(op, uploadName(ref), err)
	}
	info, err := s.completeLocked(ctx, lease, ref, in)
	if !errors.Is(err, errLeft) {
		lease.Release() // otherwise the phase that was left does it
	}
	if err != nil {
		return object.Info{}, failChecked(op, ref.Ref, err)
	}
	return info, nil
}

func (s *Store) completeLocked(ctx context.Context, lease lock.Lease, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	st := &staged{bucket: ref.Bucket, asked: in.Files}
	var done *object.Info
	err := s.phase(ctx, s.data, func() (err error) {
		up, missing := s.findUpload(ref)
		if done, err = s.completed(ref, in); err != nil || done != nil {
			if done != nil && missing == nil {
				s.endCompleted(ref) // what an earlier Complete did not come to
			}
			return err
		}
		if missing != nil {
			return missing
		}
		return s.assemble(ctx, st, up, in)
	}, func() { s.remove(st); lease.Release() })
	if err != nil {
		if !errors.Is(err, errLeft) {
			s.discard(ctx, st)
		}
		return object.Info{}, err
	}
	if done != nil {
		return *done, nil
	}
	var info object.Info
	err = s.commitLocked(ctx, st, ref.Ref, nil, func(p *publication) error {
		p.check = in.Check
		if err := s.publish(p); err != nil {
			return err
		}
		info = s.published(p)
		s.endCompleted(ref)
		return nil
	}, lease.Release)
	return info, err
}

// endCompleted ends an upload that has become an object: at once for all who
// ask, and on disk as soon as it can be done. Should that be never, the next
// Open finds the object, which says which upload it was.
func (s *Store) endCompleted(ref object.UploadRef) {
	if s.fleet {
		s.nowOrLater("completed upload", func() error { return s.takeCompleted(ref) })
		return
	}
	s.uploads.remove(ref)
	s.nowOrLater("completed upload", func() error {
		err := s.throwAway(uploadsDir+"/"+ref.Bucket, ref.ID)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// completed returns the current object if it was assembled from this upload
// and from the parts that in names: then Complete has been done already.
func (s *Store) completed(ref object.UploadRef, in object.CompleteInput) (*object.Info, error) {
	o, err := s.openObject(ref.Ref)
	if errors.Is(err, errNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	closeFile(o.file)
	if o.rec == nil || o.rec.uploadID != ref.ID || len(o.rec.parts) != len(in.Parts) {
		return nil, nil
	}
	info := s.info(ref.Ref, o.stamp(), o.rec, o.state)
	have := make([]object.Part, len(in.Parts))
	for i, p := range info.Parts {
		have[i] = object.Part{Number: p.Number, Size: p.Size, ETag: in.Parts[i].ETag, Checksum: p.Checksum, Salt: p.Salt}
	}
	up := object.Upload{UploadRef: ref, Algorithm: info.Checksum.Algorithm, Type: info.Checksum.Type, Implied: true, Meta: info.Meta}
	a, err := object.Assemble(up, have, in)
	if err != nil || a.ETag != info.ETag {
		return nil, nil //nolint:nilerror // other parts: not this Complete
	}
	// It may have failed before the object was durable.
	if err := s.settle(ref.Ref, s.path(ref.Ref, keypath.Plain)); err != nil {
		return nil, err
	}
	if err := s.syncSlots(ref.Ref); err != nil {
		return nil, err
	}
	return &info, nil
}

// assemble makes the staged file from the parts.
func (s *Store) assemble(ctx context.Context, st *staged, up object.Upload, in object.CompleteInput) error {
	parts, _, err := s.listParts(ctx, up.UploadRef, 0, object.MaxPartNumber)
	if err != nil {
		return err
	}
	a, err := object.Assemble(up, parts, in)
	if err != nil {
		return err
	}
	dir, files, err := s.partFiles(up.UploadRef)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	if err := s.create(st); err != nil {
		return err
	}
	var overhead int64
	for _, part := range a.Parts {
		more, err := s.appendPart(ctx, st, dir, files[part.Number], part)
		if err != nil {
			return fmt.Errorf("part %d: %w", part.Number, err)
		}
		overhead += more
	}
	if st.size != a.Size+overhead {
		return fmt.Errorf("assembled %d bytes of %d", st.size, a.Size+overhead)
	}
	return s.seal(ctx, st, record{
		key: up.Key, uploadID: up.ID, etag: a.ETag, checksum: a.Checksum, parts: a.Infos, overhead: overhead,
		meta: up.Meta.Clone(), modified: s.cfg.Now().UTC(),
	})
}

// appendPart appends the file of a part, which must still be the one chosen, and
// returns its overhead.
func (s *Store) appendPart(ctx context.Context, st *staged, dir vfs.Dir, name string, part object.Part) (overhead int64, err error) {
	if name == "" {
		return 0, object.InvalidPart
	}
	f, err := dir.Open(name)
	if isAbsent(err) {
		return 0, object.InvalidPart
	}
	if err != nil {
		return 0, err
	}
	defer closeFile(f)
	before, err := f.Stat()
	if err != nil {
		return 0, err
	}
	rec, _, err := s.loadRecord(f, stampOf(before))
	if err != nil {
		return 0, err
	}
	if rec == nil || rec.etagOf() != part.ETag || rec.salt != part.Salt || before.Size-rec.overhead != part.Size {
		return 0, object.InvalidPart
	}
	if err := s.appendFile(ctx, st, f, before.Size); err != nil {
		return 0, err
	}
	after, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if stampOf(after) != stampOf(before) {
		return 0, object.InvalidPart
	}
	return rec.overhead, nil
}
