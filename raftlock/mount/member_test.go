package mount_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

const membersPath = systemDir + "/fleet/members"

func member(node string) mount.Member {
	return mount.Member{
		Node: node, Addresses: []string{"10.0.0.1:9002", "[fe80::1]:9002"}, Host: "host", PID: 7, Boot: "b", Version: "v1",
		Refreshed: time.Date(2024, 5, 1, 2, 3, 4, 5, time.UTC),
	}
}

func sortedMembers(t testing.TB, m *mount.Mount) []mount.Member {
	t.Helper()
	all, err := m.Members(t.Context())
	must(t, err)
	slices.SortFunc(all, func(a, b mount.Member) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

func TestTheRegisterTellsWhoAnnouncedItself(t *testing.T) {
	onEach(t, func(t *testing.T, root func() vfs.Dir) {
		m, own := open(t, root()), root() // what else there is another client may not see at once
		other := open(t, own)
		must(t, m.Announce(t.Context(), member("a")))
		must(t, other.Announce(t.Context(), member("b")))
		later := member("a")
		later.Refreshed = later.Refreshed.Add(time.Hour)
		must(t, m.Announce(t.Context(), later))
		if got, want := sortedMembers(t, other), []mount.Member{later, member("b")}; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, not %+v", got, want)
		}
		write(t, own, membersPath+"/a_0123", "a process that died left this", 0o600)
		for range 2 {
			must(t, other.Withdraw(t.Context(), "a"))
		}
		if got := names(t, own, membersPath); !slices.Equal(got, []string{"b.json"}) {
			t.Errorf("left: %q", got)
		}
	})
}

func TestAMemberThatNobodyCanUseIsNotAnnounced(t *testing.T) {
	m := open(t, vfs.NewMemory().Root())
	many, long := member("a"), member("b")
	many.Addresses = make([]string, 17)
	long.Version = strings.Repeat("x", 257)
	for _, b := range []mount.Member{many, long} {
		if err := m.Announce(t.Context(), b); err == nil {
			t.Errorf("announced %+v", b)
		}
	}
	if got := sortedMembers(t, m); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestMemberFilesOfNoUseAreSkippedAndLoggedOnce(t *testing.T) {
	mem := vfs.NewMemory()
	var log bytes.Buffer
	m, err := mount.Open(t.Context(), mem.Root(), slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	defer m.Close()
	must(t, m.Announce(t.Context(), member("good")))
	bad := map[string]string{
		"empty":    "",
		"nonsense": "nonsense",
		"renamed":  `{"node":"good"}`,
		"large":    `{"node":"large","host":"` + strings.Repeat("x", 17<<10) + `"}`,
		"many":     `{"node":"many","addresses":[` + strings.Repeat(`"x",`, 16) + `"x"]}`,
		"long":     `{"node":"long","host":"` + strings.Repeat("x", 257) + `"}`,
		"a_b":      `{"node":"a_b"}`,
	}
	for name, content := range bad {
		write(t, mem.Root(), membersPath+"/"+name+".json", content, 0o600)
	}
	must(t, mem.Mkfifo(membersPath+"/fifo.json"))
	must(t, mem.Symlink("good.json", membersPath+"/link.json"))
	for range 3 {
		if got := sortedMembers(t, m); len(got) != 1 || got[0].Node != "good" {
			t.Errorf("%+v", got)
		}
	}
	for name := range bad {
		if n := strings.Count(log.String(), fmt.Sprintf("members/%s.json", name)); n != 1 {
			t.Errorf("%s was logged %d times", name, n)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != len(bad)+2 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

func TestAMemberThatLeavesWhileTheRegisterIsReadIsNoError(t *testing.T) {
	mem := vfs.NewMemory()
	fault := vfs.NewFault(mem.Root())
	m, reader := open(t, mem.Root()), open(t, fault.Root())
	must(t, m.Announce(t.Context(), member("a")))
	hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpOpen })
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, err := reader.Members(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}()
	<-hang.Reached()
	must(t, m.Withdraw(t.Context(), "a"))
	hang.Release()
	<-done
}
