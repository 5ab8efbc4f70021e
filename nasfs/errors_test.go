package nasfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// stagedScene opens a Store with the scene of the fault tests.
func stagedScene(t *testing.T, metadata nasfs.MetadataMode) (*vfs.Memory, *vfs.Fault, *scene) {
	t.Helper()
	memory := vfs.NewMemory()
	fault := vfs.NewFault(memory.Root())
	cfg := config(t, fault.Root())
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = metadata, 1<<40, 1<<41
	sc, err := setUp(t.Context(), open(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	nasfs.Quiesce(sc.Store)
	return memory, fault, sc
}

// failing makes every call of an operation on what is no clean-up fail.
func failing(fault *vfs.Fault, op vfs.Op, errno syscall.Errno) (remove func()) {
	return fault.Inject(func(c vfs.OpCall) error {
		if c.Op == op {
			return &injected{errno}
		}
		return nil
	})
}

// TestErrorsOfTheFileSystemHaveTheirKind makes each step of a PUT into new
// directories fail in each way that file systems have.
func TestErrorsOfTheFileSystemHaveTheirKind(t *testing.T) {
	t.Parallel()
	kinds := map[syscall.Errno]object.Kind{
		syscall.ENOSPC: object.Full, syscall.EDQUOT: object.Full, syscall.EIO: object.Internal, syscall.EROFS: object.ReadOnly,
		syscall.ESTALE: object.Unavailable, syscall.EACCES: object.AccessDenied, syscall.ETIMEDOUT: object.Unavailable, syscall.EMFILE: object.Unavailable,
	}
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpClose, vfs.OpSetxattr, vfs.OpMkdir, vfs.OpRename} {
		for errno, kind := range kinds {
			t.Run(op.String()+" "+errno.Error(), func(t *testing.T) {
				memory, fault, sc := stagedScene(t, nasfs.Xattr)
				before := mustDump(t, sc.Store)
				if op == vfs.OpSetxattr && kind == object.Full {
					return // that the attribute is full has a cure, a sidecar
				}
				remove := failing(fault, op, errno)
				err := sc.put(t.Context(), "x/y/z", "new", nil)
				remove()
				if object.KindOf(err) != kind || err == nil {
					t.Errorf("got %v, want %v", err, kind)
				}
				nasfs.Quiesce(sc.Store)
				if seen := mustDump(t, sc.Store); !maps.Equal(seen, before) {
					t.Error(difference(seen, before, before))
				}
				noLeftovers(t, memory.Root(), "put")
			})
		}
	}
}

// TestDeletesWorkOnAFullFileSystem: that is how room is made.
func TestDeletesWorkOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		_, fault, sc := stagedScene(t, metadata)
		for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpMkdir, vfs.OpLink, vfs.OpRename} {
			failing(fault, op, syscall.ENOSPC)
		}
		for _, key := range []string{"file", "dir/one", "deep/er/one", "both", "both/below"} {
			if _, err := sc.Delete(t.Context(), ref(key), nil); err != nil {
				t.Errorf("delete %s: %v", key, err)
			}
		}
		if page, err := sc.List(t.Context(), object.Query{Bucket: bucket, Limit: 10}); err != nil || len(page.Objects) > 0 {
			t.Errorf("left %+v, %v", page, err)
		}
		if err := sc.put(t.Context(), "new", "new", nil); !errors.Is(err, object.Full) {
			t.Errorf("put: %v", err)
		}
	}
}

// TestAFileSystemThatTakesNothingMoreIsHealthyAsLongAsItCanBeRead: what is wrong with it is told to
// those who write, and whoever only reads is served.
func TestAFileSystemThatTakesNothingMoreIsHealthyAsLongAsItCanBeRead(t *testing.T) {
	for errno, healthy := range map[syscall.Errno]bool{syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EROFS: true, syscall.EIO: false} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault := vfs.NewFault(vfs.NewMemory().Root())
				cfg := config(t, fault.Root())
				sc, err := setUp(t.Context(), open(t, cfg))
				must(t, err)
				for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpMkdir, vfs.OpLink, vfs.OpRename, vfs.OpSetxattr} {
					failing(fault, op, errno)
				}
				for begun := time.Now(); time.Since(begun) < 2*cfg.ProbeTimeout; time.Sleep(cfg.ProbeInterval) {
					if err := sc.put(t.Context(), "new", "new", nil); err == nil {
						t.Error("a write was acknowledged")
					}
				}
				if err := sc.Healthy(); (err == nil) != healthy {
					t.Errorf("healthy: %v, and that should be %v", err, healthy)
				}
				if got, err := content(t.Context(), sc.Store, ref("file")); err != nil || got != "old file" {
					t.Errorf("read %q, %v", got, err)
				}
			})
		})
	}
}

