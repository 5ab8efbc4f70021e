package nasfs

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// What is done with uploads in a fleet: the tree itself says which there are.
// An upload ends by its file being renamed into a session, which a fence can
// stop. Its directory is then no upload any more, whoever throws it away, and
// however late.

// takeUpload ends an upload.
func (s *Store) takeUpload(ref object.UploadRef) error {
	dir, err := s.root.OpenDir(uploadPath(ref))
	if isAbsent(err) {
		return errNoUpload(ref)
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	took, err := s.take(dir, uploadFile, nil)
	if errors.Is(err, errNoKey) {
		return errNoUpload(ref)
	}
	if err != nil {
		return err
	}
	if took.temp != "" {
		s.removeTemp(took.temp)
	}
	if err := s.syncDir(dir); err != nil {
		return unknown{err}
	}
	s.nowOrLater("ended upload", func() error { return s.throwUpload(ref) })
	return nil
}

// takeCompleted is takeUpload for an upload that is an object by now.
func (s *Store) takeCompleted(ref object.UploadRef) error {
	err := s.takeUpload(ref)
	if errors.Is(err, object.NoSuchUpload) || errors.Is(err, errFenced) || isOver(s.locker.Session()) {
		return nil // the sweep of a later session does it
	}
	return err
}

// throwUpload throws away the directory of an upload that has ended, or never
// began. On SMB it is removed where it is: other gateways may remember it, and must not
// meet it under another name (vfs.NumbersHold).
func (s *Store) throwUpload(ref object.UploadRef) error {
	if s.smb {
		s.reaper.add("ended upload", func() error { return s.removeUpload(ref) })
		return nil
	}
	err := s.throwAway(uploadsDir+"/"+ref.Bucket, ref.ID)
	if isGone(err) {
		return nil
	}
	return err
}

// removeUpload removes the directory of an upload that has ended, with the sidecars of the
// files in it.
func (s *Store) removeUpload(ref object.UploadRef) error {
	dir, err := s.root.OpenDir(uploadsDir + "/" + ref.Bucket)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return removeTree(dir, ref.ID, s.forget)
}

// takeUploads ends all uploads of a bucket that is gone, under the bucket's
// lock: who would make another one waits for that.
func (s *Store) takeUploads(bucket string) error {
	dir, err := s.root.OpenDir(uploadsDir)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	ids, err := s.uploadIDs(bucket)
	if err != nil {
		return err
	}
	throw := s.throwUpload
	if s.smb {
		throw = s.removeUpload // now, or the directory above would not be empty
	}
	for _, id := range ids {
		ref := object.UploadRef{Ref: object.Ref{Bucket: bucket}, ID: id}
		if err := s.takeUpload(ref); err != nil && !errors.Is(err, object.NoSuchUpload) {
			return err
		}
		if err := throw(ref); err != nil {
			return err
		}
	}
	return rmdirOnce(dir, bucket)
}

// uploadIDs returns the names of what may be a bucket's uploads.
func (s *Store) uploadIDs(bucket string) ([]string, error) {
	return retryStale(func() ([]string, error) {
		entries, err := readDir(s.root, uploadsDir+"/"+bucket)
		if isAbsent(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		ids := make([]string, 0, len(entries))
		for _, e := range entries {
			ids = append(ids, e.Name)
		}
		return ids, nil
	})
}

// readUploads returns a bucket's uploads by key, time and ID.
func (s *Store) readUploads(ctx context.Context, bucket string) ([]object.Upload, error) {
	ids, err := s.uploadIDs(bucket)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	dir, err := s.root.OpenDir(uploadsDir + "/" + bucket)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closeDir(dir)
	found := make([]*object.Upload, len(ids))
	errs := make([]error, len(ids))
	workers := min(listWorkers, len(ids))
	if s.localDisk {
		workers = 1
	}
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < len(ids) && ctx.Err() == nil; i += workers {
				up, there, err := readUpload(dir, bucket, ids[i])
				if errs[i] = err; there {
					found[i] = &up
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(append(errs, context.Cause(ctx))...); err != nil {
		return nil, err
	}
	list := make([]object.Upload, 0, len(ids))
	for _, up := range found {
		if up != nil {
			list = append(list, *up)
		}
	}
	slices.SortFunc(list, compareUploads)
	return list, nil
}
