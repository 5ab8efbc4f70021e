package protocol

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Member is one session's part in the protocol: owner of some slots and holder
// of locks in all. It is used by one goroutine at a time.
//
// Its methods leave what is to be done in its Effects, which the caller takes
// after each call, or after several.
type Member struct {
	self      SID
	state     *State
	owners    [Slots]OwnerSlot
	holders   [Slots]HolderSlot
	takeovers []*Takeover
	waits     map[uint64]*wait
	inquiries map[uint64]*inquiry
	last      uint64 // request or inquiry
	lease     Lease
	nextAsk   time.Duration // when open takeovers ask again
	nextRetry time.Duration // when the first of the waits does, or before; 0: none
	judge     time.Duration // when slots are to be moved to who uses them
	effects   Effects
	replies   []Reply // scratch
	part      int     // bytes in a HoldsPart
}

// wait is a request of this session that is not granted yet.
type wait struct {
	slot  Slot
	since time.Duration
	try   bool
	cache bool
	again time.Duration // when to ask again; 0: an answer is due
	delay time.Duration // before the next time
}

// How long a Member lets pass before it asks again.
const (
	askAgain      = 250 * time.Millisecond // sessions that have not answered Assert
	retryFirst    = 2 * time.Millisecond   // an owner that was not, or not yet, one
	retryGreatest = 100 * time.Millisecond
)

// Effects is what a Member wants done.
type Effects struct {
	Send       []Envelope
	Recall     []Recall   // cache leases to be given back, before anything else is done
	Wake       []Decision // for requests that Acquire left waiting
	Found      []Findings // of inquiries
	Lost       bool       // the session has ended: all that it held is lost
	Violations []error    // what the protocol rules out has happened
}

// Recall is a cache lease that is wanted back, which may not have been granted
// here yet: what was cached under it must not be used any more before Release
// is called for it.
type Recall struct {
	Slot    Slot
	Request uint64
}

// Envelope is a message on its way.
type Envelope struct {
	From, To SID
	Message  Message
}

// Decision is what became of a request: granted, or Busy.
type Decision struct {
	Request  uint64
	Verdict  Verdict
	Epoch    Epoch
	Sequence uint64
}

// NewMember returns the Member of a session that state, which becomes the
// Member's, knows: Apply keeps it current. The lease is valid once it is
// confirmed.
func NewMember(self SID, state *State, now time.Duration) *Member {
	m := &Member{self: self, state: state, waits: make(map[uint64]*wait), inquiries: make(map[uint64]*inquiry), part: maxPart}
	for slot := range m.holders {
		o := state.Owners[slot]
		m.holders[slot].Assigned(o.Owner, o.Epoch)
	}
	owned := state.SlotsOf(self)
	for _, epoch := range slices.Sorted(maps.Keys(owned)) {
		m.take(epoch, owned[epoch], now)
	}
	return m
}

// State returns the replicated State. The caller must not change it.
func (m *Member) State() *State { return m.state }

// Lease returns the session's lease, which the caller keeps confirmed.
func (m *Member) Lease() *Lease { return &m.lease }

// Take returns what is to be done, and forgets it.
func (m *Member) Take() Effects {
	e := m.effects
	m.effects = Effects{}
	return e
}

// Idle reports whether there is nothing to be done.
func (m *Member) Idle() bool {
	e := &m.effects
	return len(e.Send) == 0 && len(e.Recall) == 0 && len(e.Wake) == 0 && len(e.Found) == 0 && !e.Lost && len(e.Violations) == 0
}

// Apply applies an entry of the log.
func (m *Member) Apply(index uint64, c Command, now time.Duration) Result {
	var result Result
	switch c.(type) {
	case OpenSession, EndSession, MoveSlots:
		result = m.applyMoves(index, c, now)
	default:
		result = m.state.Apply(index, c)
	}
	m.notice()
	return result
}

// applyMoves applies an entry by which slots may change hands.
func (m *Member) applyMoves(index uint64, c Command, now time.Duration) Result {
	before := m.state.Owners
	result := m.state.Apply(index, c)
	if end, ok := c.(EndSession); ok && result.Outcome == Done {
		m.ended(end.Session)
	}
	m.reassign(&before, now)
	return result
}

// Install replaces the State by a later one, as a node does that was too far
// behind to be sent the entries between.
func (m *Member) Install(later *State, now time.Duration) {
	before, known := m.state.Owners, m.state.SessionIDs()
	m.state = later
	for _, sid := range known {
		if later.Standing(sid) == Gone {
			m.ended(sid)
		}
	}
	m.reassign(&before, now)
	m.notice()
}

