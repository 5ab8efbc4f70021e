package nasfs_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// coarse is a file system whose clock goes by hours, on a disk or behind a server.
type coarse struct {
	vfs.Dir
	remote bool
}

type coarseFile struct{ vfs.File }

func hours(st vfs.Stat, err error) (vfs.Stat, error) {
	st.Mtime = st.Mtime.Truncate(time.Hour)
	return st, err
}

func (c coarse) of(d vfs.Dir, err error) (vfs.Dir, error) {
	if err != nil {
		return nil, err
	}
	return coarse{d, c.remote}, nil
}

func coarseOf(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return coarseFile{f}, nil
}

func (c coarse) Usage() (vfs.Usage, error) {
	u, err := c.Dir.Usage()
	u.LocalDisk = u.LocalDisk && !c.remote
	return u, err
}

func (c coarse) OpenDir(path string) (vfs.Dir, error) { return c.of(c.Dir.OpenDir(path)) }
func (c coarse) Open(path string) (vfs.File, error)   { return coarseOf(c.Dir.Open(path)) }
func (c coarse) Stat(path string) (vfs.Stat, error)   { return hours(c.Dir.Stat(path)) }
func (f coarseFile) Stat() (vfs.Stat, error)          { return hours(f.File.Stat()) }

func (c coarse) Create(name string, perm fs.FileMode) (vfs.File, error) {
	return coarseOf(c.Dir.Create(name, perm))
}

func (c coarse) Rename(from string, to vfs.Dir, name string) error {
	return c.Dir.Rename(from, to.(coarse).Dir, name)
}

func (c coarse) Link(from string, to vfs.Dir, name string) error {
	return c.Dir.Link(from, to.(coarse).Dir, name)
}

func (f coarseFile) CopyFrom(from vfs.File, offset, n int64) (int64, error) {
	return f.File.CopyFrom(from.(coarseFile).File, offset, n)
}

// TestWhatIsKeptOfAReplacedFileIsNotThatOfTheNextOne: a file system gives an inode that is free to the next file, which
// has the stamp of the one before if the clock has not gone on. Of those for tests ext4 does; where inodes do not come
// again, as on tmpfs, this shows nothing.
func TestWhatIsKeptOfAReplacedFileIsNotThatOfTheNextOne(t *testing.T) {
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote=%v", remote), func(t *testing.T) {
			fault := vfs.NewFault(coarse{osRoot(t), remote})
			cfg := config(t, fault.Root())
			cfg.Metadata = nasfs.Sidecar
			s, err := nasfs.Open(cfg)
			must(t, err)
			defer func() { must(t, s.Close()) }()
			must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
			put := func(key, content string) object.Info {
				info, err := s.Put(t.Context(), ref(key), object.PutInput{Body: body(content), Meta: object.Meta{User: map[string]string{"is": content}}})
				must(t, err)
				return info
			}
			for i := range 20 {
				put(fmt.Sprint("other", i), "aaa")
			}
			put("replaced", "aaa")
			for i := range 20 { // so that inodes beside it are free, too
				must(t, drop(t.Context(), s, ref(fmt.Sprint("other", i)), nil))
			}
			hang := fault.Hang(func(c vfs.OpCall) bool {
				return c.Op == vfs.OpRemove && strings.HasPrefix(c.Path, ".shoal.sys/meta/")
			})
			done := make(chan struct{})
			go func() {
				defer close(done)
				put("replaced", "bbb")
			}()
			<-hang.Reached()
			made := make(map[string]object.Info)
			for i := range 100 {
				key := fmt.Sprint("next", i)
				made[key] = put(key, fmt.Sprintf("%3d", i))
			}
			hang.Release()
			<-done
			for key, want := range made {
				if got, err := s.Stat(t.Context(), ref(key)); err != nil || got.ETag != want.ETag || got.Meta.User["is"] != want.Meta.User["is"] {
					t.Errorf("%s: %+v, %v", key, got, err)
				}
			}
		})
	}
}
