package nasfs

import (
	"context"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// sweep brings to an end what gateways of the fleet have left half done when
// their sessions ended. The others go on meanwhile: each thing is done under
// the lock of what it belongs to, and looked at again first. It ends with ctx.
func (s *Store) sweep(ctx context.Context) error {
	marked, uploading, err := s.halfDone(ctx)
	if err != nil {
		return err
	}
	for _, bucket := range marked {
		if err := s.sweepBucket(ctx, bucket); err != nil {
			return err
		}
	}
	for _, bucket := range uploading {
		if err := s.sweepUploads(ctx, bucket); err != nil {
			return err
		}
	}
	return nil
}

// Sweep brings to an end what gateways of the fleet have left half done in one
// bucket when their sessions ended.
func (f *Fleet) Sweep(ctx context.Context, bucket string) error {
	return changeErr(ctx, f, "sweep", bucket, func(s *Store) error {
		var marked bool
		look := func() (err error) {
			marked, err = s.marked(bucket)
			return err
		}
		if err := s.phase(ctx, s.calls, look, nil); err != nil {
			return err
		}
		if marked {
			if err := s.sweepBucket(ctx, bucket); err != nil {
				return err
			}
		}
		return s.sweepUploads(ctx, bucket)
	})
}

// halfDone returns the buckets of which a deletion may not have come to its end, and those
// that have uploads.
func (s *Store) halfDone(ctx context.Context) (_, _ []string, err error) {
	var marked, uploading []string // no results: the phase may go on when this has returned
	err = s.phase(ctx, s.calls, func() (err error) {
		if marked, err = s.lookBeside(); err != nil {
			return err
		}
		entries, err := readDir(s.root, uploadsDir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if isBucketName(e.Name) {
				uploading = append(uploading, e.Name)
			}
		}
		return nil
	}, nil)
	if err != nil {
		return nil, nil, err
	}
	return marked, uploading, nil
}

// sweepBucket brings a bucket's deletion to an end.
func (s *Store) sweepBucket(ctx context.Context, bucket string) error {
	h, err := s.lockBucket(ctx, bucket)
	if err != nil {
		return err
	}
	return s.locked(ctx, h, func() error { return s.finishDeletion(ctx.Err, bucket) }, nil)
}

// sweepUploads ends a bucket's uploads that became objects, and removes what
// never became an upload.
func (s *Store) sweepUploads(ctx context.Context, bucket string) error {
	var over []string
	err := s.phase(ctx, s.calls, func() error {
		ids, err := s.uploadIDs(bucket)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			ended, _, err := s.uploadOver(bucket, id)
			if err != nil {
				return err
			}
			if ended {
				over = append(over, id)
			}
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	for _, id := range over {
		if err := s.sweepUpload(ctx, bucket, id); err != nil {
			return err
		}
	}
	return nil
}

// uploadOver reports whether a directory of uploads is of no upload in
// progress, and returns the upload that it is still of, if any.
func (s *Store) uploadOver(bucket, id string) (over bool, up *object.Upload, err error) {
	dir, err := s.root.OpenDir(uploadsDir + "/" + bucket)
	if err != nil {
		if isGone(err) {
			err = nil
		}
		return false, nil, err
	}
	defer closeDir(dir)
	found, there, err := readUpload(dir, bucket, id)
	if err != nil || !there {
		return err == nil, nil, err
	}
	return s.becameObject(found.UploadRef), &found, nil
}

func (s *Store) sweepUpload(ctx context.Context, bucket, id string) error {
	l, err := s.locker.Acquire(ctx, lock.Exclusive, uploadLock(bucket, id))
	if err != nil {
		return err
	}
	return s.locked(ctx, held{names: l}, func() error {
		over, up, err := s.uploadOver(bucket, id)
		switch {
		case err != nil || !over:
			return err
		case up != nil:
			return s.takeCompleted(up.UploadRef)
		}
		return s.throwUpload(object.UploadRef{Ref: object.Ref{Bucket: bucket}, ID: id})
	}, nil)
}
