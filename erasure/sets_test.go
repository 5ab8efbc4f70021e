package erasure_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// threeSets are sets of different sizes.
func threeSets() []erasure.SetConfig {
	return []erasure.SetConfig{{Drives: drives(4), Parity: 2}, {Drives: drives(2), Parity: 1}, {Drives: drives(5), Parity: 1}}
}

func TestAStoreOverSeveralSetsShowsTheSame(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return openSets(t, threeSets()...) })
}

func TestAStoreOverSeveralSetsAgreesWithTheModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			objecttest.Model(t, func(t *testing.T) object.Store { return openSets(t, threeSets()...) }, seed, 1500)
		})
	}
}

// moving are the phases in which keys are in two sets.
func moving() map[string]placement.Phase {
	return map[string]placement.Phase{"announced": placement.Announced, "moving": placement.Moving}
}

// onTheWay returns a Table by which half of what three sets have is on its way to two others.
func onTheWay(t *testing.T, phase placement.Phase) *placement.Table {
	t.Helper()
	table := placement.New([]int{4, 2, 5, 0, 0}).Rebalanced([]int{4, 2, 5, 4, 7})
	if phase == placement.Moving {
		table = table.Next()
	}
	return table
}

func fiveSets() []erasure.SetConfig {
	return append(threeSets(), erasure.SetConfig{Drives: drives(4), Parity: 2}, erasure.SetConfig{Drives: drives(7), Parity: 3})
}

