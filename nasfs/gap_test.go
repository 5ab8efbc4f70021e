package nasfs_test

import (
	"io/fs"
	"sync/atomic"
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
