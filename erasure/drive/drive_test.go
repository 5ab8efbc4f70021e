package drive_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// at returns a token.
func at(n int) register.Token {
	return register.Token{Lease: lock.Token{Generation: 1, Epoch: 1, Sequence: uint64(n)}}
}

func key(name string) register.Key {
	return register.Key{Space: register.Objects, Bucket: 7, Name: name}
}

func object(n int) register.Record {
	return register.Record{Version: register.Null, Kind: register.Object, Made: at(n), Changed: at(n), Quorum: 1, Value: fmt.Append(nil, n)}
}

// stores are the KVs, each with how it is opened again.
func stores(t *testing.T) map[string]func() drive.KV {
	t.Helper()
	memory, path := drive.NewMemory(), filepath.Join(t.TempDir(), "kv")
	return map[string]func() drive.KV{
		"memory": func() drive.KV { return memory },
		"pebble": func() drive.KV {
			p, err := drive.OpenPebble(path, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatADriveTookAndPromisedItRemembers(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			d := drive.New(open(), drive.NewMemoryFiles(), nil)
			must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: object(5), Inline: nil}))
			_, err := d.Promise(ctx, at(8), register.Query{Key: key("a")})
			must(t, err)
			must(t, d.Close())
			d = drive.New(open(), drive.NewMemoryFiles(), nil)
			for _, n := range []int{4, 5, 6, 7} {
				err := d.Commit(ctx, register.Change{Key: key("a"), Record: object(n)})
				if n == 5 {
					must(t, err) // it has that one
				} else if !errors.Is(err, register.ErrStale) {
					t.Errorf("a change of token %d after a promise of 8: %v", n, err)
				}
			}
			must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: object(8)}))
			v, err := d.Read(ctx, register.Query{Key: key("a"), Version: register.Null})
			must(t, err)
			if len(v.Entries) != 1 || v.Entries[0].Changed != at(8) || len(v.Entries[0].Before) != 1 || v.Entries[0].Before[0].Changed != at(5) {
				t.Errorf("it holds %+v", v)
			}
			must(t, d.Decide(ctx, []register.Decision{{Key: key("a"), Version: register.Null, Made: at(8), Changed: at(8)}}))
			v, err = d.Read(ctx, register.Query{Key: key("a")})
			must(t, err)
			if len(v.Entries) != 1 || !v.Entries[0].Decided || len(v.Entries[0].Before) != 0 {
				t.Errorf("when that was decided, it holds %+v", v)
			}
			must(t, d.Close())
		})
	}
}

func TestARecordIsTakenOnlyWithItsShardsIfThatIsAsked(t *testing.T) {
	ctx := t.Context()
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
	r := object(1)
	r.Data, r.Need = []register.DataID{{1}}, 1
	if err := d.Commit(ctx, register.Change{Key: key("a"), Record: r, Strict: true}); !errors.Is(err, register.ErrNoShard) {
		t.Errorf("without the shard: %v", err)
	}
	w, err := d.Create(ctx, register.DataID{1}, 0)
	must(t, err)
	_, err = w.Write([]byte("shard"))
	must(t, err)
	must(t, w.Finish())
	must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: r, Strict: true}))
	for want, at := range map[string][2]int{"ard": {2, 3}, "rd": {3, 9}, "": {5, 1}} {
		b := make([]byte, at[1])
		if n, err := d.ReadShard(ctx, register.DataID{1}, int64(at[0]), b); err != nil || string(b[:n]) != want {
			t.Errorf("read %q, %v, want %q", b[:n], err, want)
		}
	}
	must(t, d.Drop(ctx, register.DataID{1})) // a register refers to it
	if _, err := d.ReadShard(ctx, register.DataID{1}, 0, make([]byte, 3)); err != nil {
		t.Errorf("what a register refers to was dropped: %v", err)
	}
	if _, err := d.ReadShard(ctx, register.DataID{2}, 0, make([]byte, 3)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a shard that is not there: %v", err)
	}
}

