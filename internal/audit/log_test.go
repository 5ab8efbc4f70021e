package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/events"
)

// taker is a target in memory.
type taker struct {
	mu     sync.Mutex
	keys   []string
	fails  int           // how often it does, before it takes anything
	gate   chan struct{} // if not nil: for each record one has to come out
	hates  string        // key that it refuses
	closed bool
}

func (k *taker) SendDocument(ctx context.Context, key string, document []byte) error {
	if k.gate != nil {
		select {
		case <-k.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails > 0 {
		k.fails--
		return errors.New("away")
	}
	if key == k.hates {
		return fmt.Errorf("no: %w", events.ErrRefused)
	}
	if !strings.Contains(string(document), `"version":"1"`) {
		return fmt.Errorf("got %s: %w", document, events.ErrRefused)
	}
	k.keys = append(k.keys, key)
	return nil
}

func (k *taker) Close() error {
	k.closed = true
	return nil
}

func add(t *testing.T, l *audit.Log, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := l.Add(&audit.Record{Version: audit.FormatVersion, API: audit.API{Bucket: "b", Object: key}}); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, k *taker, room int) *audit.Log {
	return audit.New(t.Context(), []audit.Target{{Name: "webhook:a", Sender: k, Room: room}}, slog.New(slog.DiscardHandler))
}

func TestRecordsComeInOrderAlsoToATargetThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{fails: 20}
		l := open(t, k, 10)
		add(t, l, "1", "2", "3")
		time.Sleep(time.Hour) // of the bubble
		if err := l.Close(); err != nil || !k.closed {
			t.Error(err, k.closed)
		}
		if want := []string{"b/1", "b/2", "b/3"}; !slices.Equal(k.keys, want) {
			t.Errorf("%q", k.keys)
		}
		if m := l.Measures()[0]; m.Sent != 3 || m.Failed != 20 || m.Lost != 0 {
			t.Errorf("%+v", m)
		}
	})
}

func TestTargetsJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &taker{}, &taker{}
		l := audit.New(t.Context(), nil, slog.New(slog.DiscardHandler))
		if l.Enabled() {
			t.Error("a log without targets is enabled")
		}
		add(t, l, "0")
		for _, k := range []*taker{first, second} {
			if err := l.Join(audit.Target{Name: "webhook:a", Sender: k, Room: 10}); err != nil || !l.Enabled() {
				t.Error(err)
			}
			add(t, l, "1", "2")
			l.Leave("webhook:a")
			l.Leave("webhook:a") // which is not there
			add(t, l, "3")
		}
		synctest.Wait()
		for i, k := range []*taker{first, second} {
			if want := []string{"b/1", "b/2"}; !slices.Equal(k.keys, want) || !k.closed {
				t.Errorf("%d: %q, closed: %v", i, k.keys, k.closed)
			}
		}
		if err := l.Close(); err != nil || l.Enabled() || len(l.Measures()) != 0 {
			t.Error(err)
		}
		late := &taker{}
		if err := l.Join(audit.Target{Name: "webhook:a", Sender: late, Room: 10}); err != nil || !late.closed {
			t.Errorf("joined a closed log: %v", err)
		}
	})
}

func TestATargetThatIsAwayIsNotWaitedForWhenItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{fails: 1000000}
		l := open(t, k, 10)
		add(t, l, "1", "2")
		start := time.Now()
		l.Leave("webhook:a")
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %v", d)
		}
		if err := l.Close(); err != nil || !k.closed {
			t.Error(err, k.closed)
		}
	})
}

func TestWhatThereIsNoRoomForIsCountedAndRequestsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{gate: make(chan struct{})}
		l := open(t, k, 2)
		add(t, l, "1")
		synctest.Wait() // that one is being sent
		add(t, l, "2", "3", "4", "5")
		if m := l.Measures()[0]; m.Lost != 2 || m.Waiting != 2 || m.Room != 2 {
			t.Errorf("%+v", m)
		}
		close(k.gate)
		if err := l.Close(); err != nil || len(k.keys) != 3 {
			t.Errorf("%q, %v", k.keys, err)
		}
	})
}

func TestARecordThatIsRefusedDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{hates: "b/1"}
		l := open(t, k, 10)
		add(t, l, "1", "2")
		if err := l.Close(); err != nil || !slices.Equal(k.keys, []string{"b/2"}) {
			t.Errorf("%q, %v", k.keys, err)
		}
		if m := l.Measures()[0]; m.Lost != 1 || m.Sent != 1 {
			t.Errorf("%+v", m)
		}
	})
}

func TestACloseDoesNotWaitForATargetThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &taker{gate: make(chan struct{})}
		l := open(t, k, 10)
		add(t, l, "1", "2")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		add(t, l, "3")
		if m := l.Measures()[0]; m.Lost != 3 {
			t.Errorf("%+v", m)
		}
	})
}
