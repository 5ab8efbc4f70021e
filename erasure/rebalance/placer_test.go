package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// gone is a drive that can be away from scans.
type gone struct {
	erasure.Drive
	away atomic.Bool
}

func (g *gone) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	if g.away.Load() {
		return register.ScanPage{}, errors.New("the drive is away")
	}
	return g.Drive.Scan(ctx, q) //nolint:wrapcheck // it is the drive
}

// openPlacer returns what places fifty objects on two sets in memory, of which the second was
// added. It is not running.
func openPlacer(t *testing.T) *Placer {
	t.Helper()
	p, _ := openPlacerWithout(t)
	return p
}

// openPlacerWithout is openPlacer, and returns a drive of the second set.
func openPlacerWithout(t *testing.T) (*Placer, *gone) {
	t.Helper()
	var configs []erasure.SetConfig
	for range 2 {
		s := erasure.SetConfig{Parity: 1}
		for range 2 {
			s.Drives = append(s.Drives, drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil))
		}
		configs = append(configs, s)
	}
	last := &gone{Drive: configs[1].Drives[1]}
	configs[1].Drives[1] = last
	sets := []Set{{Number: 0, Pool: 0, Drives: 2}, {Number: 1, Pool: 1, Drives: 2}}
	locker, log, base := lock.NewLocal(1), slog.New(slog.DiscardHandler), BaseTable(sets, 1)
	store, err := erasure.New(context.WithoutCancel(t.Context()), erasure.Config{Sets: configs, Table: base, Locker: locker, Logger: log, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(); locker.Close() })
	kept, err := store.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := store.Put(t.Context(), object.Ref{Bucket: "bucket", Key: fmt.Sprint(i)}, object.PutInput{Body: objecttest.NewBody([]byte("hello"), object.CRC64NVME)}); err != nil {
			t.Fatal(err)
		}
	}
	p := New(Config{Store: store, Records: kept, Locker: locker, Logger: log, Base: base, Sets: sets, Names: []string{"first", "second"}})
	var told atomic.Pointer[format.Roster] // what the drives know
	told.Store(&format.Roster{})
	p.Agree = func(_ context.Context, r format.Roster) error {
		all := told.Load().Merge(r)
		told.Store(&all)
		return nil
	}
	p.Knows = func(r format.Roster) bool { return told.Load().Same(r) }
	p.Rooms = func() map[int]upkeep.Room {
		return map[int]upkeep.Room{0: {Free: 30, Total: 100}, 1: {Free: 65, Total: 200}}
	}
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, last
}

// second returns how many partitions the second set has, and fails the test if not all objects
// are there, or some are still on their way.
func (p *Placer) second(t *testing.T) (n int) {
	t.Helper()
	table := p.Store.Placement()
	if table.Phase != placement.Settled {
		t.Errorf("objects are still on their way: phase %d", table.Phase)
	}
	for _, home := range table.Homes {
		n += int(home)
	}
	page, err := p.Store.List(t.Context(), object.Query{Bucket: "bucket", Limit: 100})
	if err != nil || len(page.Objects) != 50 {
		t.Errorf("%d of 50 objects are there, %v", len(page.Objects), err)
	}
	return n
}

func TestAPoolGetsItsShareAndIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPlacer(t)
		end := p.Start(t.Context())
		time.Sleep(time.Minute)
		if n := p.second(t); n != placement.Partitions/2 {
			t.Errorf("the set that was added has %d partitions", n)
		}
		if err := p.Drain(t.Context(), 1, true); err != nil {
			t.Fatal(err)
		}
		if err := p.Drain(t.Context(), 0, true); !errors.Is(err, upkeep.ErrLastPool) {
			t.Errorf("the last pool is drained: %v", err)
		}
		time.Sleep(time.Minute)
		if n := p.second(t); n != 0 {
			t.Errorf("the drained set has %d partitions", n)
		}
		all, err := p.Pools()
		if err != nil || len(all) != 2 || all[0].Empty || !all[1].Empty || all[1].Draining.IsZero() || all[1].Moved.Names == 0 {
			t.Errorf("the pools are %+v, %v", all, err)
		}
		if all[0].Share != 1 || all[1].Share != 0 || all[0].Coming != 0 || all[1].Began != 65 || all[0].Room != (upkeep.Room{Free: 30, Total: 100}) || all[1].Room.Total != 200 {
			t.Errorf("of their room and shares is told %+v", all)
		}
		if err := p.Drain(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := p.second(t); n != placement.Partitions/2 {
			t.Errorf("the set that is kept after all has %d partitions", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingMovesBeforeEverybodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPlacer(t)
		var known atomic.Uint64
		p.Follow = func(epoch uint64) bool { return known.Load() >= epoch }
		end := p.Start(t.Context())
		for epoch, want := range []placement.Phase{placement.Announced, placement.Moving, placement.Settled} {
			time.Sleep(time.Minute)
			if got := p.Store.Placement().Phase; got != want {
				t.Errorf("while some know no more than epoch %d it is phase %d, want %d", epoch, got, want)
			}
			if all, err := p.Pools(); err != nil || want != placement.Settled && (all[0].Leaving != 0.5 || all[1].Coming != 0.5 || all[0].Share != 0.5) {
				t.Errorf("in phase %d the pools are %+v, %v", want, all, err)
			}
			known.Add(1)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingMovesWhileADriveIsAwayOfWhereItWouldGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, last := openPlacerWithout(t)
		last.away.Store(true)
		end := p.Start(t.Context())
		time.Sleep(time.Minute)
		if n := p.second(t); n != 0 {
			t.Errorf("while a drive is away the set gets %d partitions", n)
		}
		last.away.Store(false)
		time.Sleep(time.Minute)
		if n := p.second(t); n != placement.Partitions/2 {
			t.Errorf("when it is back the set gets %d partitions", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// What hinders drives to be told of what goes where hinders that it goes there.
func TestNothingMovesWhereDrivesDoNotKnowThatItWillBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPlacer(t)
		p.Agree = func(context.Context, format.Roster) error { return errors.New("too few drives answer") }
		end := p.Start(t.Context())
		time.Sleep(time.Minute)
		if n := p.second(t); n != 0 {
			t.Errorf("the set that nobody knows to be needed has %d partitions", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestAPoolThatIsDrainedIsLeftOutWhereDrivesKnowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPlacer(t)
		agree, told := p.Agree, atomic.Bool{}
		p.Agree = func(ctx context.Context, r format.Roster) error {
			if !told.Load() && !r.Needs(0) {
				return errors.New("too few drives answer")
			}
			return agree(ctx, r)
		}
		end := p.Start(t.Context())
		if err := p.Drain(t.Context(), 0, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := p.second(t); n != placement.Partitions || p.Store.Placement().CommonHome != 1 {
			t.Errorf("the second set has %d partitions, and what is common to all has %d", n, p.Store.Placement().CommonHome)
		}
		if all, err := p.Pools(); err != nil || all[0].Empty {
			t.Errorf("before the drives know that it is not needed: %+v, %v", all, err)
		}
		told.Store(true)
		time.Sleep(time.Minute)
		if all, err := p.Pools(); err != nil || !all[0].Empty || all[1].Empty {
			t.Errorf("when they know it: %+v, %v", all, err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestSetsThatWereThereFirstMustBeNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPlacer(t)
		if p.Base = BaseTable(p.Sets, 3); p.Base != nil {
			t.Error("there is a table of three sets, of which two are named")
		}
		if err := p.Begin(t.Context()); err == nil {
			t.Error("it begins")
		}
	})
}
