package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// deletingMark is what DeleteBucket puts beside the record before it removes the directory.
const deletingMark = ".shoal.sys/buckets/" + bucket + "=deleting"

// furnish gives a bucket all that is kept beside its directory.
func furnish(t *testing.T, s object.Store) {
	t.Helper()
	edit(t, s, nil)
	createUpload(t, s, "up")
	must(t, s.UpdateBucket(t.Context(), bucket, func(b *object.Bucket) error {
		b.Tags, b.Documents = []object.Tag{{Key: "a", Value: "b"}}, map[string]string{"policy": "some"}
		return nil
	}))
}

// furniture is all that a bucket has.
func furniture(ctx context.Context, s object.Store) (map[string]string, error) {
	all, err := told(ctx, s)
	if err != nil {
		return nil, err
	}
	b, err := s.StatBucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	ups, err := s.ListUploads(ctx, object.UploadQuery{Bucket: bucket, Limit: 10})
	if err != nil {
		return nil, err
	}
	all["its settings"] = fmt.Sprint(b.Tags, b.Versioning, b.Documents)
	for _, up := range ups.Uploads {
		all["upload of "+up.Key] = up.ID
	}
	return all, nil
}

// besides returns what the tree keeps of a bucket, apart from its directory.
func besides(t *testing.T, root vfs.Dir, name string) (paths []string) {
	t.Helper()
	for _, dir := range []string{"buckets", "uploads", "versions"} {
		for _, path := range filesBelow(t, root, ".shoal.sys/"+dir, 0) {
			if strings.HasPrefix(filepath.Base(path), name) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// onTree is a tree on disk with a furnished bucket, and something in which a deletion that was cut off would be
// brought to an end: a gateway alone starts, or a gateway of a fleet goes on in another session, or sweeps the bucket.
type onTree struct {
	*testing.T
	dir, elsewhere string
	store          object.Store
	again          func()
}

// sweepers are the ways.
func sweepers() map[string]func(tree *onTree) {
	return map[string]func(tree *onTree){
		"a gateway alone starts": func(tree *onTree) {
			cfg := tree.config()
			open := func() *nasfs.Store {
				s, err := nasfs.Open(cfg)
				must(tree.T, err)
				tree.store = s
				return s
			}
			s := open()
			tree.again = func() {
				must(tree.T, s.Close())
				s = open()
			}
			tree.Cleanup(func() { must(tree.T, s.Close()) })
		},
		"a fleet goes on": func(tree *onTree) {
			w := newWorld(tree.T, 2, tree.config)
			tree.store = w.gateways[1]
			tree.again = func() {
				w.members[0].lose()
				w.members[0].begin()
				w.swept()
			}
		},
		"a fleet sweeps the bucket": func(tree *onTree) {
			w := newWorld(tree.T, 2, tree.config)
			w.swept()
			tree.store = w.gateways[1]
			tree.again = func() { must(tree.T, w.gateways[0].Sweep(tree.Context(), bucket)) }
		},
	}
}

func (tree *onTree) config() nasfs.Config {
	root, err := vfs.OpenRoot(tree.dir)
	must(tree.T, err)
	tree.Cleanup(func() { must(tree.T, root.Close()) })
	return config(tree.T, root)
}

func (tree *onTree) in(path string) string { return filepath.Join(tree.dir, path) }

func (tree *onTree) moveAway() { must(tree.T, os.Rename(tree.in(bucket), tree.elsewhere)) }

func (tree *onTree) moveBack() { must(tree.T, os.Rename(tree.elsewhere, tree.in(bucket))) }

func (tree *onTree) furniture() map[string]string {
	tree.Helper()
	all, err := furniture(tree.Context(), tree.store)
	must(tree.T, err)
	return all
}

func (tree *onTree) isMarked() bool {
	_, err := os.Stat(tree.in(deletingMark))
	return err == nil
}

// onTrees runs a test with each way to sweep.
func onTrees(t *testing.T, test func(tree *onTree)) {
	t.Parallel()
	for name, sweeper := range sweepers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := &onTree{T: t, dir: t.TempDir(), elsewhere: filepath.Join(t.TempDir(), "moved")}
			sweeper(tree)
			test(tree)
		})
	}
}

