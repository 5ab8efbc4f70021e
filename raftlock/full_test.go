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

// A gateway on storage that was made read-only says so as soon as its session is over, and goes on
// when it can.
func TestANodeKnowsThatItsStorageIsReadOnly(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		var told atomic.Int64
		w.log = slog.New(counter{text: "its storage must be writable", count: &told})
		p := w.start("a")
		w.whole(t)
		mend := p.storage.Inject(func(c vfs.OpCall) error {
			switch c.Op {
			case vfs.OpCreate, vfs.OpWrite, vfs.OpMkdir, vfs.OpRename, vfs.OpRemove, vfs.OpRmdir:
				return syscall.EROFS
			}
			return nil
		})
		eventually(t, "it is not ready", 10*time.Second, func() bool { return p.node.Ready() != nil })
		if err := p.node.Ready(); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "the storage is read-only") {
			t.Errorf("it is not ready since: %v", err)
		}
		time.Sleep(time.Minute)
		if err := p.node.Refused(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("a minute later: %v", err)
		}
		if told.Load() == 0 {
			t.Error("the log does not say so")
		}
		mend()
		eventually(t, "it is ready", 10*time.Second, func() bool { return p.node.Ready() == nil })
		if err := p.node.Refused(); err != nil {
			t.Errorf("in a session: %v", err)
		}
	})
}

// A gateway that is kept from its own directory says so, refuses what needs a session, and goes on when it is let in.
func TestANodeKnowsThatItsStorageDoesNotLetItIn(t *testing.T) {
	for _, refusal := range []error{syscall.EACCES, syscall.EPERM} {
		t.Run(refusal.Error(), func(t *testing.T) {
			inWorld(t, 0, func(t *testing.T, w *world) {
				var told, port atomic.Int64
				w.log = slog.New(slog.NewMultiHandler(counter{text: "must be allowed to use .shoal.sys", count: &told}, counter{text: "the cluster port", count: &port}))
				p := w.start("a")
				w.whole(t)
				mend := p.storage.Inject(func(vfs.OpCall) error { return refusal })
				eventually(t, "it is not ready", 10*time.Second, func() bool { return p.node.Ready() != nil })
				for range 60 {
					time.Sleep(time.Second)
					if err := p.node.Refused(); !errors.Is(err, refusal) || !errors.Is(p.node.Ready(), refusal) {
						t.Fatalf("refused: %v, not ready: %v", err, p.node.Ready())
					}
				}
				if told.Load() == 0 || port.Load() > 0 {
					t.Errorf("the log tells of permissions %d times, of the port %d times", told.Load(), port.Load())
				}
				mend()
				eventually(t, "it is ready", 10*time.Second, func() bool { return p.node.Ready() == nil })
				if err := p.node.Refused(); err != nil {
					t.Errorf("in a session: %v", err)
				}
			})
		})
	}
}

// While others elect a leader, or storage is out of reach, it is not known that there can be no session.
func TestAnOutageIsNoRefusal(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		leader, others := w.leader(t)
		defer others[0].storage.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpMkdir {
				return syscall.EIO
			}
			return nil
		})()
		w.crash(leader)
		for range 200 {
			if err := others[0].node.Refused(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func TestWhoIsRefusedIsToldOfTheSecret(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		var port, secret atomic.Int64
		w.log = slog.New(slog.NewMultiHandler(counter{text: "the cluster port must be open", count: &port}, counter{text: "SHOAL_CLUSTER_SECRET", count: &secret}))
		w.strange = "b"
		w.start("b")
		time.Sleep(time.Minute)
		if port.Load() > 0 || secret.Load() == 0 {
			t.Errorf("told of the port %d times, of the secret %d times", port.Load(), secret.Load())
		}
	})
}
