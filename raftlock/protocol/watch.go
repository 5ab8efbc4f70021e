package protocol

import (
	"slices"
	"time"
)

// gather is how long the leader waits for more sessions to say that they are
// alive before it tells all of them at once. When a session waits as long or
// less before its next word, one tick in each round soon serves them all.
const gather = 500 * time.Millisecond

// Watch is how the leader of a term finds the sessions that are dead. A session
// says that it is alive (Keep); it is told so only when an entry has been
// committed that the leader proposed after it heard so. An old leader that has
// not noticed yet that there is a new one thus prolongs nobody's life.
type Watch struct {
	deadlines map[SID]time.Duration
	over      map[SID]time.Duration // of sessions that are not watched any more
	told      map[SID]bool          // in this term that they are alive
	heard     map[SID]uint64        // numbers of the Keeps that wait for the next tick
	asked     map[SID]uint64        // of those that wait for the tick under way
	propose   time.Duration         // when the next tick is to be proposed, if any were heard
	proposed  time.Duration         // when the tick under way was proposed
	underWay  bool
	due       time.Duration // what Due said last
}

// Kept tells a session that its Keep counts.
type Kept struct {
	Session SID
	Number  uint64
}

// NewWatch begins a term: every session gets all of its time anew.
func NewWatch(sessions []SID, now time.Duration) *Watch {
	w := &Watch{
		deadlines: make(map[SID]time.Duration), over: make(map[SID]time.Duration),
		told: make(map[SID]bool), heard: make(map[SID]uint64), asked: make(map[SID]uint64),
	}
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

// RunsOut returns when a session's lease has run out, whatever it was told last:
// from then on it reads no cache any more.
func (w *Watch) RunsOut(sid SID, now time.Duration) time.Duration {
	if at, watched := w.deadlines[sid]; watched {
		return at
	}
	if _, known := w.over[sid]; !known {
		w.over[sid] = deadline(now)
	}
	return w.over[sid]
}

// Forget forgets a session that has left the State.
func (w *Watch) Forget(sid SID) {
	w.Ended(sid)
	delete(w.over, sid)
}

// Ended stops watching a session, which may have been told that it is alive.
func (w *Watch) Ended(sid SID) {
	if at, watched := w.deadlines[sid]; watched {
		w.over[sid] = max(w.over[sid], at)
	}
	delete(w.deadlines, sid)
	delete(w.told, sid)
	delete(w.heard, sid)
	delete(w.asked, sid)
}

// Keep takes a session's word that it is alive. It reports whether the session
// is watched: one that is not has ended, or was never heard of. One that was
// not told anything in this term does not wait for others.
func (w *Watch) Keep(sid SID, number uint64, now time.Duration) bool {
	if _, watched := w.deadlines[sid]; !watched {
		return false
	}
	if len(w.heard) == 0 {
		w.propose = now + gather
	}
	if !w.told[sid] {
		w.propose = now
	}
	w.heard[sid] = number
	return true
}

// Propose reports whether a Tick is to be proposed now.
func (w *Watch) Propose(now time.Duration) bool {
	if w.underWay || len(w.heard) == 0 || now < w.propose {
		return false
	}
	w.asked, w.heard = w.heard, make(map[SID]uint64)
	w.underWay, w.proposed = true, now
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
			w.deadlines[sid], w.told[sid] = max(w.deadlines[sid], deadline(w.proposed)), true
			kept = append(kept, Kept{sid, number})
		}
	}
	clear(w.asked)
	slices.SortFunc(kept, func(a, b Kept) int { return int(a.Session) - int(b.Session) }) //nolint:gosec // log indexes are small
	return kept
}

// Due returns when Propose or Overdue has something to say, if nothing else
// happens before, and at the latest a while from now.
func (w *Watch) Due(now time.Duration) time.Duration {
	due := now + SessionTTL
	for _, until := range w.deadlines {
		due = min(due, until)
	}
	if len(w.heard) > 0 && !w.underWay {
		due = min(due, w.propose)
	}
	w.due = due
	return due
}

// Overdue returns the sessions that were not heard of in time, ascending. A
// leader that asks much later than Due said was held up itself and may not have
// heard them: it gives all of them their time anew.
func (w *Watch) Overdue(now time.Duration) []SID {
	heldUp := w.due != 0 && now > w.due+gather
	var dead []SID
	for sid, until := range w.deadlines {
		if heldUp {
			until = deadline(now)
			w.deadlines[sid] = until
		}
		if until <= now {
			dead = append(dead, sid)
		}
	}
	slices.Sort(dead)
	return dead
}
