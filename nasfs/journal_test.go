package nasfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

var (
	_ events.Journal = (*nasfs.Store)(nil)
	_ events.Journal = (*nasfs.Fleet)(nil)
)

// keep keeps a batch.
func keep(t *testing.T, j events.Journal, content string) string {
	t.Helper()
	name, err := j.Keep(t.Context(), "1.webhook.A", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// left returns the contents of the batches that others have left, in order.
func left(t *testing.T, j events.Journal) []string {
	t.Helper()
	names, err := j.Left(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range names {
		content, err := j.Fetch(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(content))
	}
	return all
}

func TestABatchIsKeptUntilItIsDropped(t *testing.T) {
	for name, cfg := range kinds() {
		t.Run(name, func(t *testing.T) {
			s := open(t, cfg(t))
			first, second := keep(t, s, "first"), keep(t, s, "second")
			if first >= second || !strings.HasSuffix(first, ".1.webhook.A") {
				t.Errorf("the names are %s and %s", first, second)
			}
			if got, err := s.Fetch(t.Context(), first); err != nil || string(got) != "first" {
				t.Errorf("fetched %q, %v", got, err)
			}
			for range 2 {
				if err := s.Drop(t.Context(), first); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Fetch(t.Context(), first); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("fetched after it was dropped: %v", err)
			}
			if got := left(t, s); got != nil {
				t.Errorf("of its own session are left %q", got)
			}
			if list, err := s.ListBuckets(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("buckets: %v, %v", list, err)
			}
		})
	}
}

func TestTheNextProcessFindsWhatTheLastOneHasKept(t *testing.T) {
	memory := vfs.NewMemory()
	s := open2(t, memory)
	for i := range 12 {
		keep(t, s, fmt.Sprintf("%02d", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, config2(t, memory, nasfs.Auto))
	keep(t, s, "its own")
	got := left(t, s)
	if len(got) != 12 || !slices.IsSorted(got) {
		t.Errorf("left are %q", got)
	}
	names, err := s.Left(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := s.Drop(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if got := left(t, s); got != nil {
		t.Errorf("left after all were dropped: %q", got)
	}
}

// TestABatchSurvivesACrashAtAnyCall cuts the power before each call of Keep, and after
// its answer.
func TestABatchSurvivesACrashAtAnyCall(t *testing.T) {
	for n := 0; ; n++ {
		memory := vfs.NewMemory()
		fault := vfs.NewFault(memory.Root())
		cfg := config2(t, memory, nasfs.Sidecar)
		cfg.Root = fault.Root()
		s, err := nasfs.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		remaining := n
		fault.Inject(func(vfs.OpCall) error {
			if remaining--; remaining >= 0 {
				return nil
			}
			return &injected{syscall.EIO}
		})
		_, keptErr := s.Keep(t.Context(), "1.webhook.A", []byte("batch"))
		memory.Crash(nil)
		_ = s.Close() // of a dead process
		again := open2(t, memory)
		got := left(t, again)
		if keptErr == nil && !slices.Equal(got, []string{"batch"}) || len(got) > 1 || len(got) == 1 && got[0] != "batch" {
			t.Errorf("crash before call %d, answered %v: left are %q", n, keptErr, got)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		if remaining >= 0 {
			return
		}
	}
}

func TestOthersInheritOnlyWhatAGatewayThatIsFencedHasKept(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		keep(t, w.gateways[0], "kept")
		if got := left(t, w.gateways[1]); got != nil {
			t.Errorf("left while it lives: %q", got)
		}
		tell := w.members[0].expire()
		if got := left(t, w.gateways[1]); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("left when it is fenced: %q", got)
		}
		_, err := w.gateways[0].Keep(t.Context(), "1.webhook.A", []byte("late"))
		is(t, "keep after the fence", err, object.Unavailable)
		if got := left(t, w.gateways[1]); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("left after it tried: %q", got)
		}
		tell()
		w.members[0].begin()
		keep(t, w.gateways[0], "in the next session")
		if got := left(t, w.gateways[0]); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("left of its last session: %q", got)
		}
	})
}
