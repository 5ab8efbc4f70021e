package doctor

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// client returns a client of a tree, in a directory that two of them share.
func client(m *vfs.Memory, dir string) *Client { return &Client{Root: m.Root(), Dir: dir} }

// hand is a Hand whose client shows what was before.
type hand struct {
	Hand
	change func(a Act, seen *Seen)
}

func (h hand) Act(ctx context.Context, a Act) (Seen, error) {
	seen, err := h.Hand.Act(ctx, a)
	h.change(a, &seen)
	return seen, err
}

// finds reports whether a finding of a check has a severity and says something.
func finds(found []Finding, check string, s Severity, says string) bool {
	for _, f := range found {
		if f.Check == check && f.Severity == s && strings.Contains(f.Found, says) && (s != Bad || f.Effect != "" && f.Cure != "") {
			return true
		}
	}
	return false
}

func TestTwoClientsThatSeeEachOtherAreFoundGood(t *testing.T) {
	m := vfs.NewMemory()
	here, there := net.Pipe()
	told := make(chan []Finding, 1)
	go func() {
		defer there.Close()
		found, err := Answer(t.Context(), there, &Client{Root: m.Root()})
		if err != nil {
			t.Error(err)
		}
		told <- found
	}()
	dir := NewDir()
	other := &Remote{Conn: here, Dir: dir}
	p := Pair{Own: client(m, dir), Other: other, Rounds: 5, Patience: time.Minute}
	found, err := p.Run(t.Context())
	if err == nil {
		err = other.Tell(found)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []string{"two clients", "seen by the other host", "seen by this host", "plain on the other host", "plain on this host"} {
		if !finds(found, check, OK, "") {
			t.Errorf("%s: %+v", check, found)
		}
	}
	heard := <-told
	if len(heard) != len(found) || heard[2].Check != "seen by this host" || found[2].Check != "seen by the other host" {
		t.Errorf("found %+v, and the other one was told %+v", found, heard)
	}
	if entries, err := m.Root().ReadDir(); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestAClientThatShowsWhatWasBeforeIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(a Act, seen *Seen)
		p      Pair
		check  string
		says   string
	}{
		"old content": {func(a Act, seen *Seen) {
			if a.Do == Look && strings.HasPrefix(seen.Content, "two") {
				seen.Content = "one"
			}
		}, Pair{Rounds: 2, Cure: "cure"}, "seen by the other host", `"one"`},
		"names that are gone": {func(a Act, seen *Seen) {
			if a.Do == List {
				seen.There = true
			}
		}, Pair{Rounds: 2, Cure: "cure"}, "seen by the other host", "listing"},
		"later than a mount that is routed may": {func(a Act, seen *Seen) {
			if a.Do == List && a.Plain {
				seen.There = false
			}
		}, Pair{Patience: 200 * time.Millisecond, Stale: time.Millisecond}, "plain on the other host", "not within"},
		"two mounts of one host": {func(a Act, seen *Seen) {
			if a.Do == Identify {
				seen.Client.Device++
			}
		}, Pair{}, "two clients", "one host"},
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := vfs.NewMemory(), NewDir()
			own := client(m, dir)
			own.Mount.Type = "nfs4"
			tt.p.Own, tt.p.Other = own, hand{own, tt.change}
			found, err := tt.p.Run(t.Context())
			if err != nil || !finds(found, tt.check, Bad, tt.says) {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
}

func TestOtherHostsReachNothingButDirectoriesOfDoctors(t *testing.T) {
	m := vfs.NewMemory()
	if err := m.Root().Mkdir("bucket", 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, acts := range map[string][]Act{
		"bucket":           {{Do: Put, Name: "x"}, {Do: Clear}, {Do: List, Name: "x"}},
		"":                 {{Do: Clear}},
		DirPrefix + "x/..": {{Do: Clear}},
		DirPrefix + "x":    {{Do: Look, Name: "../bucket/x"}, {Do: Put, Name: ".."}, {Do: "format"}, {Do: Put, Name: "x", Content: strings.Repeat("x", maxContent+1)}},
	} {
		for _, a := range acts {
			if _, err := client(m, dir).Act(t.Context(), a); err == nil {
				t.Errorf("in %q it did %+v", dir, a)
			}
		}
	}
}

func TestWhatADoctorLeftBehindIsRemovedAfterAnHour(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	c := client(m, NewDir())
	for _, a := range []Act{{Do: Make}, {Do: Put, Name: "x", Content: "x"}} {
		if _, err := c.Act(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Root().Mkdir("bucket", 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := m.Root().Stat(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		age  time.Duration
		want int
	}{{time.Minute, 2}, {2 * time.Hour, 1}} {
		if err := Sweep(ctx, m.Root(), st.Mtime.Add(tt.age)); err != nil {
			t.Error(err)
		}
		if entries, err := m.Root().ReadDir(); err != nil || len(entries) != tt.want {
			t.Errorf("after %v: %v, %v", tt.age, entries, err)
		}
	}
}