func TestAScanShowsNamesInOrderAndWhatHasACommonPrefixOnce(t *testing.T) {
	names := []string{"a", "a\x00b", "a/1", "a/2", "a/3/x", "b", "b/1", "dead/1", "\xff", "z"}
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			d := drive.New(open(), drive.NewMemoryFiles(), nil)
			for i, n := range names {
				r := object(i + 1)
				if n == "dead/1" {
					r.Kind = register.Tombstone
				}
				must(t, d.Commit(ctx, register.Change{Key: key(n), Record: r}))
			}
			must(t, d.Commit(ctx, register.Change{Key: register.Key{Space: register.Objects, Bucket: 8, Name: "other"}, Record: object(1)}))
			for _, tt := range []struct {
				q    register.ScanQuery
				want []string
				more bool
			}{
				{register.ScanQuery{}, []string{"a", "a\x00b", "a/1", "a/2", "a/3/x", "b", "b/1", "dead/1", "z", "\xff"}, false},
				{register.ScanQuery{Delimiter: "/"}, []string{"a", "a\x00b", "a/", "b", "b/", "z", "\xff"}, false},
				{register.ScanQuery{Prefix: "a/"}, []string{"a/1", "a/2", "a/3/x"}, false},
				{register.ScanQuery{Prefix: "a/", Delimiter: "/"}, []string{"a/1", "a/2", "a/3/"}, false},
				{register.ScanQuery{From: "b"}, []string{"b", "b/1", "dead/1", "z", "\xff"}, false},
				{register.ScanQuery{Limit: 2}, []string{"a", "a\x00b"}, true},
				{register.ScanQuery{Prefix: "none"}, nil, false},
			} {
				q := tt.q
				if q.Space, q.Bucket = register.Objects, 7; q.Limit == 0 {
					q.Limit = 100
				}
				page, err := d.Scan(ctx, q)
				must(t, err)
				var got []string
				for _, i := range page.Items {
					got = append(got, i.Name)
				}
				if !slices.Equal(got, tt.want) || page.More != tt.more {
					t.Errorf("%+v: %q, more %v; want %q", tt.q, got, page.More, tt.want)
				}
			}
			must(t, d.Close())
		})
	}
}

func TestShardsInFilesComeBackAndGo(t *testing.T) {
	root, err := vfs.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	files, err := drive.OpenFiles(root)
	must(t, err)
	content := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(content)
	id := register.DataID{0xab, 1}
	f, err := files.Create(id)
	must(t, err)
	_, err = f.Write(content)
	must(t, err)
	must(t, f.Finish())
	aborted, err := files.Create(register.DataID{2})
	must(t, err)
	aborted.Abort()
	must(t, files.Close())
	files, err = drive.OpenFiles(root)
	must(t, err)
	defer files.Close()
	at, closer, err := files.Open(id)
	must(t, err)
	got := make([]byte, len(content))
	if n, err := at.ReadAt(got, 0); n != len(content) || !slices.Equal(got, content) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	must(t, closer.Close())
	must(t, files.Remove(id))
	must(t, files.Remove(id))
	for _, gone := range []register.DataID{id, {2}} {
		if _, _, err := files.Open(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%x is there still: %v", gone, err)
		}
	}
}

func TestBatchesAreWholeAndIteratorsGoThroughThemInOrder(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			kv := open()
			var b drive.Batch
			for _, k := range []string{"c", "a", "b", "e"} {
				b.Set([]byte(k), []byte("v"+k))
			}
			must(t, kv.Apply(&b, true))
			var second drive.Batch
			second.Remove([]byte("b"))
			second.Remove([]byte("none"))
			must(t, kv.Apply(&second, false))
			it, err := kv.Scan([]byte("a"), []byte("e"))
			must(t, err)
			var got []string
			for it.Next() {
				got = append(got, string(it.Key())+string(it.Value()))
			}
			if it.Seek([]byte("b")) {
				got = append(got, string(it.Key()))
			}
			if it.Seek([]byte("d")) {
				got = append(got, string(it.Key()))
			}
			must(t, it.Close())
			if want := []string{"ava", "cvc", "c"}; !slices.Equal(got, want) {
				t.Errorf("went through %q, want %q", got, want)
			}
			if _, found, err := kv.Get([]byte("b")); found || err != nil {
				t.Errorf("what was removed: %v, %v", found, err)
			}
			must(t, kv.Close())
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	p, err := drive.OpenPebble(filepath.Join(b.TempDir(), "kv"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	d := drive.New(p, drive.NewMemoryFiles(), nil)
	defer d.Close()
	ctx := context.Background()
	n := 0
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n++
			r := object(1)
			r.Data = []register.DataID{{byte(n), byte(n >> 8), byte(n >> 16)}}
			if err := d.Commit(ctx, register.Change{Key: key(fmt.Sprint(rand.Uint64())), Record: r, Inline: make([]byte, 2048)}); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestAFullDriveTakesDeletionsAndNoContents(t *testing.T) {
	ctx := t.Context()
	left := uint64(1 << 40)
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) { return left, 1 << 40, nil })
	r := object(1)
	r.Data = []register.DataID{{1}}
	must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: r, Inline: []byte("shard")}))
	full := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) { return 1 << 20, 1 << 40, nil })
	if err := full.Commit(ctx, register.Change{Key: key("a"), Record: r, Inline: []byte("shard")}); !errors.Is(err, register.ErrFull) {
		t.Errorf("a small content: %v", err)
	}
	if _, err := full.Create(ctx, register.DataID{2}, 0); !errors.Is(err, register.ErrFull) {
		t.Errorf("a large content: %v", err)
	}
	gone := object(2)
	gone.Kind = register.Tombstone
	must(t, full.Commit(ctx, register.Change{Key: key("a"), Record: gone}))
}

