package mount_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

func TestASessionBeginsOnceAndOnlyInItsGeneration(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m := open(t, root())
		wantErr(t, "begin before a claim", m.Begin(t.Context(), 1, "a"), mount.ErrOver)
		must(t, m.Claim(t.Context(), 1, "node"))
		must(t, m.Begin(t.Context(), 1, "a"))
		wantErr(t, "begin again", m.Begin(t.Context(), 1, "a"), fs.ErrExist)
		wantErr(t, "begin in the next generation", m.Begin(t.Context(), 2, "a"), mount.ErrOver)
		must(t, m.Claim(t.Context(), 2, "node"))
		wantErr(t, "begin in the last generation", m.Begin(t.Context(), 1, "b"), mount.ErrOver)
		if got := names(t, root(), systemDir+"/sessions"); !slices.Equal(got, []string{"00000002"}) {
			t.Errorf("roots: %q", got)
		}
	})
}

func TestAFencedSessionCommitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, tree := open(t, root()), root()
		must(t, m.Claim(t.Context(), 1, "node"))
		dead, other := begin(t, m, tree, 1, "dead"), begin(t, m, tree, 1, "other")
		must(t, dead.stage("b"))
		must(t, dead.commit("b"))
		must(t, other.stage("object")) // which wantDead wants to delete
		must(t, other.handle.Rename("object", tree, "object"))
		for range 3 {
			must(t, m.Fence(t.Context(), 1, "dead"))
			dead.wantDead(t, m)
		}
		must(t, other.commit("staged"))
		must(t, m.Fence(t.Context(), 1, "never begun"[:5]))
		must(t, m.Fence(t.Context(), 9, "of-no-generation"))
	})
}

// TestWhoIsFencedCannotProveOtherwise is on each kind of storage, among them one
// that shows for ever what it has shown once.
func TestWhoIsFencedCannotProveOtherwise(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, stale := open(t, root()), open(t, newClient(root()))
		must(t, m.Claim(t.Context(), 1, "node"))
		must(t, m.Begin(t.Context(), 1, "session"))
		must(t, stale.Prove(t.Context(), 1, "session"))
		must(t, m.Fence(t.Context(), 1, "session"))
		wantErr(t, "prove after the fence", stale.Prove(t.Context(), 1, "session"), mount.ErrOver)
		wantErr(t, "prove in no generation", m.Prove(t.Context(), 9, "session"), mount.ErrOver)
		if err := m.Prove(t.Context(), 1, "../1"); err == nil {
			t.Error("a path was taken for a session")
		}
	})
}

func TestManyFenceOneSession(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, tree := open(t, root()), root()
		must(t, m.Claim(t.Context(), 1, "node"))
		for round := range rounds(30) {
			s := begin(t, m, tree, 1, fmt.Sprint("s", round))
			for i := range 20 {
				must(t, s.stage(fmt.Sprint("f", i)))
			}
			var group sync.WaitGroup
			for range 4 {
				fencer := open(t, root())
				group.Go(func() {
					if err := fencer.Fence(t.Context(), 1, s.dir); err != nil {
						t.Error(err)
					}
					if s.stage("late") == nil || s.commit("f1") == nil {
						t.Error("not fenced when a fence returned")
					}
				})
			}
			group.Wait()
		}
	})
}

// A process that does not know yet that it is dead goes on making files.
func TestAFenceWinsAgainstAStormOfNewFiles(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, tree := open(t, root()), root()
		must(t, m.Claim(t.Context(), 1, "node"))
		for round := range rounds(3) {
			s := begin(t, m, tree, 1, fmt.Sprint("s", round))
			for i := range 1000 {
				must(t, s.stage(fmt.Sprint("f", i)))
			}
			var fenced atomic.Bool
			var group sync.WaitGroup
			for zombie := range 2 {
				group.Go(func() {
					for n := 0; ; n++ {
						before := fenced.Load()
						name := fmt.Sprintf("z%d-%d", zombie, n)
						if s.stage(name) != nil {
							return
						}
						if before {
							t.Error("a file was staged after the fence")
							return
						}
						if n%16 == 0 && s.commit(name) == nil && before {
							t.Error("a file was committed after the fence")
						}
					}
				})
			}
			must(t, m.Fence(t.Context(), 1, s.dir))
			fenced.Store(true)
			group.Wait()
			s.wantDead(t, m)
		}
	})
}

func TestAFenceEndsWithItsContext(t *testing.T) {
	sc := newScene(t)
	// The kernel keeps a file that a process of the same machine has open.
	sc.fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpRemove {
			return syscall.EBUSY
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	removes := sc.fault.Calls(vfs.OpRemove)
	done := make(chan error, 1)
	go func() { done <- sc.bad.Fence(ctx, 1, "old") }()
	for sc.fault.Calls(vfs.OpRemove) < removes+3 {
		// it tries again
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("fenced what cannot be emptied")
	}
	must(t, sc.old.commit("staged"))
}

func TestAFenceThatNobodyWaitsForBeginsNothingFurther(t *testing.T) {
	sc := newScene(t)
	const files = 100
	for i := range files {
		must(t, sc.old.stage(fmt.Sprint("f", i)))
	}
	hang := sc.fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpRemove })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sc.bad.Fence(ctx, 1, "old") }()
	<-hang.Reached()
	cancel()
	wantErr(t, "fence", <-done, vfs.ErrHung)
	hang.Release()
	for !mount.Idle(sc.bad) {
		runtime.Gosched()
	}
	if left := names(t, sc.old.to, sessionPath(1, "old")); len(left) < files/2 {
		t.Errorf("%d files of %d are left", len(left), files)
	}
}

