package drive

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// small is a size of segments that have three shards of smallShard bytes.
const (
	small      = 3 * 12 << 10
	smallShard = 10_000
)

func TestCompactingGivesBackWhatIsFreedAndKeepsTheRest(t *testing.T) {
	b := newBed(t, small)
	for n := range byte(9) {
		b.must(b.write(n, smallShard))
	}
	before := b.names()
	if len(before) != 3 {
		t.Fatalf("segments are %v, want three of three shards each", before)
	}
	for _, n := range []byte{0, 1, 3, 4, 5, 6} { // two of the first, all of the second, one of the third
		b.must(b.d.Drop(t.Context(), dataID(n)))
	}
	b.d.compactAll()
	after := b.names()
	if slices.Contains(after, before[0]) || slices.Contains(after, before[1]) || !slices.Contains(after, before[2]) {
		t.Errorf("of %v there are %v", before, after)
	}
	for range 2 { // and after a start
		for n := range byte(9) {
			if n == 2 || n >= 7 {
				b.has(n, smallShard)
			} else if _, err := b.read(n, 0, 1); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("shard %d is there: %v", n, err)
			}
		}
		b.must(b.d.Close())
		b.open()
	}
}

func TestADamagedEntryIsKeptWhereItIs(t *testing.T) {
	b := newBed(t, 2*small)
	for n := range byte(7) { // the last one in another segment
		b.must(b.write(n, smallShard))
	}
	note, _, err := b.store.Get(dataName(dataID(5)))
	b.must(err)
	damaged, _ := parsePlace(note)
	var wrong Batch // as if it were another one's
	damaged.index(&wrong, dataID(99))
	b.must(b.store.Apply(&wrong, true))
	for n := range byte(4) {
		b.must(b.d.Drop(t.Context(), dataID(n)))
	}
	b.d.compactAll()
	g := b.d.segments.all[damaged.segment]
	if g == nil || g.live != damaged.size() {
		t.Fatalf("of its segment there is %+v, want %d bytes in use", g, damaged.size())
	}
	for n := range byte(3) {
		b.has(n+4, smallShard)
	}
}

func TestAShardThatIsNotNotedYetIsNotRemoved(t *testing.T) {
	b := newBed(t, small)
	f := draft{spool: &b.d.spool}
	f.write(content(0, smallShard))
	w, err := b.d.segments.store(dataID(0), &f)
	b.must(err)
	for n := range byte(3) {
		b.must(b.write(n+1, smallShard))
	}
	for n := range byte(2) {
		b.must(b.d.Drop(t.Context(), dataID(n+1)))
	}
	b.d.compactAll()
	b.must(b.d.keep(dataID(0), w.note()))
	b.d.segments.done(w, true)
	for range 2 { // and once it can be compacted
		b.has(0, smallShard)
		b.d.compactAll()
	}
	if len(b.d.segments.all) != 1 {
		t.Errorf("there are %d segments, want one", len(b.d.segments.all))
	}
}

func TestWhatIsFreedWhileItIsMovedIsGone(t *testing.T) {
	b := newBed(t, small)
	for n := range byte(4) {
		b.must(b.write(n, smallShard))
	}
	entries, err := b.d.segments.entries(1, compactStep)
	b.must(err)
	b.must(b.d.Drop(t.Context(), dataID(0)))
	b.must(b.d.moveAll(entries))
	if _, err := b.read(0, 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	b.d.compactAll()
	b.accounted()
	b.has(1, smallShard)
	b.has(2, smallShard)
}

func TestAReaderFindsWhatIsMovedMeanwhile(t *testing.T) {
	b := newBed(t, small)
	for n := range byte(4) {
		b.must(b.write(n, smallShard))
	}
	b.must(b.d.Drop(t.Context(), dataID(0)))
	b.must(b.d.Drop(t.Context(), dataID(1)))
	b.store.got = b.d.compactAll // once the reader knows where it is
	b.has(2, smallShard)
	if got := b.names(); slices.Contains(got, segmentFile(1)) {
		t.Errorf("segments are %v, want the first one gone", got)
	}
}

func TestWhoReadsASegmentThatIsRemovedHasIt(t *testing.T) {
	b := newBed(t, small)
	for n := range byte(4) {
		b.must(b.write(n, smallShard))
	}
	hang := b.fault.Hang(func(c vfs.OpCall) bool { return inSegments(c, vfs.OpRead) })
	defer hang.Release()
	got := make(chan []byte)
	go func() {
		read, _ := b.read(0, 0, smallShard) // looked at below
		got <- read
	}()
	<-hang.Reached()
	for n := range byte(3) {
		b.must(b.d.Drop(t.Context(), dataID(n)))
	}
	b.d.compactAll()
	if names := b.names(); len(names) != 1 {
		t.Errorf("segments are %v, want the last one", names)
	}
	hang.Release()
	if !bytes.Equal(<-got, content(0, smallShard)) {
		t.Error("it has not what it reads")
	}
	if len(b.d.segments.reading) != 0 {
		t.Error("the segment is open still")
	}
}

// TestShardsAreThereWhileTheyAreMoved has shards come and go, in the background compacted,
// while others are read on and on.
func TestShardsAreThereWhileTheyAreMoved(t *testing.T) {
	b := newBed(t, small)
	b.must(b.d.Close())
	d := New(b.store, b.d.files, nil)
	b.must(d.UseSegments(b.disk.Root(), slog.New(slog.DiscardHandler)))
	b.d, d.segments.size = d, small
	stay := []byte{0, 50, 100, 150}
	var over atomic.Bool
	var readers sync.WaitGroup
	for _, n := range stay {
		b.must(b.write(n, smallShard))
		b.must(b.write(n+1, smallShard))
		b.must(b.write(n+2, smallShard))
		readers.Go(func() {
			for !over.Load() {
				b.has(n, smallShard)
			}
		})
	}
	for range 20 {
		for _, n := range stay {
			for k := n + 1; k < n+3; k++ {
				b.must(d.Drop(t.Context(), dataID(k)))
				b.must(b.write(k, smallShard))
			}
		}
	}
	over.Store(true)
	readers.Wait()
	for _, n := range stay {
		for k := n; k < n+3; k++ {
			b.has(k, smallShard)
		}
	}
}

var errDead = errors.New("the process has ended")

// TestACrashDuringCompactionLosesNothing ends the process at each step of it, and loses any part
// of what was not synced.
func TestACrashDuringCompactionLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for step := 0; ; step++ {
		b := newBed(t, small)
		for n := range byte(9) {
			b.must(b.write(n, smallShard))
			b.must(b.commit(n))
		}
		freed := []byte{0, 1, 4, 5, 6}
		for _, n := range freed {
			b.must(b.unref(n))
			b.must(b.d.free(dataID(n)))
		}
		whole := b.dieAt(step, b.d.compactAll)
		b.crash(r)
		for range 2 { // then it is compacted
			for n := range byte(9) {
				if !slices.Contains(freed, n) {
					b.has(n, smallShard)
				}
			}
			for _, n := range freed { // the end of which may have been forgotten
				b.must(b.d.free(dataID(n)))
			}
			b.d.compactAll()
		}
		b.accounted()
		if whole {
			if step < 10 {
				t.Errorf("compacting took %d steps", step)
			}
			return
		}
	}
}

