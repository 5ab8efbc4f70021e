package format

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// What a drive has: everything is in one directory.
const (
	systemDir    = ".shoal.sys"
	identityName = "identity"
	lockName     = "lock"
	storeName    = "kv"
)

// place is a path that is to be a drive.
type place struct {
	path   string
	dir    vfs.Dir // its system directory; nil: it is not there
	lock   vfs.File
	id     *Identity // nil: it is blank
	onRoot bool      // it is on the device of the root directory
	opened bool      // as a drive
	err    error     // why it is not there
}

// missing reports whether an error says that there is no drive, and not that it is used.
func missing(err error) bool { return !errors.Is(err, ErrInUse) }

var errBlank = errors.New("it is a blank directory of the root file system, where the drive was not: is it mounted?")

func (p *place) why() error {
	if p.err == nil {
		return errBlank
	}
	return p.err
}

func (p *place) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	if p.dir != nil {
		errs = append(errs, p.dir.Close())
	}
	return errors.Join(errs...)
}

// look finds out what is at a path.
func look(path string) *place {
	p := &place{path: path}
	root, err := vfs.OpenRoot(path)
	if err != nil {
		p.err = err
		return p
	}
	defer func() { p.err = errors.Join(p.err, root.Close()) }()
	if p.onRoot, p.err = onRootDevice(root); p.err != nil {
		return p
	}
	if p.id, p.err = readIdentity(root); p.err != nil {
		return p
	}
	if p.id == nil {
		if p.err = empty(root); p.err != nil {
			return p
		}
	}
	if err := root.Mkdir(systemDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		p.err = fmt.Errorf("make %s: %w", systemDir, err)
		return p
	}
	if p.dir, p.err = root.OpenDir(systemDir); p.err != nil {
		return p
	}
	p.err = errors.Join(root.Sync(), p.claim())
	return p
}

// onRootDevice reports whether a directory is on the device of the root directory, as it is
// where a drive is not mounted.
func onRootDevice(dir vfs.Dir) (bool, error) {
	root, err := vfs.OpenRoot("/")
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }() // it was only looked at
	at, err1 := root.Stat(".")
	here, err2 := dir.Stat(".")
	return at.Dev == here.Dev, errors.Join(err1, err2)
}

// empty returns an error if a directory has anything but what file systems put there, and
// what a formation that did not come to its end may have.
func empty(root vfs.Dir) error {
	names, err := root.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range names {
		if e.Name != "lost+found" && e.Name != systemDir {
			return fmt.Errorf("%w: there is %s", ErrNotEmpty, e.Name)
		}
	}
	return nil
}

// claim takes the drive for this process.
func (p *place) claim() error {
	f, err := p.dir.Create(lockName, 0o600)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	p.lock = f
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

// save makes the identity durable, in the place of the one before.
func (p *place) save() error {
	b, err := p.id.encode()
	if err != nil {
		return err
	}
	const temporary = identityName + ".new"
	f, err := p.dir.Create(temporary, 0o600)
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
		err = p.dir.Rename(temporary, p.dir, identityName)
	}
	if err == nil {
		err = p.dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// open opens the drive at a place.
func (p *place) open(log *slog.Logger) (*drive.Drive, error) {
	files, err := drive.OpenFiles(p.dir)
	if err != nil {
		return nil, err
	}
	kv, err := drive.OpenPebble(filepath.Join(p.path, systemDir, storeName), log)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	d := drive.New(kv, files, func() (left, all uint64, err error) {
		u, err := p.dir.Usage()
		return u.Free, u.Total, err
	})
	if err := d.UseSegments(p.dir, log.With("path", p.path)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}
