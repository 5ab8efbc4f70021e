package format_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// directories returns n empty directories.
func directories(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var all []string
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint("d", i))
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	return all
}

// open opens the drives of one set.
func open(ctx context.Context, paths []string) (*format.Set, error) {
	sets, err := format.OpenAll(ctx, [][]string{paths}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return sets[0], nil
}

// TestDrivesThatWereNotWaitedForAreNotMissing: a server that is stopped while it opens them says nothing of them.
func TestDrivesThatWereNotWaitedForAreNotMissing(t *testing.T) {
	paths := directories(t, 4)
	set, err := open(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	for after := range 40 {
		var log bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Millisecond/4)
		sets, err := format.OpenAll(ctx, [][]string{paths}, slog.New(slog.NewTextHandler(&log, nil)))
		cancel()
		for _, s := range sets {
			err = errors.Join(err, s.Close())
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) || log.Len() > 0 {
			t.Errorf("after %d quarters of a millisecond: %v\n%s", after, err, &log)
		}
	}
}

// run opens the drives, does something with their Store, and closes them.
func run(t *testing.T, paths []string, do func(set *format.Set, s *erasure.Store)) error {
	t.Helper()
	set, err := open(t.Context(), paths)
	if err != nil {
		return err
	}
	locker := lock.NewLocal(set.Boot)
	defer locker.Close()
	s, err := erasure.New(t.Context(), erasure.Config{Sets: []erasure.SetConfig{{Drives: set.Drives, Parity: len(paths) / 2}}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	do(set, s)
	return errors.Join(s.Close(), set.Close())
}

// openSets opens the drives of sets and closes them, and returns the error.
func openSets(t *testing.T, sets ...[]string) (all []*format.Set, err error) {
	t.Helper()
	all, err = format.OpenAll(t.Context(), sets, slog.New(slog.DiscardHandler))
	for _, s := range all {
		must(t, s.Close())
	}
	return all, err
}

func TestSetsAreFormedTogetherAndFoundAgain(t *testing.T) {
	paths := directories(t, 12)
	a, b, c := paths[:4], paths[4:8], paths[8:]
	if _, err := openSets(t, a, append(slices.Clone(b[:3]), b[3]+"/none")); !errors.Is(err, format.ErrIncomplete) {
		t.Errorf("with a drive missing: %v", err)
	}
	all, err := openSets(t, a, b)
	must(t, err)
	if !all[0].Formed || !all[1].Formed || all[0].Deployment != all[1].Deployment || all[1].Of != 2 {
		t.Errorf("formed were %+v and %+v", all[0], all[1])
	}
	if _, err := openSets(t, append(slices.Clone(a[:3]), b[0]), append(slices.Clone(b[1:]), a[3])); !errors.Is(err, format.ErrOther) {
		t.Errorf("a drive of the other set: %v", err)
	}
	all, err = openSets(t, b, a)
	must(t, err)
	if all[0].Number != 1 || all[1].Number != 0 {
		t.Errorf("in another order: %+v, %+v", all[0], all[1])
	}
	all, err = openSets(t, a, b, c)
	must(t, err)
	if all[0].Formed || !all[2].Formed || all[2].Deployment != all[0].Deployment || all[0].Of != 2 || all[2].Of != 3 {
		t.Errorf("after one was added: %+v, %+v", all[0], all[2])
	}
}

func TestOnlyASetThatHoldsNothingIsLeftOut(t *testing.T) {
	paths := directories(t, 12)
	a, b, c := paths[:4], paths[4:8], paths[8:]
	_, err := openSets(t, a, b)
	must(t, err)
	for what, sets := range map[string][][]string{"the first": {a}, "the second": {b}} {
		if _, err := openSets(t, sets...); !errors.Is(err, format.ErrMissing) {
			t.Errorf("%s alone, where both are needed: %v", what, err)
		}
	}
	all, err := format.OpenAll(t.Context(), [][]string{a, b}, slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, format.Agree(all, format.Roster{Epoch: 3, Needed: map[int]string{1: "the new drives"}}))
	before := all[0].Boot
	for _, s := range all {
		must(t, s.Close())
	}
	if _, err := openSets(t, a); !errors.Is(err, format.ErrMissing) || !strings.Contains(err.Error(), "the new drives") {
		t.Errorf("the set that was emptied alone: %v", err)
	}
	all, err = openSets(t, b)
	must(t, err)
	if all[0].Number != 1 || all[0].Fresh || all[0].Boot <= before {
		t.Errorf("the set that has everything alone: %+v, and before it was start %d", all[0], before)
	}
	all, err = openSets(t, b, c)
	must(t, err)
	if all[1].Number != 2 || !all[1].Fresh || !all[1].Formed {
		t.Errorf("a set that is added then: %+v", all[1])
	}
}

// Whatever becomes of sets, and however often they are added and left out, a number is of one alone.
func TestANumberIsGivenOnce(t *testing.T) {
	paths := directories(t, 12)
	a, b, c := paths[:4], paths[4:8], paths[8:]
	for _, sets := range [][][]string{{a}, {a, b}, {a}} {
		_, err := openSets(t, sets...)
		must(t, err)
	}
	all, err := openSets(t, a, c)
	must(t, err)
	if all[1].Number != 2 {
		t.Errorf("after one that was left out a set gets the number %d", all[1].Number)
	}
}

func TestBlankDrivesAreNotTakenForASetThatWasThere(t *testing.T) {
	paths := directories(t, 12)
	_, err := openSets(t, paths[:4], paths[4:8])
	must(t, err)
	if _, err := openSets(t, paths[:4], paths[8:]); !errors.Is(err, format.ErrTooFew) {
		t.Errorf("%v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is what an object of this size holds.
func content(key string, size int) []byte {
	return []byte(strings.Repeat(key+".", size/(len(key)+1)+1)[:size])
}

var sizes = []int{0, 1, 3000, 100_000, 1_500_000}

func put(t *testing.T, s *erasure.Store, key string, size int) {
	t.Helper()
	_, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: key}, object.PutInput{Body: objecttest.NewBody(content(key, size), object.CRC64NVME)})
	must(t, err)
}

func check(t *testing.T, s *erasure.Store, key string, size int) {
	t.Helper()
	h, err := s.Open(t.Context(), object.Ref{Bucket: "bucket", Key: key})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	got, err := io.ReadAll(h.Range(0, h.Info().Size))
	if err = errors.Join(err, h.Close()); err != nil || string(got) != string(content(key, size)) {
		t.Errorf("%s has %d bytes of %d, %v", key, len(got), size, err)
	}
}

func fill(t *testing.T, s *erasure.Store, prefix string) {
	t.Helper()
	for _, size := range sizes {
		put(t, s, fmt.Sprint(prefix, size), size)
	}
}

func checkAll(t *testing.T, s *erasure.Store, prefix string) {
	t.Helper()
	for _, size := range sizes {
		check(t, s, fmt.Sprint(prefix, size), size)
	}
}

func TestASetIsFormedOnceAndFoundAgainInAnyOrder(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if !set.Formed || set.Online() != 4 || set.Boot != 1 {
			t.Errorf("formed %v, online %d, boot %d", set.Formed, set.Online(), set.Boot)
		}
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
	}))
	paths[0], paths[3] = paths[3], paths[0]
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if set.Formed || set.Online() != 4 || set.Boot != 2 {
			t.Errorf("formed %v, online %d, boot %d", set.Formed, set.Online(), set.Boot)
		}
		checkAll(t, s, "a")
	}))
}

