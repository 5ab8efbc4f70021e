package drive

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	pebblefs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// machine is a disk of which the power can fail, and a drive on it with its real store.
type machine struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *vfs.Memory
	store *pebblefs.MemFS
	left  atomic.Int64 // steps until the power fails
	d     *Drive
}

// step is one that changes the disk.
func (m *machine) step() error {
	if m.left.Add(-1) < 0 {
		return errDead
	}
	return nil
}

// start opens the drive, and has the power fail so many steps later.
func (m *machine) start(steps int64) error {
	m.left.Store(steps)
	fault := vfs.NewFault(m.disk.Root())
	fault.Inject(func(c vfs.OpCall) error {
		switch c.Op { //nolint:exhaustive // what changes the disk
		case vfs.OpCreate, vfs.OpMkdir, vfs.OpRemove, vfs.OpRename, vfs.OpSyncDir, vfs.OpWrite, vfs.OpSync:
			return m.step()
		}
		return nil
	})
	fault.InjectAfter(func(c vfs.OpCall) error {
		if c.Op == vfs.OpSync && strings.HasPrefix(c.Path, dataDir) { // what treeFile.Finish believes of file systems
			dir, err := m.disk.Root().OpenDir(path.Dir(c.Path))
			return errors.Join(err, dir.Sync(), dir.Close())
		}
		return nil
	})
	store := errorfs.Wrap(m.store, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return m.step()
		}
		return nil
	}))
	files, err := OpenFiles(fault.Root())
	if err != nil {
		return err
	}
	kv, err := OpenPebbleIn(store, "kv", slog.New(slog.DiscardHandler))
	if err != nil {
		return errors.Join(err, files.Close())
	}
	m.d = New(kv, files, nil)
	entries, err := m.d.openSegments(fault.Root(), slog.New(slog.DiscardHandler), small)
	if err == nil {
		err = errors.Join(m.d.segments.count(entries), m.d.StartLog())
	}
	if err != nil {
		return errors.Join(err, m.d.Close())
	}
	return nil
}

// lose ends what runs, and loses some of what was not synced.
func (m *machine) lose() {
	m.disk.Crash(m.rng)
	percent := m.rng.IntN(101)
	m.store = m.store.CrashClone(pebblefs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: m.rng})
}

// sizeOf is how long the shard of a content is, and whether it is said to be longer, so that it
// has a file of its own.
func sizeOf(n byte) (size int, file bool) {
	return []int{100, maxInline + 1, 20_000, 15_000}[n%4], n%4 == 3
}

func (m *machine) write(n byte) error {
	var expected int64
	size, file := sizeOf(n)
	if file {
		expected = maxSegmented + 1
	}
	w, err := m.d.Create(m.t.Context(), dataID(n), expected)
	if err != nil {
		return err
	}
	if _, err := w.Write(content(n, size)); err != nil {
		w.Abort()
		return err
	}
	return w.Finish()
}

// commit gives a key a new content, in the place of the one before.
func (m *machine) commit(key string, n byte) error {
	token := register.Token{Lease: lock.Token{Generation: 1, Epoch: 1, Sequence: uint64(n) + 1}}
	r := register.Record{Version: register.Null, Kind: register.Object, Made: token, Changed: token, Quorum: 1, Need: 1, Data: []register.DataID{dataID(n)}}
	if err := m.d.Commit(m.t.Context(), register.Change{Key: register.Key{Name: key}, Record: r, Strict: true}); err != nil {
		return err
	}
	return m.d.Decide(m.t.Context(), []register.Decision{{Key: register.Key{Name: key}, Version: register.Null, Made: token, Changed: token, Everywhere: everywhere(n)}})
}

// everywhere reports whether it is told of a content that every drive has it.
func everywhere(n byte) bool { return n%3 == 0 }

// pending returns the keys of registers that are pending.
func (m *machine) pending() map[string]bool {
	m.t.Helper()
	page, err := m.d.Pending(m.t.Context(), register.PendingQuery{Limit: 100})
	if err != nil {
		m.t.Error(err)
	}
	all := make(map[string]bool)
	for _, item := range page.Items {
		key, _, err := register.DecodeKey([]byte(item.Name))
		if err != nil {
			m.t.Error(err)
		}
		all[key.Name] = true
	}
	return all
}

// run writes, replaces, frees and compacts, and notes the last content that each key was
// acknowledged to have, until the power fails.
func (m *machine) run(acknowledged map[string]byte) error {
	for n := range byte(24) {
		key := string(rune('a' + n%7))
		if err := m.write(n); err != nil {
			return err
		}
		if err := m.commit(key, n); err != nil {
			return err
		}
		acknowledged[key] = n
		if n%8 == 7 {
			for old := range n - 7 {
				if err := m.d.Drop(m.t.Context(), dataID(old)); err != nil {
					return err
				}
			}
			m.d.compactAll()
		}
	}
	return nil
}

// check looks that each key has what it was acknowledged to have, or what came after, and all
// of it, and that it is noted as pending unless every drive has it.
func (m *machine) check(acknowledged map[string]byte) {
	m.t.Helper()
	pending := m.pending()
	for k := range 7 {
		key := string(rune('a' + k))
		v, err := m.d.Read(m.t.Context(), register.Query{Key: register.Key{Name: key}, Version: register.Null})
		if err != nil {
			m.t.Errorf("%s: %v", key, err)
			continue
		}
		last, was := acknowledged[key]
		if len(v.Entries) == 0 {
			if was {
				m.t.Errorf("%s is gone, and had content %d", key, last)
			}
			continue
		}
		n := v.Entries[0].Data[0][0]
		if was && n == last && !v.Entries[0].Shard {
			m.t.Errorf("%s has content %d, of which the drive does not vouch for its shard", key, n)
		}
		if was && n < last {
			m.t.Errorf("%s has content %d, and had %d", key, n, last)
		}
		if !everywhere(n) && !pending[key] {
			m.t.Errorf("%s has content %d, which others may lack, and that is not noted", key, n)
		}
		size, _ := sizeOf(n)
		p := make([]byte, size+1)
		if got, err := m.d.ReadShard(m.t.Context(), dataID(n), 0, p); err != nil || string(p[:got]) != string(content(n, size)) {
			m.t.Errorf("%s: shard %d has %d bytes of %d, %v", key, n, got, size, err)
		}
	}
}

// TestAPowerCutAtAnyStepLeavesWhatWasAcknowledged has the power fail at each step that changes
// the disk, and again while the drive is opened after that.
func TestAPowerCutAtAnyStepLeavesWhatWasAcknowledged(t *testing.T) {
	for at, whole := int64(0), false; !whole; at++ {
		m := &machine{t: t, rng: rand.New(rand.NewPCG(uint64(at), 3)), disk: vfs.NewMemory(), store: pebblefs.NewCrashableMem()}
		acknowledged := make(map[string]byte)
		err := m.start(at)
		if err == nil {
			err = m.run(acknowledged)
			whole = err == nil
			_ = m.d.Close() // its disk has failed
		}
		m.lose()
		if m.start(m.rng.Int64N(60)) == nil {
			_ = m.d.Close() // the same
		}
		m.lose()
		if err := m.start(1 << 40); err != nil {
			t.Fatalf("cut at step %d: %v", at, err)
		}
		m.check(acknowledged)
		if err := m.d.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Fatalf("cut at step %d", at)
		}
		if whole {
			t.Logf("%d steps", at)
		}
	}
}