// TestALargePutThatFailsAtAnyWriteIsToldAndTakenBack writes past the page cache.
func TestALargePutThatFailsAtAnyWriteIsToldAndTakenBack(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("content ", 9<<17)
	for n, reached := 0, true; reached; n++ {
		memory, fault, sc := stagedScene(t, nasfs.Xattr)
		before := mustDump(t, sc.Store)
		made := 0
		remove := fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpWrite {
				if made++; made == n+1 {
					return &injected{syscall.ENOSPC}
				}
			}
			return nil
		})
		err := sc.put(t.Context(), "file", content, nil)
		remove()
		if reached = made > n; !reached {
			must(t, err)
			break
		}
		is(t, fmt.Sprintf("put with write %d failing", n), err, object.Full)
		nasfs.Quiesce(sc.Store)
		if seen := mustDump(t, sc.Store); !maps.Equal(seen, before) {
			t.Error(difference(seen, before, before))
		}
		noLeftovers(t, memory.Root(), "put")
	}
}

// TestADownloadThatFailsAtAnyCallIsCut, whatever has come of it until then being right.
func TestADownloadThatFailsAtAnyCallIsCut(t *testing.T) {
	t.Parallel()
	_, fault, sc := stagedScene(t, nasfs.Xattr)
	content := strings.Repeat("content ", 3<<16)
	must(t, sc.put(t.Context(), "file", content, nil))
	for name, read := range map[string]func(w io.Writer, r io.Reader) error{
		"read": func(w io.Writer, r io.Reader) error {
			_, err := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
			return err
		},
		"sent": func(w io.Writer, r io.Reader) error {
			_, err := r.(io.WriterTo).WriteTo(w)
			return err
		},
	} {
		for n, reached := 0, true; reached; n++ {
			h, err := sc.Open(t.Context(), ref("file"))
			must(t, err)
			made := 0
			remove := fault.Inject(func(c vfs.OpCall) error {
				if c.Op == vfs.OpRead || c.Op == vfs.OpSend || c.Op == vfs.OpStat {
					if made++; made == n+1 {
						return &injected{syscall.EIO}
					}
				}
				return nil
			})
			var got bytes.Buffer
			err = read(&got, h.Range(0, h.Info().Size))
			remove()
			must(t, h.Close())
			reached = made > n
			if whole := got.String() == content; (err == nil) == reached || whole == reached || !strings.HasPrefix(content, got.String()) {
				t.Errorf("%s, call %d failed: %v; %d of %d bytes came, %v", name, n, reached, got.Len(), len(content), err)
			}
		}
	}
}

// TestADirectoryThatCouldNotBeMadeOnceCostsNothingLater: whoever comes next makes it durable, and the others find it so.
func TestADirectoryThatCouldNotBeMadeOnceCostsNothingLater(t *testing.T) {
	t.Parallel()
	put := func(ctx context.Context, sc *scene) error { return sc.put(ctx, "d/k", "x", nil) }
	for name, c := range map[string]struct {
		op    vfs.Op
		errno syscall.Errno
		path  string
		do    func(context.Context, *scene) error
	}{
		"of a bucket, not durable": {vfs.OpSyncDir, syscall.EIO, bucket, put},
		"of a bucket, not made":    {vfs.OpMkdir, syscall.ENOSPC, bucket + "/d", put},
		"of uploads, not durable":  {vfs.OpSyncDir, syscall.EIO, ".shoal.sys/uploads", operations()["create upload"]},
		"of uploads, not made":     {vfs.OpMkdir, syscall.ENOSPC, ".shoal.sys/uploads/" + bucket, operations()["create upload"]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault := vfs.NewFault(vfs.NewMemory().Root())
			sc := &scene{Store: open(t, config(t, fault.Root()))}
			must(t, sc.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
			var failed atomic.Int32
			remove := fault.Inject(func(call vfs.OpCall) error {
				if call.Op == c.op && call.Path == c.path {
					failed.Add(1)
					return c.errno
				}
				return nil
			})
			if err := c.do(t.Context(), sc); err == nil || failed.Load() == 0 {
				t.Errorf("it ended with %v, after %d failures", err, failed.Load())
			}
			remove()
			if n := nasfs.FreshDirs(sc.Store); n > 0 && c.op == vfs.OpMkdir {
				t.Errorf("%d directories are remembered that are not there", n)
			}
			must(t, c.do(t.Context(), sc))
			if n := nasfs.FreshDirs(sc.Store); n > 0 {
				t.Errorf("%d directories are made durable each time", n)
			}
		})
	}
}

