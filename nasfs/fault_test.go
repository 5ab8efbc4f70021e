package nasfs_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

const (
	bucket      = "bucket-one"
	emptyBucket = "empty"
)

func ref(key string) object.Ref { return object.Ref{Bucket: bucket, Key: key} }

func body(content string) object.Body { return objecttest.NewBody([]byte(content), object.CRC32) }

// smallBuffers is a body that passes through small buffers.
type smallBuffers struct{ object.Body }

func (smallBuffers) Size() int64 { return 1 }

// scene is a Store with something in it for operations to work on.
type scene struct {
	*nasfs.Store
	up   object.Upload
	part object.Part
}

func (sc *scene) put(ctx context.Context, key, content string, check object.Check) error {
	meta := object.Meta{ContentType: "text/plain", User: map[string]string{"of": content[:min(len(content), 16)]}}
	_, err := sc.Put(ctx, ref(key), object.PutInput{Body: body(content), Meta: meta, Check: check})
	return err
}

// setUp makes the scene.
func setUp(ctx context.Context, s *nasfs.Store) (*scene, error) {
	sc := &scene{Store: s}
	for _, name := range []string{bucket, emptyBucket} {
		if err := s.CreateBucket(ctx, object.Bucket{Name: name, Tags: []object.Tag{{Key: "of", Value: name}}}); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"file", "dir/one", "deep/er/one", "both", "both/below"} {
		if err := sc.put(ctx, key, "old "+key, nil); err != nil {
			return nil, err
		}
	}
	var err error
	if sc.up, err = s.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("up")}, Algorithm: object.CRC32}); err != nil {
		return nil, err
	}
	sc.part, err = s.PutPart(ctx, sc.up.UploadRef, 1, body("part"))
	return sc, err
}

// operations are what the faults are injected into.
func operations() map[string]func(ctx context.Context, sc *scene) error {
	return map[string]func(ctx context.Context, sc *scene) error{
		"put":                    func(ctx context.Context, sc *scene) error { return sc.put(ctx, "new", "new", nil) },
		"put in new directories": func(ctx context.Context, sc *scene) error { return sc.put(ctx, "x/y/z", "new", nil) },
		"put over":               func(ctx context.Context, sc *scene) error { return sc.put(ctx, "file", "new", nil) },
		"put large": func(ctx context.Context, sc *scene) error {
			// Of as many buffers as a body of 2 MiB, since the declared size chooses theirs.
			_, err := sc.Put(ctx, ref("file"), object.PutInput{Body: smallBuffers{body(string(make([]byte, 40<<10)))}})
			return err
		},
		"put with large metadata": func(ctx context.Context, sc *scene) error {
			meta := object.Meta{User: map[string]string{"large": string(make([]byte, 3000))}}
			_, err := sc.Put(ctx, ref("file"), object.PutInput{Body: body("new"), Meta: meta})
			return err
		},
		"put if there is none": func(ctx context.Context, sc *scene) error {
			return sc.put(ctx, "new/x", "new", object.IfNoneMatch("*"))
		},
		"put if it is the current": func(ctx context.Context, sc *scene) error {
			return sc.put(ctx, "file", "new", object.IfMatch("*", object.NoSuchKey))
		},
		"put below a file":      func(ctx context.Context, sc *scene) error { return sc.put(ctx, "file/below", "new", nil) },
		"put over a directory":  func(ctx context.Context, sc *scene) error { return sc.put(ctx, "dir", "new", nil) },
		"put over an alias":     func(ctx context.Context, sc *scene) error { return sc.put(ctx, "both", "new", nil) },
		"delete":                func(ctx context.Context, sc *scene) error { return drop(ctx, sc, ref("file"), nil) },
		"delete the last below": func(ctx context.Context, sc *scene) error { return drop(ctx, sc, ref("deep/er/one"), nil) },
		"delete an alias": func(ctx context.Context, sc *scene) error {
			return drop(ctx, sc, ref("both"), object.IfMatch("*", object.NoSuchKey))
		},
		"copy": func(ctx context.Context, sc *scene) error {
			_, err := sc.Copy(ctx, ref("file"), ref("dir/copy"), object.CopyInput{})
			return err
		},
		"rename": func(ctx context.Context, sc *scene) error {
			return sc.Rename(ctx, ref("file"), ref("dir/one"), object.CopyInput{})
		},
		"rename below self": func(ctx context.Context, sc *scene) error {
			return sc.Rename(ctx, ref("file"), ref("file/x"), object.CopyInput{})
		},
		"update": func(ctx context.Context, sc *scene) error {
			_, err := sc.Update(ctx, ref("file"), func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "a", Value: "b"}}; return nil })
			return err
		},
		"create upload": func(ctx context.Context, sc *scene) error {
			_, err := sc.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("other")}, Algorithm: object.CRC32})
			return err
		},
		"create the first upload of a bucket": func(ctx context.Context, sc *scene) error {
			ref := object.UploadRef{Ref: object.Ref{Bucket: emptyBucket, Key: "k"}}
			_, err := sc.CreateUpload(ctx, object.Upload{UploadRef: ref, Algorithm: object.CRC32})
			return err
		},
		"delete bucket": func(ctx context.Context, sc *scene) error { return sc.DeleteBucket(ctx, emptyBucket) },
		"put part": func(ctx context.Context, sc *scene) error {
			_, err := sc.PutPart(ctx, sc.up.UploadRef, 2, body("two"))
			return err
		},
		"replace part": func(ctx context.Context, sc *scene) error {
			_, err := sc.PutPart(ctx, sc.up.UploadRef, 1, body("one"))
			return err
		},
		"complete": func(ctx context.Context, sc *scene) error {
			in := object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: sc.part.ETag}}}
			_, err := sc.CompleteUpload(ctx, sc.up.UploadRef, in)
			return err
		},
		"abort": func(ctx context.Context, sc *scene) error { return sc.AbortUpload(ctx, sc.up.UploadRef) },
		"create bucket": func(ctx context.Context, sc *scene) error {
			return sc.CreateBucket(ctx, object.Bucket{Name: "bucket-two"})
		},
		"update bucket": func(ctx context.Context, sc *scene) error {
			return sc.UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Tags = []object.Tag{{Key: "a"}}; return nil })
		},
		"list": func(ctx context.Context, sc *scene) error {
			_, err := sc.List(ctx, object.Query{Bucket: bucket, Limit: 10})
			return err
		},
		"get": func(ctx context.Context, sc *scene) error { _, err := content(ctx, sc.Store, ref("file")); return err },
	}
}

