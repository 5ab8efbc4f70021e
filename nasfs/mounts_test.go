package nasfs_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// mounted is the kind of trees on a file server. There are some if
// SHOAL_TEST_MOUNTS names directories, separated by ':', where clients of one
// have mounted it.
const mounted = "mounted"

// mountedTree makes a directory on the file server, and returns what configures a
// gateway on it, at each of its clients in turn.
func mountedTree(t *testing.T) func() nasfs.Config {
	t.Helper()
	clients := strings.Split(os.Getenv("SHOAL_TEST_MOUNTS"), ":")
	first, err := os.MkdirTemp(clients[0], "tree-")
	must(t, err)
	at := func(i int, how vfs.Sharing) vfs.Dir {
		root, err := vfs.OpenShared(filepath.Join(clients[i%len(clients)], filepath.Base(first)), how)
		must(t, err)
		t.Cleanup(func() { _ = root.Close() }) // it has nothing to lose
		return root
	}
	byTime, turn := false, 0
	for i := range clients {
		byTime = byTime || vfs.SeesByTime(at(i, vfs.Sharing{}))
	}
	return func() nasfs.Config {
		cfg := config(t, at(turn, vfs.Sharing{ByTime: func() bool { return byTime }}))
		turn++
		if byTime {
			cfg.Metadata = nasfs.Sidecar // which is all that NFSv3 has
		}
		return cfg
	}
}

// sharedTree is mountedTree for a fleet, which no test has where gateways route.
func sharedTree(t *testing.T) func() nasfs.Config {
	t.Helper()
	next := mountedTree(t)
	if _, routed := vfs.IsRouted(next().Root); routed {
		t.Skip("gateways route here")
	}
	return next
}

// withMounted adds that kind of tree, where there are such.
func withMounted[T any](kinds map[string]func(t *testing.T) T, kind func(t *testing.T) T) map[string]func(t *testing.T) T {
	if os.Getenv("SHOAL_TEST_MOUNTS") != "" {
		kinds[mounted] = kind
	}
	return kinds
}

// TestAFileThatSomebodyLinkedKeepsItsRecord deletes one of a file's two names, which is
// known from a listing only: there it has one link to a client of SMB.
func TestAFileThatSomebodyLinkedKeepsItsRecord(t *testing.T) {
	if os.Getenv("SHOAL_TEST_MOUNTS") == "" {
		t.Skip("no mounts of a file server")
	}
	ctx := t.Context()
	next := mountedTree(t)
	s, err := nasfs.Open(next())
	must(t, err)
	must(t, s.CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, s, "k", "content", nil))
	_, want, err := read(ctx, s, "k")
	must(t, err)
	must(t, s.Close())
	dir, err := next().Root.OpenDir(bucket)
	must(t, err)
	must(t, dir.Link("k", dir, "other"))
	must(t, dir.Close())

	cfg := next()
	s = open(t, cfg)
	dir, err = cfg.Root.OpenDir(bucket)
	must(t, err)
	_, err = dir.ReadDir()
	must(t, err)
	must(t, dir.Close())
	must(t, drop(ctx, s, ref("k"), nil))
	if _, etag, err := read(ctx, s, "other"); err != nil || etag != want {
		t.Errorf("its other name has the ETag %s, %v; it was put with %s", etag, err, want)
	}
}

// TestADownloadGoesOnWhateverBecomesOfItsObject opens an object that is then deleted, or
// makes way for a key below it, and can be opened again meanwhile.
func TestADownloadGoesOnWhateverBecomesOfItsObject(t *testing.T) {
	if os.Getenv("SHOAL_TEST_MOUNTS") == "" {
		t.Skip("no mounts of a file server")
	}
	ctx := t.Context()
	s := open(t, mountedTree(t)())
	must(t, s.CreateBucket(ctx, object.Bucket{Name: bucket}))
	content := strings.Repeat("content ", 1<<17)
	for _, key := range []string{"deleted", "above"} {
		must(t, putIn(ctx, s, key, content, nil))
		h, err := s.Open(ctx, ref(key))
		must(t, err)
		if key == "deleted" {
			must(t, drop(ctx, s, ref(key), nil))
		} else {
			must(t, putIn(ctx, s, key+"/below", "x", nil))
			if text, _, err := read(ctx, s, key); err != nil || text != content {
				t.Errorf("the object that is open is read again as %d bytes, %v", len(text), err)
			}
		}
		got, err := io.ReadAll(h.Range(0, h.Info().Size))
		if err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
		must(t, h.Close())
	}
}
