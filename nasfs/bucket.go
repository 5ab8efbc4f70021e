package nasfs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// bucketRecord is what is kept of a bucket beside its directory.
type bucketRecord struct {
	Version int          `json:"version"`
	Created time.Time    `json:"created"`
	Region  string       `json:"region,omitempty"`
	Tags    []object.Tag `json:"tags,omitempty"`

	Versioning object.Versioning `json:"versioning,omitempty"`
	Files      object.Files      `json:"files,omitzero"`
	Documents  map[string]string `json:"documents,omitempty"`
}

// bucketRecords are the records that were read or written. They are the truth
// while this process alone writes them; in a fleet each counts under one revision.
type bucketRecords struct {
	mu     sync.Mutex
	byName map[string]knownRecord
}

type knownRecord struct {
	bucketRecord
	revision uint64
}

func (b *bucketRecords) get(name string, revision uint64) (bucketRecord, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.byName[name]
	return r.bucketRecord, ok && r.revision == revision
}

func (b *bucketRecords) set(name string, r bucketRecord, revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byName == nil {
		b.byName = make(map[string]knownRecord)
	}
	b.byName[name] = knownRecord{r, revision}
}

func (b *bucketRecords) remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byName, name)
}

// isBucketName reports whether a directory at the root is a bucket by its name
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
func isBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		inner := i > 0 && i < len(name)-1
		if !alnum && (!inner || c != '-' && c != '.') {
			return false
		}
	}
	return !isIPv4(name)
}

func isIPv4(name string) bool {
	dots := 0
	for i := range len(name) {
		switch {
		case name[i] == '.':
			dots++
		case name[i] < '0' || name[i] > '9':
			return false
		}
	}
	return dots == 3
}

// bucketThere returns NoSuchBucket unless the bucket's directory is there.
func (s *Store) bucketThere(name string) error {
	_, err := s.statBucket(name)
	return err
}

func (s *Store) statBucket(name string) (vfs.Stat, error) {
	return statBucket(name, func() (vfs.Stat, error) { return s.root.Stat(name) })
}

// statBucket describes the directory of a bucket by stat; NoSuchBucket if there is
// none.
func statBucket(name string, stat func() (vfs.Stat, error)) (vfs.Stat, error) {
	if !isBucketName(name) {
		return vfs.Stat{}, object.E("find bucket", name, object.NoSuchBucket, nil)
	}
	st, err := retryStale(stat)
	if isAbsent(err) || err == nil && !st.Mode.IsDir() {
		return vfs.Stat{}, object.E("find bucket", name, object.NoSuchBucket, nil)
	}
	return st, err
}

// loadBucket returns a bucket's record; of a directory that somebody else
// made, one that says so little.
func (s *Store) loadBucket(name string) (object.Bucket, error) {
	st, err := s.statBucket(name)
	if err != nil {
		return object.Bucket{}, err
	}
	r, err := s.recordOf(name)
	if err != nil {
		return object.Bucket{}, err
	}
	if r.Created.IsZero() {
		r.Created = st.Mtime.UTC()
	}
	return r.bucket(name).Clone(), nil
}

// recordOf returns a bucket's record, which may be none.
func (s *Store) recordOf(name string) (bucketRecord, error) {
	revision, may := s.revision(name)
	if may {
		if r, ok := s.buckets.get(name, revision); ok {
			return r, nil
		}
	}
	r, err := retryStale(func() (bucketRecord, error) { return s.readBucket(name) })
	if err == nil && may && !r.Created.IsZero() {
		s.buckets.set(name, r, revision)
	}
	return r, err
}

// revision returns the number under which the record of a bucket may be remembered,
// if it may be.
func (t *tree) revision(name string) (uint64, bool) {
	if !t.fleet {
		return 0, true
	}
	if t.cfg.Facts == nil {
		return 0, false
	}
	n := t.cfg.Facts.Revision(name)
	return n, n != 0
}

// Known implements object.Configured.
func (t *tree) Known(name string) (object.Bucket, bool) {
	revision, may := t.revision(name)
	if !may {
		return object.Bucket{}, false
	}
	r, ok := t.buckets.get(name, revision)
	return r.bucket(name), ok
}

// changing runs a change of a bucket's record. In a fleet whose buckets have
// anything that others remember, these are told before and after.
func (s *Store) changing(ctx context.Context, name string, gone bool, change func() error) error {
	if !s.fleet || s.cfg.Facts == nil || !s.mayVersion() && !s.Configured() {
		return change()
	}
	done, err := s.cfg.Facts.Change(ctx, name)
	if err != nil {
		return fmt.Errorf("tell the other gateways: %w", err)
	}
	err = change()
	if lost := done(ctx, gone); lost != nil {
		s.log.Warn("the record of a bucket is read each time until it is changed again", "bucket", name, "error", lost)
	}
	return err
}

