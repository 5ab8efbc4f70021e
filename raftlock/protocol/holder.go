package protocol

import (
	"cmp"
	"slices"
	"time"
)

// HolderSlot is a slot as a session keeps it that asks for locks in it: what it
// was granted, what it still waits for, and from which epoch on it accepts
// grants. It lives as long as the session.
type HolderSlot struct {
	owner    SID   // whom to ask
	epoch    Epoch // of the owner
	min      Epoch // grants of earlier ones are refused
	requests map[uint64]*holding
}

// holding is one request of this session.
type holding struct {
	items    []Item
	since    time.Duration // when it was asked for
	cache    bool
	granted  bool
	epoch    Epoch
	sequence uint64
}

// Assigned tells who owns the slot since when, as the replicated State or the
// owner itself says. If that is news it returns the requests that wait and must be sent there;
// a grant of an earlier owner that is still under way will be refused.
func (h *HolderSlot) Assigned(owner SID, epoch Epoch) (ask []uint64) {
	if epoch <= h.epoch {
		return nil
	}
	h.owner, h.epoch, h.min = owner, epoch, max(h.min, epoch)
	return h.pending()
}

// Owner returns whom to ask, since when it is the owner.
func (h *HolderSlot) Owner() (SID, Epoch) { return h.owner, h.epoch }

func (h *HolderSlot) pending() []uint64 {
	var ask []uint64
	for id, r := range h.requests {
		if !r.granted {
			ask = append(ask, id)
		}
	}
	slices.Sort(ask)
	return ask
}

// Ask notes a request that is about to be sent.
func (h *HolderSlot) Ask(id uint64, items []Item, cache bool, now time.Duration) {
	if h.requests == nil {
		h.requests = make(map[uint64]*holding)
	}
	h.requests[id] = &holding{items: sortItems(items), since: now, cache: cache}
}

// Items returns what a request asked for.
func (h *HolderSlot) Items(id uint64) []Item {
	if r := h.requests[id]; r != nil {
		return r.items
	}
	return nil
}

// Accept takes a grant. It reports whether the request holds its items now; if
// not, the grant came from an owner that was deposed, or for a request that
// nobody waits for any more, and has to be given back to who sent it.
//
// A grant that comes again is accepted again.
func (h *HolderSlot) Accept(id uint64, epoch Epoch, sequence uint64) bool {
	r := h.requests[id]
	if r == nil {
		return false
	}
	if r.granted {
		return r.epoch == epoch && r.sequence == sequence
	}
	if epoch < h.min {
		return false
	}
	r.granted, r.epoch, r.sequence = true, epoch, sequence
	return true
}

// Drop forgets a request that was released or given up. It reports whether it
// was there.
func (h *HolderSlot) Drop(id uint64) bool {
	_, there := h.requests[id]
	delete(h.requests, id)
	return there
}

// Assert answers a new owner that asks what this session holds of the slot.
// From then on no grant of an earlier epoch is accepted, so what the answer
// leaves out can never be held. If the owner was not known yet, ask is what
// waits and must be sent to it.
func (h *HolderSlot) Assert(session SID, owner SID, epoch Epoch) (held []Held, ask []uint64) {
	ask = h.Depose(owner, epoch)
	return h.Held(session), ask
}

// Depose is Assert for who asks in parts for what is held.
func (h *HolderSlot) Depose(owner SID, epoch Epoch) (ask []uint64) {
	h.min = max(h.min, epoch)
	return h.Assigned(owner, epoch)
}

// Held returns what this session holds of the slot, in the order of its requests.
func (h *HolderSlot) Held(session SID) (held []Held) {
	for id, r := range h.requests {
		if r.granted {
			held = append(held, Held{ID: ReqID{session, id}, Items: r.items, Epoch: r.epoch, Sequence: r.sequence, Cache: r.cache})
		}
	}
	slices.SortFunc(held, func(a, b Held) int { return cmp.Compare(a.ID.Request, b.ID.Request) })
	return held
}

// Listed returns all requests of the slot, for Resync.
func (h *HolderSlot) Listed() []uint64 {
	var ids []uint64
	for id := range h.requests {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// granted returns how many requests hold something.
func (h *HolderSlot) granted() int {
	n := 0
	for _, r := range h.requests {
		if r.granted {
			n++
		}
	}
	return n
}
