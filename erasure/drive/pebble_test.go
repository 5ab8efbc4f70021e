package drive

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
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
