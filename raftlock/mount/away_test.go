package mount_test

import (
	"context"
	"errors"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// smb is a root that says to be an SMB server's.
type smb struct{ vfs.Dir }

// Usage implements vfs.Dir.
func (s smb) Usage() (vfs.Usage, error) {
	u, err := s.Dir.Usage()
	u.Type = "smb"
	return u, err
}

// share is a tree on an SMB server, with a session whose file is open: what holds it cannot be
// removed.
type share struct {
	*scene
	tree   vfs.Dir
	closed bool // the file is
}

func newShare(t *testing.T) *share {
	t.Helper()
	mem := vfs.NewMemory()
	s := &share{scene: &scene{fault: vfs.NewFault(mem.Root())}, tree: mem.Root()}
	s.bad = open(t, smb{s.fault.Root()})
	must(t, s.bad.Claim(t.Context(), 1, "first"))
	s.old = begin(t, s.bad, mem.Root(), 1, "old")
	must(t, s.old.stage("file"))
	s.fault.Inject(func(c vfs.OpCall) error {
		if base := path.Base(c.Path); !s.closed && c.Op == vfs.OpRmdir && (base == "old" || base == "session") {
			return syscall.ENOTEMPTY
		}
		return nil
	})
	return s
}

// away returns the sessions that were put away.
func (s *share) away(t *testing.T) []string {
	t.Helper()
	if _, err := s.tree.Stat(systemDir + "/away"); err != nil {
		return nil
	}
	return names(t, s.tree, systemDir+"/away")
}

func TestOnSMBASessionWhoseFilesStayOpenIsFencedByItsName(t *testing.T) {
	for how, fence := range map[string]func(s *share) error{
		"fence": func(s *share) error { return s.bad.Fence(t.Context(), 1, "old") },
		"claim": func(s *share) error { return s.bad.Claim(t.Context(), 2, "next") },
	} {
		t.Run(how, func(t *testing.T) {
			s := newShare(t)
			must(t, fence(s))
			if _, err := s.tree.Stat(systemDir + "/sessions/00000001/old"); err == nil {
				t.Error("the session has its name")
			}
			wantErr(t, "prove", s.bad.Prove(t.Context(), 1, "old"), mount.ErrOver)
			if got := s.away(t); len(got) != 1 || !strings.HasPrefix(got[0], "00000001.old.") {
				t.Errorf("put away: %q", got)
			}
			must(t, s.bad.Claim(t.Context(), 3, "another"))
			s.closed = true
			must(t, s.bad.Claim(t.Context(), 4, "later"))
			if got := s.away(t); len(got) > 0 {
				t.Errorf("not removed: %q", got)
			}
		})
	}
}

// TestOnSMBNothingIsMovedIntoADirectoryOfAFencedSession that a process has open by the client that
// fences, where it would be the same directory under any name.
func TestOnSMBNothingIsMovedIntoADirectoryOfAFencedSession(t *testing.T) {
	mem := vfs.NewMemory()
	tree := mem.Root()
	m := open(t, smb{tree})
	must(t, m.Claim(t.Context(), 1, "first"))
	must(t, m.Begin(t.Context(), 1, "session"))
	session := systemDir + "/sessions/00000001/session"
	for _, path := range []string{"bucket", session + "/way", session + "/full", session + "/full/one"} {
		must(t, tree.Mkdir(path, 0o700))
	}
	way, err := tree.OpenDir(session + "/way")
	must(t, err)
	defer way.Close()
	must(t, m.Fence(t.Context(), 1, "session"))
	if err := tree.Rename("bucket", way, "bucket"); err == nil {
		t.Error("it was moved there")
	}
	kept := names(t, tree, systemDir+"/lost+found")
	if len(kept) != 1 || !strings.HasPrefix(kept[0], "session.full.") {
		t.Errorf("of what was caught in the session %q is kept", kept)
	}
}

// TestOnSMBAClientIsAskedForADirectoryThatHasLeftAFencedSession when it was seen there: the client is
// to have dropped it when it meets it in the tree.
func TestOnSMBAClientIsAskedForADirectoryThatHasLeftAFencedSession(t *testing.T) {
	mem := vfs.NewMemory()
	fault, tree := vfs.NewFault(mem.Root()), mem.Root()
	m := open(t, smb{fault.Root()})
	must(t, m.Claim(t.Context(), 1, "first"))
	must(t, m.Begin(t.Context(), 1, "session"))
	session, err := tree.OpenDir(systemDir + "/sessions/00000001/session")
	must(t, err)
	defer session.Close()
	must(t, session.Mkdir("b.1", 0o700))
	left, asks := false, 0
	fault.Inject(func(c vfs.OpCall) error {
		switch {
		case path.Base(c.Path) != "b.1":
		case c.Op == vfs.OpRmdir && !left:
			left = true
			must(t, session.Rename("b.1", tree, "bucket"))
		case c.Op == vfs.OpStat && left:
			asks++
		}
		return nil
	})
	must(t, m.Fence(t.Context(), 1, "session"))
	if !left || asks != 2 {
		t.Errorf("it has left: %v, and the client was asked %d times; want 2", left, asks)
	}
}

// TestOnSMBAloneAClientIsAskedForWhatSomebodyElseHasRemoved has another node remove a session
// first: a client of SMB has to be asked for the name until it drops what it remembers of it.
func TestOnSMBAloneAClientIsAskedForWhatSomebodyElseHasRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		root func(vfs.Dir) vfs.Dir
		asks int
	}{
		"smb":    {func(d vfs.Dir) vfs.Dir { return smb{d} }, 2},
		"others": {func(d vfs.Dir) vfs.Dir { return d }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMemory()
			fault := vfs.NewFault(mem.Root())
			late, other := open(t, c.root(fault.Root())), open(t, mem.Root())
			must(t, other.Claim(t.Context(), 1, "first"))
			must(t, other.Begin(t.Context(), 1, "session"))
			overtaken, asks := false, 0
			fault.Inject(func(call vfs.OpCall) error {
				switch {
				case path.Base(call.Path) != "session":
				case call.Op == vfs.OpRmdir:
					overtaken = true
					return other.Fence(t.Context(), 1, "session")
				case call.Op == vfs.OpStat && overtaken:
					asks++
				}
				return nil
			})
			must(t, late.Fence(t.Context(), 1, "session"))
			if !overtaken || asks != c.asks {
				t.Errorf("overtaken %v, and asked %d times; want %d", overtaken, asks, c.asks)
			}
		})
	}
}

