package dirsnap_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 takes one from the clock")

func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", s)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func touch(t testing.TB, d vfs.Dir, name string) {
	t.Helper()
	f, err := d.Create(name, 0o666)
	must(t, err)
	must(t, f.Close())
}

func keys(v *dirsnap.View) []string {
	list := []string{}
	for e := range v.From("", false) {
		list = append(list, e.Key)
	}
	return list
}

// hooked runs functions around the reading of a directory.
type hooked struct {
	vfs.Dir
	before, after func()
	stated        func()
	reads         *atomic.Int64
}

func (h *hooked) Stat(path string) (vfs.Stat, error) {
	st, err := h.Dir.Stat(path)
	if h.stated != nil {
		h.stated()
	}
	return st, err
}

func (h *hooked) ReadDir() ([]vfs.Entry, error) {
	h.reads.Add(1)
	if h.before != nil {
		h.before()
	}
	entries, err := h.Dir.ReadDir()
	if h.after != nil {
		h.after()
	}
	return entries, err
}

// history is what a key was, and until when: state i held until step until[i].
type history struct {
	present []bool
	until   []int
}

// model runs random changes, ours and of others, in and between readings on a
// clock that goes on at random, and compares every View with what was there.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	dir   vfs.Dir
	cache *dirsnap.Cache
	step  int
	began []time.Time // of each step
	keys  map[string]*history
	kinds []string // of keys: own, which are noted, foreign ones, and those that others tell of
	feed  *feed    // nil: nobody tells
}

// newModel returns a model with four keys of each kind.
func newModel(t *testing.T, seed, n uint64, cfg dirsnap.Config, kinds ...string) *model {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(seed, n)), dir: vfs.NewMemory(vfs.WithGranularity(time.Second)).Root(),
		cache: dirsnap.NewCache(cfg), keys: map[string]*history{}, kinds: kinds,
	}
	for _, kind := range kinds {
		for n := range 4 {
			m.keys[fmt.Sprintf("%s%d", kind, n)] = &history{present: []bool{false}}
		}
	}
	touch(t, m.dir, "always") // so that a large directory stays large
	return m
}

// run gets 60 views with changes in between.
func (m *model) run(large bool, late time.Duration, reads *atomic.Int64) {
	for range 60 {
		if m.rng.IntN(2) == 0 {
			m.some()
		}
		if m.rng.IntN(3) == 0 {
			time.Sleep(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
		}
		m.check(large, late, reads)
	}
}

func (m *model) mutate() {
	m.step++
	m.began = append(m.began, time.Now())
	kind := m.kinds[m.rng.IntN(len(m.kinds))]
	name := fmt.Sprintf("%s%d", kind, m.rng.IntN(4))
	if kind != "foreign" && m.feed != nil {
		m.feed.hold(name, m.rng)
	}
	h := m.keys[name]
	now := !h.present[len(h.present)-1]
	if now {
		touch(m.t, m.dir, name)
	} else {
		must(m.t, m.dir.Remove(name))
	}
	h.until = append(h.until, m.step)
	h.present = append(h.present, now)
	if kind == "own" {
		m.cache.Note("d", dirsnap.Entry{Key: name}, now)
	}
}

func (m *model) some() {
	for range m.rng.IntN(3) {
		m.mutate()
		if m.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(m.rng.IntN(1500)) * time.Millisecond)
		}
	}
}

// was reports whether key was in the state at any time since step.
func (m *model) was(key string, present bool, since int) bool {
	h := m.keys[key]
	for i, p := range h.present {
		if p == present && (i == len(h.until) || h.until[i] > since) {
			return true
		}
	}
	return false
}

// check compares a view. Changes of strangers may show late in a large directory.
func (m *model) check(large bool, late time.Duration, reads *atomic.Int64) {
	arrived, at := m.step, time.Now()
	h := &hooked{Dir: m.dir, before: m.some, after: m.some, stated: m.some, reads: reads}
	v, err := m.cache.Get(m.t.Context(), "d", h, m.feed.changes())
	must(m.t, err)
	got := keys(v)
	if !slices.IsSorted(got) {
		m.t.Errorf("not sorted: %q", got)
	}
	for key := range m.keys {
		since := arrived
		if large && strings.HasPrefix(key, "foreign") {
			for since > 0 && at.Sub(m.began[since-1]) <= late {
				since--
			}
		}
		if present := slices.Contains(got, key); !m.was(key, present, since) {
			m.t.Errorf("step %d, large %v: %s is shown as present: %v", m.step, large, key, present)
		}
	}
}