func content(ctx context.Context, s *nasfs.Store, r object.Ref) (string, error) {
	h, err := s.Open(ctx, r)
	if err != nil {
		return "", err
	}
	defer func() { _ = h.Close() }()
	b, err := io.ReadAll(h.Range(0, h.Info().Size))
	return string(b), err
}

// dump returns all that can be seen of a Store, but for times and upload IDs.
func dump(ctx context.Context, s *nasfs.Store) (map[string]string, error) {
	seen := map[string]string{}
	buckets, err := s.ListBuckets(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range buckets {
		seen[b.Name] = fmt.Sprint(b.Region, b.Tags)
		page, err := s.List(ctx, object.Query{Bucket: b.Name, Limit: 1000})
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			r := object.Ref{Bucket: b.Name, Key: o.Key}
			info, err := s.Stat(ctx, r)
			if err != nil {
				return nil, err
			}
			c, err := content(ctx, s, r)
			if err != nil {
				return nil, err
			}
			if o.ETag != info.ETag {
				return nil, fmt.Errorf("%s is listed with the ETag %s and has %s", o.Key, o.ETag, info.ETag)
			}
			if len(c) > 100 {
				c = fmt.Sprintf("%d bytes of sum %x", len(c), sha256.Sum256([]byte(c)))
			}
			seen[b.Name+"/"+o.Key] = fmt.Sprint(c, info.ETag, info.Checksum, info.Meta, info.Parts)
		}
		if err := dumpUploads(ctx, s, b.Name, seen); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

func dumpUploads(ctx context.Context, s *nasfs.Store, name string, seen map[string]string) error {
	ups, err := s.ListUploads(ctx, object.UploadQuery{Bucket: name, Limit: 1000})
	if err != nil {
		return err
	}
	of := map[string]int{}
	for _, up := range ups.Uploads {
		parts, _, err := s.ListParts(ctx, up.UploadRef, 0, 1000)
		if err != nil {
			return err
		}
		text := fmt.Sprint(up.Algorithm, up.Meta)
		for _, p := range parts {
			text += fmt.Sprint(p.Number, p.ETag, p.Size)
		}
		of[up.Key]++
		seen[fmt.Sprintf("upload %d of %s/%s", of[up.Key], name, up.Key)] = text
	}
	return nil
}

func mustDump(t *testing.T, s *nasfs.Store) map[string]string {
	t.Helper()
	seen, err := dump(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// outcomes returns what is seen before and after an operation.
func outcomes(t *testing.T, metadata nasfs.MetadataMode, op func(context.Context, *scene) error) (before, after map[string]string, calls int) {
	t.Helper()
	fault := vfs.NewFault(vfs.NewMemory().Root())
	cfg := config(t, fault.Root())
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = metadata, 1<<40, 1<<41
	s := open(t, cfg)
	sc, err := setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	before = mustDump(t, s)
	nasfs.Quiesce(s)
	start := fault.Total()
	if err := op(t.Context(), sc); err != nil {
		t.Fatal(err)
	}
	nasfs.Quiesce(s)
	return before, mustDump(t, s), fault.Total() - start
}

// TestEachFailingCallLeavesAllOrNothing makes each call of each operation fail
// in turn: without having been made, and with its answer lost.
func TestEachFailingCallLeavesAllOrNothing(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		for name, op := range operations() {
			t.Run(metadata.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				before, after, calls := outcomes(t, metadata, op)
				for _, lost := range []bool{false, true} {
					for n := range cases(calls+3, s) {
						failCall(t, metadata, op, before, after, n, lost)
					}
				}
			})
		}
	}
}

// failCall runs one operation with its n-th call failing.
func failCall(t *testing.T, metadata nasfs.MetadataMode, op func(context.Context, *scene) error, before, after map[string]string, n int, lost bool) {
	t.Helper()
	memory := vfs.NewMemory()
	fault := vfs.NewFault(memory.Root())
	cfg := config(t, fault.Root())
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = metadata, 1<<40, 1<<41
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	nasfs.Quiesce(s)
	var failed vfs.OpCall
	inject := fault.Inject
	if lost {
		inject = fault.InjectAfter
	}
	left := n
	remove := inject(func(c vfs.OpCall) error {
		if left--; left == -1 {
			failed = c
			return &injected{syscall.EIO}
		}
		return nil
	})
	opErr := op(t.Context(), sc)
	nasfs.Quiesce(s)
	remove()
	what := fmt.Sprintf("call %d, %v %q failed (answer lost: %v), got %v", n, failed.Op, failed.Path, lost, opErr)
	if _, ok := errors.AsType[*object.Error](opErr); opErr != nil && !ok {
		t.Errorf("%s: without a Kind", what)
	}
	seen := mustDump(t, s)
	isBefore, isAfter := maps.Equal(seen, before), maps.Equal(seen, after)
	switch {
	case opErr == nil && !isAfter, opErr != nil && !isBefore && !errors.Is(opErr, object.Unknown), !isAfter && !between(seen, before, after):
		t.Errorf("%s: %s", what, difference(seen, before, after))
	}
	if !isAfter && opErr != nil {
		if err := op(t.Context(), sc); err != nil {
			t.Errorf("%s: and tried again %v", what, err)
		} else if seen = mustDump(t, s); !maps.Equal(seen, after) {
			t.Errorf("%s: and tried again %s", what, difference(seen, before, after))
		}
	}
	nasfs.Quiesce(s)
	noLeftovers(t, memory.Root(), what)
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
	again, err := nasfs.Open(config2(t, memory, metadata)) // and not kept until the test ends: there are thousands
	if err != nil {
		t.Fatal(err)
	}
	if reopened := mustDump(t, again); !maps.Equal(reopened, seen) {
		t.Errorf("%s: after another start %s", what, difference(reopened, seen, seen))
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

type injected struct{ error }

func (i *injected) Unwrap() error { return i.error }

func config2(t *testing.T, m *vfs.Memory, metadata nasfs.MetadataMode) nasfs.Config {
	cfg := config(t, m.Root())
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = metadata, 1<<40, 1<<41
	return cfg
}

// between reports whether a dump is the one before, or shows what is new with
// what it takes the place of not gone yet: of a rename both names, of a Complete
// the object and the upload.
func between(seen, before, after map[string]string) bool {
	both := maps.Clone(before)
	maps.Copy(both, after)
	return maps.Equal(seen, before) || maps.Equal(seen, both)
}

// difference says in what a dump differs from two others.
func difference(seen, before, after map[string]string) string {
	var text string
	for name, want := range map[string]map[string]string{"before": before, "after": after} {
		keys := slices.Sorted(maps.Keys(want))
		keys = append(keys, slices.Sorted(maps.Keys(seen))...)
		for _, k := range keys {
			if seen[k] != want[k] {
				text += fmt.Sprintf("\n  not %s: %q is %.80q, not %.80q", name, k, seen[k], want[k])
			}
		}
	}
	return cmp.Or(text, "nothing")
}

// noLeftovers checks that no temporary file is left.
func noLeftovers(t *testing.T, root vfs.Dir, what string) {
	t.Helper()
	for _, path := range leftovers(t, root) {
		t.Errorf("%s: %s is left", what, path)
	}
}

// leftovers returns the temporary files.
func leftovers(t *testing.T, root vfs.Dir) []string {
	t.Helper()
	return append(filesBelow(t, root, ".shoal.sys/sessions", 2), filesBelow(t, root, ".shoal.sys/trash", 0)...)
}

// filesBelow returns what there is so many directories below path.
func filesBelow(t *testing.T, root vfs.Dir, path string, depth int) (paths []string) {
	t.Helper()
	dir, err := root.OpenDir(path)
	must(t, err)
	defer func() { _ = dir.Close() }() // open for reading
	entries, err := dir.ReadDir()
	must(t, err)
	for _, e := range entries {
		if depth > 0 {
			paths = append(paths, filesBelow(t, root, path+"/"+e.Name, depth-1)...)
		} else {
			paths = append(paths, path+"/"+e.Name)
		}
	}
	return paths
}
