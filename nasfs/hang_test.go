package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// hanging opens a Store, with few slots, over a file system that can be held up. closing
// is how long it waits for that when it is closed.
func hanging(t *testing.T, closing time.Duration) (*vfs.Fault, *scene) {
	t.Helper()
	fault := vfs.NewFault(osRoot(t))
	cfg := config(t, fault.Root())
	cfg.Detach, cfg.Durability, cfg.Metadata = nasfs.DetachAlways, nasfs.Relaxed, nasfs.Sidecar
	cfg.Slots, cfg.DataSlots = 8, 8
	cfg.ProbeInterval, cfg.ProbeTimeout, cfg.CloseTimeout = 5*time.Millisecond, 100*time.Millisecond, closing
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // for a test that fails
	sc, err := setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return fault, sc
}

// until waits for a condition that is only a matter of time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

// descriptors returns how many files the process has open, or 0 where that
// cannot be seen.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// TestRequestsLeaveAHungFileSystemAtTheirDeadlines hangs every call. It does
// not run beside others, since it counts what the process holds.
func TestRequestsLeaveAHungFileSystemAtTheirDeadlines(t *testing.T) {
	fault, sc := hanging(t, time.Minute)
	nasfs.Quiesce(sc.Store)
	goroutines, open := runtime.NumGoroutine(), descriptors()
	hang := fault.Hang(func(vfs.OpCall) bool { return true })
	var wg sync.WaitGroup
	for round := range 10 {
		for name, op := range operations() {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				err := op(ctx, sc)
				if err == nil || !errors.Is(err, object.Unavailable) && !errors.Is(err, object.Unknown) {
					t.Errorf("round %d, %s: %v", round, name, err)
				}
			})
		}
		wg.Wait() // which is the promise: nobody stays
	}
	// One goroutine for each slot, the prober, the reaper and what they call.
	if n := runtime.NumGoroutine() - goroutines; n > 8+8+8 {
		t.Errorf("%d goroutines more than before", n)
	}
	until(t, "unhealthy", func() bool { return errors.Is(sc.Healthy(), object.Unavailable) })
	hang.Release()
	until(t, "healthy again", func() bool { return sc.Healthy() == nil })
	until(t, "what was left has finished", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors() <= open
	})
	nasfs.Quiesce(sc.Store)
	if err := sc.put(t.Context(), "after", "after", nil); err != nil {
		t.Errorf("put afterwards: %v", err)
	}
	// The prober goes on making files that it removes.
	until(t, "nothing is left", func() bool { return len(leftovers(t, fault.Root())) == 0 })
	if err := sc.Close(); err != nil {
		t.Error(err)
	}
}

// TestNobodyOvertakesAHungCommit: the key stays locked while a rename that may
// still happen is under way.
func TestNobodyOvertakesAHungCommit(t *testing.T) {
	fault, sc := hanging(t, time.Minute)
	hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpRename && c.To == bucket+"/file" })
	defer hang.Release()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- sc.put(ctx, "file", "first", nil) }()
	<-hang.Reached()
	cancel()
	if err := <-first; !errors.Is(err, object.Unknown) {
		t.Errorf("the first: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := sc.put(short, "file", "second", nil); !errors.Is(err, object.Unavailable) {
		t.Errorf("the second: %v", err)
	}
	if err := sc.put(t.Context(), "other", "other", nil); err != nil {
		t.Errorf("another key: %v", err)
	}
	hang.Release()
	if err := sc.put(t.Context(), "file", "third", nil); err != nil {
		t.Errorf("the third: %v", err)
	}
	if got, err := content(t.Context(), sc.Store, ref("file")); got != "third" || err != nil {
		t.Errorf("the file has %q, %v", got, err)
	}
	if err := sc.Close(); err != nil {
		t.Error(err)
	}
}

// TestAPutThatIsLeftAndWouldGoOnLeavesNothing: it meets a file that has to make room, and nobody is there for whom to
// move that.
func TestAPutThatIsLeftAndWouldGoOnLeavesNothing(t *testing.T) {
	t.Parallel()
	fault, sc := hanging(t, time.Minute)
	hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpOpenDir && c.Path == bucket+"/file" })
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- sc.put(ctx, "file/below", "below", nil) }()
	<-hang.Reached()
	cancel()
	if err := <-left; !errors.Is(err, object.Unknown) {
		t.Errorf("put: %v", err)
	}
	hang.Release()
	until(t, "nothing is left", func() bool { return len(leftovers(t, fault.Root())) == 0 })
	must(t, sc.Close())
}

// TestACompleteThatIsLeftAnywhereGivesItsUploadBack: it is left once it has assembled the object, while it tells the
// others of the first alias, or while it moves the object.
func TestACompleteThatIsLeftAnywhereGivesItsUploadBack(t *testing.T) {
	t.Parallel()
	for _, at := range []string{".shoal.sys/aliases", bucket + "/file/below"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			m := vfs.NewMemory()
			w := newWorld(t, 2, func() nasfs.Config {
				cfg := config(t, m.Root())
				cfg.Detach = nasfs.DetachAlways
				return cfg
			})
			s := w.gateways[0]
			must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
			must(t, putIn(t.Context(), s, "file", "x", nil))
			up := createUpload(t, s, "file/below")
			part, err := s.PutPart(t.Context(), up.UploadRef, 1, body("part"))
			must(t, err)
			in := object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}}
			hang := w.faults[0].Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpRename && c.To == at })
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan error)
			go func() {
				_, err := s.CompleteUpload(ctx, up.UploadRef, in)
				left <- err
			}()
			<-hang.Reached()
			cancel()
			if err := <-left; !errors.Is(err, object.Unavailable) && !errors.Is(err, object.Unknown) {
				t.Errorf("the first: %v", err)
			}
			hang.Release()
			ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := w.gateways[1].CompleteUpload(ctx, up.UploadRef, in); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

// TestCloseLeavesAHungFileSystem hangs each operation in turn while Close runs.
func TestCloseLeavesAHungFileSystem(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpOpenDir, vfs.OpReadDir, vfs.OpRmdir, vfs.OpClose} {
		t.Run(op.String(), func(t *testing.T) {
			fault, sc := hanging(t, 50*time.Millisecond)
			hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == op })
			defer hang.Release()
			if err := sc.Close(); !errors.Is(err, object.Unavailable) {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestReadersOfAHungFileSystemAreBounded: what streams cannot be left, so only
// so many may stream.
func TestReadersOfAHungFileSystemAreBounded(t *testing.T) {
	fault, sc := hanging(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers []object.Handle
	for range 12 {
		h, err := sc.Open(ctx, ref("file"))
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, h)
	}
	hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpRead })
	results := make(chan error, len(readers))
	for _, h := range readers {
		go func() {
			_, err := h.Range(0, 8).Read(make([]byte, 8))
			results <- err
		}()
	}
	<-hang.Reached()
	cancel()
	for range len(readers) - 8 { // those without a place leave
		if err := <-results; !errors.Is(err, object.Unavailable) {
			t.Errorf("without a place: %v", err)
		}
	}
	hang.Release()
	for range 8 {
		if err := <-results; err != nil {
			t.Errorf("with a place: %v", err)
		}
	}
	for _, h := range readers {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := sc.Close(); err != nil {
		t.Error(fmt.Errorf("close: %w", err))
	}
}
