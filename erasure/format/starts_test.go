package format_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/object"
)

// copied has a copy of a drive made, and returns what puts it in the place of the drive.
func copied(t *testing.T, path string) (putBack func()) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(at, os.DirFS(path)))
	return func() {
		t.Helper()
		must(t, os.RemoveAll(path))
		must(t, os.Rename(at, path))
	}
}

// deleted is four drives with an object "kept", and one that was deleted since a copy was made of each.
func deleted(t *testing.T) (paths []string, putBack []func()) {
	t.Helper()
	paths = directories(t, 4)
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		put(t, s, "kept", 300_000)
		put(t, s, "deleted", 300_000)
	}))
	for _, path := range paths {
		putBack = append(putBack, copied(t, path))
	}
	must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) {
		_, err := s.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "deleted"}, nil)
		must(t, err)
	}))
	return paths, putBack
}

func gone(t *testing.T, s *erasure.Store, key string) {
	t.Helper()
	if _, err := s.Open(t.Context(), object.Ref{Bucket: "bucket", Key: key}); !errors.Is(err, object.NoSuchKey) {
		t.Errorf("what was deleted is there again: %v", err)
	}
}

func TestAnOlderCopyOfADriveIsNotUsedAndNothingComesBack(t *testing.T) {
	paths, putBack := deleted(t)
	putBack[2]()
	for range 2 { // also at the next start
		must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
			if set.Online() != 3 {
				t.Errorf("%d drives are used", set.Online())
			}
			_, err := s.Heal(t.Context(), nil)
			must(t, err)
			gone(t, s, "deleted")
			check(t, s, "kept", 300_000)
		}))
	}
	must(t, os.Rename(paths[0], paths[0]+" away"))
	if err := run(t, paths, func(*format.Set, *erasure.Store) {}); !errors.Is(err, format.ErrTooFew) {
		t.Errorf("it is used once another drive is away: %v", err)
	}
	must(t, os.Rename(paths[0]+" away", paths[0]))
	must(t, os.RemoveAll(paths[2]))
	must(t, os.Mkdir(paths[2], 0o700))
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		h, err := s.Heal(t.Context(), nil)
		if err != nil || set.Online() != 4 || h.Shards != 1 || h.Failed != 0 {
			t.Errorf("the drive that was emptied is not made anew: %d are used, %+v, %v", set.Online(), h, err)
		}
		gone(t, s, "deleted")
	}))
}

func TestDrivesThatHaveAllForgottenAreUsed(t *testing.T) {
	paths, putBack := deleted(t)
	putBack[0]()
	putBack[1]()
	putBack[2]()
	for range 2 {
		must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
			if set.Online() != 4 {
				t.Errorf("%d drives are used", set.Online())
			}
			check(t, s, "kept", 300_000)
		}))
	}
}

func TestADriveThatWasAwayIsNoOlderCopy(t *testing.T) {
	paths, _ := deleted(t)
	away := paths[3] + " away"
	must(t, os.Rename(paths[3], away))
	for range 3 {
		must(t, run(t, paths, func(_ *format.Set, s *erasure.Store) { put(t, s, "while it was away", 1000) }))
	}
	must(t, os.Rename(away, paths[3]))
	must(t, run(t, paths, func(set *format.Set, _ *erasure.Store) {
		if set.Online() != 4 {
			t.Errorf("%d drives are used", set.Online())
		}
	}))
}

func TestADayOfBeingOpenCountsAsAStart(t *testing.T) {
	paths := directories(t, 4)
	starts := func() (all, noted []uint32) {
		for i, path := range paths {
			must(t, format.Edit(path, func(id *format.Identity) {
				all = append(all, id.Start)
				noted = append(noted, id.Starts[id.Set[(i+1)%4]])
			}))
		}
		return all, noted
	}
	must(t, run(t, paths, func(set *format.Set, _ *erasure.Store) {
		for _, step := range []struct {
			open time.Duration
			want uint32
		}{{23 * time.Hour, 1}, {25 * time.Hour, 2}, {0, 2}, {25 * time.Hour, 3}} {
			set.PretendOpenFor(step.open)
			set.Look(t.Context())
			set.Look(t.Context()) // the others take note of what they see
			all := slices.Repeat([]uint32{step.want}, 4)
			if now, noted := starts(); !slices.Equal(now, all) || !slices.Equal(noted, all) {
				t.Errorf("after being open for %v it is start %v, and the others have noted %v", step.open, now, noted)
			}
		}
	}))
}
