package fence_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/shoal-storage/shoal/erasure/fence"
)

func TestADriveObeysTheTable(t *testing.T) {
	second := fence.State{Generation: 2, Claimant: "a", Sealed: []string{"s"}}
	closed := fence.State{Generation: 2, Claimant: "a", Closed: true}
	blank := fence.State{Blank: true}
	for name, c := range map[string]struct {
		state   fence.State
		order   fence.Order
		want    error
		durable bool
		next    fence.State
	}{
		"a later claim is taken, and forgets who was sealed": {second, fence.Order{Op: fence.Claim, Generation: 3, Node: "b"}, nil, true, fence.State{Generation: 3, Claimant: "b"}},
		"the same number is not claimed twice":               {second, fence.Order{Op: fence.Claim, Generation: 2, Node: "a"}, fence.ErrTaken, false, second},
		"nor an earlier one":                                 {second, fence.Order{Op: fence.Claim, Generation: 1, Node: "b"}, fence.ErrTaken, false, second},
		"a renewal raises the pulse":                         {second, fence.Order{Op: fence.Renew, Generation: 2, Pulse: 7}, nil, false, fence.State{Generation: 2, Claimant: "a", Sealed: []string{"s"}, Pulse: 7}},
		"an earlier generation is over":                      {second, fence.Order{Op: fence.Renew, Generation: 1}, fence.ErrOver, false, second},
		"one that was ended is":                              {closed, fence.Order{Op: fence.Renew, Generation: 2}, fence.ErrOver, false, closed},
		"a later one the drive was not told of":              {second, fence.Order{Op: fence.Renew, Generation: 3}, fence.ErrBehind, false, second},
		"a sealed session is over":                           {second, fence.Order{Op: fence.Check, Generation: 2, Session: "s"}, fence.ErrOver, false, second},
		"another one is not":                                 {second, fence.Order{Op: fence.Check, Generation: 2, Session: "t"}, nil, false, second},
		"no session is left of one that was ended":           {closed, fence.Order{Op: fence.Check, Generation: 2, Session: "t"}, fence.ErrOver, false, closed},
		"a session is sealed":                                {second, fence.Order{Op: fence.Seal, Generation: 2, Session: "r"}, nil, true, fence.State{Generation: 2, Claimant: "a", Sealed: []string{"r", "s"}}},
		"and needs nothing the second time":                  {second, fence.Order{Op: fence.Seal, Generation: 2, Session: "s"}, nil, false, second},
		"nor if its generation is over":                      {second, fence.Order{Op: fence.Seal, Generation: 1, Session: "x"}, nil, false, second},
		"a generation ends once":                             {closed, fence.Order{Op: fence.End, Generation: 2}, fence.ErrOver, false, closed},
		"what others know is taken over":                     {second, fence.Order{Op: fence.Adopt, State: fence.State{Generation: 2, Sealed: []string{"a"}, Closed: true}}, nil, true, fence.State{Generation: 2, Claimant: "a", Closed: true, Sealed: []string{"a", "s"}}},
		"but not what is older":                              {second, fence.Order{Op: fence.Adopt, State: fence.State{Generation: 1, Closed: true}}, nil, false, second},
		"a blank drive vouches for nothing":                  {blank, fence.Order{Op: fence.Look}, fence.ErrBehind, false, blank},
		"and takes no claim":                                 {blank, fence.Order{Op: fence.Claim, Generation: 9}, fence.ErrBehind, false, blank},
		"before it was told what others know":                {blank, fence.Order{Op: fence.Adopt, State: second}, nil, true, second},
		"an order that is not known is refused":              {second, fence.Order{Op: 99}, errAny, false, second},
	} {
		next, durable, err := c.state.Apply(c.order)
		failed := errors.Is(err, c.want) || err != nil && errors.Is(c.want, errAny)
		if !failed || durable != c.durable || !reflect.DeepEqual(next, c.next) {
			t.Errorf("%s: %+v, %v, %v", name, next, durable, err)
		}
	}
}

var errAny = errors.New("any")

func TestOnlySessionsThatAreNotOverCommit(t *testing.T) {
	s := fence.State{Generation: 2, Sealed: []string{"dead"}}
	for session, want := range map[string]error{
		fence.Session(2, "alive"): nil,
		fence.Session(2, "dead"):  fence.ErrOver,
		fence.Session(1, "alive"): fence.ErrOver,
		fence.Session(3, "alive"): fence.ErrBehind,
		"none":                    fence.ErrOver,
		"2-alive":                 fence.ErrOver,
		"":                        fence.ErrOver,
	} {
		if err := s.Admits(session); !errors.Is(err, want) {
			t.Errorf("%q: %v", session, err)
		}
	}
	s.Closed = true
	if err := s.Admits(fence.Session(2, "alive")); !errors.Is(err, fence.ErrOver) {
		t.Errorf("in a generation that was ended: %v", err)
	}
}

func TestTogetherDrivesKnowWhatAnyOfThemKnows(t *testing.T) {
	got := fence.Merge(
		fence.State{Generation: 1, Pulse: 99, Closed: true},
		fence.State{Generation: 2, Claimant: "a", Pulse: 3, Sealed: []string{"s"}},
		fence.State{Generation: 2, Pulse: 5, Sealed: []string{"r"}},
	)
	if want := (fence.State{Generation: 2, Claimant: "a", Pulse: 5, Sealed: []string{"r", "s"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []fence.State{{}, {Generation: 7, Claimant: "a", Closed: true, Sealed: []string{"a", "b"}}} {
		b, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := fence.Decode(b)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fence.Decode(again); err != nil || got.Generation != s.Generation || len(got.Sealed) != len(s.Sealed) {
			t.Errorf("%+v comes back as %+v, %v", s, got, err)
		}
	})
}