func TestDrivesTellWhatTheirDevicesHaveDone(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, _ *erasure.Store) {
		must(t, os.RemoveAll(paths[2]))
		set.Look(t.Context())
		var told []string
		for _, a := range set.Activity() {
			told = append(told, a.Path)
			if (a.Counters == nil) == (a.Why == "") { // which of them depends on where the directories are
				t.Errorf("%+v", a)
			}
		}
		if want := slices.Delete(slices.Clone(paths), 2, 3); !slices.Equal(told, want) {
			t.Errorf("told of %v, there are %v", told, want)
		}
	}))
}

func TestWhatIsNoSetOfDrivesIsRefused(t *testing.T) {
	first, second := directories(t, 4), directories(t, 4)
	nothing := func(*format.Set, *erasure.Store) {}
	must(t, run(t, first, nothing))
	must(t, run(t, second, nothing))
	full := directories(t, 2)
	must(t, os.WriteFile(filepath.Join(full[1], "file"), nil, 0o600))
	left := directories(t, 2)
	must(t, os.MkdirAll(filepath.Join(left[0], ".shoal.sys", "kv"), 0o700))
	gone := directories(t, 2)
	must(t, os.Remove(gone[1]))
	for name, tt := range map[string]struct {
		paths []string
		want  error
	}{
		"some of a set":             {first[:3], format.ErrOther},
		"drives of two sets":        {[]string{first[0], first[1], first[2], second[3]}, format.ErrOther},
		"a directory that has more": {full, format.ErrIncomplete},
		"a directory that is gone":  {gone, format.ErrIncomplete},
		"what is left of a drive":   {left, format.ErrNotEmpty},
	} {
		if err := run(t, tt.paths, nothing); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	must(t, run(t, first, func(*format.Set, *erasure.Store) {
		if err := run(t, first, nothing); !errors.Is(err, format.ErrInUse) {
			t.Errorf("drives that are served already: %v", err)
		}
	}))
}

func TestHalfOfTheDrivesCanBeAwayAndGetWhatTheyMissed(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
		put(t, s, "deleted", 5000)
	}))
	// One is away: all can be read, written and deleted.
	away := paths[1] + ".away"
	must(t, os.Rename(paths[1], away))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if set.Online() != 3 {
			t.Errorf("%d drives are there", set.Online())
		}
		checkAll(t, s, "a")
		fill(t, s, "b")
		_, err := s.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "deleted"}, nil)
		must(t, err)
		if s.Missed() == 0 {
			t.Error("nobody noticed that a drive missed something")
		}
	}))
	// It is back: it gets what it missed.
	must(t, os.Rename(away, paths[1]))
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		healed, err := s.HealMissed(t.Context(), nil)
		must(t, err)
		if healed.Failed > 0 || healed.Pending > 0 || healed.Records < 6 || healed.Shards < 4 {
			t.Errorf("healed was %+v", healed)
		}
		if again, err := s.Heal(t.Context(), nil); err != nil || again.Records+again.Shards > 0 {
			t.Errorf("the second time it was %+v, %v", again, err)
		}
	}))
	// So two others can be lost for reading.
	for _, drive := range []string{paths[0], paths[2]} {
		must(t, os.RemoveAll(filepath.Join(drive, ".shoal.sys", "data")))
		must(t, os.RemoveAll(filepath.Join(drive, ".shoal.sys", "segments")))
	}
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		checkAll(t, s, "a")
		checkAll(t, s, "b")
		if _, err := s.Stat(t.Context(), object.Ref{Bucket: "bucket", Key: "deleted"}); !errors.Is(err, object.NoSuchKey) {
			t.Errorf("what was deleted: %v", err)
		}
	}))
}

