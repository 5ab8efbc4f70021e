//go:build linux

package nasfs_test

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// share is a Store with one bucket, over a directory that somebody else works
// in as well.
type share struct {
	*testing.T
	*nasfs.Store
	dir string
	cfg nasfs.Config
}

// onShares runs a test with each way to keep metadata.
func onShares(t *testing.T, test func(sh *share)) {
	t.Parallel()
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		t.Run(metadata.String(), func(t *testing.T) {
			t.Parallel()
			sh := &share{T: t, dir: t.TempDir()}
			root, err := vfs.OpenRoot(sh.dir)
			sh.ok(err)
			t.Cleanup(func() { _ = sh.cfg.Root.Close() })
			sh.cfg = config(t, root)
			sh.cfg.Metadata, sh.cfg.Durability = metadata, nasfs.Relaxed
			sh.start()
			t.Cleanup(func() { sh.ok(sh.Close()) })
			sh.ok(sh.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
			test(sh)
		})
	}
}

func (sh *share) ok(err error) {
	sh.Helper()
	if err != nil {
		sh.Fatal(err)
	}
}

func (sh *share) start() {
	sh.Helper()
	s, err := nasfs.Open(sh.cfg)
	sh.ok(err)
	sh.Store = s
}

// path returns where the file of a key is.
func (sh *share) path(key string) string { return filepath.Join(sh.dir, bucket, key) }

func (sh *share) write(key, content string) {
	sh.Helper()
	sh.ok(os.WriteFile(sh.path(key), []byte(content), 0o644))
}

// put stores an object through S3, with metadata of all sorts.
func (sh *share) put(key, content string) object.Info {
	sh.Helper()
	meta := object.Meta{ContentType: "x/y", User: map[string]string{"by": "s3"}}
	_, err := sh.Put(sh.Context(), ref(key), object.PutInput{Body: body(content), Meta: meta})
	sh.ok(err)
	info, err := sh.Update(sh.Context(), ref(key), func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "a", Value: "b"}}; return nil })
	sh.ok(err)
	return info
}

// listed returns what a listing shows of the bucket.
func (sh *share) listed() map[string]object.Info {
	sh.Helper()
	page, err := sh.List(sh.Context(), object.Query{Bucket: bucket, Limit: 1000})
	sh.ok(err)
	seen := map[string]object.Info{}
	for _, o := range page.Objects {
		seen[o.Key] = o
	}
	return seen
}

// same checks that all ways to look at an object agree, and returns what they
// say.
func (sh *share) same(key, want string) object.Info {
	sh.Helper()
	info, err := sh.Stat(sh.Context(), ref(key))
	sh.ok(err)
	h, err := sh.Open(sh.Context(), ref(key))
	sh.ok(err)
	got, err := io.ReadAll(h.Range(0, h.Info().Size))
	sh.ok(err)
	sh.ok(h.Close())
	l := sh.listed()[key]
	if string(got) != want || info.Size != int64(len(want)) || l.Size != info.Size {
		sh.Errorf("%q has %.50q of %d bytes, listed with %d; want %.50q", key, got, info.Size, l.Size, want)
	}
	if h.Info().ETag != info.ETag || l.ETag != info.ETag || info.ETag == "" || !l.Modified.Equal(info.Modified) {
		sh.Errorf("ETags of %q: Stat %s, Open %s, List %s", key, info.ETag, h.Info().ETag, l.ETag)
	}
	return info
}

// absent checks that a key names no object.
func (sh *share) absent(key string) {
	sh.Helper()
	if _, err := sh.Stat(sh.Context(), ref(key)); !errors.Is(err, object.NoSuchKey) {
		sh.Errorf("stat %q: %v", key, err)
	}
	if _, err := sh.Open(sh.Context(), ref(key)); !errors.Is(err, object.NoSuchKey) {
		sh.Errorf("open %q: %v", key, err)
	}
	if _, ok := sh.listed()[key]; ok {
		sh.Errorf("%q is listed", key)
	}
}

// sealedBody is a body that is longer than its content.
type sealedBody struct {
	object.Body
	overhead int64
}

func (b sealedBody) Digest() object.Digest {
	d := b.Body.Digest()
	d.Overhead = b.overhead
	return d
}

