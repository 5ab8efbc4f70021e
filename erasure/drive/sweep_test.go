package drive_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// swept is a drive that is swept, and whose process ends now and then: what it had begun it never ends.
type swept struct {
	*drive.Drive
	t    *testing.T
	path string
	kv   drive.KV
	end  func()
	fail func() error // of removing a file; nil: nothing fails
}

// failingFiles are Files of which some cannot be removed.
type failingFiles struct {
	drive.Files
	of *swept
}

func (f failingFiles) Remove(id register.DataID) error {
	if f.of.fail != nil {
		if err := f.of.fail(); err != nil {
			return err
		}
	}
	return f.Files.Remove(id)
}

func newSwept(t *testing.T) *swept {
	t.Helper()
	s := &swept{t: t, path: t.TempDir(), kv: drive.NewMemory(), end: func() {}}
	s.again()
	t.Cleanup(func() { s.end() })
	return s
}

// again has another process open the drive.
func (s *swept) again() {
	s.end()
	root, err := vfs.OpenRoot(s.path)
	must(s.t, err)
	files, err := drive.OpenFiles(root)
	must(s.t, err)
	d := drive.New(s.kv, failingFiles{files, s}, nil)
	d.StartSweeping(slog.New(slog.DiscardHandler))
	s.Drive, s.end = d, func() { must(s.t, errors.Join(d.Close(), root.Close())) }
}

// begin writes a shard of 100,000 bytes that is not finished yet.
func (s *swept) begin(n byte) register.ShardWriter { return s.beginWith(n, 0) }

// beginWith is begin of bytes that are all the same.
func (s *swept) beginWith(n, content byte) register.ShardWriter {
	w, err := s.Create(s.t.Context(), register.DataID{n}, 0)
	must(s.t, err)
	_, err = w.Write(bytes.Repeat([]byte{content}, 100_000))
	must(s.t, err)
	return w
}

// reads reports whether all that the drive has of a shard are 100,000 such bytes.
func (s *swept) reads(n, content byte) bool {
	b := make([]byte, 100_001)
	read, err := s.ReadShard(s.t.Context(), register.DataID{n}, 0, b)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(b[:read], bytes.Repeat([]byte{content}, 100_000))
}

// commit has the key "k" refer to shards, and to no others any more.
func (s *swept) commit(token int, n ...byte) error {
	r := object(token)
	r.Made = at(1)
	for _, id := range n {
		r.Data = append(r.Data, register.DataID{id})
	}
	if err := s.Commit(s.t.Context(), register.Change{Key: key("k"), Record: r, Strict: true}); err != nil {
		return err
	}
	return s.Decide(s.t.Context(), []register.Decision{{Key: key("k"), Version: r.Version, Made: r.Made, Changed: r.Changed}})
}

// has reports whether the drive has a shard, or a file of one.
func (s *swept) has(n byte) bool {
	_, err := s.ReadShard(s.t.Context(), register.DataID{n}, 0, make([]byte, 1))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Error(err)
	}
	return err == nil
}

// files returns how many files there are.
func (s *swept) files() (n int) {
	root, err := vfs.OpenRoot(s.path)
	must(s.t, err)
	defer root.Close()
	files, err := drive.OpenFiles(root)
	must(s.t, err)
	defer files.Close()
	must(s.t, files.Each(func(register.DataID, bool) error {
		n++
		return nil
	}))
	return n
}

func TestTheSpaceOfWhatAProcessWasWritingIsGivenBackWhenAnotherHasOpenedTheDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		d.begin(1)
		must(t, d.begin(2).Finish())
		must(t, d.commit(2, 2))
		d.again()
		underway := d.begin(3)
		time.Sleep(2 * time.Minute)
		if n := d.files(); n != 2 || !d.has(2) {
			t.Errorf("there are %d files, of a shard and one that is being written", n)
		}
		must(t, underway.Finish())
		must(t, d.commit(3, 3))
	})
}

