package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// drives returns n drives in memory.
func drives(n int) []erasure.Drive {
	all := make([]erasure.Drive, n)
	for i := range all {
		d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
		if err := d.UseSegments(vfs.NewMemory().Root(), slog.New(slog.DiscardHandler)); err != nil {
			panic(err) // in memory
		}
		if err := d.StartLog(); err != nil {
			panic(err) // the same
		}
		all[i] = d
	}
	return all
}

// open returns a Store over the drives of one set.
func open(t *testing.T, parity int, all []erasure.Drive) *erasure.Store {
	t.Helper()
	return openSets(t, erasure.SetConfig{Drives: all, Parity: parity})
}

// openSets returns a Store over sets that have keys in proportion to their drives.
func openSets(t *testing.T, sets ...erasure.SetConfig) *erasure.Store {
	t.Helper()
	return openTimed(t, time.Now, sets...)
}

// openTimed is openSets, by a clock.
func openTimed(t *testing.T, now func() time.Time, sets ...erasure.SetConfig) *erasure.Store {
	t.Helper()
	locker := lock.NewLocal(1)
	var weights []int
	for _, s := range sets {
		weights = append(weights, len(s.Drives))
	}
	s, err := erasure.New(context.Background(), erasure.Config{
		Sets: sets, Table: placement.New(weights), Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		locker.Close()
	})
	return s
}

func TestTheStoreShowsWhatEveryStoreMust(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			objecttest.Run(t, func(t *testing.T) object.Store { return open(t, erasure.DefaultParity(n), drives(n)) })
		})
	}
}

func TestTheStoreAgreesWithTheModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			objecttest.Model(t, func(t *testing.T) object.Store { return open(t, 2, drives(4)) }, seed, 1500)
		})
	}
}

func TestAWriteToFullDrivesSaysThatTheyAreFull(t *testing.T) {
	full := make([]erasure.Drive, 4)
	for i := range full {
		free := uint64(0)
		if i == 0 {
			free = 1 << 40
		}
		full[i] = drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) { return free, 1 << 40, nil })
	}
	s := open(t, 2, full)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{3000, 100_000, 3_000_000} {
		_, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{Body: objecttest.NewBody(make([]byte, size), object.CRC64NVME)})
		if object.KindOf(err) != object.Full {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// What the others have taken is taken back: it would have fewer shards than what it replaced.
func TestASmallWriteThatTooManyDrivesRefuseForRoomLeavesWhatWasBefore(t *testing.T) {
	for _, versioning := range []object.Versioning{object.Unversioned, object.Versioned} {
		var left atomic.Uint64
		left.Store(1 << 39)
		all := make([]erasure.Drive, 4)
		for i := range all {
			all[i] = drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) {
				if i < 2 {
					return left.Load(), 1 << 40, nil
				}
				return 1 << 39, 1 << 40, nil
			})
		}
		s := open(t, 2, all)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Versioning: versioning}); err != nil {
			t.Fatal(err)
		}
		put := func(key, content string) error {
			_, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: key}, object.PutInput{Body: objecttest.NewBody([]byte(content), object.CRC64NVME)})
			return err
		}
		if err := put("old", "before"); err != nil {
			t.Fatal(err)
		}
		left.Store(0)
		time.Sleep(1100 * time.Millisecond) // the drives ask their disks once a second
		for range 3 {
			for _, key := range []string{"old", "new"} {
				if err := put(key, "after"); object.KindOf(err) != object.Full {
					t.Errorf("put %s: %v", key, err)
				}
			}
		}
		for out := range all { // any drive may be lost
			lost := &absent{Drive: all[out]}
			lost.away.Store(true)
			rest := slices.Clone(all)
			rest[out] = lost
			again := open(t, 2, rest)
			h, err := again.Open(t.Context(), object.Ref{Bucket: "bucket", Key: "old"})
			if err != nil {
				t.Fatalf("without drive %d: %v", out, err)
			}
			got, err := io.ReadAll(h.Range(0, h.Info().Size))
			if err = errors.Join(err, h.Close()); err != nil || string(got) != "before" {
				t.Errorf("without drive %d it is %q, %v", out, got, err)
			}
			if _, err := again.Stat(t.Context(), object.Ref{Bucket: "bucket", Key: "new"}); !errors.Is(err, object.NoSuchKey) {
				t.Errorf("without drive %d there is one that was refused: %v", out, err)
			}
		}
	}
}

