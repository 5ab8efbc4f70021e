package drive

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// stuckFiles do not come back from removing a file until they are let.
type stuckFiles struct {
	Files
	removing, let chan struct{}
}

func (s stuckFiles) Remove(id register.DataID) error {
	s.removing <- struct{}{}
	<-s.let
	return s.Files.Remove(id)
}

// deleted returns the decision that the object of a content is deleted, which the drive has not heard yet.
func deleted(t *testing.T, d *Drive, id byte) register.Decision {
	t.Helper()
	key := register.Key{Space: register.Objects, Bucket: 1, Name: string('a' + rune(id))}
	commit := func(sequence uint64, r register.Record) register.Decision {
		r.Version, r.Quorum, r.Made = register.Null, 1, register.Token{Lease: lock.Token{Generation: 1, Sequence: sequence}}
		r.Changed = r.Made
		if err := d.Commit(t.Context(), register.Change{Key: key, Record: r}); err != nil {
			t.Fatal(err)
		}
		return register.Decision{Key: key, Version: register.Null, Made: r.Made, Changed: r.Made}
	}
	w, err := d.Create(t.Context(), register.DataID{id}, 10<<10)
	if err == nil {
		_, err = w.Write(make([]byte, 10<<10))
	}
	if err == nil {
		err = w.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	commit(1, register.Record{Kind: register.Object, Need: 1, Data: []register.DataID{{id}}})
	return commit(2, register.Record{Kind: register.Tombstone})
}

// TestNobodyWaitsForShardsThatAreRemoved: many that were deleted together are removed together, which may take long.
func TestNobodyWaitsForShardsThatAreRemoved(t *testing.T) {
	files := stuckFiles{NewMemoryFiles(), make(chan struct{}), make(chan struct{})}
	d := New(NewMemory(), files, nil)
	one, other := deleted(t, d, 1), deleted(t, d, 2)
	if err := d.Decide(t.Context(), []register.Decision{one}); err != nil {
		t.Fatal(err)
	}
	d.grave.mu.Lock()
	d.grave.graves[0].due = 0
	d.grave.mu.Unlock()
	go d.exhume()
	<-files.removing
	decided := make(chan error, 1)
	go func() { decided <- d.Decide(t.Context(), []register.Decision{other}) }()
	select {
	case err := <-decided:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("that another key is deleted cannot be decided while a shard is being removed")
	}
	close(files.let)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestWhatIsDeletedStaysForItsReaders: for five minutes, while it is being read, and half a minute to one after that.
// Where there is little room what nobody reads goes after half a minute.
func TestWhatIsDeletedStaysForItsReaders(t *testing.T) {
	const roomy, tight = 1 << 39, 200 << 20
	for _, c := range []struct {
		name string
		left uint64 // from one minute after it was deleted
		read time.Duration
		goes time.Duration
	}{
		{"nobody reads it", roomy, 0, grace},
		{"read for two minutes", roomy, 2 * time.Minute, grace},
		{"read for twenty minutes", roomy, 20 * time.Minute, 20*time.Minute + lull},
		{"read for two days", roomy, 48 * time.Hour, longest},
		{"nobody reads it, and there is little room", tight, 0, time.Minute},
		{"read for twenty minutes while there is little room", tight, 20 * time.Minute, 20*time.Minute + lull},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := uint64(roomy)
				files := NewMemoryFiles()
				d := New(NewMemory(), files, func() (uint64, uint64, error) { return left, 1 << 33, nil })
				one, other := deleted(t, d, 1), deleted(t, d, 2)
				if err := d.Decide(t.Context(), []register.Decision{one, other}); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				there := func() bool {
					_, found, err := d.kv.Get(dataName(register.DataID{1}))
					if err != nil {
						t.Fatal(err)
					}
					return found
				}
				for ; there() && time.Since(begun) < 72*time.Hour; time.Sleep(10 * time.Second) {
					since := time.Since(begun)
					if since == time.Minute {
						left = c.left
						w, err := d.Create(t.Context(), register.DataID{3}, 1) // somebody wants room
						if err != nil {
							t.Fatal(err)
						}
						w.Abort()
						synctest.Wait()
					}
					if since <= c.read {
						if _, err := d.ReadShard(t.Context(), register.DataID{1}, 0, make([]byte, 10)); err != nil {
							t.Fatalf("after %v: %v", since, err)
						}
					}
				}
				if gone := time.Since(begun); gone < c.goes || gone > c.goes+lull+10*time.Second {
					t.Errorf("it went after %v, not %v", gone, c.goes)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestMarksOfWhatASweepDoesNotGetToStay: it sees to so many shards at a time.
func TestMarksOfWhatASweepDoesNotGetToStay(t *testing.T) {
	d := New(NewMemory(), NewMemoryFiles(), nil)
	var b Batch
	for i := range maxOrphans + 100 {
		id := register.DataID{byte(i >> 16), byte(i >> 8), byte(i)}
		b.Set(dataName(id), inlineShard([]byte("shard")))
		b.Set(markName(id), markOf(time.Now()))
	}
	if err := d.kv.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
	d.sweeper.due.Store(true)
	if _, err := d.sweepShards(); err != nil {
		t.Fatal(err)
	}
	marks, err := d.marks()
	if err != nil || len(marks) != maxOrphans+100 {
		t.Errorf("%d of %d are marked, %v", len(marks), maxOrphans+100, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// scanless is a store whose newest files cannot be listed.
type scanless struct {
	KV
	fails bool
}

func (s *scanless) Scan(from, to []byte) (Iterator, error) {
	if s.fails && len(from) == 1 && from[0] == fileKey {
		return nil, errors.New("no files")
	}
	return s.KV.Scan(from, to)
}

// TestADriveThatCouldNotBeReadAgainIsReadAgainTheNextTime: what was written last may be lost, as it was not closed in order.
func TestADriveThatCouldNotBeReadAgainIsReadAgainTheNextTime(t *testing.T) {
	for _, fails := range []bool{true, false} {
		kv := &scanless{KV: NewMemory(), fails: fails}
		var b Batch
		b.Set([]byte{openKey}, nil)
		if err := kv.Apply(&b, true); err != nil {
			t.Fatal(err)
		}
		d := New(kv, NewMemoryFiles(), nil)
		if err := d.UseSegments(vfs.NewMemory().Root(), slog.New(slog.DiscardHandler)); (err != nil) != fails {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, open, err := kv.Get([]byte{openKey}); err != nil || open != fails {
			t.Errorf("it counts as closed in order: %v, %v", !open, err)
		}
	}
}