func TestASealedObjectIsItselfInACopyThatKeepsAttributeAndTime(t *testing.T) {
	onShares(t, func(sh *share) {
		if sh.cfg.Metadata != nasfs.Xattr {
			return
		}
		for name, user := range map[string]string{"in the attribute": "", "in a sidecar": strings.Repeat("x", 3000)} {
			content := strings.Repeat("c", 1000)
			want, err := sh.Put(sh.Context(), ref("k"), object.PutInput{
				Body: sealedBody{body(content), 16}, Meta: object.Meta{Seal: "seal", User: map[string]string{"a": user}},
			})
			sh.ok(err)
			st, err := os.Stat(sh.path("k"))
			sh.ok(err)
			record := make([]byte, 4096)
			n, err := syscall.Getxattr(sh.path("k"), "user.shoal", record)
			sh.ok(err)
			sh.write("copy", content)
			sh.ok(syscall.Setxattr(sh.path("copy"), "user.shoal", record[:n], 0))
			if info, err := sh.Stat(sh.Context(), ref("copy")); err != nil || info.Meta.Seal != "" || info.Size != 1000 {
				sh.Errorf("%s: with another time it is %+v, %v", name, info, err)
			}
			sh.ok(os.Chtimes(sh.path("copy"), st.ModTime(), st.ModTime()))
			info, err := sh.Stat(sh.Context(), ref("copy"))
			sh.ok(err)
			if l := sh.listed()["copy"]; info.Meta.Seal != "seal" || info.Size != 984 || info.Overhead != 16 || info.ETag != want.ETag || l.Size != 984 || l.ETag != want.ETag {
				sh.Errorf("%s: the copy is %+v, listed as %+v", name, info, l)
			}
			sh.write("copy", content[1:])
			sh.ok(os.Chtimes(sh.path("copy"), st.ModTime(), st.ModTime()))
			if info := sh.same("copy", content[1:]); info.Meta.Seal != "" {
				sh.Errorf("%s: of another size it is %+v", name, info)
			}
			sh.ok(os.Remove(sh.path("copy")))
		}
	})
}

func TestAForeignChangeIsSeenAtOnceAndHasAnHonestETag(t *testing.T) {
	onShares(t, func(sh *share) {
		for name, change := range map[string]func(path string) (content string, err error){
			"append": func(path string) (string, error) {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					return "", err
				}
				_, err = f.WriteString("+")
				return "content+", errors.Join(err, f.Close())
			},
			"truncate": func(path string) (string, error) { return "con", os.Truncate(path, 3) },
			"replace": func(path string) (string, error) {
				return "new", errors.Join(os.WriteFile(path+".new", []byte("new"), 0o644), os.Rename(path+".new", path))
			},
			"touch": func(path string) (string, error) {
				return "content", os.Chtimes(path, time.Now(), time.Now().Add(time.Second))
			},
			"edit in place": func(path string) (string, error) { return "CONTENT", os.WriteFile(path, []byte("CONTENT"), 0o644) },
			"copy over with times": func(path string) (string, error) {
				then := time.Now().Add(-time.Hour)
				return "KONTENT", errors.Join(os.WriteFile(path, []byte("KONTENT"), 0o644), os.Chtimes(path, then, then))
			},
			"truncate, and put the time back": func(path string) (string, error) {
				st, err := os.Stat(path)
				if err != nil {
					return "", err
				}
				return "con", errors.Join(os.Truncate(path, 3), os.Chtimes(path, st.ModTime(), st.ModTime()))
			},
			"delete and make": func(path string) (string, error) {
				return "content", errors.Join(os.Remove(path), os.WriteFile(path, []byte("content"), 0o644))
			},
		} {
			before := sh.put(name, "content")
			time.Sleep(10 * time.Millisecond) // the times of files go on in ticks
			want, err := change(sh.path(name))
			sh.ok(err)
			listed := sh.listed()[name] // before anybody else has looked at it
			after := sh.same(name, want)
			if listed.ETag != after.ETag {
				sh.Errorf("%s: the ETag was listed as %s and is %s", name, listed.ETag, after.ETag)
			}
			if after.ETag == before.ETag || !strings.HasSuffix(after.ETag, "-0") {
				sh.Errorf("%s: the ETag was %s and is %s", name, before.ETag, after.ETag)
			}
			if len(after.Meta.User) > 0 || len(after.Meta.Tags) > 0 || after.Meta.ContentType == "x/y" || !after.Checksum.IsZero() {
				sh.Errorf("%s: a stranger's content has %+v, %+v", name, after.Meta, after.Checksum)
			}
			sh.ok(os.Chmod(sh.path(name), 0o600))
			sh.ok(os.Rename(sh.path(name), sh.path("moved")))
			sh.ok(sh.Close())
			sh.start()
			if moved := sh.same("moved", want); moved.ETag != after.ETag {
				sh.Errorf("%s: over chmod, rename and restart the ETag went from %s to %s", name, after.ETag, moved.ETag)
			}
		}
	})
}

func TestAnObjectKeepsItsMetadataWhereAUserMovesOrLinksIt(t *testing.T) {
	onShares(t, func(sh *share) {
		want := sh.put("dir/k", "content")
		sh.ok(os.Rename(sh.path("dir"), sh.path("other")))
		sh.ok(os.Link(sh.path("other/k"), sh.path("link")))
		sh.absent("dir/k")
		for _, key := range []string{"other/k", "link"} {
			got := sh.same(key, "content")
			if got.ETag != want.ETag || got.Meta.User["by"] != "s3" || len(got.Meta.Tags) != 1 {
				sh.Errorf("%s: %+v", key, got)
			}
		}
		sh.put("other/k", "new")
		if got := sh.same("link", "content"); got.ETag != want.ETag || len(got.Meta.Tags) != 1 {
			sh.Errorf("after an overwrite of the other name: %+v", got)
		}
		sh.ok(drop(sh.Context(), sh, ref("other/k"), nil))
		sh.same("link", "content")
		sh.put("dir/k", "again")
		sh.same("dir/k", "again")
	})
}

