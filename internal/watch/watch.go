// Package watch tells of what changes in directories and all that are below them, as far as
// the kernel of this machine sees it.
package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Change says where something may have changed.
type Change struct {
	Path string // below the root; "" with Dir: anywhere
	Dir  bool   // anything below Path may have changed
}

// Config is what New needs.
type Config struct {
	Root  string // all directories are below it
	Limit int    // of directories that are watched
	// Saw is told of changes, by several goroutines.
	Saw func(c Change)
	Log *slog.Logger
}

// Watcher watches trees of directories below a root. What the limit leaves no room for is not
// watched. Its methods may be called concurrently.
type Watcher struct {
	cfg    Config
	kernel *fsnotify.Watcher
	done   chan struct{}

	mu      sync.Mutex
	watched map[string]struct{} // directories, relative to the root
	full    bool                // that was told
}

// New returns a Watcher that watches nothing yet. Close it when it is used no more.
func New(cfg Config) (*Watcher, error) {
	kernel, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", cfg.Root, err)
	}
	w := &Watcher{cfg: cfg, kernel: kernel, done: make(chan struct{}), watched: make(map[string]struct{})}
	go w.run()
	return w, nil
}

// Close ends the watching. Saw is not called any more when it returns.
func (w *Watcher) Close() error {
	err := w.kernel.Close()
	<-w.done
	if err != nil {
		return fmt.Errorf("end watching %s: %w", w.cfg.Root, err)
	}
	return nil
}

// Add watches a directory below the root, and all that are below it.
func (w *Watcher) Add(dir string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.add(dir)
}

// add watches a directory before it looks for others in it: one that is made meanwhile is
// told of by the kernel, found, or both. The caller holds the mutex.
func (w *Watcher) add(dir string) error {
	if _, ok := w.watched[dir]; ok {
		return nil
	}
	if len(w.watched) >= w.cfg.Limit {
		w.tellFull(nil)
		return nil
	}
	path := filepath.Join(w.cfg.Root, dir)
	switch err := w.kernel.Add(path); {
	case isExhausted(err):
		w.tellFull(err)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	w.watched[dir] = struct{}{}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, w.add(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// isExhausted reports whether the kernel has no room for another watch
// (fs.inotify.max_user_watches).
func isExhausted(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOMEM)
}

// tellFull tells once that there are more directories than can be watched.
func (w *Watcher) tellFull(cause error) {
	if w.full {
		return
	}
	w.full = true
	w.cfg.Log.Warn("not all directories can be watched for what others do; in the rest it is found by looking from time to time",
		"watched", len(w.watched), "limit", w.cfg.Limit, "error", cause)
}

// Remove ends the watching of a directory, and of all that are below it.
func (w *Watcher) Remove(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(dir)
}

// remove also forgets the paths that directories had which were moved. The caller holds the
// mutex.
func (w *Watcher) remove(dir string) {
	for other := range w.watched {
		if other == dir || strings.HasPrefix(other, dir+"/") {
			delete(w.watched, other)
			_ = w.kernel.Remove(filepath.Join(w.cfg.Root, other)) // the kernel may have done so
		}
	}
}

func (w *Watcher) run() {
	defer close(w.done)
	var group sync.WaitGroup
	group.Go(w.complaints)
	for e := range w.kernel.Events {
		w.take(e)
	}
	group.Wait()
}

// complaints are taken by a goroutine of their own: the kernel's watcher may hold what Add and
// Remove wait for until one is.
func (w *Watcher) complaints() {
	for err := range w.kernel.Errors {
		if !errors.Is(err, fsnotify.ErrEventOverflow) {
			w.cfg.Log.Warn("what others do cannot be watched well", "error", err)
		}
		w.cfg.Saw(Change{Dir: true})
	}
}

// take is told by the kernel of one name in a directory. That a directory is moved away is
// told before where it has come to, and its watches, which go with it, have to be gone by then.
func (w *Watcher) take(e fsnotify.Event) {
	path, err := filepath.Rel(w.cfg.Root, e.Name)
	if err != nil || e.Op == fsnotify.Chmod || path == "." {
		return
	}
	c := Change{Path: path}
	w.mu.Lock()
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		if _, c.Dir = w.watched[path]; c.Dir {
			w.remove(path)
		}
	}
	if info, err := os.Lstat(e.Name); e.Has(fsnotify.Create) && err == nil && info.IsDir() {
		c.Dir = true
		if err := w.add(path); err != nil {
			w.cfg.Log.Warn("a new directory cannot be watched", "path", path, "error", err)
		}
	}
	w.mu.Unlock()
	w.cfg.Saw(c)
}