func TestNobodySeesThatKeysMove(t *testing.T) {
	for name, phase := range moving() {
		t.Run(name, func(t *testing.T) {
			objecttest.Run(t, func(t *testing.T) object.Store {
				s := openSets(t, fiveSets()...)
				if err := s.Place(t.Context(), onTheWay(t, phase)); err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

// While somebody uses the Store, keys move to sets that were added, from there back, and so on.
func TestTheModelHoldsWhileKeysMove(t *testing.T) {
	var moves atomic.Int64
	t.Cleanup(func() {
		if t.Logf("%d versions were moved", moves.Load()); moves.Load() == 0 {
			t.Error("nothing has moved")
		}
	})
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			objecttest.Model(t, func(t *testing.T) object.Store {
				s := openSets(t, fiveSets()...)
				ctx, stop := context.WithCancel(context.Background())
				var running sync.WaitGroup
				running.Go(func() { moves.Add(int64(shuttle(ctx, t, s))) })
				t.Cleanup(func() {
					stop()
					running.Wait()
				})
				return s
			}, seed, 1500)
		})
	}
}

// shuttle moves what there is to other sets and back, until ctx ends, and returns how many
// versions that were.
func shuttle(ctx context.Context, t *testing.T, s *erasure.Store) (versions int64) {
	weights := [][]int{{1, 1, 1, 9, 9}, {9, 9, 9, 1, 1}, {0, 9, 9, 9, 0}, {9, 0, 0, 0, 9}}
	for n := 0; ctx.Err() == nil; n++ {
		next := s.Placement().Rebalanced(weights[n%len(weights)])
		if next != nil && s.Clear(ctx, next, nil) != nil {
			if ctx.Err() == nil {
				t.Error("what is to come to sets is not cleared there")
			}
			break
		}
		for next != nil && ctx.Err() == nil {
			if err := s.Place(ctx, next); err != nil {
				break
			}
			for next.Phase == placement.Moving && ctx.Err() == nil {
				m, err := s.Move(ctx, nil)
				if err != nil && ctx.Err() == nil {
					t.Errorf("move: %v", err)
				}
				versions += m.Versions
				if err == nil && m.Names == 0 {
					break
				}
			}
			if next.Phase == placement.Settled {
				break
			}
			next = next.Next()
		}
	}
	return versions
}

// scanned is a drive that has something done once it was scanned for the second time.
type scanned struct {
	erasure.Drive
	scans int
	then  func()
}

func (s *scanned) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	page, err := s.Drive.Scan(ctx, q)
	if s.then != nil {
		if s.scans++; s.scans == 2 {
			s.then()
		}
	}
	return page, err
}

// A listing reads the set that a key leaves before and after the one that it comes to. What becomes of its null
// version it asks for once more, and by then that may have moved.
func TestAPageShowsANullVersionThatMovesWhileItIsRead(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	moved := int64(0)
	for i := range 8 {
		left := &scanned{Drive: drives(1)[0]}
		s := openSets(t, erasure.SetConfig{Drives: []erasure.Drive{left}}, erasure.SetConfig{Drives: drives(1)})
		must(s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		ref := put(t, s, fmt.Sprint("k", i), []byte("null"))
		must(s.UpdateBucket(t.Context(), "bucket", func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
		put(t, s, ref.Key, []byte("one"))
		put(t, s, ref.Key, []byte("two"))
		next := s.Placement().Rebalanced([]int{0, 1})
		for ; next.Phase != placement.Moving; next = next.Next() {
			must(s.Place(t.Context(), next))
		}
		must(s.Place(t.Context(), next))
		current, err := s.Stat(t.Context(), ref)
		must(err)
		left.then = func() {
			m, err := s.Move(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			moved += m.Names
		}
		page, err := s.ListVersions(t.Context(), object.VersionQuery{Bucket: "bucket", AfterKey: ref.Key, AfterVersion: current.Version, Limit: 10})
		must(err)
		if len(page.Versions) != 2 || page.Versions[1].Version != object.NullVersion {
			t.Errorf("%s: behind version two are %d versions, want version one and the null version", ref.Key, len(page.Versions))
		}
	}
	if moved == 0 {
		t.Error("nothing has moved")
	}
}

func TestEveryKindOfVersionMoves(t *testing.T) {
	s := openSets(t, erasure.SetConfig{Drives: drives(4), Parity: 2}, erasure.SetConfig{Drives: drives(4), Parity: 2})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Versioning: object.Versioned}))
	list := func() (all []object.VersionInfo) {
		page, err := s.ListVersions(t.Context(), object.VersionQuery{Bucket: "bucket", Limit: 1000})
		must(err)
		return page.Versions
	}
	for i := range 16 {
		ref := put(t, s, fmt.Sprint("k", i), bytes.Repeat([]byte{byte(i)}, i*2000))
		if i%2 == 0 {
			_, err := s.Delete(t.Context(), ref, nil)
			must(err)
		}
		if i%4 == 0 {
			put(t, s, ref.Key, nil)
		}
	}
	before := list()
	for _, weights := range [][]int{{1, 9}, {9, 1}} {
		for next := s.Placement().Rebalanced(weights); ; next = next.Next() {
			must(s.Place(t.Context(), next))
			for found := int64(1); next.Phase == placement.Moving && found > 0; {
				m, err := s.Move(t.Context(), nil)
				if must(err); m.Failed > 0 {
					t.Fatalf("%d names could not be moved", m.Failed)
				}
				found = m.Names
			}
			if next.Phase == placement.Settled {
				break
			}
		}
		if after := list(); !reflect.DeepEqual(after, before) {
			t.Errorf("%d versions were there, and now there are %d, or others", len(before), len(after))
		}
	}
}

// A drive of the second set misses objects. Afterwards it is told which they are, and a drive
// that stays away is told by its place among those of all sets.
func TestWhatADriveOfAnySetLacksIsBroughtToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sets := []erasure.SetConfig{{Drives: drives(4), Parity: 2}, {Drives: drives(4), Parity: 2}}
		behind, gone := &detached{absent{Drive: sets[1].Drives[1]}}, &detached{absent{Drive: sets[1].Drives[3]}}
		sets[1].Drives[1], sets[1].Drives[3] = behind, gone
		s := openSets(t, sets...)
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		behind.away.Store(true)
		for i := range 20 {
			if _, err := s.Put(t.Context(), at(fmt.Sprint(i), ""), object.PutInput{Body: objecttest.NewBody(make([]byte, 100_000), object.CRC64NVME)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		behind.away.Store(false)
		gone.away.Store(true)
		h, err := s.Heal(t.Context(), nil)
		if err != nil || h.Shards == 0 || h.Shards != h.Records || h.Shards == 20 {
			t.Errorf("the objects of one of two sets were to be healed: %+v, %v", h, err)
		}
		if !h.Absent.Has(4+3) || h.Absent.Count() != 1 {
			t.Errorf("the last of eight drives is away, and told are %b", h.Absent)
		}
		gone.away.Store(false)
		if h, err = s.Heal(t.Context(), nil); err != nil || h.Shards != 0 || h.Absent.Count() != 0 {
			t.Errorf("when all are back, %+v, %v", h, err)
		}
	})
}

func TestOneSetThatCannotBeWrittenToDoesNotHoldUpTheOthers(t *testing.T) {
	sets := []erasure.SetConfig{{Drives: drives(4), Parity: 2}, {Drives: drives(2), Parity: 1}}
	gone := &absent{Drive: sets[1].Drives[1]}
	sets[1].Drives[1] = gone
	s := openSets(t, sets...)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	gone.away.Store(true)
	written, refused := 0, 0
	for i := range 20 {
		_, err := s.Put(t.Context(), at(fmt.Sprint(i), ""), object.PutInput{Body: objecttest.NewBody([]byte("x"), object.CRC64NVME)})
		if err == nil {
			written++
		} else {
			refused++
		}
	}
	if written == 0 || refused == 0 {
		t.Errorf("%d writes were taken, %d refused", written, refused)
	}
}
