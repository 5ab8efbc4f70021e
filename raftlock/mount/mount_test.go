package mount_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// onEach runs a test on a real directory and on a file system in memory, and on
// a network file system if the environment variable SHOAL_TEST_MOUNTS names
// directories where different clients have mounted it, separated by ':'. root
// returns a new handle of one and the same tree, of the clients in turn.
func onEach(t *testing.T, test func(t *testing.T, root func() vfs.Dir)) {
	t.Run("directory", func(t *testing.T) { test(t, roots(t, t.TempDir())) })
	t.Run("memory", func(t *testing.T) { test(t, vfs.NewMemory().Root) })
	if clients() != nil {
		t.Run("network", func(t *testing.T) { test(t, networkRoots(t)) })
	}
}

// clients returns where the clients of a network file system have mounted it, nil if
// there is none.
func clients() []string {
	text := os.Getenv("SHOAL_TEST_MOUNTS")
	if text == "" {
		return nil
	}
	return strings.Split(text, ":")
}

// networkRoots is roots of a new tree on the network file system.
func networkRoots(t *testing.T) func() vfs.Dir {
	paths := clients()
	first, err := os.MkdirTemp(paths[0], "test")
	must(t, err)
	for i := range paths {
		paths[i] += "/" + filepath.Base(first)
	}
	return roots(t, paths...)
}

// rounds returns how often a test tries something that it would try n times: with
// -short a third of that.
func rounds(n int) int {
	if testing.Short() {
		return n / 3
	}
	return n
}

// roots returns a function that opens directories in turn.
func roots(t *testing.T, paths ...string) func() vfs.Dir {
	turn := 0
	return func() vfs.Dir {
		root, err := vfs.OpenRoot(paths[turn%len(paths)])
		must(t, err)
		t.Cleanup(func() { _ = root.Close() })
		turn++
		return root
	}
}

