package nasfs_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// TestAKeyIsMissingOnlyUnderItsLock: where a file is replaced in two steps, who
// looks in between finds nothing, and must not say so.
func TestAKeyIsMissingOnlyUnderItsLock(t *testing.T) {
	w := threeOn(t, "memory")
	reader := w.gateways[1]
	nasfs.HasGaps(reader)
	must(t, putIn(t.Context(), w.gateways[0], "k", "text", nil))
	for name, look := range map[string]func() error{
		"Stat": func() error { _, err := reader.Stat(t.Context(), ref("k")); return err },
		"Open": func() error {
			h, err := reader.Open(t.Context(), ref("k"))
			if err != nil {
				return err
			}
			return h.Close()
		},
		"Copy": func() error {
			_, err := reader.Copy(t.Context(), ref("k"), ref("copy"), object.CopyInput{})
			return err
		},
	} {
		writer, err := w.members[0].Acquire(t.Context(), lock.Exclusive, "o/"+bucket+"/k")
		must(t, err)
		var looked atomic.Bool
		remove := w.faults[1].Inject(func(c vfs.OpCall) error {
			if c.Op != vfs.OpOpen || c.Path != bucket+"/k" || looked.Swap(true) {
				return nil
			}
			writer.Release() // the second step is done
			return fs.ErrNotExist
		})
		if err := look(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		remove()
		if !looked.Load() {
			t.Errorf("%s did not look", name)
		}
	}
	_, err := reader.Stat(t.Context(), ref("none"))
	is(t, "what is missing", err, object.NoSuchKey)
}

// TestWhatIsReadIsWholeThoughItsFileGoesMeanwhile: a file server of NFSv3 keeps no file for
// who has it open, so one that another gateway has just replaced is gone. A small object is
// then read anew, and so is the source of a copy: at last under the key's lock.
func TestWhatIsReadIsWholeThoughItsFileGoesMeanwhile(t *testing.T) {
	w := threeOn(t, "memory")
	writer, reader := w.gateways[0], w.gateways[1]
	nasfs.IsStateless(reader)
	ctx := t.Context()
	for name, c := range map[string]struct {
		gone vfs.Op
		read func(key string) error
	}{
		"read":                     {vfs.OpRead, nil},
		"looked at":                {vfs.OpStatFile, nil},
		"copied":                   {vfs.OpCopy, func(key string) error { return copyOf(ctx, reader, key) }},
		"looked at when copied of": {vfs.OpStatFile, func(key string) error { return copyOf(ctx, reader, key) }},
	} {
		t.Run(name, func(t *testing.T) {
			var replaced int
			var locked atomic.Bool
			must(t, putIn(ctx, writer, name, "0", nil))
			w.table.asked = func(l *fakeLease, of string) {
				if l.mode == lock.Shared && of == "o/"+bucket+"/"+name {
					locked.Store(true) // nobody replaces it now
				}
			}
			remove := w.faults[1].Inject(func(call vfs.OpCall) error {
				if call.Op != c.gone || call.Op != vfs.OpCopy && call.Path != bucket+"/"+name || locked.Load() {
					return nil
				}
				replaced++
				must(t, putIn(ctx, writer, name, strconv.Itoa(replaced), nil))
				return syscall.ESTALE
			})
			var text string
			var err error
			if c.read == nil {
				text, _, err = read(ctx, reader, name)
			} else if err = c.read(name); err == nil {
				text, _, err = read(ctx, writer, name+" copy")
			}
			remove()
			if err != nil || text != strconv.Itoa(replaced) || replaced == 0 {
				t.Errorf("%q, %v, after it was replaced %d times", text, err, replaced)
			}
		})
	}
}

func copyOf(ctx context.Context, g *nasfs.Fleet, key string) error {
	_, err := g.Copy(ctx, ref(key), ref(key+" copy"), object.CopyInput{})
	return err
}

// TestARecordIsMissingOnlyOfTheFileThatIsThere: where a file that is replaced is gone, its
// inode may be that of its successor, which is told apart by size and time.
func TestARecordIsMissingOnlyOfTheFileThatIsThere(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, 1, func() nasfs.Config {
		root, err := vfs.OpenRoot(dir)
		must(t, err)
		t.Cleanup(func() { _ = root.Close() }) // it has nothing to lose
		cfg := config(t, root)
		cfg.Metadata = nasfs.Sidecar
		return cfg
	})
	nasfs.IsStateless(w.gateways[0])
	must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	path := filepath.Join(dir, bucket, "k")
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	var once sync.Once
	defer w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpStat && c.Path == bucket+"/k" {
			once.Do(func() { must(t, os.WriteFile(path, []byte("successor"), 0o600)) })
		}
		return nil
	})()
	info, err := w.gateways[0].Stat(t.Context(), ref("k"))
	if err != nil || info.Size != int64(len("successor")) {
		t.Errorf("%d bytes, %v", info.Size, err)
	}
}
