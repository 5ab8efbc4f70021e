package raftlock

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// fill has the storage take nothing new for whoever is in a world, until it is mended.
func (w *world) fill(refusal error) (mend func()) {
	var mends []func()
	for _, p := range w.running {
		mends = append(mends, p.storage.Inject(func(c vfs.OpCall) error {
			if (c.Op == vfs.OpCreate || c.Op == vfs.OpWrite) && strings.HasPrefix(path.Base(c.Path), "settings-") {
				return refusal
			}
			return nil
		}))
	}
	return func() {
		for _, f := range mends {
			f()
		}
	}
}

// setFrom sets the setting of a name to itself, and says how long that took.
func setFrom(t *testing.T, p *process, name string) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	_, err := p.node.Set(ctx, Change{Name: name, Value: []byte(name)})
	return time.Since(begun), err
}

// What is set on a storage that takes nothing is refused at once and never made, but for the change by
// which that is found out: that one is agreed already, so it is said that nothing is known of it.
func TestASettingIsRefusedAtOnceWhereTheStorageTakesNothing(t *testing.T) {
	for _, refusal := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		t.Run(refusal.Error(), func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				leader, others := w.leader(t)
				mend := w.fill(refusal)
				took, err := setFrom(t, others[0], "first")
				if !errors.Is(err, ErrUnknown) || !errors.Is(err, refusal) || took > time.Second {
					t.Errorf("the first after %v: %v", took, err)
				}
				for _, p := range []*process{leader, others[0]} {
					took, err := setFrom(t, p, "refused")
					if errors.Is(err, ErrUnknown) || !errors.Is(err, refusal) || took > time.Second {
						t.Errorf("another one after %v: %v", took, err)
					}
				}
				mend()
				if took, err := setFrom(t, others[0], "later"); err != nil || took > time.Second {
					t.Errorf("with room again after %v: %v", took, err)
				}
				known, _, err := leader.node.loadSettings(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]bool{"first": true, "refused": false, "later": true} {
					if _, there := known.state.Settings[name]; there != want {
						t.Errorf("%s is saved: %v", name, there)
					}
					for _, p := range []*process{leader, others[0]} {
						if _, there := p.node.Get(name); there != want {
							t.Errorf("%s is in force on %s: %v", name, p.name, there)
						}
					}
				}
			})
		})
	}
}

// counter counts what is logged of a text.
type counter struct {
	slog.Handler
	text  string
	count *atomic.Int64
}

func (c counter) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, c.text) {
		c.count.Add(1)
	}
	return nil
}
func (c counter) Enabled(context.Context, slog.Level) bool { return true }
func (c counter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counter) WithGroup(string) slog.Handler            { return c }

func TestAFullStorageIsAskedAndLoggedNowAndThen(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		var waits, again atomic.Int64
		w.log = slog.New(slog.NewMultiHandler(counter{text: "changes wait", count: &waits}, counter{text: "saved again", count: &again}))
		w.start("a")
		w.whole(t)
		leader, _ := w.leader(t)
		mend := w.fill(syscall.ENOSPC)
		_, _ = setFrom(t, leader, "x")
		before := leader.storage.Calls(vfs.OpCreate)
		time.Sleep(10*time.Minute - time.Second)
		if n := leader.storage.Calls(vfs.OpCreate) - before; n > 400 { // the announcements are among them
			t.Errorf("%d files were begun in ten minutes", n)
		}
		if n := waits.Load(); n != 10 {
			t.Errorf("logged %d times in ten minutes", n)
		}
		mend()
		time.Sleep(2 * saveAgainMost)
		if n := again.Load(); n != 1 {
			t.Errorf("logged %d times that it is over", n)
		}
	})
}
