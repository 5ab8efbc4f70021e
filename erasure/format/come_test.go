package format_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/object"
)

// await looks until so many drives can be used: giving one back takes a moment.
func await(t *testing.T, set *format.Set, online int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); set.Online() != online; {
		if set.Look(t.Context()); time.Now().After(deadline) {
			t.Fatalf("%d drives are there, and %d should be: %+v", set.Online(), online, set.States())
		}
	}
}

// heal heals everything, and has blank drives count.
func heal(t *testing.T, set *format.Set, s *erasure.Store) {
	t.Helper()
	blank := slices.Collect(maps.Values(set.Blank()))
	if h, err := s.Heal(t.Context(), nil); err != nil || h.Failed > 0 || h.Shards == 0 {
		t.Errorf("healed was %+v, %v", h, err)
	}
	must(t, set.Healed(blank))
}

// putAway takes a drive away, as if it was pulled out, and returns what puts it back.
func putAway(t *testing.T, path string) (back func()) {
	t.Helper()
	must(t, os.Rename(path, path+".away"))
	return func() {
		t.Helper()
		must(t, os.Rename(path+".away", path))
	}
}

func TestADriveThatGoesAndComesBackWhileOthersServeIsUsedAgain(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
		back := putAway(t, paths[1])
		await(t, set, 3)
		fill(t, s, "b")
		checkAll(t, s, "a")
		joined := set.Joined()
		back()
		await(t, set, 4)
		if set.Joined() == joined || len(set.Blank()) != 0 {
			t.Errorf("it joined %d times, and %d are blank", set.Joined()-joined, len(set.Blank()))
		}
		heal(t, set, s)
		putAway(t, paths[0])
		putAway(t, paths[2])
		await(t, set, 2)
		checkAll(t, s, "a")
		checkAll(t, s, "b")
	}))
}

// TestABlankDriveIsTakenWhileOthersServe has it take the place of one that is lost, and of
// that come back, which is not used any more.
func TestABlankDriveIsTakenWhileOthersServe(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
		putAway(t, paths[1])
		await(t, set, 3)
		must(t, os.Mkdir(paths[1], 0o700))
		await(t, set, 4)
		if len(set.Blank()) != 1 {
			t.Fatalf("%d are blank", len(set.Blank()))
		}
		fill(t, s, "b")
		heal(t, set, s)
		if len(set.Blank()) != 0 {
			t.Error("it does not count yet")
		}
		putAway(t, paths[0])
		await(t, set, 3)
		must(t, os.Rename(paths[1]+".away", paths[0]))
		set.Look(t.Context())
		if set.Online() != 3 {
			t.Errorf("the lost one is used again: %+v", set.States())
		}
		putAway(t, paths[2])
		await(t, set, 2)
		checkAll(t, s, "a")
		checkAll(t, s, "b")
	}))
	must(t, os.RemoveAll(paths[0]))
	must(t, os.Rename(paths[2]+".away", paths[2]))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		if set.Online() != 3 {
			t.Errorf("at the next start: %+v", set.States())
		}
		checkAll(t, s, "b")
	}))
}

func TestWhatIsLeftOfADriveIsNotTakenForABlankOne(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
		must(t, os.Remove(filepath.Join(paths[3], ".shoal.sys", "identity")))
		await(t, set, 3)
		for range 3 {
			set.Look(t.Context())
		}
		if set.Online() != 3 || len(set.Blank()) != 0 {
			t.Errorf("it is used: %+v", set.States())
		}
		fill(t, s, "b")
		checkAll(t, s, "a")
	}))
}

func TestNothingIsWrittenWhereADriveIsNotMounted(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(*format.Set, *erasure.Store) {}))
	for _, path := range paths {
		must(t, format.Edit(path, func(id *format.Identity) { id.Mounted = true })) // as if each had been
	}
	must(t, os.Rename(paths[2], paths[2]+".away"))
	must(t, os.Mkdir(paths[2], 0o700))
	must(t, run(t, paths, func(set *format.Set, _ *erasure.Store) {
		set.Look(t.Context())
		if set.Online() != 3 {
			t.Errorf("it is used: %+v", set.States())
		}
	}))
	if left, err := os.ReadDir(paths[2]); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}
