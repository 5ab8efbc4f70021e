package mount_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// client is a network client at its worst: what it has once seen of a directory,
// the absence of names included, it believes until it changes the directory
// itself. Exclusive creations ask the server, and make it forget what it knew.
type client struct {
	mu    sync.Mutex
	known map[string][]vfs.Entry // by path
}

type clientDir struct {
	vfs.Dir
	c    *client
	path string
}

func newClient(root vfs.Dir) vfs.Dir {
	return &clientDir{root, &client{known: make(map[string][]vfs.Entry)}, "."}
}

func (d *clientDir) join(path string) string {
	if d.path == "." {
		return path
	}
	return d.path + "/" + path
}

// parent returns the directory that holds a path beneath d, and its last name.
func (d *clientDir) parent(path string) (string, string) {
	full := d.join(path)
	if i := strings.LastIndexByte(full, '/'); i >= 0 {
		return full[:i], full[i+1:]
	}
	return ".", full
}

func (d *clientDir) absent(path string) bool { return d.c.absent(d.join(path)) }

// absent reports whether the client believes that there is nothing at a path.
func (c *client) absent(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, rest := ".", path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		entries, known := c.known[at]
		if known && !slices.ContainsFunc(entries, func(e vfs.Entry) bool { return e.Name == name }) {
			return true
		}
		if at == "." {
			at = name
		} else {
			at += "/" + name
		}
	}
	return false
}

// changes notes that the client has changed a directory.
func (d *clientDir) changes(dir string, err error) error {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	delete(d.c.known, dir)
	return err
}

func (d *clientDir) OpenDir(path string) (vfs.Dir, error) {
	if d.absent(path) {
		return nil, syscall.ENOENT
	}
	opened, err := d.Dir.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &clientDir{opened, d.c, d.join(path)}, nil
}

func (d *clientDir) Open(path string) (vfs.File, error) {
	if d.absent(path) {
		return nil, syscall.ENOENT
	}
	return d.Dir.Open(path)
}

func (d *clientDir) Create(name string, perm fs.FileMode) (vfs.File, error) {
	f, err := d.Dir.Create(name, perm)
	return f, d.changes(d.path, err)
}

func (d *clientDir) Mkdir(path string, perm fs.FileMode) error {
	dir, _ := d.parent(path)
	if dir != d.path && d.c.absent(dir) {
		return syscall.ENOENT
	}
	return d.changes(dir, d.Dir.Mkdir(path, perm))
}

func (d *clientDir) Rename(oldname string, to vfs.Dir, newname string) error {
	into := to.(*clientDir)
	err := d.Dir.Rename(oldname, into.Dir, newname)
	return into.changes(into.path, d.changes(d.path, err))
}

func (d *clientDir) Link(oldname string, to vfs.Dir, newname string) error {
	into := to.(*clientDir)
	return into.changes(into.path, d.Dir.Link(oldname, into.Dir, newname))
}

func (d *clientDir) Remove(name string) error {
	if d.absent(name) {
		return syscall.ENOENT
	}
	return d.changes(d.path, d.Dir.Remove(name))
}

func (d *clientDir) Rmdir(name string) error {
	if d.absent(name) {
		return syscall.ENOENT
	}
	return d.changes(d.path, d.Dir.Rmdir(name))
}

func (d *clientDir) Stat(path string) (vfs.Stat, error) {
	if path != "." && d.absent(path) {
		return vfs.Stat{}, syscall.ENOENT
	}
	return d.Dir.Stat(path)
}

func (d *clientDir) ReadDir() ([]vfs.Entry, error) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if entries, ok := d.c.known[d.path]; ok {
		return slices.Clone(entries), nil
	}
	entries, err := d.Dir.ReadDir()
	if err == nil {
		d.c.known[d.path] = slices.Clone(entries)
	}
	return entries, err
}

// look has the client see, and believe from then on, what is there now.
func look(t testing.TB, dir vfs.Dir) {
	t.Helper()
	entries, err := dir.ReadDir()
	must(t, err)
	for _, e := range entries {
		if e.Type.IsDir() {
			below, err := dir.OpenDir(e.Name)
			must(t, err)
			look(t, below)
			must(t, below.Close())
		}
	}
}

// staleScene returns a good Mount, and that of a client that believes for ever
// what it saw then: generation 1 with a session "seen".
func staleScene(t *testing.T) (good, stale *mount.Mount, tree vfs.Dir) {
	t.Helper()
	mem := vfs.NewMemory()
	good, tree = open(t, mem.Root()), mem.Root()
	must(t, good.Claim(t.Context(), 1, "good"))
	must(t, good.Begin(t.Context(), 1, "seen"))
	root := newClient(mem.Root())
	stale = open(t, root)
	look(t, root)
	return good, stale, tree
}