func TestAFenceGetsOnWhenAFileIsClosed(t *testing.T) {
	sc := newScene(t)
	var tries atomic.Int64
	sc.fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpRemove && tries.Add(1) <= 3 {
			return syscall.EBUSY
		}
		return nil
	})
	must(t, sc.bad.Fence(t.Context(), 1, "old"))
	sc.old.wantDead(t, sc.good)
}

func TestAFenceNeedsNoRoom(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		sc := newScene(t)
		sc.fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpMkdir || c.Op == vfs.OpCreate || c.Op == vfs.OpWrite {
				return full
			}
			return nil
		})
		must(t, sc.bad.Fence(t.Context(), 1, "old"))
		sc.old.wantDead(t, sc.good)
	}
}

func TestAFenceThatFailsSaysSo(t *testing.T) {
	broken := errors.New("broken")
	probe := newScene(t)
	total := calls(probe.fault, func() { must(t, probe.bad.Fence(t.Context(), 1, "old")) })
	for n := range total {
		sc := newScene(t)
		reached := nth(n)
		sc.fault.Inject(func(c vfs.OpCall) error {
			if reached() && c.Op != vfs.OpCloseDir {
				return broken
			}
			return nil
		})
		if err := sc.bad.Fence(t.Context(), 1, "old"); err == nil {
			sc.old.wantDead(t, sc.good)
		}
		must(t, sc.good.Fence(t.Context(), 1, "old"))
		sc.old.wantDead(t, sc.good)
	}
}

// Somebody may replace a file by a directory just as the file is moved into a
// session to be deleted.
func TestADirectoryCaughtInASessionIsKept(t *testing.T) {
	for _, how := range []string{"fence", "claim"} {
		t.Run(how, func(t *testing.T) {
			onEach(t, func(t *testing.T, root func() vfs.Dir) {
				var log bytes.Buffer
				m, err := mount.Open(t.Context(), root(), slog.New(slog.NewTextHandler(&log, nil)))
				must(t, err)
				defer m.Close()
				tree := root()
				must(t, m.Claim(t.Context(), 1, "node"))
				for i, dir := range []string{"a", "a.b"} {
					s := begin(t, m, tree, 1, dir)
					for _, caught := range []string{"caught", "b.caught", "empty"} {
						must(t, tree.Mkdir(caught, 0o755))
						if caught != "empty" {
							must(t, tree.Mkdir(caught+"/below", 0o755))
							write(t, tree, caught+"/below/file", fmt.Sprint(i), 0o644)
						}
						must(t, tree.Rename(caught, s.handle, caught))
					}
				}
				if how == "fence" {
					must(t, m.Fence(t.Context(), 1, "a"))
					must(t, m.Fence(t.Context(), 1, "a.b"))
				} else {
					must(t, m.Claim(t.Context(), 2, "node"))
				}
				kept := names(t, tree, systemDir+"/lost+found")
				// "a" + "b.caught" and "a.b" + "caught" would be one name.
				if len(kept) != 6 || !slices.Contains(kept, "a.caught") || !slices.Contains(kept, "a.b.caught") {
					t.Errorf("kept: %q", kept)
				}
				files := 0
				for _, name := range kept {
					if _, err := tree.Stat(systemDir + "/lost+found/" + name + "/below/file"); err == nil {
						files++
					}
					if !strings.Contains(log.String(), name) {
						t.Errorf("%s is not in the log", name)
					}
				}
				if files != 4 {
					t.Errorf("%d of 4 files are kept", files)
				}
			})
		})
	}
}

func TestAClaimFencesWhateverLiesAmongTheSessions(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, tree := open(t, root()), root()
		must(t, m.Claim(t.Context(), 1, "node"))
		s := begin(t, m, tree, 1, "dead")
		write(t, tree, systemDir+"/sessions/00000001/stray", "x", 0o600)
		write(t, tree, systemDir+"/fleet/gen/00000001/stray", "x", 0o600)
		must(t, tree.Mkdir(systemDir+"/sessions/other", 0o700))
		must(t, tree.Mkdir(systemDir+"/fleet/gen/other", 0o700))
		must(t, m.Claim(t.Context(), 2, "node"))
		s.wantDead(t, m)
		wantAlive(t, m, 2)
		for _, path := range []string{"/sessions", "/fleet/gen"} {
			if got := names(t, tree, systemDir+path); !slices.Equal(got, []string{"00000002", "other"}) {
				t.Errorf("%s: %q", path, got)
			}
		}
	})
}