// A drive of version 1 is used, and from then on refused by programs that know no other.
func TestADriveThatIsOpenedHasTheVersionOfTheProgram(t *testing.T) {
	paths := directories(t, 2)
	use := func() error { return run(t, paths, func(*format.Set, *erasure.Store) {}) }
	must(t, use())
	version := 1
	edit := func(id *format.Identity) { id.Version, version = version, id.Version }
	must(t, format.Edit(paths[0], edit))
	if version != 3 {
		t.Errorf("a drive that is formed has version %d", version)
	}
	version = 1
	must(t, format.Edit(paths[1], edit))
	must(t, use())
	for _, path := range paths {
		version = 4
		must(t, format.Edit(path, edit))
		if version != 3 {
			t.Errorf("a drive that is opened has version %d", version)
		}
	}
	if err := use(); err == nil {
		t.Error("drives of a later version are used")
	}
}

func TestABlankDriveGetsAllThatTheOneHadThatItStandsFor(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Versioning: object.Versioned}))
		fill(t, s, "a")
		fill(t, s, "a")
	}))
	lost := paths[2] + ".lost"
	must(t, os.Rename(paths[2], lost))
	must(t, os.Mkdir(paths[2], 0o700))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if len(set.Blank()) != 1 {
			t.Fatalf("%d drives are blank", len(set.Blank()))
		}
		checkAll(t, s, "a")
		fill(t, s, "b")
		healed, err := s.Heal(t.Context(), nil)
		must(t, err)
		if healed.Failed > 0 || healed.Shards == 0 {
			t.Errorf("healed was %+v", healed)
		}
		must(t, set.Healed(slices.Collect(maps.Values(set.Blank()))))
		if len(set.Blank()) != 0 {
			t.Error("it is blank still")
		}
	}))
	// The other two can be away now, for reading; and the lost one does not count any more.
	must(t, os.RemoveAll(paths[0]))
	must(t, os.Rename(lost, paths[0]))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if set.Online() != 3 || len(set.Blank()) != 0 {
			t.Errorf("%d drives are there, %d blank", set.Online(), len(set.Blank()))
		}
		checkAll(t, s, "a")
		checkAll(t, s, "b")
	}))
}

