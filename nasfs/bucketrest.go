package nasfs

import (
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// What a bucket has beside its directory goes when the bucket is deleted through S3. Of a
// directory that is merely not there nobody knows whether a user of the share has moved it, and
// brings it back. So a deletion marks the bucket before it removes the directory, and what is
// found later beside a directory that is gone is removed only where there is the mark. Versions
// are never removed: a bucket that has any is not deleted.

// markSuffix is behind a bucket's name in the name of its mark, which is a file beside the
// record. No bucket's name has it.
const markSuffix = "=deleting"

func markPath(bucket string) string { return bucketsDir + "/" + bucket + markSuffix }

// never is for what does not end before its time.
func never() error { return nil }

// markDeleted marks a bucket, durably, whose directory is removed next. Where there is no room
// for the mark the deletion goes on without: it makes room, and only what a crash leaves of it
// stays.
func (s *Store) markDeleted(name string) error {
	err := s.publishFile(bucketsDir, name+markSuffix, nil)
	if isFull(err) {
		return nil
	}
	return err
}

// unmark takes back the mark of a bucket.
func (s *Store) unmark(name string) error {
	dir, err := s.root.OpenDir(bucketsDir)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	if err := s.dropOwn(dir, name+markSuffix); err != nil {
		return err
	}
	return s.syncDir(dir)
}

// marked reports whether a bucket has the mark.
func (s *Store) marked(name string) (bool, error) {
	_, err := retryStale(func() (vfs.Stat, error) { return s.root.Stat(markPath(name)) })
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// finishDeletion brings to an end what a deletion has left of a bucket, if it is marked: under
// the bucket's lock. It ends with an error of stop.
func (s *Store) finishDeletion(stop func() error, name string) error {
	if is, err := s.marked(name); err != nil || !is {
		return err
	}
	_, err := retryStale(func() (vfs.Stat, error) { return s.root.Stat(name) })
	switch {
	case isAbsent(err):
		err = s.dropRest(stop, name)
		if !errors.Is(err, object.BucketNotEmpty) {
			return err
		}
		// It had no versions when it was marked: the deletion came to nothing, and what was put since was moved away.
	case err != nil:
		return nil //nolint:nilerror // what cannot be looked at, as what a mount is over, may be it
	}
	return s.unmark(name)
}

// makeWay removes what a bucket of the name has left that is gone, as it must not come back with the one that is
// to be made. It is refused where that may be a bucket whose objects are locked, and which was moved away: one with
// versions, or with versioning, and without a mark.
func (s *Store) makeWay(stop func() error, name string) error {
	if s.mayVersion() {
		r, err := retryStale(func() (bucketRecord, error) { return s.readBucket(name) })
		if err != nil {
			return err
		}
		if r.Versioning != object.Unversioned {
			deleted, err := s.marked(name)
			if err != nil {
				return err
			}
			if !deleted {
				return keptRest(name, bucketsDir)
			}
		}
	}
	err := s.dropRest(stop, name)
	if errors.Is(err, object.BucketNotEmpty) {
		return keptRest(name, versionsDir)
	}
	return err
}

// keptRest is why a bucket is not made.
func keptRest(name, dir string) error {
	return object.E("create bucket", name, object.BucketExists, &object.Obstacle{Path: dir + "/" + name})
}

// dropRest removes what a bucket that is gone had beside its directory, and nothing if that
// includes versions: then it is BucketNotEmpty.
func (s *Store) dropRest(stop func() error, name string) error {
	if err := s.noHistories(stop, name); err != nil {
		return err
	}
	return s.dropBeside(name)
}

// dropBeside is dropRest for a bucket without histories. What stays then the next Open removes,
// or the next bucket of the name: the mark goes last.
func (s *Store) dropBeside(name string) error {
	s.buckets.remove(name)
	if err := s.dropUploads(name); err != nil {
		return err
	}
	dir, err := s.root.OpenDir(bucketsDir)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	if err := s.dropOwn(dir, name); err != nil {
		return err
	}
	if err := s.syncDir(dir); err != nil {
		return err
	}
	return s.dropOwn(dir, name+markSuffix)
}

// recoverBuckets brings to an end the deletions that were cut off. One that cannot be, as on a
// disk that has no room for it, keeps nobody from starting.
func (s *Store) recoverBuckets() error {
	marked, err := s.lookBeside()
	if err != nil {
		return err
	}
	for _, name := range marked {
		if err := s.finishDeletion(never, name); err != nil {
			s.log.Warn("something of a deleted bucket is left until the next start", "bucket", name, "error", err)
		}
	}
	return nil
}

// lookBeside returns the buckets that are marked, and tells of those whose directory is not
// there.
func (s *Store) lookBeside() (marked []string, err error) {
	entries, err := readDir(s.root, bucketsDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name, markSuffix); ok && isBucketName(name) {
			marked = append(marked, name)
		}
		if isBucketName(e.Name) {
			s.tellIfAway(e.Name)
		}
	}
	return marked, nil
}

// tellIfAway logs, once, that a bucket's directory is gone.
func (s *Store) tellIfAway(name string) {
	if _, err := s.root.Stat(name); !isAbsent(err) {
		return
	}
	if deleted, err := s.marked(name); deleted || err != nil {
		return
	}
	if _, told := s.obstacles.LoadOrStore(bucketsDir+"/"+name, true); !told {
		s.log.Info("the directory of a bucket is not there, and what is kept of the bucket waits for it", "bucket", name)
	}
}
