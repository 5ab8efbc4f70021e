package nasfs

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// path returns where, below the root, the file of a key is in one of its slots.
func (s *Store) path(ref object.Ref, slot keypath.Slot) string {
	if slot == keypath.Alias {
		return ref.Bucket + "/" + s.codec.Alias(ref.Key)
	}
	return ref.Bucket + "/" + s.codec.Path(ref.Key)
}

// slots returns the slots that a key's file can be in, the one that counts
// first.
func (s *Store) slots() []keypath.Slot {
	if s.mayAlias() {
		return []keypath.Slot{keypath.Plain, keypath.Alias}
	}
	return []keypath.Slot{keypath.Plain}
}

// dirPath returns the directory of the keys that begin with prefix, which is
// empty or ends with '/'.
func (s *Store) dirPath(bucket, prefix string) string {
	switch prefix {
	case "":
		return bucket
	case "/":
		return bucket + "/" + s.codec.Name("")
	}
	return bucket + "/" + s.codec.Path(prefix[:len(prefix)-1])
}

// splitKey splits a key behind its last '/'.
func splitKey(key string) (prefix, component string) {
	i := strings.LastIndexByte(key, '/') + 1
	return key[:i], key[i:]
}

// parentOf returns the path of the directory that a path of several names
// lies in.
func parentOf(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// openParent opens the directory that a path lies in.
func (s *Store) openParent(path string) (dir vfs.Dir, leaf string, err error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return nil, "", syscall.EINVAL
	}
	dir, err = s.root.OpenDir(path[:i])
	return dir, path[i+1:], err
}

// readDir returns the entries of a directory.
func readDir(parent vfs.Dir, path string) ([]vfs.Entry, error) {
	dir, err := parent.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer closeDir(dir)
	return dir.ReadDir()
}

// closeDir closes a directory: opened to name files in, it has nothing to lose.
func closeDir(d vfs.Dir) { _ = d.Close() }

// freshDirs are directories that were made but may not be durable, or known to
// the snapshots, yet. Whoever puts a file below one sees to both first.
type freshDirs struct {
	count    atomic.Int32 // of dirs
	mu       sync.Mutex
	dirs     map[string]freshDir // by path
	failures uint64
}

type freshDir struct {
	makers int    // how many are making it
	failed uint64 // the number of the failure since which it may not be durable; 0 if it may not be for its makers only
}

// change changes what is known of a directory.
func (f *freshDirs) change(path string, fn func(*freshDir)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dirs == nil {
		f.dirs = make(map[string]freshDir)
	}
	d := f.dirs[path]
	if fn(&d); d == (freshDir{}) {
		delete(f.dirs, path)
	} else {
		f.dirs[path] = d
	}
	f.count.Store(int32(len(f.dirs))) //nolint:gosec // they fit into memory
}

// begin says that a directory is going to be made, until end.
func (f *freshDirs) begin(path string) { f.change(path, func(d *freshDir) { d.makers++ }) }

func (f *freshDirs) end(path string) { f.change(path, func(d *freshDir) { d.makers-- }) }

// fail says that a directory is there, and was not made durable.
func (f *freshDirs) fail(path string) {
	f.change(path, func(d *freshDir) {
		f.failures++
		d.failed = f.failures
	})
}

// failed returns the number of the last failure, for settled.
func (f *freshDirs) failed(path string) uint64 {
	if f.count.Load() == 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirs[path].failed
}

// settled says that a directory was made durable, or is gone, after failed was
// asked: one that has been made since, and failed, is another.
func (f *freshDirs) settled(path string, failed uint64) {
	if failed == 0 {
		return
	}
	f.change(path, func(d *freshDir) {
		if d.failed == failed {
			d.failed = 0
		}
	})
}

func (f *freshDirs) has(path string) bool {
	if f.count.Load() == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirs[path] != freshDir{}
}

// unsettled reports whether a directory that is there may not be durable. A
// network file system has made it so before it answered to whoever made it; on a
// local one another gateway of the fleet may be about to.
func (t *tree) unsettled(path string) bool { return t.fresh.has(path) || t.fleet && t.localDisk }

// stripe is the mutex under which a directory is made or removed and the
// snapshots are told of it, so that they are told in the right order.
func (t *tree) stripe(path string) *sync.Mutex {
	var h uint32 = 2166136261
	for i := range len(path) {
		h = (h ^ uint32(path[i])) * 16777619
	}
	return &t.stripes[h%uint32(len(t.stripes))]
}

// ancestor is a directory above an object's file, below its bucket.
type ancestor struct {
	path   string // from the root
	prefix string // of the keys below it; empty for the inner directories of a long name
}

