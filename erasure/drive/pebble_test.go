package drive

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shoal-storage/shoal/erasure/register"
)

func TestCallsThatComeAfterTheEndOfAStoreFail(t *testing.T) {
	p, err := OpenPebbleIn(vfs.NewMem(), "kv", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	it, err := p.Scan([]byte("a"), []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for {
		if _, _, err := p.Get([]byte("a")); err != nil {
			if !errors.Is(err, register.ErrUnknown) {
				t.Errorf("a read: %v", err)
			}
			break
		}
		runtime.Gosched()
	}
	if err := p.Apply(&Batch{}, true); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("a write: %v", err)
	}
	if err := errors.Join(it.Close(), <-closed); err != nil {
		t.Errorf("it waits for what is under way: %v", err)
	}
}

// TestAStoreWhoseDiskFailsFailsAlone has each kind of writing fail after a while. Pebble
// ends the process then, unless it is kept from it. When the disk is well again another store
// is opened in its place.
func TestAStoreWhoseDiskFailsFailsAlone(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"write": {errorfs.OpFileWrite}, "sync": {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}, "create": {errorfs.OpCreate},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				for _, k := range kinds {
					if broken.Load() && op.Kind == k {
						return syscall.EIO
					}
				}
				return nil
			}))
			p, err := OpenPebbleIn(disk, "kv", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			apply := func(i int) error {
				var b Batch
				b.Set(fmt.Appendf(nil, "key %d", i), make([]byte, 64<<10))
				return p.Apply(&b, true)
			}
			for i := range 10 {
				if err := apply(i); err != nil {
					t.Fatal(err)
				}
			}
			broken.Store(true)
			failed := make(chan error, 1)
			go func() {
				for i := 10; ; i++ { // on and on: its memory fills, and has to be written
					if err := apply(i); err != nil {
						failed <- err
						return
					}
				}
			}()
			select {
			case err := <-failed:
				t.Logf("it says %v", err)
			case <-time.After(30 * time.Second):
				t.Fatal("nobody is told that the disk has failed")
			}
			if err := apply(0); err == nil {
				t.Error("a store that has failed takes something again")
			}
			if err := p.Failed(); !errors.Is(err, syscall.EIO) {
				t.Errorf("it has failed because of %v", err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("closing it: %v", err)
			}
			broken.Store(false)
			if p, err = OpenPebbleIn(disk, "kv", slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				if v, found, err := p.Get(fmt.Appendf(nil, "key %d", i)); err != nil || !found || len(v) != 64<<10 {
					t.Errorf("key %d, which it took before, has %d bytes, %v", i, len(v), err)
				}
			}
			for i := range 200 {
				if err := apply(i); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// overlapping returns a store with tables that a compaction reads, which somebody has damaged while it was closed.
func overlapping(t *testing.T, disk vfs.FS, damage func(name string)) *Pebble {
	t.Helper()
	p, err := OpenPebbleIn(disk, "kv", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	for range 3 {
		for i := range 500 {
			value := make([]byte, 4<<10)
			_, _ = random.Read(value)
			var b Batch
			b.Set(fmt.Appendf(nil, "key %03d", i), value)
			if err := p.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List("kv")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			damage("kv/" + name)
		}
	}
	if p, err = OpenPebbleIn(disk, "kv", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return p
}

// ends fails the test if a store has not failed soon, or cannot be closed.
func ends(t *testing.T, p *Pebble) {
	t.Helper()
	select {
	case <-p.failed:
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
	time.Sleep(50 * time.Millisecond) // for what a compaction does then
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestAStoreOfWhichATableIsDamagedFailsAlone: to Pebble that is the end of the process. Who reads has an answer.
func TestAStoreOfWhichATableIsDamagedFailsAlone(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, p *Pebble){
		"compacted": func(t *testing.T, p *Pebble) {
			go func() { _ = p.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false) }()
		},
		"read": func(t *testing.T, p *Pebble) {
			answered := make(chan error, 1)
			go func() {
				var err error
				for i := 0; i < 500 && err == nil; i++ {
					_, _, err = p.Get(fmt.Appendf(nil, "key %03d", i))
				}
				answered <- err
			}()
			select {
			case err := <-answered:
				if err == nil {
					t.Error("all of it is read")
				}
			case <-time.After(20 * time.Second):
				t.Error("a reader has no answer")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			p := overlapping(t, disk, func(name string) {
				f, err := disk.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				st, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				for at := st.Size() / 4; at < st.Size()*3/4; at += st.Size() / 10 {
					if _, err := f.WriteAt([]byte("damaged"), at); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			})
			use(t, p)
			ends(t, p)
		})
	}
}

// TestAStoreWhoseTablesCannotBeReadFails, and does not try to compact them as fast as it can.
func TestAStoreWhoseTablesCannotBeReadFails(t *testing.T) {
	var broken atomic.Bool
	var tried atomic.Int64
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
			tried.Add(1)
			return syscall.EIO
		}
		return nil
	}))
	p := overlapping(t, disk, func(string) {})
	broken.Store(true)
	go func() { _ = p.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false) }()
	ends(t, p)
	if n := tried.Load(); n > 100 {
		t.Errorf("it was tried %d times", n)
	}
}

// TestWantOfFilesIsNoEndOfAStore: a compaction that could not open a table is tried again.
func TestWantOfFilesIsNoEndOfAStore(t *testing.T) {
	var scarce atomic.Bool
	var refused atomic.Int64
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if scarce.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") && refused.Add(1) == 1 {
			return syscall.EMFILE
		}
		return nil
	}))
	p := overlapping(t, disk, func(string) {})
	scarce.Store(true)
	_ = p.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false)
	if err := p.Failed(); err != nil || refused.Load() == 0 {
		t.Errorf("after %d reads: %v", refused.Load(), err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
