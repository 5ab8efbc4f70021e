package nasfs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

var _ nasfs.Feed = (*member)(nil)

// Changes implements nasfs.Feed. A session that was fenced is told of one change
// that there was not, and of none that there was.
func (m *member) Changes(_ context.Context, _ string, since lock.Mark, prefixes ...string) (lock.Changes, error) {
	s, t := m.current(), m.w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.fenced {
		return lock.Changes{Known: true, Names: []string{prefixes[0] + "s00"}, Next: since}, nil
	}
	c := lock.Changes{Next: lock.Mark(strconv.Itoa(len(t.ended)))}
	from, err := strconv.Atoi(string(since))
	if err != nil || from < t.gap {
		return c, nil
	}
	c.Known = true
	tell := func(name string) {
		asked := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if asked && (t.untold == nil || !t.untold()) {
			c.Names = append(c.Names, name)
		}
	}
	for _, name := range t.ended[from:] {
		tell(name)
	}
	for name, h := range t.names {
		if slices.ContainsFunc(keysOf(h.leases), func(l *fakeLease) bool { return l.mode == lock.Exclusive }) {
			tell(name)
		}
	}
	return c, nil
}

// forget makes a gap: whoever asks from an earlier mark is told nothing.
func (t *table) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = append(t.ended, "")
	t.gap = len(t.ended)
}

// largeFleet returns three gateways that take the bucket's directory for a large
// one and follow it, and how often it was read.
func largeFleet(t *testing.T, kind string) (w *world, reads *atomic.Int64) {
	t.Helper()
	w, reads = threeOn(t, kind), &atomic.Int64{}
	for i, g := range w.gateways {
		nasfs.TreatAsLarge(g, 20)
		w.faults[i].Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpReadDir && c.Path == bucket {
				reads.Add(1)
			}
			return nil
		})
	}
	for i := range 40 {
		must(t, putIn(t.Context(), w.gateways[0], fmt.Sprintf("s%02d", i), "", nil))
	}
	for _, g := range w.gateways {
		for range 2 {
			must(t, putIn(t.Context(), w.gateways[0], "s00", "", nil))
			_, err := keys(t.Context(), g, object.Query{})
			must(t, err)
		}
	}
	return w, reads
}

// scribe writes keys of its own through one gateway, and lists them through the
// others.
type scribe struct {
	w     *world
	at    int
	rng   *rand.Rand
	keys  []string
	there map[string]bool
}

func newScribe(w *world, at int, seed uint64) *scribe {
	s := &scribe{w: w, at: at, rng: rand.New(rand.NewPCG(seed, uint64(at))), there: map[string]bool{}} //nolint:gosec // small
	for n := range 6 {
		s.keys = append(s.keys, fmt.Sprintf("k%d-%d", at, n), fmt.Sprintf("dir%d/k%d", n, at), fmt.Sprintf("own%d-%d/k", at, n))
	}
	return s
}

// step changes one key, and returns what is wrong with a listing of another
// gateway.
func (s *scribe) step(ctx context.Context) error {
	key := s.keys[s.rng.IntN(len(s.keys))]
	var err error
	if s.there[key] {
		err = drop(ctx, s.w.gateways[s.at], ref(key), nil)
	} else {
		err = putIn(ctx, s.w.gateways[s.at], key, "x", nil)
	}
	if err != nil {
		return err
	}
	s.there[key] = !s.there[key]
	other := s.w.gateways[(s.at+1+s.rng.IntN(2))%3]
	got, err := keys(ctx, other, object.Query{})
	if err != nil {
		return err
	}
	for _, k := range s.keys {
		if slices.Contains(got, k) != s.there[k] {
			return fmt.Errorf("%s is listed: %v, after %s was written", k, !s.there[k], key)
		}
	}
	return nil
}