// open returns a node's Mount of the tree.
func open(t testing.TB, root vfs.Dir) *mount.Mount {
	t.Helper()
	m, err := mount.Open(t.Context(), root, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// session is one that was begun: a handle of its directory, as package nasfs
// holds one, with a staged file in it.
type session struct {
	number uint32
	dir    string
	handle vfs.Dir
	to     vfs.Dir
}

const systemDir = ".shoal.sys"

func sessionPath(number uint32, dir string) string {
	return fmt.Sprintf("%s/sessions/%08x/%s", systemDir, number, dir)
}

// begin begins a session.
func begin(t testing.TB, m *mount.Mount, root vfs.Dir, number uint32, dir string) *session {
	t.Helper()
	must(t, m.Begin(t.Context(), number, dir))
	handle, err := root.OpenDir(sessionPath(number, dir))
	must(t, err)
	t.Cleanup(func() { _ = handle.Close() })
	s := &session{number: number, dir: dir, handle: handle, to: root}
	must(t, s.stage("staged"))
	return s
}

func (s *session) stage(name string) error {
	f, err := s.handle.Create(name, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// commit moves a staged file out, as a write of an object does.
func (s *session) commit(name string) error { return s.handle.Rename(name, s.to, s.dir+"."+name) }

// wantDead checks that nothing can be done in a session any more.
func (s *session) wantDead(t testing.TB, m *mount.Mount) {
	t.Helper()
	if err := s.commit("staged"); err == nil {
		t.Errorf("generation %d: a staged file was committed", s.number)
	}
	if err := s.stage("late"); err == nil {
		t.Errorf("generation %d: a file was staged", s.number)
	}
	if err := s.to.Rename("object", s.handle, "deleted"); err == nil {
		t.Errorf("generation %d: an object was deleted", s.number)
	}
	wantErr(t, fmt.Sprint("save a change of generation ", s.number), m.SaveChange(t.Context(), s.number, s.dir, 99, []byte("late")), mount.ErrOver)
}

// wantOver checks that a generation is over.
func wantOver(t testing.TB, m *mount.Mount, number uint32) {
	t.Helper()
	wantErr(t, fmt.Sprint("renew generation ", number), m.Renew(t.Context(), number), mount.ErrOver)
	wantErr(t, fmt.Sprint("begin in generation ", number), m.Begin(t.Context(), number, "late"), mount.ErrOver)
}

// wantAlive checks that a generation is the newest and can be lived in.
func wantAlive(t testing.TB, m *mount.Mount, number uint32) {
	t.Helper()
	g, err := m.Newest(t.Context())
	must(t, err)
	if g.Number != number || g.Closed {
		t.Errorf("the newest generation is %+v, not %d", g, number)
	}
	must(t, m.Renew(t.Context(), number))
	must(t, m.Begin(t.Context(), number, fmt.Sprintf("s%d", number)))
	must(t, m.SaveChange(t.Context(), number, fmt.Sprintf("s%d", number), 1, nil))
}

// names returns what is in a directory.
func names(t testing.TB, root vfs.Dir, path string) []string {
	t.Helper()
	dir, err := root.OpenDir(path)
	must(t, err)
	defer dir.Close()
	entries, err := dir.ReadDir()
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	slices.Sort(all)
	return all
}

// write makes a file, as an administrator or a crash may.
func write(t testing.TB, root vfs.Dir, path, content string, perm fs.FileMode) {
	t.Helper()
	i := strings.LastIndexByte(path, '/')
	dir, err := root.OpenDir(path[:i])
	must(t, err)
	defer dir.Close()
	f, err := dir.Create(path[i+1:], perm)
	must(t, err)
	_, err = f.Write([]byte(content))
	must(t, err)
	must(t, f.Close())
}

func TestAllFirstNodesAgreeOnClusterAndSecret(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		const nodes = 16
		var clusters, secrets [nodes]string
		var group sync.WaitGroup
		for i := range nodes {
			dir := root()
			group.Go(func() {
				m, err := mount.Open(t.Context(), dir, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Error(err)
					return
				}
				defer m.Close()
				secret, err := m.Secret(t.Context())
				if err != nil {
					t.Error(err)
				}
				clusters[i], secrets[i] = m.Cluster(), string(secret)
			})
		}
		group.Wait()
		if c := slices.Compact(clusters[:]); len(c) != 1 || len(c[0]) != 36 {
			t.Errorf("the nodes are of clusters %q", c)
		}
		if s := slices.Compact(secrets[:]); len(s) != 1 || len(s[0]) != 64 {
			t.Errorf("the nodes know %d secrets, the first of %d bytes", len(s), len(s[0]))
		}
		want := []string{"cluster.json", "gen", "members", "secret", "settings"}
		if got := names(t, root(), systemDir+"/fleet"); !slices.Equal(got, want) {
			t.Errorf("left behind: %q", got)
		}
	})
}

func TestClusterAndSecretSurviveACrash(t *testing.T) {
	mem := vfs.NewMemory()
	m := open(t, mem.Root())
	secret, err := m.Secret(t.Context())
	must(t, err)
	mem.Crash(nil)
	again := open(t, mem.Root())
	if again.Cluster() != m.Cluster() {
		t.Error("another cluster")
	}
	if s, err := again.Secret(t.Context()); err != nil || !bytes.Equal(s, secret) {
		t.Errorf("another secret, %v", err)
	}
}

func TestASecretOfTheAdministratorsIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		perm    fs.FileMode
		want    string // "": refused
		warns   bool
	}{
		"a pass phrase":          {"correct horse battery staple\n", 0o600, "correct horse battery staple", false},
		"one that others read":   {"correct horse battery staple", 0o644, "correct horse battery staple", true},
		"one that is too short":  {"  0123456789abcde \n", 0o600, "", false},
		"an empty file":          {"", 0o600, "", false},
		"one that is too long":   {strings.Repeat("x", 5<<10), 0o600, "", false},
		"one that just suffices": {"0123456789abcdef\n", 0o600, "0123456789abcdef", false},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMemory()
			var log bytes.Buffer
			m, err := mount.Open(t.Context(), mem.Root(), slog.New(slog.NewTextHandler(&log, nil)))
			must(t, err)
			defer m.Close()
			write(t, mem.Root(), systemDir+"/fleet/secret", c.content, c.perm)
			got, err := m.Secret(t.Context())
			if string(got) != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v", got, err)
			}
			if strings.Contains(log.String(), "read by others") != c.warns {
				t.Errorf("log: %q", log.String())
			}
			if strings.Contains(log.String(), "horse") {
				t.Error("the secret is in the log")
			}
		})
	}
}

