package drive

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// dataDir is where a drive has the shards that are files: in 256 directories, by the first
// byte of their content's ID in hex.
const dataDir = "data"

// Modes of what is on a drive: it is nobody else's.
const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// treeFiles is Files in a directory.
type treeFiles struct {
	root vfs.Dir
	dirs [256]vfs.Dir
}

// OpenFiles returns the Files in a drive's directory, which it makes if they are not there.
// root stays the caller's to close.
func OpenFiles(root vfs.Dir) (Files, error) {
	t := &treeFiles{root: root}
	if err := makeDir(root, dataDir); err != nil {
		return nil, err
	}
	for i := range t.dirs {
		name := dataDir + "/" + hex.EncodeToString([]byte{byte(i)})
		err := makeDir(root, name)
		if err == nil {
			t.dirs[i], err = root.OpenDir(name)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), t.Close())
		}
	}
	if err := errors.Join(syncDir(root, dataDir), root.Sync()); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// syncDir makes the names in a directory durable.
func syncDir(root vfs.Dir, path string) error {
	dir, err := root.OpenDir(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func makeDir(root vfs.Dir, path string) error {
	err := root.Mkdir(path, dirMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}

// begunEnd is behind the name of a file that was begun in the place of another one.
const begunEnd = ".new"

func (t *treeFiles) place(id register.DataID) (vfs.Dir, string) {
	return t.dirs[id[0]], hex.EncodeToString(id[1:])
}

// Create implements Files.
func (t *treeFiles) Create(id register.DataID) (File, error) {
	dir, name := t.place(id)
	file := &treeFile{dir: dir, name: name}
	_, err := dir.Stat(name)
	if err == nil {
		file.name, file.instead = name+begunEnd, name
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		file.f, err = dir.Create(file.name, fileMode)
	}
	if err != nil {
		return nil, fmt.Errorf("create shard: %w", err)
	}
	return file, nil
}

// Open implements Files.
func (t *treeFiles) Open(id register.DataID) (io.ReaderAt, io.Closer, error) {
	dir, name := t.place(id)
	f, err := dir.Open(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f, nil
}

// Remove implements Files.
func (t *treeFiles) Remove(id register.DataID) error {
	dir, name := t.place(id)
	return removeShard(dir, name)
}

// RemoveBegun implements Files.
func (t *treeFiles) RemoveBegun(id register.DataID) error {
	dir, name := t.place(id)
	return removeShard(dir, name+begunEnd)
}

func removeShard(dir vfs.Dir, name string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove shard: %w", err)
	}
	return nil
}

// Each implements Files. What is called otherwise is nobody's.
func (t *treeFiles) Each(fn func(id register.DataID, begun bool) error) error {
	for i, dir := range t.dirs {
		names, err := dir.ReadDir()
		if err != nil {
			return fmt.Errorf("look for shards: %w", err)
		}
		for _, e := range names {
			id, begun, ok := parseName(byte(i), e.Name)
			if !ok {
				continue
			}
			if err := fn(id, begun); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseName returns the content of a file in one of the directories.
func parseName(dir byte, name string) (id register.DataID, begun, ok bool) {
	name, begun = strings.CutSuffix(name, begunEnd)
	id[0] = dir
	if len(name) != 2*len(id)-2 {
		return id, false, false
	}
	_, err := hex.Decode(id[1:], []byte(name))
	return id, begun, err == nil
}

// Close implements Files.
func (t *treeFiles) Close() error {
	var errs []error
	for _, d := range t.dirs {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// treeFile is a shard that is being written.
type treeFile struct {
	dir     vfs.Dir
	name    string
	instead string // of the one that it is to replace; empty: there is none
	f       vfs.File
}

func (f *treeFile) Write(p []byte) (int, error) {
	n, err := vfs.Append(f.f, p)
	return int(n), err
}

// Finish implements File. On ext4, XFS, btrfs and f2fs the name of a new file is durable with
// the content that is synced, so the directory need not be: measured, that would double
// what a shard of 512 KiB costs. That of one that is replaced is not.
func (f *treeFile) Finish() error {
	err := f.f.Sync()
	if closed := f.f.Close(); err == nil {
		err = closed
	}
	f.f = nil
	if err == nil && f.instead != "" {
		err = f.dir.Rename(f.name, f.dir, f.instead)
		if err == nil {
			return f.dir.Sync()
		}
	}
	if err != nil {
		_ = f.dir.Remove(f.name) //nolint:errcheck // the first error tells
		return fmt.Errorf("finish shard: %w", err)
	}
	return nil
}

// Abort implements File.
func (f *treeFile) Abort() {
	if f.f == nil {
		return
	}
	_ = f.f.Close()          //nolint:errcheck // it goes
	_ = f.dir.Remove(f.name) //nolint:errcheck // the sweeper finds it
	f.f = nil
}
