package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lock"
)

// shelf is what several gateways keep batches on.
type shelf struct {
	mu      sync.Mutex
	batches map[string][]byte
	over    map[string]bool // sessions
	fails   error
	kept    int
	fetched int
	spoilt  string        // part of the names of batches that cannot be read
	hold    chan struct{} // if not nil, Keep waits until it is closed
}

func newShelf() *shelf { return &shelf{batches: make(map[string][]byte), over: make(map[string]bool)} }

// part is one gateway's.
type part struct {
	*shelf
	session string
}

func (p part) Keep(_ context.Context, label string, content []byte) (string, error) {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		return "", p.fails
	}
	p.kept++
	name := fmt.Sprintf("%s/%06d.%s", p.session, p.kept, label)
	p.batches[name] = slices.Clone(content)
	return name, nil
}

func (p part) Left(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []string
	for _, name := range slices.Sorted(maps.Keys(p.batches)) {
		if session, _, _ := strings.Cut(name, "/"); p.over[session] {
			left = append(left, name)
		}
	}
	return left, nil
}

func (p part) Fetch(_ context.Context, name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched++
	if p.spoilt != "" && strings.Contains(name, p.spoilt) {
		return nil, errors.New("the sector is bad")
	}
	b, there := p.batches[name]
	if !there {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (p part) Drop(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.batches, name)
	return nil
}

func (s *shelf) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.batches)
}

// total returns how many batches were ever kept.
func (s *shelf) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// sink is a target.
type sink struct {
	mu     sync.Mutex
	answer func(m *events.Message) error // nil: it takes all
	got    []string                      // keys
	closed int
}

func (s *sink) Send(_ context.Context, m *events.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		if err := s.answer(m); err != nil {
			return err
		}
	}
	s.got = append(s.got, m.Key)
	return nil
}

func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func (s *sink) closings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// look runs f while nothing is being sent.
func (s *sink) look(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// answers has the target answer otherwise.
func (s *sink) answers(f func(m *events.Message) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *sink) has() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

var errDead = errors.New("nobody is there")

func dead(*events.Message) error { return errDead }

// world is gateways with one target.
type world struct {
	t      *testing.T
	shelf  *shelf
	sink   *sink
	locker *lock.Local
	rules  *events.Configuration
	limit  int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	rules, err := prepare(config(toA + "<Event>s3:ObjectCreated:*</Event>"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, shelf: newShelf(), sink: &sink{}, locker: lock.NewLocal(1), rules: rules}
	t.Cleanup(w.locker.Close)
	return w
}

// gateway starts one in a session.
func (w *world) gateway(session string) *events.Service {
	w.t.Helper()
	return events.New(w.t.Context(), events.Config{
		Targets: []events.Target{{Destination: events.Destination{Type: "webhook", ID: "A"}, Sender: w.sink, Limit: w.limit}},
		Journal: part{w.shelf, session}, Locker: w.locker, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
}

func (w *world) close(s *events.Service) {
	w.t.Helper()
	if err := s.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) put(s *events.Service, keys ...string) {
	w.t.Helper()
	if err := s.Notify(w.t.Context(), w.rules, puts(keys...)...); err != nil {
		w.t.Fatal(err)
	}
}

func puts(keys ...string) []events.Event {
	var all []events.Event
	for _, key := range keys {
		all = append(all, events.Event{Name: events.CreatedPut, Time: time.Now(), Bucket: "bucket", Key: key})
	}
	return all
}

// is wants certain keys to have come to the target, in any order.
func (w *world) is(what string, want ...string) {
	w.t.Helper()
	got := w.sink.has()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestEventsGetToTheTargetAndAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "a", "b")
		w.put(s, "c")
		synctest.Wait()
		w.is("the target has", "a", "b", "c")
		if n := w.shelf.length(); n != 0 {
			t.Errorf("%d batches are left", n)
		}
		w.sink.look(func() {
			if w.shelf.fetched != 0 {
				t.Errorf("%d batches were read back that are in memory", w.shelf.fetched)
			}
		})
		if m := s.Measures()[0]; m.Sent != 3 || m.Waiting != 0 {
			t.Errorf("measured %+v", m)
		}
	})
}

func TestATargetThatIsMissingIsSoughtBeforeItsEventsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, sought := newWorld(t), 0
		var s *events.Service
		s = events.New(t.Context(), events.Config{
			Journal: part{w.shelf, "one"}, Locker: w.locker, Log: slog.New(slog.DiscardHandler), Now: time.Now,
			Seek: func() {
				if sought++; sought == 2 {
					s.Join(events.Target{Destination: events.Destination{Type: "webhook", ID: "A"}, Sender: w.sink})
				}
			},
		})
		defer w.close(s)
		w.put(s, "a") // lost
		w.put(s, "b", "c")
		synctest.Wait()
		w.is("the target that has joined has", "b", "c")
		if len(s.ARNs()) != 1 || len(s.Measures()) != 1 || sought != 2 {
			t.Errorf("%q, sought %d times", s.ARNs(), sought)
		}
	})
}

