package protocol

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
)

// askFor has sessions take and give back a lock in a slot, one after the other,
// each so often.
func (c *company) askFor(slot Slot, times map[SID]int) {
	for left := true; left; {
		left = false
		for sid, m := range c.members {
			if times[SID(sid+1)] == 0 {
				continue
			}
			times[SID(sid+1)]--
			left = true
			d, decided := m.Acquire(slot, want("o/b/k", lock.Exclusive), false, c.now)
			for !decided {
				c.deliver()
				_, decided = c.decided[ReqID{m.self, d.Request}]
			}
			m.Release(slot, d.Request)
			c.deliver()
		}
	}
}

func TestASlotFollowsWhoUsesIt(t *testing.T) {
	const owner, other, third = 1, 2, 3
	for name, tt := range map[string]struct {
		asked []map[SID]int // one after the other
		moves bool
	}{
		"one that asks for nearly all":     {[]map[SID]int{{owner: 20, other: 180}}, true},
		"one that asks for three quarters": {[]map[SID]int{{owner: 50, other: 150}}, true},
		"one that asks for most":           {[]map[SID]int{{owner: 70, other: 130}}, false},
		"two that ask for half":            {[]map[SID]int{{other: 100, third: 100}}, false},
		"one that asks for the last half":  {[]map[SID]int{{owner: 100}, {other: 100}}, false},
		"the owner":                        {[]map[SID]int{{owner: 200}}, false},
		"one that asks now and then":       {[]map[SID]int{{other: fewestAsk - 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, 3)
			slot, m := c.slotOf(owner), c.members[owner-1]
			m.Moves(c.now) // from here on is counted
			for _, asked := range tt.asked {
				c.askFor(slot, asked)
			}
			if early := m.Moves(c.now + judgeEvery/2); len(early) > 0 {
				t.Errorf("judged early: %v", early)
			}
			c.now += judgeEvery
			moves := m.Moves(c.now)
			if tt.moves != (len(moves) == 1) {
				t.Fatalf("moves: %v", moves)
			}
			if !tt.moves {
				return
			}
			for sid := SID(1); sid <= 3; sid++ {
				c.apply(sid, 10, moves[0])
			}
			c.pump()
			if _, decided := c.members[other-1].Acquire(slot, want("o/b/k", lock.Exclusive), false, c.now); !decided {
				t.Error("it still has to ask another")
			}
		})
	}
}

// A slot that has just come does not go on at once, however much it is asked for.
func TestASlotStaysForAWhile(t *testing.T) {
	c := newCompany(t, 2)
	slot, m := c.slotOf(1), c.members[0]
	c.now += judgeEvery
	c.askFor(slot, map[SID]int{2: 200})
	if moves := m.Moves(c.now); len(moves) > 0 {
		t.Errorf("moves: %v", moves)
	}
}

func TestAJudgementMovesABoundedNumberOfSlots(t *testing.T) {
	c := newCompany(t, 2)
	m := c.members[0]
	m.Moves(c.now)
	for slot := range m.owners {
		if o := &m.owners[slot]; o.active {
			o.usage.session, o.usage.lead, o.usage.total = 2, 1000, 1000
		}
	}
	moves := m.Moves(c.now + judgeEvery)
	if len(moves) != 1 || len(moves[0].Slots) != mostMoves {
		t.Errorf("%d moves", len(moves))
	}
}
