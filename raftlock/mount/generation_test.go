package mount_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

func TestAGenerationLivesFromClaimToEnd(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m := open(t, root())
		newest := func(want mount.Generation) {
			t.Helper()
			if got, err := m.Newest(t.Context()); err != nil || got != want {
				t.Errorf("%+v, %v, not %+v", got, err, want)
			}
		}
		newest(mount.Generation{})
		wantOver(t, m, 1)
		must(t, m.Claim(t.Context(), 1, "node-a"))
		newest(mount.Generation{Number: 1, Claimant: "node-a"})
		for n := range 3 {
			must(t, m.Renew(t.Context(), 1))
			newest(mount.Generation{Number: 1, Claimant: "node-a", Pulse: fmt.Sprintf("%016x", n+1)})
		}
		if live := names(t, root(), systemDir+"/fleet/gen/00000001/live"); len(live) != 1 {
			t.Errorf("renewals that are left: %q", live)
		}
		must(t, m.End(t.Context(), 1))
		newest(mount.Generation{Number: 1, Claimant: "node-a", Closed: true})
		wantErr(t, "renew", m.Renew(t.Context(), 1), mount.ErrOver)
		must(t, m.Claim(t.Context(), 2, "node-b"))
		newest(mount.Generation{Number: 2, Claimant: "node-b"})
		wantErr(t, "end", m.End(t.Context(), 1), mount.ErrOver)
		if gens := names(t, root(), systemDir+"/fleet/gen"); !slices.Equal(gens, []string{"00000002"}) {
			t.Errorf("generations that are left: %q", gens)
		}
		if roots := names(t, root(), systemDir+"/sessions"); !slices.Equal(roots, []string{"00000002"}) {
			t.Errorf("roots of sessions that are left: %q", roots)
		}
	})
}

func TestADamagedRecordOfAGenerationStandsInNobodysWay(t *testing.T) {
	mem := vfs.NewMemory()
	m := open(t, mem.Root())
	must(t, m.Claim(t.Context(), 1, "node"))
	write(t, mem.Root(), systemDir+"/fleet/gen/00000001/boot.json", "nonsense", 0o600)
	if g, err := m.Newest(t.Context()); err != nil || g != (mount.Generation{Number: 1}) {
		t.Errorf("%+v, %v", g, err)
	}
	must(t, m.Claim(t.Context(), 2, "node"))
	wantAlive(t, m, 2)
}

func TestOneOfManyClaimantsWins(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		const claimants = 16
		var nodes [claimants]*mount.Mount
		for i := range nodes {
			nodes[i] = open(t, root())
		}
		for round := range uint32(rounds(300)) { //nolint:gosec // 300 at most
			var winner atomic.Int32
			var group sync.WaitGroup
			for i, m := range nodes {
				group.Go(func() {
					switch err := m.Claim(t.Context(), round+1, fmt.Sprint("node-", i)); {
					case err == nil:
						winner.Add(int32(1000 + i))
					case !errors.Is(err, mount.ErrTaken):
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			group.Wait()
			w := winner.Load() - 1000
			g, err := nodes[0].Newest(t.Context())
			if err != nil || w < 0 || w >= claimants || g.Claimant != fmt.Sprint("node-", w) {
				t.Fatalf("round %d: winners %d, newest %+v, %v", round, w, g, err)
			}
		}
	})
}

func TestANumberThatIsOverIsNotClaimedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m := open(t, root())
		for number := range uint32(3) {
			must(t, m.Claim(t.Context(), number+1, "node"))
		}
		for _, number := range []uint32{1, 2, 3} {
			wantErr(t, fmt.Sprint("claim ", number), m.Claim(t.Context(), number, "late"), mount.ErrTaken)
		}
		if err := m.Claim(t.Context(), 0, "node"); err == nil {
			t.Error("number 0 was claimed")
		}
		if gens := names(t, root(), systemDir+"/fleet/gen"); !slices.Equal(gens, []string{"00000003"}) {
			t.Errorf("generations: %q", gens)
		}
		wantAlive(t, m, 3)
	})
}

func TestALeaderGoesOnAfterARenewalOfAnother(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		a, b := open(t, root()), open(t, root())
		must(t, a.Claim(t.Context(), 1, "node"))
		last := ""
		for range 5 {
			must(t, a.Renew(t.Context(), 1))
			must(t, b.Renew(t.Context(), 1))
			g, err := b.Newest(t.Context())
			must(t, err)
			if g.Pulse <= last {
				t.Errorf("pulse %q after %q", g.Pulse, last)
			}
			last = g.Pulse
		}
	})
}

