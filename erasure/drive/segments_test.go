package drive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// bed is a disk that can lose what was not synced, and a drive on it.
type bed struct {
	t     *testing.T
	disk  *vfs.Memory
	fault *vfs.Fault
	store *crashKV
	size  int64 // of segments
	d     *Drive
	now   uint64 // the last token
}

func newBed(t *testing.T, size int64) *bed {
	b := &bed{t: t, disk: vfs.NewMemory(), store: &crashKV{Memory: NewMemory()}, size: size}
	b.open()
	t.Cleanup(func() { _ = b.d.Close() }) // some disks have failed
	return b
}

// open opens the drive, as after the start of a process. Nothing is compacted by itself.
func (b *bed) open() {
	b.t.Helper()
	b.fault = vfs.NewFault(b.disk.Root())
	files, err := OpenFiles(b.fault.Root())
	b.must(err)
	b.d = New(b.store, files, nil)
	entries, err := b.d.openSegments(b.fault.Root(), slog.New(slog.DiscardHandler), b.size)
	b.must(err)
	b.must(b.d.segments.count(entries))
}

// crash ends the process and the power.
func (b *bed) crash(r *rand.Rand) {
	b.t.Helper()
	b.disk.Crash(r)
	b.store.crash(r)
	b.open()
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// content returns what the shard of a content is, of a number of bytes that is its own: whole units,
// if it can be as long as that.
func content(n byte, size int) []byte {
	const trailer = shard.UnitSize - shard.UnitData
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{n}).Read(data)
	if last := size % shard.UnitSize; last > 0 && last <= trailer {
		return data
	}
	data = data[:size-(size+shard.UnitSize-1)/shard.UnitSize*trailer]
	codec, err := shard.NewCodec(shard.Geometry{K: 1})
	var c bytes.Buffer
	if err == nil {
		w := codec.NewWriter(shard.ID(dataID(n)), int64(len(data)), []io.Writer{&c}, 1)
		_, err1 := w.Write(data)
		_, err2 := w.Close()
		err = errors.Join(err1, err2)
	}
	if err != nil {
		panic(err) // in memory
	}
	return c.Bytes()
}

func dataID(n byte) register.DataID { return register.DataID{n, 1} }

// write writes the shard of a content in pieces.
func (b *bed) write(n byte, size int) error {
	w, err := b.d.Create(b.t.Context(), dataID(n), 0)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(content(n, size), 100_000) {
		if _, err := w.Write(piece); err != nil {
			w.Abort()
			return err
		}
	}
	return w.Finish()
}

// commit makes what refers to a content durable.
func (b *bed) commit(n byte) error {
	b.now++
	token := register.Token{Lease: lock.Token{Generation: 1, Epoch: 1, Sequence: b.now}}
	r := register.Record{Version: register.Null, Kind: register.Object, Made: token, Changed: token, Quorum: 1, Need: 1, Data: []register.DataID{dataID(n)}}
	return b.d.Commit(b.t.Context(), register.Change{Key: register.Key{Name: string(rune(n))}, Record: r, Strict: true})
}

// unref has nothing refer to a content any more, durably.
func (b *bed) unref(n byte) error {
	var batch Batch
	batch.Remove(refName(dataID(n), register.Key{Name: string(rune(n))}.Append(nil), register.Null))
	return b.store.Apply(&batch, true)
}

func (b *bed) has(n byte, size int) {
	b.t.Helper()
	got, err := b.read(n, 0, size+1)
	if err != nil || !bytes.Equal(got, content(n, size)) {
		b.t.Errorf("shard %d: %d bytes of %d, %v", n, len(got), size, err)
	}
}

// read returns so many bytes of the shard of a content from an offset, or fewer where it ends.
func (b *bed) read(n byte, offset int64, length int) ([]byte, error) {
	p := make([]byte, length)
	read, err := b.d.ReadShard(b.t.Context(), dataID(n), offset, p)
	return p[:read], err
}

// where returns the first byte of the note of a shard.
func (b *bed) where(n byte) byte {
	note, found, err := b.store.Get(dataName(dataID(n)))
	if err != nil || !found {
		b.t.Fatalf("shard %d: %v, %v", n, found, err)
	}
	return note[0]
}

// names returns the segments that are on the disk.
func (b *bed) names() (all []string) {
	b.t.Helper()
	entries, err := b.d.segments.dir.ReadDir()
	b.must(err)
	for _, e := range entries {
		all = append(all, e.Name)
	}
	slices.Sort(all)
	return all
}

// crashKV is a KV that can lose what was not synced, and fail.
type crashKV struct {
	*Memory
	mu      sync.Mutex
	fail    func() error // nil: nothing fails
	got     func()       // nil, or what is done once, after a Get
	batches []Batch
	durable int
}