func (sh *share) tag(key string, tags []object.Tag) {
	sh.Helper()
	_, err := sh.Update(sh.Context(), ref(key), func(m *object.Meta) error { m.Tags = tags; return nil })
	sh.ok(err)
}

// copyWithAttribute copies a file with its attribute, but not with its time, and returns that.
func (sh *share) copyWithAttribute(from, to string) time.Time {
	sh.Helper()
	st, err := os.Stat(from)
	sh.ok(err)
	content, err := os.ReadFile(from)
	sh.ok(err)
	sh.ok(os.MkdirAll(filepath.Dir(to), 0o755))
	sh.ok(os.WriteFile(to, content, 0o644))
	buf := make([]byte, 4096)
	if n, err := syscall.Getxattr(from, "user.shoal", buf); err == nil {
		sh.ok(syscall.Setxattr(to, "user.shoal", buf[:n], 0))
	}
	return st.ModTime()
}

// TestACopyOfAnObjectsFileIsTheObjectIfItHasItsAttributeAndTime, as cp -a, rsync -aX and backups have, and else
// it is foreign.
func TestACopyOfAnObjectsFileIsTheObjectIfItHasItsAttributeAndTime(t *testing.T) {
	onShares(t, func(sh *share) {
		original := sh.put("k", "content")
		later := []object.Tag{{Key: "later", Value: "1"}}
		sh.tag("k", later)
		at := sh.copyWithAttribute(sh.path("k"), sh.path("copy"))
		if got := sh.same("copy", "content"); !strings.HasSuffix(got.ETag, "-0") || len(got.Meta.User)+len(got.Meta.Tags) > 0 {
			sh.Errorf("with another time: %+v", got)
		}
		sh.ok(os.Chtimes(sh.path("copy"), at, at))
		got := sh.same("copy", "content")
		if sh.cfg.Metadata != nasfs.Xattr {
			if !strings.HasSuffix(got.ETag, "-0") || len(got.Meta.User)+len(got.Meta.Tags) > 0 {
				sh.Errorf("without attributes: %+v", got)
			}
			return
		}
		if got.ETag != original.ETag || got.Meta.User["by"] != "s3" || !slices.Equal(got.Meta.Tags, later) || !got.Modified.Equal(original.Modified) {
			sh.Errorf("it is %+v, not %+v", got, original)
		}
		if l := sh.listed()["copy"]; l.ETag != original.ETag {
			sh.Errorf("it is listed as %+v", l)
		}
		sh.tag("copy", nil)
		if k, got := sh.same("k", "content"), sh.same("copy", "content"); !slices.Equal(k.Meta.Tags, later) || len(got.Meta.Tags) > 0 {
			sh.Errorf("the copy's tags were removed: %+v, and the original's are %+v", got.Meta.Tags, k.Meta.Tags)
		}
		sh.write("copy", "contents")
		sh.ok(os.Chtimes(sh.path("copy"), at, at))
		if got := sh.same("copy", "contents"); !strings.HasSuffix(got.ETag, "-0") {
			sh.Errorf("of another size it is %+v", got)
		}
	})
}

// TestACopyWhoseAttributeComesLaterIsTheObjectInListingsToo, as it does with rsync -a and then rsync -aX.
func TestACopyWhoseAttributeComesLaterIsTheObjectInListingsToo(t *testing.T) {
	onShares(t, func(sh *share) {
		if sh.cfg.Metadata != nasfs.Xattr {
			return
		}
		original := sh.put("k", "content")
		st, err := os.Stat(sh.path("k"))
		sh.ok(err)
		sh.write("copy", "content")
		sh.ok(os.Chtimes(sh.path("copy"), st.ModTime(), st.ModTime()))
		if got := sh.same("copy", "content"); got.ETag == original.ETag {
			sh.Errorf("without its attribute it is %+v", got)
		}
		time.Sleep(20 * time.Millisecond) // or the time of change may be the same
		buf := make([]byte, 4096)
		n, err := syscall.Getxattr(sh.path("k"), "user.shoal", buf)
		sh.ok(err)
		sh.ok(syscall.Setxattr(sh.path("copy"), "user.shoal", buf[:n], 0))
		if l := sh.listed()["copy"]; l.ETag != original.ETag || !l.Modified.Equal(original.Modified) {
			sh.Errorf("it is listed as %+v", l)
		}
		sh.same("copy", "content")
	})
}

