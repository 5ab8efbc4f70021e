package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// TestACrashAtAnyCallLosesNothingThatWasAcknowledged cuts the power before each
// call of each operation, and after its answer. What was synced is left, and of
// the rest once nothing and once an arbitrary part.
func TestACrashAtAnyCallLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		for name, op := range operations() {
			t.Run(metadata.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(s, 0))
				before, after, calls := outcomes(t, metadata, op)
				for n := range cases(calls+1, rng.Uint64()) {
					crash(t, metadata, op, before, after, n, nil)
					if metadata == nasfs.Sidecar {
						crash(t, metadata, op, before, after, n, rng)
					}
				}
			})
		}
	}
}

// crash runs one operation, of which no call is made from the n-th on, loses
// what was not synced, and looks at what another process finds.
func crash(t *testing.T, metadata nasfs.MetadataMode, op func(context.Context, *scene) error, before, after map[string]string, n int, rng *rand.Rand) {
	t.Helper()
	memory := vfs.NewMemory()
	sc, last, opErr := dieAt(t, memory, metadata, op, n)
	memory.Crash(rng)
	what := fmt.Sprintf("crash (arbitrary: %v) before call %d, %v %q, answered %v", rng != nil, n, last.Op, last.Path, opErr)
	again, err := nasfs.Open(config2(t, memory, metadata))
	if err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	nasfs.Quiesce(again)
	noLeftovers(t, memory.Root(), what)
	seen := mustDump(t, again)
	if opErr == nil && !maps.Equal(seen, after) || !wholeOrAbsent(seen, before, after) {
		t.Errorf("%s: %s", what, difference(seen, before, after))
	}
	if !maps.Equal(seen, after) {
		sc.Store = again
		if err := op(t.Context(), sc); err != nil {
			t.Errorf("%s: and tried again %v", what, err)
		} else if seen = mustDump(t, again); !maps.Equal(seen, after) {
			t.Errorf("%s: and tried again %s", what, difference(seen, before, after))
		}
	}
	if err := again.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
}

// dieAt runs an operation of which no call is made from the n-th on. It
// returns that call.
func dieAt(t *testing.T, memory *vfs.Memory, metadata nasfs.MetadataMode, op func(context.Context, *scene) error, n int) (sc *scene, last vfs.OpCall, opErr error) {
	t.Helper()
	fault := vfs.NewFault(memory.Root())
	cfg := config(t, fault.Root())
	cfg.Logger = slog.New(slog.DiscardHandler) // a dying process complains much
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = metadata, 1<<40, 1<<41
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if sc, err = setUp(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	nasfs.Quiesce(s)
	left := n
	fault.Inject(func(c vfs.OpCall) error {
		if left--; left >= 0 {
			return nil
		}
		if left == -1 {
			last = c
		}
		return &injected{syscall.EIO}
	})
	opErr = op(t.Context(), sc)
	fault.Inject(func(vfs.OpCall) error { return &injected{syscall.EIO} })
	if err := s.Close(); err == nil {
		t.Error("a dead process closed its store")
	}
	return sc, last, opErr
}

// wholeOrAbsent reports whether all that is seen was there before or is after
// an operation, and nothing is missing that is there before and after, be it
// under another name.
func wholeOrAbsent(seen, before, after map[string]string) bool {
	for _, name := range slices.Concat(slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after))) {
		if seen[name] != before[name] && seen[name] != after[name] {
			return false
		}
	}
	have := slices.Collect(maps.Values(seen))
	kept := slices.Collect(maps.Values(after))
	for _, v := range before {
		if slices.Contains(kept, v) && !slices.Contains(have, v) {
			return false
		}
	}
	return true
}

// TestWhatIsAcknowledgedAtLastSurvivesACrash makes each call of an operation
// fail once, repeats the operation until it is acknowledged, and crashes.
func TestWhatIsAcknowledgedAtLastSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for name, op := range operations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, after, calls := outcomes(t, nasfs.Sidecar, op)
			for n := range cases(calls, s) {
				repeatAndCrash(t, op, after, n)
			}
		})
	}
}

func repeatAndCrash(t *testing.T, op func(context.Context, *scene) error, after map[string]string, n int) {
	t.Helper()
	memory := vfs.NewMemory()
	fault := vfs.NewFault(memory.Root())
	cfg := config(t, fault.Root())
	cfg.Metadata, cfg.ProbeInterval, cfg.ProbeTimeout = nasfs.Sidecar, 1<<40, 1<<41
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	nasfs.Quiesce(s)
	left := n
	fault.Inject(func(vfs.OpCall) error {
		if left--; left == -1 {
			return &injected{syscall.EIO}
		}
		return nil
	})
	first := op(t.Context(), sc)
	acknowledged := first == nil || op(t.Context(), sc) == nil
	memory.Crash(nil)
	_ = s.Close() // of a dead process
	again, err := nasfs.Open(config2(t, memory, nasfs.Sidecar))
	if err != nil {
		t.Fatal(err)
	}
	seen := mustDump(t, again)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if acknowledged && !maps.Equal(seen, after) {
		t.Errorf("call %d failed, %v, then acknowledged, then lost: %s", n, first, difference(seen, after, after))
	}
}

// TestATreeThatWasNeverOpenedInFullOpens crashes at each call of the first Open
// of a tree, and of the second.
func TestATreeThatWasNeverOpenedInFullOpens(t *testing.T) {
	t.Parallel()
	for _, opens := range []int{0, 1} {
		for n := 0; ; n++ {
			memory := vfs.NewMemory()
			for range opens {
				if err := open2(t, memory).Close(); err != nil {
					t.Fatal(err)
				}
			}
			fault := vfs.NewFault(memory.Root())
			left := n
			fault.Inject(func(vfs.OpCall) error {
				if left--; left < 0 {
					return &injected{syscall.EIO}
				}
				return nil
			})
			cfg := config2(t, memory, nasfs.Auto)
			cfg.Root = fault.Root()
			s, err := nasfs.Open(cfg)
			if err == nil {
				_ = s.Close() // it may succeed or not
			} else if _, ok := errors.AsType[*object.Error](err); !ok {
				t.Errorf("call %d: %v is without a Kind", n, err)
			}
			memory.Crash(nil)
			if err := open2(t, memory).Close(); err != nil {
				t.Errorf("call %d: %v", n, err)
			}
			if left >= 0 {
				break
			}
		}
	}
}

func open2(t *testing.T, memory *vfs.Memory) *nasfs.Store {
	t.Helper()
	s, err := nasfs.Open(config2(t, memory, nasfs.Auto))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