func (k *crashKV) Get(key []byte) ([]byte, bool, error) {
	v, found, err := k.Memory.Get(key)
	if do := k.got; do != nil {
		k.got = nil
		do()
	}
	return v, found, err
}

func (k *crashKV) Apply(b *Batch, sync bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(); err != nil {
			return err
		}
	}
	k.batches = append(k.batches, Batch{ops: slices.Clone(b.ops)})
	if sync {
		k.durable = len(k.batches)
	}
	return k.Memory.Apply(b, sync)
}

// crash keeps what is durable and, of what came after, any first part.
func (k *crashKV) crash(r *rand.Rand) {
	k.durable += r.IntN(len(k.batches) - k.durable + 1)
	k.batches, k.fail = k.batches[:k.durable], nil
	k.Memory = NewMemory()
	for i := range k.batches {
		_ = k.Memory.Apply(&k.batches[i], false) // in memory
	}
}

func TestShardsAreWhereTheirSizeSays(t *testing.T) {
	b := newBed(t, segmentSize)
	sizes := map[int]byte{
		1: isInline, maxInline: isInline, maxInline + 1: isSegment, 100_000: isSegment, pieceSize - headerSize: isSegment,
		pieceSize: isSegment, maxSegmented: isSegment, maxSegmented + 1: isFile,
	}
	for range 2 { // and after a start
		for i, size := range sortedKeys(sizes) {
			n := byte(i)
			if _, err := b.read(n, 0, 1); errors.Is(err, fs.ErrNotExist) {
				b.must(b.write(n, size))
			}
			if got := b.where(n); got != sizes[size] {
				t.Errorf("%d bytes are at %q, want %q", size, got, sizes[size])
			}
			b.has(n, size)
			part, err := b.read(n, int64(size/2), 10)
			if want := content(n, size)[size/2 : min(size/2+10, size)]; err != nil || !bytes.Equal(part, want) {
				t.Errorf("part of %d bytes: %x, %v, want %x", size, part, err, want)
			}
		}
		b.must(b.d.Close())
		b.open()
	}
}

func sortedKeys(m map[int]byte) []int {
	var all []int
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestADriveReadsTheFilesThatItHadBeforeSegments(t *testing.T) {
	b := newBed(t, segmentSize)
	segments := b.d.segments
	b.d.segments = nil
	b.must(b.write(1, 100_000))
	b.d.segments = segments
	b.has(1, 100_000)
	b.must(b.write(1, 100_000)) // made anew
	if got := b.where(1); got != isSegment {
		t.Errorf("made anew it is at %q", got)
	}
	if _, _, err := b.d.files.Open(dataID(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file that was replaced: %v", err)
	}
	b.has(1, 100_000)
}

func TestSegmentsSayThemselvesWhatIsInThem(t *testing.T) {
	b := newBed(t, segmentSize)
	var want []register.DataID
	for n := range byte(5) {
		b.must(b.write(n, maxInline+1+int(n)*5_000))
		want = append(want, dataID(n))
	}
	f, err := b.d.segments.dir.Open(b.names()[0])
	b.must(err)
	defer f.Close()
	var got []register.DataID
	header := make([]byte, headerSize)
	for at := int64(0); ; {
		if _, err := f.ReadAt(header, at); err != nil {
			break
		}
		id, length, err := parseHeader(header)
		b.must(err)
		got = append(got, id)
		at += entrySize(int64(length))
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %x, want %x", got, want)
	}
}

func inSegments(c vfs.OpCall, op vfs.Op) bool {
	return c.Op == op && strings.HasPrefix(c.Path, segmentsDir+"/")
}

func TestAllWhoWaitShareOneSync(t *testing.T) {
	b := newBed(t, segmentSize)
	b.must(b.write(0, 10_000)) // the segment is begun
	hang := b.fault.Hang(func(c vfs.OpCall) bool { return inSegments(c, vfs.OpSync) })
	defer hang.Release()
	syncs, segment := b.fault.Calls(vfs.OpSync), b.d.segments.open
	const others = 20
	done := make(chan error)
	go func() { done <- b.write(1, 10_000) }()
	<-hang.Reached()
	for n := range byte(others) {
		go func() { done <- b.write(n+2, 10_000) }()
	}
	for segment.size.Load() < (2+others)*entrySize(10_000) { // until all have written
		runtime.Gosched()
	}
	hang.Release()
	for range others + 1 {
		b.must(<-done)
	}
	if got := b.fault.Calls(vfs.OpSync) - syncs; got != 2 {
		t.Errorf("%d shards that came during a sync took %d more", others, got-1)
	}
	for n := range byte(others + 2) {
		b.has(n, 10_000)
	}
}

func TestASegmentThatCannotBeSyncedTakesNoMore(t *testing.T) {
	b := newBed(t, segmentSize)
	b.must(b.write(1, 10_000))
	remove := b.fault.Inject(func(c vfs.OpCall) error {
		if inSegments(c, vfs.OpSync) {
			return syscall.EIO
		}
		return nil
	})
	if err := b.write(2, 10_000); !errors.Is(err, syscall.EIO) {
		t.Errorf("what could not be made durable: %v", err)
	}
	remove()
	b.must(b.write(3, 10_000))
	b.has(1, 10_000)
	b.has(3, 10_000)
	if _, err := b.read(2, 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was not durable is there: %v", err)
	}
	if got := b.names(); len(got) != 2 {
		t.Errorf("segments are %v, want a second one", got)
	}
}

func TestWhatAFullDiskHasNotTakenHurtsNobodyElse(t *testing.T) {
	b := newBed(t, segmentSize)
	b.must(b.write(1, 10_000))
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpCreate} {
		remove := b.fault.Inject(func(c vfs.OpCall) error {
			if inSegments(c, op) {
				return syscall.ENOSPC
			}
			return nil
		})
		if op == vfs.OpCreate {
			b.must(b.d.segments.endOpen())
		}
		if err := b.write(2, 10_000); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: %v", op, err)
		}
		remove()
		b.must(b.write(2, 10_000))
		b.has(1, 10_000)
		b.has(2, 10_000)
	}
}