// bucket returns what the record says, and shares with it.
func (r *bucketRecord) bucket(name string) object.Bucket {
	return object.Bucket{Name: name, Created: r.Created, Region: r.Region, Tags: r.Tags, Versioning: r.Versioning, Files: r.Files, Documents: r.Documents}
}

func (s *Store) readBucket(name string) (r bucketRecord, err error) {
	b, err := readFile(s.root, bucketsDir+"/"+name, maxSmallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("read record of bucket: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("read record of bucket: %w", err)
	}
	return r, nil
}

// saveBucket publishes a bucket's record.
func (s *Store) saveBucket(b object.Bucket) error {
	b = b.Clone()
	r := bucketRecord{Version: 1, Created: b.Created.UTC(), Region: b.Region, Tags: b.Tags, Versioning: b.Versioning, Files: b.Files, Documents: b.Documents}
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of bucket: %w", err)
	}
	if err := s.publishFile(bucketsDir, b.Name, content); err != nil {
		s.buckets.remove(b.Name) // if it is unknown what is there, it is to be read
		return err
	}
	if !s.fleet {
		s.buckets.set(b.Name, r, 0)
	}
	return nil
}

// lockBucket takes the exclusive lease on a bucket.
func (s *Store) lockBucket(ctx context.Context, name string) (held, error) {
	l, err := s.locker.Acquire(ctx, lock.Exclusive, bucketLock(name))
	return held{names: l}, err
}

// CreateBucket implements object.Buckets.
func (s *Store) CreateBucket(ctx context.Context, b object.Bucket) error {
	const op = "create bucket"
	if !isBucketName(b.Name) {
		return object.E(op, b.Name, object.BadName, nil)
	}
	h, err := s.lockBucket(ctx, b.Name)
	if err != nil {
		return fail(op, b.Name, err)
	}
	return fail(op, b.Name, s.locked(ctx, h, func() error { return s.createBucket(ctx, b) }, nil))
}

func (s *Store) createBucket(ctx context.Context, b object.Bucket) error {
	switch err := s.bucketThere(b.Name); {
	case err == nil:
		return object.BucketExists
	case !errors.Is(err, object.NoSuchBucket):
		return err // it may be there, with all that would be removed below
	}
	if err := s.nameTaken(b.Name); err != nil {
		return err // before anything is removed: the bucket may have moved to where a link leads
	}
	if err := s.makeWay(ctx.Err, b.Name); err != nil {
		return err
	}
	if err := s.proveFiles(b.Files); err != nil {
		return err
	}
	if err := s.makeBucketDir(b.Name, b.Dir.Or(b.Files).Or(s.cfg.Files)); err != nil {
		return err
	}
	if b.Created.IsZero() {
		b.Created = s.cfg.Now()
	}
	err := s.establish(ctx, b)
	if err == nil {
		err = s.syncRoot()
	}
	if err == nil {
		err = s.changing(ctx, b.Name, false, func() error { return s.saveBucket(b) })
	}
	if err == nil || isUnknown(err) {
		return err
	}
	if undo := s.removeBucketDir(b.Name); undo != nil {
		return unknown{errors.Join(err, undo)}
	}
	return err
}

func (s *Store) syncRoot() error {
	if !s.syncsDirs() {
		return nil
	}
	return s.root.Sync()
}

// StatBucket implements object.Buckets.
func (s *Store) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	var b object.Bucket
	err := s.phase(ctx, s.calls, func() (err error) {
		b, err = s.loadBucket(name)
		return err
	}, nil)
	if err != nil {
		return object.Bucket{}, fail("stat bucket", name, err)
	}
	return b, nil
}

// ListBuckets implements object.Buckets.
func (s *Store) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	var list []object.Bucket
	err := s.phase(ctx, s.calls, func() error {
		entries, err := s.root.ReadDir()
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !isBucketName(e.Name) || e.Type != fs.ModeDir && e.Type != fs.ModeIrregular {
				continue
			}
			b, err := s.loadBucket(e.Name)
			if errors.Is(err, object.NoSuchBucket) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
			list = append(list, b)
		}
		return nil
	}, nil)
	if err != nil {
		return nil, fail("list buckets", "", err)
	}
	slices.SortFunc(list, func(x, y object.Bucket) int { return cmp.Compare(x.Name, y.Name) })
	return list, nil
}

// UpdateBucket implements object.Buckets.
func (s *Store) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	const op = "update bucket"
	h, err := s.lockBucket(ctx, name)
	if err != nil {
		return fail(op, name, err)
	}
	err = s.locked(ctx, h, func() error {
		b, err := s.loadBucket(name)
		if err != nil {
			return err
		}
		if err := fn(&b); err != nil {
			return refused{err}
		}
		if err := s.proveFiles(b.Files); err != nil {
			return err
		}
		b.Name = name
		if err := s.establish(ctx, b); err != nil {
			return err
		}
		return s.changing(ctx, name, false, func() error { return s.saveBucket(b) })
	}, nil)
	if r, ok := errors.AsType[refused](err); ok {
		return r.error
	}
	return fail(op, name, err)
}