// notice notices the end of the own session.
func (m *Member) notice() {
	if m.state.Standing(m.self) != Live {
		m.effects.Lost = true
	}
}

// ended is what the end of a session means for those who knew it.
func (m *Member) ended(session SID) {
	for _, t := range m.takeovers {
		t.Gone(session)
	}
	for slot := range m.owners {
		m.deliver(Slot(slot), m.owners[slot].Reap(session, nil)) //nolint:gosec // below Slots
	}
	m.finish()
}

// reassign takes note of the slots that changed hands.
func (m *Member) reassign(before *[Slots]Ownership, now time.Duration) {
	gained := make(map[Epoch][]Slot)
	for i := range m.state.Owners {
		have := m.state.Owners[i]
		if have == before[i] {
			continue
		}
		slot := Slot(i) //nolint:gosec // below Slots
		if m.owners[i].Epoch() != 0 {
			m.deliver(slot, m.owners[i].Resign(nil))
		}
		if have.Owner == m.self {
			gained[have.Epoch] = append(gained[have.Epoch], slot)
		}
		for _, id := range m.holders[i].Assigned(have.Owner, have.Epoch) {
			m.ask(id, now)
		}
	}
	for _, epoch := range slices.Sorted(maps.Keys(gained)) {
		m.take(epoch, gained[epoch], now)
	}
	m.finish()
}

// take begins to take over slots.
func (m *Member) take(epoch Epoch, slots []Slot, now time.Duration) {
	t := NewTakeover(epoch, slots, m.state.SessionIDs())
	own := make(map[Slot][]Held)
	for _, slot := range slots {
		m.owners[slot].Assign(epoch)
		if held, _ := m.holders[slot].Assert(m.self, m.self, epoch); len(held) > 0 {
			own[slot] = held
		}
	}
	t.Answer(m.self, own)
	m.takeovers = append(m.takeovers, t)
	m.assert(t)
	m.nextAsk = now + askAgain
	m.finish()
}

// assert asks the sessions that have not answered.
func (m *Member) assert(t *Takeover) {
	for _, sid := range t.Open() {
		m.assertTo(sid, t)
	}
}

func (m *Member) assertTo(sid SID, t *Takeover) {
	if s := m.state.Sessions[sid]; s != nil && s.Feature >= FeatureParts {
		m.send(sid, AssertFrom{Epoch: t.Epoch, Slots: t.Slots, From: t.Next(sid)})
		return
	}
	m.send(sid, Assert{Epoch: t.Epoch, Slots: t.Slots})
}

// finish activates the slots of takeovers that are over.
func (m *Member) finish() {
	m.takeovers = slices.DeleteFunc(m.takeovers, func(t *Takeover) bool {
		if !t.Done() {
			return false
		}
		for _, slot := range t.Slots {
			o := &m.owners[slot]
			if o.Epoch() != t.Epoch || o.Active() {
				continue
			}
			replies, err := o.Activate(t.Held(slot), nil)
			if err != nil {
				m.effects.Violations = append(m.effects.Violations, fmt.Errorf("slot %d, epoch %d: %w", slot, t.Epoch, err))
			}
			m.deliver(slot, replies)
		}
		return true
	})
}

func (m *Member) send(to SID, message Message) {
	m.effects.Send = append(m.effects.Send, Envelope{From: m.self, To: to, Message: message})
}

// deliver passes on an owner's replies, those to this session itself at once.
func (m *Member) deliver(slot Slot, replies []Reply) {
	for _, r := range replies {
		answer := Answer{Slot: slot, Request: r.ID.Request, Verdict: r.Verdict, Epoch: r.Epoch, Sequence: r.Sequence}
		if r.ID.Session != m.self {
			m.send(r.ID.Session, answer)
			continue
		}
		m.answered(m.self, answer)
	}
}

// Acquire asks for items of one slot. If they are granted at once it returns
// the decision; otherwise one comes with the Effects later, and until then
// Release takes the request back.
func (m *Member) Acquire(slot Slot, items []Item, try bool, now time.Duration) (Decision, bool) {
	return m.acquire(slot, items, wait{slot: slot, since: now, try: try}, now)
}