func TestNoMoreMemoryIsTakenThanThereIsForShards(t *testing.T) {
	b := newBed(t, segmentSize)
	var writers []register.ShardWriter
	for n := range byte(250) {
		w, err := b.d.Create(t.Context(), dataID(n), 0)
		b.must(err)
		_, err = w.Write(content(n, 100_000))
		b.must(err)
		writers = append(writers, w)
	}
	if got := b.d.spool.taken.Load() * pieceSize; got > spoolSize {
		t.Errorf("%d bytes are taken", got)
	}
	kinds := map[byte]int{}
	for n, w := range writers {
		if n%10 == 0 {
			w.Abort()
			continue
		}
		b.must(w.Finish())
		b.has(byte(n), 100_000)
		kinds[b.where(byte(n))]++
	}
	if kinds[isSegment] == 0 || kinds[isFile] == 0 {
		t.Errorf("shards are in %v, want some in files for which there was no memory", kinds)
	}
	if got := b.d.spool.taken.Load(); got != 0 {
		t.Errorf("%d pieces are not given back", got)
	}
}

func TestAShardThatIsKnownToBeLargeTakesNoMemory(t *testing.T) {
	b := newBed(t, segmentSize)
	w, err := b.d.Create(t.Context(), dataID(1), maxSegmented+1)
	b.must(err)
	whole := content(1, maxSegmented+1)
	_, err = w.Write(whole[:100_000])
	b.must(err)
	if got := b.d.spool.taken.Load(); got != 0 {
		t.Errorf("%d pieces are taken", got)
	}
	_, err = w.Write(whole[100_000:])
	b.must(err)
	b.must(w.Finish())
	b.has(1, maxSegmented+1)
}

func TestASegmentThatTheStoreDoesNotKnowIsLeftAlone(t *testing.T) {
	b := newBed(t, segmentSize)
	b.must(b.write(1, 10_000))
	b.must(b.d.Close())
	b.store = &crashKV{Memory: NewMemory()} // it was lost
	b.open()
	b.must(b.write(2, 10_000))
	b.d.compactAll()
	if got := b.names(); len(got) != 2 {
		t.Errorf("segments are %v, want the one that was there and a new one", got)
	}
	b.has(2, 10_000)
}

// countingKV is a KV that counts to how many places its iterators go.
type countingKV struct {
	KV
	steps *int
}

func (k countingKV) Scan(from, to []byte) (Iterator, error) {
	it, err := k.KV.Scan(from, to)
	return countingIterator{it, k.steps}, err //nolint:wrapcheck // as it is
}

type countingIterator struct {
	Iterator
	steps *int
}

func (it countingIterator) Next() bool           { *it.steps++; return it.Iterator.Next() }
func (it countingIterator) Seek(key []byte) bool { *it.steps++; return it.Iterator.Seek(key) }