func TestAClusterFileOfNoUseIsRefused(t *testing.T) {
	for _, content := range []string{"", "{}", "nonsense", `{"version":2,"cluster":"x"}`, `{"version":1,"cluster":""}`} {
		mem := vfs.NewMemory()
		open(t, mem.Root())
		write(t, mem.Root(), systemDir+"/fleet/cluster.json", content, 0o600)
		if _, err := mount.Open(t.Context(), mem.Root(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "cluster.json") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// methods are calls of everything that uses the file system.
func methods(m *mount.Mount) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"secret":   func(ctx context.Context) error { _, err := m.Secret(ctx); return err },
		"newest":   func(ctx context.Context) error { _, err := m.Newest(ctx); return err },
		"claim":    func(ctx context.Context) error { return m.Claim(ctx, 2, "node") },
		"renew":    func(ctx context.Context) error { return m.Renew(ctx, 1) },
		"end":      func(ctx context.Context) error { return m.End(ctx, 1) },
		"begin":    func(ctx context.Context) error { return m.Begin(ctx, 1, "other") },
		"fence":    func(ctx context.Context) error { return m.Fence(ctx, 1, "dir") },
		"announce": func(ctx context.Context) error { return m.Announce(ctx, mount.Member{Node: "node"}) },
		"withdraw": func(ctx context.Context) error { return m.Withdraw(ctx, "node") },
		"members":  func(ctx context.Context) error { _, err := m.Members(ctx); return err },
		"save":     func(ctx context.Context) error { return m.SaveChange(ctx, 1, "dir", 1, nil) },
		"save all": func(ctx context.Context) error { return m.SaveAll(ctx, 1, "dir", 1, nil) },
		"load":     func(ctx context.Context) error { _, err := m.Load(ctx); return err },
	}
}

// On a file system that hangs, a method would never return but for its context.
func TestEveryMethodLeavesAHungFileSystemWithItsContext(t *testing.T) {
	mem := vfs.NewMemory()
	fault := vfs.NewFault(mem.Root())
	m := open(t, fault.Root())
	must(t, m.Claim(t.Context(), 1, "node"))
	must(t, m.Begin(t.Context(), 1, "dir"))
	hang := fault.Hang(func(vfs.OpCall) bool { return true })
	defer hang.Release()
	cause := errors.New("gave up")
	for name, call := range methods(m) {
		ctx, cancel := context.WithCancelCause(t.Context())
		before := fault.Total()
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		for fault.Total() == before {
			// until it is inside
		}
		cancel(cause)
		err := <-done
		wantErr(t, name, err, vfs.ErrHung)
		wantErr(t, name, err, cause)
		wantErr(t, name+" after its end", call(ctx), vfs.ErrHung)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := mount.Open(ctx, fault.Root(), slog.New(slog.DiscardHandler))
	wantErr(t, "open", err, vfs.ErrHung)
}

func TestErrorsSayWhatWasDoneToWhat(t *testing.T) {
	mem := vfs.NewMemory()
	fault := vfs.NewFault(mem.Root())
	m := open(t, fault.Root())
	broken := errors.New("broken")
	defer fault.Inject(func(vfs.OpCall) error { return broken })()
	wants := map[string]string{
		"secret":   "read secret: broken",
		"newest":   "look for the newest generation: broken",
		"claim":    "claim generation 2: broken",
		"renew":    "renew generation 1: broken",
		"end":      "end generation 1: broken",
		"begin":    "begin session other of generation 1: broken",
		"fence":    "fence session dir of generation 1: broken",
		"announce": "announce member node: broken",
		"withdraw": "withdraw member node: broken",
		"members":  "read members: broken",
		"save":     "save change 1 of generation 1: broken",
		"save all": "save settings as of change 1 of generation 1: broken",
		"load":     "load settings: broken",
	}
	for name, call := range methods(m) {
		err := call(t.Context())
		wantErr(t, name, err, broken)
		if err != nil && err.Error() != wants[name] {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	m := open(t, vfs.NewMemory().Root())
	must(t, m.Claim(t.Context(), 1, "node"))
	for _, name := range []string{"", ".", "..", "a/b", "../x", ".hidden", "_look-1", "a\x00", strings.Repeat("x", 65), "ü"} {
		for what, err := range map[string]error{
			"begin":    m.Begin(t.Context(), 1, name),
			"fence":    m.Fence(t.Context(), 1, name),
			"claim":    m.Claim(t.Context(), 2, name),
			"withdraw": m.Withdraw(t.Context(), name),
			"announce": m.Announce(t.Context(), mount.Member{Node: name}),
			"save":     m.SaveChange(t.Context(), 1, name, 1, nil),
		} {
			if err == nil || !strings.Contains(err.Error(), "is no name") {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	if g, err := m.Newest(t.Context()); err != nil || g.Number != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}
