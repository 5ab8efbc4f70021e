package erasure_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/shoal-storage/shoal/erasure"
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
