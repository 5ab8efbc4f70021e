package nasfs_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// The people of the tests: ann and bob are in the group of their own and in that of the
// developers, eve in none but hers.
const (
	ann, bob, eve = 4001, 4002, 4003
	devs          = 4100
)

func person(uid uint32) object.Person {
	p := object.Person{UID: uid, GID: uid}
	if uid != eve {
		p.Groups = []uint32{devs}
	}
	return p
}

// judged is a Store over a directory of the host, which the test can lay out; only root
// can find out what others may do.
func judged(t *testing.T) (*nasfs.Store, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755)) //nolint:gosec // others must be let in
	root, err := vfs.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { _ = root.Close() })
	s := open(t, config(t, root))
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	return s, dir
}

// lay makes a file or, with a mode of a directory, a directory of somebody.
func lay(t *testing.T, path string, mode os.FileMode, uid, gid int) {
	t.Helper()
	if mode.IsDir() {
		must(t, os.Mkdir(path, 0o700))
	} else {
		must(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	must(t, os.Chown(path, uid, gid))
	must(t, os.Chmod(path, mode))
}

// list gives a file a POSIX access control list in which one user more may read it.
func list(t *testing.T, path string, uid uint32) {
	t.Helper()
	text := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, permissions uint16
		id               uint32
	}{{1, 6, ^uint32(0)}, {2, 4, uid}, {4, 0, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		text = binary.LittleEndian.AppendUint16(text, e.tag)
		text = binary.LittleEndian.AppendUint16(text, e.permissions)
		text = binary.LittleEndian.AppendUint32(text, e.id)
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", text, 0); err != nil {
		t.Skip("the file system of the tests has no access control lists:", err)
	}
}

func TestTheFileSystemDecidesWhoMayWhat(t *testing.T) {
	s, dir := judged(t)
	must(t, s.CanJudge(t.Context()))
	in := filepath.Join(dir, bucket)
	must(t, os.Chmod(in, 0o755)) //nolint:gosec // others must be let in
	lay(t, filepath.Join(in, "private"), os.ModeDir|0o700, ann, ann)
	lay(t, filepath.Join(in, "private/f"), 0o644, ann, ann)
	lay(t, filepath.Join(in, "team"), os.ModeDir|0o770, ann, devs)
	lay(t, filepath.Join(in, "team/f"), 0o640, ann, devs)
	lay(t, filepath.Join(in, "team/own"), 0o600, ann, devs)
	lay(t, filepath.Join(in, "sticky"), os.ModeDir|os.ModeSticky|0o777, 0, 0)
	lay(t, filepath.Join(in, "sticky/f"), 0o666, ann, ann)
	lay(t, filepath.Join(in, "passage"), os.ModeDir|0o711, 0, 0)
	lay(t, filepath.Join(in, "passage/f"), 0o644, 0, 0)
	for _, tt := range []struct {
		who  uint32
		what object.Access
		key  string
		let  bool
	}{
		{ann, object.Read, "private/f", true},
		{bob, object.Read, "private/f", false}, // the file lets him, the way to it does not
		{bob, object.Read, "private/none", false},
		{bob, object.Read, "none", true}, // which the operation says
		{bob, object.Read, "none/below", true},
		{ann, object.List, "private/", true},
		{bob, object.List, "private/", false},
		{bob, object.List, "priv", true}, // of the bucket's directory
		{bob, object.Read, "team/f", true},
		{eve, object.Read, "team/f", false},
		{bob, object.Change, "team/f", false},
		{ann, object.Change, "team/f", true},
		{bob, object.Read, "team/own", false},
		{bob, object.Replace, "team/own", true}, // by rename, as mv does
		{eve, object.Replace, "team/new", false},
		{bob, object.Replace, "team/deep/er/new", true},
		{eve, object.Replace, "team/deep/er/new", false},
		{bob, object.Replace, "new", false}, // the bucket's directory is root's
		{0, object.Replace, "new", true},
		{eve, object.Replace, "sticky/new", true},
		{eve, object.Replace, "sticky/f", false},
		{ann, object.Replace, "sticky/f", true},
		{eve, object.Change, "sticky/f", true},
		{eve, object.Read, "passage/f", true},
		{eve, object.List, "passage/", false},
		{eve, object.Replace, "", false}, // the bucket itself
		{0, object.Replace, "", true},
	} {
		err := s.Permit(t.Context(), person(tt.who), tt.what, ref(tt.key))
		if tt.let && err != nil || !tt.let && !errors.Is(err, object.AccessDenied) {
			t.Errorf("%d wants %d of %q: %v", tt.who, tt.what, tt.key, err)
		}
	}
	if err := s.Permit(t.Context(), person(eve), object.Replace, object.Ref{Bucket: "none", Key: "k"}); err != nil {
		t.Errorf("a bucket that is not there: %v", err)
	}
	list(t, filepath.Join(in, "team/own"), bob)
	if err := s.Permit(t.Context(), person(bob), object.Read, ref("team/own")); err != nil {
		t.Errorf("whom a list lets read: %v", err)
	}
}

func TestWhatIsJudgedIsTheFileThatIsOpen(t *testing.T) {
	s, dir := judged(t)
	path := filepath.Join(dir, bucket, "k")
	lay(t, path, 0o600, ann, ann)
	h, err := s.Open(t.Context(), ref("k"))
	must(t, err)
	defer func() { must(t, h.Close()) }()
	must(t, os.Remove(path))
	lay(t, path, 0o644, bob, bob)
	for who, let := range map[uint32]bool{ann: true, bob: false} {
		if err := h.(object.Judged).Permit(person(who)); let != (err == nil) || err != nil && !errors.Is(err, object.AccessDenied) {
			t.Errorf("%d: %v", who, err)
		}
	}
}

func TestWhoeverAsksStaysWhoHeIs(t *testing.T) {
	s, dir := judged(t)
	lay(t, filepath.Join(dir, bucket, "private"), os.ModeDir|0o700, ann, ann)
	for range rounds(100) {
		if err := s.Permit(t.Context(), person(eve), object.List, ref("private/")); !errors.Is(err, object.AccessDenied) {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(filepath.Join(dir, bucket, "private")); err != nil {
			t.Fatalf("root is refused: %v", err)
		}
	}
}

func TestWhereNobodyCanBeToldApartItIsSaid(t *testing.T) {
	s := open(t, config(t, vfs.NewMemory().Root()))
	if err := s.CanJudge(t.Context()); !errors.Is(err, object.InvalidRequest) {
		t.Error(err)
	}
}

func BenchmarkPermit(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	s := open(b, config(b, osRoot(b)))
	err := s.CreateBucket(b.Context(), object.Bucket{Name: bucket})
	if err == nil {
		err = putIn(b.Context(), s, "a/b/c/k", "x", nil)
	}
	for err == nil && b.Loop() {
		err = s.Permit(b.Context(), object.Person{}, object.List, ref("a/b/c/"))
	}
	if err != nil {
		b.Fatal(err)
	}
}
