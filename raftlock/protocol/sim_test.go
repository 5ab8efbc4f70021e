package protocol

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// sim is a fleet of Members with a log, a network, clocks and a storage, all of
// them played by one seeded random source, so that a seed gives one history.
type sim struct {
	rng    *rand.Rand
	now    time.Duration
	events eventHeap
	serial int
	mutant mutant

	log    []Command // entry i has the index i+1
	whole  *State    // after all of it
	leader int       // node, -1: none
	term   int
	nodes  []*simNode
	links  map[[2]int]*simLink
	cut    map[[2]int]bool

	store   map[string]register
	dirs    map[string]bool
	faults  bool
	stopped bool // clients begin nothing more
	loyal   bool // most of what a node wants is its own key

	commits, fenced, expired, moved, patched, cached int
	bad                                              []string
}

// mutant is a rule of the protocol that is left out.
type mutant string

const (
	noFence        mutant = "the dead are forgotten without being fenced"
	oldEpochGrants mutant = "grants of deposed owners are accepted"
	noAssert       mutant = "slots are taken over without asking"
	noResync       mutant = "notes are not compared after a connection broke"
	noResign       mutant = "who gave a slot away goes on granting in it"
	noTombstones   mutant = "a release that comes before what it releases is forgotten"
	noRecall       mutant = "exclusive locks are granted beside cache leases"
	noCacheAssert  mutant = "cache leases are forgotten when slots change hands"
	noRunOut       mutant = "sessions that cache are ended while their lease is good"
	lostChanges    mutant = "a release loses its change"
	noFlux         mutant = "what is being changed is not told of"
	blindToGaps    mutant = "an owner tells of its own epoch to who asks from another one"
	blindToOverrun mutant = "an owner tells of what is left to who asks too late"
	onePart        mutant = "the first part of what is held is taken for all of it"
)

type register struct {
	value int
	token lock.Token
}

type event struct {
	at     time.Duration
	serial int
	do     func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// simNode is one gateway.
type simNode struct {
	id      int
	applied int // entries
	state   *State
	member  *Member // nil while it has no session
	dir     string
	session SID
	rate    float64       // of its clock
	lost    time.Duration // of its clock while it was frozen
	paused  time.Duration // until when, of the world's clock
	opening bool
	watch   *Watch // while it believes to be the leader
	keeps   map[uint64]sentKeep
	keep    uint64
	freezes int // of its clock
	sound   int // freezes before its lease was confirmed
	calls   map[uint64]func(Decision)
	clients []*simClient
	follows *simFollower
	caches  *simCacher
}

// sentKeep is a Keep on its way.
type sentKeep struct {
	at      time.Duration
	freezes int
}

// simLink carries messages one way, in order, until it breaks.
type simLink struct {
	up    bool
	era   int
	ready time.Duration
}

func newSim(seed uint64, nodes int, m mutant) *sim {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 1)), mutant: m, faults: true, loyal: seed%3 == 2, whole: NewState(),
		links: map[[2]int]*simLink{}, cut: map[[2]int]bool{}, store: map[string]register{}, dirs: map[string]bool{},
	}
	for id := range nodes {
		n := &simNode{id: id, state: NewState(), rate: 0.98 + 0.04*s.rng.Float64(), lost: -s.between(0, 2*time.Hour), keeps: map[uint64]sentKeep{}, calls: map[uint64]func(Decision){}}
		s.nodes = append(s.nodes, n)
		for c := range 3 {
			n.clients = append(n.clients, &simClient{sim: s, node: n, id: c})
		}
		n.follows, n.caches = &simFollower{sim: s, node: n, keys: s.rng.Perm(simKeys)[:1+s.rng.IntN(simKeys)]}, &simCacher{sim: s, node: n, leases: map[string]*simCached{}}
	}
	s.elect(0)
	for _, n := range s.nodes {
		s.every(20*time.Millisecond, n, func() { s.beat(n) })
		for _, c := range n.clients {
			c.beginIn(s.between(0, 100*time.Millisecond))
		}
		n.follows.run()
		if n.id%2 == 0 { // those that do not cache are ended sooner
			n.caches.run()
		}
	}
	s.after(time.Second, s.nemesis)
	return s
}

func (s *sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)+1))
}

func (s *sim) after(d time.Duration, do func()) {
	s.serial++
	heap.Push(&s.events, event{s.now + d, s.serial, do})
}

