package protocol

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// company is some Members whose messages arrive when the test says so.
type company struct {
	t       *testing.T
	now     time.Duration
	members []*Member // of the sessions 1, 2, and so on
	onWay   []Envelope
	decided map[ReqID]Decision
}

func newCompany(t *testing.T, sessions int) *company {
	t.Helper()
	c := &company{t: t, decided: make(map[ReqID]Decision)}
	for self := range sessions {
		state := NewState()
		for i := range sessions {
			state.Apply(uint64(i+1), OpenSession{Nonce: string(rune('a' + i))})
		}
		m := NewMember(SID(self+1), state, 0)
		m.Lease().Confirm(time.Hour)
		c.members = append(c.members, m)
	}
	c.pump()
	return c
}

// collect takes the effects of all.
func (c *company) collect() {
	for _, m := range c.members {
		e := m.Take()
		c.onWay = append(c.onWay, e.Send...)
		for _, d := range e.Wake {
			c.decided[ReqID{m.self, d.Request}] = d
		}
		for _, v := range e.Violations {
			c.t.Error(v)
		}
	}
}

// deliver delivers what is on its way, and not what is said meanwhile.
func (c *company) deliver() {
	c.collect()
	batch := c.onWay
	c.onWay = nil
	for _, e := range batch {
		c.members[e.To-1].Receive(e, c.now)
	}
	c.collect()
}

// pump delivers until nobody has anything to say, for some time.
func (c *company) pump() {
	for range 100 {
		c.now += 10 * time.Millisecond
		for _, m := range c.members {
			m.Tick(c.now)
		}
		c.deliver()
	}
}

func (c *company) apply(to SID, index uint64, command Command) {
	c.members[to-1].Apply(index, command, c.now)
}

// slotOf returns a slot that a session owns.
func (c *company) slotOf(owner SID) Slot {
	for slot, o := range c.members[0].state.Owners {
		if o.Owner == owner {
			return Slot(slot)
		}
	}
	c.t.Fatal("it owns nothing")
	return 0
}

// moves returns the commands that move a slot to one session after the other.
func (c *company) moves(slot Slot, first uint64, to ...SID) []Command {
	var commands []Command
	seen := c.members[0].state.Owners[slot].Epoch
	for i, sid := range to {
		commands = append(commands, MoveSlots{To: sid, Slots: []SlotSeen{{Slot: slot, Seen: seen}}})
		seen = Epoch(first) + Epoch(i)
	}
	return commands
}

// The owner grants under its old epoch what was asked of it under the new one.
// That grant is refused, and the request must not be forgotten with it.
func TestAnOwnerThatBecomesOneAnewStillGrants(t *testing.T) {
	for name, path := range map[string][]SID{"by way of another": {2, 1}, "at once": {1}} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, 2)
			slot := c.slotOf(1)
			const first = 10
			moves := c.moves(slot, first, path...)
			for i, m := range moves {
				c.apply(2, first+uint64(i), m)
			}
			d, decided := c.members[1].Acquire(slot, want("o/b/k", lock.Exclusive), false, c.now)
			if decided {
				t.Fatal("granted by who is not the owner")
			}
			for range 3 {
				c.deliver() // the question, the grant, its refusal
			}
			for i, m := range moves {
				c.apply(1, first+uint64(i), m)
			}
			c.pump()
			got := c.decided[ReqID{2, d.Request}]
			if got.Verdict != Granted || got.Epoch != first+Epoch(len(moves)-1) {
				t.Errorf("decided: %+v", got)
			}
		})
	}
}

// An answer that was on its way while the slot came and went makes nobody its
// owner who is not.
func TestASlotThatWentOnMeanwhileIsNotTakenOver(t *testing.T) {
	c := newCompany(t, 2)
	slot := c.slotOf(1)
	moves := c.moves(slot, 10, 2, 1)
	c.apply(2, 10, moves[0])
	c.deliver() // the new owner's question
	c.apply(2, 11, moves[1])
	c.deliver() // the answer to it
	if c.members[1].owners[slot].Active() {
		t.Error("it grants what it owns no more")
	}
	for i, m := range moves {
		c.apply(1, uint64(10+i), m)
	}
	c.pump()
	if o := &c.members[0].owners[slot]; !o.Active() || o.Epoch() != 11 {
		t.Error("the owner does not grant")
	}
}

