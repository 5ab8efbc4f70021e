package nasfs_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// belongs is what a file or directory was given.
type belongs struct {
	uid, gid uint32
	mode     fs.FileMode
}

func belongsTo(t *testing.T, root vfs.Dir, path string) belongs {
	t.Helper()
	st, err := root.Stat(path)
	must(t, err)
	return belongs{st.UID, st.GID, st.Mode}
}

func permissions(p object.Permissions) *object.Permissions { return &p }

func TestNewFilesAreGivenWhatTheirBucketSays(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	w := newWorld(t, 2, func() nasfs.Config {
		cfg := config(t, m.Root())
		cfg.Files = object.Files{GID: new(uint32(100)), FileMode: permissions(0o640)}
		return cfg
	})
	setter, writer := w.gateways[0], w.gateways[1]
	must(t, setter.CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, writer, "before/k", "x", nil))
	must(t, setter.UpdateBucket(ctx, bucket, func(b *object.Bucket) error {
		b.Files = object.Files{UID: new(uint32(1000)), DirMode: permissions(0o2750)}
		return nil
	}))
	must(t, putIn(ctx, writer, "after/k", "x", nil))
	_, err := writer.Copy(ctx, ref("before/k"), ref("after/copy"), object.CopyInput{})
	must(t, err)
	up, err := writer.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("after/upload")}, Algorithm: object.CRC32})
	must(t, err)
	part, err := setter.PutPart(ctx, up.UploadRef, 1, body("x"))
	must(t, err)
	_, err = writer.CompleteUpload(ctx, up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}})
	must(t, err)
	for path, want := range map[string]belongs{
		"":             {0, 100, fs.ModeDir | 0o775},
		"before":       {0, 100, fs.ModeDir | 0o775},
		"before/k":     {0, 100, 0o640},
		"after":        {1000, 100, fs.ModeDir | fs.ModeSetgid | 0o750},
		"after/k":      {1000, 100, 0o640},
		"after/copy":   {1000, 100, 0o640},
		"after/upload": {1000, 100, 0o640},
	} {
		at := bucket
		if path != "" {
			at += "/" + path
		}
		if got := belongsTo(t, m.Root(), at); got != want {
			t.Errorf("%s: %+v, want %+v", at, got, want)
		}
	}
}

// TestNewFilesAreTheirMakersBeforeTheirBuckets makes them in every way there is.
func TestNewFilesAreTheirMakersBeforeTheirBuckets(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
	g := w.gateways[1]
	ann := object.Files{UID: new(uint32(2000))}
	must(t, w.gateways[0].CreateBucket(ctx, object.Bucket{Name: bucket, Dir: ann, Files: object.Files{UID: new(uint32(1000)), GID: new(uint32(100)), FileMode: permissions(0o640)}}))
	_, err := g.Put(ctx, ref("put/k"), object.PutInput{Body: body("x"), Files: ann})
	must(t, err)
	must(t, putIn(ctx, g, "bobs", "x", nil))
	_, err = g.Copy(ctx, ref("bobs"), ref("copy/k"), object.CopyInput{Files: ann})
	must(t, err)
	must(t, g.Rename(ctx, ref("bobs"), ref("moved/k"), object.CopyInput{Files: ann}))
	up, err := g.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("upload/k")}, Algorithm: object.CRC32})
	must(t, err)
	part, err := g.PutPart(ctx, up.UploadRef, 1, body("x"))
	must(t, err)
	_, err = g.CompleteUpload(ctx, up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}, Files: ann})
	must(t, err)
	for _, dir := range []string{"", "put", "copy", "moved", "upload"} {
		if got, want := belongsTo(t, m.Root(), strings.TrimSuffix(bucket+"/"+dir, "/")), (belongs{2000, 100, fs.ModeDir | 0o775}); got != want {
			t.Errorf("%q: %+v, want %+v", dir, got, want)
		}
		if dir == "" {
			continue
		}
		want := belongs{2000, 100, 0o640}
		if dir == "moved" {
			want.uid = 1000 // it is the file that it was
		}
		if got := belongsTo(t, m.Root(), bucket+"/"+dir+"/k"); got != want {
			t.Errorf("%s/k: %+v, want %+v", dir, got, want)
		}
	}
}

func TestABucketOfASetgidTreeIsOfItsGroup(t *testing.T) {
	m := vfs.NewMemory()
	must(t, m.Root().Chown(-1, 4321))
	must(t, m.Root().Chmod(fs.ModeSetgid|0o775))
	w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
	must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	if got, want := belongsTo(t, m.Root(), bucket), (belongs{0, 4321, fs.ModeDir | fs.ModeSetgid | 0o775}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestWhatFilesCannotBeGivenIsRefused on a file system that gives nothing away.
func TestWhatFilesCannotBeGivenIsRefused(t *testing.T) {
	w, ctx := threeOn(t, "memory"), t.Context()
	defer w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpChown {
			return fs.ErrPermission
		}
		return nil
	})()
	err := w.gateways[0].UpdateBucket(ctx, bucket, func(b *object.Bucket) error {
		b.Files = object.Files{UID: new(uint32(1000))}
		return nil
	})
	is(t, "giving files away", err, object.InvalidRequest)
	is(t, "giving a user's files away", w.gateways[0].Prove(ctx, object.Files{GID: new(uint32(100))}), object.InvalidRequest)
	must(t, w.gateways[1].Prove(ctx, object.Files{GID: new(uint32(100))}))
	if b, err := w.gateways[1].StatBucket(ctx, bucket); err != nil || !b.Files.IsZero() {
		t.Errorf("%+v, %v", b, err)
	}
}
