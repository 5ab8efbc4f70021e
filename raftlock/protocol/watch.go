package protocol

import (
	"slices"
	"time"
)

// tickEvery is how often the leader proves that it is one, at most.
const tickEvery = 250 * time.Millisecond

// Watch is how the leader of a term finds the sessions that are dead. A session
// says that it is alive (Keep); it is told so only when an entry has been
// committed that the leader proposed after it heard so. An old leader that has
// not noticed yet that there is a new one thus prolongs nobody's life.
type Watch struct {
	deadlines map[SID]time.Duration
	heard     map[SID]uint64 // numbers of the Keeps that wait for the next tick
	asked     map[SID]uint64 // of those that wait for the tick under way
	proposed  time.Duration  // when the tick under way was proposed
	underWay  bool
	last      time.Duration
}

// Kept tells a session that its Keep counts.
type Kept struct {
	Session SID
	Number  uint64
}

// NewWatch begins a term: every session gets all of its time anew.
func NewWatch(sessions []SID, now time.Duration) *Watch {
	w := &Watch{deadlines: make(map[SID]time.Duration), heard: make(map[SID]uint64), asked: make(map[SID]uint64), last: now - tickEvery}
	for _, sid := range sessions {
		w.Opened(sid, now)
	}
	return w
}

// Opened begins to watch a session.
func (w *Watch) Opened(sid SID, now time.Duration) {
	if _, known := w.deadlines[sid]; !known {
		w.deadlines[sid] = deadline(now)
	}
}

// deadline is when a session is dead that was told at a time that it is alive:
// later than it itself believes so, whatever their clocks do within drift.
func deadline(from time.Duration) time.Duration {
	return from + SessionTTL + 2*SessionTTL/drift + graceful
}

// Ended stops watching a session.
func (w *Watch) Ended(sid SID) {
	delete(w.deadlines, sid)
	delete(w.heard, sid)
	delete(w.asked, sid)
}

// Keep takes a session's word that it is alive. It reports whether the session
// is watched: one that is not has ended, or was never heard of.
func (w *Watch) Keep(sid SID, number uint64) bool {
	if _, watched := w.deadlines[sid]; !watched {
		return false
	}
	w.heard[sid] = number
	return true
}

// Propose reports whether a Tick is to be proposed now.
func (w *Watch) Propose(now time.Duration) bool {
	if w.underWay || len(w.heard) == 0 || now < w.last+tickEvery {
		return false
	}
	w.asked, w.heard = w.heard, make(map[SID]uint64)
	w.underWay, w.proposed, w.last = true, now, now
	return true
}

// Ticked says what became of the Tick. If it was committed, it returns whom to
// tell.
func (w *Watch) Ticked(committed bool) []Kept {
	w.underWay = false
	if !committed {
		clear(w.asked)
		return nil
	}
	var kept []Kept
	for sid, number := range w.asked {
		if _, watched := w.deadlines[sid]; watched {
			w.deadlines[sid] = max(w.deadlines[sid], deadline(w.proposed))
			kept = append(kept, Kept{sid, number})
		}
	}
	clear(w.asked)
	slices.SortFunc(kept, func(a, b Kept) int { return int(a.Session) - int(b.Session) }) //nolint:gosec // log indexes are small
	return kept
}

// Overdue returns the sessions that were not heard of in time, ascending.
func (w *Watch) Overdue(now time.Duration) []SID {
	var dead []SID
	for sid, until := range w.deadlines {
		if until <= now {
			dead = append(dead, sid)
		}
	}
	slices.Sort(dead)
	return dead
}
