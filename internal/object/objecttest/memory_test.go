package objecttest_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

func newMemory(t *testing.T) object.Store {
	s := objecttest.NewMemory()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMemoryKeepsThePromisesOfAStore(t *testing.T) { objecttest.Run(t, newMemory) }

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 picks one") //nolint:gochecknoglobals // flags are

func seed() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return rand.Uint64()
}

func TestMemoryAgreesWithItself(t *testing.T) {
	objecttest.Model(t, newMemory, seed(), 5000)
}