// ancestors returns the directories above a path of ref, the upper ones first.
func (s *Store) ancestors(ref object.Ref, path string) []ancestor {
	list := make([]ancestor, 0, strings.Count(path, "/"))
	key, end := 0, len(ref.Bucket) // how much of the key and of the path is behind
	for i := end + 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		a := ancestor{path: path[:i]}
		if n := strings.IndexByte(ref.Key[key:], '/'); n >= 0 && s.codec.Name(ref.Key[key:key+n]) == path[end+1:i] {
			key, end = key+n+1, i
			a.prefix = ref.Key[:key]
		}
		list = append(list, a)
	}
	return list
}

// makeParents makes the directories that a path of ref lies in, below its
// bucket. They are given what was asked for, before what the bucket says.
func (s *Store) makeParents(ref object.Ref, path string, asked object.Files) error {
	if err := s.bucketThere(ref.Bucket); err != nil {
		return err
	}
	for _, a := range s.ancestors(ref, path) {
		if err := s.make(a.path, func() error { return s.makeDir(ref.Bucket, a, asked) }); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes one directory, unless it is there. One that could not be made
// durable stays fresh.
func (s *Store) makeDir(bucket string, a ancestor, asked object.Files) error {
	s.fresh.begin(a.path)
	defer s.fresh.end(a.path)
	made, err := s.mkdir(bucket, a)
	if err != nil || !made {
		return err
	}
	if err = s.giveMade(bucket, a.path, asked); err == nil {
		err = s.settleDir(a.path)
	}
	if err != nil {
		s.fresh.fail(a.path)
	}
	return err
}

// giveMade gives a directory of a bucket what its new ones are given. One that has
// become empty and was removed meanwhile needs nothing.
func (s *Store) giveMade(bucket, path string, asked object.Files) error {
	of, err := s.filesOf(bucket)
	if err == nil {
		err = giveDir(s.root, path, asked.Or(of))
	}
	if isAbsent(err) {
		return nil
	}
	return err
}

func (s *Store) mkdir(bucket string, a ancestor) (made bool, err error) {
	m := s.stripe(a.path)
	m.Lock()
	defer m.Unlock()
	switch err := s.root.Mkdir(a.path, s.cfg.DirMode); {
	case err == nil:
		s.noteDir(bucket, a.prefix, true)
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	default:
		return false, err
	}
}

// syncParent makes the name of a directory durable.
func (s *Store) syncParent(path string) error {
	if !s.syncsDirs() {
		return nil
	}
	dir, err := retryStale(func() (vfs.Dir, error) {
		dir, _, err := s.openParent(path)
		return dir, err
	})
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return dir.Sync()
}

// settleDir makes the name of a directory durable that may not be.
func (s *Store) settleDir(path string) error {
	failed := s.fresh.failed(path)
	err := s.syncParent(path)
	if err == nil {
		s.fresh.settled(path, failed)
	}
	return err
}

// settle sees to the directories above a path that somebody else has made but
// not settled yet: what was put below them must not be lost with them.
func (s *Store) settle(ref object.Ref, path string) error {
	above := s.ancestors(ref, path)
	paths := make([]string, len(above))
	for i, a := range above {
		paths[i] = a.path
	}
	if err := s.awaitMade(paths...); err != nil {
		return err
	}
	for _, a := range above {
		if !s.unsettled(a.path) {
			continue
		}
		if s.fresh.has(a.path) {
			s.noteDir(ref.Bucket, a.prefix, true)
		}
		if err := s.settleDir(a.path); err != nil {
			return err
		}
	}
	return nil
}

// note tells the snapshots of a file that was published or removed.
func (s *Store) note(ref object.Ref, slot keypath.Slot, added bool) {
	prefix, component := splitKey(ref.Key)
	s.snaps.Note(s.dirPath(ref.Bucket, prefix), dirsnap.Entry{Key: component, Slot: slot}, added)
}

// noteDir tells the snapshots of the directory of a prefix that was made or
// removed. They do not know the inner directories of long names, which have
// none.
func (s *Store) noteDir(bucket, prefix string, added bool) {
	if prefix == "" {
		return
	}
	above, component := splitKey(prefix[:len(prefix)-1])
	s.snaps.Note(s.dirPath(bucket, above), dirsnap.Entry{Key: component + "/"}, added)
}

// prune removes the directories above a path that are empty, up to the
// bucket, and returns the lowest that is left. What goes wrong here is left as
// it is: an empty directory is no object.
func (s *Store) prune(ref object.Ref, path string) string {
	for _, a := range slices.Backward(s.ancestors(ref, path)) {
		if !s.rmdir(ref.Bucket, a) {
			return a.path
		}
	}
	return ref.Bucket
}

func (s *Store) rmdir(bucket string, a ancestor) bool {
	dir, leaf, err := s.openParent(a.path)
	if err != nil {
		return false
	}
	defer closeDir(dir)
	m := s.stripe(a.path)
	m.Lock()
	defer m.Unlock()
	failed := s.fresh.failed(a.path)
	if err := dir.Rmdir(leaf); err != nil {
		return false
	}
	s.fresh.settled(a.path, failed)
	s.noteDir(bucket, a.prefix, false)
	return true
}
