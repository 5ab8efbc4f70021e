package throttle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/throttle"
)

// clock is a time that only the test moves.
type clock struct{ now time.Time }

func newThrottle() (*throttle.Throttle, *clock) {
	c := &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	return throttle.New(func() time.Time { return c.now }), c
}

// fail has a failure come so many times, and returns how long the last one waits.
func fail(t *throttle.Throttle, f throttle.Failure, times int) (wait time.Duration) {
	for range times {
		wait, _ = t.Fail(f)
	}
	return wait
}

var anns = throttle.Failure{Name: "ann", Known: true, Address: "192.0.2.1"}

func TestTheFirstFailuresDoNotWait(t *testing.T) {
	th, _ := newThrottle()
	if got := fail(th, anns, 10); got != 0 {
		t.Errorf("the tenth waits %v", got)
	}
}

func TestLaterFailuresWaitLongerButSomeSecondsAtMost(t *testing.T) {
	th, _ := newThrottle()
	fail(th, anns, 10)
	last := time.Duration(0)
	for range 1000 {
		got := fail(th, anns, 1)
		if got < last || got <= 0 || got > throttle.Longest {
			t.Fatalf("%v after %v", got, last)
		}
		last = got
	}
	if last != throttle.Longest {
		t.Errorf("after a thousand failures: %v", last)
	}
}

func TestFailuresAreForgivenWithTime(t *testing.T) {
	th, c := newThrottle()
	fail(th, anns, 1000)
	c.now = c.now.Add(15 * time.Minute)
	if got := fail(th, anns, 1); got != 0 {
		t.Errorf("a quarter of an hour later: %v", got)
	}
}

func TestOthersAtTheAddressDoNotWait(t *testing.T) {
	th, _ := newThrottle()
	fail(th, anns, 30)
	fail(th, throttle.Failure{Address: anns.Address}, 30)
	if got := fail(th, throttle.Failure{Name: "bob", Known: true, Address: anns.Address}, 10); got != 0 {
		t.Errorf("another name: %v", got)
	}
	if got := fail(th, throttle.Failure{Name: anns.Name, Known: true, Address: "192.0.2.2"}, 10); got != 0 {
		t.Errorf("the name elsewhere: %v", got)
	}
}

func TestWhoTriesNamesThatAreNobodysWaitsWhateverTheyAre(t *testing.T) {
	th, _ := newThrottle()
	last := time.Duration(0)
	for i := range 20 {
		last = fail(th, throttle.Failure{Name: fmt.Sprint("ldap=", i), Address: "192.0.2.1"}, 1)
	}
	if last == 0 {
		t.Error("twenty names from one address do not wait")
	}
}

func TestANameThatIsTriedFromEverywhereWaits(t *testing.T) {
	th, _ := newThrottle()
	last := time.Duration(0)
	for i := range 100 {
		last = fail(th, throttle.Failure{Name: "ann", Known: true, Address: fmt.Sprint("192.0.2.", i)}, 1)
	}
	if last == 0 {
		t.Error("a hundred addresses do not wait")
	}
}

func TestTheAddressesOfOneNetworkOfIPv6AreOne(t *testing.T) {
	th, _ := newThrottle()
	last := time.Duration(0)
	for i := range 20 {
		last = fail(th, throttle.Failure{Address: fmt.Sprintf("2001:db8::%x", i)}, 1)
	}
	if last == 0 {
		t.Error("twenty addresses of a network do not wait")
	}
	if got := fail(th, throttle.Failure{Address: "2001:db8:0:1::1"}, 1); got != 0 {
		t.Errorf("another network: %v", got)
	}
}

func TestEachOriginIsReportedOnceAMinute(t *testing.T) {
	th, c := newThrottle()
	var reports []int
	for range 4 {
		for range 30 { // in 90 seconds
			if _, n := th.Fail(anns); n > 0 {
				reports = append(reports, n)
			}
			c.now = c.now.Add(3 * time.Second)
		}
	}
	if got := fmt.Sprint(reports); got != "[1 20 20 20 20 20]" {
		t.Errorf("in six minutes: %v", got)
	}
	if _, n := th.Fail(throttle.Failure{Address: anns.Address}); n != 1 {
		t.Errorf("another origin: %d", n)
	}
}

func BenchmarkFail(b *testing.B) {
	th := throttle.New(time.Now)
	b.ReportAllocs()
	for b.Loop() {
		th.Fail(anns)
	}
}