func TestAViewShowsEveryChangeThatWasOverBefore(t *testing.T) {
	first := seed(t)
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprintf("large %v", large), func(t *testing.T) {
			var reads, gets atomic.Int64
			for i := uint64(0); i < 150 && !t.Failed(); i++ {
				synctest.Test(t, func(t *testing.T) {
					cfg := dirsnap.Config{Large: 1 << 20}
					if large {
						cfg.Large = 1
					}
					m := newModel(t, first, i, cfg, "own", "foreign")
					gets.Add(60)
					m.run(large, dirsnap.DefaultReread+10*time.Second, &reads)
				})
			}
			// Of a small directory that changes all the time next to nothing can be.
			if large && reads.Load() >= gets.Load() {
				t.Errorf("%d readings for %d views: nothing is cached", reads.Load(), gets.Load())
			}
			t.Logf("%d readings for %d views", reads.Load(), gets.Load())
		})
	}
}

// A key that was noted before Get was called and is not changed meanwhile is
// shown as it was noted, with any number of callers.
func TestConcurrentViewsShowWhatWasNotedBefore(t *testing.T) {
	for _, large := range []int{1, 1 << 20} {
		cache := dirsnap.NewCache(dirsnap.Config{Large: large, Reread: time.Millisecond})
		root := vfs.NewMemory().Root()
		touch(t, root, "always")
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				name := fmt.Sprintf("w%d", w)
				for i := range 400 {
					present := i%2 == 0
					if present {
						touch(t, root, name)
					} else {
						must(t, root.Remove(name))
					}
					cache.Note("d", dirsnap.Entry{Key: name}, present)
					v, err := cache.Get(t.Context(), "d", root, nil)
					if err != nil || v.Has(name) != present {
						t.Errorf("large %d: %s is shown as present: %v, %v", large, name, !present, err)
						return
					}
					if i%50 == 0 {
						cache.Forget("d")
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestAnUnchangedDirectoryIsReadNoMoreOnceItsTimesProveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		root := &hooked{Dir: vfs.NewMemory().Root(), reads: &reads}
		cache := dirsnap.NewCache(dirsnap.Config{})
		get := func() {
			_, err := cache.Get(t.Context(), "d", root, nil)
			must(t, err)
		}
		get()
		get()
		if reads.Load() != 2 {
			t.Errorf("%d readings within the racy window, want 2", reads.Load())
		}
		time.Sleep(dirsnap.DefaultRacy)
		for range 10 {
			get()
			time.Sleep(time.Hour)
		}
		if reads.Load() != 3 {
			t.Errorf("%d readings, want 3", reads.Load())
		}
		touch(t, root, "a")
		get()
		if reads.Load() != 4 {
			t.Error("a change was not seen")
		}
	})
}

func TestCallersOfADirectoryBeingReadShareTheNextReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		release := make(chan struct{})
		root := &hooked{Dir: vfs.NewMemory().Root(), reads: &reads, before: func() { <-release }}
		cache := dirsnap.NewCache(dirsnap.Config{})
		var wg sync.WaitGroup
		get := func() {
			wg.Go(func() {
				if _, err := cache.Get(t.Context(), "d", root, nil); err != nil {
					t.Error(err)
				}
			})
		}
		get()
		synctest.Wait()
		for range 20 {
			get()
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if reads.Load() != 2 {
			t.Errorf("%d readings for the one and the twenty that came meanwhile, want 2", reads.Load())
		}
	})
}

func TestAChangeAfterAReadingBeganIsNotMissedByLaterCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory().Root())
		root := fault.Root()
		cache := dirsnap.NewCache(dirsnap.Config{})
		_, err := cache.Get(t.Context(), "d", root, nil)
		must(t, err)
		touch(t, root, "a")
		hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpReadDir })
		var wg sync.WaitGroup
		get := func(key string) {
			wg.Go(func() {
				if v, err := cache.Get(t.Context(), "d", root, nil); err != nil || !v.Has(key) {
					t.Errorf("%s is missing, %v", key, err)
				}
			})
			synctest.Wait()
		}
		get("a")
		touch(t, root, "b")
		get("b")
		hang.Release()
		wg.Wait()
	})
}

// readdir(3) may show neither the old nor the new name of what is renamed while
// it runs; a file that is under one of the two all the time must be shown.
func TestANameThatMovesWhileItsDirectoryIsReadIsShown(t *testing.T) {
	for _, large := range []int{1, 100} {
		var reads atomic.Int64
		root := &hooked{Dir: vfs.NewMemory().Root(), reads: &reads}
		touch(t, root, "always")
		cache := dirsnap.NewCache(dirsnap.Config{Large: large})
		root.after = func() { cache.Note("d", dirsnap.Entry{Key: "moved", Slot: keypath.Alias}, true) }
		v, err := cache.Get(t.Context(), "d", root, nil)
		must(t, err)
		if !v.Has("moved") {
			t.Errorf("large from %d on: shown are %q", large, keys(v))
		}
	}
}

