package nasfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// Rename implements object.Renamer within one bucket. The file gets a link in
// the session, which is renamed to the new key; only then the old name is
// taken away, so that the object is under one of the two at every moment.
func (s *Store) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	const op = "rename"
	if src.Bucket != dst.Bucket {
		return object.E(op, src.Bucket+"/"+src.Key, object.InvalidRequest, errors.New("to another bucket"))
	}
	st := &staged{asked: in.Files} // for directories: the file keeps what it has
	err := s.commitLocked(ctx, st, dst, []string{keyLock(src.Bucket, src.Key)}, func(p *publication) error {
		p.check = in.Check
		err := s.renameLocked(p, src, in.SourceCheck)
		if err != nil {
			s.remove(st) // the link: before another try the file itself may have to move
			*st = staged{asked: in.Files}
		}
		return err
	}, nil)
	return failChecked(op, src, err)
}

// renameLocked renames under the leases of both keys.
func (s *Store) renameLocked(p *publication, src object.Ref, check object.Check) error {
	switch mode, err := s.versioning(src.Bucket); {
	case err != nil:
		return err
	case mode != object.Unversioned:
		return object.E("rename", src.Bucket, object.InvalidRequest, errors.New("the bucket has versioning"))
	}
	o, err := s.find(src, true)
	if err != nil {
		return err
	}
	closeFile(o.file)
	if check != nil {
		info := s.info(src, o.stamp(), o.rec, o.state)
		if err := check(&info); err != nil {
			return refused{err}
		}
	}
	if src == p.ref {
		return s.checkOnly(p)
	}
	if err := retryStaleErr(func() error { return s.linkSource(p.staged, src, o) }); err != nil {
		return err
	}
	if err := s.publish(p); err != nil {
		return err
	}
	// If the new name was a link to the same file already, as after an earlier
	// Rename that failed half way, rename(2) has left ours where it was.
	s.removeTemp(p.staged.name)
	// From here on the object is under its new name. The old one goes with all
	// that a delete does, unless somebody has put another file there meanwhile;
	// if that fails it is not known what is left.
	if err := s.deleteSlots(src, &o.stat); err != nil && !errors.Is(err, errAgain) {
		return unknown{fmt.Errorf("remove the old name: %w", err)}
	}
	return nil
}

// checkOnly is a rename to the same key.
func (s *Store) checkOnly(p *publication) error {
	if p.check == nil {
		return nil
	}
	current, err := s.current(p.ref)
	if err != nil {
		return err
	}
	if err := p.check(current); err != nil {
		return refused{err}
	}
	return nil
}

// linkSource links the file of an object into the session, as a staged one.
func (s *Store) linkSource(st *staged, src object.Ref, o *opened) error {
	for _, slot := range s.slots() {
		dir, leaf, err := s.openParent(s.path(src, slot))
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = s.linkFile(st, dir, leaf, o)
		closeDir(dir)
		if !isAbsent(err) && !errors.Is(err, errNoKey) {
			return err
		}
	}
	return errAgain
}

func (s *Store) linkFile(st *staged, dir vfs.Dir, leaf string, o *opened) error {
	there, err := dir.Stat(leaf)
	if err != nil {
		return err
	}
	if !there.Mode.IsRegular() || there.Ino != o.stat.Ino {
		return errNoKey
	}
	st.name, st.stat, st.linked, st.published = s.tempName("r"), there, true, true
	if err := s.linkIn(dir, leaf, st.name); err != nil {
		s.removeTemp(st.name) // there is one if only the answer was lost
		if noLinks(err) {
			return fmt.Errorf("the file system has no hard links: %w", object.NotImplemented)
		}
		return err
	}
	if o.rec != nil {
		st.rec = *o.rec
	}
	return nil
}