func TestOnSMBASessionThatCanBeRemovedIsNotPutAway(t *testing.T) {
	s := newShare(t)
	s.closed = true
	must(t, s.bad.Fence(t.Context(), 1, "old"))
	s.old.wantDead(t, s.bad)
	if got := s.away(t); len(got) > 0 {
		t.Errorf("put away: %q", got)
	}
}

// The server refuses where the client that fences has the file open itself.
func TestWhereASessionCannotBePutAwayAFenceWaits(t *testing.T) {
	for _, refusal := range []error{syscall.EACCES, syscall.EBUSY} {
		s := newShare(t)
		tries := 0
		s.fault.Inject(func(c vfs.OpCall) error {
			if c.Op != vfs.OpRename || !strings.Contains(c.Path, "/old") {
				return nil
			}
			if tries++; tries == 3 {
				s.closed = true
			}
			return refusal
		})
		must(t, s.bad.Fence(t.Context(), 1, "old"))
		s.old.wantDead(t, s.bad)
		if tries < 3 {
			t.Errorf("%d tries", tries)
		}
	}
}

// On other file systems who has the directory open goes with it when it is renamed.
func TestElsewhereASessionIsNotPutAway(t *testing.T) {
	sc := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	passes := 0
	sc.fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpRename {
			t.Errorf("it is renamed: %s", c.Path)
		}
		if c.Op == vfs.OpRmdir && strings.HasSuffix(c.Path, "/old") {
			if passes++; passes == 100 {
				cancel()
			}
			return syscall.ENOTEMPTY
		}
		return nil
	})
	if err := sc.bad.Fence(ctx, 1, "old"); !errors.Is(err, context.Canceled) && !errors.Is(err, vfs.ErrHung) {
		t.Errorf("fence: %v", err)
	}
}