// Two drives of four are replaced at once, and what the others have changes when that is healed.
func TestTwoBlankDrivesGetAllThatIsToBeThere(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Versioning: object.Versioned}))
		fill(t, s, "a")
	}))
	for _, lost := range paths[1:3] {
		must(t, os.RemoveAll(lost))
		must(t, os.Mkdir(lost, 0o700))
	}
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if len(set.Blank()) != 2 {
			t.Fatalf("%d drives are blank", len(set.Blank()))
		}
		checkAll(t, s, "a")
		fill(t, s, "b")
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := s.Heal(ended, nil); err == nil {
			t.Error("a pass that was broken off is complete")
		}
		healed, err := s.Heal(t.Context(), nil)
		must(t, err)
		if healed.Failed > 0 || healed.Shards == 0 {
			t.Errorf("healed was %+v", healed)
		}
		must(t, set.Healed(slices.Collect(maps.Values(set.Blank()))))
	}))
	for _, other := range []string{paths[0], paths[3]} {
		changeShards(t, filepath.Join(other, ".shoal.sys"))
	}
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		checkAll(t, s, "a")
		checkAll(t, s, "b")
	}))
}

// changeShards changes a bit of each shard in the files and segments of a drive, and returns
// how many there are.
func changeShards(t *testing.T, system string) (changed int) {
	t.Helper()
	for _, dir := range []string{"data", "segments"} {
		must(t, filepath.WalkDir(filepath.Join(system, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			must(t, err)
			for at, length, size := 0, len(b), len(b); at < len(b); at += size {
				if dir == "segments" { // a header says how long it is, see drive/entry.go
					length = int(binary.BigEndian.Uint32(b[at+4:]))
					size = (32 + length + 4095) / 4096 * 4096
				}
				b[at+32+length/3] ^= 4
				changed++
			}
			return os.WriteFile(path, b, 0o600)
		}))
	}
	return changed
}

func TestAScrubFindsAndHealsWhatHasChanged(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
	}))
	changed := 0
	for _, drive := range []string{paths[0], paths[3]} {
		changed += changeShards(t, filepath.Join(drive, ".shoal.sys"))
	}
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		checkAll(t, s, "a")
		if n := s.Counts().DamagedRead; n == 0 {
			t.Error("nobody noticed while they were read")
		}
		if h, err := s.Heal(t.Context(), nil); err != nil || h.Damaged+h.Shards != 0 {
			t.Errorf("without reading, found was %+v, %v", h, err)
		}
		h, err := s.Scrub(t.Context(), 1<<40, nil)
		if err != nil || h.Damaged != int64(changed) || h.Shards != int64(changed) || h.Failed != 0 {
			t.Errorf("of %d, found was %+v, %v", changed, h, err)
		}
		if n := s.Counts().DamagedScrub; n != int64(changed) {
			t.Errorf("%d were counted", n)
		}
		if h, err := s.Scrub(t.Context(), 1<<40, nil); err != nil || h.Damaged != 0 {
			t.Errorf("the second time, found was %+v, %v", h, err)
		}
		checkAll(t, s, "a")
	}))
}

func TestWhatAReaderFoundDamagedCanBeHealedAtOnce(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
	}))
	for _, drive := range paths[:2] {
		changeShards(t, filepath.Join(drive, ".shoal.sys"))
	}
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		checkAll(t, s, "a")
		for len(s.Suspects()) > 0 {
			ref := <-s.Suspects()
			if h, err := s.Repair(t.Context(), ref, 1<<40); err != nil || h.Failed > 0 {
				t.Errorf("%s: %+v, %v", ref.Key, h, err)
			}
		}
		before := s.Counts().DamagedRead
		checkAll(t, s, "a")
		if n := s.Counts().DamagedRead - before; n != 0 {
			t.Errorf("%d shards that were read are still damaged", n)
		}
	}))
}

func TestADamagedDriveDoesNotKeepTheOthersFromServing(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
	}))
	identity := filepath.Join(paths[0], ".shoal.sys", "identity")
	b, err := os.ReadFile(identity)
	must(t, err)
	b[20] ^= 1
	must(t, os.WriteFile(identity, b, 0o600))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if set.Online() != 3 {
			t.Errorf("%d drives are there", set.Online())
		}
		checkAll(t, s, "a")
	}))
}

// BenchmarkPut is what an object costs on four drives that are directories.
func BenchmarkPut(b *testing.B) {
	dir := b.TempDir()
	var paths []string
	for i := range 4 {
		path := filepath.Join(dir, fmt.Sprint("d", i))
		if err := os.Mkdir(path, 0o700); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, path)
	}
	set, err := open(b.Context(), paths)
	if err != nil {
		b.Fatal(err)
	}
	defer set.Close()
	locker := lock.NewLocal(set.Boot)
	defer locker.Close()
	s, err := erasure.New(b.Context(), erasure.Config{Sets: []erasure.SetConfig{{Drives: set.Drives, Parity: 2}}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.CreateBucket(b.Context(), object.Bucket{Name: "bucket"}); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		body := make([]byte, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				_, err := s.Put(b.Context(), object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{Body: objecttest.NewBody(body, object.NoAlgorithm)})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