func TestATargetThatIsChangedGetsWhatWaitedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, other := newWorld(t), &sink{}
		w.sink.answers(dead)
		s := w.gateway("one")
		w.put(s, "a", "b")
		time.Sleep(time.Minute)
		changed := time.Now()
		s.Join(events.Target{Destination: events.Destination{Type: "webhook", ID: "A"}, Sender: other, Limit: 7})
		synctest.Wait()
		w.put(s, "c")
		synctest.Wait()
		if got := other.has(); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "b", "c"}) || time.Since(changed) > time.Second {
			t.Errorf("the one in its place has %q, %v later", got, time.Since(changed))
		}
		if m := s.Measures(); len(m) != 1 || m[0].Capacity != 7 || m[0].Sent != 3 {
			t.Errorf("measured %+v", m)
		}
		if w.sink.closings() != 1 || other.closings() != 0 {
			t.Errorf("the former one is closed %d times, the one in its place %d", w.sink.closings(), other.closings())
		}
		w.close(s)
		if w.sink.closings() != 1 || other.closings() != 1 {
			t.Errorf("at the end they are closed %d and %d times", w.sink.closings(), other.closings())
		}
	})
}

func TestATargetThatLeavesGetsWhatWaitedForItAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(dead)
		s := w.gateway("one")
		a := events.Destination{Type: "webhook", ID: "A"}
		w.put(s, "a")
		s.Leave(a)
		synctest.Wait()
		w.put(s, "b") // lost
		if s.Has(a) || len(s.ARNs()) != 0 {
			t.Errorf("it is there still: %q", s.ARNs())
		}
		if m := s.Measures(); len(m) != 1 || m[0].Waiting != 1 {
			t.Errorf("what waits is measured as %+v", m)
		}
		w.sink.answers(nil)
		time.Sleep(time.Minute)
		w.is("the target that has left has", "a")
		if m := s.Measures(); len(m) != 0 || w.sink.closings() != 1 {
			t.Errorf("after that: %+v, closed %d times", m, w.sink.closings())
		}
		s.Leave(a)
		s.Join(events.Target{Destination: a, Sender: w.sink})
		w.put(s, "c")
		synctest.Wait()
		w.is("the target that has come again has", "a", "c")
		w.close(s)
		if n := w.shelf.length(); n != 0 || w.sink.closings() != 2 {
			t.Errorf("%d batches are left, closed %d times", n, w.sink.closings())
		}
	})
}

func TestATargetThatComesBackInTimeGetsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, again := newWorld(t), &sink{}
		w.shelf.hold = make(chan struct{})
		s := w.gateway("one")
		defer w.close(s)
		a := events.Destination{Type: "webhook", ID: "A"}
		kept := make(chan error)
		go func() { kept <- s.Notify(t.Context(), w.rules, puts("a")...) }()
		synctest.Wait()
		w.sink.answers(dead)
		s.Leave(a) // while a batch becomes durable
		synctest.Wait()
		close(w.shelf.hold)
		if err := <-kept; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.Join(events.Target{Destination: a, Sender: again})
		w.put(s, "b")
		synctest.Wait()
		if got := again.has(); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "b"}) {
			t.Errorf("it has %q", got)
		}
	})
}

func TestEventsAreCountedByWhatBecomesOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.limit = 7
		over := make(chan struct{})
		w.sink.answers(func(m *events.Message) error {
			switch {
			case strings.HasPrefix(m.Key, "no"):
				return events.ErrRefused
			case m.Key == "slow":
				<-over
			}
			return nil
		})
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "a", "b", "c", "d", "no 1", "no 2")
		time.Sleep(time.Minute) // each is refused three times, and given up
		w.put(s, "slow")
		synctest.Wait()
		w.put(s, "e", "f", "g", "h")
		w.put(s, "1", "2", "3") // there is room for two more
		synctest.Wait()
		want := events.Measure{
			Destination: events.Destination{Type: "webhook", ID: "A"},
			Waiting:     5, Sending: 1, Sent: 4, Failed: 6, Refused: 2, Dropped: 3, Capacity: 7,
		}
		if all := s.Measures(); len(all) != 1 || all[0] != want {
			t.Errorf("measured %+v, want %+v", all, want)
		}
		close(over)
		synctest.Wait()
		want.Waiting, want.Sending, want.Sent = 0, 0, 9
		if all := s.Measures(); len(all) != 1 || all[0] != want {
			t.Errorf("in the end measured %+v, want %+v", all, want)
		}
	})
}

func TestWhatNoRuleIsAboutIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.gateway("one")
		defer w.close(s)
		if err := s.Notify(t.Context(), w.rules, events.Event{Name: events.Removed, Bucket: "bucket", Key: "k"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Notify(t.Context(), nil, puts("k")...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.is("the target has")
		if n := w.shelf.total(); n != 0 {
			t.Errorf("%d batches were kept", n)
		}
	})
}

func TestAnEventIsDurableWhenNotifyReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(dead)
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "k")
		if w.shelf.length() != 1 {
			t.Error("it is not")
		}
		full := errors.New("the disk is full")
		w.shelf.mu.Lock()
		w.shelf.fails = full
		w.shelf.mu.Unlock()
		if err := s.Notify(t.Context(), w.rules, puts("l")...); !errors.Is(err, full) {
			t.Errorf("of an event that could not be kept: %v", err)
		}
	})
}

func TestADeadTargetLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(dead)
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "a")
		time.Sleep(24 * time.Hour)
		w.put(s, "b")
		time.Sleep(time.Hour)
		w.sink.answers(nil)
		time.Sleep(time.Minute)
		w.is("the target has", "a", "b")
	})
}

func TestEventsOfOneKeyComeInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var order []string
		calls := 0
		w.sink.answers(func(m *events.Message) error {
			if calls++; calls%3 == 0 {
				return errDead
			}
			var r struct {
				S3 struct{ Object struct{ ETag string } }
			}
			if err := json.Unmarshal(m.Record, &r); err != nil {
				return err
			}
			if m.Key == "k" {
				order = append(order, r.S3.Object.ETag)
			}
			return nil
		})
		s := w.gateway("one")
		defer w.close(s)
		var want []string
		for i := range 50 {
			e := puts("k")[0]
			e.ETag = fmt.Sprintf("%02d", i)
			want = append(want, e.ETag)
			if err := s.Notify(t.Context(), w.rules, e, puts(fmt.Sprint("other", i))[0]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		w.sink.look(func() {
			if !slices.Equal(order, want) {
				t.Errorf("they came as %q", order)
			}
		})
	})
}

func TestEventsThatComeAtOnceShareOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shelf.hold = make(chan struct{})
		s := w.gateway("one")
		defer w.close(s)
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() { w.put(s, fmt.Sprint(i)) })
		}
		synctest.Wait()
		close(w.shelf.hold)
		group.Wait()
		time.Sleep(time.Minute)
		if len(w.sink.has()) != 100 || w.shelf.total() > 2 {
			t.Errorf("%d events came, of %d batches", len(w.sink.has()), w.shelf.total())
		}
	})
}

func TestAnEventThatIsRefusedIsGivenUpAndOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.sink.answers(func(m *events.Message) error {
			if m.Key != "bad" {
				return nil
			}
			tries++
			return fmt.Errorf("no: %w", events.ErrRefused)
		})
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "bad", "a")
		w.put(s, "b")
		time.Sleep(time.Hour)
		w.is("the target has", "a", "b")
		w.sink.look(func() {
			if m := s.Measures()[0]; m.Refused != 1 || m.Waiting != 0 || tries != 3 || w.shelf.length() != 0 {
				t.Errorf("after %d tries: %+v, %d batches", tries, m, w.shelf.length())
			}
		})
	})
}

