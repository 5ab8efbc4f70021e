// Package cluster has several nodes agree on the drives of sets: who they are, which drives
// they have, how these are formed, and what stands for those that are lost. It gives the
// drives to the Store as slots, wherever they are.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/arbiter"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/node"
	"github.com/shoal-storage/shoal/erasure/register"
)

// Config says what a Cluster is of.
type Config struct {
	Self string       // a name of this process, which no other has, nor will have
	Sets [][]Endpoint // in the order of the command line, which is the same on all nodes
	// Dial connects to the node of an Endpoint, and returns who that is.
	Dial func(ctx context.Context, node, protocol string) (c net.Conn, who string, err error)
	// Plain has contents go between nodes as they are; nil: encrypted as all else.
	Plain  *Plain
	Missed func() int64  // how often drives may have missed something, as this node knows
	Placed func() uint64 // the epoch of the placement by which this node acts; 0: it does not yet
	Logger *slog.Logger
}

// Plain is how contents go between nodes that trust their network with them: on connections
// for which the other node has given out a ticket.
type Plain struct {
	Ticket func() ([]byte, error)
	Dial   func(ctx context.Context, node string, ticket []byte) (net.Conn, error)
}

// Cluster is this node's part of the sets. Create one with New.
type Cluster struct {
	cfg       Config
	endpoints []Endpoint // of all sets
	server    *node.Server
	ctx       context.Context
	stop      context.CancelFunc
	group     sync.WaitGroup
	sets      [][]*slot
	refresh   chan chan struct{} // wishes for another round, each closed when that is over

	mu      sync.Mutex
	members []*member // the nodes, in the order of the command line
	local   *format.Local
	opened  map[string]*ownDrive // this node's drives, by ID
	tables  []format.Table       // by set; nil: they are not known yet
	before  format.Roster        // as it was when Open found that the sets can be used. Only Open changes it
	states  []State
	joined  int  // how often a drive has come
	forming bool // a set is not formed, as far as is known: that takes all nodes. Only Open looks at it
}

// member is one of the nodes.
type member struct {
	name  string // host:port where it serves S3
	peer  *node.Peer
	self  bool
	hello *hello // what it said last; nil: it does not answer
	// strange says that its command line was another one when it answered last.
	strange atomic.Bool
}

// hello is what a node says of itself.
type hello struct {
	Node   string         `json:"node"`
	Layout [][]string     `json:"layout"` // the endpoints in its command line, by set
	Found  []format.Found `json:"found"`
	Missed int64          `json:"missed"`
	Placed uint64         `json:"placed"`
}

// New returns a Cluster, which answers other nodes from now on but has no drives before Open.
func New(ctx context.Context, cfg Config) *Cluster {
	c := &Cluster{cfg: cfg, opened: make(map[string]*ownDrive), refresh: make(chan chan struct{})}
	c.ctx, c.stop = context.WithCancel(ctx)
	c.server = node.NewServer(c.ctx, c.answer)
	for _, set := range cfg.Sets {
		var slots []*slot
		for _, e := range set {
			slots = append(slots, newSlot())
			if !slices.ContainsFunc(c.members, func(m *member) bool { return m.name == e.Node }) {
				c.members = append(c.members, &member{name: e.Node})
			}
		}
		c.sets, c.endpoints = append(c.sets, slots), append(c.endpoints, set...)
	}
	return c
}

// Server answers the connections of other nodes.
func (c *Cluster) Server() *node.Server { return c.server }

// Drives returns the slots of a set, as the Store uses them.
func (c *Cluster) Drives(set int) []erasure.Drive {
	all := make([]erasure.Drive, len(c.sets[set]))
	for i, s := range c.sets[set] {
		all[i] = s
	}
	return all
}

// Near reports whether the drive in a slot of a set is of this node.
func (c *Cluster) Near(set, i int) bool {
	t := c.sets[set][i].now.Load()
	return t != nil && t.peer == nil
}

// Orders returns the slots of all sets, as the Arbiter uses them.
func (c *Cluster) Orders() [][]arbiter.Drive {
	all := make([][]arbiter.Drive, len(c.sets))
	for i, set := range c.sets {
		for _, s := range set {
			all[i] = append(all[i], s)
		}
	}
	return all
}

// Tables returns which drives each of the sets is of, once Open has returned.
func (c *Cluster) Tables() []format.Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tables)
}

// Self returns the name of this node in the command line, once Open has returned.
func (c *Cluster) Self() string {
	for _, m := range c.members {
		if m.self {
			return m.name
		}
	}
	return ""
}

// layout returns the endpoints as they are compared.
func (c *Cluster) layout() [][]string {
	all := make([][]string, len(c.cfg.Sets))
	for i, set := range c.cfg.Sets {
		for _, e := range set {
			all[i] = append(all[i], e.String())
		}
	}
	return all
}

