package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// disk is a drive whose shards take the time that they take on a disk with one arm. What is
// written is taken at once, and on the disk some megabytes later, or when it is finished.
type disk struct {
	erasure.Drive
	rate int // bytes a second
	seek time.Duration

	mu   sync.Mutex
	free time.Time       // when it has done what it was asked
	file register.DataID // where the arm is
	at   int64
	made []register.DataID
}

// Where a disk is read or written without a seek: the system reads ahead so far, and sorts, and
// writes so much at a time.
const (
	nearby  = 2 << 20
	behind  = 4 << 20
	pending = 64 << 20 // bytes that are taken and not on the disk
)

// use returns when bytes of a file were read or written that are asked for now.
func (d *disk) use(id register.DataID, offset int64, n int) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.free.Before(now) {
		d.free = now
	}
	if id != d.file || max(offset-d.at, d.at-offset) > nearby {
		d.free = d.free.Add(d.seek)
	}
	d.file, d.at = id, offset+int64(n)
	d.free = d.free.Add(d.time(n))
	return d.free
}

func (d *disk) time(n int) time.Duration {
	return time.Duration(float64(n) / float64(d.rate) * float64(time.Second))
}

func (d *disk) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	n, err := d.Drive.ReadShard(ctx, id, offset, p)
	if err == nil { // that there is none the store knows
		time.Sleep(time.Until(d.use(id, offset, len(p))))
	}
	return n, err
}

func (d *disk) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	w, err := d.Drive.Create(ctx, id, size)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = append(d.made, id)
	return &diskWriter{ShardWriter: w, d: d, id: id}, err
}

type diskWriter struct {
	register.ShardWriter
	d            *disk
	id           register.DataID
	taken, begun int
	written      time.Time
}

func (w *diskWriter) Write(p []byte) (int, error) {
	if w.taken += len(p); w.taken-w.begun >= behind {
		w.flush()
		time.Sleep(time.Until(w.written) - w.d.time(pending))
	}
	return w.ShardWriter.Write(p)
}

func (w *diskWriter) flush() {
	w.written = w.d.use(w.id, int64(w.begun), w.taken-w.begun)
	w.begun = w.taken
}

func (w *diskWriter) Finish() error {
	w.flush()
	time.Sleep(time.Until(w.written) + w.d.seek) // the journal is elsewhere
	return w.ShardWriter.Finish()
}

func TestALostDriveIsRebuiltAboutAsFastAsTheSlowestOneWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("with the race detector each case takes 10 s")
	}
	for name, rates := range map[string][]int{
		"all alike":          {150 << 20, 150 << 20, 150 << 20, 150 << 20},
		"the new one slower": {150 << 20, 150 << 20, 150 << 20, 80 << 20},
		"another one slower": {100 << 20, 150 << 20, 150 << 20, 150 << 20},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { rebuiltFastEnough(t, rates) }) })
	}
}

// rebuiltFastEnough loses the last of some drives, and has it rebuilt in as much time as the slowest needs
// for it, and three sevenths more.
func rebuiltFastEnough(t *testing.T, rates []int) {
	t.Helper()
	const objects, size = 6, 24 << 20
	s, _ := oneLost(t, rates, objects, size)
	begun := time.Now()
	h, err := s.Heal(t.Context(), nil)
	if err != nil || h.Shards != objects || h.Failed != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	speed := int(float64(h.Bytes) / time.Since(begun).Seconds())
	slowest := slices.Min(rates)
	t.Logf("%d MiB/s, %d %% of the slowest drive", speed>>20, 100*speed/slowest)
	if speed < slowest*7/10 {
		t.Errorf("%d MiB/s are less than 70 %% of the slowest drive's %d MiB/s", speed>>20, slowest>>20)
	}
}

// oneLost returns a Store over disks of some rates with objects called "a" and so on, and the
// last disk, which has lost what it had.
func oneLost(t *testing.T, rates []int, objects, size int) (*erasure.Store, *disk) {
	t.Helper()
	all := drives(len(rates))
	lost := &disk{}
	for i, rate := range rates {
		lost = &disk{Drive: all[i], rate: rate, seek: 8 * time.Millisecond}
		all[i] = lost
	}
	s := openSets(t, erasure.SetConfig{Drives: all, Parity: 2})
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		put(t, s, string(rune('a'+i)), make([]byte, size))
	}
	synctest.Wait() // all have been told that it is committed
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	lost.Drive = drives(1)[0]
	return s, lost
}

// kept returns how many shards a disk has of those that were made on it.
func (d *disk) kept(t *testing.T) (n int) {
	t.Helper()
	for _, id := range d.made {
		switch _, err := d.Drive.ReadShard(t.Context(), id, 0, make([]byte, 1)); {
		case err == nil:
			n++
		case !errors.Is(err, fs.ErrNotExist):
			t.Error(err)
		}
	}
	return n
}

