package nasfs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// maxTries is how often something is tried that somebody was in the way of.
const maxTries = 8

// publication is a staged file on its way to a key, under the key's lock.
type publication struct {
	ref    object.Ref
	staged *staged
	check  object.Check // nil allows
	aside  []string     // keys whose lock is held too, and whose files are to make room
	valid  func() error // of the leases
	// sequence is what orders the changes of the key, as object.Deleted has it.
	sequence string
}

// blockedError says that the file of a key is where a directory has to be.
type blockedError struct{ key string }

func (b blockedError) Error() string { return fmt.Sprintf("object %q is in the way", b.key) }

// publish moves the staged file to its key. If it fails, nothing has changed
// that anybody sees, unless the error is unknown.
func (s *Store) publish(p *publication) error {
	err := s.makeRoom(p)
	if err != nil {
		return err
	}
	for range maxTries {
		if err = retryStaleErr(func() error { return s.tryPublish(p) }); isUnknown(err) || !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

// makeRoom moves the files aside that are in the way.
func (s *Store) makeRoom(p *publication) error {
	for _, key := range p.aside {
		err := retryStaleErr(func() error { return s.moveAside(object.Ref{Bucket: p.ref.Bucket, Key: key}) })
		if err != nil {
			return fmt.Errorf("move %q aside: %w", key, err)
		}
	}
	p.aside = nil
	return nil
}

// tryPublish checks and publishes once.
func (s *Store) tryPublish(p *publication) error {
	free := false // no object is there, and none of somebody else's may be overwritten
	if p.check != nil {
		current, err := retryStale(func() (*object.Info, error) { return s.current(p.ref) })
		if err != nil {
			return err
		}
		if err := p.check(current); err != nil {
			return s.refuse(p.ref, current, err)
		}
		free = current == nil
	}
	mode, err := s.versioning(p.ref.Bucket)
	if err != nil {
		return err
	}
	if err := s.keepVersions(p, mode); err != nil {
		return err
	}
	if err := p.valid(); err != nil {
		return err
	}
	if err := s.placeAnywhere(p, free); err != nil {
		return err
	}
	if mode == object.Suspended {
		s.dropNulls(p.ref, past{})
	}
	return nil
}

// placeAnywhere moves the staged file to the slot of its key that it can have.
func (s *Store) placeAnywhere(p *publication, free bool) error {
	slot := keypath.Plain
	err := s.place(p, slot, free)
	if isTaken(err) {
		if slot, err = s.otherSlot(p, free, err); err != nil {
			return err
		}
		err = s.place(p, slot, free)
		if isTaken(err) {
			return errAgain
		}
	}
	return err
}

// otherSlot returns the alias slot if the plain one is a directory's. With
// free set what is there may be a file that somebody has just made.
func (s *Store) otherSlot(p *publication, free bool, cause error) (keypath.Slot, error) {
	st, err := s.root.Stat(s.path(p.ref, keypath.Plain))
	switch {
	case isAbsent(err):
		return 0, errAgain
	case err != nil:
		return 0, err
	case st.Mode.IsDir():
		return keypath.Alias, s.useAliases()
	case !st.Mode.IsRegular() && free:
		// A link or a device is no object: it makes room, as with rename(2).
		return 0, s.removeSpecial(p.ref)
	case free:
		return 0, errAgain
	}
	return 0, cause
}

// removeSpecial removes what is neither a file nor a directory.
func (s *Store) removeSpecial(ref object.Ref) error {
	dir, leaf, err := s.openParent(s.path(ref, keypath.Plain))
	if err != nil {
		return err
	}
	defer closeDir(dir)
	temp := s.tempName("d")
	if err := s.ofSession(dir.Rename(leaf, s.session, temp)); err != nil {
		return err
	}
	s.removeTemp(temp)
	return errAgain
}

// place moves the staged file to a slot of its key. What is there already
// gives way, unless free is set: then the place is taken by a link, which
// cannot replace anything.
func (s *Store) place(p *publication, slot keypath.Slot, free bool) error {
	path := s.path(p.ref, slot)
	replaces := s.mayStamp() || s.forgetful()
	dir, above, leaf, err := s.openPlace(path, p.staged.linked || free || replaces || s.mayAlias())
	if err != nil {
		return s.missingParent(p, path, err)
	}
	defer closeDir(dir)
	if err := s.inherit(dir, above, p.staged); err != nil {
		return err
	}
	var old vfs.Stat
	if replaces {
		if old, err = vfs.StatNow(dir, leaf); err != nil && !isAbsent(err) {
			return err
		}
	}
	replaced, spared := s.replacing(dir, leaf, old)
	if err := s.move(p.staged, dir, leaf, free, old); err != nil {
		spared()
		if errors.Is(err, fs.ErrNotExist) && !isUnknown(err) {
			return errAgain // the directory was removed meanwhile
		}
		return err
	}
	s.note(p.ref, slot, true)
	if slot == keypath.Plain && s.mayAlias() {
		s.dropAlias(p.ref, dir, path)
	}
	err = s.settle(p.ref, path)
	if err == nil {
		err = s.syncDir(dir)
	}
	if err != nil {
		spared()
		return unknown{err}
	}
	if old.Ino != p.staged.stat.Ino {
		replaced()
	} else {
		spared()
	}
	return nil
}

// openPlace opens the directory that a path lies in, for a staged file. Unless looks
// is set no name in it is looked at but after askFor.
func (s *Store) openPlace(path string, looks bool) (dir vfs.Dir, above vfs.Stat, leaf string, err error) {
	if !looks {
		dir, above, err = vfs.OpenTarget(s.root, parentOf(path))
		return dir, above, path[len(parentOf(path))+1:], err
	}
	if dir, leaf, err = s.openParent(path); err != nil {
		return nil, above, "", err
	}
	if above, err = dir.Stat("."); err != nil {
		closeDir(dir)
	}
	return dir, above, leaf, err
}

// missingParent is what is done where the directory of a path cannot be
// opened: it is made, or room is made for it.
func (s *Store) missingParent(p *publication, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.makeParents(p.ref, path, p.staged.asked); err == nil {
			return errAgain
		}
		if errors.Is(err, fs.ErrNotExist) {
			return errAgain // removed as it had become empty, by a delete of its last key
		}
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return s.inTheWay(p.ref, err)
	}
	return err
}

// inTheWay finds the file that stands where a directory above ref has to be.
func (s *Store) inTheWay(ref object.Ref, cause error) error {
	if err := s.bucketThere(ref.Bucket); err != nil {
		return err
	}
	for i := range len(ref.Key) {
		if ref.Key[i] != '/' {
			continue
		}
		above := object.Ref{Bucket: ref.Bucket, Key: ref.Key[:i]}
		st, err := s.root.Stat(s.path(above, keypath.Plain))
		switch {
		case isAbsent(err):
			return errAgain
		case err != nil:
			return err
		case st.Mode.IsRegular() && above.Key != "":
			return blockedError{above.Key}
		case !st.Mode.IsDir():
			// A link or a device, or at the root of a bucket a file that would be that of the empty key.
			path := s.path(above, keypath.Plain)
			return object.E("make directory", path, object.AccessDenied, errors.Join(&object.Obstacle{Path: path}, cause))
		}
	}
	return errAgain
}

// move is the commit itself: one rename, or one link. An error from it may
// come from a reply that was lost: then it is found out what happened.
//
// old is what was at the place before, as far as that is known.
func (s *Store) move(st *staged, dir vfs.Dir, leaf string, free bool, old vfs.Stat) error {
	if free {
		err := s.ofSession(s.session.Link(st.name, dir, leaf))
		if err == nil || s.happened(st, dir, leaf) {
			st.published = true
			s.removeTemp(st.name)
			return nil
		}
		if !noLinks(err) {
			return s.notMoved(st, dir, leaf, old, err)
		}
	}
	err := s.ofSession(s.session.Rename(st.name, dir, leaf))
	if err != nil && s.askFor(dir) == nil && isTaken(err) {
		// A client may have taken a file for the directory that was there before.
		err = s.ofSession(s.session.Rename(st.name, dir, leaf))
	}
	if err == nil {
		st.published = true
		return nil
	}
	if isTaken(err) {
		return err
	}
	if s.happened(st, dir, leaf) {
		st.published = true
		s.removeTemp(st.name) // renamed onto a link of itself, which rename(2) leaves alone
		return nil
	}
	return s.notMoved(st, dir, leaf, old, err)
}

// happened reports whether the staged file is at its place. In a fleet the inode
// does not tell: a fence may have removed the file, and another gateway got its
// inode for another.
func (s *Store) happened(st *staged, dir vfs.Dir, leaf string) bool {
	there, err := dir.Stat(leaf)
	if err != nil || there.Ino != st.stat.Ino || !there.Mode.IsRegular() {
		return false
	}
	return !s.fleet || s.isStaged(st, dir, leaf)
}

// isStaged reports whether the file at a place has the staged one's stamp and
// was written in the same session, or like that one in none.
func (s *Store) isStaged(st *staged, dir vfs.Dir, leaf string) bool {
	f, err := dir.Open(leaf)
	if err != nil {
		return false
	}
	defer closeFile(f)
	there, err := f.Stat()
	if err != nil || stampOf(there) != stampOf(st.stat) {
		return false
	}
	rec, _, err := s.loadRecord(f, stampOf(there))
	if rec == nil {
		return err == nil && st.rec.writer == ""
	}
	return rec.writer == st.rec.writer
}

// notMoved is the error of a commit that did not put the file at its place. If
// the file is not where it was either, somebody may have replaced it since; or
// the session was ended, and then the place is still what it was.
func (s *Store) notMoved(st *staged, dir vfs.Dir, leaf string, old vfs.Stat, cause error) error {
	own, err := s.statTemp(st.name)
	if err == nil && own.Ino == st.stat.Ino {
		return cause
	}
	if errors.Is(cause, errFenced) {
		there, err := dir.Stat(leaf)
		if isAbsent(err) && old.Ino == 0 || err == nil && there.Ino == old.Ino {
			return cause
		}
	}
	st.published = true
	return unknown{cause}
}