// Times of a Cluster.
const (
	lookEvery = 250 * time.Millisecond // before the drives can be used
	tendEvery = 2 * time.Second        // from then on
	tellEvery = 5 * time.Second        // what is waited for
	askTime   = 3 * time.Second        // for an answer of another node
)

// Open finds the other nodes and waits until so many drives are there that the set can be
// used; a new set waits for all. It keeps the slots right until Close.
func (c *Cluster) Open(ctx context.Context) error {
	if err := c.meet(ctx); err != nil {
		return err
	}
	var told time.Time
	begun := time.Now()
	for {
		why, err := c.advance(ctx)
		if err != nil {
			return err
		}
		if why == "" && c.complete(begun) {
			break
		}
		if why != "" && time.Since(told) > tellEvery {
			told = time.Now()
			c.cfg.Logger.Info(c.waiting(), "why", why, "elapsed", time.Since(begun).Round(time.Second).String())
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	c.group.Go(c.tend)
	return nil
}

// gatherTime is how long all drives are waited for that nodes say they have, before the set is used
// without some of them.
const gatherTime = 3 * time.Second

// complete reports whether the sets can be used as they are: all their drives can be, or a
// majority of each, and the others were waited for.
func (c *Cluster) complete(begun time.Time) bool {
	online := make([]int, len(c.sets))
	all := true
	for _, s := range c.States() {
		if all = all && s.Online; s.Online {
			online[c.setOf(s.Slot)]++
		}
	}
	for i, set := range c.sets {
		if online[i] < register.Majority(len(set)) {
			return false
		}
	}
	return all || time.Since(begun) > gatherTime
}

// setOf returns the set of a slot.
func (c *Cluster) setOf(slot int) (set int) {
	for slot >= len(c.sets[set]) {
		slot -= len(c.sets[set])
		set++
	}
	return set
}

// waiting says what is waited for, in the words that people know.
func (c *Cluster) waiting() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var online, missing []string
	for _, m := range c.members {
		if m.hello != nil {
			online = append(online, m.name)
		} else {
			missing = append(missing, m.name)
		}
	}
	least := c.least()
	if c.forming {
		least = len(c.members)
	}
	return fmt.Sprintf("Waiting for minimum %d servers to come online (%d/%d online: %s; missing: %s)",
		least, len(online), len(c.members), orNone(online), orNone(missing))
}

// least returns how many servers it takes for a majority of the drives of each set, where
// these have been spread over all.
func (c *Cluster) least() (n int) {
	for i, set := range c.cfg.Sets {
		per := make(map[string]int)
		for _, e := range set {
			per[e.Node]++
		}
		all := slices.Sorted(maps.Values(per))
		have, need := 0, 0
		for _, drives := range slices.Backward(all) {
			if have < register.Majority(len(c.sets[i])) {
				have, need = have+drives, need+1
			}
		}
		n = max(n, need)
	}
	return n
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}

// ErrNotNamed says that no node of the command line is this one.
var ErrNotNamed = errors.New("none of the nodes that are named is this one")

// meet finds out which of the nodes is this one, and looks for its drives.
func (c *Cluster) meet(ctx context.Context) error {
	self, err := c.findSelf(ctx)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range c.endpoints {
		if e.Node == self {
			paths = append(paths, e.Path)
		}
	}
	local, err := format.Look(ctx, paths, c.cfg.Logger)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local = local
	for _, m := range c.members {
		if m.self = m.name == self; !m.self {
			m.peer = node.NewPeer(c.ctx, func(ctx context.Context, protocol string) (net.Conn, error) { return c.connect(ctx, m, protocol) })
		}
	}
	return nil
}

// connect connects to another node.
func (c *Cluster) connect(ctx context.Context, m *member, protocol string) (net.Conn, error) {
	if protocol == node.BulkProtocol && c.cfg.Plain != nil {
		ticket, err := m.peer.Ask(ctx, questionTicket, nil)
		if err != nil {
			return nil, err
		}
		return c.cfg.Plain.Dial(ctx, m.name, ticket)
	}
	conn, _, err := c.cfg.Dial(ctx, m.name, protocol)
	return conn, err
}

// selfTime is how long a node looks for itself under the names in the command line.
const selfTime = 30 * time.Second

func (c *Cluster) findSelf(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, selfTime, ErrNotNamed)
	defer cancel()
	found := make(chan string, len(c.members))
	for _, m := range c.members {
		go func() {
			for ctx.Err() == nil {
				conn, who, err := c.cfg.Dial(ctx, m.name, node.CallProtocol)
				if err == nil {
					_ = conn.Close() // it was only to be known who is there
					if who == c.cfg.Self {
						found <- m.name
					}
					return
				}
				select {
				case <-time.After(lookEvery):
				case <-ctx.Done():
				}
			}
		}()
	}
	select {
	case name := <-found:
		return name, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// advance does what is next before the set can be used, and says what is missing; nothing:
// it can be used.
func (c *Cluster) advance(ctx context.Context) (why string, err error) {
	if err := c.ask(ctx, true); err != nil {
		return "", err
	}
	s := c.survey()
	p, err := s.plan()
	if err != nil {
		return "", err
	}
	c.forming = p.forms()
	first := c.memberOf(0).self
	switch p.step {
	case form:
		if !first {
			return "the first node forms the sets", nil
		}
		return "the sets are being formed", c.form(ctx, &s, p)
	case finish:
		if !first {
			return "the first node forms the sets", nil
		}
		return "the sets are being formed", c.finish(ctx)
	case ready:
		if err := c.local.Formed(); err != nil {
			return "", err
		}
		c.before = p.roster
		c.settle(ctx, &s, p)
		return "", nil
	case wait:
	}
	return p.why, nil
}

// memberOf returns the node of an endpoint.
func (c *Cluster) memberOf(endpoint int) *member {
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == c.endpoints[endpoint].Node })
	return c.members[i]
}

