package protocol

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// ask returns what a slot tells of the changes since a mark, nil if it does not
// know all of them, and the next mark.
func (s *script) ask(since Mark, prefixes ...string) ([]string, Mark) {
	s.t.Helper()
	t := told{prefixes: prefixes}
	next, ok := s.slot.since(since, &t)
	if !ok {
		s.t.Fatal("it does not speak for the slot")
	}
	if t.unknown {
		return nil, next
	}
	slices.Sort(t.names)
	return append([]string{}, t.names...), next
}

func (s *script) told(since Mark, want ...string) Mark {
	s.t.Helper()
	got, next := s.ask(since, "k")
	if !slices.Equal(got, want) || got == nil {
		s.t.Errorf("told of %q, not of %q", got, want)
	}
	return next
}

func TestWhoAsksIsToldOfWhatWasChangedAndOfWhatIsBeingChanged(t *testing.T) {
	s := newScript(t)
	names, mark := s.ask(Mark{}, "k")
	if names != nil {
		t.Errorf("without a mark: %q", names)
	}
	s.acquire(id(1, 1), want("k1", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(1, 2), want("k2", lock.Shared), 1, id(1, 2))
	s.acquire(id(1, 3), want("other", lock.Exclusive), 1, id(1, 3))
	s.told(mark, "k1")
	s.release(id(1, 1))
	s.release(id(1, 2))
	s.release(id(1, 3))
	s.told(mark, "k1")
	s.told(s.told(mark, "k1"))
}

// A gateway that dies under a lease may have changed what it was on, and nobody
// is left who knows.
func TestWhatTheDeadHadForThemselvesCountsAsChanged(t *testing.T) {
	s := newScript(t)
	_, mark := s.ask(Mark{}, "k")
	s.acquire(id(1, 1), want("k1", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(1, 2), want("k2", lock.Exclusive), 1, id(1, 2))
	s.acquire(id(2, 1), want("k2", lock.Exclusive), 2)
	s.slot.Reap(2, nil) // it was never granted
	mark = s.told(mark, "k1", "k2")
	s.slot.Reap(1, nil)
	s.told(mark, "k1", "k2")
}

func TestWhoAsksFromAnotherEpochIsToldThatAnythingMayHaveChanged(t *testing.T) {
	s := newScript(t)
	_, mark := s.ask(Mark{}, "k")
	s.slot.Resign(nil)
	if _, ok := s.slot.since(mark, &told{}); ok {
		t.Error("a slot that was given up still tells")
	}
	s.slot.Assign(7)
	if _, ok := s.slot.since(mark, &told{}); ok {
		t.Error("a slot tells before all is known that is held of it")
	}
	if _, err := s.slot.Activate(nil, nil); err != nil {
		t.Fatal(err)
	}
	names, next := s.ask(mark, "k")
	if names != nil || next.Epoch != 7 {
		t.Errorf("told of %q, next %v", names, next)
	}
}

func TestWhoAsksTooLateIsToldThatAnythingMayHaveChanged(t *testing.T) {
	s := newScript(t)
	_, mark := s.ask(Mark{}, "k")
	name := "k" + strings.Repeat("x", 1000)
	change := func() {
		s.acquire(id(1, 1), want(name, lock.Exclusive), 1, id(1, 1))
		s.release(id(1, 1))
	}
	for range maxJournal / 1100 {
		change()
	}
	if names, _ := s.ask(mark, "k"); len(names) == 0 {
		t.Error("not told of so many changes as are kept")
	}
	for range 4 {
		change()
	}
	if names, _ := s.ask(mark, "k"); names != nil {
		t.Errorf("told of %d changes of more", len(names))
	}
	if j := s.slot.journal; j.size > maxJournal {
		t.Errorf("%d bytes are kept", j.size)
	}
}

func TestNothingIsKeptOfASlotThatNobodyFollows(t *testing.T) {
	s := newScript(t)
	change := func(n int) {
		for range n {
			s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1))
			s.release(id(1, 1))
		}
	}
	change(3)
	if j := s.slot.journal; j.on || len(j.entries) > 0 {
		t.Error("it is kept before anybody has asked")
	}
	_, mark := s.ask(Mark{}, "k")
	change(10_000)
	if j := s.slot.journal; j.on || len(j.entries) > 0 {
		t.Error("it is kept when nobody can follow any more who has asked")
	}
	if names, _ := s.ask(mark, "k"); names != nil {
		t.Errorf("told of %q", names)
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	s := newScript(t)
	_, mark := s.ask(Mark{}, "k")
	for i := range uint64(maxTold + 1) {
		s.acquire(id(1, i), want(fmt.Sprint("k", i), lock.Exclusive), 1, id(1, i))
	}
	if names, _ := s.ask(mark, "k"); names != nil {
		t.Errorf("%d names", len(names))
	}
}

// pair returns two Members, of the sessions 1 and 2, and a slot of each.
func pair() (one, two *Member, slots [2]Slot) {
	log := []Command{OpenSession{Nonce: "a"}, OpenSession{Nonce: "b"}}
	members := [2]*Member{}
	for i := range members {
		state := NewState()
		for index, c := range log {
			state.Apply(uint64(index+1), c)
		}
		members[i] = NewMember(SID(i+1), state, 0)
		members[i].Lease().Confirm(time.Hour)
		slots[i] = state.SlotsOf(SID(i + 1))[Epoch(i+1)][0]
	}
	one, two = members[0], members[1]
	exchange(one, two)
	return one, two, slots
}

// exchange carries messages between two Members until neither has any.
func exchange(one, two *Member) (found []Findings) {
	for more := true; more; {
		more = false
		for _, m := range []*Member{one, two} {
			e := m.Take()
			found = append(found, e.Found...)
			for _, envelope := range e.Send {
				more = true
				to := one
				if envelope.To == two.self {
					to = two
				}
				to.Receive(envelope, 0)
			}
		}
	}
	return found
}

func TestAnInquiryGathersWhatAllOwnersTell(t *testing.T) {
	one, two, slots := pair()
	one.Inquire([]Mark{{Slot: slots[0]}, {Slot: slots[1]}}, []string{"k"}, 0)
	found := exchange(one, two)
	if len(found) != 1 || found[0].Known || len(found[0].Marks) != 2 {
		t.Fatalf("without marks: %+v", found)
	}
	for i, m := range []*Member{one, two} {
		d, _ := m.Acquire(slots[i], want(fmt.Sprint("k", i), lock.Exclusive), false, 0)
		m.Release(slots[i], d.Request)
	}
	one.Inquire(found[0].Marks, []string{"k"}, 0)
	found = exchange(one, two)
	if len(found) != 1 || !found[0].Known || !slices.Equal(found[0].Names, []string{"k0", "k1"}) {
		t.Errorf("found %+v", found)
	}
}

func TestAnInquiryThatIsNotAnsweredEndsWithoutAnyKnowledge(t *testing.T) {
	answer := func(m *Member, from SID, marks ...Mark) {
		m.Receive(Envelope{From: from, To: 1, Message: Changes{Inquiry: m.last, Known: true, Marks: marks}}, 0)
	}
	for name, end := range map[string]func(m *Member, slot Slot){
		"the connection broke":     func(m *Member, _ Slot) { m.Connected(2, 0) },
		"no answer came":           func(m *Member, _ Slot) { m.Tick(patience) },
		"the owner owns it not":    func(m *Member, _ Slot) { answer(m, 2) },
		"the owner was deposed":    func(m *Member, slot Slot) { answer(m, 2, Mark{Slot: slot, Epoch: 1}) },
		"of another slot":          func(m *Member, slot Slot) { answer(m, 2, Mark{Slot: slot + 1, Epoch: 2}) },
		"another one has answered": func(m *Member, slot Slot) { answer(m, 1, Mark{Slot: slot, Epoch: 2}); m.Tick(patience) },
		"nobody is the owner": func(m *Member, slot Slot) {
			m.Dismiss(m.last)
			m.holders[slot].owner = 0
			m.Inquire([]Mark{{Slot: slot}}, nil, 0)
		},
	} {
		one, _, slots := pair()
		one.Inquire([]Mark{{Slot: slots[1], Epoch: 2}}, []string{"k"}, 0)
		one.Take()
		end(one, slots[1])
		if f := one.Take().Found; len(f) != 1 || f[0].Known || f[0].Marks != nil || len(one.inquiries) > 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