// on runs do on a node, when it is not paused.
func (s *sim) on(n *simNode, d time.Duration, do func()) {
	s.after(d, func() {
		if n.paused > s.now {
			s.on(n, n.paused-s.now+s.between(0, time.Millisecond), do)
			return
		}
		do()
	})
}

func (s *sim) every(d time.Duration, n *simNode, do func()) {
	s.on(n, d, func() {
		do()
		s.every(d, n, do)
	})
}

func (s *sim) run(until time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= until && len(s.bad) == 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	s.now = until
}

func (s *sim) fail(format string, args ...any) {
	s.bad = append(s.bad, fmt.Sprintf("%v: ", s.now)+fmt.Sprintf(format, args...))
}

// clock is the time as a node sees it.
func (n *simNode) clock(s *sim) time.Duration {
	return time.Duration(float64(s.now)*n.rate) - n.lost + time.Hour
}

// connected reports whether two nodes reach one another now.
func (s *sim) connected(a, b int) bool {
	return a == b || !s.cut[[2]int{a, b}] && !s.cut[[2]int{b, a}]
}

// majority reports whether a node reaches most of the others.
func (s *sim) majority(id int) bool {
	reach := 0
	for _, n := range s.nodes {
		if s.connected(id, n.id) && n.paused <= s.now {
			reach++
		}
	}
	return 2*reach > len(s.nodes)
}

// elect makes a node the leader. The one before does not notice at once.
func (s *sim) elect(id int) {
	s.leader = id
	s.term++
	n := s.nodes[id]
	for n.applied < len(s.log) {
		s.applyNext(n)
	}
	n.watch = NewWatch(n.state.SessionIDs(), n.clock(s))
}

// propose has the leader append a command, if it is still one and has its
// majority; done tells whether it was committed, as far as that can be known.
func (s *sim) propose(from *simNode, c Command, done func(index uint64, ok bool)) {
	term := s.term
	s.on(from, s.between(200*time.Microsecond, 3*time.Millisecond), func() {
		if s.leader < 0 || term != s.term || !s.connected(from.id, s.leader) || !s.majority(s.leader) {
			done(0, false)
			return
		}
		s.log = append(s.log, c)
		index := uint64(len(s.log))
		s.whole.Apply(index, c)
		for _, n := range s.nodes {
			s.replicate(n, int(index))
		}
		known := s.rng.IntN(20) > 0 // otherwise the outcome is never told
		s.on(from, s.between(200*time.Microsecond, 2*time.Millisecond), func() { done(index, known) })
	})
}

// replicate brings a node up to an index, sooner or later.
func (s *sim) replicate(n *simNode, index int) {
	delay := s.between(100*time.Microsecond, 5*time.Millisecond)
	if s.rng.IntN(20) == 0 {
		delay *= 40
	}
	s.on(n, delay, func() {
		if !s.connected(n.id, s.leader) {
			s.after(100*time.Millisecond, func() { s.replicate(n, index) })
			return
		}
		if n.applied < index-1 && n.watch == nil && s.rng.IntN(3) == 0 {
			s.install(n)
		}
		for n.applied < index {
			s.applyNext(n)
		}
	})
}

// install brings a node up to date by a snapshot.
func (s *sim) install(n *simNode) {
	later, err := ParseSnapshot(s.whole.AppendSnapshot(nil))
	if err != nil {
		s.fail("a snapshot cannot be read: %v", err)
		return
	}
	n.applied = len(s.log)
	if n.member == nil {
		n.state = later
		return
	}
	n.state = later
	n.member.Install(later, n.clock(s))
	s.effects(n)
}

func (s *sim) applyNext(n *simNode) {
	c := s.log[n.applied]
	n.applied++
	if n.member != nil {
		s.applyTo(n.member, uint64(n.applied), c, n.clock(s))
	} else {
		n.state.Apply(uint64(n.applied), c)
	}
	if n.watch != nil {
		switch c := c.(type) {
		case OpenSession:
			n.watch.Opened(SID(n.applied), n.clock(s))
		case EndSession:
			n.watch.Forget(c.Session)
		}
	}
	s.effects(n)
}

