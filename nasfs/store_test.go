package nasfs_test

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// seed returns the seed of a random test: SHOAL_SEED, or one that is drawn and
// printed.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if text := os.Getenv("SHOAL_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHOAL_SEED=%d", s)
	return s
}

// rounds returns how often a test tries something that it would try n times:
// with -short a fifth of that.
func rounds(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

// stride returns which of the cases of a test it tries: the first and how far the next is. With -short,
// where the race detector makes each ten times as long, it is every 15th from one on that s chooses.
func stride(s uint64) (first, step int) {
	if testing.Short() {
		return int(s % 15), 15
	}
	return 0, 1
}

// cases returns which of n cases a test tries.
func cases(n int, s uint64) iter.Seq[int] {
	first, step := stride(s)
	return func(yield func(int) bool) {
		for i := first; i < n && yield(i); i += step {
		}
	}
}

// config returns a configuration over root with a log that fits a test.
func config(t testing.TB, root vfs.Dir) nasfs.Config {
	cfg := nasfs.DefaultConfig()
	cfg.Root = root
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	return cfg
}

// drop is Delete for tests that look at nothing but its error.
func drop(ctx context.Context, s object.Store, r object.Ref, check object.Check) error {
	_, err := s.Delete(ctx, r, check)
	return err
}

// open opens a Store that is closed at the end of the test.
func open(t testing.TB, cfg nasfs.Config) *nasfs.Store {
	t.Helper()
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func osRoot(t testing.TB) vfs.Dir {
	t.Helper()
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// kinds are the Stores that have to keep every promise: each file system with
// each way to keep metadata, and with calls made in either way. Real disks are
// not waited for, which TestOperationsWaitForARealDisk does.
func kinds() map[string]func(t *testing.T) nasfs.Config {
	return withMounted(map[string]func(t *testing.T) nasfs.Config{
		"os": func(t *testing.T) nasfs.Config {
			cfg := config(t, osRoot(t))
			cfg.Durability = nasfs.Relaxed
			return cfg
		},
		"os with sidecars, detached": func(t *testing.T) nasfs.Config {
			cfg := config(t, osRoot(t))
			cfg.Metadata, cfg.Detach, cfg.Durability = nasfs.Sidecar, nasfs.DetachAlways, nasfs.Relaxed
			return cfg
		},
		"memory": func(t *testing.T) nasfs.Config { return config(t, vfs.NewMemory().Root()) },
		"memory without attributes and clones": func(t *testing.T) nasfs.Config {
			return config(t, vfs.NewMemory(vfs.WithoutXattr(), vfs.WithoutClone()).Root())
		},
	}, func(t *testing.T) nasfs.Config { return mountedTree(t)() })
}

func TestStoreKeepsItsPromises(t *testing.T) {
	t.Parallel()
	kinds := kinds()
	if testing.Short() { // the race detector sees nothing else in these
		delete(kinds, "os")
		delete(kinds, "memory without attributes and clones")
	}
	for name, cfg := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Run(t, func(t *testing.T) object.Store { return open(t, cfg(t)) })
		})
	}
}

func TestStoreAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for name, cfg := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Model(t, func(t *testing.T) object.Store { return open(t, cfg(t)) }, s, 3000)
		})
	}
}

// TestOperationsWaitForARealDisk: a real file system takes every call that
// makes a change durable.
func TestOperationsWaitForARealDisk(t *testing.T) {
	t.Parallel()
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		for name, op := range operations() {
			cfg := config(t, osRoot(t))
			cfg.Metadata = metadata
			sc, err := setUp(t.Context(), open(t, cfg))
			if err != nil {
				t.Fatal(err)
			}
			if err := op(t.Context(), sc); err != nil {
				t.Errorf("%s, %s: %v", metadata, name, err)
			}
		}
	}
}