// DeleteBucket implements object.Buckets. A bucket with files that are no
// objects, such as links or what a file server keeps there, is not empty.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	const op = "delete bucket"
	h, err := s.lockBucket(ctx, name)
	if err != nil {
		return fail(op, name, err)
	}
	err = s.locked(ctx, h, func() error {
		if err := s.bucketThere(name); err != nil {
			return err
		}
		if err := s.noHistories(ctx.Err, name); err != nil {
			return err
		}
		dirs, err := s.emptyDirs(ctx.Err, name, name)
		if err != nil {
			return err
		}
		return s.changing(ctx, name, true, func() error { return s.removeBucket(name, dirs) })
	}, nil)
	return fail(op, name, err)
}

// emptyDirs returns a directory of a bucket without files and those below it, each
// after the one it lies in; BucketNotEmpty if there is a file. It ends with an error of stop.
func (s *Store) emptyDirs(stop func() error, name, top string) ([]string, error) {
	dirs := []string{top}
	for i := 0; i < len(dirs); i++ {
		if err := stop(); err != nil {
			return nil, err
		}
		d, err := s.root.OpenDir(dirs[i])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries, err := d.ReadDir()
		closeDir(d)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type == fs.ModeIrregular {
				if st, err := s.root.Stat(dirs[i] + "/" + e.Name); err == nil {
					e.Type = st.Mode.Type()
				}
			}
			if !e.Type.IsDir() || keypath.Hidden(e.Name) {
				return nil, object.E("delete bucket", name, object.BucketNotEmpty, s.occupant(dirs[i]+"/"+e.Name, e))
			}
			dirs = append(dirs, dirs[i]+"/"+e.Name)
		}
	}
	return dirs, nil
}

// occupant says that a bucket has something at a path: an Obstacle, if that is not to be seen
// through S3.
func (s *Store) occupant(path string, e vfs.Entry) error {
	_, key, ok := s.Seen(path, false)
	if ok && (key == "" || len(key) > object.MaxKeyLen) || !e.Type.IsRegular() || keypath.Hidden(e.Name) || s.codec.IsLong(e.Name) {
		return &object.Obstacle{Path: path}
	}
	return fmt.Errorf("it holds %q", path)
}

// removeBucket removes the empty directories and then what was the bucket's
// elsewhere. That its own directory goes is what counts.
func (s *Store) removeBucket(name string, dirs []string) error {
	err := s.removeDirsOf(name, dirs)
	switch {
	case isTaken(err):
		return object.E("delete bucket", name, object.BucketNotEmpty, err)
	case err != nil:
		return err
	}
	s.snaps.ForgetAll()
	if err := s.syncRoot(); err != nil {
		s.buckets.remove(name)
		return unknown{err} // a crash may bring the bucket back: with all that it had
	}
	if err := s.dropBeside(name); err != nil {
		s.log.Warn("something of a deleted bucket is left until the next start", "bucket", name, "error", err)
	}
	return nil
}

// removeDirsOf removes the directories of a bucket, of which the first is its own. That is
// marked before; if it stays, the mark is taken back.
func (s *Store) removeDirsOf(name string, dirs []string) error {
	for _, path := range slices.Backward(dirs[1:]) {
		if err := s.removeDirOf(path); err != nil {
			return err
		}
	}
	err := s.markDeleted(name)
	if err == nil {
		err = s.removeBucketDir(name)
	}
	if err != nil && s.bucketThere(name) == nil {
		if undo := s.unmark(name); undo != nil {
			s.log.Warn("a bucket that was not deleted is marked as if it were, until the next start", "bucket", name, "error", undo)
		}
	}
	return err
}

// removeDirOf removes an empty directory in a bucket.
func (s *Store) removeDirOf(path string) error {
	dir, leaf, err := s.openParent(path)
	if err != nil {
		return nil //nolint:nilerror // somebody has removed it, or the bucket's own removal will fail
	}
	defer closeDir(dir)
	return rmdirOnce(dir, leaf)
}

// rmdirOnce removes an empty directory, that may be gone already: the answer to
// an earlier try can be lost, or somebody else be quicker.
func rmdirOnce(dir vfs.Dir, leaf string) error {
	err := dir.Rmdir(leaf)
	if err == nil {
		return nil
	}
	if _, gone := dir.Stat(leaf); isAbsent(gone) {
		return nil
	}
	return err
}

// dropOwn removes a file of ours, in a fleet by a rename that a fence can stop:
// one of the same name may be made under the next lease.
func (s *Store) dropOwn(dir vfs.Dir, name string) error {
	if !s.fleet {
		return removeFile(dir, name, nil)
	}
	took, err := s.take(dir, name, nil)
	switch {
	case errors.Is(err, errNoKey):
		return nil
	case err != nil:
		return err
	case took.temp != "":
		s.removeTemp(took.temp)
	}
	return nil
}
