package raftlock

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneClockThatIsFastIsNotGoneBy has nodes whose clocks differ, and looks what they take to be over.
func TestOneClockThatIsFastIsNotGoneBy(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		ahead         []time.Duration // of a, b and so on
		first, latest []time.Duration // what they take it to be, if it must not be too early, and to be dated
	}{
		"all alike":                {[]time.Duration{0, 0, 0}, []time.Duration{0, 0, 0}, []time.Duration{0, 0, 0}},
		"one is a little fast":     {[]time.Duration{0, time.Second, 0}, []time.Duration{0, time.Second, 0}, []time.Duration{0, time.Second, 0}},
		"one is fast":              {[]time.Duration{0, day, 0}, []time.Duration{0, 0, 0}, []time.Duration{0, day, 0}},
		"the first is fast":        {[]time.Duration{day, 0, 0}, []time.Duration{0, 0, 0}, []time.Duration{day, 0, 0}},
		"one is slow":              {[]time.Duration{0, 0, -day}, []time.Duration{0, 0, -day}, []time.Duration{0, 0, 0}},
		"one of two is fast":       {[]time.Duration{0, day}, []time.Duration{0, 0}, []time.Duration{0, day}},
		"two of four are fast":     {[]time.Duration{day, day, 0, 0}, []time.Duration{0, 0, 0, 0}, []time.Duration{day, day, 0, 0}},
		"one is fast and one slow": {[]time.Duration{-day, 0, day}, []time.Duration{-day, 0, 0}, []time.Duration{0, 0, day}},
		"who is alone goes by his": {[]time.Duration{day}, []time.Duration{day}, []time.Duration{day}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.end()
				w.ahead = func(name string) time.Duration { return tt.ahead[name[0]-'a'] }
				for i := range tt.ahead {
					w.start(string(rune('a' + i)))
				}
				w.whole(t)
				time.Sleep(3 * time.Second) // all have been heard, and told
				for i := range tt.ahead {
					n := w.running[string(rune('a'+i))].node
					first, latest := time.Until(n.Earliest()), time.Until(n.Latest())
					if (first-tt.first[i]).Abs()+(latest-tt.latest[i]).Abs() > 500*time.Millisecond {
						t.Errorf("%c takes it to be between %v and %v later", 'a'+i, first, latest)
					}
				}
			})
		})
	}
}

// TestWhoIsLeftGoesOnByTheTimeOfTheOthers has one whose clock is fast outlive the others, and then be set.
func TestWhoIsLeftGoesOnByTheTimeOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		var ahead atomic.Int64
		ahead.Store(int64(24 * time.Hour))
		w.ahead = func(name string) time.Duration {
			if name == "b" {
				return time.Duration(ahead.Load())
			}
			return 0
		}
		for _, name := range []string{"a", "b", "c"} {
			w.start(name)
		}
		w.whole(t)
		time.Sleep(3 * time.Second)
		left := w.running["b"]
		w.crash(w.running["a"])
		w.crash(w.running["c"])
		time.Sleep(time.Hour)
		if got := time.Until(left.node.Earliest()); got.Abs() > time.Second {
			t.Errorf("left alone it takes it to be %v later", got)
		}
		ahead.Store(0)
		if got := time.Until(left.node.Earliest()); got.Abs() > time.Second {
			t.Errorf("set right it takes it to be %v later", got)
		}
	})
}

// TestASessionKnowsTheTimeOfTheFleetFromItsBeginning, so that nothing is done too early in its first second.
func TestASessionKnowsTheTimeOfTheFleetFromItsBeginning(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.ahead = func(string) time.Duration { return 24 * time.Hour }
		p := w.start("c")
		if _, err := p.node.AwaitSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Until(p.node.Earliest()); got.Abs() > time.Second {
			t.Errorf("it takes it to be %v later", got)
		}
	})
}