// The disk is asked once in a while: what is written meanwhile, and what others have begun, counts.
func TestADriveKeepsItsReserveWhateverIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib, reserve = 1 << 20, 64 << 20
		ctx, left := t.Context(), uint64(reserve+10*mib)
		d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) { return left, 1 << 30, nil })
		create := func(n byte, size int64) (register.ShardWriter, error) { return d.Create(ctx, register.DataID{n}, size) }
		refused := func(err error) {
			t.Helper()
			if !errors.Is(err, register.ErrFull) {
				t.Errorf("it is taken, or fails by %v", err)
			}
		}
		write := func(w register.ShardWriter, size int) error {
			_, err := w.Write(make([]byte, size))
			return err
		}
		told, err := create(1, 6*mib)
		must(t, err)
		_, err = create(2, 5*mib)
		refused(err)
		untold, err := create(2, 0)
		must(t, err)
		must(t, write(untold, 3*mib))
		refused(write(untold, 2*mib))
		must(t, write(told, 5*mib))
		refused(write(untold, 2*mib))
		untold.Abort()
		must(t, told.Finish())
		third, err := create(3, 4*mib)
		must(t, err)
		third.Abort()
		_, err = create(3, 6*mib)
		refused(err)

		left -= 6 * mib // as the disk says when it is asked again
		time.Sleep(2 * time.Second)
		_, err = create(3, 5*mib)
		refused(err)
		fourth, err := create(3, 4*mib)
		must(t, err)
		must(t, write(fourth, 4*mib))
		must(t, fourth.Finish())
		_, err = create(4, 1)
		refused(err)
	})
}

func TestNobodyWaitsForADiskThatDoesNotSayHowFullItIs(t *testing.T) {
	var hangs atomic.Bool
	asked, answer := make(chan struct{}), make(chan struct{})
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) {
		if hangs.Load() {
			close(asked)
			<-answer
		}
		return 1 << 40, 1 << 40, nil
	})
	under, err := d.Create(t.Context(), register.DataID{1}, 0)
	must(t, err)
	time.Sleep(1100 * time.Millisecond) // it is to be asked again
	hangs.Store(true)
	asks := make(chan error, 1)
	go func() {
		_, err := d.Create(t.Context(), register.DataID{2}, 0)
		asks <- err
	}()
	<-asked
	others := make(chan error, 1)
	go func() {
		_, err := under.Write(make([]byte, 100_000))
		under.Abort()
		_, more := d.Create(t.Context(), register.DataID{3}, 1<<20)
		others <- errors.Join(err, more)
	}()
	select {
	case err := <-others:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Error("others wait")
	}
	close(answer)
	must(t, <-asks)
}

// overFiles are Files on a disk that takes nothing.
type overFiles struct{ drive.Files }

func (f overFiles) Create(id register.DataID) (drive.File, error) {
	file, err := f.Files.Create(id)
	return overFile{file}, err
}

type overFile struct{ drive.File }

func (overFile) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Somebody else may have filled the disk since it was asked.
func TestADiskThatTakesNothingIsAFullDrive(t *testing.T) {
	d := drive.New(drive.NewMemory(), overFiles{drive.NewMemoryFiles()}, func() (uint64, uint64, error) { return 1 << 40, 1 << 40, nil })
	w, err := d.Create(t.Context(), register.DataID{1}, 1<<20)
	must(t, err)
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, register.ErrFull) {
		t.Errorf("a write: %v", err)
	}
	w.Abort()
}