func TestASessionThatIsNotHeardOfYetComesAgain(t *testing.T) {
	c := newCompany(t, 2)
	open := OpenSession{Nonce: "c"}
	state, err := ParseSnapshot(c.members[0].state.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	state.Apply(3, open)
	third := NewMember(3, state, c.now)
	third.Lease().Confirm(time.Hour)
	c.members = append(c.members, third)
	slot := c.slotOf(1)
	for third.state.Owners[slot].Owner != 1 { // one that did not pass to the third
		slot++
	}
	d, _ := third.Acquire(slot, want("o/b/k", lock.Exclusive), false, c.now)
	c.deliver()
	c.deliver()
	if got, decided := c.decided[ReqID{3, d.Request}]; decided {
		t.Fatalf("decided on for somebody unknown: %+v", got)
	}
	c.apply(1, 3, open)
	c.apply(2, 3, open)
	c.pump()
	if got := c.decided[ReqID{3, d.Request}]; got.Verdict != Granted {
		t.Errorf("decided: %+v", got)
	}
}

// What became of a proposal is not always known, so it may be made again.
func TestACommandThatIsCommittedTwiceChangesNothingMore(t *testing.T) {
	s := NewState()
	index := uint64(0)
	apply := func(c Command) Result {
		index++
		return s.Apply(index, c)
	}
	apply(OpenSession{Nonce: "a"})
	for _, c := range []Command{
		Tick{},
		OpenSession{Nonce: "b"},
		MoveSlots{To: 3, Slots: []SlotSeen{{Slot: 7, Seen: 3}, {Slot: 8, Seen: 1}}},
		UseFeature{Feature: 1},
		ExpireSession{Session: 1},
		EndSession{Session: 1},
	} {
		one := apply(c)
		before := s.AppendSnapshot(nil)
		index-- // so that the images are of one index
		two := apply(c)
		if !bytes.Equal(s.AppendSnapshot(nil), before) {
			t.Errorf("%T: another state after the second time", c)
		}
		if one.Session != two.Session && two.Outcome == Done {
			t.Errorf("%T: session %d, and then %d", c, one.Session, two.Session)
		}
		index++
	}
}

func TestAVersionThatIsTooOldOpensNoSession(t *testing.T) {
	s := NewState()
	s.Apply(1, OpenSession{Nonce: "new", Feature: 2})
	s.Apply(2, UseFeature{Feature: 2})
	if r := s.Apply(3, OpenSession{Nonce: "old", Feature: 1}); r.Outcome != Refused || len(s.Sessions) != 1 {
		t.Errorf("outcome %d, %d sessions", r.Outcome, len(s.Sessions))
	}
}

func TestEncodedCommandsShareNoBuffer(t *testing.T) {
	one := Encode(SetSetting{Name: "a", Value: []byte("x")})
	kept := slices.Clone(one)
	Encode(SetSetting{Name: "b", Value: []byte("y")})
	if !bytes.Equal(one, kept) {
		t.Error("what the log keeps was changed by the next command")
	}
}

func TestOfManyWaitersThoseThatStayAreServedInOrder(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Exclusive), 0, id(1, 1))
	const waiters = maxRequests - 1
	for i := range uint64(waiters) {
		s.acquire(id(2, i+1), want("k", lock.Exclusive), time.Duration(i+1))
	}
	if r := s.slot.Acquire(Request{ID: id(3, 1), Items: want("k", lock.Exclusive)}, nil); len(r) != 1 || r[0].Verdict != Busy {
		t.Errorf("one too many: %v", r)
	}
	var stay []ReqID
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(waiters) {
		if r := id(2, uint64(i+1)); i%10 == 0 {
			stay = append(stay, r)
		} else {
			s.release(r)
		}
	}
	slices.SortFunc(stay, func(a, b ReqID) int { return int(a.Request) - int(b.Request) })
	last := id(1, 1)
	for _, next := range stay {
		s.release(last, next)
		last = next
	}
	s.release(last)
	s.empty()
	if len(s.slot.buried) > 0 {
		t.Errorf("%d requests are remembered that were known", len(s.slot.buried))
	}
}