// Cache asks for a cache lease on a name, as Acquire does, but without waiting
// for those who change it. The session must have started caching. What is read
// while the lease is held may be used until it is recalled, as long as the
// session's Lease is Readable; Release gives it back, unasked too.
func (m *Member) Cache(slot Slot, name string, now time.Duration) (Decision, bool) {
	if !m.state.Caches(m.self) {
		return Decision{Verdict: Busy}, true
	}
	items := []Item{{Name: name, Mode: lock.Shared}}
	return m.acquire(slot, items, wait{slot: slot, since: now, cache: true}, now)
}

func (m *Member) acquire(slot Slot, items []Item, w wait, now time.Duration) (Decision, bool) {
	m.last++
	id := m.last
	m.holders[slot].Ask(id, items, w.cache, now)
	o := &m.owners[slot]
	if !o.Active() || !m.lease.Valid(now) {
		m.await(id, w)
		m.ask(id, now)
		return Decision{Request: id}, false
	}
	m.replies = o.Acquire(Request{ID: ReqID{m.self, id}, Items: items, Since: now, Try: w.try, Cache: w.cache}, m.replies[:0])
	if len(m.replies) == 0 || m.replies[0].Verdict == Recalled {
		m.await(id, w)
		m.deliver(slot, m.replies)
		return Decision{Request: id}, false
	}
	r := m.replies[0]
	if r.Verdict != Granted {
		m.holders[slot].Drop(id)
		return Decision{Request: id, Verdict: Busy}, true
	}
	m.holders[slot].Accept(id, r.Epoch, r.Sequence)
	return Decision{Request: id, Verdict: Granted, Epoch: r.Epoch, Sequence: r.Sequence}, true
}

func (m *Member) await(id uint64, w wait) { m.waits[id] = &w }

// ask sends a waiting request to the owner of its slot.
func (m *Member) ask(id uint64, now time.Duration) {
	w := m.waits[id]
	if w == nil {
		return
	}
	w.again = 0
	h := &m.holders[w.slot]
	owner, _ := h.Owner()
	switch {
	case owner == 0:
		m.later(w, now)
	case owner != m.self:
		m.send(owner, Acquire{Slot: w.slot, Request: id, Items: h.Items(id), Waited: now - w.since, Try: w.try, Cache: w.cache})
	case !m.lease.Valid(now):
		m.later(w, now)
	default:
		m.deliver(w.slot, m.owners[w.slot].Acquire(Request{ID: ReqID{m.self, id}, Items: h.Items(id), Since: w.since, Try: w.try, Cache: w.cache}, nil))
	}
}

// later has a request be asked for again, each time a while later.
func (m *Member) later(w *wait, now time.Duration) {
	w.delay = min(max(2*w.delay, retryFirst), retryGreatest)
	m.retry(w, now+w.delay)
}

func (m *Member) retry(w *wait, at time.Duration) {
	w.again = at
	if m.nextRetry == 0 || at < m.nextRetry {
		m.nextRetry = at
	}
}

// Release gives back what a request holds, or takes it back while it waits.
func (m *Member) Release(slot Slot, id uint64) {
	delete(m.waits, id)
	if !m.holders[slot].Drop(id) {
		return
	}
	m.giveBack(slot, id)
}

// giveBack tells the owner of a slot that a request is over.
func (m *Member) giveBack(slot Slot, id uint64) {
	switch owner, _ := m.holders[slot].Owner(); owner {
	case 0:
	case m.self:
		m.deliver(slot, m.owners[slot].Release(ReqID{m.self, id}, nil))
	default:
		m.send(owner, Release{Slot: slot, Request: id})
	}
}

// Connected says that a new connection to a session is up: what was sent over
// earlier ones may be lost.
func (m *Member) Connected(peer SID, now time.Duration) {
	resync := Resync{Last: m.last}
	for i := range m.holders {
		h := &m.holders[i]
		if owner, epoch := h.Owner(); owner == peer {
			resync.Slots = append(resync.Slots, Listing{Slot: Slot(i), Epoch: epoch, Requests: h.Listed()}) //nolint:gosec // below Slots
		}
	}
	if len(resync.Slots) > 0 {
		m.send(peer, resync)
	}
	for _, id := range m.waiting() {
		if owner, _ := m.holders[m.waits[id].slot].Owner(); owner == peer {
			m.ask(id, now)
		}
	}
	m.giveUpThose(func(q *inquiry) bool { return q.open[peer] != nil })
	for _, t := range m.takeovers {
		if slices.Contains(t.Open(), peer) {
			m.assertTo(peer, t)
		}
	}
}