// nowhere is a drive of a node that is away: nothing is asked of it, and none of its shards can be read.
type nowhere struct {
	absent
	asked atomic.Int64 // to commit
}

func (n *nowhere) Commit(ctx context.Context, c register.Change) error {
	n.asked.Add(1)
	if n.away.Load() {
		return register.ErrUnknown
	}
	return n.Drive.Commit(ctx, c)
}

func (n *nowhere) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	if n.away.Load() {
		return 0, errAway
	}
	return n.Drive.ReadShard(ctx, id, offset, p)
}

// TestASmallWriteWithADriveAwayAndAnotherOneFullLeavesWhatWasBefore: two of four take it.
func TestASmallWriteWithADriveAwayAndAnotherOneFullLeavesWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Uint64
		left.Store(1 << 39)
		all, ways := make([]erasure.Drive, 4), make([]*nowhere, 4)
		for i := range all {
			d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), func() (uint64, uint64, error) {
				if i == 1 {
					return left.Load(), 1 << 40, nil
				}
				return 1 << 39, 1 << 40, nil
			})
			ways[i] = &nowhere{absent: absent{Drive: d}}
			all[i] = ways[i]
		}
		s := open(t, 2, all)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
			t.Fatal(err)
		}
		ref, before := object.Ref{Bucket: "bucket", Key: "k"}, strings.Repeat("before", 600)
		put := func(content string) error {
			_, err := s.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody([]byte(content), object.CRC64NVME)})
			return err
		}
		if err := put(before); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		left.Store(0)
		ways[0].away.Store(true)
		for range 3 {
			time.Sleep(2 * time.Second) // the drive asks its disk again
			if err := put(strings.Repeat("after", 600)); object.KindOf(err) != object.Full {
				t.Error(err)
			}
			synctest.Wait()
			asked := ways[3].asked.Load()
			if err := put("at once"); object.KindOf(err) != object.Full {
				t.Error(err)
			}
			synctest.Wait()
			if n := ways[3].asked.Load() - asked; n > 0 {
				t.Errorf("the next one was committed and taken back by %d calls", n)
			}
			if got := string(get(t, s, ref, 0, len(before))); got != before {
				t.Errorf("a write that was refused is what is read: %.10q", got)
			}
		}
		for out := 1; out < 4; out++ { // another drive is lost, and the one that was away is back
			for i := range ways {
				ways[i].away.Store(i == out)
			}
			if got := string(get(t, s, ref, 0, len(before))); got != before {
				t.Errorf("without drive %d it is %.10q", out, got)
			}
		}
	})
}

// stuffed is a drive that takes no shard, which shows when it is written to.
type stuffed struct {
	erasure.Drive
	aborted atomic.Int64
}

func (d *stuffed) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	w, err := d.Drive.Create(ctx, id, size)
	return &stuffedWriter{w, d}, err
}

type stuffedWriter struct {
	register.ShardWriter
	d *stuffed
}

func (*stuffedWriter) Write([]byte) (int, error) { return 0, register.ErrFull }

func (w *stuffedWriter) Abort() {
	w.d.aborted.Add(1)
	w.ShardWriter.Abort()
}

func TestAnErrorOfTheLastStripeLeavesItsDriveOutAndIsTold(t *testing.T) {
	for bad, full := range []bool{false, false, true, true} {
		synctest.Test(t, func(t *testing.T) {
			all := drives(4)
			failing := make([]*stuffed, bad)
			for i := range failing {
				failing[i] = &stuffed{Drive: all[i]}
				all[i] = failing[i]
			}
			s := open(t, 2, all)
			if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{Body: objecttest.NewBody(make([]byte, 100_000), object.CRC64NVME)})
			if (err != nil) != full || full && object.KindOf(err) != object.Full {
				t.Errorf("%d drives fail: %v", bad, err)
			}
			synctest.Wait()
			for i, d := range failing {
				if d.aborted.Load() != 1 {
					t.Errorf("%d drives fail: the shard of drive %d was given up %d times", bad, i, d.aborted.Load())
				}
			}
			time.Sleep(time.Hour) // what was not waited for
		})
	}
}