// TestWhoPutsIntoADirectoryThatIsBeingMadeMakesItDurable, since its maker may not come to that.
func TestWhoPutsIntoADirectoryThatIsBeingMadeMakesItDurable(t *testing.T) {
	t.Parallel()
	fault := vfs.NewFault(osRoot(t))
	sc := &scene{Store: open(t, config(t, fault.Root()))}
	must(t, sc.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	var synced atomic.Int32 // calls
	hang := fault.Hang(func(c vfs.OpCall) bool {
		return c.Op == vfs.OpSyncDir && c.Path == bucket && synced.Add(1) == 1
	})
	made := make(chan error)
	go func() { made <- sc.put(t.Context(), "d/k", "x", nil) }()
	<-hang.Reached()
	must(t, sc.put(t.Context(), "d/other", "x", nil))
	if synced.Load() == 1 {
		t.Error("what was put is in a directory that is not durable")
	}
	hang.Release()
	must(t, <-made)
	if n := nasfs.FreshDirs(sc.Store); n > 0 {
		t.Errorf("%d directories are made durable each time", n)
	}
}

// TestATreeOpensThoughTheKeyOfAnUploadCannotBeLookedAt, and the upload goes on, beside one that became an object.
func TestATreeOpensThoughTheKeyOfAnUploadCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	for _, where := range []string{bucket, bucket + "/mnt/up"} {
		for _, cause := range []error{syscall.EXDEV, syscall.ENAMETOOLONG, syscall.EIO} {
			t.Run(where+", "+cause.Error(), func(t *testing.T) {
				t.Parallel()
				fault := vfs.NewFault(vfs.NewMemory().Root())
				s, err := nasfs.Open(config(t, fault.Root()))
				must(t, err)
				must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
				up := createUpload(t, s, "mnt/up")
				must(t, s.Close())
				fault.Inject(func(c vfs.OpCall) error {
					if c.Op != vfs.OpClose && c.Op != vfs.OpCloseDir && strings.HasPrefix(c.Path, where) {
						return cause
					}
					return nil
				})
				_, err = open(t, config(t, fault.Root())).StatUpload(t.Context(), up.UploadRef)
				must(t, err)
			})
		}
	}
}

// TestASweepGoesOnThoughTheKeyOfAnUploadCannotBeLookedAt, to what never became an upload.
func TestASweepGoesOnThoughTheKeyOfAnUploadCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	w := threeOn(t, "memory")
	w.swept()
	kept := createUpload(t, w.gateways[0], "mnt/up")
	uploads := ".shoal.sys/uploads/" + bucket
	must(t, w.faults[0].Root().Mkdir(uploads+"/zzz", 0o700))
	defer w.faults[1].Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpOpen && strings.HasPrefix(c.Path, bucket+"/mnt") {
			return syscall.EXDEV
		}
		return nil
	})()
	must(t, w.gateways[1].Sweep(t.Context(), bucket))
	if left := filesBelow(t, w.faults[0].Root(), uploads, 0); len(left) != 1 || left[0] != uploads+"/"+kept.ID {
		t.Errorf("there is %q", left)
	}
}