// copyTree makes a copy of the tree as cp -a does, and serves that.
func (sh *share) copyTree() {
	sh.Helper()
	to := sh.TempDir()
	sh.ok(filepath.WalkDir(sh.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(sh.dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		at := sh.copyWithAttribute(path, filepath.Join(to, rel))
		return os.Chtimes(filepath.Join(to, rel), at, at)
	}))
	sh.ok(errors.Join(sh.Close(), sh.cfg.Root.Close()))
	root, err := vfs.OpenRoot(to)
	sh.ok(err)
	sh.cfg.Root, sh.dir = root, to
	sh.start()
}

func TestACopyOfATreeHasItsVersionsWithTheirLocks(t *testing.T) {
	onShares(t, func(sh *share) {
		if sh.cfg.Metadata != nasfs.Xattr {
			return
		}
		sh.ok(sh.UpdateBucket(sh.Context(), bucket, func(b *object.Bucket) error {
			b.Versioning, b.Documents = object.Versioned, map[string]string{"object-lock": "on"} // else nothing is taken to be locked
			return nil
		}))
		locked := object.Meta{Retention: object.Retention{Mode: object.Compliance, Until: time.Now().Add(time.Hour)}}
		for _, content := range []string{"first", "second"} {
			_, err := sh.Put(sh.Context(), ref("k"), object.PutInput{Body: body(content), Meta: locked})
			sh.ok(err)
		}
		sh.put("held", "content")
		_, err := sh.Update(sh.Context(), ref("held"), func(m *object.Meta) error { m.LegalHold = object.LegalHoldOn; return nil })
		sh.ok(err)
		before, err := sh.ListVersions(sh.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
		sh.ok(err)
		sh.copyTree()
		after, err := sh.ListVersions(sh.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
		sh.ok(err)
		if len(after.Versions) != 3 || !slices.EqualFunc(before.Versions, after.Versions, func(a, b object.VersionInfo) bool {
			return a.Key == b.Key && a.Version == b.Version && a.ETag == b.ETag && a.Latest == b.Latest && a.Modified.Equal(b.Modified)
		}) {
			sh.Errorf("there were\n%+v\nand are\n%+v", before.Versions, after.Versions)
		}
		for _, v := range after.Versions {
			of := object.Ref{Bucket: bucket, Key: v.Key, Version: v.Version}
			if err := drop(sh.Context(), sh, of, nil); !errors.Is(err, object.Locked) {
				sh.Errorf("%s of %s could be deleted: %v", v.Version, v.Key, err)
			}
		}
	})
}

// TestAVersionThatIsPutBackCanBeDeleted: it is in the history, too, below a later one.
func TestAVersionThatIsPutBackCanBeDeleted(t *testing.T) {
	onShares(t, func(sh *share) {
		if sh.cfg.Metadata != nasfs.Xattr {
			return
		}
		sh.ok(sh.UpdateBucket(sh.Context(), bucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
		first := sh.put("k", "first")
		at := sh.copyWithAttribute(sh.path("k"), sh.path("backup"))
		sh.put("k", "second") // which the next one puts into the history, above the first
		sh.put("k", "third")
		sh.ok(os.Rename(sh.path("backup"), sh.path("k")))
		sh.ok(os.Chtimes(sh.path("k"), at, at))
		if got := sh.same("k", "first"); got.Version != first.Version {
			sh.Errorf("it is %+v", got)
		}
		sh.ok(drop(sh.Context(), sh, object.Ref{Bucket: bucket, Key: "k", Version: first.Version}, nil))
		page, err := sh.ListVersions(sh.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
		sh.ok(err)
		for _, v := range page.Versions {
			if v.Version == first.Version {
				sh.Errorf("it is there still: %+v", page.Versions)
			}
		}
	})
}

// TestAKeyStaysDeletedWhenAVersionThatWasPutBackIsDeleted: the marker, which is later, counts again.
func TestAKeyStaysDeletedWhenAVersionThatWasPutBackIsDeleted(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]object.Versioning{"a version": object.Versioned, "the null version": object.Suspended} {
		t.Run(name, func(t *testing.T) {
			onShares(t, func(sh *share) {
				if sh.cfg.Metadata != nasfs.Xattr {
					return
				}
				as := func(v object.Versioning) {
					sh.ok(sh.UpdateBucket(sh.Context(), bucket, func(b *object.Bucket) error { b.Versioning = v; return nil }))
				}
				as(object.Versioned)
				sh.put("k", "oldest")
				as(first)
				last := sh.put("k", "last")
				at := sh.copyWithAttribute(sh.path("k"), sh.path("backup"))
				gone, err := sh.Delete(sh.Context(), ref("k"), nil)
				sh.ok(err)
				sh.ok(os.Rename(sh.path("backup"), sh.path("k")))
				sh.ok(os.Chtimes(sh.path("k"), at, at))
				sh.same("k", "last")
				sh.ok(drop(sh.Context(), sh, object.Ref{Bucket: bucket, Key: "k", Version: last.Version}, nil))
				sh.absent("k")
				page, err := sh.ListVersions(sh.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
				sh.ok(err)
				if v := page.Versions; len(v) != 2 || !v[0].Marker || v[0].Version != gone.Version || !v[0].Latest {
					sh.Errorf("there is %+v", v)
				}
			})
		})
	}
}

func TestAnEditWhileAnObjectIsReadIsNoticed(t *testing.T) {
	onShares(t, func(sh *share) {
		size := 1 << 20
		for name, read := range map[string]func(r io.Reader, begun func()) (int64, error){
			"Read": func(r io.Reader, begun func()) (int64, error) {
				n, err := io.ReadFull(r, make([]byte, 1000))
				if err != nil {
					return int64(n), err
				}
				begun()
				rest, err := io.Copy(io.Discard, struct{ io.Reader }{r})
				return int64(n) + rest, err
			},
			"WriteTo": func(r io.Reader, begun func()) (int64, error) {
				var once sync.Once
				return r.(io.WriterTo).WriteTo(writer(func(p []byte) (int, error) { once.Do(begun); return len(p), nil }))
			},
		} {
			sh.write(name, strings.Repeat("a", size))
			time.Sleep(10 * time.Millisecond) // as above
			h, err := sh.Open(sh.Context(), ref(name))
			sh.ok(err)
			n, err := read(h.Range(0, int64(size)), func() { sh.write(name, strings.Repeat("b", size)) })
			if !errors.Is(err, object.Conflict) || n >= int64(size) {
				sh.Errorf("%s: read %d of %d bytes, %v", name, n, size, err)
			}
			sh.ok(h.Close())
		}
	})
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestLinksFIFOsSocketsAndDevicesAreNeverObjects(t *testing.T) {
	onShares(t, func(sh *share) {
		outside := sh.TempDir()
		sh.ok(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
		sh.put("dir/file", "content")
		for link, target := range map[string]string{
			"leaf": "dir/file", "out": filepath.Join(outside, "secret"), "middle": "dir", "outdir": outside, "dangling": "nowhere", "loop": "loop",
		} {
			sh.ok(os.Symlink(target, sh.path(link)))
		}
		sh.ok(syscall.Mkfifo(sh.path("fifo"), 0o666))
		sock, err := net.Listen("unix", sh.path("socket"))
		sh.ok(err)
		defer func() { _ = sock.Close() }()
		specials := []string{"leaf", "out", "dangling", "loop", "fifo", "socket", "middle", "outdir"}
		if err := syscall.Mknod(sh.path("device"), syscall.S_IFCHR|0o666, 1<<8|3); err == nil {
			specials = append(specials, "device")
		}
		for _, key := range append(specials, "middle/file", "outdir/secret", "fifo/x") {
			sh.absent(key)
			sh.ok(drop(sh.Context(), sh, ref(key), nil))
		}
		if l := sh.listed(); len(l) != 1 {
			sh.Errorf("listed %v", l)
		}
		if _, err := sh.Put(sh.Context(), ref("outdir/new"), object.PutInput{Body: body("x")}); !errors.Is(err, object.AccessDenied) {
			sh.Errorf("put through a link: %v", err)
		}
		if err := sh.DeleteBucket(sh.Context(), bucket); !errors.Is(err, object.BucketNotEmpty) {
			sh.Errorf("delete bucket: %v", err)
		}
		for _, key := range specials {
			for _, check := range []object.Check{nil, object.IfNoneMatch("*")} {
				_, err := sh.Put(sh.Context(), ref(key), object.PutInput{Body: body("mine " + key), Check: check})
				if check == nil {
					sh.ok(err)
					sh.same(key, "mine "+key)
				} else if !errors.Is(err, object.PreconditionFailed) {
					sh.Errorf("put %s where it is: %v", key, err)
				}
			}
		}
		if got, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(got) != "secret" {
			sh.Errorf("outside the bucket is %q, %v", got, err)
		}
		sh.same("dir/file", "content")
	})
}

func TestASymbolicLinkGivesWayToTheFirstCreator(t *testing.T) {
	onShares(t, func(sh *share) {
		sh.ok(os.Symlink("elsewhere", sh.path("k")))
		_, err := sh.Put(sh.Context(), ref("k"), object.PutInput{Body: body("x"), Check: object.IfNoneMatch("*")})
		sh.ok(err)
		sh.same("k", "x")
		sh.absent("elsewhere")
	})
}

func TestADirectoryMadeByHandIsABucketAndAPrefix(t *testing.T) {
	onShares(t, func(sh *share) {
		sh.ok(os.MkdirAll(filepath.Join(sh.dir, "by-hand", "empty"), 0o755))
		sh.ok(os.MkdirAll(filepath.Join(sh.dir, "No_Bucket"), 0o755))
		sh.ok(os.Symlink(sh.path(""), filepath.Join(sh.dir, "linked")))
		list, err := sh.ListBuckets(sh.Context())
		sh.ok(err)
		if len(list) != 2 || list[1].Name != "by-hand" || list[1].Created.IsZero() {
			sh.Errorf("buckets %+v", list)
		}
		if _, err := sh.Stat(sh.Context(), object.Ref{Bucket: "linked", Key: "k"}); !errors.Is(err, object.NoSuchBucket) {
			sh.Errorf("a link as a bucket: %v", err)
		}
		page, err := sh.List(sh.Context(), object.Query{Bucket: "by-hand", Delimiter: "/", Limit: 10})
		sh.ok(err)
		if len(page.Prefixes) != 1 || page.Prefixes[0] != "empty/" || len(page.Objects) != 0 {
			sh.Errorf("page %+v", page)
		}
		_, err = sh.Put(sh.Context(), object.Ref{Bucket: "by-hand", Key: "empty/k"}, object.PutInput{Body: body("x")})
		sh.ok(err)
		sh.ok(drop(sh.Context(), sh, object.Ref{Bucket: "by-hand", Key: "empty/k"}, nil))
		sh.ok(sh.DeleteBucket(sh.Context(), "by-hand"))
	})
}

func TestHiddenNamesAreNotShownAndTheirKeysHavePlacesOfTheirOwn(t *testing.T) {
	onShares(t, func(sh *share) {
		hidden := []string{".nfs0123456789abcdef", ".fuse_hidden0001", "lost+found"}
		for _, name := range hidden {
			sh.write(name, "the server's own")
			sh.absent(name)
			sh.put(name, "an object's")
			sh.same(name, "an object's")
			sh.ok(drop(sh.Context(), sh, ref(name), nil))
			sh.absent(name)
			if got, err := os.ReadFile(sh.path(name)); err != nil || string(got) != "the server's own" {
				sh.Errorf("%s: %q, %v", name, got, err)
			}
		}
		sh.ok(os.Mkdir(sh.path(".snapshot"), 0o755))
		sh.write(".snapshot/old", "old")
		sh.absent(".snapshot/old")
	})
}

func TestASparseFileIsAnObjectOfItsSize(t *testing.T) {
	onShares(t, func(sh *share) {
		const size = 1 << 40
		sh.write("sparse", "begin")
		sh.ok(os.Truncate(sh.path("sparse"), size))
		h, err := sh.Open(sh.Context(), ref("sparse"))
		sh.ok(err)
		defer func() { sh.ok(h.Close()) }()
		end, err := io.ReadAll(h.Range(size-3, 3))
		if h.Info().Size != size || sh.listed()["sparse"].Size != size || string(end) != "\x00\x00\x00" || err != nil {
			sh.Errorf("%+v ends in %q, %v", h.Info(), end, err)
		}
	})
}

func TestASidecarThatSomebodyRemovedMakesTheObjectForeign(t *testing.T) {
	onShares(t, func(sh *share) {
		large := object.Meta{User: map[string]string{"large": strings.Repeat("x", 3000)}}
		_, err := sh.Put(sh.Context(), ref("k"), object.PutInput{Body: body("content"), Meta: large})
		sh.ok(err)
		sh.ok(os.RemoveAll(filepath.Join(sh.dir, ".shoal.sys", "meta")))
		sh.ok(sh.Close())
		sh.start()
		if got := sh.same("k", "content"); !strings.HasSuffix(got.ETag, "-0") {
			sh.Errorf("%+v", got)
		}
		sh.put("k", "new")
		sh.same("k", "new")
	})
}

// TestWhatIsRestoredFromABackupIsNotTakenForWhatItReplaces: a file that has the time of
// an earlier object is written over a later one, or put in its place.
func TestWhatIsRestoredFromABackupIsNotTakenForWhatItReplaces(t *testing.T) {
	onShares(t, func(sh *share) {
		for way, restore := range map[string]func(path string) error{
			"in place": func(path string) error { return os.WriteFile(path, []byte("first"), 0o644) },
			"anew": func(path string) error {
				return errors.Join(os.WriteFile(path+".new", []byte("first"), 0o644), os.Rename(path+".new", path))
			},
		} {
			first := sh.put(way, "first")
			then, err := os.Stat(sh.path(way))
			sh.ok(err)
			second := sh.put(way, "other")
			sh.ok(restore(sh.path(way)))
			sh.ok(os.Chtimes(sh.path(way), then.ModTime(), then.ModTime()))
			got := sh.same(way, "first")
			if got.ETag == second.ETag || got.ETag != first.ETag && !strings.HasSuffix(got.ETag, "-0") {
				sh.Errorf("%s: %+v", way, got)
			}
			sh.put(way, "third")
			sh.same(way, "third")
		}
	})
}

// TestAnUploadWhoseFileSomebodyRemovesOrCutsFails, and is not answered as if it were there.
func TestAnUploadWhoseFileSomebodyRemovesOrCutsFails(t *testing.T) {
	for how, spoil := range map[string]func(file string) error{
		"removes": os.Remove,
		"cuts":    func(file string) error { return os.Truncate(file, 1<<20) },
	} {
		t.Run(how, func(t *testing.T) {
			onShares(t, func(sh *share) {
				content := &hooked{Body: body(strings.Repeat("x", 5<<20)), atEnd: func() {
					files, err := filepath.Glob(filepath.Join(sh.dir, ".shoal.sys", "sessions", "*", "*", "p.*"))
					sh.ok(err)
					for _, f := range files {
						sh.ok(spoil(f))
					}
				}}
				if _, err := sh.Put(sh.Context(), ref("k"), object.PutInput{Body: content}); err == nil || errors.Is(err, object.NoSuchKey) {
					sh.Errorf("put: %v", err)
				}
				sh.absent("k")
				sh.put("k", "again")
				sh.same("k", "again")
			})
		})
	}
}

// TestRemovalOfATreeByHandDisturbsNobody runs rm -rf against uploads into, and
// listings of, the same directories.
func TestRemovalOfATreeByHandDisturbsNobody(t *testing.T) {
	onShares(t, func(sh *share) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = os.RemoveAll(sh.path("a")) // something may have come into it meanwhile
			}
		})
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := sh.List(sh.Context(), object.Query{Bucket: bucket, Limit: 1000}); err != nil {
					sh.Errorf("list: %v", err)
				}
			}
		})
		for range rounds(300) {
			_, err := sh.Put(sh.Context(), ref("a/b/c"), object.PutInput{Body: body("x")})
			if err != nil && !errors.Is(err, object.Conflict) {
				sh.Errorf("put: %v", err)
			}
		}
		close(stop)
		wg.Wait()
		sh.put("a/b/c", "at last")
		sh.same("a/b/c", "at last")
	})
}