// calls counts how many file system calls something takes, to have each of them
// be the one where it stops.
func calls(fault *vfs.Fault, do func()) int {
	before := fault.Total()
	do()
	return fault.Total() - before
}

// nth returns a match of the n-th call from now on, counted from 0, and of all
// later ones.
func nth(n int) func() bool {
	var count atomic.Int64
	return func() bool { return count.Add(1) > int64(n) }
}

// scene is a generation with a session in it, and nodes that have a Mount of
// their own, of which one's file system can be made to fail.
type scene struct {
	fault     *vfs.Fault
	bad, good *mount.Mount
	old       *session
}

func newScene(t *testing.T) *scene { return sceneOn(t, vfs.NewMemory().Root) }

func sceneOn(t *testing.T, root func() vfs.Dir) *scene {
	sc := &scene{fault: vfs.NewFault(root()), good: open(t, root())}
	sc.bad = open(t, sc.fault.Root())
	must(t, sc.good.Claim(t.Context(), 1, "first"))
	must(t, sc.good.Renew(t.Context(), 1))
	sc.old = begin(t, sc.good, root(), 1, "old")
	return sc
}

// onScenes runs a test that takes many scenes, in memory and, as onEach, on a network
// file system, where its nodes are clients of their own.
func onScenes(t *testing.T, test func(t *testing.T, next func(t *testing.T) *scene)) {
	t.Run("memory", func(t *testing.T) { test(t, newScene) })
	if clients() != nil {
		t.Run("network", func(t *testing.T) {
			test(t, func(t *testing.T) *scene { return sceneOn(t, networkRoots(t)) })
		})
	}
}

// claimCalls returns how many calls the claim of generation 2 takes in a scene.
func claimCalls(t *testing.T, sc *scene) int {
	return calls(sc.fault, func() { must(t, sc.bad.Claim(t.Context(), 2, "bad")) })
}

// wantNext claims the next generation and checks that it is the only one. A node whose
// client of NFSv3 shows an older one as the newest is told that the next is taken, and
// looks again.
func (sc *scene) wantNext(t *testing.T) {
	t.Helper()
	var g mount.Generation
	var err error
	for range 10 {
		g, err = sc.good.Newest(t.Context())
		must(t, err)
		if err = sc.good.Claim(t.Context(), g.Number+1, "good"); !errors.Is(err, mount.ErrTaken) {
			break
		}
	}
	must(t, err)
	sc.old.wantDead(t, sc.good)
	for number := range g.Number {
		wantOver(t, sc.good, number+1)
	}
	wantOver(t, sc.good, g.Number)
	wantAlive(t, sc.good, g.Number+1)
}

func TestTheNextGenerationFormsWhereverAClaimantDies(t *testing.T) {
	died := errors.New("died")
	onScenes(t, func(t *testing.T, next func(t *testing.T) *scene) {
		total := claimCalls(t, next(t))
		if total < 20 {
			t.Fatalf("a claim takes %d calls", total)
		}
		for n := 0; n < total; n += stride() {
			for _, after := range []bool{false, true} {
				sc := next(t)
				if after {
					// The n-th call is made, and no other.
					sc.fault.Inject(failing(n+1, died))
					sc.fault.InjectAfter(failing(n, died))
				} else {
					sc.fault.Inject(failing(n, died))
				}
				_ = sc.bad.Claim(t.Context(), 2, "bad") // it may have been done but for closing things
				sc.wantNext(t)
				if t.Failed() {
					t.Fatalf("after call %d of %d, carried out: %v", n, total, after)
				}
			}
		}
	})
}

// stride is by how many calls a test that goes through them goes on: with -short by three.
func stride() int {
	if testing.Short() {
		return 3
	}
	return 1
}

// failing has the n-th call and all later ones fail.
func failing(n int, err error) func(vfs.OpCall) error {
	reached := nth(n)
	return func(vfs.OpCall) error {
		if reached() {
			return err
		}
		return nil
	}
}

