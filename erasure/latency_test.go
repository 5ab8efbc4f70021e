package erasure_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// taking is a drive that takes its time for whatever it is asked.
type taking struct {
	erasure.Drive
	each  atomic.Int64 // nanoseconds
	asked atomic.Int64 // for registers and for pieces of shards
	hangs atomic.Bool  // when a shard is read
	away  atomic.Bool  // behind a link as slow as itself: what is written takes its time to get there

	inside atomic.Int64 // calls that have not ended
}

func (d *taking) take() {
	d.asked.Add(1)
	d.inside.Add(1)
	defer d.inside.Add(-1)
	time.Sleep(time.Duration(d.each.Load()))
}

func (d *taking) Read(ctx context.Context, q register.Query) (register.View, error) {
	d.take()
	return d.Drive.Read(ctx, q)
}

func (d *taking) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	d.take()
	return d.Drive.Promise(ctx, t, q)
}

func (d *taking) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	if d.hangs.Load() {
		<-ctx.Done()
	}
	d.take()
	return d.Drive.ReadShard(ctx, id, offset, p)
}

func (d *taking) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	d.take()
	return d.Drive.Scan(ctx, q)
}

func (d *taking) Commit(ctx context.Context, c register.Change) error {
	d.take()
	return d.Drive.Commit(ctx, c)
}

func (d *taking) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	w, err := d.Drive.Create(ctx, id, size)
	return &takingWriter{w, d, size > 4<<20}, err
}

// takingWriter is the writer of such a drive, which keeps small shards in memory until their end.
type takingWriter struct {
	register.ShardWriter
	d     *taking
	large bool
}

func (w *takingWriter) Write(p []byte) (int, error) {
	if w.large || w.d.away.Load() {
		w.d.take()
	}
	return w.ShardWriter.Write(p)
}

func (w *takingWriter) Finish() error {
	w.d.take()
	return w.ShardWriter.Finish()
}

// normal is how long a drive takes that is as it should be.
const normal = time.Millisecond

// takingDrives returns a Store over six drives, with objects of a content.
func takingDrives(t *testing.T, content []byte) (*erasure.Store, []*taking, []object.Ref) {
	t.Helper()
	all, taken := drives(6), make([]*taking, 6)
	for i := range all {
		taken[i] = &taking{Drive: all[i]}
		taken[i].each.Store(int64(normal))
		all[i] = taken[i]
	}
	s := open(t, 2, all)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	var refs []object.Ref
	for i := range 12 { // their first shards are on any drive
		refs = append(refs, put(t, s, fmt.Sprint(i), content))
	}
	return s, taken, refs
}

// lacking returns what a pass brings to drives that lack it.
func lacking(t *testing.T, s *erasure.Store) (records, shards int64) {
	t.Helper()
	time.Sleep(20 * time.Second) // all that was not waited for has come to its end
	h, err := s.Heal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h.Records, h.Shards
}

func TestWhatADriveIsSlowToMakeDurableIsNotWaitedForAndNotLost(t *testing.T) {
	content := bytes.Repeat([]byte("shoal"), 60_000)
	synctest.Test(t, func(t *testing.T) {
		s, all, _ := takingDrives(t, content)
		all[3].each.Store(int64(time.Second))
		for i := range 10 {
			begun := time.Now()
			ref := put(t, s, fmt.Sprint("late ", i), content[:100_000])
			if took := time.Since(begun); took > 100*time.Millisecond {
				t.Errorf("put %d took %v", i, took)
			}
			if b := get(t, s, ref, 0, 100_000); !bytes.Equal(b, content[:100_000]) {
				t.Errorf("object %d came as %d other bytes", i, len(b))
			}
			time.Sleep(2 * time.Second)
		}
		if records, shards := lacking(t, s); records+shards > 0 {
			t.Errorf("drives lacked %d records and %d shards", records, shards)
		}
	})
}

