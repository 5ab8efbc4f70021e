package erasure_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// postponing is a drive that can be away, and that commits can reach late.
type postponing struct {
	absent
	mu       sync.Mutex
	postpone bool
	late     []register.Change
}

func (p *postponing) Commit(ctx context.Context, c register.Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.postpone {
		p.late = append(p.late, c)
		return errAway
	}
	return p.absent.Commit(ctx, c)
}

// hold has commits come late, or no more.
func (p *postponing) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.postpone = on
}

// arrive has those arrive that are late.
func (p *postponing) arrive(t *testing.T) {
	t.Helper()
	for _, c := range p.late {
		if err := p.Drive.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	p.late = nil
}

// relocate has everything be in one of two sets.
func relocate(t *testing.T, s *erasure.Store, set int) error {
	t.Helper()
	shares := []int{0, 0}
	shares[set] = 1
	next := s.Placement().Rebalanced(shares)
	if next == nil {
		return nil
	}
	if err := s.Clear(t.Context(), next, nil); err != nil {
		return err
	}
	for {
		if err := s.Place(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		for next.Phase == placement.Moving {
			m, err := s.Move(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.Names == 0 {
				break
			}
		}
		if next.Phase == placement.Settled {
			return nil
		}
		next = next.Next()
	}
}

// leaving is a Store over two sets of which the first has everything, with a write that has missed
// its quorum there.
type leaving struct {
	*testing.T
	*erasure.Store
	first []*postponing // its drives
}

// leave begins such a scene, in which the write has reached some drives.
func leave(t *testing.T, reached ...int) *leaving {
	t.Helper()
	l := &leaving{T: t}
	var wrapped []erasure.Drive
	for _, d := range drives(4) {
		p := &postponing{absent: absent{Drive: d}}
		l.first, wrapped = append(l.first, p), append(wrapped, p)
	}
	l.Store = openSets(t, erasure.SetConfig{Drives: wrapped, Parity: 2}, erasure.SetConfig{Drives: drives(4), Parity: 2})
	if err := relocate(t, l.Store, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute) // all have been told what is committed
	for i, d := range l.first {
		d.hold(!slices.Contains(reached, i))
	}
	if _, err := l.Put(t.Context(), at("k", ""), object.PutInput{Body: objecttest.NewBody([]byte("lost"), object.CRC64NVME)}); !errors.Is(err, object.Unknown) {
		t.Fatalf("a write that misses its quorum: %v", err)
	}
	for _, d := range l.first {
		d.hold(false)
	}
	return l
}

// away has drives of the first set go away, and all others come back.
func (l *leaving) away(gone ...int) {
	for i, d := range l.first {
		d.away.Store(slices.Contains(gone, i))
	}
}

// leaves moves everything to the second set, and deletes the object there.
func (l *leaving) leaves() {
	l.Helper()
	if err := relocate(l.T, l.Store, 1); err != nil {
		l.Fatal(err)
	}
	if _, err := l.Delete(l.Context(), at("k", ""), nil); err != nil {
		l.Fatal(err)
	}
	time.Sleep(time.Minute)
}

// gone fails the test if the object is there.
func (l *leaving) gone() {
	l.Helper()
	h, err := l.Open(l.Context(), at("k", ""))
	if !errors.Is(err, object.NoSuchKey) {
		l.Errorf("the object was deleted, and is there again: %v", err)
	}
	if err == nil {
		_ = h.Close()
	}
	page, err := l.List(l.Context(), object.Query{Bucket: inBucket, Limit: 10})
	if err != nil || len(page.Objects) > 0 {
		l.Errorf("the object was deleted, and is listed: %v, %v", page.Objects, err)
	}
}

func TestWhatASetHasOfAKeyThatHasLeftItDoesNotComeBackWithIt(t *testing.T) {
	for name, c := range map[string]struct {
		reached []int // drives that the write does in time
		late    bool  // it reaches the others when the key has left
		away    []int // drives that are, while it leaves
		heal    bool  // a pass finds it before the key comes back
	}{
		"on a drive that is asked":     {reached: []int{0}},
		"on one that is not asked":     {reached: []int{3}},
		"on one that is away":          {reached: []int{0}, away: []int{0}},
		"on two that are not asked":    {reached: []int{2, 3}},
		"on all, when it has left":     {late: true},
		"on some, and then on all":     {reached: []int{3}, late: true},
		"on one, and healed by a pass": {reached: []int{3}, heal: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := leave(t, c.reached...)
				l.away(c.away...)
				l.leaves()
				l.away()
				if c.late {
					for _, d := range l.first {
						d.arrive(t)
					}
				}
				if c.heal {
					if h, err := l.HealMissed(t.Context(), nil); err != nil || h.Failed > 0 {
						t.Fatalf("%+v, %v", h, err)
					}
				}
				if err := relocate(t, l.Store, 0); err != nil {
					t.Fatal(err)
				}
				l.gone()
				if h, err := l.HealMissed(t.Context(), nil); err != nil || h.Failed > 0 {
					t.Fatalf("%+v, %v", h, err)
				}
				l.gone() // it is not found by a pass either
			})
		})
	}
}

func TestNothingMovesToASetOfWhichADriveIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leave(t, 3)
		l.leaves()
		l.away(3)
		if err := relocate(t, l.Store, 0); !errors.Is(err, erasure.ErrAway) {
			t.Fatalf("nobody knows what the drive has: %v", err)
		}
		l.gone()
		l.away()
		if err := relocate(t, l.Store, 0); err != nil {
			t.Fatal(err)
		}
		l.gone()
	})
}

// An upload that nobody was told of is not there again either.
func TestAnUploadThatWasLeftInASetDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leave(t, 3)
		for _, d := range l.first[:3] {
			d.hold(true)
		}
		if _, err := l.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: at("k", "")}}); !errors.Is(err, object.Unknown) {
			t.Fatalf("an upload that misses its quorum: %v", err)
		}
		for _, d := range l.first {
			d.hold(false)
		}
		l.leaves()
		if err := relocate(t, l.Store, 0); err != nil {
			t.Fatal(err)
		}
		if h, err := l.HealMissed(t.Context(), nil); err != nil || h.Failed > 0 {
			t.Fatalf("%+v, %v", h, err)
		}
		page, err := l.ListUploads(t.Context(), object.UploadQuery{Bucket: inBucket, Limit: 10})
		if err != nil || len(page.Uploads) > 0 {
			t.Errorf("uploads are there: %v, %v", page.Uploads, err)
		}
	})
}

func TestASetIsClearedOnlyForTheNextPlacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leave(t)
		next := l.Placement().Rebalanced([]int{0, 1})
		if err := l.Place(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if err := l.Clear(t.Context(), next.Next(), nil); err == nil {
			t.Error("a set is cleared to which something moves already")
		}
	})
}

func TestHowManyNamesAreLookedAtBeforeKeysComeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leave(t, 3)
		looked := int64(0)
		count := func(n int64) { looked = n }
		if err := l.Clear(t.Context(), l.Placement().Rebalanced([]int{0, 1}), count); err != nil || looked != 0 {
			t.Errorf("of a set where nothing was yet %d names: %v", looked, err)
		}
		l.leaves()
		if err := l.Clear(t.Context(), l.Placement().Rebalanced([]int{1, 0}), count); err != nil || looked != 1 {
			t.Errorf("of a set with one name %d: %v", looked, err)
		}
	})
}