func TestALateNoteDoesNotOutliveTheNextReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		cache := dirsnap.NewCache(dirsnap.Config{Large: 1})
		root := &hooked{Dir: vfs.NewMemory().Root(), reads: &reads}
		touch(t, root, "always")
		get := func() *dirsnap.View {
			v, err := cache.Get(t.Context(), "d", root, nil)
			must(t, err)
			return v
		}
		get()
		touch(t, root, "a")
		must(t, root.Remove("a")) // by somebody else, before the note of ours
		time.Sleep(dirsnap.DefaultReread)
		get()
		time.Sleep(dirsnap.DefaultReread)
		root.after = func() { cache.Note("d", dirsnap.Entry{Key: "a"}, true) }
		get()
		root.after = nil
		time.Sleep(dirsnap.DefaultReread)
		if get().Has("a") {
			t.Error("the view still shows what was gone before it was noted")
		}
	})
}

func TestAFailedReadingIsItsCallersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory().Root())
		hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpReadDir })
		bad := vfs.ErrHung
		var failed atomic.Bool
		fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpReadDir && failed.CompareAndSwap(false, true) {
				return bad
			}
			return nil
		})
		cache := dirsnap.NewCache(dirsnap.Config{})
		var wg sync.WaitGroup
		var errs, views atomic.Int64
		for range 5 {
			wg.Go(func() {
				if _, err := cache.Get(t.Context(), "d", fault.Root(), nil); err != nil {
					errs.Add(1)
				} else {
					views.Add(1)
				}
			})
			synctest.Wait()
		}
		hang.Release()
		wg.Wait()
		if errs.Load() != 1 || views.Load() != 4 {
			t.Errorf("%d errors and %d views", errs.Load(), views.Load())
		}
	})
}

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	fs := vfs.NewMemory()
	root := fs.Root()
	for i := range 200 {
		touch(t, root, fmt.Sprintf("some-file-of-a-directory-%d", i))
	}
	const limit = 64 << 10
	cache := dirsnap.NewCache(dirsnap.Config{MaxBytes: limit, Large: 1})
	for i := range 100 {
		id := fmt.Sprint(i)
		v, err := cache.Get(t.Context(), id, root, nil)
		must(t, err)
		if n := len(keys(v)); n != 200 {
			t.Errorf("%d keys", n)
		}
		for n := range 300 {
			cache.Note(id, dirsnap.Entry{Key: fmt.Sprint(n)}, true)
		}
		if b := cache.Bytes(); b > limit || b <= 0 {
			t.Errorf("%d bytes after %d directories", b, i)
		}
	}
	cache.ForgetAll()
	if b := cache.Bytes(); b != 0 {
		t.Errorf("%d bytes in an empty cache", b)
	}
	tiny := dirsnap.NewCache(dirsnap.Config{MaxBytes: 1})
	if v, err := tiny.Get(t.Context(), "d", root, nil); err != nil || len(keys(v)) != 200 {
		t.Error(err)
	}
	if b := tiny.Bytes(); b != 0 {
		t.Errorf("%d bytes over the limit", b)
	}
}

func TestManyNotesAreFoldedIntoTheSnapshot(t *testing.T) {
	root := vfs.NewMemory().Root()
	for _, name := range []string{"a", "c", "e"} {
		touch(t, root, name)
	}
	cache := dirsnap.NewCache(dirsnap.Config{Large: 1, Reread: time.Hour})
	_, err := cache.Get(t.Context(), "d", root, nil)
	must(t, err)
	want := map[string]bool{"a": true, "c": true, "e": true}
	rng := rand.New(rand.NewPCG(seed(t), 0))
	for range 50_000 {
		key, added := fmt.Sprintf("%x", rng.IntN(40_000)), rng.IntN(3) > 0
		cache.Note("d", dirsnap.Entry{Key: key}, added)
		want[key] = added
	}
	v, err := cache.Get(t.Context(), "d", root, nil)
	must(t, err)
	var expected []string
	for key, there := range want {
		if there {
			expected = append(expected, key)
		}
		if v.Has(key) != there {
			t.Fatalf("Has(%q) = %v", key, !there)
		}
	}
	slices.Sort(expected)
	if !slices.Equal(keys(v), expected) {
		t.Error("the view is not what was noted")
	}
}
