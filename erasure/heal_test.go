package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// detached is a drive that takes no shards either while it is away, and afterwards takes a
// second for each.
type detached struct{ absent }

func (d *detached) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	if d.away.Load() {
		return nil, errAway
	}
	time.Sleep(time.Second)
	return d.Drive.Create(ctx, id, size)
}

// lagging returns a Store of which one drive has missed objects of 100,000 bytes and the bucket
// "other", and is back.
// While closed returns an error nothing can be changed.
func lagging(t *testing.T, closed func() error, keys ...string) *erasure.Store {
	t.Helper()
	all := drives(4)
	behind := &detached{absent{Drive: all[2]}}
	all[2] = behind
	locker := lock.NewLocal(1)
	s, err := erasure.New(context.Background(), erasure.Config{
		Sets: []erasure.SetConfig{{Drives: all, Parity: 2, Writable: closed}}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(); locker.Close() })
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // all have been told that it is committed
	behind.away.Store(true)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if _, err := s.Put(t.Context(), at(key, ""), object.PutInput{Body: objecttest.NewBody(make([]byte, 100_000), object.CRC64NVME)}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	behind.away.Store(false)
	return s
}

func TestAPartOfABucketIsHealedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lagging(t, func() error { return nil }, "a", "b/1", "b/2")
		h, err := s.HealBucket(t.Context(), inBucket, "b/", 0, nil)
		if err != nil || h.Names != 2 || h.Shards != 2 || h.Failed != 0 {
			t.Errorf("below b/, %+v, %v", h, err)
		}
		want := fmt.Sprint([]erasure.Mended{{Bucket: inBucket, Key: "b/1", Bytes: 100_000, Drives: 1}, {Bucket: inBucket, Key: "b/2", Bytes: 100_000, Drives: 1}})
		if got := fmt.Sprint(h.Mended); got != want {
			t.Errorf("healed were %s, want %s", got, want)
		}
		if h, err := s.HealBucket(t.Context(), inBucket, "", 0, nil); err != nil || h.Names != 3 || h.Shards != 1 {
			t.Errorf("then in the bucket, %+v, %v", h, err)
		}
		if h, err := s.Heal(t.Context(), nil); err != nil || h.Records != 1 || len(h.Mended) != 0 {
			t.Errorf("what is no object is told as one that was healed: %+v, %v", h, err)
		}
		if _, err := s.HealBucket(t.Context(), "none", "", 0, nil); !errors.Is(err, object.NoSuchBucket) {
			t.Errorf("no such bucket: %v", err)
		}
	})
}

func TestOfAnObjectThatAReaderFoundDamagedNoOtherIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lagging(t, func() error { return nil }, "a", "a/b", "ab")
		for _, key := range []string{"ab", "a"} {
			if h, err := s.Repair(t.Context(), at(key, ""), 1<<40); err != nil || h.Names != 1 || h.Shards != 1 {
				t.Errorf("%s: %+v, %v", key, h, err)
			}
		}
	})
}

func TestWhatCannotBeHealedIsToldWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shut := false
		s := lagging(t, func() error {
			if shut {
				return errors.New("closed " + strings.Repeat("today ", 100))
			}
			return nil
		}, "a")
		shut = true
		h, err := s.HealBucket(t.Context(), inBucket, "", 0, nil)
		if err != nil || h.Failed != 1 || len(h.Left) != 1 {
			t.Fatalf("%+v, %v", h, err)
		}
		if l := h.Left[0]; l.Bucket != inBucket || l.Name != "a" || !strings.Contains(l.Reason, "closed today") || len(l.Reason) > 300 {
			t.Errorf("left was %+v", l)
		}
		if c := s.Counts(); c.Failed != 1 || c.Shards != 0 {
			t.Errorf("counted was %+v", c)
		}
	})
}

func TestOfManyNamesTheFirstAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 120 {
			keys = append(keys, fmt.Sprintf("%03d", i))
		}
		s := lagging(t, func() error { return nil }, keys...)
		h, err := s.HealBucket(t.Context(), inBucket, "", 0, nil)
		if err != nil || h.Shards != 120 || len(h.Mended) != 100 || h.Mended[99].Key != "099" {
			t.Errorf("%d shards, %d names, %v", h.Shards, len(h.Mended), err)
		}
	})
}

func TestWhatDrivesAreAskedAndRefuseIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lagging(t, func() error { return nil }, "a", "b")
		if _, err := s.HealBucket(t.Context(), inBucket, "", 0, nil); err != nil {
			t.Fatal(err)
		}
		c := s.Counts()
		if c.Shards != 2 || c.Bytes < 2*50_000 || c.Records != 2 {
			t.Errorf("healed was %+v", c)
		}
		whole, behind := c.Drives[0], c.Drives[2]
		if n := whole.Calls["commit"]; n.Count < 3 || n.Time != 0 || whole.Calls["install"].Count != 0 || behind.Calls["create"].Time != 2*time.Second {
			t.Errorf("calls were %+v of a drive that was there, %+v of the other", whole.Calls, behind.Calls)
		}
		if whole.Refused["failed"] != 0 || behind.Refused["failed"] == 0 || behind.Refused["stale"] != 0 {
			t.Errorf("refused was %v by a drive that was there, %v by the other", whole.Refused, behind.Refused)
		}
	})
}

