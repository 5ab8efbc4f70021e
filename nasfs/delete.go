package nasfs

import (
	"context"
	"errors"
	"slices"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Delete implements object.Objects.
func (s *Store) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	var done object.Deleted
	// What may have to be put in its place is staged later.
	err := s.commitLocked(ctx, &staged{}, ref, nil, func(p *publication) (err error) {
		done, err = s.deleteLocked(p, check)
		return err
	}, nil)
	if err != nil {
		return object.Deleted{}, failChecked("delete", ref, err)
	}
	return done, nil
}

func (s *Store) deleteLocked(p *publication, check object.Check) (done object.Deleted, err error) {
	ref := p.ref
	mode, err := s.versioning(ref.Bucket)
	if err == nil {
		err = s.makeRoom(p)
	}
	if err != nil {
		return done, err
	}
	for range maxTries {
		switch {
		case ref.Version != "":
			done, err = s.deleteVersion(ref, check)
		case mode != object.Unversioned:
			done, err = s.deleteToMarker(ref, mode, check)
		default:
			err = s.tryDelete(ref, check)
		}
		if !errors.Is(err, errAgain) {
			break
		}
	}
	done.Sequence = p.sequence
	return done, err
}

// tryDelete is what a delete does where there are no versions.
func (s *Store) tryDelete(ref object.Ref, check object.Check) error {
	var want *vfs.Stat
	if check != nil {
		o, err := s.openObject(ref)
		var current *object.Info
		switch {
		case err == nil:
			closeFile(o.file)
			info := s.info(ref, o.stamp(), o.rec, o.state)
			current, want = &info, &o.stat
		case !errors.Is(err, errNoKey):
			return err
		}
		if err := check(current); err != nil {
			return s.refuse(ref, current, err)
		}
		if current == nil {
			return s.bucketThere(ref.Bucket)
		}
	}
	return s.deleteSlots(ref, want)
}

// refuse is what a Check's error comes to: without a bucket there is nothing
// that it could have been about.
func (s *Store) refuse(ref object.Ref, current *object.Info, cause error) error {
	if current == nil {
		if err := s.bucketThere(ref.Bucket); err != nil {
			return err
		}
	}
	return refused{cause}
}

// deleteSlots removes the key's files, what is shadowed first: no older
// content may show through.
func (s *Store) deleteSlots(ref object.Ref, want *vfs.Stat) error {
	found := false
	for _, slot := range slices.Backward(s.slots()) {
		switch err := retryStaleErr(func() error { return s.deleteSlot(ref, slot, want) }); {
		case err == nil:
			found = true
		case !errors.Is(err, errNoKey):
			if found && !isUnknown(err) && !errors.Is(err, errAgain) {
				return unknown{err}
			}
			return err
		}
	}
	if !found {
		if err := s.bucketThere(ref.Bucket); err != nil {
			return err
		}
		// The file may have gone in an earlier deletion that failed before it
		// was durable, and what is answered now must be.
		return s.syncSlots(ref)
	}
	return nil
}

func (s *Store) deleteSlot(ref object.Ref, slot keypath.Slot, want *vfs.Stat) error {
	path := s.path(ref, slot)
	dir, leaf, err := s.openParent(path)
	if err != nil {
		if isAbsent(err) {
			return errNoKey
		}
		return err
	}
	defer closeDir(dir)
	if want != nil && slot == keypath.Alias {
		// The plain file is the one that was checked, if there is one.
		if st, err := dir.Stat(leaf); err == nil && st.Ino != want.Ino {
			want = nil
		}
	}
	took, err := s.take(dir, leaf, want)
	if err != nil {
		return err
	}
	s.note(ref, slot, false)
	if err := s.syncRemoval(ref, path, dir); err != nil {
		s.removeTemp(took.temp) // with its metadata left: a crash may bring the file back
		return unknown{err}
	}
	s.letGo(took)
	return nil
}

// syncRemoval removes the directories that have become empty and makes what
// is left of the way to the file durable, which makes the removal durable.
func (s *Store) syncRemoval(ref object.Ref, path string, dir vfs.Dir) error {
	left := s.prune(ref, path)
	if left == parentOf(path) {
		if err := s.syncDir(dir); !isGone(err) {
			return err
		}
		// Another gateway has removed it since.
	}
	return s.syncLowest(ref, left)
}

// syncSlots makes durable what the slots of a key hold, or do not hold.
func (s *Store) syncSlots(ref object.Ref) error {
	for _, slot := range s.slots() {
		if err := s.syncLowest(ref, parentOf(s.path(ref, slot))); err != nil {
			return err
		}
	}
	return nil
}

// syncLowest makes the lowest directory durable that is left of a path, while
// other gateways may be removing it.
func (s *Store) syncLowest(ref object.Ref, path string) error {
	if !s.syncsDirs() {
		return nil
	}
	for {
		err := retryStaleErr(func() error {
			lowest, err := s.root.OpenDir(path)
			if err != nil {
				return err
			}
			defer closeDir(lowest)
			return lowest.Sync()
		})
		if err == nil || !isAbsent(err) || path == ref.Bucket {
			return err
		}
		path = parentOf(path)
	}
}
