package drive

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// rewrite has a file on the disk be other than it was.
func (b *bed) rewrite(name string, edit func(was []byte) []byte) {
	b.t.Helper()
	dir, err := b.disk.Root().OpenDir(path.Dir(name))
	b.must(err)
	st, err := dir.Stat(path.Base(name))
	b.must(err)
	f, err := dir.Open(path.Base(name))
	b.must(err)
	was := make([]byte, st.Size)
	_, err = f.ReadAt(was, 0)
	b.must(errors.Join(err, f.Close()))
	is := edit(was)
	if is == nil {
		b.must(errors.Join(dir.Remove(path.Base(name)), dir.Close()))
		return
	}
	f, err = dir.Create(path.Base(name), fileMode)
	b.must(err)
	_, err = f.Write(is)
	b.must(errors.Join(err, f.Close(), dir.Close()))
}

// place returns the file that a shard is in, and where there.
func (b *bed) place(n byte) (name string, offset int64) {
	b.t.Helper()
	note, _, err := b.store.Get(dataName(dataID(n)))
	b.must(err)
	where, _ := located(note)
	if p, ok := parsePlace(where); ok {
		return segmentsDir + "/" + segmentFile(p.segment), int64(p.offset)
	}
	_, name = (&treeFiles{}).place(dataID(n))
	return dataDir + "/" + hexByte(n) + "/" + name, 0
}

func hexByte(n byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>4], digits[n&15]})
}

// writeFile writes a shard that has a file of its own.
func (b *bed) writeFile(n byte, size int) {
	b.t.Helper()
	w, err := b.d.Create(b.t.Context(), dataID(n), maxSegmented+1)
	b.must(err)
	_, err = w.Write(content(n, size))
	b.must(errors.Join(err, w.Finish()))
}

// vouched returns of which contents the drive says that it has the shard, and which of their
// registers are pending.
func (b *bed) vouched(all ...byte) (has, pending []byte) {
	b.t.Helper()
	page, err := b.d.Pending(b.t.Context(), register.PendingQuery{Limit: 100})
	b.must(err)
	for _, n := range all {
		key := register.Key{Name: string(rune(n))}
		v, err := b.d.Read(b.t.Context(), register.Query{Key: key, Version: register.Null})
		b.must(err)
		if len(v.Entries) == 1 && v.Entries[0].Shard {
			has = append(has, n)
		}
		if slices.ContainsFunc(page.Items, func(i register.ScanItem) bool { return strings.HasPrefix(i.Name, string(key.Append(nil))) }) {
			pending = append(pending, n)
		}
	}
	return has, pending
}

// filled returns a bed with six shards in two segments, 0 to 5, and two in files, 6 and 7, that
// every drive has.
func filled(t *testing.T) *bed {
	b := newBed(t, small)
	b.must(b.d.StartLog())
	for n := range byte(8) {
		if n < 6 {
			b.must(b.write(n, smallShard))
		} else {
			b.writeFile(n, 150_000)
		}
		b.must(b.commit(n))
		token := register.Token{}
		token.Lease.Generation, token.Lease.Epoch, token.Lease.Sequence = 1, 1, b.now
		b.must(b.d.Decide(t.Context(), []register.Decision{{Key: register.Key{Name: string(rune(n))}, Version: register.Null, Made: token, Changed: token, Everywhere: true}}))
	}
	return b
}

// again is a start after the end of a process that closed nothing.
func (b *bed) again() {
	b.t.Helper()
	b.open()
	b.must(b.d.StartLog())
}

// TestWhatADiskHasLostOfTheNewestShardsIsMissedAtTheNextStart has the disk lose something that was durable
// as it said, in each way. The drive vouches for the others only, and has what is lost pending, so that it is
// healed; until then what is left is read.
func TestWhatADiskHasLostOfTheNewestShardsIsMissedAtTheNextStart(t *testing.T) {
	all := []byte{0, 1, 2, 3, 4, 5, 6, 7}
	for name, c := range map[string]struct {
		of   byte // the file that this shard is in
		edit func(was []byte) []byte
		lost []byte
	}{
		"the end of a segment":         {5, func(was []byte) []byte { return was[:len(was)-8192] }, []byte{5}},
		"all that a segment had":       {5, func([]byte) []byte { return []byte{} }, []byte{3, 4, 5}},
		"a segment":                    {5, func([]byte) []byte { return nil }, []byte{3, 4, 5}},
		"the first block of a segment": {4, func(was []byte) []byte { clear(was[:4096]); return was }, []byte{3}},
		"a block within a shard":       {4, func(was []byte) []byte { clear(was[12<<10+4096:][:4096]); return was }, []byte{4}},
		"one bit":                      {1, func(was []byte) []byte { was[100] ^= 1; return was }, []byte{0}},
		"the end of a file":            {7, func(was []byte) []byte { return was[:shard.UnitSize] }, []byte{7}},
		"a block of a file":            {6, func(was []byte) []byte { clear(was[8192:12288]); return was }, []byte{6}},
		"a file":                       {6, func([]byte) []byte { return nil }, []byte{6}},
		"nothing":                      {5, func(was []byte) []byte { return was }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := filled(t)
			file, _ := b.place(c.of)
			b.rewrite(file, c.edit)
			left := slices.DeleteFunc(slices.Clone(all), func(n byte) bool { return slices.Contains(c.lost, n) })
			for range 2 { // and it is known from then on
				b.again()
				if has, pending := b.vouched(all...); !slices.Equal(has, left) || !slices.Equal(pending, c.lost) {
					t.Errorf("it vouches for %v and has %v pending; %v are lost", has, pending, c.lost)
				}
			}
			for _, n := range left[:len(left)-2] {
				b.has(n, smallShard)
			}
			for _, n := range c.lost { // it is made anew
				if n < 6 {
					b.must(b.write(n, smallShard))
				} else {
					b.writeFile(n, 150_000)
				}
				if shard, err := b.d.holds([]register.DataID{dataID(n)}, false); err != nil || !shard {
					t.Errorf("what was made anew is not there: %v", err)
				}
			}
			b.d.compactAll()
			b.accounted()
		})
	}
}