// ask asks all nodes what they have, this one as well. With strict a node whose command line is another one is
// an error; otherwise it is left out.
func (c *Cluster) ask(ctx context.Context, strict bool) error {
	c.local.Look(ctx)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	hellos := make([]*hello, len(c.members))
	var asked sync.WaitGroup
	for i, m := range c.members {
		if m.self {
			own := c.hello()
			hellos[i] = &own
			continue
		}
		asked.Go(func() {
			var h hello
			if b, err := m.peer.Ask(ctx, questionHello, nil); err == nil && json.Unmarshal(b, &h) == nil {
				hellos[i] = &h
			}
		})
	}
	asked.Wait()
	var errs []error
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.members {
		if h := hellos[i]; h != nil {
			m.strange.Store(!slices.EqualFunc(h.Layout, c.layout(), slices.Equal[[]string]))
		}
		if m.hello = hellos[i]; m.hello != nil && m.strange.Load() {
			errs = append(errs, differing(m.name, m.hello.Layout, c.layout()))
			m.hello = nil
		}
	}
	if strict {
		return errors.Join(errs...)
	}
	return nil
}

// ErrLayout says that nodes were started with different command lines.
var ErrLayout = errors.New("the nodes were started with different command lines")

// differing says in what two command lines differ.
func differing(name string, theirSets, ourSets [][]string) error {
	theirs, ours := slices.Concat(theirSets...), slices.Concat(ourSets...)
	only := func(a, b []string) string {
		return orNone(slices.DeleteFunc(slices.Clone(a), func(e string) bool { return slices.Contains(b, e) }))
	}
	if t, o := only(theirs, ours), only(ours, theirs); t != "none" || o != "none" {
		return fmt.Errorf("%w: only %s names %s; only this one names %s", ErrLayout, name, t, o)
	}
	return fmt.Errorf("%w: %s names the drives in another order, or makes other sets of them", ErrLayout, name)
}

func (c *Cluster) hello() hello {
	h := hello{Node: c.cfg.Self, Layout: c.layout(), Missed: c.cfg.Missed(), Placed: c.cfg.Placed()}
	c.mu.Lock()
	local, tables := c.local, c.tables
	c.mu.Unlock()
	if local != nil {
		h.Found = local.Found()
	}
	for i := range h.Found { // what does not belong to the sets that are used is nobody's business
		if id := h.Found[i].Identity; id != nil && len(tables) > 0 && !slices.ContainsFunc(tables, func(t format.Table) bool { return t.Deployment == id.Deployment && t.Number == id.Number }) {
			h.Found[i] = format.Found{Path: h.Found[i].Path, Why: errOther.Error()}
		}
	}
	return h
}

// survey puts together what the nodes said last.
func (c *Cluster) survey() survey {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := survey{endpoints: c.endpoints, found: make([]*format.Found, len(c.endpoints))}
	for _, set := range c.sets {
		s.sizes = append(s.sizes, len(set))
	}
	for i := range c.tables { // what they were found to be they stay
		s.numbers = append(s.numbers, c.tables[i].Number)
	}
	for i, e := range s.endpoints {
		m := c.memberOf(i)
		if m.hello == nil {
			continue
		}
		at := slices.IndexFunc(m.hello.Found, func(f format.Found) bool { return f.Path == e.Path })
		if at >= 0 {
			s.found[i] = &m.hello.Found[at]
		}
	}
	s.leaveOlder()
	return s
}

// Close gives the drives back. The Store is closed before.
func (c *Cluster) Close() error {
	c.stop()
	c.group.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.opened {
		c.server.Withdraw(id)
	}
	for _, m := range c.members {
		if m.peer != nil {
			m.peer.Close()
		}
	}
	var errs []error
	for _, d := range c.opened {
		errs = append(errs, erasure.Guard(d).Close())
	}
	if c.local != nil {
		errs = append(errs, c.local.Close())
	}
	return errors.Join(errs...)
}