func TestAnEventThatBreaksTheTargetDoesNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(func(m *events.Message) error {
			if m.Key == "bad" {
				return errors.New("the answer is 500")
			}
			return nil
		})
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "bad")
		time.Sleep(24 * time.Hour)
		if m := s.Measures()[0]; m.Waiting != 1 {
			t.Errorf("with nothing else to send, it does not wait: %+v", m)
		}
		for i := range 100 {
			w.put(s, fmt.Sprintf("%03d", i))
			time.Sleep(time.Minute)
		}
		if got := w.sink.has(); len(got) != 100 {
			t.Errorf("%d of 100 others came", len(got))
		}
		if m := s.Measures()[0]; m.Refused != 1 || m.Waiting != 0 {
			t.Errorf("while others go through it is not given up: %+v", m)
		}
	})
}

func TestWhenTooManyWaitNewOnesAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.limit = 2
		w.sink.answers(dead)
		s := w.gateway("one")
		defer w.close(s)
		w.put(s, "a", "b")
		w.put(s, "c")
		if m := s.Measures()[0]; m.Dropped != 1 || m.Waiting != 2 {
			t.Errorf("measured %+v", m)
		}
		w.sink.answers(nil)
		time.Sleep(time.Minute)
		w.put(s, "d")
		time.Sleep(time.Minute)
		w.is("the target has", "a", "b", "d")
	})
}

func TestAnotherGatewayInheritsTheQueueOfOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(dead)
		one, two := w.gateway("one"), w.gateway("two")
		defer w.close(two)
		w.put(one, "a")
		w.put(two, "b")
		w.close(one)
		w.sink.answers(nil)
		time.Sleep(time.Hour)
		w.is("while it may come back", "b")
		w.sink.answers(dead)
		w.shelf.mu.Lock()
		w.shelf.over["one"] = true
		w.shelf.mu.Unlock()
		time.Sleep(time.Hour)
		w.sink.answers(nil)
		time.Sleep(time.Minute)
		w.is("when it is gone, once", "a", "b")
		if n := w.shelf.length(); n != 0 {
			t.Errorf("%d batches are left", n)
		}
	})
}

func TestABatchThatCannotBeReadDoesNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one := w.gateway("one")
		w.sink.answers(dead)
		w.put(one, "a")
		w.put(one, "b")
		w.close(one)
		w.sink.answers(nil)
		w.shelf.over["one"], w.shelf.spoilt = true, "000001"
		two := w.gateway("two")
		defer w.close(two)
		time.Sleep(time.Minute)
		w.is("while it cannot", "b")
		w.shelf.mu.Lock()
		w.shelf.spoilt = ""
		w.shelf.mu.Unlock()
		time.Sleep(time.Minute)
		w.is("when it can", "a", "b")
	})
}

func TestABacklogThatDoesNotFitInMemoryIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sink.answers(dead)
		s := w.gateway("one")
		defer w.close(s)
		var want []string
		for i := range 12 {
			e := puts(fmt.Sprintf("%02d", i))[0]
			e.Metadata = map[string]string{"filler": strings.Repeat("x", 1<<20)}
			want = append(want, e.Key)
			if err := s.Notify(t.Context(), w.rules, e); err != nil {
				t.Fatal(err)
			}
		}
		w.sink.answers(nil)
		time.Sleep(time.Hour)
		w.is("the target has", want...)
	})
}

func TestABucketsTargetsAreToldThatItHasRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var got []byte
		w.sink.answers(func(m *events.Message) (err error) {
			got, err = m.Body()
			return err
		})
		s := w.gateway("one")
		defer w.close(s)
		if err := s.Test(t.Context(), w.rules, "bucket", "ID"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2000-01-01T00:00:00.000Z","Bucket":"bucket","RequestId":"ID","HostId":"ID"}`
		w.sink.look(func() {
			if string(got) != want {
				t.Errorf("got %s", got)
			}
		})
	})
}
