package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/foreign"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/watch"
)

// maxWatched is how many directories are watched for what others do in them. Each takes
// the kernel a KiB.
const maxWatched = 1 << 14

// tree is a Store's own view of the tree that its objects are files of.
type tree interface {
	LocalDisk() bool
	Seen(path string, dir bool) (bucket, name string, ok bool)
	Touched(ctx context.Context, bucket, since string) (touched []string, next string, known bool)
}

// treeOf returns the tree of a Store, nil if there is none.
func treeOf(store object.Store) tree {
	if routed, ok := store.(*routedStore); ok {
		return routed.own
	}
	t, _ := store.(tree)
	return t
}

// startForeign tells of files that others make, change and remove, in one gateway of those of
// a fleet, until the returned function is called.
func (f *serverFlags) startForeign(ctx context.Context, store object.Store, b *backend, told *events.Service, log *slog.Logger) (stop func()) {
	own := treeOf(b.store)
	if f.foreignInterval == 0 || own == nil {
		return func() {}
	}
	w := &foreign.Worker{
		Store: store, Journal: b.journal, Locker: b.locker, Tell: told.Notify, Touched: own.Touched, Log: log, Now: time.Now,
		Every: f.foreignInterval, Region: f.region,
	}
	if own.LocalDisk() {
		w.Watch = watched(b.what, own, log)
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.Run(ctx)
	}()
	return func() {
		cancel()
		<-over
	}
}

// watched returns what begins to watch a tree.
func watched(path string, own tree, log *slog.Logger) func(saw func(bucket, name string)) (foreign.Watch, error) {
	return func(saw func(bucket, name string)) (foreign.Watch, error) {
		return watch.New(watch.Config{Root: path, Limit: maxWatched, Log: log, Saw: func(c watch.Change) {
			if c.Path == "" {
				saw("", "")
			} else if bucket, name, ok := own.Seen(c.Path, c.Dir); ok {
				saw(bucket, name)
			}
		}})
	}
}
