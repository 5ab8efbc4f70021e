package protocol

import (
	"maps"
	"slices"
	"time"
)

// When an owner gives a slot to another session, which then has no round trip to
// make for what it wants there.
const (
	judgeEvery = 10 * time.Second // a slot moves no more often
	fewestAsk  = 64               // requests between two judgements that are worth a move
	mostMoves  = 256              // slots in one judgement, of one owner
)

// usage is who asked for locks in a slot: how often, and the session that made
// most of the requests, if one made more than half of them (Boyer and Moore's
// majority vote). Three quarters of them give it a lead of at least half.
type usage struct {
	session SID
	lead    int
	total   int
	whole   bool // it was counted since the last judgement, or before
}

func (u *usage) count(by SID) {
	u.total++
	switch {
	case u.session == by:
		u.lead++
	case u.lead > 0:
		u.lead--
	default:
		u.session, u.lead = by, 1
	}
}

// favours returns the session that the slot belongs with, 0 if with none.
func (u *usage) favours() SID {
	if !u.whole || u.total < fewestAsk || 2*u.lead < u.total {
		return 0
	}
	return u.session
}

// Moves returns which of this session's slots are to be moved to the sessions
// that make most of the requests in them. It is called now and then, and judges
// every ten seconds. Whether the moves are made is the log's business.
func (m *Member) Moves(now time.Duration) []MoveSlots {
	if now < m.judge || !m.lease.Valid(now) {
		return nil
	}
	m.judge = now + judgeEvery
	moves, count := make(map[SID]*MoveSlots), 0
	for i := range m.owners {
		o := &m.owners[i]
		to := o.usage.favours()
		o.usage = usage{whole: o.active}
		if to == 0 || to == m.self || count == mostMoves || m.state.Standing(to) != Live {
			continue
		}
		if moves[to] == nil {
			moves[to] = &MoveSlots{To: to}
		}
		moves[to].Slots = append(moves[to].Slots, SlotSeen{Slot: Slot(i), Seen: o.epoch}) //nolint:gosec // below Slots
		count++
	}
	var list []MoveSlots
	for _, to := range slices.Sorted(maps.Keys(moves)) {
		list = append(list, *moves[to])
	}
	return list
}
