package erasure

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestWhoAsksGetsWhatWasReadAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sharedReads{next: make(map[string]*sharedRead)}
		begun, end := 0, make(chan struct{})
		read := func(context.Context, string) (*bucket, error) {
			begun++
			b := &bucket{ID: uint64(begun)} //nolint:gosec // a handful
			<-end
			return b, nil
		}
		var asking sync.WaitGroup
		ask := func(n int, want uint64) {
			for range n {
				asking.Go(func() {
					if b, err := r.get(t.Context(), "b", read); err != nil || b.ID != want {
						t.Errorf("the read %v, %v, and should be %d", b, err, want)
					}
				})
			}
			synctest.Wait()
		}
		ask(1, 1)
		ask(3, 2) // the first has begun before they asked
		end <- struct{}{}
		synctest.Wait()
		ask(2, 3)
		close(end)
		asking.Wait()
		synctest.Wait()
		if begun != 3 || len(r.next) != 0 {
			t.Errorf("%d reads were made, and %d are remembered", begun, len(r.next))
		}
	})
}

func TestWhoLeavesASharedReadDoesNotEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sharedReads{next: make(map[string]*sharedRead)}
		end := make(chan struct{})
		read := func(ctx context.Context, _ string) (*bucket, error) {
			<-end
			return &bucket{}, ctx.Err()
		}
		gone := errors.New("gone")
		ctx, leave := context.WithCancelCause(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := r.get(ctx, "b", read); !errors.Is(err, gone) {
				t.Errorf("who has left gets %v", err)
			}
		})
		synctest.Wait()
		asking.Go(func() {
			if _, err := r.get(t.Context(), "b", read); err != nil {
				t.Errorf("who waits gets %v", err)
			}
		})
		synctest.Wait()
		leave(gone)
		synctest.Wait()
		close(end)
		asking.Wait()
	})
}
