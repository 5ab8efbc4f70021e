package erasure_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// drives returns n drives in memory.
func drives(n int) []erasure.Drive {
	all := make([]erasure.Drive, n)
	for i := range all {
		all[i] = drive.New(drive.NewMemory(), drive.NewMemoryFiles())
	}
	return all
}

// open returns a Store over drives.
func open(t *testing.T, parity int, all []erasure.Drive) *erasure.Store {
	t.Helper()
	locker := lock.NewLocal(1)
	s, err := erasure.New(context.Background(), erasure.Config{Drives: all, Parity: parity, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		locker.Close()
	})
	return s
}

func TestTheStoreShowsWhatEveryStoreMust(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			objecttest.Run(t, func(t *testing.T) object.Store { return open(t, erasure.DefaultParity(n), drives(n)) })
		})
	}
}

func TestTheStoreAgreesWithTheModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			objecttest.Model(t, func(t *testing.T) object.Store { return open(t, 2, drives(4)) }, seed, 1500)
		})
	}
}