// TestASetIsHealedThoughAnotherIsAway: what was looked at is told, and that there is more.
func TestASetIsHealedThoughAnotherIsAway(t *testing.T) {
	for name, heal := range map[string]func(ctx context.Context, s *erasure.Store) (erasure.Healed, error){
		"everything": func(ctx context.Context, s *erasure.Store) (erasure.Healed, error) { return s.Heal(ctx, nil) },
		"missed":     func(ctx context.Context, s *erasure.Store) (erasure.Healed, error) { return s.HealMissed(ctx, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sets []erasure.SetConfig
				var all [3][]*detached // the first one has the records of buckets
				for n := range all {
					wrapped := drives(4)
					for i := range wrapped {
						d := &detached{absent{Drive: wrapped[i]}}
						all[n], wrapped[i] = append(all[n], d), d
					}
					sets = append(sets, erasure.SetConfig{Drives: wrapped, Parity: 2})
				}
				away := func(n int, is bool) {
					for _, d := range all[n] {
						d.away.Store(is)
					}
				}
				s := openSets(t, sets...)
				if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
					t.Fatal(err)
				}
				all[2][2].away.Store(true)
				for i := range 30 {
					put(t, s, fmt.Sprint("k", i), make([]byte, 100_000))
					up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: at(fmt.Sprint("k", i), "")}, Algorithm: object.CRC64NVME})
					if err == nil {
						_, err = s.PutPart(t.Context(), up.UploadRef, 1, objecttest.NewBody(make([]byte, 100_000), object.CRC64NVME))
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				away(2, false)
				away(1, true)
				h, err := heal(t.Context(), s)
				if h.Shards == 0 || object.KindOf(err) != object.Unavailable || !errors.Is(err, erasure.ErrSetAway) {
					t.Errorf("%d shards were made anew, and the error is %v", h.Shards, err)
				}
				if h.Lacking != (erasure.Slots{0xf0}) || h.Absent != h.Lacking {
					t.Errorf("what may lack something is %#x, what was away %#x", h.Lacking, h.Absent)
				}
				if h.At.Set != 0 {
					t.Errorf("it has come to %+v, beyond the set that was away", h.At)
				}
				away(1, false)
				if h, err := heal(t.Context(), s); err != nil || h.Failed > 0 || h.Shards > 0 || h.Lacking.Count() > 0 {
					t.Errorf("with all of them there: %+v, %v", h, err)
				}
			})
		})
	}
}

// readCounter is a drive that counts the shards that are read.
type readCounter struct {
	erasure.Drive
	reads *atomic.Int64
}

func (d readCounter) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	if offset == 0 {
		d.reads.Add(1)
	}
	return d.Drive.ReadShard(ctx, id, offset, p)
}

// TestAScrubGoesOnWhereAnotherOneWas has one begin at each place at which another one says to be.
func TestAScrubGoesOnWhereAnotherOneWas(t *testing.T) {
	var reads atomic.Int64
	var sets []erasure.SetConfig
	for range 2 {
		counted := drives(4)
		for i := range counted {
			counted[i] = readCounter{counted[i], &reads}
		}
		sets = append(sets, erasure.SetConfig{Drives: counted, Parity: 2})
	}
	var now atomic.Int64
	s := openTimed(t, func() time.Time { return time.Unix(now.Add(10), 0) }, sets...) // whoever is to hear of a pass does at each name
	for _, bucket := range []string{"bucket", "empty", "other"} {
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		ref := object.Ref{Bucket: []string{"bucket", "other"}[i%2], Key: fmt.Sprint("k", i)}
		for range 1 + i%3 {
			if _, err := s.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody(make([]byte, 20_000), object.CRC64NVME)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	type stop struct {
		at   erasure.Position
		read int64
	}
	var stops []stop
	reads.Store(0)
	if h, err := s.Scrub(t.Context(), 1<<40, func(h erasure.Healed) { stops = append(stops, stop{h.At, reads.Load()}) }); err != nil || h.Failed > 0 {
		t.Fatal(h, err)
	}
	all := reads.Load()
	if len(stops) < 40 {
		t.Fatalf("it was heard of %d times", len(stops))
	}
	for _, stop := range stops {
		reads.Store(0)
		if h, err := s.ScrubFrom(t.Context(), stop.at, 1<<40, nil); err != nil || h.Failed > 0 || reads.Load() != all-stop.read {
			t.Errorf("from %+v %d shards were read of %d, after %d: %v", stop.at, reads.Load(), all, stop.read, err)
		}
	}
	reads.Store(0)
	if _, err := s.ScrubFrom(t.Context(), erasure.Position{Bucket: "c"}, 1<<40, nil); err != nil || reads.Load() == 0 || reads.Load() >= all {
		t.Errorf("from a bucket that is gone %d were read, %v", reads.Load(), err)
	}
}
