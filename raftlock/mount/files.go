package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// within runs fn on a directory beneath parent.
func within(parent vfs.Dir, path string, fn func(dir vfs.Dir) error) error {
	dir, err := parent.OpenDir(path)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return fn(dir)
}

// closeDir closes a directory, which was open for reading: nothing can be lost.
func closeDir(dir vfs.Dir) { _ = dir.Close() }

// syncDir makes the names in a directory durable. Network file systems that
// cannot be asked to have done so already.
func syncDir(dir vfs.Dir) error {
	if err := dir.Sync(); err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		return err
	}
	return nil
}

// gone reports whether an error says that a name, or the directory that a
// handle or path leads to, is not there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE)
}

// lookPrefix begins the names by which stir changes a directory; no other name of
// ours can begin so.
const lookPrefix = "_look-"

// stir changes dir, so that this client asks the server for it. A client that has
// cached a directory asks again when it opens it, but over NFSv3 it sees no
// change within one tick of the server's clock, and what it took for the whole
// then stays so until the next change; after a change of its own it trusts
// nothing that it has.
func stir(dir vfs.Dir) error {
	// Without it the directory is still asked for. One that is being emptied
	// loses the name.
	return ignoreGone(touch(dir))
}

// touch changes dir and changes it back, which only the server can do, and only
// while it has the directory. That there is no room it says of one that it has: a
// full disk must not keep the dead from being fenced, nor the living from their
// work.
//
// On SMB it sets the directory's times. A directory in it could be gone again within one
// step of the server's clock, and the next one that anybody makes have its inode number and time
// of creation: to a client that has seen the first it is that one under another name, and the
// client makes up inode numbers from then on (vfs.NumbersHold).
func touch(dir vfs.Dir) error {
	if err := vfs.Touch(dir); !errors.Is(err, vfs.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err // who may not set times may still make directories
	}
	name := lookPrefix + random(8)
	switch err := dir.Mkdir(name, dirMode); {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return nil
	case err != nil:
		return err
	}
	return ignoreGone(dir.Rmdir(name)) // a fence may have been faster, but came later
}

// settled returns the entries of dir as the server has them. Of a name, ENOENT
// alone proves as little as a listing: that it is not there may be cached.
func settled(dir vfs.Dir) ([]vfs.Entry, error) {
	if err := stir(dir); err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir()
	return slices.DeleteFunc(entries, func(e vfs.Entry) bool { return strings.HasPrefix(e.Name, lookPrefix) }), err
}

// present reports whether dir has a name, as the server sees it.
func present(dir vfs.Dir, name string) (bool, error) {
	entries, err := settled(dir)
	return named(entries, name), err
}

func named(entries []vfs.Entry, name string) bool {
	return slices.ContainsFunc(entries, func(e vfs.Entry) bool { return e.Name == name })
}

// readFile returns the content of a regular file of at most limit bytes.
func readFile(dir vfs.Dir, name string, limit int64) ([]byte, vfs.Stat, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, vfs.Stat{}, err
	}
	defer func() { _ = f.Close() }() // open for reading: nothing can be lost
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, vfs.Stat{}, err
	case !st.Mode.IsRegular():
		return nil, vfs.Stat{}, fmt.Errorf("read %s: it is no regular file", name)
	case st.Size > limit:
		return nil, vfs.Stat{}, fmt.Errorf("read %s: it has %d bytes, more than %d", name, st.Size, limit)
	}
	b := make([]byte, st.Size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size), b); err != nil {
		return nil, vfs.Stat{}, fmt.Errorf("read %s: %w", name, err)
	}
	return b, st, nil
}

// writeFile makes a file whose content is durable. Its name is not, and is
// taken back if something fails.
func writeFile(dir vfs.Dir, name string, content []byte) (vfs.Stat, error) {
	f, err := dir.Create(name, fileMode)
	if err != nil {
		return vfs.Stat{}, err
	}
	st, err := f.Stat()
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = dir.Remove(name) // the first error is the answer
		return vfs.Stat{}, fmt.Errorf("write %s: %w", name, err)
	}
	return st, nil
}

// publish moves a file that writeFile made to its place, durably.
func publish(from vfs.Dir, temp string, st vfs.Stat, to vfs.Dir, name string) error {
	if err := from.Rename(temp, to, name); err != nil {
		// The answer to the first try may have been lost, and the second one
		// found nothing to move.
		if there, lost := to.Stat(name); lost != nil || there.Ino != st.Ino || there.Dev != st.Dev {
			_ = from.Remove(temp) // the error of the rename is the answer
			return err
		}
	}
	return syncDir(to)
}
