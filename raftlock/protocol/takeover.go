package protocol

import "slices"

// Takeover is how a session comes to own slots that were another's: it asks
// every session that may hold something in them. It is over when each has
// answered, or is gone with all that it held. Sessions that are opened later
// need not be asked: they accept no grant of an earlier epoch.
type Takeover struct {
	Epoch Epoch
	Slots []Slot
	asked map[SID]bool // answered
	held  map[Slot][]Held
}

// NewTakeover begins a takeover of slots that were assigned in one entry.
// sessions are all of the State at that entry, those that have expired
// included: what they hold counts until they are fenced.
func NewTakeover(epoch Epoch, slots []Slot, sessions []SID) *Takeover {
	t := &Takeover{Epoch: epoch, Slots: slots, asked: make(map[SID]bool, len(sessions)), held: make(map[Slot][]Held)}
	for _, sid := range sessions {
		t.asked[sid] = false
	}
	return t
}

// Open returns the sessions that have not answered, ascending.
func (t *Takeover) Open() []SID {
	var open []SID
	for sid, answered := range t.asked {
		if !answered {
			open = append(open, sid)
		}
	}
	slices.Sort(open)
	return open
}

// Answer takes what a session says that it holds of the slots. A second answer
// of it changes nothing.
func (t *Takeover) Answer(session SID, held map[Slot][]Held) {
	if answered, asked := t.asked[session]; !asked || answered {
		return
	}
	t.asked[session] = true
	for slot, h := range held {
		t.held[slot] = append(t.held[slot], h...)
	}
}

// Gone says that a session has left the State: it was fenced, or closed itself.
// What it had reported is void.
func (t *Takeover) Gone(session SID) {
	delete(t.asked, session)
	for slot, held := range t.held {
		t.held[slot] = slices.DeleteFunc(held, func(h Held) bool { return h.ID.Session == session })
	}
}

// Done reports whether all have answered.
func (t *Takeover) Done() bool {
	for _, answered := range t.asked {
		if !answered {
			return false
		}
	}
	return true
}

// Held returns what is held of a slot, once Done.
func (t *Takeover) Held(slot Slot) []Held { return t.held[slot] }