func (s *sim) applyTo(m *Member, index uint64, c Command, now time.Duration) {
	move, moves := c.(MoveSlots)
	kept := make(map[Slot]OwnerSlot)
	if s.mutant == noResign && moves && move.To != m.self {
		for _, x := range move.Slots {
			if o := m.owners[x.Slot]; o.active {
				kept[x.Slot] = o
			}
		}
	}
	m.Apply(index, c, now)
	for slot, o := range kept {
		m.owners[slot] = o
	}
}

// effects carries out what a Member wants done.
func (s *sim) effects(n *simNode) {
	m := n.member
	if m == nil {
		return
	}
	s.mutate(m)
	e := m.Take()
	for _, v := range e.Violations {
		s.fail("violation: %v", v)
	}
	for _, r := range e.Recall {
		n.caches.recalled(r)
	}
	for _, envelope := range e.Send {
		s.send(n, envelope)
	}
	for _, f := range e.Found {
		n.follows.found(f)
	}
	for _, d := range e.Wake {
		if call := n.calls[d.Request]; call != nil {
			delete(n.calls, d.Request)
			call(d)
		}
	}
	if e.Lost && n.member == m {
		s.lose(n)
	}
}

// mutate leaves a rule out.
func (s *sim) mutate(m *Member) {
	switch s.mutant {
	case oldEpochGrants:
		for i := range m.holders {
			m.holders[i].min = 0
		}
	case noAssert:
		for _, t := range m.takeovers {
			for _, sid := range t.Open() {
				t.Answer(sid, nil)
			}
		}
		m.finish()
	case noTombstones:
		for i := range m.owners {
			clear(m.owners[i].buried)
		}
	case noRecall:
		for i := range m.owners {
			m.owners[i].forgetCaches()
		}
	case lostChanges:
		for i := range m.owners {
			j := &m.owners[i].journal
			j.entries, j.size = nil, 0
		}
	}
}

// lose ends a node's session as the node sees it.
func (s *sim) lose(n *simNode) {
	n.state, n.member = n.member.State(), nil
	n.calls = map[uint64]func(Decision){}
	for _, c := range n.clients {
		c.lost()
	}
	n.follows.lost()
	n.caches.lost()
}

// open gives a node a session.
func (s *sim) open(n *simNode) {
	n.opening = true
	s.serial++
	dir := fmt.Sprintf("dir-%d-%d", n.id, s.serial)
	s.dirs[dir] = true
	attempt := s.serial
	command := OpenSession{Node: fmt.Sprint(n.id), Nonce: dir, Dir: dir, Feature: uint32(FeatureParts - n.id%3/2)} //nolint:gosec // positive; one in three is of an earlier version
	s.propose(n, command, func(index uint64, ok bool) { s.opened(n, command, index, ok, attempt) })
}

func (s *sim) opened(n *simNode, c OpenSession, index uint64, ok bool, attempt int) {
	if !ok {
		s.on(n, 50*time.Millisecond, func() {
			s.propose(n, c, func(index uint64, ok bool) { s.opened(n, c, index, ok, attempt) })
		})
		return
	}
	if n.applied < int(index) {
		s.on(n, 5*time.Millisecond, func() { s.opened(n, c, index, ok, attempt) })
		return
	}
	n.opening = false
	for sid, session := range n.state.Sessions {
		if session.Nonce == c.Nonce && !session.Expired {
			n.session, n.dir = sid, c.Dir
			n.member = NewMember(sid, n.state, n.clock(s))
			n.member.part = 1
			n.keeps = map[uint64]sentKeep{}
			for _, peer := range s.nodes {
				if peer != n {
					s.connect(n.id, peer.id)
				}
			}
			s.effects(n)
		}
	}
}

// beat is what a node does all the time.
func (s *sim) beat(n *simNode) {
	if n.member == nil {
		if !n.opening {
			s.open(n)
		}
	} else {
		n.member.Tick(n.clock(s))
		s.effects(n)
		s.sendKeep(n)
		for _, move := range n.member.Moves(n.clock(s)) {
			s.moved += len(move.Slots)
			s.propose(n, move, func(uint64, bool) {})
		}
	}
	if n.watch != nil {
		s.lead(n)
	}
}

func (s *sim) sendKeep(n *simNode) {
	if n.member == nil || s.leader < 0 || s.rng.IntN(10) > 0 {
		return
	}
	n.keep++
	number, sid, leader := n.keep, n.session, s.nodes[s.leader]
	n.keeps[number] = sentKeep{n.clock(s), n.freezes}
	if !s.connected(n.id, leader.id) {
		return
	}
	s.on(leader, s.between(100*time.Microsecond, 2*time.Millisecond), func() {
		if leader.watch == nil || !s.connected(n.id, leader.id) {
			return
		}
		leader.watch.Keep(sid, number, leader.clock(s))
	})
}