func (m *Member) waiting() []uint64 {
	ids := make([]uint64, 0, len(m.waits))
	for id := range m.waits {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Tick lets time pass: what got no answer is asked for again.
func (m *Member) Tick(now time.Duration) {
	if len(m.takeovers) > 0 && now >= m.nextAsk {
		for _, t := range m.takeovers {
			m.assert(t)
		}
		m.nextAsk = now + askAgain
	}
	m.giveUpThose(func(q *inquiry) bool { return now >= q.until })
	if m.nextRetry == 0 || now < m.nextRetry {
		return
	}
	m.nextRetry = 0
	for _, id := range m.waiting() {
		switch w := m.waits[id]; {
		case w == nil || w.again == 0:
		case now >= w.again:
			m.ask(id, now)
		default:
			m.retry(w, w.again)
		}
	}
}

// Busy reports whether Tick has to be called often: every few milliseconds, and
// not only now and then.
func (m *Member) Busy() bool { return len(m.takeovers) > 0 || m.nextRetry != 0 || len(m.inquiries) > 0 }

// Receive takes a message from another session. One that is for an earlier
// session of this node, or from a session that has ended, is void.
func (m *Member) Receive(e Envelope, now time.Duration) {
	if e.To != m.self {
		return
	}
	standing := m.state.Standing(e.From)
	if standing == Gone {
		return
	}
	switch msg := e.Message.(type) {
	case Acquire:
		m.serve(e.From, standing, msg, now)
	case Release:
		m.deliver(msg.Slot, m.owners[msg.Slot].Release(ReqID{e.From, msg.Request}, nil))
	case Refuse:
		m.deliver(msg.Slot, m.owners[msg.Slot].Refused(ReqID{e.From, msg.Request}, msg.Epoch, msg.Sequence, nil))
	case Resync:
		for _, l := range msg.Slots {
			if o := &m.owners[l.Slot]; o.Epoch() == l.Epoch && l.Epoch != 0 {
				m.deliver(l.Slot, o.Resync(e.From, msg.Last, l.Requests, nil))
			}
		}
	case Answer:
		m.answered(e.From, msg)
		if w := m.waits[msg.Request]; w != nil && w.again == 1 {
			m.later(w, now)
		}
	case Assert:
		m.report(e.From, msg, now)
	case Holds:
		for _, t := range m.takeovers {
			if t.Epoch == msg.Epoch {
				t.Answer(e.From, msg.Held)
			}
		}
		m.finish()
	case AssertFrom:
		m.reportPart(e.From, msg, now)
	case HoldsPart:
		for _, t := range m.takeovers {
			if t.Epoch == msg.Epoch && t.Part(e.From, msg) {
				m.assertTo(e.From, t)
			}
		}
		m.finish()
	case Inquire:
		m.send(e.From, m.tell(msg))
	case Changes:
		m.told(e.From, msg)
	}
}

// report tells a new owner what this session holds of its slots.
func (m *Member) report(owner SID, msg Assert, now time.Duration) {
	m.depose(owner, msg.Epoch, msg.Slots, now)
	all := make(map[Slot][]Held)
	for _, slot := range msg.Slots {
		if held := m.holders[slot].Held(m.self); len(held) > 0 {
			all[slot] = held
		}
	}
	m.send(owner, Holds{Epoch: msg.Epoch, Held: all})
}

// reportPart tells a new owner a part of it. Grants of earlier owners are accepted
// no more in any of the slots, whichever the part is about.
func (m *Member) reportPart(owner SID, msg AssertFrom, now time.Duration) {
	m.depose(owner, msg.Epoch, msg.Slots, now)
	part := HoldsPart{Epoch: msg.Epoch, From: msg.From, Held: make(map[Slot][]Held)}
	size := 0
	for _, slot := range msg.Slots {
		if slot < msg.From.Slot {
			continue
		}
		for _, h := range m.holders[slot].Held(m.self) {
			at := Place{slot, h.ID.Request}
			if at.compare(msg.From) < 0 {
				continue
			}
			if size += h.size(); size > m.part && len(part.Held) > 0 {
				part.Next, part.More = at, true
				m.send(owner, part)
				return
			}
			part.Held[slot] = append(part.Held[slot], h)
		}
	}
	m.send(owner, part)
}

// depose takes note of a new owner of slots. Where this session was the owner so
// far, it is no longer, whether or not it has applied the entry that says so.
func (m *Member) depose(owner SID, epoch Epoch, slots []Slot, now time.Duration) {
	for _, slot := range slots {
		if o := &m.owners[slot]; o.Epoch() != 0 && o.Epoch() < epoch {
			m.deliver(slot, o.Resign(nil))
		}
		for _, id := range m.holders[slot].Depose(owner, epoch) {
			m.ask(id, now)
		}
	}
}

// serve answers a request as the owner of its slot.
func (m *Member) serve(from SID, standing Standing, msg Acquire, now time.Duration) {
	id := ReqID{from, msg.Request}
	if standing != Live || msg.Cache && !m.state.Caches(from) || !m.lease.Valid(now) {
		// A session that is not heard of yet, or not as one that caches, may be all
		// right: it has to ask again.
		m.send(from, Answer{Slot: msg.Slot, Request: msg.Request, Verdict: Retry})
		return
	}
	request := Request{ID: id, Items: msg.Items, Since: now - msg.Waited, Try: msg.Try, Cache: msg.Cache}
	m.deliver(msg.Slot, m.owners[msg.Slot].Acquire(request, nil))
}

// answered takes an owner's answer.
func (m *Member) answered(from SID, msg Answer) {
	switch msg.Verdict {
	case Granted:
		w := m.waits[msg.Request]
		if !m.holders[msg.Slot].Accept(msg.Request, msg.Epoch, msg.Sequence) {
			m.refuse(from, msg)
			if w != nil && w.again == 0 {
				m.retry(w, 1) // whoever granted it may be the owner anew, and have forgotten it by then
			}
			return
		}
		if w == nil {
			return // a grant that was sent again
		}
	case Busy:
		if _, waits := m.waits[msg.Request]; !waits {
			return
		}
		m.holders[msg.Slot].Drop(msg.Request)
	case Retry:
		if w := m.waits[msg.Request]; w != nil && w.again == 0 {
			m.retry(w, 1) // at the next tick; Receive knows a better time
		}
		return
	case Recalled:
		if m.holders[msg.Slot].Items(msg.Request) != nil { // also before its grant has come
			m.effects.Recall = append(m.effects.Recall, Recall{Slot: msg.Slot, Request: msg.Request})
		}
		return
	}
	delete(m.waits, msg.Request)
	m.effects.Wake = append(m.effects.Wake, Decision{Request: msg.Request, Verdict: msg.Verdict, Epoch: msg.Epoch, Sequence: msg.Sequence})
}

// refuse gives back a grant that is not wanted to who sent it.
func (m *Member) refuse(from SID, msg Answer) {
	if from == m.self {
		m.deliver(msg.Slot, m.owners[msg.Slot].Refused(ReqID{m.self, msg.Request}, msg.Epoch, msg.Sequence, nil))
		return
	}
	m.send(from, Refuse{Slot: msg.Slot, Request: msg.Request, Epoch: msg.Epoch, Sequence: msg.Sequence})
}

// Counts is what a Member knows of itself.
type Counts struct {
	Owned, Recovering int // slots
	Granted, Queued   int // requests in them
	Holding, Waiting  int // requests of this session
	Cached            int // of those granted, cache leases
}

// Counts counts. It looks at every slot.
func (m *Member) Counts() Counts {
	c := Counts{Waiting: len(m.waits)}
	for i := range m.owners {
		o := &m.owners[i]
		if o.Epoch() != 0 {
			c.Owned++
			if !o.Active() {
				c.Recovering++
			}
			held, waiting := o.Counts()
			c.Granted, c.Queued, c.Cached = c.Granted+held, c.Queued+waiting, c.Cached+o.cached
		}
		c.Holding += m.holders[i].granted()
	}
	return c
}

// HeldLock is a name that this session has locked.
type HeldLock struct {
	Item
	Request uint64
	Since   time.Duration // when it was asked for, on the session's clock
}

// Held returns what this session has locked for the longest time, up to a number of names.
// Cache leases are left out. It looks at every slot.
func (m *Member) Held(most int) (held []HeldLock) {
	for i := range m.holders {
		for id, r := range m.holders[i].requests {
			if !r.granted || r.cache {
				continue
			}
			for _, item := range r.items {
				held = append(held, HeldLock{Item: item, Request: id, Since: r.since})
			}
		}
	}
	slices.SortFunc(held, func(a, b HeldLock) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Request, b.Request), cmp.Compare(a.Name, b.Name))
	})
	return held[:min(len(held), most)]
}
