package protocol

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// simFollower keeps copies of some registers current by asking what has changed,
// and checks each time that none is older than what it was when it asked.
type simFollower struct {
	sim    *sim
	node   *simNode
	keys   []int
	asked  uint64         // the inquiry under way, 0 if there is none
	floor  map[string]int // the registers when it asked
	values map[string]int // the copies; nil if they cannot be kept current
	marks  []Mark         // of the copies
}

func (f *simFollower) run() {
	s, n := f.sim, f.node
	s.on(n, s.between(time.Millisecond, 500*time.Millisecond), func() {
		if n.member != nil && f.asked == 0 {
			f.ask()
		}
		f.run()
	})
}

func (f *simFollower) ask() {
	s := f.sim
	f.floor = map[string]int{}
	var since []Mark
	for _, key := range f.keys {
		name, slot := fmt.Sprint("key-", key), s.keySlot(key)
		f.floor[name] = s.store[name].value
		if !slices.ContainsFunc(since, func(m Mark) bool { return m.Slot == slot }) {
			since = append(since, f.mark(slot))
		}
	}
	f.asked = f.node.member.Inquire(since, []string{"key-"}, f.node.clock(s))
	s.effects(f.node)
}

func (f *simFollower) mark(slot Slot) Mark {
	if i := slices.IndexFunc(f.marks, func(m Mark) bool { return m.Slot == slot }); i >= 0 {
		return f.marks[i]
	}
	return Mark{Slot: slot}
}

func (f *simFollower) lost() { f.asked, f.values, f.marks = 0, nil, nil }

// found reads again what has changed, a while later. A session that is fenced
// has been told nothing.
func (f *simFollower) found(found Findings) {
	s, n := f.sim, f.node
	if found.Inquiry != f.asked && f.asked != 0 {
		s.fail("inquiry %d of node %d was answered instead of %d", found.Inquiry, n.id, f.asked)
	}
	if found.Marks == nil || !s.dirs[n.dir] {
		f.lost()
		return
	}
	again := found.Names
	if !found.Known || f.values == nil {
		f.values, again = map[string]int{}, nil
		for _, key := range f.keys {
			again = append(again, fmt.Sprint("key-", key))
		}
	} else {
		s.patched++
	}
	f.marks = found.Marks
	session := n.session
	s.on(n, s.between(0, 3*time.Millisecond), func() {
		if n.member == nil || n.session != session {
			return
		}
		for _, name := range again {
			f.values[name] = s.store[name].value
		}
		for name, value := range f.values {
			if value < f.floor[name] {
				s.fail("node %d reads %d as %s, which was %d when it asked what had changed", n.id, value, name, f.floor[name])
			}
		}
		f.asked = 0
	})
}

// simCacher reads registers under cache leases: once from the storage, and from
// then on from memory.
type simCacher struct {
	sim     *sim
	node    *simNode
	started SID // the session that it has started caching in
	leases  map[string]*simCached
}

type simCached struct {
	slot    Slot
	request uint64
	held    bool
	read    bool
	value   int
}

func (c *simCacher) run() {
	s, n := c.sim, c.node
	s.on(n, s.between(time.Millisecond, 60*time.Millisecond), func() {
		if n.member != nil {
			c.use(fmt.Sprint("key-", s.rng.IntN(simKeys)))
			s.effects(n)
		}
		c.run()
	})
}

func (c *simCacher) use(key string) {
	s, n := c.sim, c.node
	lease := c.leases[key]
	switch {
	case c.started != n.session:
		c.start()
	case s.stopped || lease != nil && s.rng.IntN(40) == 0:
		for _, key := range slices.Sorted(maps.Keys(c.leases)) {
			c.giveBack(key, c.leases[key])
		}
	case lease == nil:
		c.acquire(key)
	case lease.read && n.clock(s) < n.member.Lease().Readable() && n.sound == n.freezes:
		s.cached++
		if now := s.store[key].value; lease.value != now {
			s.fail("node %d reads %d as %s under a cache lease, which is %d", n.id, lease.value, key, now)
		}
	}
}

// start has the fleet know that the session caches.
func (c *simCacher) start() {
	session := c.node.session
	c.sim.propose(c.node, StartCaching{Session: session}, func(_ uint64, ok bool) {
		if ok {
			c.started = session
		}
	})
}

func (c *simCacher) acquire(key string) {
	s, n := c.sim, c.node
	lease := &simCached{slot: SlotOf("bucket", key, DefaultSpread)}
	c.leases[key] = lease
	granted := func(d Decision) {
		switch {
		case c.leases[key] != lease:
		case d.Verdict != Granted:
			delete(c.leases, key)
		default:
			lease.held = true
			s.on(n, s.between(0, 5*time.Millisecond), func() { lease.value, lease.read = s.store[key].value, true })
		}
	}
	d, decided := n.member.Cache(lease.slot, key, n.clock(s))
	lease.request = d.Request
	if decided {
		granted(d)
		return
	}
	n.calls[d.Request] = granted
}

func (c *simCacher) giveBack(key string, l *simCached) {
	delete(c.leases, key)
	delete(c.node.calls, l.request)
	c.node.member.Release(l.slot, l.request)
}

func (c *simCacher) recalled(r Recall) {
	for key, l := range c.leases {
		if l.request == r.Request {
			c.giveBack(key, l)
			c.sim.effects(c.node)
			return
		}
	}
}

func (c *simCacher) lost() { c.leases = map[string]*simCached{} }

// simJournal is how much owners keep of what changed, in bytes: a few changes.
const simJournal = 4 * entryOverhead

// receive hands a message to a Member, with rules left out of how it is taken.
func (s *sim) receive(n *simNode, e Envelope) {
	ask, ok := e.Message.(Inquire)
	if !ok {
		n.member.Receive(e, n.clock(s))
		return
	}
	for key := range simKeys {
		n.member.owners[s.keySlot(key)].journal.shrink(simJournal)
	}
	var hidden []*nameQueue
	for i := range ask.Since {
		mark := &ask.Since[i]
		o := &n.member.owners[mark.Slot]
		switch s.mutant {
		case noFlux:
			for _, q := range o.names {
				if q.exclusive == 1 {
					q.exclusive = 0
					hidden = append(hidden, q)
				}
			}
		case blindToGaps:
			mark.Epoch, mark.Number = o.epoch, min(mark.Number, o.journal.last)
		case blindToOverrun:
			o.journal.on, o.journal.lost = true, 0
		}
	}
	n.member.Receive(e, n.clock(s))
	for _, q := range hidden {
		q.exclusive = 1
	}
}

// garble leaves out of a message what a mutant does not say.
func (s *sim) garble(m Message) Message {
	switch m := m.(type) {
	case Holds:
		s.leaveOut(m.Held)
	case HoldsPart:
		s.leaveOut(m.Held)
		m.More = m.More && s.mutant != onePart
		return m
	}
	return m
}

func (s *sim) leaveOut(all map[Slot][]Held) {
	for slot, held := range all {
		if s.mutant == noCacheAssert {
			all[slot] = slices.DeleteFunc(held, func(h Held) bool { return h.Cache })
		}
	}
}

// forgetCaches has an owner believe that nobody caches.
func (o *OwnerSlot) forgetCaches() {
	for _, r := range o.requests {
		if !r.Cache {
			continue
		}
		for _, item := range r.Items[:r.next] {
			o.names[item.Name].giveBack(r, item.Mode)
		}
		r.next = 0
	}
}