// lead is what a leader does all the time, one that was deposed included until
// it notices.
func (s *sim) lead(n *simNode) {
	if n.id != s.leader && s.rng.IntN(10) == 0 {
		n.watch = nil
		return
	}
	w := n.watch
	if w.Propose(n.clock(s)) {
		if n.id != s.leader {
			w.Ticked(false)
		} else {
			s.propose(n, Tick{}, func(_ uint64, ok bool) {
				for _, k := range w.Ticked(ok) {
					s.tellKept(n, k)
				}
			})
		}
	}
	if n.id != s.leader {
		return
	}
	for _, sid := range w.Overdue(n.clock(s)) {
		s.expire(n, sid)
	}
	w.Due(n.clock(s))
	if s.faults && s.rng.IntN(400) == 0 {
		if ids := n.state.SessionIDs(); len(ids) > 0 {
			s.expire(n, ids[s.rng.IntN(len(ids))]) // for no reason
		}
	}
	for _, sid := range n.state.SessionIDs() {
		if n.state.Sessions[sid].Expired && s.rng.IntN(5) == 0 {
			s.fence(n, sid, n.state.Sessions[sid].Dir)
		}
	}
}

func (s *sim) tellKept(leader *simNode, k Kept) {
	for _, n := range s.nodes {
		if n.session == k.Session && s.connected(n.id, leader.id) {
			s.on(n, s.between(100*time.Microsecond, 2*time.Millisecond), func() {
				if sent, ok := n.keeps[k.Number]; ok && n.member != nil && n.session == k.Session {
					n.member.Lease().ConfirmCaches(sent.at)
					n.sound = max(n.sound, sent.freezes)
				}
			})
		}
	}
}

func (s *sim) expire(n *simNode, sid SID) {
	s.expired++
	s.propose(n, ExpireSession{sid}, func(uint64, bool) {})
}

// fence removes the directory of a session, and says so when it is gone.
func (s *sim) fence(n *simNode, sid SID, dir string) {
	s.on(n, s.between(time.Millisecond, 20*time.Millisecond), func() {
		if s.mutant != noFence {
			delete(s.dirs, dir)
		}
		mayRead := n.watch == nil || n.clock(s) < n.watch.RunsOut(sid, n.clock(s))
		if n.state.Caches(sid) && mayRead && s.mutant != noRunOut {
			return
		}
		s.propose(n, EndSession{Session: sid}, func(uint64, bool) {})
	})
}

// send puts a message on the link to the node that the session is of.
func (s *sim) send(from *simNode, e Envelope) {
	to := -1
	for _, n := range s.nodes {
		if n.session == e.To {
			to = n.id
		}
	}
	if to < 0 || to == from.id {
		return
	}
	l := s.link(from.id, to)
	if !l.up {
		return
	}
	b := AppendMessage(nil, s.garble(e.Message))
	message, err := ParseMessage(b)
	if err != nil {
		s.fail("%T does not survive the wire: %v", e.Message, err)
		return
	}
	e.Message = message
	delay := s.between(50*time.Microsecond, time.Millisecond)
	if s.rng.IntN(50) == 0 {
		delay *= 30
	}
	l.ready = max(l.ready+1, s.now+delay)
	era := l.era
	s.on(s.nodes[to], l.ready-s.now, func() {
		n := s.nodes[to]
		if !l.up || l.era != era || n.member == nil {
			return
		}
		s.receive(n, e)
		s.effects(n)
	})
}

func (s *sim) link(from, to int) *simLink {
	l := s.links[[2]int{from, to}]
	if l == nil {
		l = &simLink{}
		s.links[[2]int{from, to}] = l
	}
	return l
}

// connect makes the two links between nodes anew.
func (s *sim) connect(a, b int) {
	if !s.connected(a, b) {
		return
	}
	for _, pair := range [][2]int{{a, b}, {b, a}} {
		l := s.link(pair[0], pair[1])
		l.up = true
		l.era++
		l.ready = s.now
	}
	for _, pair := range [][2]int{{a, b}, {b, a}} {
		n, peer := s.nodes[pair[0]], s.nodes[pair[1]]
		era := s.link(pair[0], pair[1]).era
		s.on(n, s.between(0, 2*time.Millisecond), func() {
			if n.member == nil || s.mutant == noResync || s.link(pair[0], pair[1]).era != era {
				return
			}
			n.member.Connected(peer.session, n.clock(s))
			s.effects(n)
		})
	}
}