// TestAShardThatIsMadeAnewIsThereUntilTheNewOneIsFinished: what is left of it may be all that there is.
func TestAShardThatIsMadeAnewIsThereUntilTheNewOneIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.beginWith(1, 'a').Finish())
		must(t, d.commit(2, 1))
		w := d.beginWith(1, 'b')
		if !d.reads(1, 'a') {
			t.Error("it is not there while another one is being written")
		}
		w.Abort()
		if n := d.files(); n != 1 || !d.reads(1, 'a') {
			t.Errorf("given up, there are %d files, or it is not there", n)
		}
		d.beginWith(1, 'b') // the process ends
		d.again()
		time.Sleep(2 * time.Minute)
		if n := d.files(); n != 1 || !d.reads(1, 'a') {
			t.Errorf("after the process has ended there are %d files, or it is not there", n)
		}
		must(t, d.beginWith(1, 'c').Finish())
		if n := d.files(); n != 1 || !d.reads(1, 'c') {
			t.Errorf("finished, there are %d files, or it is not the new one", n)
		}
	})
}

// TestAShardThatIsDroppedWhileItIsLookedAtLeavesNoFile drops a shard when the sweeper has just found that
// it is one.
func TestAShardThatIsDroppedWhileItIsLookedAtLeavesNoFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.begin(1).Finish())
		w := &watched{KV: d.kv}
		d.kv = w
		d.again()
		drop := func() { must(t, d.Drop(t.Context(), register.DataID{1})) }
		w.found.Store(&drop)
		time.Sleep(2 * time.Minute)
		if n := d.files(); n != 0 || d.has(1) {
			t.Errorf("there are %d files, and the shard is there: %v", n, d.has(1))
		}
		must(t, d.begin(1).Finish()) // nobody has it in hand any more
		if n := d.files(); n != 1 || !d.has(1) {
			t.Errorf("made anew, there are %d files, and the shard is there: %v", n, d.has(1))
		}
	})
}

// watched tells once when a shard was found.
type watched struct {
	drive.KV
	found atomic.Pointer[func()]
}

func (w *watched) Get(key []byte) ([]byte, bool, error) {
	value, found, err := w.KV.Get(key)
	if found && key[0] == 'd' {
		if tell := w.found.Swap(nil); tell != nil {
			(*tell)()
		}
	}
	return value, found, err
}

func TestShardsThatNothingRefersToGoAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.begin(1).Finish()) // its writer went before it committed it
		must(t, d.begin(2).Finish()) // so did this one's
		must(t, d.begin(3).Finish())
		must(t, d.commit(3, 3))
		for range 4 { // the process ends now and then
			d.again()
			time.Sleep(5 * time.Hour)
		}
		must(t, d.begin(4).Finish()) // its writer takes his time
		for n := range byte(4) {
			if !d.has(n + 1) {
				t.Errorf("shard %d is gone within a day", n+1)
			}
		}
		time.Sleep(20 * time.Hour)
		must(t, d.commit(4, 3, 4))
		time.Sleep(20 * time.Hour)
		for n, want := range []bool{false, false, true, true} {
			if got := d.has(byte(n + 1)); got != want {
				t.Errorf("shard %d is there: %v", n+1, got)
			}
		}
		if n := d.files(); n != 2 {
			t.Errorf("there are %d files", n)
		}
	})
}

