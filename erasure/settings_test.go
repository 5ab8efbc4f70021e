package erasure_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/lock"
)

// starts are starts of a deployment that one process serves, with some of its sets.
type starts struct {
	*testing.T
	n uint32
}

// drives returns drives that outlast a start.
func (s *starts) drives(n int) []erasure.Drive {
	all := drives(n)
	for _, d := range all {
		s.Cleanup(func() { _ = d.Close() })
	}
	return all
}

// settings returns the settings of the next start.
func (s *starts) settings(sets ...erasure.SetConfig) *erasure.Settings {
	s.Helper()
	s.n++
	locker := lock.NewLocal(s.n)
	s.Cleanup(locker.Close)
	store, err := erasure.New(context.Background(), erasure.Config{Sets: sets, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		s.Fatal(err)
	}
	kept, err := store.Settings(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return kept
}

// set changes a setting, and reports whether that is certain.
func (s *starts) set(kept *erasure.Settings, name, value string) bool {
	s.Helper()
	_, revision, err := kept.Get(name)
	if err != nil {
		s.Fatal(err)
	}
	content := []byte(value)
	if value == "" {
		content = nil
	}
	return kept.Set(s.Context(), name, content, revision) == nil
}

// expect looks what a setting is.
func (s *starts) expect(kept *erasure.Settings, name, want string) {
	s.Helper()
	if got, _, err := kept.Get(name); string(got) != want || err != nil {
		s.Errorf("%s is %q, want %q, %v", name, got, want, err)
	}
}

func TestAnySetAloneHasAllSettings(t *testing.T) {
	s := &starts{T: t}
	first, second := erasure.SetConfig{Number: 4, Drives: s.drives(3)}, erasure.SetConfig{Number: 7, Drives: s.drives(2)}
	kept := s.settings(first)
	if !s.set(kept, "kept", "1") || !s.set(kept, "removed", "1") {
		t.Fatal("settings cannot be changed")
	}
	added := second
	added.Fresh = true
	kept = s.settings(first, added)
	if !s.set(kept, "kept", "2") || !s.set(kept, "removed", "") || !s.set(kept, "added", "3") {
		t.Fatal("settings cannot be changed with two sets")
	}
	for _, alone := range []erasure.SetConfig{first, second} {
		kept = s.settings(alone)
		s.expect(kept, "kept", "2")
		s.expect(kept, "removed", "")
		s.expect(kept, "added", "3")
	}
	// What a set still has that was left out for a while counts for nothing.
	if !s.set(kept, "kept", "") || !s.set(kept, "added", "4") {
		t.Fatal("settings cannot be changed with the other set")
	}
	first.Fresh = true
	kept = s.settings(first, second)
	s.expect(kept, "kept", "")
	s.expect(kept, "added", "4")
	s.expect(s.settings(first), "kept", "") // and is not there any more
}

func TestAChangeOfASettingThatWasBrokenOffIsMadeInAllSetsOrInNone(t *testing.T) {
	s := &starts{T: t}
	gone := []*absent{{Drive: s.drives(1)[0]}, {Drive: s.drives(1)[0]}}
	first, second := erasure.SetConfig{Number: 0, Drives: s.drives(3)}, erasure.SetConfig{Number: 1, Drives: []erasure.Drive{gone[0], gone[1]}}
	kept := s.settings(first, second)
	if !s.set(kept, "a", "old") || !s.set(kept, "b", "old") {
		t.Fatal("settings cannot be changed")
	}
	for _, d := range gone {
		d.away.Store(true)
	}
	if s.set(kept, "a", "new") || s.set(kept, "b", "") {
		t.Error("changes are certain that a set does not have")
	}
	for _, d := range gone {
		d.away.Store(false)
	}
	kept = s.settings(first, second)
	for _, name := range []string{"a", "b"} {
		value, _, err := kept.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		s.expect(s.settings(first), name, string(value))
		s.expect(s.settings(second), name, string(value))
	}
}
