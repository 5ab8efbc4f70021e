package limits_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/limits"
)

// world has a clock that only the test moves.
type world struct {
	*limits.Limiter
	now      time.Time
	gateways int
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), gateways: 1}
	w.Limiter = limits.New(func() time.Time { return w.now }, func() int { return w.gateways })
	return w
}

func ann(r limits.Rates) []limits.Subject { return []limits.Subject{{Name: "user/ann", Rates: r}} }

// admitted returns how many of so many requests are admitted, spread over a time.
func (w *world) admitted(n int, over time.Duration, subjects []limits.Subject) (admitted int) {
	for range n {
		if w.Admit(subjects) == 0 {
			admitted++
		}
		w.now = w.now.Add(over / time.Duration(n))
	}
	return admitted
}

func TestNoMoreRequestsAreAdmittedThanTheRateAllows(t *testing.T) {
	w := newWorld()
	who := ann(limits.Rates{Requests: 50})
	if got := w.admitted(100, 0, who); got != 50 {
		t.Errorf("at once: %d, want 50", got)
	}
	w.now = w.now.Add(time.Hour)
	// What was saved for a second, and what comes in in ten.
	if got := w.admitted(10_000, 10*time.Second, who); got < 50+499 || got > 50+500 {
		t.Errorf("in ten seconds: %d, want 550", got)
	}
}

func TestWhoComesAgainWhenHeWasToldIsAdmitted(t *testing.T) {
	w := newWorld()
	for _, rate := range []int64{1, 3, 7, 1000} {
		who := []limits.Subject{{Name: "user/" + string(rune('a'+rate%26)), Rates: limits.Rates{Requests: rate}}}
		for range 3 * rate {
			if wait := w.Admit(who); wait > 0 {
				w.now = w.now.Add(wait)
				if again := w.Admit(who); again != 0 {
					t.Fatalf("%d a second: after %v still %v", rate, wait, again)
				}
			}
		}
	}
}

func TestARefusedRequestIsNotCounted(t *testing.T) {
	w := newWorld()
	user, bucket := limits.Subject{Name: "user/ann", Rates: limits.Rates{Requests: 10}}, limits.Subject{Name: "bucket/b", Rates: limits.Rates{Requests: 5}}
	if got := w.admitted(100, 0, []limits.Subject{user, bucket}); got != 5 {
		t.Errorf("of both: %d, want 5", got)
	}
	if got := w.admitted(100, 0, []limits.Subject{user}); got != 5 {
		t.Errorf("then of the user alone: %d, want 5", got)
	}
}

func TestEachGatewayAdmitsItsShareAndAtLeastSomething(t *testing.T) {
	for _, tt := range []struct {
		rate     int64
		gateways int
		want     int // in a minute, beside what was saved
	}{{60, 3, 20 * 60}, {1, 4, 15}, {60, 0, 60 * 60}} {
		w := newWorld()
		w.gateways = tt.gateways
		saved := w.admitted(1000, 0, ann(limits.Rates{Requests: tt.rate}))
		if got := w.admitted(100_000, time.Minute, ann(limits.Rates{Requests: tt.rate})); saved == 0 || got < tt.want-1 || got > tt.want {
			t.Errorf("%d a second at one of %d gateways: %d at once, %d in a minute, want %d", tt.rate, tt.gateways, saved, got, tt.want)
		}
	}
}

func TestTheShareFollowsTheNumberOfGateways(t *testing.T) {
	w := newWorld()
	who := ann(limits.Rates{Requests: 40})
	w.admitted(100, 0, who)
	for gateways, want := range map[int]int{2: 20, 4: 10, 1: 40} {
		w.gateways = gateways
		w.now = w.now.Add(10 * time.Second)
		w.admitted(100, 0, who)
		if got := w.admitted(1000, time.Second, who); got < want-1 || got > want {
			t.Errorf("at one of %d: %d in a second, want %d", gateways, got, want)
		}
	}
}

// move moves so many bytes in pieces, waits as it is told, and returns how long it took.
func (w *world) move(d limits.Direction, n int64, subjects []limits.Subject) time.Duration {
	began := w.now
	for n > 0 {
		piece := w.Piece(d, subjects)
		if piece == 0 {
			return 0
		}
		piece = min(piece, n)
		w.now = w.now.Add(w.Move(d, piece, subjects))
		n -= piece
	}
	return w.now.Sub(began)
}

func TestBytesMoveAtTheRate(t *testing.T) {
	const mib = 1 << 20
	rates := limits.Rates{Up: mib, Down: 4 * mib}
	for d, want := range map[limits.Direction]time.Duration{limits.Up: 63 * time.Second, limits.Down: 15 * time.Second} {
		w := newWorld()
		// The bytes of a second were saved.
		if got := w.move(d, 64*mib, ann(rates)); got < want-time.Millisecond || got > want+time.Millisecond {
			t.Errorf("64 MiB took %v, want %v", got, want)
		}
	}
	if got := newWorld().move(limits.Up, mib, ann(limits.Rates{Down: 1024})); got != 0 {
		t.Errorf("in a direction without a rate: %v", got)
	}
}

func TestOfSeveralRatesTheLeastCounts(t *testing.T) {
	w := newWorld()
	both := []limits.Subject{{Name: "user/ann", Rates: limits.Rates{Up: 1 << 20}}, {Name: "bucket/b", Rates: limits.Rates{Up: 64 << 10}}}
	want := 15 * time.Second
	if got := w.move(limits.Up, 1<<20, both); got < want-time.Millisecond || got > want+time.Millisecond {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestManyWhoShareARateAreTogetherWithinIt has them take turns with pieces.
func TestManyWhoShareARateAreTogetherWithinIt(t *testing.T) {
	w := newWorld()
	who := ann(limits.Rates{Down: 1 << 20})
	const pieces = 100
	last := time.Duration(0)
	for range pieces {
		last = w.Move(limits.Down, w.Piece(limits.Down, who), who)
	}
	if want := pieces/4*time.Second - time.Second; last < want-time.Millisecond || last > want+time.Millisecond {
		t.Errorf("the last one has to wait %v, want %v", last, want)
	}
}

func TestRatesAreReadAsTheyAreWritten(t *testing.T) {
	for _, want := range []limits.Rates{{}, {Requests: 5}, {Up: 1024}, {Requests: 1, Up: 2048, Down: 1 << 40}} {
		if got, err := limits.Parse(want.String()); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

func TestImpossibleRatesAreRefused(t *testing.T) {
	for _, text := range []string{"x", "[]", `{"requests":-1}`, `{"up":1023}`, `{"down":1}`, `{"downn":4096}`, `{"requests":1.5}`} {
		if got, err := limits.Parse(text); !errors.Is(err, limits.ErrInvalid) || !got.IsZero() {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"requests":1,"up":2048,"down":4096}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := limits.Parse(text)
		if err != nil {
			return
		}
		if again, err := limits.Parse(r.String()); err != nil || again != r {
			t.Errorf("%+v is read again as %+v, %v", r, again, err)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	l := limits.New(time.Now, func() int { return 3 })
	who := []limits.Subject{{Name: "user/ann", Rates: limits.Rates{Requests: 1 << 40}}, {Name: "bucket/b", Rates: limits.Rates{Requests: 1 << 40}}}
	b.ReportAllocs()
	for b.Loop() {
		l.Admit(who)
	}
}