func withFaults(t *testing.T) (*nasfs.Store, *scene, *vfs.Fault) {
	t.Helper()
	fault := vfs.NewFault(vfs.NewMemory().Root())
	s := open(t, config(t, fault.Root()))
	sc, err := setUp(t.Context(), s)
	must(t, err)
	return s, sc, fault
}

// theirs has calls of a kind at a path be refused.
func theirs(fault *vfs.Fault, op vfs.Op, path string) {
	fault.Inject(func(c vfs.OpCall) error {
		if c.Op == op && c.Path == path {
			return &injected{syscall.EACCES}
		}
		return nil
	})
}

func TestAFileThatCannotBeReadIsListedAndRefused(t *testing.T) {
	t.Parallel()
	s, sc, fault := withFaults(t)
	theirs(fault, vfs.OpOpen, bucket+"/theirs")
	root := fault.Root()
	dir, err := root.OpenDir(bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Create("theirs", 0); err != nil {
		t.Fatal(err)
	}
	page, err := s.List(t.Context(), object.Query{Bucket: bucket, Prefix: "theirs", Limit: 10})
	if err != nil || len(page.Objects) != 1 || !strings.HasSuffix(page.Objects[0].ETag, "-0") {
		t.Errorf("list: %+v, %v", page, err)
	}
	if _, err := s.Open(t.Context(), ref("theirs")); !errors.Is(err, object.AccessDenied) {
		t.Errorf("open: %v", err)
	}
	if err := sc.put(t.Context(), "theirs", "mine", nil); err != nil {
		t.Errorf("put: %v", err)
	}
}

// A page that leaves out what may be there would say that it is not, and whoever mirrors the
// bucket would delete it elsewhere.
func TestADirectoryThatCannotBeReadIsShownAndNamedByListingsOfWhatIsInIt(t *testing.T) {
	t.Parallel()
	s, sc, fault := withFaults(t)
	for _, key := range []string{"mine", "theirs/x"} {
		must(t, sc.put(t.Context(), key, "x", nil))
	}
	theirs(fault, vfs.OpOpenDir, bucket+"/theirs")
	page, err := s.List(t.Context(), object.Query{Bucket: bucket, Delimiter: "/", Limit: 10})
	if err != nil || !slices.Contains(page.Prefixes, "theirs/") {
		t.Errorf("list of the top: %+v, %v", page, err)
	}
	sh := &share{T: t}
	_, err = s.List(t.Context(), object.Query{Bucket: bucket, Limit: 10})
	sh.obstructed(err, object.AccessDenied, bucket+"/theirs")
	_, err = s.ListVersions(t.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
	sh.obstructed(err, object.AccessDenied, bucket+"/theirs")
}

// obstructed checks that an error is of a kind, and names what is in the way.
func (sh *share) obstructed(err error, kind object.Kind, path string) {
	sh.Helper()
	o, ok := errors.AsType[*object.Obstacle](err)
	if object.KindOf(err) != kind || !ok || o.Path != path {
		sh.Errorf("got %v, want %v that names %q", err, kind, path)
	}
}

func TestAFileWithoutAKeyAtTheRootOfABucketIsNamedWhereItIsInTheWay(t *testing.T) {
	onShares(t, func(sh *share) {
		sh.write("=0=", "foreign")
		_, err := sh.Put(sh.Context(), ref("/lead"), object.PutInput{Body: body("x")})
		sh.obstructed(err, object.AccessDenied, bucket+"/=0=")
		if l := sh.listed(); len(l) > 0 {
			sh.Errorf("listed %v", l)
		}
		sh.obstructed(sh.DeleteBucket(sh.Context(), bucket), object.BucketNotEmpty, bucket+"/=0=")
		if got, err := os.ReadFile(sh.path("=0=")); err != nil || string(got) != "foreign" {
			sh.Errorf("the file is %q, %v", got, err)
		}
		sh.put("a/", "marker") // the same name below a directory is that of a key
		sh.put("a//b", "x")
		sh.same("a/", "marker")
	})
}

func TestABucketThatIsNotEmptyForWhatIsNoObjectSaysSo(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink("nowhere", path) },
		"fifo": func(path string) error { return syscall.Mkfifo(path, 0o666) },
		strings.Repeat(strings.Repeat("d", 250)+"/", 5) + "file": func(path string) error { // longer than a key can be
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666))
		},
		"lost+found":                     func(path string) error { return os.Mkdir(path, 0o777) },
		".nfs" + strings.Repeat("0", 16): func(path string) error { return os.WriteFile(path, nil, 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			onShares(t, func(sh *share) {
				sh.ok(os.MkdirAll(sh.path("a/b"), 0o777))
				sh.ok(make(sh.path("a/b/" + name)))
				sh.obstructed(sh.DeleteBucket(sh.Context(), bucket), object.BucketNotEmpty, bucket+"/a/b/"+name)
				if _, err := os.Lstat(sh.path("a/b/" + name)); err != nil {
					sh.Error(err)
				}
				sh.ok(os.Remove(sh.path("a/b/" + name)))
				sh.put("k", "x")
				err := sh.DeleteBucket(sh.Context(), bucket)
				if _, named := errors.AsType[*object.Obstacle](err); named || !errors.Is(err, object.BucketNotEmpty) {
					sh.Errorf("with an object: %v", err)
				}
			})
		})
	}
}

