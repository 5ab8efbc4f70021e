package dirsnap_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// feed tells of changes as a lock service does: of what is held, and of what was
// given back.
type feed struct {
	ended []string
	gap   int // marks of before are worth nothing
	held  map[string]bool
	drop  func(name string) bool // what it does not tell of, though it should
	asked int
}

func newFeed() *feed { return &feed{held: map[string]bool{}} }

// hold takes a name for a change, and gives some of those back that were held.
func (f *feed) hold(name string, rng *rand.Rand) {
	for _, other := range slices.Sorted(maps.Keys(f.held)) {
		if rng.IntN(2) == 0 {
			f.giveBack(other)
		}
	}
	f.held[name] = true
	if rng.IntN(30) == 0 {
		f.forget()
	}
}

func (f *feed) giveBack(name string) {
	delete(f.held, name)
	f.ended = append(f.ended, name)
}

// forget makes a gap.
func (f *feed) forget() {
	f.ended = append(f.ended, "")
	f.gap = len(f.ended)
}

func (f *feed) changes() dirsnap.Changes {
	if f == nil {
		return nil
	}
	return func(since string) ([]string, string, bool) {
		f.asked++
		next := strconv.Itoa(len(f.ended))
		from, err := strconv.Atoi(since)
		if err != nil || from < f.gap {
			return nil, next, false
		}
		all := map[string]bool{}
		for _, name := range f.ended[from:] {
			all[name] = true
		}
		maps.Copy(all, f.held)
		if f.drop != nil {
			maps.DeleteFunc(all, func(name string, _ bool) bool { return f.drop(name) })
		}
		return slices.Sorted(maps.Keys(all)), next, true
	}
}

// Changes that are told of show at once, however they meet with what looks at
// the directory; those of strangers when it is read anew.
func TestAFollowedViewShowsEveryChangeThatWasOverBefore(t *testing.T) {
	first := seed(t)
	var reads, gets atomic.Int64
	for i := uint64(0); i < 150 && !t.Failed(); i++ {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, first, i, dirsnap.Config{Large: 1, Shared: true}, "own", "told", "told", "foreign")
			m.feed = newFeed()
			gets.Add(60)
			m.run(true, 2*time.Minute, &reads) // a reading takes seconds here
		})
	}
	if reads.Load() >= gets.Load()*9/10 {
		t.Errorf("%d readings for %d views: nothing is followed", reads.Load(), gets.Load())
	}
	t.Logf("%d readings for %d views", reads.Load(), gets.Load())
}

// followed is a large directory with a cache of it that has a mark already.
type followed struct {
	t     *testing.T
	root  *hooked
	cache *dirsnap.Cache
	feed  *feed
	reads atomic.Int64
}

// follow runs a test on a directory of entries, in a bubble of time.
func follow(t *testing.T, entries int, test func(f *followed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &followed{t: t, cache: dirsnap.NewCache(dirsnap.Config{Large: 10, Shared: true}), feed: newFeed()}
		f.root = &hooked{Dir: vfs.NewMemory().Root(), reads: &f.reads}
		for i := range entries {
			touch(t, f.root.Dir, fmt.Sprintf("x%05d", i))
		}
		f.get() // tells that it is large
		time.Sleep(time.Millisecond)
		touch(t, f.root.Dir, "last")
		f.get() // gets a mark
		f.reads.Store(0)
		test(f)
	})
}

func (f *followed) get() *dirsnap.View {
	f.t.Helper()
	v, err := f.cache.Get(f.t.Context(), "d", f.root, f.feed.changes())
	must(f.t, err)
	return v
}

// change changes the directory as another gateway does.
func (f *followed) change(name string, do func()) {
	time.Sleep(time.Millisecond)
	f.feed.held[name] = true
	do()
	f.feed.giveBack(name)
}

