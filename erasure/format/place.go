package format

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// What a drive has: everything is in one directory.
const (
	systemDir     = ".shoal.sys"
	identityName  = "identity"
	temporaryName = identityName + ".new"
	lockName      = "lock"
	storeName     = "kv"
)

// place is a path that is to be a drive. What is there now is in its sight.
type place struct {
	path  string
	disk  *vfs.Limit // of one: whoever hangs in it holds up nobody else
	hangs bool       // it did not answer when it was looked at last
	room  Room       // when it did last

	sight
	drive   *Opened   // nil: it is not open
	since   time.Time // when it was opened last
	started time.Time // when a start of it was counted last
	busy    bool      // it is being opened or given back: nobody else touches it
	failed  vfs.Stat  // the system directory of the drive that was lost last
	fails   int       // how often one was in a row
	retry   time.Time // before, that one is left alone
}

// hung reports whether the drive does not answer.
func (p *place) hung() bool { return p.hangs || p.drive != nil && p.drive.Hangs() }

// sight is what was seen at a path.
type sight struct {
	dir     vfs.Dir // its system directory; nil: it is not claimed
	lock    vfs.File
	at      vfs.Stat  // of dir
	id      *Identity // nil: it is blank
	onRoot  bool      // it is on the device of the root directory
	mounted bool      // it is the root of a file system
	err     error     // why it is of no use
}

// room returns how much room the file system has.
func (s *sight) room() Room {
	u, err := s.dir.Usage()
	if err != nil {
		return Room{} // that it is of no use shows otherwise
	}
	return Room{u.Free, u.Total}
}

// missing reports whether an error says that there is no drive, and not that it is used.
func missing(err error) bool { return !errors.Is(err, ErrInUse) }

var errBlank = errors.New("it is a blank directory where the drive was not: is it mounted?")

func (s *sight) why() error {
	if s.err == nil {
		return errBlank
	}
	return s.err
}

// release gives back what was claimed.
func (s *sight) release() error {
	var errs []error
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.Close())
	}
	s.lock, s.dir = nil, nil
	return errors.Join(errs...)
}

// look finds out what is at a path, and claims it if it is a drive. Where none is nothing is
// changed: it may be where a drive is to be mounted.
func look(path string) (s sight) {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return sight{err: err}
	}
	defer func() {
		if s.err = errors.Join(s.err, root.Close()); s.err != nil {
			s.err = errors.Join(s.err, s.release())
		}
	}()
	if s.onRoot, s.mounted, s.err = devices(path, root); s.err != nil {
		return s
	}
	if s.id, s.err = readIdentity(root); s.err != nil {
		return s
	}
	if s.id == nil {
		s.err = empty(root)
		return s
	}
	if s.err = s.claim(root); s.err == nil {
		s.err = lighten(s.dir)
	}
	return s
}

// devices reports whether a directory is on the device of the root directory, as it is where
// a drive is not mounted, and whether it is the root of a file system of its own.
func devices(path string, dir vfs.Dir) (onRoot, mounted bool, err error) {
	here, err := dir.Stat(".")
	if err != nil {
		return false, false, err
	}
	root, err1 := device("/")
	parent, err2 := device(filepath.Join(path, ".."))
	return here.Dev == root, here.Dev != parent, errors.Join(err1, err2)
}

func device(path string) (uint64, error) {
	dir, err := vfs.OpenRoot(path)
	if err != nil {
		return 0, err
	}
	st, err := dir.Stat(".")
	return st.Dev, errors.Join(err, dir.Close())
}

// empty returns an error if a directory has anything but what file systems put there, and
// what a formation that did not come to its end may have left.
func empty(root vfs.Dir) error {
	names, err := root.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range names {
		switch e.Name {
		case "lost+found":
		case systemDir:
			if err := unformed(root); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: there is %s", ErrNotEmpty, e.Name)
		}
	}
	return nil
}

// unformed returns an error if a system directory without an identity has more than such a
// formation leaves: it is what is left of a drive.
func unformed(root vfs.Dir) error {
	dir, err := root.OpenDir(systemDir)
	if err != nil {
		return err
	}
	names, err := dir.ReadDir()
	for _, e := range names {
		if e.Name != lockName && e.Name != temporaryName {
			err = errors.Join(err, fmt.Errorf("%w: there is %s/%s, and no identity", ErrNotEmpty, systemDir, e.Name))
			break
		}
	}
	return errors.Join(err, dir.Close())
}

