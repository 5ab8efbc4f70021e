package protocol

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Bounds of one slot, which are bounds of what clients can make an owner keep.
const (
	maxRequests   = 8192 // granted and waiting
	maxTombstones = 8192
	maxCached     = 1024 // requests for cache leases, of those granted
)

// Request asks for all of its items, which lie in one slot.
type Request struct {
	ID    ReqID
	Items []Item
	Since time.Duration // when it began to wait, on the owner's clock: what its place in a queue goes by
	Try   bool          // do not wait
	Cache bool          // a cache lease, of shared items: it does not wait, and is given back when it is recalled
}

// Verdict is what becomes of a request.
type Verdict uint8

// The verdicts.
const (
	Granted  Verdict = iota + 1
	Retry            // this is not the owner, or not yet: look again who is
	Busy             // it would have to wait, or the slot has too many requests
	Recalled         // the grant is wanted back: somebody waits to change what it is on
)

// Reply tells a session what became of a request. With Granted it has the
// epoch and number of the grant, which make its token.
type Reply struct {
	ID       ReqID
	Verdict  Verdict
	Epoch    Epoch
	Sequence uint64
}

// Held is a grant as its holder or its owner knows it.
type Held struct {
	ID       ReqID
	Items    []Item
	Epoch    Epoch
	Sequence uint64
	Cache    bool
}

// size is no less than what a grant takes in a message, in bytes.
func (h *Held) size() int {
	size := 6 * binary.MaxVarintLen64
	for _, item := range h.Items {
		size += binary.MaxVarintLen64 + len(item.Name) + 1
	}
	return size
}

// OwnerSlot is a slot as its owner keeps it: which request holds which names,
// and which wait, in order. The zero OwnerSlot is another session's.
//
// Methods append what is to be sent to the replies given to them.
type OwnerSlot struct {
	spare    *nameQueue // for the next name
	epoch    Epoch      // since when the slot is ours; 0: it is not
	active   bool       // all that was held before is known
	sequence uint64
	usage    usage
	names    map[string]*nameQueue
	requests map[ReqID]*request
	cached   int                // of the requests
	journal  journal            // of what changed in the epoch
	buried   map[ReqID]struct{} // released or cancelled before they were known here
	early    []Request          // came before the slot was active
	notes    map[SID]notes      // what sessions wanted when they compared notes before the slot was active
}

// notes is what a session still wants of its requests up to last.
type notes struct {
	last   uint64
	wanted map[uint64]bool
}

func (n notes) drops(id uint64) bool { return id <= n.last && !n.wanted[id] }

// request is a request that was granted or waits for items[next].
type request struct {
	Request
	next     int
	granted  bool
	recalled bool
	epoch    Epoch
	number   uint64
}

// nameQueue is who holds a name and who waits for it.
type nameQueue struct {
	shared, exclusive int
	waiting           []*request // in order of Since
	caches            []*request // of the holders, those that can be recalled
}

func (q *nameQueue) admits(mode lock.Mode) bool {
	return q.exclusive == 0 && (mode == lock.Shared || q.shared == 0)
}

// Epoch returns since when the slot is ours, 0 if it is not.
func (o *OwnerSlot) Epoch() Epoch { return o.epoch }

// Active reports whether the slot is ours and can grant.
func (o *OwnerSlot) Active() bool { return o.active }

// Assign makes the slot ours from an epoch on. It grants nothing before
// Activate.
func (o *OwnerSlot) Assign(epoch Epoch) { *o = OwnerSlot{epoch: epoch} }

// Activate begins to grant, knowing what is held of the slot. An error says
// that two of these exclude one another, which the protocol rules out; the
// names stay taken until both are released.
func (o *OwnerSlot) Activate(held []Held, replies []Reply) ([]Reply, error) {
	var conflict error
	for _, h := range held {
		if o.void(h.ID) {
			continue
		}
		if _, twice := o.requests[h.ID]; twice {
			continue
		}
		r := &request{Request: Request{ID: h.ID, Items: h.Items, Cache: h.Cache}, next: len(h.Items), granted: true, epoch: h.Epoch, number: h.Sequence}
		for _, item := range h.Items {
			q := o.queue(item.Name)
			if !q.admits(item.Mode) {
				conflict = errors.Join(conflict, fmt.Errorf("%q is held by session %d and by others", item.Name, h.ID.Session))
			}
			q.take(r, item.Mode)
		}
		o.keep(r)
	}
	o.active, o.notes = true, nil
	early := o.early
	o.early = nil
	slices.SortStableFunc(early, func(a, b Request) int { return cmp.Compare(a.Since, b.Since) })
	for _, r := range early {
		replies = o.Acquire(r, replies)
	}
	return replies, conflict
}

// void reports whether what a holder reported has been given back since.
func (o *OwnerSlot) void(id ReqID) bool {
	if _, gone := o.buried[id]; gone {
		return true
	}
	return o.notes[id.Session].drops(id.Request)
}

