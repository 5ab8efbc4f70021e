package watch_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/watch"
)

// world is a tree that is watched below "bucket", and what was seen of it.
type world struct {
	t       *testing.T
	root    string
	watcher *watch.Watcher
	log     *strings.Builder

	mu    sync.Mutex
	seen  map[string]bool // with a slash behind directories
	woken chan struct{}   // has room for one
}

func newWorld(t *testing.T, limit int, dirs ...string) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), seen: make(map[string]bool), woken: make(chan struct{}, 1), log: &strings.Builder{}}
	for _, dir := range append(dirs, "bucket") {
		must(t, os.MkdirAll(w.path(dir), 0o700))
	}
	var err error
	w.watcher, err = watch.New(watch.Config{Root: w.root, Limit: limit, Saw: w.saw, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	must(t, err)
	t.Cleanup(func() { must(t, w.watcher.Close()) })
	must(t, w.watcher.Add("bucket"))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.root, filepath.FromSlash(name)) }

func (w *world) saw(c watch.Change) {
	w.mu.Lock()
	if c.Dir {
		c.Path += "/"
	}
	w.seen[c.Path] = true
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// sees waits until something was seen.
func (w *world) sees(want string) {
	w.t.Helper()
	timeout := time.After(time.Minute)
	for {
		w.mu.Lock()
		ok := w.seen[want]
		delete(w.seen, want)
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.woken:
		case <-timeout:
			w.t.Fatalf("%s was not seen, but %v", want, w.seen)
		}
	}
}

// all waits until all that has happened was seen, and returns it, sorted.
func (w *world) all() string {
	w.t.Helper()
	w.write("bucket/last")
	w.sees("bucket/last")
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name := range w.seen {
		all = append(all, name)
	}
	slices.Sort(all)
	clear(w.seen)
	return strings.Join(all, " ")
}

func (w *world) write(name string) {
	w.t.Helper()
	must(w.t, os.WriteFile(w.path(name), []byte("x"), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatHappensToFilesIsSeenHoweverDeepTheyAre(t *testing.T) {
	w := newWorld(t, 100, "bucket/a/b")
	w.write("bucket/a/b/new")
	w.sees("bucket/a/b/new")
	w.write("bucket/a/b/new") // anew
	w.sees("bucket/a/b/new")
	must(t, os.Rename(w.path("bucket/a/b/new"), w.path("bucket/a/moved")))
	w.sees("bucket/a/b/new")
	w.sees("bucket/a/moved")
	must(t, os.Remove(w.path("bucket/a/moved")))
	w.sees("bucket/a/moved")
}

func TestOtherDirectoriesAreNotWatched(t *testing.T) {
	w := newWorld(t, 100, "other")
	must(t, os.Symlink(w.path("other"), w.path("bucket/link")))
	w.write("other/file")
	if got := w.all(); got != "bucket/link" {
		t.Errorf("saw %q", got)
	}
}

func TestADirectoryThatIsMadeIsWatchedWithAllThatIsInItAlready(t *testing.T) {
	w := newWorld(t, 100)
	must(t, os.MkdirAll(w.path("made/deep"), 0o700))
	w.write("made/deep/before")
	must(t, os.Rename(w.path("made"), w.path("bucket/made")))
	w.sees("bucket/made/")
	w.write("bucket/made/deep/after")
	w.sees("bucket/made/deep/after")
}

func TestADirectoryThatIsMovedIsWatchedWhereItIs(t *testing.T) {
	w := newWorld(t, 100, "bucket/old/deep")
	for round := range 20 {
		from, to := fmt.Sprint("bucket/old", round), fmt.Sprint("bucket/old", round+1)
		if round == 0 {
			from = "bucket/old"
		}
		must(t, os.Rename(w.path(from), w.path(to)))
		w.sees(from + "/")
		w.sees(to + "/")
		for _, leaf := range []string{"/file", "/deep/file"} {
			w.write(to + leaf)
			w.sees(to + leaf)
		}
	}
	for _, dir := range []string{"bucket/old", "bucket/old/deep"} { // another one in its place
		must(t, os.Mkdir(w.path(dir), 0o700))
		w.sees(dir + "/")
	}
	w.write("bucket/old/deep/file")
	w.sees("bucket/old/deep/file")
}

func TestADirectoryThatIsMovedAwayIsWatchedNoMore(t *testing.T) {
	w := newWorld(t, 100, "bucket/old/deep")
	must(t, os.Rename(w.path("bucket/old"), w.path("away")))
	w.sees("bucket/old/")
	w.write("away/deep/file")
	if got := w.all(); strings.Contains(got, "file") {
		t.Errorf("saw %q", got)
	}
}

func TestMoreDirectoriesThanTheLimitAreToldOnceAndLeftOut(t *testing.T) {
	w := newWorld(t, 2, "bucket/a")
	for _, dir := range []string{"bucket/b", "bucket/c", "bucket/a/d"} {
		must(t, os.Mkdir(w.path(dir), 0o700))
		w.sees(dir + "/") // and what is in it by then
	}
	w.write("bucket/b/file")
	w.write("bucket/a/file")
	w.sees("bucket/a/file")
	if got := w.all(); got != "" && got != "bucket/a/file" { // it may be seen once more when it is closed
		t.Errorf("saw %q", got)
	}
	if n := strings.Count(w.log.String(), "not all directories can be watched"); n != 1 {
		t.Errorf("that was told %d times: %s", n, w.log)
	}
}

func TestThereIsRoomAgainWhenADirectoryIsGone(t *testing.T) {
	w := newWorld(t, 2, "bucket/a")
	must(t, os.Remove(w.path("bucket/a")))
	w.sees("bucket/a/")
	must(t, os.Mkdir(w.path("bucket/b"), 0o700))
	w.sees("bucket/b/")
	w.write("bucket/b/file")
	w.sees("bucket/b/file")
}

func TestADirectoryThatIsTakenOutIsWatchedNoMore(t *testing.T) {
	w := newWorld(t, 100, "other/deep")
	must(t, w.watcher.Add("other"))
	w.watcher.Remove("other")
	w.write("other/deep/file")
	if got := w.all(); got != "" {
		t.Errorf("saw %q", got)
	}
}
