package protocol

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// script drives one slot and says what it answers.
type script struct {
	t    *testing.T
	slot OwnerSlot
}

func newScript(t *testing.T) *script {
	s := &script{t: t}
	s.slot.Assign(5)
	if _, err := s.slot.Activate(nil, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func want(name string, mode lock.Mode) []Item { return []Item{{Name: name, Mode: mode}} }

func id(session SID, request uint64) ReqID { return ReqID{session, request} }

// acquire asks, and expects these requests to be granted by it.
func (s *script) acquire(r ReqID, items []Item, since time.Duration, granted ...ReqID) {
	s.t.Helper()
	s.expect(fmt.Sprint("acquire ", r), s.slot.Acquire(Request{ID: r, Items: items, Since: since}, nil), granted)
}

func (s *script) release(r ReqID, granted ...ReqID) {
	s.t.Helper()
	s.expect(fmt.Sprint("release ", r), s.slot.Release(r, nil), granted)
}

func (s *script) expect(what string, replies []Reply, granted []ReqID) {
	s.t.Helper()
	var got []ReqID
	for _, r := range replies {
		if r.Verdict != Granted {
			s.t.Errorf("%s: verdict %d", what, r.Verdict)
		}
		got = append(got, r.ID)
	}
	if !slices.Equal(got, granted) {
		s.t.Errorf("%s grants %v, not %v", what, got, granted)
	}
}

func (s *script) empty() {
	s.t.Helper()
	if held, waiting := s.slot.Counts(); held+waiting+len(s.slot.names) > 0 {
		s.t.Errorf("%d held, %d waiting, %d names are left", held, waiting, len(s.slot.names))
	}
}

func TestLocksAreGrantedInOrderAndSharersTogether(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Shared), 1, id(1, 1))
	s.acquire(id(2, 1), want("k", lock.Shared), 2, id(2, 1))
	s.acquire(id(3, 1), want("k", lock.Exclusive), 3)
	s.acquire(id(1, 2), want("k", lock.Shared), 4) // never overtakes a writer
	s.acquire(id(2, 2), want("k", lock.Shared), 5)
	s.release(id(1, 1))
	s.release(id(2, 1), id(3, 1))
	s.release(id(3, 1), id(1, 2), id(2, 2))
	s.release(id(1, 2))
	s.release(id(2, 2))
	s.empty()
}

func TestWhoWaitedLongerBeforeATakeoverGoesFirst(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(2, 1), want("k", lock.Exclusive), 50)
	s.acquire(id(3, 1), want("k", lock.Exclusive), 20)
	s.release(id(1, 1), id(3, 1))
	s.release(id(3, 1), id(2, 1))
}

func TestARequestTakenBackHoldsNothing(t *testing.T) {
	s := newScript(t)
	both := []Item{{Name: "a", Mode: lock.Shared}, {Name: "b", Mode: lock.Exclusive}}
	s.acquire(id(1, 1), want("b", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(2, 1), both, 2) // holds a, waits for b
	s.acquire(id(3, 1), want("a", lock.Exclusive), 3)
	s.release(id(2, 1), id(3, 1))
	s.release(id(3, 1))
	s.release(id(1, 1))
	s.empty()
}

func TestARequestIsGrantedOnceHoweverOftenItComes(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1)) // the answer was lost
	s.release(id(1, 1))
	s.release(id(1, 1))
	if held, waiting := s.slot.Counts(); held+waiting > 0 {
		t.Errorf("%d held, %d waiting", held, waiting)
	}
}

func TestAReleaseThatComesFirstIsRemembered(t *testing.T) {
	s := newScript(t)
	s.release(id(1, 1))
	if r := s.slot.Acquire(Request{ID: id(1, 1), Items: want("k", lock.Exclusive)}, nil); len(r) != 1 || r[0].Verdict != Retry {
		t.Errorf("%v", r)
	}
	s.empty()
}

func TestNothingIsGrantedBeforeAllThatIsHeldIsKnown(t *testing.T) {
	var o OwnerSlot
	o.Assign(9)
	if r := o.Acquire(Request{ID: id(2, 1), Items: want("k", lock.Exclusive)}, nil); len(r) > 0 {
		t.Fatalf("%v", r)
	}
	if r := o.Release(id(3, 7), nil); len(r) > 0 { // on its way while its holder reported it
		t.Fatalf("%v", r)
	}
	held := []Held{
		{ID: id(1, 1), Items: want("k", lock.Exclusive), Epoch: 4, Sequence: 2},
		{ID: id(3, 7), Items: want("k", lock.Exclusive), Epoch: 3, Sequence: 1},
	}
	replies, err := o.Activate(held, nil)
	if err != nil || len(replies) > 0 {
		t.Fatalf("%v, %v", replies, err)
	}
	replies = o.Release(id(1, 1), nil)
	if len(replies) != 1 || replies[0] != (Reply{ID: id(2, 1), Verdict: Granted, Epoch: 9, Sequence: 1}) {
		t.Errorf("%v", replies)
	}
}