// TestADriveOpensAsFastWithManySegments: a disk with one arm takes 8 ms for each place that it goes to, and a drive
// that is not open within a minute is taken to hang.
func TestADriveOpensAsFastWithManySegments(t *testing.T) {
	const many = 200
	b := newBed(t, 10_000)
	for n := range byte(many) {
		b.must(b.write(n, 10_000))
	}
	b.must(b.d.segments.dir.Remove(b.names()[many-1]))
	b.must(b.d.Close())
	steps := 0
	files, err := OpenFiles(b.fault.Root())
	b.must(err)
	b.d = New(countingKV{b.store, &steps}, files, nil)
	entries, err := b.d.openSegments(b.fault.Root(), slog.New(slog.DiscardHandler), b.size)
	b.must(err)
	if steps > 5 {
		t.Errorf("the store went to %d places before the drive was open", steps)
	}
	b.has(1, 10_000)
	b.must(b.write(many, 10_000))
	if last := segmentFile(many + 1); !slices.Contains(b.names(), last) {
		t.Errorf("the number of a segment that is lost was used again: there is no %s", last)
	}
	b.must(b.d.segments.count(entries))
	b.has(1, 10_000)
	b.has(many, 10_000)
}

// TestNothingIsSettledWhereTheStoreCannotTell: what is not known for that is no less the drive's.
func TestNothingIsSettledWhereTheStoreCannotTell(t *testing.T) {
	b := newBed(t, 10_000)
	b.must(b.write(1, 10_000))
	b.must(b.write(2, 10_000))
	entries, err := b.d.segments.index()
	b.must(err)
	b.d.segments.found = map[uint32]bool{1: true, 2: true}
	if err := b.d.segments.count(endingIterator{entries}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it is settled with %v", err)
	}
	b.has(1, 10_000)
	b.has(2, 10_000)
}

// endingIterator is one that fails before its first place.
type endingIterator struct{ Iterator }

func (endingIterator) Next() bool { return false }

func (it endingIterator) Close() error { return errors.Join(io.ErrUnexpectedEOF, it.Iterator.Close()) }

func TestAShardOfASegmentThatIsLostIsNotThere(t *testing.T) {
	b := newBed(t, segmentSize)
	b.must(b.write(1, 10_000))
	b.must(b.d.segments.dir.Remove(b.names()[0]))
	b.must(b.d.Close())
	b.open()
	b.must(b.write(2, 10_000))
	if _, err := b.read(1, 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is read: %v", err)
	}
	b.has(2, 10_000)
	b.must(b.write(1, 10_000)) // made anew
	b.has(1, 10_000)
}

func FuzzHeader(f *testing.F) {
	b := make([]byte, headerSize)
	putHeader(b, dataID(7), 12345)
	f.Add(b)
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, length, err := parseHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, headerSize)
		putHeader(again, id, length)
		if got, n, err := parseHeader(again); err != nil || got != id || n != length {
			t.Errorf("%x of %d bytes comes back as %x of %d, %v", id, length, got, n, err)
		}
	})
}

func FuzzNotes(f *testing.F) {
	p := place{1, 4096, 100}
	f.Add(p.note(), p.key(), []byte("0123456789abcdefLONG"))
	f.Fuzz(func(t *testing.T, note, key, value []byte) {
		if p, ok := parsePlace(note); ok && !bytes.Equal(p.note(), note) {
			t.Errorf("%x comes back as %x", note, p.note())
		}
		e, entry, err := parseIndex(key, value)
		if err != nil || !entry {
			return
		}
		m := NewMemory()
		var b Batch
		e.index(&b, e.id)
		_ = m.Apply(&b, false) // in memory
		if got, found, _ := m.Get(key); !found || !bytes.Equal(got, value) {
			t.Errorf("%x of %x comes back as %x, %v", value, key, got, found)
		}
	})
}

// TestADriveThatWasNotClosedInOrderOpensAsFastAfterManySegments: numbers are not used again, so a drive that has long
// been written to knows few of those that it has had.
func TestADriveThatWasNotClosedInOrderOpensAsFastAfterManySegments(t *testing.T) {
	const many = 1_000_000
	b := newBed(t, segmentSize)
	b.must(b.write(1, 10_000))
	b.must(b.write(2, 10_000))
	b.d.segments.writing.Lock()
	b.must(b.d.segments.endOpen())
	b.d.segments.last = many
	b.d.segments.writing.Unlock()
	b.must(b.write(3, 10_000))
	steps := 0
	files, err := OpenFiles(b.fault.Root())
	b.must(err)
	d := New(countingKV{b.store, &steps}, files, nil)
	entries, err := d.openSegments(b.fault.Root(), slog.New(slog.DiscardHandler), b.size) // as after a crash
	b.must(err)
	b.must(entries.Close())
	if steps > 200 {
		t.Errorf("the store went to %d places before the drive was open", steps)
	}
	newest, err := d.segments.newest(recheckedSegments)
	b.must(err)
	var got []byte
	for _, e := range newest {
		got = append(got, e.id[0])
	}
	if !slices.Equal(got, []byte{3, 2, 1}) {
		t.Errorf("the newest shards are those of %v", got)
	}
}
