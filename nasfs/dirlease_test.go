package nasfs_test

import (
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

// TestWhoPutsSomethingIntoADirectoryThatIsMadeWaitsUntilAllSeeIt: another gateway may go on
// not knowing of the directory until the one that makes it has made that known.
func TestWhoPutsSomethingIntoADirectoryThatIsMadeWaitsUntilAllSeeIt(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, 2, func() nasfs.Config {
		root, err := vfs.OpenShared(dir, vfs.Sharing{ByTime: func() bool { return true }})
		must(t, err)
		t.Cleanup(func() { _ = root.Close() }) // it has nothing to lose
		return config(t, root)
	})
	must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
	put := func(g *nasfs.Fleet, key string) {
		in := object.PutInput{Body: objecttest.NewBody([]byte("content"), object.CRC32)}
		if _, err := g.Put(t.Context(), object.Ref{Bucket: "bucket", Key: key}, in); err != nil {
			t.Errorf("put %s: %v", key, err)
		}
	}
	waits, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.table.asked = func(l *fakeLease, name string) {
		if l.mode == lock.Shared && strings.HasSuffix(name, "bucket/dir") {
			once.Do(func() { close(waits) })
		}
	}
	var told atomic.Bool
	defer w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op != vfs.OpSyncDir || c.Path != "bucket" || told.Load() {
			return nil
		}
		go func() {
			defer close(done)
			put(w.gateways[1], "dir/second")
			if !told.Load() {
				t.Error("it was answered before all see the directory that it is in")
			}
		}()
		select {
		case <-waits:
		case <-done:
		}
		told.Store(true)
		return nil
	})()
	put(w.gateways[0], "dir/first")
	<-done
}