// TestABucketThatIsAwayForAWhileKeepsWhatItHas: as when it is moved to another disk, and back.
func TestABucketThatIsAwayForAWhileKeepsWhatItHas(t *testing.T) {
	onTrees(t, func(tree *onTree) {
		furnish(tree.T, tree.store)
		before := tree.furniture()
		for _, linked := range []bool{false, true} {
			tree.moveAway()
			if linked {
				must(tree.T, os.Symlink(tree.elsewhere, tree.in(bucket)))
			}
			tree.again()
			if linked {
				must(tree.T, os.Remove(tree.in(bucket)))
			}
			tree.moveBack()
			if after := tree.furniture(); !maps.Equal(before, after) {
				tree.Errorf("with a link %v:\nbefore %v\nafter  %v", linked, before, after)
			}
		}
	})
}

// TestADeletionThatCameToNothingEndsWhereTheBucketIsThere: that was cut off before the directory went. When the bucket
// is away later, it was not deleted.
func TestADeletionThatCameToNothingEndsWhereTheBucketIsThere(t *testing.T) {
	onTrees(t, func(tree *onTree) {
		must(tree.T, tree.store.CreateBucket(tree.Context(), object.Bucket{Name: bucket, Region: "r"}))
		createUpload(tree.T, tree.store, "up")
		before := tree.furniture()
		must(tree.T, os.WriteFile(tree.in(deletingMark), nil, 0o600))
		tree.again()
		if tree.isMarked() {
			tree.Error("it is marked still")
		}
		tree.moveAway()
		tree.again()
		tree.moveBack()
		if after := tree.furniture(); !maps.Equal(before, after) {
			tree.Errorf("before %v\nafter  %v", before, after)
		}
	})
}

// TestVersionsAreNotRemovedByADeletionThatCameToNothing: they came after it, and the bucket was moved away before
// anybody looked.
func TestVersionsAreNotRemovedByADeletionThatCameToNothing(t *testing.T) {
	onTrees(t, func(tree *onTree) {
		furnish(tree.T, tree.store)
		before := tree.furniture()
		must(tree.T, os.WriteFile(tree.in(deletingMark), nil, 0o600))
		tree.moveAway()
		tree.again()
		if tree.isMarked() {
			tree.Error("it is marked still")
		}
		tree.moveBack()
		if after := tree.furniture(); !maps.Equal(before, after) {
			tree.Errorf("before %v\nafter  %v", before, after)
		}
	})
}

// TestABucketIsNotMadeWhileOneWithVersioningIsAway: what it would make way for may be locked.
func TestABucketIsNotMadeWhileOneWithVersioningIsAway(t *testing.T) {
	onTrees(t, func(tree *onTree) {
		ctx, made := tree.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned, Documents: map[string]string{"object-lock": "on"}}
		must(tree.T, tree.store.CreateBucket(ctx, made))
		refused := func(path string) {
			tree.Helper()
			before := tree.furniture()
			tree.moveAway()
			tree.again()
			err := tree.store.CreateBucket(ctx, object.Bucket{Name: bucket})
			is(tree.T, "a bucket of the name is made", err, object.BucketExists)
			if o, ok := errors.AsType[*object.Obstacle](err); !ok || o.Path != path {
				tree.Errorf("in the way is %+v, want %s", o, path)
			}
			is(tree.T, "one that is away is deleted", tree.store.DeleteBucket(ctx, bucket), object.NoSuchBucket)
			tree.moveBack()
			if after := tree.furniture(); !maps.Equal(before, after) {
				tree.Errorf("before %v\nafter  %v", before, after)
			}
		}
		refused(".shoal.sys/buckets/" + bucket)
		for _, text := range []string{"1", "2"} {
			must(tree.T, putIn(ctx, tree.store, "k", text, nil))
		}
		refused(".shoal.sys/buckets/" + bucket)
		must(tree.T, os.Remove(tree.in(".shoal.sys/buckets/"+bucket))) // as before there were marks
		tree.again()
		tree.moveAway()
		err := tree.store.CreateBucket(ctx, object.Bucket{Name: bucket})
		if o, ok := errors.AsType[*object.Obstacle](err); !ok || o.Path != ".shoal.sys/versions/"+bucket {
			tree.Errorf("in the way is %+v, %v", o, err)
		}
	})
}