func (f *followed) expect(what string, reads int64, keys ...string) {
	f.t.Helper()
	v := f.get()
	for _, key := range keys {
		if name, gone := strings.CutPrefix(key, "-"); v.Has(name) == gone {
			f.t.Errorf("%s: %q is shown as present: %v", what, name, gone)
		}
	}
	if got := f.reads.Swap(0); got != reads {
		f.t.Errorf("%s: %d readings, want %d", what, got, reads)
	}
}

func TestWhatOthersChangedIsLookedAtInsteadOfTheDirectory(t *testing.T) {
	follow(t, 20, func(f *followed) {
		dir := f.root.Dir
		f.change("a", func() { touch(t, dir, "a") })
		f.expect("a file", 0, "a", "-a/")
		f.change("a", func() {
			must(t, dir.Rename("a", dir, keypath.Codec{}.Slot("a", keypath.Alias)))
			must(t, dir.Mkdir("a", 0o777))
		})
		f.expect("a directory in the place of the file", 0, "a", "a/")
		f.change("a", func() {
			must(t, dir.Rmdir("a"))
			must(t, dir.Remove(keypath.Codec{}.Slot("a", keypath.Alias)))
		})
		f.expect("nothing any more", 0, "-a", "-a/", "x00003")
		f.expect("no change", 0)
	})
}

func TestTheDirectoryIsReadWhereAskingIsNotEnough(t *testing.T) {
	for what, change := range map[string]func(f *followed){
		"there is a gap":            func(f *followed) { f.change("a", func() { touch(t, f.root.Dir, "a") }); f.feed.forget() },
		"a stranger has changed it": func(f *followed) { time.Sleep(time.Second); touch(t, f.root.Dir, "a") },
		"it was read a while ago": func(f *followed) {
			time.Sleep(dirsnap.DefaultReread)
			touch(t, f.root.Dir, "a")
			f.change("b", func() {})
		},
		"a name is long":       func(f *followed) { f.change(strings.Repeat("l", 300), func() { touch(t, f.root.Dir, "a") }) },
		"too much has changed": func(f *followed) { changeMany(f, 17); f.change("a", func() { touch(t, f.root.Dir, "a") }) },
		"it is another directory by now": func(f *followed) {
			must(t, f.root.Mkdir("other", 0o777))
			other, err := f.root.OpenDir("other")
			must(t, err)
			for i := range 20 {
				touch(t, other, fmt.Sprintf("y%d", i))
			}
			f.change("a", func() { touch(t, other, "a"); f.root.Dir = other })
		},
	} {
		follow(t, 20, func(f *followed) {
			change(f)
			f.expect(what, 1, "a")
		})
	}
}

func changeMany(f *followed, n int) {
	for i := range n {
		f.change(fmt.Sprint("many", i), func() {})
	}
}

func TestASmallDirectoryIsNotAskedAbout(t *testing.T) {
	follow(t, 5, func(f *followed) {
		f.feed.asked = 0
		f.change("a", func() { touch(t, f.root.Dir, "a") })
		f.expect("a change", 1, "a")
		if f.feed.asked > 0 {
			t.Errorf("asked %d times", f.feed.asked)
		}
	})
}

// A checker that cannot fail proves nothing.
func TestAChangeThatIsNotToldOfIsMissed(t *testing.T) {
	follow(t, 20, func(f *followed) {
		f.feed.drop = func(name string) bool { return name == "a" }
		f.change("a", func() { touch(t, f.root.Dir, "a") })
		f.change("b", func() { touch(t, f.root.Dir, "b") })
		f.expect("a change that nobody tells of", 0, "-a", "b")
	})
}

func TestManyFollowedChangesAreFoldedIntoTheSnapshot(t *testing.T) {
	follow(t, 20, func(f *followed) {
		before := f.cache.Bytes()
		for i := range 2000 {
			name := fmt.Sprintf("a%d", i)
			f.change(name, func() { touch(t, f.root.Dir, name) })
			if !f.get().Has(name) {
				t.Fatalf("%s is missing", name)
			}
		}
		if grown := f.cache.Bytes() - before; grown > 2000*40 {
			t.Errorf("2000 changes take %d bytes", grown)
		}
	})
}