func TestAShardThatIsOnItsWayIsNotTakenForLost(t *testing.T) {
	content := bytes.Repeat([]byte("shoal"), 60_000)
	synctest.Test(t, func(t *testing.T) {
		s, all, refs := takingDrives(t, content)
		defer time.Sleep(time.Minute)
		for i := range 10 {
			all[3].each.Store(int64(time.Second))
			ref := put(t, s, fmt.Sprint("late ", i), content)
			all[3].each.Store(0)
			get(t, s, ref, 0, len(content))
			if n := len(s.Suspects()); n > 0 {
				t.Fatalf("object %d: %d are to be healed", i, n)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(time.Minute)
		if err := all[0].Close(); err != nil {
			t.Fatal(err)
		}
		all[0].Drive = drives(1)[0]
		for _, ref := range refs {
			get(t, s, ref, 0, len(content))
		}
		if len(s.Suspects()) == 0 {
			t.Error("what is lost is not found")
		}
	})
}

func TestADriveThatIsSlowPacesNoLargeWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("with the race detector 400 MiB for each case take 8 s and more")
	}
	const each = 5 * normal
	content := make([]byte, 100<<20) // as many stripes
	for _, c := range []struct {
		name  string
		each  time.Duration // of the slow drive, for a cell
		took  time.Duration // at most
		leave bool
	}{
		{"20 times", 20 * each, 3200 * time.Millisecond, true},
		{"twice as slow", 2 * each, 1100 * time.Millisecond, false},
		{"it hangs", time.Minute, 2600 * time.Millisecond, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, all, _ := takingDrives(t, content[:1])
			defer time.Sleep(time.Hour)
			for _, d := range all {
				d.each.Store(int64(each))
			}
			all[3].each.Store(int64(c.each))
			quick := c.took
			if c.leave {
				quick -= 1500 * time.Millisecond
			}
			for i, most := range []time.Duration{c.took, quick, c.took, quick} {
				if i == 2 {
					time.Sleep(2 * time.Second) // it is tried again
				}
				begun := time.Now()
				put(t, s, fmt.Sprint("large ", i), content)
				if took := time.Since(begun); took > most {
					t.Errorf("%s: put %d took %v, more than %v", c.name, i, took, most)
				}
			}
			all[3].each.Store(0)
			if _, shards := lacking(t, s); c.leave != (shards > 0) {
				t.Errorf("%s: the drive lacked %d shards", c.name, shards)
			}
		})
	}
}

func TestADriveThatIsSlowSlowsNoSmallWrites(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		if testing.Short() && size > 100 { // with the race detector it takes half a minute
			break
		}
		synctest.Test(t, func(t *testing.T) {
			content := make([]byte, size)
			s, all, _ := takingDrives(t, content)
			defer time.Sleep(time.Minute)
			p99 := func(when string) time.Duration {
				var took []time.Duration
				for i := range 2000 {
					begun := time.Now()
					put(t, s, fmt.Sprint(when, i), content)
					took = append(took, time.Since(begun))
					time.Sleep(10 * time.Millisecond)
				}
				slices.Sort(took)
				return took[len(took)*99/100]
			}
			healthy := p99("healthy")
			all[1].away.Store(true)
			all[1].each.Store(int64(20 * normal))
			if slow := p99("slow"); slow >= 3*healthy {
				t.Errorf("%d bytes: p99 of writes is %v, it was %v", size, slow, healthy)
			}
		})
	}
}

func TestADriveThatIsFarBehindGetsNoMoreThanItCanFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := make([]byte, 100_000)
		s, all, _ := takingDrives(t, content)
		defer time.Sleep(time.Hour)
		all[3].each.Store(int64(time.Minute))
		var writers sync.WaitGroup
		for i := range 400 {
			writers.Go(func() { put(t, s, fmt.Sprint("one of many ", i), content) })
			time.Sleep(10 * time.Millisecond)
		}
		writers.Wait()
		if n := all[3].inside.Load(); n > 200 {
			t.Errorf("it has %d shards to make durable", n)
		}
	})
}

// reads reads objects in turn, and returns how long each of them took, in order, and how often
// drives were asked for that.
func reads(t *testing.T, s *erasure.Store, all []*taking, refs []object.Ref, n int, content []byte) (took []time.Duration, asked int64) {
	t.Helper()
	for _, d := range all {
		asked -= d.asked.Load()
	}
	for i := range n {
		begun := time.Now()
		if b := get(t, s, refs[i%len(refs)], 0, len(content)); !bytes.Equal(b, content) {
			t.Fatalf("object %d came as %d other bytes", i, len(b))
		}
		took = append(took, time.Since(begun))
	}
	for _, d := range all {
		asked += d.asked.Load()
	}
	slices.Sort(took)
	return took, asked
}