func TestAClaimantThatIsHeldUpBringsNothingToLife(t *testing.T) {
	total := claimCalls(t, newScene(t))
	for n := range total {
		sc := newScene(t)
		reached := nth(n)
		hang := sc.fault.Hang(func(vfs.OpCall) bool { return reached() })
		done := make(chan error, 1)
		go func() { done <- sc.bad.Claim(t.Context(), 2, "bad") }()
		<-hang.Reached()
		g, err := sc.good.Newest(t.Context())
		must(t, err)
		for g.Number < 4 {
			must(t, sc.good.Claim(t.Context(), g.Number+1, "good"))
			g.Number++
		}
		hang.Release()
		<-done
		sc.old.wantDead(t, sc.good)
		for number := range uint32(3) {
			wantOver(t, sc.good, number+1)
		}
		wantAlive(t, sc.good, 4)
		if t.Failed() {
			t.Fatalf("held up at call %d of %d", n, total)
		}
	}
}

func TestAnOldLeaderThatIsHeldUpAcrossAClaimDoesNothingMore(t *testing.T) {
	onScenes(t, func(t *testing.T, next func(t *testing.T) *scene) {
		for name, act := range map[string]func(ctx context.Context, m *mount.Mount) error{
			"renew":    func(ctx context.Context, m *mount.Mount) error { return m.Renew(ctx, 1) },
			"save":     func(ctx context.Context, m *mount.Mount) error { return m.SaveChange(ctx, 1, "old", 7, []byte("late")) },
			"save all": func(ctx context.Context, m *mount.Mount) error { return m.SaveAll(ctx, 1, "old", 7, []byte("late")) },
			"begin":    func(ctx context.Context, m *mount.Mount) error { return m.Begin(ctx, 1, "another") },
		} {
			t.Run(name, func(t *testing.T) {
				probe := next(t)
				total := calls(probe.fault, func() { must(t, act(t.Context(), probe.bad)) })
				for n := 0; n < total; n += stride() {
					heldUp(t, next(t), n, act)
				}
			})
		}
	})
}

// heldUp has a leader act, who is held up in his n-th call until the next generation
// was claimed.
func heldUp(t *testing.T, sc *scene, n int, act func(ctx context.Context, m *mount.Mount) error) {
	t.Helper()
	reached := nth(n)
	hang := sc.fault.Hang(func(vfs.OpCall) bool { return reached() })
	done := make(chan error, 1)
	go func() { done <- act(t.Context(), sc.bad) }()
	<-hang.Reached()
	must(t, sc.good.Claim(t.Context(), 2, "good"))
	before, err := sc.good.Load(t.Context())
	must(t, err)
	hang.Release()
	late := <-done
	after, err := sc.good.Load(t.Context())
	must(t, err)
	if !reflect.DeepEqual(before, after) {
		t.Errorf("held up at call %d: settings changed after the claim: %v", n, late)
	}
	if late != nil {
		wantErr(t, fmt.Sprint("held up at call ", n), late, mount.ErrOver)
	}
	wantOver(t, sc.good, 1)
	sc.old.wantDead(t, sc.good)
	wantAlive(t, sc.good, 2)
}

// Nodes claim against each other, and each commits for as long as it can: none
// does so after a later claim was over.
func TestNothingIsCommittedAfterALaterClaim(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		const nodes, last = 6, 40
		var newest atomic.Uint32
		var commits, refused atomic.Int64
		var group sync.WaitGroup
		for i := range nodes {
			m, tree := open(t, root()), root()
			group.Go(func() {
				for newest.Load() < last {
					g, err := m.Newest(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					number := g.Number + 1
					if m.Claim(t.Context(), number, "node") != nil {
						continue
					}
					for seen := newest.Load(); seen < number && !newest.CompareAndSwap(seen, number); seen = newest.Load() {
					}
					commitUntilFenced(t, m, tree, number, i, &newest, &commits)
					refused.Add(1)
				}
			})
		}
		group.Wait()
		if commits.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d commits, %d times refused", commits.Load(), refused.Load())
		}
	})
}

func commitUntilFenced(t *testing.T, m *mount.Mount, tree vfs.Dir, number uint32, node int, newest *atomic.Uint32, commits *atomic.Int64) {
	dir := fmt.Sprint("node-", node)
	if m.Begin(t.Context(), number, dir) != nil {
		return
	}
	handle, err := tree.OpenDir(sessionPath(number, dir))
	if err != nil {
		return
	}
	defer handle.Close()
	s := &session{number: number, dir: dir, handle: handle, to: tree}
	for range 20 {
		if s.stage("staged") != nil {
			return
		}
		before := newest.Load()
		if s.commit("staged") != nil {
			return
		}
		commits.Add(1)
		if before > number {
			t.Errorf("generation %d committed after generation %d was claimed", number, before)
		}
		if err := m.Renew(t.Context(), number); err == nil && before > number {
			t.Errorf("generation %d was renewed after generation %d was claimed", number, before)
		}
	}
}