// TestWhatIsLeftOfABucketThatWasRemovedOnTheShareDoesNotComeBackWithANewOne: unless there is versioning, CreateBucket
// makes a fresh bucket; and a directory that is made on the share brings back one that there was, to be deleted.
func TestWhatIsLeftOfABucketThatWasRemovedOnTheShareDoesNotComeBackWithANewOne(t *testing.T) {
	onTrees(t, func(tree *onTree) {
		ctx, fresh := tree.Context(), object.Bucket{Name: bucket, Region: "r"}
		must(tree.T, tree.store.CreateBucket(ctx, fresh))
		want := tree.furniture()
		must(tree.T, tree.store.UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Documents = map[string]string{"policy": "old"}; return nil }))
		createUpload(tree.T, tree.store, "up")
		must(tree.T, os.Remove(tree.in(bucket)))
		tree.again()
		must(tree.T, tree.store.CreateBucket(ctx, fresh))
		if after := tree.furniture(); !maps.Equal(want, after) {
			tree.Errorf("want %v\nhas  %v", want, after)
		}
		furnish(tree.T, tree.store)
		must(tree.T, os.RemoveAll(tree.in(bucket)))
		tree.again()
		must(tree.T, os.Mkdir(tree.in(bucket), 0o755))
		is(tree.T, "with versions", tree.store.DeleteBucket(ctx, bucket), object.BucketNotEmpty)
		page, err := tree.store.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 100})
		must(tree.T, err)
		for _, v := range page.Versions {
			must(tree.T, drop(ctx, tree.store, named(v.Key, v.Version), nil))
		}
		must(tree.T, tree.store.DeleteBucket(ctx, bucket))
		root, err := vfs.OpenRoot(tree.dir)
		must(tree.T, err)
		defer func() { must(tree.T, root.Close()) }()
		if left := besides(tree.T, root, bucket); len(left) > 0 {
			tree.Errorf("left: %q", left)
		}
	})
}

// TestADeletionOfABucketThatACrashCutsOffHasHappenedOrNot cuts the power before each call of DeleteBucket, and after its
// answer: the bucket is there with all that it has, also when it is moved away for a while, or nothing is left of it.
func TestADeletionOfABucketThatACrashCutsOffHasHappenedOrNot(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(seed(t), 0))
	for n := 0; ; n++ {
		for _, arbitrary := range []*rand.Rand{nil, rng} {
			memory := vfs.NewMemory()
			fault := vfs.NewFault(memory.Root())
			cfg := config(t, fault.Root())
			cfg.Logger = slog.New(slog.DiscardHandler) // a dying process complains much
			s, err := nasfs.Open(cfg)
			must(t, err)
			must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned, Region: "r"}))
			createUpload(t, s, "up")
			before, err := furniture(t.Context(), s)
			must(t, err)
			nasfs.Quiesce(s)
			left, last := n, vfs.OpCall{}
			fault.Inject(func(c vfs.OpCall) error {
				if left--; left == -1 {
					last = c
				}
				if left < 0 {
					return &injected{syscall.EIO}
				}
				return nil
			})
			deleted := s.DeleteBucket(t.Context(), bucket)
			fault.Inject(func(vfs.OpCall) error { return &injected{syscall.EIO} })
			_ = s.Close() // of a dead process
			memory.Crash(arbitrary)
			what := fmt.Sprintf("crash (arbitrary: %v) before call %d, %v %q, answered %v", arbitrary != nil, n, last.Op, last.Path, deleted)
			afterDeletion(t, memory, before, deleted == nil, what)
			if left >= 0 && arbitrary != nil {
				return
			}
		}
	}
}