// What a drive is told from one placement on it heeds, also when it is opened again; what does not move
// it takes as before.
func TestADriveRefusesWhatWasPlacedBefore(t *testing.T) {
	kv := drive.NewMemory()
	commit := func(d *drive.Drive, space register.Space, placed uint64, n int) error {
		r := object(n)
		return d.Commit(t.Context(), register.Change{Key: register.Key{Space: space, Name: fmt.Sprint("k", n)}, Record: r, Placed: placed})
	}
	d := drive.New(kv, drive.NewMemoryFiles(), nil)
	must(t, d.StartLog())
	must(t, commit(d, register.Objects, 4, 1))
	must(t, d.Since(t.Context(), 7))
	must(t, d.Since(t.Context(), 5)) // it comes late
	for range 2 {
		for _, space := range []register.Space{register.Objects, register.Uploads, register.Parts, register.Buckets} {
			if err := commit(d, space, 6, 2); !errors.Is(err, register.ErrFenced) {
				t.Errorf("of placement 6: %v", err)
			}
			must(t, commit(d, space, 7, 3))
		}
		must(t, commit(d, register.System, 0, 4))
		d = drive.New(kv, drive.NewMemoryFiles(), nil)
		must(t, d.StartLog())
	}
}

// A state that was committed, and that somebody brings who had the key's lock, may be gone by now and
// the tombstone forgotten.
func TestWhatIsBroughtTooLateIsNotTaken(t *testing.T) {
	ctx, d := t.Context(), drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
	must(t, d.StartLog())
	r := object(1)
	gone := object(3)
	gone.Kind = register.Tombstone
	must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: gone}))
	must(t, d.Decide(ctx, decision("a", 3, true)))
	forget := decision("a", 3, false)
	forget[0].Forget = true
	must(t, d.Decide(ctx, forget))
	by := r.Changed
	by.Minor++ // the lock was that of before the deletion
	if changed, err := d.Install(ctx, key("a"), r, by); changed || !errors.Is(err, register.ErrStale) {
		t.Errorf("it is taken: %v, %v", changed, err)
	}
	v, err := d.Read(ctx, register.Query{Key: key("a"), Version: register.Null})
	if err != nil || len(v.Entries) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// withFiles returns a drive that has shards in files, until the test ends.
func withFiles(t *testing.T) *drive.Drive {
	t.Helper()
	root, err := vfs.OpenRoot(t.TempDir())
	must(t, err)
	files, err := drive.OpenFiles(root)
	must(t, err)
	d := drive.New(drive.NewMemory(), files, nil)
	t.Cleanup(func() { must(t, errors.Join(d.Close(), root.Close())) })
	return d
}

func TestOfTwoWhoWriteTheFileOfAContentOneIsRefused(t *testing.T) {
	ctx, id, d := t.Context(), register.DataID{1}, withFiles(t)
	begin := func() (register.ShardWriter, error) {
		w, err := d.Create(ctx, id, 0)
		must(t, err)
		_, err = w.Write(make([]byte, 100_000))
		return w, err
	}
	first, err := begin()
	must(t, err)
	second, err := begin()
	if err == nil {
		t.Error("both write it")
	}
	second.Abort()
	must(t, first.Finish())
	if n, err := d.ReadShard(ctx, id, 0, make([]byte, 200_000)); err != nil || n != 100_000 {
		t.Errorf("of the first one's %d bytes are there, %v", n, err)
	}
	for _, end := range []func(w register.ShardWriter) error{
		func(w register.ShardWriter) error { w.Abort(); return nil }, register.ShardWriter.Finish,
	} {
		w, err := begin()
		must(t, err)
		must(t, end(w))
	}
}

func TestAFileThatIsBeingWrittenIsNotRemoved(t *testing.T) {
	ctx, id, d := t.Context(), register.DataID{1}, withFiles(t)
	write := func() register.ShardWriter {
		w, err := d.Create(ctx, id, 0)
		must(t, err)
		_, err = w.Write(make([]byte, 100_000))
		must(t, err)
		return w
	}
	must(t, write().Finish())
	again := write() // it was damaged, and is made anew, while nothing refers to it any more
	must(t, d.Drop(ctx, id))
	must(t, again.Finish())
	if n, err := d.ReadShard(ctx, id, 0, make([]byte, 200_000)); err != nil || n != 100_000 {
		t.Errorf("%d bytes are there, %v", n, err)
	}
	must(t, d.Drop(ctx, id))
	if _, err := d.ReadShard(ctx, id, 0, make([]byte, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}