// once makes the first call of an operation on a path answer err.
func once(fault *vfs.Fault, op vfs.Op, path string, err error) (remove func()) {
	var done atomic.Bool
	return fault.Inject(func(c vfs.OpCall) error {
		if c.Op == op && c.Path == path && !done.Swap(true) {
			return err
		}
		return nil
	})
}

// A client may have cached that there was nothing before there was something.
func TestAbsenceIsNotBelievedBeforeTheServerIsAsked(t *testing.T) {
	const live = systemDir + "/fleet/gen/00000001/live"
	for name, c := range map[string]struct {
		op   vfs.Op
		path string
		do   func(ctx context.Context, m *mount.Mount) error
	}{
		"renew":           {vfs.OpOpenDir, live, func(ctx context.Context, m *mount.Mount) error { return m.Renew(ctx, 1) }},
		"begin":           {vfs.OpMkdir, sessionPath(1, "new"), func(ctx context.Context, m *mount.Mount) error { return m.Begin(ctx, 1, "new") }},
		"fence":           {vfs.OpOpenDir, sessionPath(1, "old"), func(ctx context.Context, m *mount.Mount) error { return m.Fence(ctx, 1, "old") }},
		"fence of a root": {vfs.OpOpenDir, systemDir + "/sessions/00000001", func(ctx context.Context, m *mount.Mount) error { return m.Fence(ctx, 1, "old") }},
		"claim":           {vfs.OpOpenDir, systemDir + "/sessions/00000001", func(ctx context.Context, m *mount.Mount) error { return m.Claim(ctx, 2, "bad") }},
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScene(t)
			defer once(sc.fault, c.op, c.path, syscall.ENOENT)()
			must(t, c.do(t.Context(), sc.bad))
			if name == "claim" || name == "fence" || name == "fence of a root" {
				sc.old.wantDead(t, sc.good)
			}
		})
	}
}

// The answer to a call that was carried out can be lost, and the call be made
// again by the client: then it meets what it did itself.
func TestLostAnswers(t *testing.T) {
	lose := func(sc *scene, op vfs.Op, err error) {
		var done atomic.Bool
		sc.fault.InjectAfter(func(c vfs.OpCall) error {
			if c.Op == op && !done.Swap(true) {
				return err
			}
			return nil
		})
	}
	t.Run("of a claim spend the number", func(t *testing.T) {
		sc := newScene(t)
		lose(sc, vfs.OpMkdir, fs.ErrExist)
		wantErr(t, "claim", sc.bad.Claim(t.Context(), 2, "bad"), mount.ErrTaken)
		sc.wantNext(t)
	})
	t.Run("of a claim are an error, and then spend the number", func(t *testing.T) {
		sc := newScene(t)
		lose(sc, vfs.OpMkdir, syscall.EIO)
		wantErr(t, "claim", sc.bad.Claim(t.Context(), 2, "bad"), syscall.EIO)
		wantErr(t, "claim", sc.bad.Claim(t.Context(), 2, "bad"), mount.ErrTaken)
		sc.wantNext(t)
	})
	t.Run("of a renewal do no harm", func(t *testing.T) {
		sc := newScene(t)
		lose(sc, vfs.OpMkdir, fs.ErrExist)
		must(t, sc.bad.Renew(t.Context(), 1))
		wantAlive(t, sc.good, 1)
	})
	t.Run("of a change that was saved are found out", func(t *testing.T) {
		sc := newScene(t)
		lose(sc, vfs.OpRename, syscall.ENOENT)
		must(t, sc.bad.SaveChange(t.Context(), 1, "old", 5, []byte("five")))
		saved, err := sc.good.Load(t.Context())
		must(t, err)
		if len(saved.Changes) != 1 || string(saved.Changes[0]) != "five" || saved.Generation != 1 || saved.Index != 5 {
			t.Errorf("%q, of %d in generation %d", saved.Changes, saved.Index, saved.Generation)
		}
	})
}