func TestADriveThatIsSlowSlowsNoReads(t *testing.T) {
	content := bytes.Repeat([]byte("shoal"), 60_000)
	const n = 800
	for _, times := range []time.Duration{20, 5, 500} {
		if testing.Short() && times != 20 { // with the race detector each case takes ten times as long
			break
		}
		synctest.Test(t, func(t *testing.T) {
			s, all, refs := takingDrives(t, content)
			defer time.Sleep(time.Minute) // what was left comes to its end
			healthy, asked := reads(t, s, all, refs, n, content)
			all[1].each.Store(int64(times * normal))
			slow, askedThen := reads(t, s, all, refs, n, content)
			if p99, most := slow[n*99/100], 3*healthy[n*99/100]; p99 >= most {
				t.Errorf("a drive that takes %d times as long: p99 of reads is %v, less than %v was to be", times, p99, most)
			}
			if askedThen > asked*11/10 {
				t.Errorf("a drive that takes %d times as long: %d questions instead of %d", times, askedThen, asked)
			}
			if times > 20 && s.Counts().Drives[1].Late == 0 {
				t.Error("nobody counted what was late")
			}
			all[1].each.Store(int64(normal))
			time.Sleep(11 * time.Second)
			before := all[1].asked.Load()
			reads(t, s, all, refs, n, content)
			if again := all[1].asked.Load() - before; again < n {
				t.Errorf("a drive that took %d times as long is asked %d times of %d again", times, again, n)
			}
		})
	}
}

func TestADriveThatHangsHoldsUpNoHealing(t *testing.T) {
	content := bytes.Repeat([]byte("shoal"), 60_000)
	synctest.Test(t, func(t *testing.T) {
		s, all, refs := takingDrives(t, content)
		defer time.Sleep(time.Hour)
		synctest.Wait()
		if err := all[5].Close(); err != nil {
			t.Fatal(err)
		}
		all[5].Drive = drives(1)[0]
		all[3].hangs.Store(true)
		begun := time.Now()
		h, err := s.Heal(t.Context(), nil)
		if took := time.Since(begun); err != nil || h.Shards != int64(len(refs)) || took > 2*time.Second {
			t.Errorf("%d of %d shards were made in %v: %v", h.Shards, len(refs), took, err)
		}
	})
}

func TestADriveThatIsSlowSlowsNoListings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all, refs := takingDrives(t, []byte("x"))
		defer time.Sleep(time.Minute)
		p99 := func() time.Duration {
			var took []time.Duration
			for range 2000 {
				begun := time.Now()
				page, err := s.List(t.Context(), object.Query{Bucket: "bucket", Limit: 1000})
				if err != nil || len(page.Objects) != len(refs) {
					t.Fatalf("%d objects: %v", len(page.Objects), err)
				}
				took = append(took, time.Since(begun))
				time.Sleep(10 * time.Millisecond)
			}
			slices.Sort(took)
			return took[len(took)*99/100]
		}
		healthy := p99()
		all[1].each.Store(int64(20 * normal))
		if slow := p99(); slow >= 3*healthy {
			t.Errorf("p99 of listings is %v, it was %v", slow, healthy)
		}
	})
}

func TestDrivesThatAreAllSlowAreAskedNoMoreThanBefore(t *testing.T) {
	content := bytes.Repeat([]byte("shoal"), 60_000)
	synctest.Test(t, func(t *testing.T) {
		s, all, refs := takingDrives(t, content)
		defer time.Sleep(time.Minute)
		const n = 400
		_, asked := reads(t, s, all, refs, n, content)
		for _, d := range all {
			d.each.Store(int64(40 * normal))
		}
		_, askedThen := reads(t, s, all, refs, n, content)
		if askedThen > asked*11/10 {
			t.Errorf("%d questions instead of %d", askedThen, asked)
		}
	})
}
