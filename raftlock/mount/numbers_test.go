package mount_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// A client of SMB that meets a directory under another name than the one it remembers makes up
// inode numbers from then on.
func TestNodesThatComeAndGoLeaveInodeNumbersAsTheyAre(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		const nodes = 3
		var trees [nodes]vfs.Dir
		var mounts [nodes]*mount.Mount
		for i := range nodes {
			trees[i] = root()
			mounts[i] = open(t, trees[i])
		}
		must(t, mounts[0].Claim(t.Context(), 1, "first"))
		number := uint32(1)
		for round := range rounds(12) {
			together(nodes, func(i int) {
				live(t, mounts[i], number, sessionOf(i, round))
			})
			// One is frozen while it writes, and the others end its session, or its generation.
			frozen, generation := round%nodes, number
			dir := sessionOf(frozen, round)
			release := hold(t, trees[frozen], number, dir)
			end := func(m *mount.Mount, _ string) error { return m.Fence(t.Context(), generation, dir) }
			if round%4 == 3 {
				number++
				end = func(m *mount.Mount, node string) error { return m.Claim(t.Context(), generation+1, node) }
			}
			together(nodes, func(i int) {
				if i == frozen {
					seek(t, mounts[i])
					return
				}
				if err := end(mounts[i], fmt.Sprint("node-", i)); err != nil && !errors.Is(err, mount.ErrTaken) {
					t.Errorf("node %d: %v", i, err)
				}
			})
			wantErr(t, "prove", mounts[frozen].Prove(t.Context(), generation, dir), mount.ErrOver)
			release()
			for i := range nodes {
				if err := vfs.NumbersHold(trees[i]); err != nil {
					t.Fatalf("round %d, node %d: %v", round, i, err)
				}
			}
		}
	})
}

func TestWhoLooksWhileAGenerationIsFoundedKeepsItsInodeNumbers(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		tree, fault := root(), vfs.NewFault(root())
		claimant, other := open(t, fault.Root()), open(t, tree)
		looked := false
		fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpRename && strings.HasSuffix(c.To, "sessions/00000001") {
				_, err := other.Newest(t.Context())
				looked = err == nil
			}
			return nil
		})
		must(t, claimant.Claim(t.Context(), 1, "claimant"))
		must(t, other.Begin(t.Context(), 1, "session"))
		if err := vfs.NumbersHold(tree); !looked || err != nil {
			t.Errorf("looked: %v, then %v", looked, err)
		}
	})
}

// A client of SMB may find, while others end sessions, that what it is shown is not there.
func TestASessionIsFencedThoughItsRootIsNotFoundAtFirst(t *testing.T) {
	for times, want := range map[int]bool{1: true, 1 << 20: false} {
		tree := vfs.NewMemory()
		fault := vfs.NewFault(tree.Root())
		m := open(t, fault.Root())
		must(t, m.Claim(t.Context(), 1, "node"))
		must(t, m.Begin(t.Context(), 1, "session"))
		left := times
		remove := fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpOpenDir && strings.HasSuffix(c.Path, "sessions/00000001") && left > 0 {
				left--
				return fs.ErrNotExist
			}
			return nil
		})
		if err := m.Fence(t.Context(), 1, "session"); (err == nil) != want {
			t.Errorf("%d times: %v", times, err)
		}
		remove()
		if err := m.Prove(t.Context(), 1, "session"); errors.Is(err, mount.ErrOver) != want {
			t.Errorf("%d times, then: %v", times, err)
		}
	}
}

func sessionOf(node, round int) string { return fmt.Sprintf("node-%d-%d", node, round) }

// together runs do for each node at the same time.
func together(nodes int, do func(i int)) {
	var group sync.WaitGroup
	for i := range nodes {
		group.Go(func() { do(i) })
	}
	group.Wait()
}

// live begins a session and proves it.
func live(t *testing.T, m *mount.Mount, number uint32, dir string) {
	t.Helper()
	if err := m.Begin(t.Context(), number, dir); err != nil {
		t.Errorf("begin: %v", err)
		return
	}
	for range 10 {
		if err := m.Prove(t.Context(), number, dir); err != nil {
			t.Errorf("prove: %v", err)
		}
	}
	seek(t, m)
}

// seek looks for the newest generation while there may come another.
func seek(t *testing.T, m *mount.Mount) {
	t.Helper()
	for range 10 {
		if _, err := m.Newest(t.Context()); err != nil {
			t.Errorf("newest: %v", err)
		}
	}
}

// hold opens a file of a session, until release is called.
func hold(t *testing.T, tree vfs.Dir, number uint32, dir string) (release func()) {
	t.Helper()
	handle, err := tree.OpenDir(sessionPath(number, dir))
	must(t, err)
	f, err := handle.Create("staged", 0o600)
	must(t, err)
	_, err = f.Write([]byte("content"))
	must(t, err)
	return func() {
		_ = f.Close()
		_ = handle.Close()
	}
}
