package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/format"
)

// ledger is one over drives that obey a fleet, of which the generation is claimed.
func ledger(t *testing.T, all []erasure.Drive, generation uint32) *erasure.Ledger {
	t.Helper()
	for _, d := range all {
		own, ok := d.(*drive.Drive)
		if !ok {
			continue
		}
		if _, err := own.Order(t.Context(), fence.Order{Op: fence.Claim, Generation: generation, Node: "n"}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := erasure.NewLedger(context.Background(), erasure.Config{Sets: []erasure.SetConfig{{Drives: all, Parity: len(all) / 2}}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Act(generation, "s")
	return l
}

func obedient(t *testing.T, n int) []erasure.Drive {
	t.Helper()
	all := drives(n)
	for _, d := range all {
		if err := d.(*drive.Drive).Require(false); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestSettingsComeBackAsTheyWereSaved(t *testing.T) {
	all := obedient(t, 4)
	l := ledger(t, all, 1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(l *erasure.Ledger, generation uint32, index uint64, whole []byte, changes ...string) {
		t.Helper()
		got, err := l.Load(t.Context())
		must(err)
		if got.Generation != generation || got.Index != index {
			t.Errorf("the last is of %d in generation %d, not of %d in %d", got.Index, got.Generation, index, generation)
		}
		if !bytes.Equal(got.All, whole) || len(got.Changes) != len(changes) {
			t.Fatalf("%d bytes and %d changes, want %d and %d", len(got.All), len(got.Changes), len(whole), len(changes))
		}
		for i := range changes {
			if string(got.Changes[i]) != changes[i] {
				t.Errorf("change %d is %q", i, got.Changes[i])
			}
		}
	}
	check(l, 0, 0, nil)
	for i := range 3 {
		must(l.SaveChange(t.Context(), 1, "s", uint64(5+i), fmt.Append(nil, "change ", i)))
	}
	check(l, 1, 7, nil, "change 0", "change 1", "change 2")
	whole := bytes.Repeat([]byte("all of them "), 100_000) // some pages
	must(l.SaveAll(t.Context(), 1, "s", 6, whole))
	check(l, 1, 7, whole, "change 2")

	l = ledger(t, all, 2)
	check(l, 1, 7, whole, "change 2")
	must(l.SaveChange(t.Context(), 2, "s", 1, []byte("of the next generation")))
	check(l, 2, 1, whole, "change 2", "of the next generation")
	must(l.SaveAll(t.Context(), 2, "s", 3, []byte("less")))
	check(l, 2, 3, []byte("less"))

	l.Close() // all drives have been told what is committed
	half := append([]erasure.Drive{format.Absent{}, format.Absent{}}, all[2:]...)
	check(ledgerOver(t, half, 2), 2, 3, []byte("less"))
}

// ledgerOver is a Ledger in a generation that was claimed before.
func ledgerOver(t *testing.T, all []erasure.Drive, generation uint32) *erasure.Ledger {
	t.Helper()
	l, err := erasure.NewLedger(context.Background(), erasure.Config{Sets: []erasure.SetConfig{{Drives: all, Parity: len(all) / 2}}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Act(generation, "s")
	return l
}

func TestWhoseGenerationIsOverSavesNothing(t *testing.T) {
	all := obedient(t, 4)
	old := ledger(t, all, 1)
	next := ledger(t, all, 2)
	if err := old.SaveChange(t.Context(), 1, "s", 9, []byte("late")); err == nil {
		t.Error("it was saved")
	}
	if s, err := next.Load(t.Context()); err != nil || len(s.Changes) > 0 {
		t.Errorf("%d changes, %v", len(s.Changes), err)
	}
}

func TestWhetherThereAreLaterSettingsAQuorumKnows(t *testing.T) {
	all := obedient(t, 4)
	l := ledger(t, all, 1)
	if err := errors.Join(l.SaveChange(t.Context(), 1, "s", 5, []byte("a")), l.SaveChange(t.Context(), 1, "s", 7, []byte("b"))); err != nil {
		t.Fatal(err)
	}
	half := ledgerOver(t, append([]erasure.Drive{format.Absent{}, format.Absent{}}, all[2:]...), 1)
	for index, want := range map[uint64]bool{4: true, 5: true, 6: true, 7: false, 8: false} {
		for name, l := range map[string]*erasure.Ledger{"all": l, "half": half} {
			if later, err := l.Newer(t.Context(), 1, index); err != nil || later != want {
				t.Errorf("%s drives know of a change after %d: %v, %v", name, index, later, err)
			}
		}
	}
	if err := half.SaveChange(t.Context(), 1, "s", 9, []byte("c")); err == nil {
		t.Error("half of the drives have saved something")
	}
	if later, err := half.Newer(t.Context(), 1, 7); err != nil || later {
		t.Errorf("what could not be saved was left: %v, %v", later, err)
	}
	one := ledgerOver(t, append([]erasure.Drive{format.Absent{}, format.Absent{}, format.Absent{}}, all[3]), 1)
	if _, err := one.Newer(t.Context(), 1, 7); err == nil {
		t.Error("one of four drives is believed")
	}
}