// TestADriveThatWasClosedInOrderIsNotReadAtTheNextStart counts what is read of its shards.
func TestADriveThatWasClosedInOrderIsNotReadAtTheNextStart(t *testing.T) {
	b := filled(t)
	b.must(b.d.Close())
	file, _ := b.place(5)
	b.rewrite(file, func([]byte) []byte { return []byte{} })
	b.again()
	if has, _ := b.vouched(5); len(has) != 1 {
		t.Error("its shards were read")
	}
	b.again() // this time it was not closed
	if has, _ := b.vouched(5); len(has) != 0 {
		t.Error("its shards were not read")
	}
}

// TestAStartThatEndsWhileShardsAreReadIsMadeUpForByTheNext has the store fail at each thing that is
// written at a start.
func TestAStartThatEndsWhileShardsAreReadIsMadeUpForByTheNext(t *testing.T) {
	for step, whole := 0, false; !whole; step++ {
		b := filled(t)
		file, _ := b.place(5)
		b.rewrite(file, func([]byte) []byte { return []byte{} })
		writes := 0
		b.store.fail = func() error {
			if writes++; writes > step {
				return errDead
			}
			return nil
		}
		files, err := OpenFiles(b.disk.Root())
		b.must(err)
		entries, err := New(b.store, files, nil).openSegments(b.disk.Root(), b.d.segments.log, small)
		if whole = err == nil; whole {
			b.must(entries.Close())
		}
		b.store.fail = nil
		b.again()
		if has, pending := b.vouched(3, 4, 5); len(has) > 0 || len(pending) != 3 {
			t.Errorf("ended at step %d: it vouches for %v, and %v are pending", step, has, pending)
		}
	}
}

func TestOfManyShardsTheNewestAreRead(t *testing.T) {
	b := newBed(t, small)
	for n := range byte(9) {
		b.must(b.write(n, smallShard))
	}
	newest, err := b.d.segments.newest(4 * 12 << 10)
	b.must(err)
	var got []byte
	for _, e := range newest {
		got = append(got, e.id[0])
	}
	if want := []byte{8, 7, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("these are %v, want %v", got, want)
	}
	for n := range byte(recheckedFiles + 4) {
		b.writeFile(n+100, smallShard)
	}
	ids, err := b.d.newestShards()
	b.must(err)
	files := slices.DeleteFunc(ids, func(id register.DataID) bool { return id[0] < 100 })
	if len(files) != recheckedFiles || slices.Contains(files, dataID(103)) || !slices.Contains(files, dataID(104)) {
		t.Errorf("of the files these are %d: %v", len(files), files)
	}
}

// TestAShardThatIsNotWholeStaysSoWhereItIsMoved compacts the segment that it is in.
func TestAShardThatIsNotWholeStaysSoWhereItIsMoved(t *testing.T) {
	b := filled(t)
	file, at := b.place(4)
	b.rewrite(file, func(was []byte) []byte { was[at+5000] ^= 1; return was })
	b.again()
	for _, n := range []byte{3, 5} {
		b.must(b.unref(n))
		b.must(b.d.free(dataID(n)))
	}
	b.d.compactAll()
	if moved, _ := b.place(4); moved == file {
		t.Fatal("it was not moved")
	}
	if shard, err := b.d.holds([]register.DataID{dataID(4)}, false); err != nil || shard {
		t.Errorf("it is said to be whole: %v", err)
	}
	if got, err := b.read(4, 0, smallShard+1); err != nil || len(got) != smallShard {
		t.Errorf("%d bytes are read, %v", len(got), err)
	}
}

// TestAShardThatCannotBeReadIsNotTakenForLost has the disk refuse to read as the drive is opened.
func TestAShardThatCannotBeReadIsNotTakenForLost(t *testing.T) {
	b := filled(t)
	fault := vfs.NewFault(b.disk.Root())
	fault.Inject(func(c vfs.OpCall) error {
		if inSegments(c, vfs.OpRead) {
			return errors.New("bad sector")
		}
		return nil
	})
	files, err := OpenFiles(fault.Root())
	b.must(err)
	entries, err := New(b.store, files, nil).openSegments(fault.Root(), b.d.segments.log, small)
	b.must(err)
	b.must(entries.Close())
	b.again()
	if has, pending := b.vouched(0, 1, 2, 3, 4, 5); len(has) != 6 || len(pending) > 0 {
		t.Errorf("it vouches for %v, and %v are pending", has, pending)
	}
}
