package raftlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// testLog is for the eyes of who sets SHOAL_TEST_LOG.
func testLog() *slog.Logger {
	if os.Getenv("SHOAL_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// The same over TLS on the loopback: many clients on few names, with messages
// that meet in the same buffers.
func TestLocksExcludeOneAnotherUnderLoad(t *testing.T) {
	nodes := realFleet(t, 3)
	const names, clients, rounds = 12, 8, 400
	var inside [names]atomic.Int32
	tokens := make([]lock.Token, names)
	var group sync.WaitGroup
	for i, n := range nodes {
		for c := range clients {
			group.Go(func() {
				for k := range rounds {
					name := (i + 7*c + 5*k) % names
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					ls, err := n.Acquire(ctx, lock.Exclusive, fmt.Sprintf("o/bucket%d/key", name))
					cancel()
					if err != nil {
						t.Errorf("node %d, client %d, round %d: %v", i, c, k, err)
						return
					}
					if inside[name].Add(1) != 1 {
						t.Errorf("%d is held twice", name)
					}
					if tokens[name].Compare(ls.Token()) >= 0 {
						t.Errorf("%d: token %v after %v", name, ls.Token(), tokens[name])
					}
					tokens[name] = ls.Token()
					inside[name].Add(-1)
					ls.Release()
				}
			})
		}
	}
	group.Wait()
}

func TestABucketsLockExcludesItsSharersOnEveryNode(t *testing.T) {
	nodes := realFleet(t, 3)
	var sharers, owners atomic.Int32
	var group sync.WaitGroup
	for i, n := range nodes {
		group.Go(func() {
			for k := range 60 {
				mode := lock.Shared
				if k%6 == i {
					mode = lock.Exclusive
				}
				ls, err := n.Acquire(t.Context(), mode, "b/bucket")
				if err != nil {
					t.Error(err)
					return
				}
				switch mode {
				case lock.Shared:
					sharers.Add(1)
					if owners.Load() > 0 {
						t.Error("shared while it is exclusive")
					}
					sharers.Add(-1)
				case lock.Exclusive:
					if owners.Add(1) > 1 || sharers.Load() > 0 {
						t.Error("exclusive while others have it")
					}
					owners.Add(-1)
				}
				ls.Release()
			}
		})
	}
	group.Wait()
}

func TestSeveralNamesAreTakenWithoutDeadlock(t *testing.T) {
	nodes := realFleet(t, 3)
	var group sync.WaitGroup
	for i, n := range nodes {
		for c := range 4 {
			group.Go(func() {
				for k := range 60 {
					a, b, d := (i+c+k)%5, (3*c+k)%5, (k*k+i)%5
					ls, err := n.Acquire(t.Context(), lock.Exclusive,
						fmt.Sprintf("o/b/%d", a), fmt.Sprintf("o/b/%d", b), fmt.Sprintf("o/c/%d", d), fmt.Sprintf("o/b/%d", a))
					if err != nil {
						t.Error(err)
						return
					}
					ls.Release()
				}
			})
		}
	}
	group.Wait()
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	n := realFleet(t, 2)
	held, err := n[0].Acquire(t.Context(), lock.Exclusive, "o/b/k")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range n {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := node.Acquire(ctx, lock.Exclusive, "o/b/k"); err == nil {
			t.Error("granted twice")
		}
		cancel()
	}
	held.Release()
	again, err := n[1].Acquire(t.Context(), lock.Exclusive, "o/b/k")
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func TestASettingIsInForceOnEveryNodeWhenSetReturns(t *testing.T) {
	nodes := realFleet(t, 3)
	var revision uint64
	for k := range 30 {
		var err error
		value := fmt.Sprint(k)
		if revision, err = nodes[k%3].Set(t.Context(), Change{Name: "user/ann", Value: []byte(value), If: &revision}); err != nil {
			t.Fatal(err)
		}
		for i, n := range nodes {
			if got, ok := n.Get("user/ann"); !ok || string(got.Value) != value || got.Revision != revision {
				t.Errorf("node %d has %q of revision %d, and %q of revision %d was set", i, got.Value, got.Revision, value, revision)
			}
		}
	}
	stale := revision - 1
	if _, err := nodes[1].Set(t.Context(), Change{Name: "user/ann", Delete: true, If: &stale}); err != ErrChanged { //nolint:errorlint // it is not wrapped
		t.Errorf("a stale revision: %v", err)
	}
	if _, err := nodes[2].Set(t.Context(), Change{Name: "user/ann", Delete: true, If: &revision}); err != nil {
		t.Error(err)
	}
	if _, ok := nodes[0].Get("user/ann"); ok {
		t.Error("it is still there")
	}
}

func TestAllNodesKnowTheOwnerOfAName(t *testing.T) {
	nodes := realFleet(t, 3)
	owners := make(map[string]bool)
	for k := range 100 {
		name := fmt.Sprintf("r/bucket-%d", k)
		var owner Owner
		for {
			var moved <-chan struct{}
			selves, known := 0, make(map[string]bool)
			for _, n := range nodes {
				owner, moved = n.Owner(name)
				known[owner.Session] = true
				if owner.Self {
					selves++
				}
			}
			if len(known) == 1 && selves == 1 && owner.Address != "" {
				break
			}
			<-moved // a node that has just joined
		}
		owners[owner.Session] = true
		for i, n := range nodes {
			if !n.Live(owner.Session) || n.Live("another") || n.Alone() {
				t.Errorf("node %d does not know who lives", i)
			}
		}
	}
	if len(owners) != 3 {
		t.Errorf("%d of 3 nodes own something", len(owners))
	}
}

func TestANodeThatIsFencedCannotProveOtherwise(t *testing.T) {
	n := realFleet(t, 1)[0]
	s, err := n.AwaitSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Prove(t.Context(), s); err != nil {
		t.Error(err)
	}
	own := s.(*session)
	if err := n.cfg.Arbiter.Fence(t.Context(), own.life.generation, own.dir); err != nil {
		t.Fatal(err)
	}
	if err := n.Prove(t.Context(), s); !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v", err)
	}
}

func TestANewFleetTakesASettingAtOnce(t *testing.T) {
	for range 20 {
		root, err := vfs.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		n := realNode(t, root, "first")
		if _, err := n.AwaitSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Set(t.Context(), Change{Name: "mount/mode", Value: []byte("x")}); err != nil {
			t.Error(err)
		}
	}
}