func (s *sim) disconnect(a, b int) {
	for _, pair := range [][2]int{{a, b}, {b, a}} {
		l := s.link(pair[0], pair[1])
		l.up = false
		l.era++
	}
}

// nemesis does something bad, and again.
func (s *sim) nemesis() {
	if !s.faults {
		return
	}
	a, b := s.rng.IntN(len(s.nodes)), s.rng.IntN(len(s.nodes))
	heal := s.between(10*time.Millisecond, 5*time.Second)
	switch s.rng.IntN(6) {
	case 0: // a node is cut off
		for other := range s.nodes {
			s.cutFor(a, other, heal)
		}
	case 1: // two nodes do not see one another
		s.cutFor(a, b, heal)
	case 2: // a connection breaks
		if a != b {
			s.disconnect(a, b)
			s.after(s.between(0, 50*time.Millisecond), func() { s.connect(a, b) })
		}
	case 3: // a node stands still, with or without its clock
		n := s.nodes[a]
		n.paused = s.now + heal
		if s.rng.IntN(2) == 0 {
			n.lost += time.Duration(float64(heal) * n.rate)
			n.freezes++
		}
	case 4: // another leader
		if s.majority(a) && s.nodes[a].paused <= s.now {
			s.elect(a)
		}
	case 5: // slots move
		if ids := s.nodes[a].state.SessionIDs(); len(ids) > 0 {
			move := MoveSlots{To: ids[s.rng.IntN(len(ids))]}
			for range 20 {
				slot := s.keySlot(s.rng.IntN(simKeys))
				move.Slots = append(move.Slots, SlotSeen{slot, s.nodes[a].state.Owners[slot].Epoch})
			}
			s.propose(s.nodes[a], move, func(uint64, bool) {})
		}
	}
	if s.leader >= 0 && (!s.majority(s.leader) || s.nodes[s.leader].paused > s.now) {
		s.after(s.between(500*time.Millisecond, 1500*time.Millisecond), s.replaceLeader)
	}
	s.after(s.between(50*time.Millisecond, 1500*time.Millisecond), s.nemesis)
}

func (s *sim) replaceLeader() {
	if s.leader >= 0 && s.majority(s.leader) && s.nodes[s.leader].paused <= s.now {
		return
	}
	for _, id := range s.rng.Perm(len(s.nodes)) {
		if s.majority(id) && s.nodes[id].paused <= s.now {
			s.elect(id)
			return
		}
	}
	s.after(time.Second, s.replaceLeader)
}

func (s *sim) cutFor(a, b int, heal time.Duration) {
	if a == b {
		return
	}
	s.cut[[2]int{a, b}] = true
	s.disconnect(a, b)
	s.after(heal, func() {
		delete(s.cut, [2]int{a, b})
		s.connect(a, b)
	})
}

// simKeys is how many registers there are. Most are wanted all the time, the
// last ones now and then, so that it shows when one change of theirs is missed.
const (
	simKeys  = 10
	simQuiet = 4
)

func (s *sim) pickKey(n *simNode) int {
	if s.loyal && s.rng.IntN(8) > 0 {
		return n.id
	}
	if s.rng.IntN(8) == 0 {
		return simKeys - 1 - s.rng.IntN(simQuiet)
	}
	return s.rng.IntN(simKeys - simQuiet)
}

func (s *sim) keySlot(key int) Slot { return SlotOf("bucket", fmt.Sprint("key-", key), DefaultSpread) }

// simClient reads, changes and writes registers under locks, for ever.
type simClient struct {
	sim  *sim
	node *simNode
	id   int
	era  int // of what it does; a lost session ends it
	held []heldLock
	done int
}

type heldLock struct {
	slot Slot
	id   uint64
	key  string
	mode lock.Mode
	tok  lock.Token
}

func (c *simClient) lost() {
	c.era++
	c.held = nil
	c.beginIn(c.sim.between(time.Millisecond, 20*time.Millisecond))
}