// Resign gives the slot up. Whoever waits is told to look for the new owner;
// what is held its holders will report there.
func (o *OwnerSlot) Resign(replies []Reply) []Reply {
	for _, r := range o.early {
		replies = append(replies, Reply{ID: r.ID, Verdict: Retry})
	}
	for _, r := range slices.SortedFunc(maps.Values(o.requests), inOrder) {
		if !r.granted {
			replies = append(replies, Reply{ID: r.ID, Verdict: Retry})
		}
	}
	*o = OwnerSlot{}
	return replies
}

// Acquire takes in a request. A request that is known is not taken in twice:
// if it was granted the grant is sent again.
func (o *OwnerSlot) Acquire(in Request, replies []Reply) []Reply {
	switch {
	case o.epoch == 0:
		return append(replies, Reply{ID: in.ID, Verdict: Retry})
	case !o.active && len(o.early) < maxRequests:
		o.early = append(o.early, in)
		return replies
	case !o.active:
		return append(replies, Reply{ID: in.ID, Verdict: Busy})
	}
	if r, known := o.requests[in.ID]; known {
		if r.granted {
			replies = append(replies, r.grant())
		}
		return replies
	}
	if _, gone := o.buried[in.ID]; gone {
		delete(o.buried, in.ID)
		return append(replies, Reply{ID: in.ID, Verdict: Retry})
	}
	if len(o.requests) >= maxRequests {
		return append(replies, Reply{ID: in.ID, Verdict: Busy})
	}
	in.Items = sortItems(in.Items)
	if in.Cache && (o.cached >= maxCached || !shared(in.Items)) || (in.Try || in.Cache) && !o.free(in.Items) {
		return append(replies, Reply{ID: in.ID, Verdict: Busy})
	}
	o.usage.count(in.ID.Session)
	r := &request{Request: in}
	o.keep(r)
	return o.advance(r, replies)
}

func (o *OwnerSlot) keep(r *request) {
	if o.requests == nil {
		o.requests = make(map[ReqID]*request)
	}
	o.requests[r.ID] = r
	if r.Cache {
		o.cached++
	}
}

// shared reports whether a request excludes only those who change something.
func shared(items []Item) bool {
	return !slices.ContainsFunc(items, func(i Item) bool { return i.Mode != lock.Shared })
}

// free reports whether a request would not have to wait.
func (o *OwnerSlot) free(items []Item) bool {
	for _, item := range items {
		if q := o.names[item.Name]; q != nil && (len(q.waiting) > 0 || !q.admits(item.Mode)) {
			return false
		}
	}
	return true
}

// advance takes the items of a request in order, until one has to be waited
// for. The order is that of all requests, so they cannot deadlock.
func (o *OwnerSlot) advance(r *request, replies []Reply) []Reply {
	for r.next < len(r.Items) {
		item := r.Items[r.next]
		q := o.queue(item.Name)
		if len(q.waiting) > 0 || !q.admits(item.Mode) {
			i, _ := slices.BinarySearchFunc(q.waiting, r.Since, func(w *request, since time.Duration) int {
				if w.Since <= since {
					return -1
				}
				return 1
			})
			q.waiting = slices.Insert(q.waiting, i, r)
			return q.recall(replies)
		}
		q.take(r, item.Mode)
		r.next++
	}
	o.sequence++
	r.granted, r.epoch, r.number = true, o.epoch, o.sequence
	return append(replies, r.grant())
}

func (r *request) grant() Reply {
	return Reply{ID: r.ID, Verdict: Granted, Epoch: r.epoch, Sequence: r.number}
}

func (r *request) recall() Reply {
	return Reply{ID: r.ID, Verdict: Recalled, Epoch: r.epoch, Sequence: r.number}
}

func (o *OwnerSlot) queue(name string) *nameQueue {
	q := o.names[name]
	if q == nil {
		if o.names == nil {
			o.names = make(map[string]*nameQueue)
		}
		if q = o.spare; q == nil {
			q = &nameQueue{}
		}
		o.spare = nil
		o.names[name] = q
	}
	return q
}

func (q *nameQueue) take(r *request, mode lock.Mode) {
	if r.Cache {
		q.caches = append(q.caches, r)
	}
	if mode == lock.Shared {
		q.shared++
		return
	}
	q.exclusive++
}

func (q *nameQueue) giveBack(r *request, mode lock.Mode) {
	if r.Cache {
		q.caches = slices.DeleteFunc(q.caches, func(c *request) bool { return c == r })
	}
	if mode == lock.Shared {
		q.shared--
		return
	}
	q.exclusive--
}

// recall asks for what is held of a name only for the sake of caches, now that
// somebody waits for it. Its holders wait for nothing, and give it back at once.
func (q *nameQueue) recall(replies []Reply) []Reply {
	for _, r := range q.caches {
		if !r.recalled {
			r.recalled = true
			replies = append(replies, r.recall())
		}
	}
	return replies
}