// What others have done since a node last looked is ended by it all the same,
// whatever its client has cached.
func TestAStaleClientEndsWhatItHasNotSeen(t *testing.T) {
	t.Run("it fences a session that it has not seen", func(t *testing.T) {
		good, stale, tree := staleScene(t)
		s := begin(t, good, tree, 1, "unseen")
		must(t, stale.Fence(t.Context(), 1, "unseen"))
		s.wantDead(t, good)
	})
	t.Run("it fences a session of a generation that it has not seen", func(t *testing.T) {
		good, stale, tree := staleScene(t)
		must(t, good.Claim(t.Context(), 2, "good"))
		s := begin(t, good, tree, 2, "unseen")
		must(t, stale.Fence(t.Context(), 2, "unseen"))
		s.wantDead(t, good)
	})
	t.Run("it fences a session with files that it has not seen", func(t *testing.T) {
		good, stale, tree := staleScene(t)
		write(t, tree, sessionPath(1, "seen")+"/unseen", "x", 0o600)
		must(t, tree.Mkdir(sessionPath(1, "seen")+"/_look-0123", 0o700)) // of a fencer that died
		must(t, stale.Fence(t.Context(), 1, "seen"))
		wantErr(t, "save", good.SaveChange(t.Context(), 1, "seen", 1, nil), mount.ErrOver)
		if _, err := tree.Stat(systemDir + "/lost+found"); err == nil {
			t.Error("the directory of a fencer was kept")
		}
	})
	t.Run("it withdraws a member that it has not seen", func(t *testing.T) {
		good, stale, tree := staleScene(t)
		must(t, good.Announce(t.Context(), member("unseen")))
		must(t, stale.Withdraw(t.Context(), "unseen"))
		if got := names(t, tree, membersPath); len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
	t.Run("it claims over generations and sessions that it has not seen", func(t *testing.T) {
		good, stale, tree := staleScene(t)
		first := begin(t, good, tree, 1, "unseen")
		must(t, good.Claim(t.Context(), 2, "good"))
		second := begin(t, good, tree, 2, "unseen")
		must(t, stale.Claim(t.Context(), 3, "stale"))
		first.wantDead(t, good)
		second.wantDead(t, good)
		wantOver(t, good, 1)
		wantOver(t, good, 2)
		wantAlive(t, good, 3)
	})
	t.Run("it does not claim a number that came and went", func(t *testing.T) {
		good, stale, _ := staleScene(t)
		for number := range uint32(3) {
			must(t, good.Claim(t.Context(), number+2, "good"))
		}
		for _, number := range []uint32{2, 3, 4} {
			wantErr(t, fmt.Sprint("claim ", number), stale.Claim(t.Context(), number, "stale"), mount.ErrTaken)
		}
		wantAlive(t, good, 4)
	})
}

// And it goes by what they did.
func TestAStaleClientGoesByWhatItHasNotSeen(t *testing.T) {
	t.Run("it lives in a generation that it has not seen", func(t *testing.T) {
		good, stale, _ := staleScene(t)
		must(t, good.Claim(t.Context(), 2, "good"))
		must(t, stale.Renew(t.Context(), 2))
		must(t, stale.Begin(t.Context(), 2, "own"))
		must(t, stale.SaveChange(t.Context(), 2, "own", 1, nil))
	})
	t.Run("it sees a generation that was claimed since", func(t *testing.T) {
		good, stale, _ := staleScene(t)
		must(t, good.Renew(t.Context(), 1))
		if g, err := stale.Newest(t.Context()); err != nil || g.Number != 1 || g.Pulse == "" {
			t.Errorf("%+v, %v", g, err)
		}
		must(t, good.Claim(t.Context(), 2, "good"))
		must(t, good.Renew(t.Context(), 2))
		if g, err := stale.Newest(t.Context()); err != nil || g.Number != 2 || g.Pulse == "" {
			t.Errorf("%+v, %v", g, err)
		}
		must(t, good.End(t.Context(), 2))
		if g, err := stale.Newest(t.Context()); err != nil || g.Number != 2 || !g.Closed {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("it sees the first generation", func(t *testing.T) {
		mem := vfs.NewMemory()
		good, root := open(t, mem.Root()), newClient(mem.Root())
		stale := open(t, root)
		look(t, root)
		must(t, good.Claim(t.Context(), 1, "good"))
		must(t, good.Renew(t.Context(), 1))
		if g, err := stale.Newest(t.Context()); err != nil || g.Number != 1 || g.Pulse == "" {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("it does nothing in a generation whose end it has not seen", func(t *testing.T) {
		good, stale, _ := staleScene(t)
		must(t, good.Claim(t.Context(), 2, "good"))
		wantOver(t, stale, 1)
		wantErr(t, "save", stale.SaveChange(t.Context(), 1, "seen", 1, nil), mount.ErrOver)
		wantErr(t, "save all", stale.SaveAll(t.Context(), 1, "seen", 1, nil), mount.ErrOver)
		wantErr(t, "end", stale.End(t.Context(), 1), mount.ErrOver)
		must(t, stale.Fence(t.Context(), 1, "seen"))
	})
	t.Run("it loads all that was saved", func(t *testing.T) {
		good, stale, _ := staleScene(t)
		must(t, good.SaveChange(t.Context(), 1, "seen", 1, []byte("a")))
		must(t, good.SaveChange(t.Context(), 1, "seen", 2, []byte("b")))
		wantSettings(t, stale, "-", "a", "b")
		must(t, good.SaveAll(t.Context(), 1, "seen", 2, []byte("ab")))
		wantSettings(t, stale, "ab")
	})
}