// beginIn begins after a while, unless something else has begun by then.
func (c *simClient) beginIn(d time.Duration) {
	era := c.era
	c.sim.on(c.node, d, func() {
		if c.era == era {
			c.begin()
		}
	})
}

// begin takes locks on one or two keys, in the order that all take them in.
func (c *simClient) begin() {
	s := c.sim
	if s.stopped {
		return
	}
	if c.node.member == nil {
		c.beginIn(20 * time.Millisecond)
		return
	}
	c.era++
	keys := []int{s.pickKey(c.node)}
	if s.rng.IntN(3) == 0 {
		if second := s.pickKey(c.node); second != keys[0] {
			keys = append(keys, second)
		}
	}
	slices.SortStableFunc(keys, func(a, b int) int { return cmp.Compare(s.keySlot(a), s.keySlot(b)) }) // as every request takes them
	mode := lock.Exclusive
	if s.rng.IntN(4) == 0 {
		mode = lock.Shared
	}
	c.acquire(keys, mode)
}

func (c *simClient) acquire(keys []int, mode lock.Mode) {
	s, n := c.sim, c.node
	if len(keys) == 0 {
		c.work()
		return
	}
	slot, key := s.keySlot(keys[0]), fmt.Sprint("key-", keys[0])
	items := []Item{{Name: "bucket", Mode: lock.Shared}, {Name: key, Mode: mode}}
	era := c.era
	granted := func(d Decision) {
		if d.Verdict != Granted {
			c.giveUp()
			return
		}
		c.held = append(c.held, heldLock{slot, d.Request, key, mode, lock.Token{Epoch: uint64(d.Epoch), Sequence: d.Sequence}})
		c.acquire(keys[1:], mode)
	}
	d, decided := n.member.Acquire(slot, items, s.rng.IntN(10) == 0, n.clock(s))
	if decided {
		granted(d)
		s.effects(n)
		return
	}
	n.calls[d.Request] = func(d Decision) {
		if c.era == era {
			granted(d)
		}
	}
	s.effects(n)
	s.on(n, s.between(100*time.Millisecond, 4*time.Second), func() {
		if c.era != era || n.calls[d.Request] == nil {
			return
		}
		delete(n.calls, d.Request)
		n.member.Release(slot, d.Request)
		s.effects(n)
		c.giveUp()
	})
}

// giveUp releases what is held and begins again.
func (c *simClient) giveUp() {
	s, n := c.sim, c.node
	c.era++
	for _, h := range c.held {
		n.member.Release(h.slot, h.id)
	}
	c.held = nil
	s.effects(n)
	c.beginIn(s.between(0, 5*time.Millisecond))
}

// work reads the registers, and writes them a while later.
func (c *simClient) work() {
	s, n := c.sim, c.node
	era, held, dir := c.era, slices.Clone(c.held), n.dir
	read := make([]int, len(held))
	s.on(n, s.between(100*time.Microsecond, time.Millisecond), func() {
		if c.era != era {
			return
		}
		for i, h := range held {
			read[i] = s.store[h.key].value
		}
		s.on(n, s.between(0, 5*time.Millisecond), func() {
			if c.era != era || n.member == nil {
				return
			}
			if !n.member.Lease().Valid(n.clock(s)) {
				c.giveUp()
				return
			}
			// What follows is one rename: it may be delayed for as long as it
			// likes, and whoever waits for it may be gone by then.
			delay := s.between(50*time.Microsecond, time.Millisecond)
			if s.faults && s.rng.IntN(30) == 0 {
				delay = s.between(0, 6*time.Second)
			}
			s.on(n, delay, func() { c.commit(era, held, read, dir) })
		})
	})
}

func (c *simClient) commit(era int, held []heldLock, read []int, dir string) {
	s := c.sim
	for i, h := range held {
		if !s.dirs[dir] {
			s.fenced++
			break
		}
		have := s.store[h.key]
		if have.value != read[i] {
			s.fail("%s was %d when node %d read it under its lock, and is %d", h.key, read[i], c.node.id, have.value)
			return
		}
		if h.mode != lock.Exclusive {
			continue
		}
		if have.token.Compare(h.tok) >= 0 {
			s.fail("%s was written with the token %v, and now with %v", h.key, have.token, h.tok)
			return
		}
		s.store[h.key] = register{have.value + 1, h.tok}
		s.commits++
	}
	if c.era != era {
		return
	}
	c.done++
	c.giveUp()
}