func TestNotesComparedSayNothingOfLaterRequests(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("a", lock.Exclusive), 1, id(1, 1))
	s.acquire(id(1, 2), want("b", lock.Exclusive), 1, id(1, 2))
	s.acquire(id(1, 3), want("c", lock.Exclusive), 1, id(1, 3))
	replies := s.slot.Resync(1, 2, []uint64{2}, nil)
	var again []ReqID
	for _, r := range replies {
		again = append(again, r.ID)
	}
	if !slices.Equal(again, []ReqID{id(1, 2), id(1, 3)}) {
		t.Errorf("granted again: %v", again)
	}
	s.acquire(id(2, 1), want("a", lock.Exclusive), 2, id(2, 1))
	s.acquire(id(2, 2), want("c", lock.Exclusive), 2)
}

func TestAGrantOfADeposedOwnerIsRefused(t *testing.T) {
	var h HolderSlot
	h.Assigned(1, 5)
	h.Ask(1, want("k", lock.Exclusive), false, 0)
	if held, ask := h.Assert(3, 2, 8); len(held) > 0 || !slices.Equal(ask, []uint64{1}) {
		t.Errorf("%v, %v", held, ask)
	}
	if h.Accept(1, 5, 9) {
		t.Error("the old owner's grant was accepted")
	}
	for range 2 { // it may come again
		if !h.Accept(1, 8, 1) {
			t.Error("the new owner's grant was refused")
		}
	}
	if held, _ := h.Assert(3, 4, 12); len(held) != 1 {
		t.Errorf("reported: %v", held)
	}
}

// The session that owned the slot may own it again, and have granted the same
// request anew when its old grant comes back.
func TestAGrantThatWasRefusedTakesNoLaterOneWithIt(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1)) // epoch 5, number 1
	s.expect("refuse an old grant", s.slot.Refused(id(1, 1), 3, 1, nil), nil)
	s.acquire(id(2, 1), want("k", lock.Exclusive), 2)
	s.expect("refuse the grant", s.slot.Refused(id(1, 1), 5, 1, nil), []ReqID{id(2, 1)})
}

func TestADeposedLeaderProlongsNobodysLife(t *testing.T) {
	w := NewWatch([]SID{1, 2}, 0)
	if !w.Keep(1, 7, 0) || w.Keep(3, 1, 0) {
		t.Fatal("who is watched?")
	}
	now := time.Duration(0)
	if !w.Propose(now) || w.Propose(now) {
		t.Fatal("one tick at a time")
	}
	if kept := w.Ticked(false); len(kept) > 0 {
		t.Errorf("told %v without a commit", kept)
	}
	now += time.Second
	w.Keep(1, 8, now)
	if !w.Propose(now) {
		t.Fatal("no tick")
	}
	if kept := w.Ticked(true); !slices.Equal(kept, []Kept{{1, 8}}) {
		t.Errorf("told %v", kept)
	}
	if dead := w.Overdue(deadline(0)); !slices.Equal(dead, []SID{2}) {
		t.Errorf("dead: %v", dead)
	}
}

// Whenever they begin, after a while all say that they are alive at about one
// time, and one entry of the log tells them all.
func TestOneTickSoonTellsAllSessions(t *testing.T) {
	const sessions, rest = 7, gather
	w := NewWatch(nil, 0)
	next := make(map[SID]time.Duration) // when it says so again
	for sid := SID(1); sid <= sessions; sid++ {
		next[sid] = time.Duration(sid*sid) * 37 * time.Millisecond
	}
	told := 0 // by the last tick
	for now := time.Duration(0); now < 6*time.Second; now += time.Millisecond {
		for sid, at := range next {
			if at == now {
				w.Opened(sid, now)
				w.Keep(sid, 1, now)
				if !w.told[sid] && w.Due(now) > now {
					t.Errorf("session %d is new, and waits for others", sid)
				}
			}
		}
		if w.Propose(now) {
			kept := w.Ticked(true)
			for _, k := range kept {
				next[k.Session] = now + rest
			}
			told = len(kept)
		} else if w.Due(now) <= now {
			t.Fatal("something is due, and nothing is done")
		}
	}
	if told != sessions {
		t.Errorf("the last tick told %d of %d sessions", told, sessions)
	}
}

func TestSlotsMoveNoMoreThanTheyMust(t *testing.T) {
	s := NewState()
	s.Apply(1, OpenSession{Nonce: "a"})
	s.Apply(2, OpenSession{Nonce: "b"})
	before := s.Owners
	s.Apply(3, OpenSession{Nonce: "c"})
	moved := 0
	for i := range s.Owners {
		if s.Owners[i] != before[i] {
			moved++
			if s.Owners[i] != (Ownership{3, 3}) {
				t.Fatalf("slot %d went to %v", i, s.Owners[i])
			}
		}
	}
	if moved < Slots/4 || moved > Slots/2 {
		t.Errorf("%d of %d slots moved to the third session", moved, Slots)
	}
	s.Apply(4, ExpireSession{3})
	if s.Owners[0].Owner == 0 || len(s.SlotsOf(3)) != 1 {
		t.Error("a session that is not fenced yet lost its slots")
	}
	s.Apply(5, EndSession{Session: 3})
	if len(s.SlotsOf(3)) > 0 || s.SlotsOf(1)[5] == nil {
		t.Error("the slots of a fenced session did not pass on")
	}
}
