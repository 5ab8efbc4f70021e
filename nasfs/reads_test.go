package nasfs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// TestWhatIsReadIsOpenedThroughTheMountForReading: a file that is open through the
// mount for changes could not be replaced in one step.
func TestWhatIsReadIsOpenedThroughTheMountForReading(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	var reads []*vfs.Fault
	w := newWorld(t, 2, func() nasfs.Config {
		cfg := config(t, m.Root())
		reads = append(reads, vfs.NewFault(m.Root()))
		cfg.ReadRoot = reads[len(reads)-1].Root()
		return cfg
	})
	f := w.gateways[0]
	must(t, f.CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, f, "dir/k", "old", nil))
	_, err := f.Update(ctx, ref("dir/k"), func(m *object.Meta) error { m.LegalHold = object.LegalHoldOn; return nil })
	must(t, err)
	defer w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpOpen && !strings.HasPrefix(c.Path, ".shoal.sys/buckets") {
			t.Errorf("%s was opened through the mount for changes", c.Path)
		}
		return nil
	})()
	text, _, err := read(ctx, f, "dir/k")
	info, stat := f.Stat(ctx, ref("dir/k"))
	page, listed := f.List(ctx, object.Query{Bucket: bucket, Limit: 2})
	if must(t, errors.Join(err, stat, listed)); text != "old" || info.Meta.LegalHold != object.LegalHoldOn || len(page.Objects) != 1 {
		t.Errorf("read %q, %+v, %+v", text, info, page)
	}
	must(t, putIn(ctx, f, "dir/k", "new", func(*object.Info) error { return nil }))
	if text, _, err := read(ctx, f, "dir/k"); err != nil || text != "new" {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestAMountForReadingThatShowsSomethingElseIsRefused(t *testing.T) {
	for name, other := range map[string]func(t *testing.T) vfs.Dir{
		"an empty directory": func(*testing.T) vfs.Dir { return vfs.NewMemory().Root() },
		"another tree": func(t *testing.T) vfs.Dir {
			m := vfs.NewMemory()
			s, err := nasfs.Open(config(t, m.Root()))
			must(t, err)
			must(t, s.Close())
			return m.Root()
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, vfs.NewMemory().Root())
			cfg.ReadRoot = other(t)
			if _, err := nasfs.Open(cfg); !errors.Is(err, nasfs.ErrOtherTree) {
				t.Errorf("%v", err)
			}
		})
	}
}