// claim takes the drive for this process.
func (s *sight) claim(root vfs.Dir) (err error) {
	if s.dir, err = root.OpenDir(systemDir); err != nil {
		return err
	}
	if s.at, err = s.dir.Stat("."); err != nil {
		return err
	}
	f, err := s.dir.Create(lockName, 0o600)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	s.lock = f
	l, ok := f.(vfs.Flocker)
	if !ok {
		return nil
	}
	switch err := l.Flock(); {
	case errors.Is(err, vfs.ErrLocked):
		return ErrInUse
	case errors.Is(err, vfs.ErrUnsupported):
		return nil
	default:
		return err
	}
}

// still returns an error if the path does not lead any more to what was claimed there. It
// reads nothing, so that a disk that rests goes on to.
func (s *sight) still(path string) error {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return err
	}
	st, err := root.Stat(systemDir)
	if err == nil && (st.Dev != s.at.Dev || st.Ino != s.at.Ino) {
		err = errGone
	}
	if err == nil {
		_, err = root.Stat(systemDir + "/" + identityName)
	}
	return errors.Join(err, root.Close())
}

// errGone says that something else is where a drive was.
var errGone = errors.New("the drive is not there any more: it was unmounted or moved away")

// on makes calls that touch the disk of a place, which may hang: they go on alone then, and
// what comes of them is dropped.
func on[T any](p *place, call func() (T, error), drop func(T)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), diskTime) //nolint:forbidigo // what is begun on a drive is not to be left half done
	defer cancel()
	return vfs.Call(ctx, p.disk, call, drop)
}

// occupy makes a blank place one that can be given an identity.
func (p *place) occupy() error {
	if p.dir != nil {
		return nil
	}
	s, err := on(p, func() (sight, error) { return prepare(p.path) }, func(s sight) { _ = s.release() }) // nothing was written to it
	if err == nil {
		p.dir, p.lock, p.at = s.dir, s.lock, s.at
	}
	return err
}

// prepare makes the system directory of a place that is blank, and claims it.
func prepare(path string) (s sight, err error) {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	switch id, err := readIdentity(root); {
	case err != nil:
		return s, err
	case id != nil:
		return s, errTaken
	}
	if err := empty(root); err != nil {
		return s, err
	}
	if err := root.Mkdir(systemDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return s, fmt.Errorf("make %s: %w", systemDir, err)
	}
	if err := errors.Join(root.Sync(), s.claim(root)); err != nil {
		return sight{}, errors.Join(err, s.release())
	}
	return s, nil
}

// form gives a blank place an identity, durably.
func (p *place) form(id Identity) error {
	if err := p.occupy(); err != nil {
		return err
	}
	id.Version, id.OnRoot, id.Mounted = identityVersion, p.onRoot, p.mounted
	p.id = &id
	if err := p.save(); err != nil {
		p.id = nil
		return errors.Join(err, p.release())
	}
	return nil
}

// raise counts a start of the drive, and has one of an earlier version have the one of this program,
// durably.
func (p *place) raise() error {
	before := *p.id
	p.id.Version = identityVersion
	p.id.Start++
	if err := p.save(); err != nil {
		*p.id = before
		return err
	}
	p.started = time.Now()
	return nil
}

// save makes the identity durable, in the place of the one before.
func (p *place) save() error {
	b, err := p.id.encode()
	if err != nil {
		return err
	}
	dir := p.dir
	if dir == nil {
		return errNotReady
	}
	_, err = on(p, func() (struct{}, error) { return struct{}{}, saveIdentity(dir, b) }, nil)
	return err
}

func saveIdentity(dir vfs.Dir, b []byte) error {
	f, err := dir.Create(temporaryName, 0o600)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = dir.Rename(temporaryName, dir, identityName)
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// openDrive opens the drive in a system directory, which is at a path.
func openDrive(path string, dir vfs.Dir, blank bool, log *slog.Logger) (*Opened, error) {
	files, err := drive.OpenFiles(dir)
	if err != nil {
		return nil, err
	}
	here, err := vfs.PathOf(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		here, err = filepath.Join(path, systemDir), nil
	}
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	kv, err := drive.OpenPebble(filepath.Join(here, storeName), log)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	ballast := &ballast{dir: dir, log: log}
	d := drive.New(kv, files, ballast.room)
	if err := errors.Join(d.UseSegments(dir, log), d.StartLog()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.StartSweeping(log)
	_, _, _ = ballast.room() // it is made now if it can be
	o := &Opened{Drive: d, store: kv}
	o.whole.Store(!blank)
	return o, nil
}