// dieAt has nothing succeed on the disk from a step on, and reports whether it came to that.
func (b *bed) dieAt(step int, do func()) (whole bool) {
	var steps atomic.Int64
	dead := func() error {
		if steps.Add(1) > int64(step) {
			return errDead
		}
		return nil
	}
	b.fault.Inject(func(c vfs.OpCall) error {
		switch c.Op { //nolint:exhaustive // what changes the disk
		case vfs.OpCreate, vfs.OpRemove, vfs.OpSyncDir, vfs.OpWrite, vfs.OpSync:
			return dead()
		}
		return nil
	})
	b.store.fail = dead
	do()
	return steps.Load() <= int64(step)
}

// accounted checks that the drive knows what is in use of each segment, and that no more
// than half of any is garbage that is not written to.
func (b *bed) accounted() {
	b.t.Helper()
	live := make(map[uint32]int64)
	it, err := b.d.segments.index()
	b.must(err)
	for it.Next() {
		e, entry, err := parseIndex(it.Key(), it.Value())
		b.must(err)
		if !entry {
			continue
		}
		live[e.segment] += e.size()
		note, _, err := b.store.Get(dataName(e.id))
		b.must(err)
		if p, ok := parsePlace(note); !ok || p != e.place {
			b.t.Errorf("what is in use at %v is noted at %v", e.place, p)
		}
	}
	b.must(it.Close())
	for number, g := range b.d.segments.all {
		if g.live != live[number] || g.pending != 0 {
			b.t.Errorf("segment %d has %d bytes in use and %d pending, and counts %d", number, live[number], g.pending, g.live)
		}
		if g.full && 2*g.live < g.size.Load() {
			b.t.Errorf("segment %d has %d bytes in use of %d", number, g.live, g.size.Load())
		}
	}
	if got := len(b.names()); got != len(b.d.segments.all) {
		b.t.Errorf("there are %d segments on the disk, and %d known", got, len(b.d.segments.all))
	}
}

// TestWhateverACrashLeavesWhatWasCommittedIsThere writes, frees and compacts at random, and
// has the power fail now and then.
func TestWhateverACrashLeavesWhatWasCommittedIsThere(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := newBed(t, small)
		kept := make(map[byte]int) // sizes of what was committed
		for next := byte(0); next < 200; {
			switch r.IntN(10) {
			default:
				size := maxInline + 1 + r.IntN(10_000)
				b.must(b.write(next, size))
				if r.IntN(4) > 0 {
					b.must(b.commit(next))
					kept[next] = size
				}
				next++
			case 6, 7:
				for n := range kept {
					b.must(b.unref(n))
					b.must(b.d.free(dataID(n)))
					delete(kept, n)
					break
				}
			case 8:
				b.d.compactAll()
			case 9:
				b.dieAt(r.IntN(30), func() { _ = b.write(next, smallShard); b.d.compactAll() })
				next++
				b.crash(r)
			}
		}
		for n, size := range kept {
			b.has(n, size)
		}
		for n := range byte(200) {
			if _, ok := kept[n]; !ok {
				b.must(b.d.free(dataID(n)))
			}
		}
		b.d.compactAll()
		b.accounted()
		for n, size := range kept {
			b.has(n, size)
		}
	}
}