func TestWhatIsNoDirectoryIsNoBucketAndKeepsTheName(t *testing.T) {
	onShares(t, func(sh *share) {
		var log strings.Builder
		sh.ok(sh.Close())
		sh.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		sh.start()
		elsewhere := sh.TempDir()
		sh.ok(os.Symlink(elsewhere, filepath.Join(sh.dir, "linkb")))
		sh.ok(os.WriteFile(filepath.Join(sh.dir, "fileb"), []byte("foreign"), 0o666))
		for range 2 {
			for _, name := range []string{"linkb", "fileb"} {
				sh.obstructed(sh.CreateBucket(sh.Context(), object.Bucket{Name: name}), object.BucketExists, name)
				if _, err := sh.StatBucket(sh.Context(), name); !errors.Is(err, object.NoSuchBucket) {
					sh.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := strings.Count(log.String(), "no directory"); n != 2 {
			sh.Errorf("told %d times: %s", n, log.String())
		}
		if to, err := os.Readlink(filepath.Join(sh.dir, "linkb")); err != nil || to != elsewhere {
			sh.Errorf("the link leads to %q, %v", to, err)
		}
	})
}

func TestABucketThatALinkStandsForKeepsWhatIsKnownOfIt(t *testing.T) {
	onShares(t, func(sh *share) {
		sh.ok(sh.UpdateBucket(sh.Context(), bucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
		sh.put("k", "old")
		sh.put("k", "new")
		moved := filepath.Join(sh.TempDir(), "moved")
		sh.ok(os.Rename(filepath.Join(sh.dir, bucket), moved))
		sh.ok(os.Symlink(moved, filepath.Join(sh.dir, bucket)))
		sh.obstructed(sh.CreateBucket(sh.Context(), object.Bucket{Name: bucket}), object.BucketExists, bucket)
		sh.ok(os.Remove(filepath.Join(sh.dir, bucket)))
		sh.ok(os.Rename(moved, filepath.Join(sh.dir, bucket)))
		b, err := sh.StatBucket(sh.Context(), bucket)
		sh.ok(err)
		page, err := sh.ListVersions(sh.Context(), object.VersionQuery{Bucket: bucket, Limit: 10})
		sh.ok(err)
		if b.Versioning != object.Versioned || len(page.Versions) != 2 {
			sh.Errorf("%v, with %d versions", b.Versioning, len(page.Versions))
		}
	})
}