// afterDeletion looks at what is left of a deletion.
func afterDeletion(t *testing.T, memory *vfs.Memory, before map[string]string, deleted bool, what string) {
	t.Helper()
	root := memory.Root()
	for _, step := range []func(){
		func() {},
		func() { must(t, root.Rename(bucket, root, "Away")) },
		func() { must(t, root.Rename("Away", root, bucket)) },
	} {
		step()
		s := open2(t, memory)
		nasfs.Quiesce(s)
		_, gone := root.Stat(bucket)
		_, away := root.Stat("Away")
		switch left := besides(t, root, bucket); {
		case gone == nil && deleted:
			t.Errorf("%s: it is there", what)
		case gone == nil:
			if seen, err := furniture(t.Context(), s); err != nil || !maps.Equal(seen, before) {
				t.Errorf("%s: it was %v, and is %v, %v", what, before, seen, err)
			}
			for _, path := range left {
				if path == deletingMark {
					t.Errorf("%s: it is marked still", what)
				}
			}
		case away != nil:
			if len(left) > 0 {
				t.Errorf("%s: it is gone, but for %q", what, left)
			}
			must(t, s.Close())
			return
		}
		must(t, s.Close())
	}
}

// TestADeletionOfABucketThatIsFencedHasHappenedOrNot fences a gateway before each rename or link of DeleteBucket. What
// others put into the bucket since is there when it comes back, however late they sweep.
func TestADeletionOfABucketThatIsFencedHasHappenedOrNot(t *testing.T) {
	t.Parallel()
	for n, reached := 1, true; reached; n++ {
		m := vfs.NewMemory()
		w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
		w.swept()
		other, root := w.gateways[1], m.Root()
		must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned, Region: "r"}))
		stop, tell := w.fenceBefore(n)
		deleted := w.gateways[0].DeleteBucket(t.Context(), bucket)
		reached = stop()
		tell()
		if _, err := root.Stat(bucket); err == nil {
			if deleted == nil {
				t.Errorf("fenced before rename %d: it is there", n)
			}
			for _, text := range []string{"1", "2"} {
				must(t, putIn(t.Context(), other, "k", text, nil))
			}
			before, err := furniture(t.Context(), other)
			must(t, err)
			must(t, root.Rename(bucket, root, "Away"))
			must(t, other.Sweep(t.Context(), bucket))
			must(t, root.Rename("Away", root, bucket))
			if after, err := furniture(t.Context(), other); err != nil || !maps.Equal(before, after) {
				t.Errorf("fenced before rename %d: before %v\nafter  %v, %v", n, before, after, err)
			}
			continue
		}
		must(t, other.Sweep(t.Context(), bucket))
		if left := besides(t, root, bucket); len(left) > 0 {
			t.Errorf("fenced before rename %d, answered %v: %q is left", n, deleted, left)
		}
	}
}

// TestABucketThatIsNotDeletedIsNotMarked: somebody puts a file there at the last moment.
func TestABucketThatIsNotDeletedIsNotMarked(t *testing.T) {
	t.Parallel()
	for name, fleet := range map[string]bool{"alone": false, "a fleet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := vfs.NewMemory()
			var s object.Store
			var fault *vfs.Fault
			if fleet {
				w := newWorld(t, 1, func() nasfs.Config { return config(t, m.Root()) })
				w.swept()
				s, fault = w.gateways[0], w.faults[0]
			} else {
				fault = vfs.NewFault(m.Root())
				s = open(t, config(t, fault.Root()))
			}
			must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
			marked := false
			fault.Inject(func(c vfs.OpCall) error {
				if c.Path != bucket || c.Op != vfs.OpRmdir && c.Op != vfs.OpRename || marked {
					return nil
				}
				_, err := m.Root().Stat(deletingMark)
				marked = err == nil
				dir, err := m.Root().OpenDir(bucket)
				must(t, err)
				f, err := dir.Create("file", 0o600)
				must(t, err)
				must(t, errors.Join(f.Close(), dir.Close()))
				return nil
			})
			is(t, "with a file", s.DeleteBucket(t.Context(), bucket), object.BucketNotEmpty)
			if !marked {
				t.Error("it was not marked when its directory was to go")
			}
			if left := besides(t, m.Root(), bucket+"="); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// TestABucketIsDeletedOnAFullFileSystem: there is no room for a mark, and deleting makes room.
func TestABucketIsDeletedOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	m := vfs.NewMemory()
	fault := vfs.NewFault(m.Root())
	s := open(t, config(t, fault.Root()))
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	fill(fault, syscall.ENOSPC)
	must(t, s.DeleteBucket(t.Context(), bucket))
	if left := besides(t, m.Root(), bucket); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