// listAfterWrite has all gateways write at the same time, and returns what was
// wrong with a listing.
func listAfterWrite(t *testing.T, w *world, seed uint64, steps int) (wrong []error) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	for at := range w.gateways {
		s := newScribe(w, at, seed)
		group.Go(func() {
			for i := range steps {
				if i%40 == 39 {
					w.table.forget()
				}
				if err := s.step(t.Context()); err != nil {
					mu.Lock()
					defer mu.Unlock()
					wrong = append(wrong, fmt.Errorf("gateway %d, step %d: %w", s.at, i, err))
					return
				}
			}
		})
	}
	group.Wait()
	return wrong
}

// While all gateways write, what each lists is exactly what was written, and yet
// the directory is not read again for each page.
func TestAFleetListsALargeDirectoryAsItWasWritten(t *testing.T) {
	t.Parallel()
	first := seed(t)
	for name := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, reads := largeFleet(t, name)
			reads.Store(0)
			steps := rounds(150)
			for _, err := range listAfterWrite(t, w, first, steps) {
				t.Error(err)
			}
			t.Logf("%d readings for %d listings", reads.Load(), 3*steps)
			if got := reads.Load(); got > int64(3*steps)/2 {
				t.Errorf("%d readings for %d listings", got, 3*steps)
			}
		})
	}
}

// A fleet that follows whatever directory it lists is the same Store.
func TestAFleetThatFollowsEveryDirectoryAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for name, kind := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Model(t, func(t *testing.T) object.Store {
				w := newWorld(t, 3, kind(t))
				for _, g := range w.gateways {
					nasfs.TreatAsLarge(g, 1)
				}
				return w.robin()
			}, s, 1500)
		})
	}
}

// A checker that cannot fail proves nothing: a change that nobody tells of, and
// that leaves no gap, is missed.
func TestAChangeThatTheFeedLosesIsMissedInListings(t *testing.T) {
	t.Parallel()
	w, _ := largeFleet(t, "memory")
	rng := rand.New(rand.NewPCG(1, 2))
	w.table.untold = func() bool { return rng.IntN(3) == 0 } // it has the table's mutex
	if wrong := listAfterWrite(t, w, 1, 300); len(wrong) == 0 {
		t.Error("no listing showed it")
	}
}

func TestAGatewayThatWasFencedBelievesNothingItIsToldOfChanges(t *testing.T) {
	t.Parallel()
	w, _ := largeFleet(t, "memory")
	tell := w.members[1].expire()
	defer tell()
	must(t, putIn(t.Context(), w.gateways[0], "new", "", nil))
	got, err := keys(t.Context(), w.gateways[1], object.Query{})
	if err != nil || !slices.Contains(got, "new") {
		t.Errorf("it lists %q, %v", got, err)
	}
}

func TestAFileOfAStrangerShowsInALargeDirectoryThatIsFollowed(t *testing.T) {
	t.Parallel()
	w, _ := largeFleet(t, "memory")
	for _, g := range w.gateways { // from here on no gateway changes anything
		_, err := keys(t.Context(), g, object.Query{})
		must(t, err)
	}
	writeFile(t, w.faults[0].Root(), "somebody's")
	for i, g := range w.gateways {
		got, err := keys(t.Context(), g, object.Query{})
		if err != nil || !slices.Contains(got, "somebody's") {
			t.Errorf("gateway %d lists %q, %v", i, got, err)
		}
	}
}

func TestAListingIsToldOfTheComponentsThatItGoesThrough(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prefix string
		names  []string
		want   []string
		known  bool
	}{
		"files and directories": {"", []string{"o/b/z", "o/b/a/b/c", "o/b/a/d"}, []string{"a", "z"}, true},
		"below":                 {"a/", []string{"o/b/a/b/c", "o/b/a/d"}, []string{"b", "d"}, true},
		"empty names":           {"a/", []string{"o/b/a/", "o/b/a//x"}, []string{""}, true},
		"other buckets":         {"", []string{"b/bb", "o/bb/x"}, nil, true},
		"the whole bucket":      {"", []string{"o/b/x", "b/b"}, nil, false},
	} {
		got, known := nasfs.Components(c.names, "o/b/"+c.prefix, "b/b")
		if !slices.Equal(got, c.want) || known != c.known {
			t.Errorf("%s: %q, %v", name, got, known)
		}
	}
}
