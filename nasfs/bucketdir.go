package nasfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// makeBucketDir makes a bucket's directory: in a fleet in the session, out of
// which it is renamed, since nothing could stop a late mkdir once the bucket is
// another gateway's to make and delete. An empty directory that somebody makes
// under the name meanwhile is replaced.
func (s *Store) makeBucketDir(name string, files object.Files) error {
	if !s.fleet {
		if err := s.mkBucketDir(name); err != nil {
			return err
		}
		return giveDir(s.root, name, files)
	}
	temp := s.tempName("b")
	if err := s.mkdirIn(temp, s.cfg.DirMode); err != nil {
		return err
	}
	own, err := s.statTemp(temp)
	if err == nil {
		err = s.inheritRoot(temp, own)
	}
	if err == nil {
		err = s.ofSession(giveDir(s.session, temp, files))
	}
	if err == nil {
		err = s.ofSession(s.session.Rename(temp, s.root, name))
	}
	if err == nil {
		return nil
	}
	there, lost := s.root.Stat(name)
	if own.Ino != 0 && lost == nil && there.Ino == own.Ino {
		return nil
	}
	s.nowOrLater("directory of a bucket", func() error { return s.dropTempDir(temp) })
	if isTaken(err) || errors.Is(err, syscall.ENOTDIR) {
		return cmp.Or(s.nameTaken(name), error(object.BucketExists))
	}
	return err
}

// nameTaken returns a BucketExists with an Obstacle if what has the name of a bucket is no
// directory. What a symbolic link leads to is nobody's bucket.
func (s *Store) nameTaken(name string) error {
	st, err := retryStale(func() (vfs.Stat, error) { return s.root.Stat(name) })
	if isAbsent(err) || err == nil && st.Mode.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if _, told := s.obstacles.LoadOrStore(name, true); !told {
		s.log.Warn("no bucket can be made: something that is no directory has its name", "bucket", name, "mode", st.Mode.String())
	}
	return object.E("create bucket", name, object.BucketExists, &object.Obstacle{Path: name})
}

// inheritRoot gives a bucket's directory, in the session, what mkdir(2) would have at
// the root: the group, and to pass it on, if the root is setgid.
func (s *Store) inheritRoot(name string, own vfs.Stat) error {
	root, err := s.root.Stat(".")
	if err != nil || root.Mode&fs.ModeSetgid == 0 {
		return err
	}
	dir, err := s.session.OpenDir(name)
	if err != nil {
		return s.ofSession(err)
	}
	defer closeDir(dir)
	if err := dir.Chown(-1, int(root.GID)); !forgivable(err) {
		return err
	}
	if err := dir.Chmod(own.Mode.Perm() | fs.ModeSetgid); !forgivable(err) {
		return err
	}
	return nil
}

// mkBucketDir makes a bucket's directory of which it was just found that it is not
// there: if it is now, an answer was lost, or a user of the share has made it, and is
// content with a bucket of the name.
func (s *Store) mkBucketDir(name string) error {
	err := s.root.Mkdir(name, s.cfg.DirMode)
	if err == nil {
		return nil
	}
	there := s.bucketThere(name) == nil
	switch {
	case there && errors.Is(err, fs.ErrExist):
		return nil
	case there:
		return unknown{err}
	case errors.Is(err, fs.ErrExist):
		return cmp.Or(s.nameTaken(name), error(object.BucketExists))
	}
	return err
}

// removeBucketDir removes a bucket's empty directory: in a fleet by a rename
// into the session, as makeBucketDir makes it by one out of it.
//
// On SMB it goes into a directory there that is made for it. Who fences the session sees
// that one only: he may remember the bucket, and must not meet it under another name
// (vfs.NumbersHold).
func (s *Store) removeBucketDir(name string) error {
	if !s.fleet {
		return rmdirOnce(s.root, name)
	}
	temp := s.tempName("b")
	if !s.smb {
		return s.removeThrough(s.session, temp, name, func() error { return s.dropTempDir(temp) })
	}
	if err := s.mkdirIn(temp, systemMode); err != nil {
		return err
	}
	drop := func() error { return s.dropTempDirs(temp, name) }
	defer s.nowOrLater("way of a bucket", drop)
	way, err := s.session.OpenDir(temp)
	if err != nil {
		return s.ofSession(err)
	}
	defer closeDir(way)
	err = s.removeThrough(way, name, name, drop)
	if isGone(err) {
		if _, taken := s.statTemp(temp); isGone(taken) {
			return fmt.Errorf("%w (%v)", errFenced, err) //nolint:errorlint // as in ofSession
		}
	}
	return err
}

// removeThrough removes a bucket's empty directory by a rename to temp in a directory of the
// session. drop removes what is left there.
func (s *Store) removeThrough(way vfs.Dir, temp, name string, drop func() error) error {
	if err := s.ofSession(s.root.Rename(name, way, temp)); err != nil {
		if _, taken := vfs.StatNow(way, temp); taken != nil {
			return s.bucketNotTaken(name, err)
		}
	}
	err := s.ofSession(way.Rmdir(temp))
	switch {
	case !isTaken(err):
		if err != nil && !errors.Is(err, errFenced) {
			s.nowOrLater("directory of a bucket", drop)
		}
		return nil
	default:
		// Somebody has put a file there since it was looked at.
		if back := s.ofSession(way.Rename(temp, s.root, name)); back != nil {
			return unknown{errors.Join(err, back)}
		}
		return err
	}
}

// bucketNotTaken is the error of a removal that failed, of which nothing is in
// the session.
func (s *Store) bucketNotTaken(name string, cause error) error {
	switch _, err := s.root.Stat(name); {
	case isAbsent(err) && errors.Is(cause, errFenced):
		return unknown{cause}
	case isAbsent(err):
		return nil // somebody else has removed it
	}
	return cause
}

// dropTempDir removes an empty directory of the session.
func (s *Store) dropTempDir(name string) error {
	if isOver(s.locker.Session()) {
		return nil
	}
	err := s.ofSession(rmdirOnce(s.session, name))
	if errors.Is(err, errFenced) {
		return nil
	}
	return err
}

// dropTempDirs is dropTempDir for one that may hold another.
func (s *Store) dropTempDirs(name, inner string) error {
	dir, err := s.session.OpenDir(name)
	if err == nil {
		err = rmdirOnce(dir, inner)
		closeDir(dir)
	}
	if err != nil && !isGone(err) && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return s.dropTempDir(name)
}