// TestWhatCannotBeRemovedIsTriedAgainAndKeepsNothingElse: a disk has an error of one file, or of all for a while.
func TestWhatCannotBeRemovedIsTriedAgainAndKeepsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		d.begin(1)
		d.begin(2)
		for n := byte(3); n <= 5; n++ {
			must(t, d.begin(n).Finish())
		}
		var tries atomic.Int64
		d.fail = func() error {
			if tries.Add(1) == 1 { // of the first file, and of the first shard of those that are due
				return &fs.PathError{Op: "remove", Err: syscall.EIO}
			}
			return nil
		}
		d.again()
		time.Sleep(2 * time.Minute)
		if n := d.files(); n != 4 {
			t.Errorf("there are %d files, of three shards and one that cannot be removed", n)
		}
		tries.Store(0)
		time.Sleep(31 * time.Hour)
		if left := d.files(); left != 2 {
			t.Errorf("there are %d files, of one that cannot be removed and a shard of that kind", left)
		}
		d.again()
		time.Sleep(31 * time.Hour)
		if left := d.files(); left != 0 {
			t.Errorf("in the end there are %d files", left)
		}
	})
}

// moodyKV is a KV that cannot be gone through for the first ten minutes.
type moodyKV struct {
	drive.KV
	begun time.Time
}

func (k moodyKV) Scan(from, to []byte) (drive.Iterator, error) {
	if time.Since(k.begun) < 10*time.Minute {
		return nil, &fs.PathError{Op: "read", Err: syscall.EMFILE}
	}
	return k.KV.Scan(from, to) //nolint:wrapcheck // as it is
}

// TestASweepThatFailsIsMadeAgain, though nobody writes to the drive meanwhile.
func TestASweepThatFailsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.begin(1).Finish())
		d.kv = moodyKV{d.kv, time.Now()}
		d.again()
		time.Sleep(37 * time.Hour)
		if d.has(1) {
			t.Error("what nothing refers to is there a day later")
		}
	})
}

func TestWhatWasToBeRemovedIsRemovedMinutesAfterTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		there := func(when string, want ...byte) {
			t.Helper()
			for n := byte(1); n <= 3; n++ {
				if got := d.has(n); got != slices.Contains(want, n) {
					t.Errorf("%s: shard %d is there: %v", when, n, got)
				}
			}
		}
		for n := byte(1); n <= 2; n++ { // the second in the place of the first
			must(t, d.begin(n).Finish())
			must(t, d.commit(int(n)+1, n))
		}
		d.again()
		time.Sleep(4 * time.Minute)
		there("while somebody may be reading it", 1, 2)
		must(t, d.begin(3).Finish())
		must(t, d.commit(4, 3))
		time.Sleep(2 * time.Minute)
		there("after that", 2, 3)
		time.Sleep(4 * time.Minute)
		there("of what was to be removed since", 3)
		d.again()
		time.Sleep(48 * time.Hour)
		there("two days later", 3)
	})
}

// Contents that several registers refer to are marked by each that refers to them no more.
func TestAMarkOfWhatIsReferredToMeansNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.begin(1).Finish())
		other := object(2)
		other.Data = []register.DataID{{1}}
		must(t, d.Commit(t.Context(), register.Change{Key: key("other"), Record: other, Strict: true}))
		must(t, d.commit(2, 1))
		must(t, d.begin(2).Finish())
		must(t, d.commit(3, 2))
		for range 3 {
			d.again()
			time.Sleep(10 * time.Hour)
			if !d.has(1) {
				t.Fatal("a shard is gone that a register refers to")
			}
		}
	})
}

func TestADriveThatNobodyWritesToIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSwept(t)
		must(t, d.begin(1).Finish())
		must(t, d.commit(1, 1))
		asked := &counted{KV: d.kv}
		d.kv = asked
		d.again()
		time.Sleep(12 * time.Hour)
		before := asked.scans.Load()
		time.Sleep(1000 * time.Hour)
		if after := asked.scans.Load(); before == 0 || after != before {
			t.Errorf("its store was scanned %d times, and %d times before", after-before, before)
		}
	})
}

// counted counts scans.
type counted struct {
	drive.KV
	scans atomic.Int64
}

func (c *counted) Scan(from, to []byte) (drive.Iterator, error) {
	c.scans.Add(1)
	return c.KV.Scan(from, to)
}