// Release gives back what a request holds, or takes back its wait: to an owner
// both are the same. A request that is not known may still be on its way, or
// in the report of its holder, so it is remembered.
func (o *OwnerSlot) Release(id ReqID, replies []Reply) []Reply {
	if o.epoch == 0 {
		return replies
	}
	r, known := o.requests[id]
	if !known {
		o.bury(id)
		return replies
	}
	return o.remove(r, replies)
}

// Refused takes back one grant, if it is still the one that counts.
func (o *OwnerSlot) Refused(id ReqID, epoch Epoch, sequence uint64, replies []Reply) []Reply {
	if r := o.requests[id]; r != nil && r.granted && r.epoch == epoch && r.number == sequence {
		return o.remove(r, replies)
	}
	return replies
}

// bury remembers a request that must not be granted any more. The table is
// bounded: what is forgotten costs its names until its session ends or
// compares notes (Resync), and never a wrong grant.
func (o *OwnerSlot) bury(id ReqID) {
	if o.buried == nil {
		o.buried = make(map[ReqID]struct{})
	}
	if len(o.buried) >= maxTombstones {
		for old := range o.buried {
			delete(o.buried, old)
			break
		}
	}
	o.buried[id] = struct{}{}
}

// remove takes a request out and lets those behind it go on. What it had for
// itself counts as changed: only its holder knows better, who may be dead.
func (o *OwnerSlot) remove(r *request, replies []Reply) []Reply {
	delete(o.requests, r.ID)
	if r.granted {
		o.journal.record(r.Items)
	}
	if r.Cache {
		o.cached--
	}
	for i, item := range r.Items[:min(r.next+1, len(r.Items))] {
		q := o.queue(item.Name)
		if i < r.next {
			q.giveBack(r, item.Mode)
		} else if at := slices.Index(q.waiting, r); at >= 0 {
			q.waiting = slices.Delete(q.waiting, at, at+1)
		}
		replies = o.wake(item.Name, q, replies)
	}
	return replies
}

// wake lets those that wait for a name go on as far as it admits them.
func (o *OwnerSlot) wake(name string, q *nameQueue, replies []Reply) []Reply {
	for len(q.waiting) > 0 && q.admits(q.waiting[0].Items[q.waiting[0].next].Mode) {
		r := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.take(r, r.Items[r.next].Mode)
		r.next++
		replies = o.advance(r, replies)
	}
	if q.shared == 0 && q.exclusive == 0 && len(q.waiting) == 0 {
		delete(o.names, name)
		o.spare = q
	}
	return replies
}

// Reap removes all requests of a session that is gone: fenced, or closed by
// itself.
func (o *OwnerSlot) Reap(session SID, replies []Reply) []Reply {
	for _, r := range o.of(session) {
		replies = o.remove(r, replies)
	}
	for id := range o.buried {
		if id.Session == session {
			delete(o.buried, id)
		}
	}
	o.early = slices.DeleteFunc(o.early, func(r Request) bool { return r.ID.Session == session })
	return replies
}

// of returns the requests of a session, in the order in which it made them.
func (o *OwnerSlot) of(session SID) []*request {
	var list []*request
	for id, r := range o.requests {
		if id.Session == session {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, inOrder)
	return list
}

// inOrder compares requests by session, and by when it made them.
func inOrder(a, b *request) int {
	return cmp.Or(cmp.Compare(a.ID.Session, b.ID.Session), cmp.Compare(a.ID.Request, b.ID.Request))
}

// Resync compares notes with a session whose connection was broken: listed are
// all its requests here, of those up to last, that it still wants. Others of
// these are removed, and grants that it may have missed are sent again.
func (o *OwnerSlot) Resync(session SID, last uint64, listed []uint64, replies []Reply) []Reply {
	n := notes{last: last}
	for _, id := range listed {
		if n.wanted == nil {
			n.wanted = make(map[uint64]bool, len(listed))
		}
		n.wanted[id] = true
	}
	if !o.active && last >= o.notes[session].last {
		if o.notes == nil {
			o.notes = make(map[SID]notes)
		}
		o.notes[session] = n
	}
	o.early = slices.DeleteFunc(o.early, func(r Request) bool { return r.ID.Session == session && n.drops(r.ID.Request) })
	for _, r := range o.of(session) {
		switch {
		case n.drops(r.ID.Request):
			replies = o.remove(r, replies)
		case r.granted:
			replies = append(replies, r.grant())
			if r.recalled {
				replies = append(replies, r.recall())
			}
		}
	}
	return replies
}

// Counts returns how many requests hold something and how many wait.
func (o *OwnerSlot) Counts() (held, waiting int) {
	for _, r := range o.requests {
		if r.granted {
			held++
		} else {
			waiting++
		}
	}
	return held, waiting
}
