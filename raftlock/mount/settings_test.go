package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

const settingsPath = systemDir + "/fleet/settings"

// wantSettings checks what Load returns; all is "-" for none.
func wantSettings(t testing.TB, m *mount.Mount, all string, changes ...string) {
	t.Helper()
	saved, err := m.Load(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	have := make([]string, 0, len(saved.Changes))
	for _, c := range saved.Changes {
		have = append(have, string(c))
	}
	if (saved.All == nil) != (all == "-") || saved.All != nil && string(saved.All) != all || !slices.Equal(have, changes) {
		t.Errorf("settings are %q and %q, not %q and %q", saved.All, have, all, changes)
	}
}

// fleet is a Mount on which generation 1 has a session "s".
func fleet(t testing.TB, root vfs.Dir) *mount.Mount {
	t.Helper()
	m := open(t, root)
	must(t, m.Claim(t.Context(), 1, "node"))
	must(t, m.Begin(t.Context(), 1, "s"))
	return m
}

func TestSettingsAreTheNewestCopyAndTheChangesAfterIt(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m := fleet(t, root())
		change := func(number uint32, index uint64, content string) {
			t.Helper()
			must(t, m.SaveChange(t.Context(), number, "s", index, []byte(content)))
		}
		wantSettings(t, m, "-")
		change(1, 300, "c")
		change(1, 9, "a")
		change(1, 10, "b")
		wantSettings(t, m, "-", "a", "b", "c")
		change(1, 10, "b")
		wantSettings(t, m, "-", "a", "b", "c")
		must(t, m.SaveAll(t.Context(), 1, "s", 10, []byte("ab")))
		wantSettings(t, m, "ab", "c")
		must(t, m.SaveAll(t.Context(), 1, "s", 10, []byte("ab")))
		wantSettings(t, m, "ab", "c")

		must(t, m.Claim(t.Context(), 2, "node"))
		must(t, m.Begin(t.Context(), 2, "s"))
		wantSettings(t, m, "ab", "c")
		change(2, 5, "d")
		wantSettings(t, m, "ab", "c", "d")
		must(t, m.SaveAll(t.Context(), 2, "s", 4, nil))
		wantSettings(t, m, "", "d")
		want := []string{"00000002-0000000000000004.all", "00000002-0000000000000005.one"}
		if got := names(t, root(), settingsPath); !slices.Equal(got, want) {
			t.Errorf("files: %q", got)
		}
	})
}

func TestAFencedLeaderSavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m := fleet(t, root())
		must(t, m.SaveChange(t.Context(), 1, "s", 1, []byte("a")))
		must(t, m.Fence(t.Context(), 1, "s"))
		wantErr(t, "save change", m.SaveChange(t.Context(), 1, "s", 2, []byte("b")), mount.ErrOver)
		wantErr(t, "save all", m.SaveAll(t.Context(), 1, "s", 2, []byte("ab")), mount.ErrOver)
		wantSettings(t, m, "-", "a")
	})
}

func TestWhatWasSavedSurvivesACrash(t *testing.T) {
	for seed := range uint64(40) {
		mem := vfs.NewMemory()
		rng := rand.New(rand.NewPCG(seed, 0))
		m := fleet(t, mem.Root())
		var want []string
		all := "-"
		for index := range uint64(12) {
			content := fmt.Sprint("change ", index)
			if rng.IntN(4) == 0 {
				all, want = "all as of "+content, nil
				must(t, m.SaveAll(t.Context(), 1, "s", index, []byte(all)))
				continue
			}
			must(t, m.SaveChange(t.Context(), 1, "s", index, []byte(content)))
			want = append(want, content)
		}
		if seed%2 == 0 {
			rng = nil
		}
		mem.Crash(rng)
		wantSettings(t, open(t, mem.Root()), all, want...)
	}
}

// Whatever call fails, what was acknowledged is there, and what was not is
// there or not, and whole.
func TestASaveThatFailsHarmsNothing(t *testing.T) {
	broken := errors.New("broken")
	for _, save := range []string{"change", "all"} {
		for _, after := range []bool{false, true} {
			for n := 0; ; n++ {
				mem := vfs.NewMemory()
				good := fleet(t, mem.Root())
				must(t, good.SaveAll(t.Context(), 1, "s", 1, []byte("a")))
				must(t, good.SaveChange(t.Context(), 1, "s", 2, []byte("b")))
				fault := vfs.NewFault(mem.Root())
				bad := open(t, fault.Root())
				var count atomic.Int64
				match := func(vfs.OpCall) error {
					if count.Add(1) == int64(n+1) {
						return broken
					}
					return nil
				}
				if after {
					fault.InjectAfter(match)
				} else {
					fault.Inject(match)
				}
				var err error
				if save == "all" {
					err = bad.SaveAll(t.Context(), 1, "s", 3, []byte("abc"))
				} else {
					err = bad.SaveChange(t.Context(), 1, "s", 3, []byte("c"))
				}
				checkSaved(t, good, save, err == nil)
				if left := names(t, mem.Root(), sessionPath(1, "s")); len(left) > 1 {
					t.Errorf("staged files are left: %q", left)
				}
				if t.Failed() {
					t.Fatalf("save %s, call %d failed, carried out: %v: %v", save, n, after, err)
				}
				if count.Load() <= int64(n) {
					break
				}
			}
		}
	}
}