func TestATermBeginsWithAllTimeForEverybody(t *testing.T) {
	w := NewWatch([]SID{1, 2}, time.Hour)
	if dead := w.Overdue(deadline(time.Hour) - 1); len(dead) > 0 {
		t.Errorf("dead: %v", dead)
	}
	if dead := w.Overdue(deadline(time.Hour)); !slices.Equal(dead, []SID{1, 2}) {
		t.Errorf("dead: %v", dead)
	}
}

// A process that was stopped for a while, or whose clock jumps, has not heard
// those who spoke meanwhile.
func TestALeaderThatWasHeldUpTakesNobodyForDead(t *testing.T) {
	w := NewWatch([]SID{1, 2}, 0)
	due := w.Due(0)
	late := due + 10*time.Second
	w.Keep(1, 1, late)
	w.Due(late)
	if dead := w.Overdue(late); len(dead) > 0 {
		t.Errorf("dead: %v", dead)
	}
	w.Due(late)
	w.Propose(late + gather)
	w.Ticked(true)
	w.Due(late + gather)
	if dead := w.Overdue(deadline(late)); !slices.Equal(dead, []SID{2}) {
		t.Errorf("dead when their time was over once more: %v", dead)
	}
}

// What is held is told in parts to who understands that, each once, however often it is asked
// for; an earlier version is told all at once, and is asked so.
func TestWhatIsHeldIsToldInParts(t *testing.T) {
	for _, feature := range []uint32{FeatureLog, FeatureParts} {
		state := NewState()
		for i, f := range []uint32{feature, feature, FeatureParts} {
			state.Apply(uint64(i+1), OpenSession{Nonce: string(rune('a' + i)), Feature: f})
		}
		taken := state.SlotsOf(3)[3][:2]
		m := NewMember(3, state, 0)
		holder := NewMember(1, state, 0)
		holder.part = 1
		const count = 5
		for _, slot := range taken {
			holder.holders[slot].requests = make(map[uint64]*holding)
		}
		for i := range count {
			holder.holders[taken[i%2]].requests[uint64(i+1)] = &holding{items: []Item{{Name: string(rune('a' + i)), Mode: lock.Exclusive}}, granted: true, epoch: 1}
		}
		m.Receive(Envelope{From: 2, To: 3, Message: Holds{Epoch: 3}}, 0)
		asked := 0
		for range 20 {
			for _, e := range m.Take().Send {
				_, whole := e.Message.(Assert)
				_, parts := e.Message.(AssertFrom)
				if e.To != 1 || !whole && !parts {
					continue
				}
				if parts != (feature == FeatureParts) {
					t.Fatalf("feature %d: asked by %#v", feature, e.Message)
				}
				asked++
				holder.Receive(e, 0)
				holder.Receive(e, 0)
			}
			for _, e := range holder.Take().Send {
				m.Receive(e, 0)
			}
		}
		if len(m.takeovers) > 0 {
			t.Fatalf("feature %d: the takeover does not end", feature)
		}
		if c := m.Counts(); c.Granted != count {
			t.Errorf("feature %d: %d grants are known, not %d", feature, c.Granted, count)
		}
		if want := map[uint32]int{FeatureLog: 1, FeatureParts: count}[feature]; asked != want {
			t.Errorf("feature %d: asked %d times, not %d", feature, asked, want)
		}
	}
}

// Who says that there is always more, or tells of more than any owner can have granted, is not believed for ever.
func TestPartsAreBounded(t *testing.T) {
	k := NewTakeover(3, []Slot{1}, []SID{1})
	if k.Part(1, HoldsPart{Epoch: 3, More: true}) || k.Next(1) != (Place{}) {
		t.Error("a part that does not go on was taken")
	}
	for i := range uint64(3 * maxRequests) {
		k.Part(1, HoldsPart{Epoch: 3, From: Place{1, i}, Next: Place{1, i + 1}, More: true, Held: map[Slot][]Held{1: {{ID: ReqID{1, i}}}}})
		if i == 0 {
			k.next[1] = Place{1, 1}
			k.held[1] = k.held[1][:0]
		}
	}
	if n := len(k.Held(1)); n > maxReported {
		t.Errorf("%d grants in one slot were noted", n)
	}
	if k.Done() {
		t.Error("it is done")
	}
}
