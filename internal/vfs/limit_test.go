package vfs_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

func TestCallReturnsWhatTheFunctionReturns(t *testing.T) {
	l := vfs.NewLimit(2)
	fail := errors.New("no")
	for _, want := range []error{nil, fail} {
		got, err := vfs.Call(t.Context(), l, func() (int, error) { return 7, want }, nil)
		if got != 7 || !errors.Is(err, want) {
			t.Errorf("%d, %v", got, err)
		}
	}
	if l.InUse() != 0 {
		t.Errorf("%d slots in use after the calls", l.InUse())
	}
}

func TestCallReturnsErrHungAtTheDeadlineAndKeepsTheSlotUntilTheCallReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := vfs.NewLimit(1)
		release, dropped := make(chan struct{}), make(chan int, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := vfs.Call(ctx, l, func() (int, error) {
			<-release
			return 42, nil
		}, func(v int) { dropped <- v })
		if !errors.Is(err, vfs.ErrHung) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("returned after %v", took)
		}
		time.Sleep(time.Minute)
		if l.InUse() != 1 || l.Stuck(time.Minute) != 1 || l.Stuck(2*time.Minute) != 0 {
			t.Errorf("in use %d, stuck for a minute %d, for two %d", l.InUse(), l.Stuck(time.Minute), l.Stuck(2*time.Minute))
		}
		close(release)
		synctest.Wait()
		if v := <-dropped; v != 42 {
			t.Errorf("dropped %d", v)
		}
		if l.InUse() != 0 || l.Stuck(0) != 0 {
			t.Errorf("in use %d, stuck %d after the call returned", l.InUse(), l.Stuck(0))
		}
	})
}

func TestALateErrorIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := vfs.NewLimit(1)
		release := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := vfs.Call(ctx, l, func() (int, error) {
			<-release
			return 0, errors.New("late")
		}, func(int) { t.Error("dropped the value of an error") }); !errors.Is(err, vfs.ErrHung) {
			t.Error(err)
		}
		close(release)
		synctest.Wait()
	})
}

func TestCallWithoutAFreeSlotNeverStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := vfs.NewLimit(1)
		release := make(chan struct{})
		go func() {
			if _, err := vfs.Call(t.Context(), l, func() (int, error) { <-release; return 0, nil }, nil); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := vfs.Call(ctx, l, func() (int, error) { t.Error("started"); return 0, nil }, nil); !errors.Is(err, vfs.ErrHung) {
			t.Errorf("got %v", err)
		}
		waited := make(chan error)
		go func() {
			_, err := vfs.Call(t.Context(), l, func() (int, error) { return 0, nil }, nil)
			waited <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-waited; err != nil {
			t.Errorf("a waiting call got %v when the slot came free", err)
		}
	})
}

func TestCallAfterTheEndOfItsContextNeverStarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := vfs.Call(ctx, vfs.NewLimit(1), func() (int, error) { t.Error("started"); return 0, nil }, nil)
	if !errors.Is(err, vfs.ErrHung) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAPanicOfTheFunctionIsThatOfCall(t *testing.T) {
	l := vfs.NewLimit(1)
	for _, tt := range []struct {
		name string
		fn   func()
	}{
		{"panic", func() { panic("bad") }},
		{"Goexit", runtime.Goexit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if l.InUse() != 0 {
					t.Error("the slot is lost")
				}
			}()
			_, _ = vfs.Call(t.Context(), l, func() (int, error) { tt.fn(); return 0, nil }, nil) // it does not return
		})
	}
}

// Every value is returned or dropped, exactly once, however calls and the ends
// of their contexts fall together.
func TestNoValueIsLostOrGivenTwice(t *testing.T) {
	l := vfs.NewLimit(3)
	var made, got, dropped atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				_, err := vfs.Call(ctx, l, func() (int, error) {
					runtime.Gosched()
					made.Add(1)
					return 1, nil
				}, func(int) { dropped.Add(1) })
				if err == nil {
					got.Add(1)
				} else if !errors.Is(err, vfs.ErrHung) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for l.InUse() > 0 {
		runtime.Gosched()
	}
	if made.Load() != got.Load()+dropped.Load() {
		t.Errorf("made %d, returned %d, dropped %d", made.Load(), got.Load(), dropped.Load())
	}
}

func BenchmarkCall(b *testing.B) {
	l := vfs.NewLimit(64)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := vfs.Call(ctx, l, func() (int, error) { return 1, nil }, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCallParallel(b *testing.B) {
	l := vfs.NewLimit(64)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := vfs.Call(ctx, l, func() (int, error) { return 1, nil }, nil); err != nil {
				b.Error(err)
			}
		}
	})
}
