package nasfs_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// names returns how many names a file has below a directory, and how many files there are
// below it.
func names(t *testing.T, dir vfs.Dir, inode uint64) (n, all int) {
	t.Helper()
	entries, err := dir.ReadDir()
	must(t, err)
	for _, e := range entries {
		if !e.Type.IsDir() {
			st, err := dir.Stat(e.Name)
			must(t, err)
			if all++; st.Ino == inode {
				n++
			}
			continue
		}
		below, err := dir.OpenDir(e.Name)
		must(t, err)
		some, more := names(t, below, inode)
		n, all = n+some, all+more
		must(t, below.Close())
	}
	return n, all
}

// TestAFileThatLosesItsNameKeepsOneForWhoIsSendingIt: on a file server that forgets a file with
// its last name, who replaces or deletes a large object leaves it a name for a quarter of a
// minute, and who sends it gives it one after five seconds, until he has sent it. Nothing of it
// remains.
func TestAFileThatLosesItsNameKeepsOneForWhoIsSendingIt(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, g *nasfs.Fleet, key string){
		"replaced": func(t *testing.T, g *nasfs.Fleet, key string) { must(t, putIn(t.Context(), g, key, "x", nil)) },
		"deleted":  func(t *testing.T, g *nasfs.Fleet, key string) { must(t, drop(t.Context(), g, ref(key), nil)) },
	} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprint(name, early), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { sentWhile(t, change, early) })
			})
		}
	}
}

// sentWhile has a gateway send an object which another one changes, before or after the first
// one has given its file a name.
func sentWhile(t *testing.T, change func(t *testing.T, g *nasfs.Fleet, key string), early bool) {
	m := vfs.NewMemory(vfs.WithoutXattr())
	w := newWorld(t, 2, func() nasfs.Config {
		cfg := config(t, m.Root())
		cfg.Metadata = nasfs.Sidecar
		return cfg
	})
	writer, reader := w.gateways[0], w.gateways[1]
	nasfs.IsStateless(writer)
	nasfs.IsStateless(reader)
	ctx, content := t.Context(), strings.Repeat("content ", 1<<15)
	must(t, writer.CreateBucket(ctx, object.Bucket{Name: bucket}))
	_, before := names(t, m.Root(), 0)
	must(t, putIn(ctx, writer, "k", content, nil))
	dir, err := m.Root().OpenDir(bucket)
	must(t, err)
	st, err := dir.Stat("k")
	must(t, err)
	must(t, dir.Close())
	named := func(when string, after time.Duration, want int) {
		time.Sleep(after)
		synctest.Wait()
		if n, _ := names(t, m.Root(), st.Ino); n != want {
			t.Errorf("%s the file has %d names, want %d", when, n, want)
		}
	}

	h, err := reader.Open(ctx, ref("k"))
	must(t, err)
	if early {
		change(t, writer, "k")
		named("when it has just lost its name", 0, 1)
		named("when it is sent for long", 6*time.Second, 2)
	} else {
		named("when it is sent for long", 6*time.Second, 2)
		change(t, writer, "k")
		named("when it has just lost its name", 0, 2)
	}
	named("when it is still being sent", 20*time.Second, 1)
	text, err := io.ReadAll(h.Range(0, h.Info().Size))
	if err != nil || string(text) != content {
		t.Errorf("%d bytes of it are read, %v", len(text), err)
	}
	must(t, h.Close())
	named("when it was sent", time.Second, 0)
	must(t, drop(ctx, writer, ref("k"), nil))
	if _, after := names(t, m.Root(), 0); after != before {
		t.Errorf("%d files remain, and there were %d before", after, before)
	}
}

// TestADownloadOfAFleetGoesOnWhateverOthersDo opens a large object at one gateway, and replaces
// or deletes it through another one before most of it is read.
func TestADownloadOfAFleetGoesOnWhateverOthersDo(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx, content := t.Context(), strings.Repeat("content ", 1<<19)
		for key, change := range map[string]func(g *nasfs.Fleet, key string) error{
			"replaced": func(g *nasfs.Fleet, key string) error { return putIn(ctx, g, key, "x", nil) },
			"deleted":  func(g *nasfs.Fleet, key string) error { return drop(ctx, g, ref(key), nil) },
		} {
			must(t, putIn(ctx, w.gateways[0], key, content, nil))
			h, err := w.gateways[1].Open(ctx, ref(key))
			must(t, err)
			body := h.Range(0, h.Info().Size)
			first := make([]byte, 1<<10)
			_, err = io.ReadFull(body, first)
			must(t, err)
			must(t, change(w.gateways[2], key))
			if os.Getenv("SHOAL_TEST_MOUNTS") != "" && !testing.Short() {
				time.Sleep(20 * time.Second) // until only a name that the reader has given it is left
			}
			rest, err := io.ReadAll(body)
			if err != nil || string(first)+string(rest) != content {
				t.Errorf("%s: %d of %d bytes are read, %v", key, len(first)+len(rest), len(content), err)
			}
			must(t, h.Close())
		}
	})
}
