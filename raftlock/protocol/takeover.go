package protocol

import "slices"

// Takeover is how a session comes to own slots that were another's: it asks
// every session that may hold something in them. It is over when each has
// answered, or is gone with all that it held. Sessions that are opened later
// need not be asked: they accept no grant of an earlier epoch.
type Takeover struct {
	Epoch Epoch
	Slots []Slot
	asked map[SID]bool  // answered
	next  map[SID]Place // from where on those that answer in parts have not yet
	held  map[Slot][]Held
}

// maxPart is how much one part of an answer has, in bytes, if it has more than
// one grant.
const maxPart = 256 << 10

// maxReported bounds the grants in a slot that are taken note of from parts. An
// owner makes no more than maxRequests, so whoever tells of more is not believed.
const maxReported = 2 * maxRequests

// NewTakeover begins a takeover of slots that were assigned in one entry.
// sessions are all of the State at that entry, those that have expired
// included: what they hold counts until they are fenced.
func NewTakeover(epoch Epoch, slots []Slot, sessions []SID) *Takeover {
	t := &Takeover{Epoch: epoch, Slots: slots, asked: make(map[SID]bool, len(sessions)), next: make(map[SID]Place), held: make(map[Slot][]Held)}
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
	t.note(held)
}

func (t *Takeover) note(held map[Slot][]Held) {
	for slot, h := range held {
		t.held[slot] = append(t.held[slot], h...)
	}
}

// Part takes one part of such an answer, if it is the next. It reports whether
// it was, and another one has to be asked for. What is released between two parts
// is no loss: the release comes to this session. And nothing is added, since who
// was asked once accepts no grant of an earlier owner.
func (t *Takeover) Part(session SID, p HoldsPart) (again bool) {
	if answered, asked := t.asked[session]; !asked || answered || p.From != t.next[session] || p.More && p.Next.compare(p.From) <= 0 {
		return false
	}
	for slot, h := range p.Held {
		if len(t.held[slot])+len(h) > maxReported {
			return false
		}
	}
	t.note(p.Held)
	if p.More {
		t.next[session] = p.Next
		return true
	}
	t.asked[session] = true
	return false
}

// Next returns from where on a session has not answered.
func (t *Takeover) Next(session SID) Place { return t.next[session] }

// Gone says that a session has left the State: it was fenced, or closed itself.
// What it had reported is void.
func (t *Takeover) Gone(session SID) {
	delete(t.asked, session)
	delete(t.next, session)
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