// changes are what somebody may do with the object "a" while it is copied.
func changes() map[string]func(t *testing.T, s *erasure.Store) {
	return map[string]func(t *testing.T, s *erasure.Store){
		"overwritten": func(t *testing.T, s *erasure.Store) {
			t.Helper()
			put(t, s, "a", []byte("new"))
		},
		"deleted": func(t *testing.T, s *erasure.Store) {
			t.Helper()
			if _, err := s.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "a"}, nil); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// soon fails the test if a change waits for something.
func soon(t *testing.T, s *erasure.Store, change func(t *testing.T, s *erasure.Store)) {
	t.Helper()
	begun := time.Now()
	change(t, s)
	if took := time.Since(begun); took > 100*time.Millisecond {
		t.Errorf("who changed the object waited for %v", took)
	}
}

func TestNobodyWaitsForALargeShardThatIsRebuilt(t *testing.T) {
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, lost := oneLost(t, []int{5 << 20, 5 << 20, 5 << 20, 5 << 20}, 1, 24<<20)
				done := make(chan error)
				go func() {
					_, err := s.Heal(t.Context(), nil)
					done <- err
				}()
				time.Sleep(time.Second)
				soon(t, s, change)
				if err := <-done; err != nil {
					t.Error(err)
				}
				if lost.kept(t) > 0 {
					t.Error("the drive has a shard of what is no more")
				}
			})
		})
	}
}

func TestNobodyWaitsForALargeObjectThatMoves(t *testing.T) {
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { changedWhileItMoves(t, change) }) })
	}
}

func changedWhileItMoves(t *testing.T, change func(t *testing.T, s *erasure.Store)) {
	t.Helper()
	s, disks, done := oneMoves(t)
	time.Sleep(time.Second)
	soon(t, s, change)
	if m := <-done; m.Failed > 0 || m.Bytes > 0 {
		t.Errorf("what is no more was moved: %+v", m)
	}
	time.Sleep(10 * time.Minute) // who reads may go on for five
	for i, d := range disks {
		if d.kept(t) > 0 {
			t.Errorf("drive %d has a shard of what is no more", i)
		}
	}
}

func TestALargeObjectMovesAndNothingStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disks, done := oneMoves(t)
		if m := <-done; m.Bytes != 24<<20 || m.Failed > 0 {
			t.Errorf("%+v", m)
		}
		time.Sleep(10 * time.Minute)
		kept := 0
		for _, d := range disks {
			kept += d.kept(t)
		}
		if kept != 4 {
			t.Errorf("the drives of two sets have %d shards", kept)
		}
		if content := get(t, s, object.Ref{Bucket: "bucket", Key: "a"}, 0, 24<<20); !bytes.Equal(content, make([]byte, 24<<20)) {
			t.Errorf("it has %d other bytes now", len(content))
		}
	})
}

// oneMoves returns a Store over disks of two sets, and an object called "a" is on its way from
// one to the other.
func oneMoves(t *testing.T) (s *erasure.Store, disks []*disk, done chan erasure.Moved) {
	t.Helper()
	var sets []erasure.SetConfig
	for range 2 {
		set := erasure.SetConfig{Drives: drives(4), Parity: 2}
		for i := range set.Drives {
			d := &disk{Drive: set.Drives[i], rate: 5 << 20, seek: 8 * time.Millisecond}
			set.Drives[i], disks = d, append(disks, d)
		}
		sets = append(sets, set)
	}
	s = openSets(t, sets...)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", make([]byte, 24<<20))
	synctest.Wait() // all have been told that it is committed
	weights := []int{0, 9}
	if len(disks[4].made) > 0 { // it is in the second set
		weights = []int{9, 0}
	}
	next := s.Placement().Rebalanced(weights)
	for ; next.Phase != placement.Moving; next = next.Next() {
		if err := s.Place(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Place(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	done = make(chan erasure.Moved)
	go func() {
		m, err := s.Move(t.Context(), nil)
		if err != nil {
			t.Error(err)
		}
		done <- m
	}()
	return s, disks, done
}

func TestWhatIsSmallIsHealedSeveralNamesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 16 {
			keys = append(keys, string(rune('a'+i)))
		}
		s := lagging(t, func() error { return nil }, keys...) // the drive takes a second for each
		begun := time.Now()
		if h, err := s.Heal(t.Context(), nil); err != nil || h.Shards != 16 {
			t.Fatalf("%+v, %v", h, err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestPassesThatMeetAtALargeShardDoNotFailEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects = 4
		s, lost := oneLost(t, []int{5 << 20, 5 << 20, 5 << 20, 5 << 20}, objects, 24<<20)
		var passes [3]erasure.Healed
		var running sync.WaitGroup
		for i := range passes {
			running.Go(func() {
				time.Sleep(time.Duration(i) * time.Second) // each comes to where another one is at work
				var err error
				if passes[i], err = s.Heal(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		shards := int64(0)
		for _, h := range passes {
			if h.Failed+h.Pending > 0 || len(h.Left) > 0 {
				t.Errorf("a pass has left something: %+v", h)
			}
			shards += h.Shards
		}
		slices.SortFunc(lost.made, func(a, b register.DataID) int { return bytes.Compare(a[:], b[:]) })
		lost.made = slices.Compact(lost.made)                    // it is tried more than once
		if n := lost.kept(t); shards < objects || n != objects { // one that two passes have found missing is made twice
			t.Errorf("%d shards were made of %d objects, and the drive has %d", shards, objects, n)
		}
	})
}

func TestAScrubWaitsForWhoMakesADamagedShardAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lost := oneLost(t, []int{5 << 20, 5 << 20, 5 << 20, 5 << 20}, 1, 24<<20)
		healed := make(chan error)
		go func() {
			_, err := s.Heal(t.Context(), nil)
			healed <- err
		}()
		time.Sleep(time.Second)
		h, err := s.Scrub(t.Context(), 1<<40, nil)
		if err := errors.Join(err, <-healed); err != nil || h.Failed+h.Pending > 0 || h.Shards != 0 || lost.kept(t) == 0 {
			t.Errorf("%+v, %v", h, err)
		}
	})
}