// A claim that hung in its first call, and was given up, must not end the
// generation that is alive when that call returns.
func TestAClaimStopsWhenNobodyWaitsForItAnyMore(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpMkdir, vfs.OpOpenDir, vfs.OpReadDir, vfs.OpSyncDir} {
		sc := newScene(t)
		hang := sc.fault.Hang(func(c vfs.OpCall) bool { return c.Op == op })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- sc.bad.Claim(ctx, 2, "bad") }()
		<-hang.Reached()
		cancel()
		wantErr(t, "claim", <-done, vfs.ErrHung)
		hang.Release()
		for !mount.Idle(sc.bad) {
			runtime.Gosched()
		}
		must(t, sc.good.Renew(t.Context(), 1))
		must(t, sc.old.commit("staged"))
		must(t, sc.old.stage("staged"))
		sc.wantNext(t)
	}
}

// One claimant of a number is held up while its generation ends, and another
// one, which does not know of that either, makes the directory of the number
// anew: what the first still does must not come to life in it.
func TestAClaimantThatIsHeldUpDoesNothingInTheDirectoryOfAnother(t *testing.T) {
	const gens = systemDir + "/fleet/gen"
	total := claimCalls(t, newScene(t))
	for n := range total {
		sc := newScene(t)
		reached := nth(n)
		first := sc.fault.Hang(func(vfs.OpCall) bool { return reached() })
		done := make(chan error, 2)
		go func() { done <- sc.bad.Claim(t.Context(), 2, "bad") }()
		<-first.Reached()
		g, err := sc.good.Newest(t.Context())
		must(t, err)
		for g.Number < 3 {
			must(t, sc.good.Claim(t.Context(), g.Number+1, "good"))
			g.Number++
		}
		fault := vfs.NewFault(sc.old.to)
		other := open(t, fault.Root())
		second := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpOpenDir && c.Path == gens+"/00000002" })
		go func() { done <- other.Claim(t.Context(), 2, "other") }()
		<-second.Reached()
		first.Release()
		if err := <-done; err != nil { // it may have been done but for closing things
			wantErr(t, "claim of the first", err, mount.ErrTaken)
		}
		wantOver(t, sc.good, 2)
		second.Release()
		wantErr(t, "claim of the second", <-done, mount.ErrTaken)
		wantOver(t, sc.good, 2)
		wantAlive(t, sc.good, 3)
		if left := names(t, sc.old.to, gens); !slices.Equal(left, []string{"00000003"}) {
			t.Errorf("generations that are left: %q", left)
		}
		if t.Failed() {
			t.Fatalf("held up at call %d of %d", n, total)
		}
	}
}

// The root of sessions may leave the directory of its generation just when that
// is being removed. What is in it is then removed as that of a session is.
func TestARootThatMovesWhileItsGenerationEndsIsFenced(t *testing.T) {
	sc := newScene(t)
	tree := sc.old.to
	staged := systemDir + "/fleet/gen/00000001/sessions"
	must(t, tree.Mkdir(staged, 0o700))
	must(t, rename(t, tree, systemDir+"/sessions", "00000001", ".", "removed"))
	var moved atomic.Bool
	sc.fault.Inject(func(c vfs.OpCall) error {
		if c.Path != staged || c.Op == vfs.OpOpenDir || moved.Swap(true) {
			return nil
		}
		must(t, rename(t, tree, systemDir+"/fleet/gen/00000001", "sessions", systemDir+"/sessions", "00000001"))
		must(t, tree.Mkdir(sessionPath(1, "new"), 0o700))
		must(t, tree.Mkdir(sessionPath(1, "new")+"/caught", 0o700))
		return nil
	})
	must(t, sc.bad.Claim(t.Context(), 2, "bad"))
	if !moved.Load() {
		t.Fatal("nothing was moved")
	}
	if got := names(t, tree, systemDir+"/lost+found"); !slices.Equal(got, []string{"new.caught"}) {
		t.Errorf("kept: %q", got)
	}
	wantOver(t, sc.good, 1)
}

// rename moves a name from one directory to another.
func rename(t testing.TB, root vfs.Dir, from, oldname, to, newname string) error {
	t.Helper()
	a, err := root.OpenDir(from)
	must(t, err)
	defer a.Close()
	b, err := root.OpenDir(to)
	must(t, err)
	defer b.Close()
	return a.Rename(oldname, b, newname)
}

func TestTheNumberOfAGenerationSurvivesACrash(t *testing.T) {
	mem := vfs.NewMemory()
	m := open(t, mem.Root())
	for number := range uint32(3) {
		must(t, m.Claim(t.Context(), number+1, "node"))
	}
	mem.Crash(nil)
	g, err := open(t, mem.Root()).Newest(t.Context())
	if err != nil || g.Number != 3 {
		t.Errorf("%+v, %v", g, err)
	}
}
