package drive

import (
	"errors"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// toldKV tells what it is asked to write durably.
type toldKV struct {
	KV
	wrote int
}

func (k *toldKV) Apply(b *Batch, sync bool) error {
	if sync {
		k.wrote++
	}
	return k.KV.Apply(b, sync)
}

func TestWhereShardsCannotBeWrittenTheStoreIsAskedWhetherItCan(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory().Root())
	files, err := OpenFiles(fault.Root())
	if err != nil {
		t.Fatal(err)
	}
	store := &toldKV{KV: NewMemory()}
	d := New(store, files, nil)
	defer d.Close()
	fault.Inject(func(c vfs.OpCall) error {
		if c.Op == vfs.OpCreate {
			return syscall.EROFS
		}
		return nil
	})
	w, err := d.Create(t.Context(), register.DataID{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, maxInline+1)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a write: %v", err)
	}
	if store.wrote != 1 {
		t.Errorf("it is asked %d times", store.wrote)
	}
	w.Abort()
}

// TestADriveThatIsClosedDoesNothingAnyMore closes it while a shard is being written.
func TestADriveThatIsClosedDoesNothingAnyMore(t *testing.T) {
	b := newBed(t, 1<<20)
	w, err := b.d.Create(t.Context(), register.DataID{1}, 0)
	b.must(err)
	_, err = w.Write(make([]byte, 100_000))
	b.must(err)
	b.must(b.d.Close())
	if _, err := w.Write([]byte{1}); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("a write: %v", err)
	}
	if err := w.Finish(); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("the end of the shard: %v", err)
	}
	if n := b.d.spool.taken.Load(); n != 0 {
		t.Errorf("it keeps %d pieces of memory", n)
	}
	if _, err := b.d.ReadShard(t.Context(), register.DataID{1}, 0, make([]byte, 1)); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("a read: %v", err)
	}
	b.open() // the cleanup closes one that is open
}