// TestStaleHandlesAreTriedAgain makes each call of each operation meet, once, a
// handle that the server does not know any more.
func TestStaleHandlesAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for name, op := range operations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, after, calls := outcomes(t, nasfs.Xattr, op)
			for n := range cases(calls, s) {
				_, fault, sc := stagedScene(t, nasfs.Xattr)
				left := n
				var failed vfs.OpCall
				remove := fault.Inject(func(c vfs.OpCall) error {
					if left--; left == -1 && stales(c) {
						failed = c
						return &injected{syscall.ESTALE}
					}
					return nil
				})
				err := op(t.Context(), sc)
				remove()
				what := fmt.Sprintf("call %d", n)
				if err != nil {
					t.Errorf("%s, %v %q: %v", what, failed.Op, failed.Path, err)
				} else if seen := mustDump(t, sc.Store); !maps.Equal(seen, after) {
					t.Errorf("%s, %v %q: %s", what, failed.Op, failed.Path, difference(seen, after, after))
				}
			}
		})
	}
}

// TestStaleHandlesAreTriedAgainInAFleet is that for a gateway of several.
func TestStaleHandlesAreTriedAgainInAFleet(t *testing.T) {
	t.Parallel()
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := threeOn(t, "memory")
			must(t, change(t.Context(), setStage(t, w)))
			after := everything(t, w.gateways[1])
			for n, made := 1, 1; made >= n; n++ {
				w := threeOn(t, "memory")
				s := setStage(t, w)
				w.swept() // or a sweep meets it
				var failed vfs.OpCall
				made = 0
				remove := w.faults[0].Inject(func(c vfs.OpCall) error {
					if !stales(c) {
						return nil
					}
					if made++; made == n {
						failed = c
						return &injected{syscall.ESTALE}
					}
					return nil
				})
				err := change(t.Context(), s)
				remove()
				if err != nil {
					t.Errorf("call %d, %v %q: %v", n, failed.Op, failed.Path, err)
				} else if seen := everything(t, w.gateways[1]); !maps.Equal(seen, after) {
					t.Errorf("call %d, %v %q: %s", n, failed.Op, failed.Path, difference(seen, after, after))
				}
			}
		})
	}
}

// TestADeletionIsDoneThoughAnotherGatewayRemovesItsDirectory before it is durable: a server
// of NFS knows the handle no more.
func TestADeletionIsDoneThoughAnotherGatewayRemovesItsDirectory(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"where the object was": "p/a", "above what was pruned": "p/q/a"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := threeOn(t, "memory")
			must(t, putIn(t.Context(), w.gateways[0], key, "text", nil))
			must(t, putIn(t.Context(), w.gateways[1], "p/b", "text", nil))
			var once sync.Once
			remove := w.faults[0].Inject(func(c vfs.OpCall) (err error) {
				if c.Op == vfs.OpSyncDir && c.Path == bucket+"/p" {
					once.Do(func() {
						must(t, drop(t.Context(), w.gateways[1], ref("p/b"), nil))
						err = &injected{syscall.ESTALE}
					})
				}
				return err
			})
			must(t, drop(t.Context(), w.gateways[0], ref(key), nil))
			remove()
			if left, err := keys(t.Context(), w.gateways[2], object.Query{}); err != nil || len(left) > 0 {
				t.Errorf("left are %q, %v", left, err)
			}
		})
	}
}

// stales reports whether a call is one that may be tried again: it looks up a
// name below the bucket.
func stales(c vfs.OpCall) bool {
	below := len(c.Path) >= len(bucket) && c.Path[:len(bucket)] == bucket
	switch c.Op {
	case vfs.OpOpen, vfs.OpOpenDir, vfs.OpStat, vfs.OpGetxattr, vfs.OpReadDir:
		return below
	}
	return false
}

// TestACancelledRequestChangesNothing ends the context of each operation before
// it begins.
func TestACancelledRequestChangesNothing(t *testing.T) {
	t.Parallel()
	for name, op := range operations() {
		memory, _, sc := stagedScene(t, nasfs.Sidecar)
		before := mustDump(t, sc.Store)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := op(ctx, sc); object.KindOf(err) != object.Unavailable || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		nasfs.Quiesce(sc.Store)
		if seen := mustDump(t, sc.Store); !maps.Equal(seen, before) {
			t.Errorf("%s: %s", name, difference(seen, before, before))
		}
		noLeftovers(t, memory.Root(), name)
	}
}
