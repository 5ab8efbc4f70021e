package nasfs

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// moveAside moves the file of a key, whose lock is held, from the plain slot
// to the alias one, so that a directory can take its name. The file is in one
// of the two, or both, at every moment and after every crash.
func (s *Store) moveAside(ref object.Ref) error {
	dir, leaf, err := s.openParent(s.path(ref, keypath.Plain))
	if isAbsent(err) {
		return nil // then something else is in the way now, or nothing
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	st, err := dir.Stat(leaf)
	if isAbsent(err) || err == nil && !st.Mode.IsRegular() {
		return nil // somebody has cleared it already
	}
	if err != nil {
		return err
	}
	if err := s.useAliases(); err != nil {
		return err
	}
	if err := s.linkAlias(ref, dir, leaf, st); err != nil {
		return err
	}
	// Told before the old name goes: a directory that is being read just now may
	// show neither of the two.
	s.note(ref, keypath.Alias, true)
	took, err := s.take(dir, leaf, &st)
	switch {
	case err == nil:
		s.removeTemp(took.temp)
	case !errors.Is(err, errNoKey):
		return err
	}
	return nil
}

// linkAlias gives the file of a key its alias, durably.
func (s *Store) linkAlias(ref object.Ref, dir vfs.Dir, leaf string, st vfs.Stat) error {
	path := s.path(ref, keypath.Alias)
	to, name, err := s.openParent(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeParents(ref, path, object.Files{}); err != nil {
			return err
		}
		to, name, err = s.openParent(path)
	}
	if err != nil {
		return err
	}
	defer closeDir(to)
	temp := s.tempName("a")
	err = s.linkIn(dir, leaf, temp)
	if noLinks(err) {
		// Straight from the one slot to the other: a crash must not find the
		// only name of the file in a session. A reader looks at both slots.
		if err = dir.Rename(leaf, to, name); err == nil {
			err = s.syncDir(to)
		}
		return err
	}
	if err != nil {
		s.removeTemp(temp) // there is one if only the answer was lost
		return err
	}
	moved, err := s.statTemp(temp)
	if err == nil && moved.Ino != st.Ino {
		err = errAgain // somebody has just replaced it
	}
	if err == nil {
		err = s.moveOut(temp, moved, to, name)
	}
	s.removeTemp(temp) // there still if it failed, or if the alias is this file already
	if err != nil {
		return err
	}
	return s.syncDir(to)
}

// dropAlias removes what is in the alias slot of a key whose plain one, in dir at
// path, has a file. It is best effort: nobody sees what is shadowed, and a
// delete of the key removes it.
func (s *Store) dropAlias(ref object.Ref, dir vfs.Dir, path string) {
	alias := s.path(ref, keypath.Alias)
	leaf := alias[len(parentOf(alias))+1:]
	if parentOf(alias) != parentOf(path) { // as of long names
		var err error
		if dir, leaf, err = s.openParent(alias); err != nil {
			return
		}
		defer closeDir(dir)
	}
	took, err := s.take(dir, leaf, nil)
	switch {
	case err == nil:
		s.letGo(took)
	case !errors.Is(err, errNoKey):
		s.log.Warn("an old file of an object was not removed", "bucket", ref.Bucket, "key", ref.Key, "error", err)
	}
}

// taken is a file that was moved into the session, or removed, where temp is
// empty.
type taken struct {
	temp string
	stat vfs.Stat
}

// letGo removes a file that was taken, and what is kept under its stamp.
func (s *Store) letGo(t taken) {
	if t.temp != "" && s.mayLinger(t.stat) {
		s.letGoLater(t.temp, t.stat.Size)
		return
	}
	s.nowOrLater("deleted object", func() error {
		if err := s.forget(t.stat); err != nil || t.temp == "" {
			return err
		}
		return s.dropTemp(t.temp)
	})
}

// take moves a file into the session, for the caller to remove it there: a
// removal of which the fence can make sure that it happens in time or never,
// and that is undone if it met another file than it was meant for. want is
// that file; nil means whatever file is there. It returns errNoKey if there is
// none.
func (s *Store) take(dir vfs.Dir, leaf string, want *vfs.Stat) (taken, error) {
	st, err := dir.Stat(leaf)
	if isAbsent(err) || err == nil && !st.Mode.IsRegular() {
		return taken{}, errNoKey // of a directory least of all: it would go with all that is in it
	}
	if err != nil {
		return taken{}, err
	}
	if want != nil && st.Ino != want.Ino {
		return taken{}, errAgain
	}
	temp := s.tempName("d")
	err = s.ofSession(dir.Rename(leaf, s.session, temp))
	if isFull(err) && !s.fleet {
		// A rename may need room in the session's directory. Removing needs
		// none, and the lock is held; but no fence could stop it.
		return taken{stat: st}, dir.Remove(leaf)
	}
	took, statErr := s.statTemp(temp)
	if statErr != nil && err == nil {
		took, statErr = s.statTemp(temp) // once more: it must not be left there unseen
	}
	switch {
	case err != nil && statErr != nil:
		return taken{}, notTaken(err, dir, leaf, st)
	case errors.Is(statErr, errFenced) && want == nil:
		return taken{stat: st}, nil // whoever ended the session has removed it
	case statErr != nil:
		return taken{}, unknown{statErr}
	case took.Mode.IsDir() || want != nil && took.Ino != want.Ino:
		return taken{}, s.giveBack(temp, dir, leaf)
	}
	return taken{temp, took}, nil
}

// notTaken is the error of a taking that failed, of which nothing is in the
// session. If the file is not where it was either, somebody may have it.
func notTaken(cause error, dir vfs.Dir, leaf string, st vfs.Stat) error {
	if isAbsent(cause) {
		return errNoKey
	}
	there, err := dir.Stat(leaf)
	if isAbsent(err) || errors.Is(cause, errFenced) && (err != nil || there.Ino != st.Ino) {
		return unknown{cause}
	}
	return cause
}

// giveBack returns what was not to be taken.
func (s *Store) giveBack(temp string, dir vfs.Dir, leaf string) error {
	err := s.ofSession(s.session.Link(temp, dir, leaf))
	if errors.Is(err, fs.ErrExist) || err == nil {
		s.removeTemp(temp) // it is back, or was replaced by something newer
		return errAgain
	}
	if err := s.ofSession(s.session.Rename(temp, dir, leaf)); err != nil {
		return unknown{fmt.Errorf("give back a file that was replaced meanwhile, now %s in the session: %w", temp, err)}
	}
	return errAgain
}
