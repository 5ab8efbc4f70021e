package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// catchUp heals what was missed, and looks that nothing of it is left.
func (s *scene) catchUp() erasure.Healed {
	s.Helper()
	h, err := s.HealMissed(s.Context(), nil)
	if err != nil || h.Failed != 0 || h.Pending != 0 || h.Absent.Count() != 0 {
		s.Errorf("what was missed is healed: %+v, %v", h, err)
	}
	return h
}

// complete looks that a pass over everything finds nothing to do.
func (s *scene) complete() {
	s.Helper()
	if h, err := s.Heal(s.Context(), nil); err != nil || h.Records+h.Shards+h.Failed+h.Pending != 0 {
		s.Errorf("what was missed is healed, and in everything there is %+v, %v", h, err)
	}
	if h := s.catchUp(); h.Names != 0 {
		s.Errorf("when all is healed %d registers are looked at", h.Names)
	}
}

func TestHealingCostsAsMuchAsWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		for i := range 300 {
			s.put(fmt.Sprintf("there/%03d", i), fmt.Sprint(i))
		}
		s.leave(2)
		for i := range 7 {
			s.put(fmt.Sprintf("there/%03d", i*10), fmt.Sprint("new ", i))
		}
		s.put("new", "new")
		s.remove("there/001", "")
		s.leave(len(s.drives))
		if h := s.catchUp(); h.Names < 9 || h.Names > 2*9 || h.Records != 9 {
			t.Errorf("of 300 objects 9 have changed, and healing came to %+v", h)
		}
		s.complete()
	})
}

func TestNothingIsPendingWhereEveryDriveHasEverything(t *testing.T) {
	for name, c := range missable() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				c.prepare(s)
				c.change(s)
				time.Sleep(time.Minute) // all have been told what is committed
				for i, d := range s.drives {
					if page, err := d.Pending(t.Context(), register.PendingQuery{Limit: 10}); err != nil || len(page.Items) > 0 {
						t.Errorf("drive %d has %+v pending, %v", i, page, err)
					}
				}
			})
		})
	}
}

func TestWhatADriveHasMissedIsHealedByWhatTheOthersHaveNoted(t *testing.T) {
	cases := missable()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for missing := range 4 {
				synctest.Test(t, func(t *testing.T) {
					s := newScene(t)
					cases[name].prepare(s)
					s.leave(missing)
					cases[name].change(s)
					s.leave(len(s.drives))
					s.catchUp()
					s.complete()
				})
			}
		})
	}
}

func TestWhatIsMissedByADriveThatStaysAwayIsKeptInMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.leave(1)
		s.put("a", "1")
		time.Sleep(time.Minute)
		for range 2 {
			if h, err := s.HealMissed(t.Context(), nil); err != nil || h.Pending != 1 || h.Failed != 0 || h.Names != 1 || !h.Absent.Has(1) {
				t.Errorf("while it is away: %+v, %v", h, err)
			}
		}
		s.leave(3) // that one has nothing to miss
		if h, err := s.HealMissed(t.Context(), nil); err != nil || h.Records != 1 || h.Pending != 1 || h.Absent.Has(1) || !h.Absent.Has(3) {
			t.Errorf("when it is back and another one is away: %+v, %v", h, err)
		}
		s.leave(len(s.drives))
		s.catchUp()
		s.complete()
	})
}

// unlogged is a drive of an earlier release.
type unlogged struct{ erasure.Drive }

func (unlogged) Pending(context.Context, register.PendingQuery) (register.ScanPage, error) {
	return register.ScanPage{}, register.ErrNoLog
}

func TestWhereADriveCannotTellWhatIsPendingNothingIsClaimed(t *testing.T) {
	all := drives(4)
	all[3] = unlogged{all[3]}
	s := open(t, 2, all)
	if h, err := s.HealMissed(t.Context(), nil); !errors.Is(err, register.ErrNoLog) {
		t.Errorf("it comes to %+v, %v", h, err)
	}
}

// A drive of before there was a log is one that has all it holds pending.
func TestADriveOfAnEarlierReleaseIsLookedThroughOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := drives(4)
		if err := all[1].Close(); err != nil {
			t.Fatal(err)
		}
		earlier := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
		all[1] = earlier
		s := &scene{T: t, Store: open(t, 2, all), made: map[string]string{}}
		s.must(s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
		for i := range 5 {
			s.put(fmt.Sprint(i), "content")
		}
		time.Sleep(time.Minute)
		if _, err := s.HealMissed(t.Context(), nil); !errors.Is(err, register.ErrNoLog) {
			t.Errorf("before it has a log: %v", err)
		}
		s.must(earlier.StartLog())
		if h := s.catchUp(); h.Names != 6 || h.Records != 0 {
			t.Errorf("of a bucket and five objects: %+v", h)
		}
		s.complete()
	})
}

// newScene returns four drives that can be away, with a bucket.
func newScene(t *testing.T) *scene {
	all := drives(4)
	s := &scene{T: t, made: map[string]string{}, away: len(all)}
	for i := range all {
		s.drives = append(s.drives, &absent{Drive: all[i]})
		all[i] = s.drives[i]
	}
	s.Store = open(t, 2, all)
	s.journal = s.Journal(keeping("1"))
	s.must(s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
	return s
}

func TestALargeObjectThatADriveHasMissedGetsItsShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lagging(t, nil, "a", "b")
		h, err := s.HealMissed(t.Context(), nil)
		if err != nil || h.Names != 3 || h.Records != 3 || h.Shards != 2 || len(h.Mended) != 2 || h.Pending != 0 {
			t.Errorf("a bucket and two objects: %+v, %v", h, err)
		}
		if _, err := s.Put(t.Context(), at("c", ""), object.PutInput{Body: objecttest.NewBody(nil, object.CRC64NVME)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h, err := s.HealMissed(t.Context(), nil); err != nil || h.Names != 0 {
			t.Errorf("then nothing is left: %+v, %v", h, err)
		}
	})
}