func checkSaved(t *testing.T, m *mount.Mount, save string, acknowledged bool) {
	t.Helper()
	saved, err := m.Load(t.Context())
	must(t, err)
	got := string(saved.All) + string(bytes.Join(saved.Changes, nil))
	want := []string{"abc"}
	if !acknowledged {
		want = append(want, "ab")
	}
	if !slices.Contains(want, got) {
		t.Errorf("save %s, acknowledged: %v: settings are %q", save, acknowledged, got)
	}
}

func TestADamagedFileIsAnErrorThatNamesIt(t *testing.T) {
	const name = "00000001-0000000000000002.one"
	mem := vfs.NewMemory()
	m := fleet(t, mem.Root())
	must(t, m.SaveChange(t.Context(), 1, "s", 1, []byte("first")))
	must(t, m.SaveChange(t.Context(), 1, "s", 2, []byte("second")))
	good := content(t, mem.Root(), settingsPath+"/"+name)
	damaged := map[string]string{
		"empty":                "",
		"cut short":            good[:len(good)-1],
		"longer":               good + "x",
		"of zeros":             strings.Repeat("\x00", len(good)),
		"another file":         content(t, mem.Root(), settingsPath+"/00000001-0000000000000001.one"),
		"of a later version":   strings.Replace(good, "settings 1", "settings 2", 1),
		"nothing but a header": good[:len(good)-len("second")-4],
	}
	for i := range len(good) {
		b := []byte(good)
		b[i] ^= 1
		damaged[fmt.Sprint("changed at ", i)] = string(b)
	}
	for what, bytes := range damaged {
		write(t, mem.Root(), settingsPath+"/"+name, bytes, 0o600)
		if _, err := m.Load(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(t, mem.Root(), settingsPath+"/"+name, good, 0o600)
	wantSettings(t, m, "-", "first", "second")
}

func content(t testing.TB, root vfs.Dir, path string) string {
	t.Helper()
	f, err := root.Open(path)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	b := make([]byte, st.Size)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return string(b)
}

func TestForeignFilesAmongTheSettingsAreLeftAlone(t *testing.T) {
	mem := vfs.NewMemory()
	m := fleet(t, mem.Root())
	foreign := []string{
		".nfs000000000000", "00000001-0000000000000001", "00000001-0000000000000001.ONE", "0000000A-0000000000000001.one",
		"00000001-0000000000000001.one.bak", "1-1.one", "00000001_0000000000000001.all", "+0000001-0000000000000001.all",
	}
	for _, name := range foreign {
		write(t, mem.Root(), settingsPath+"/"+name, "x", 0o600)
	}
	must(t, m.SaveAll(t.Context(), 1, "s", 9, []byte("all")))
	wantSettings(t, m, "all")
	if got := names(t, mem.Root(), settingsPath); len(got) != len(foreign)+1 {
		t.Errorf("%q", got)
	}
}

// A copy of all may be saved, and the files before it removed, while they are
// being read.
func TestALoadDuringASaveSeesBeforeOrAfter(t *testing.T) {
	mem := vfs.NewMemory()
	m := fleet(t, mem.Root())
	must(t, m.SaveAll(t.Context(), 1, "s", 1, []byte("a")))
	must(t, m.SaveChange(t.Context(), 1, "s", 2, []byte("b")))
	fault := vfs.NewFault(mem.Root())
	reader := open(t, fault.Root())
	hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpOpen && strings.HasSuffix(c.Path, ".one") })
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantSettings(t, reader, "ab", "c")
	}()
	<-hang.Reached()
	must(t, m.SaveAll(t.Context(), 1, "s", 2, []byte("ab")))
	must(t, m.SaveChange(t.Context(), 1, "s", 3, []byte("c")))
	hang.Release()
	<-done
}

func TestAFullDiskIsSaidAndTheStagedFileRemoved(t *testing.T) {
	sc := newScene(t)
	defer sc.fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})()
	wantErr(t, "save", sc.bad.SaveChange(t.Context(), 1, "old", 1, []byte("x")), syscall.ENOSPC)
	must(t, sc.good.Fence(t.Context(), 1, "old"))
}
