package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/register"
)

// State is how a drive stands.
type State struct {
	Node   string // host:port where its node serves S3
	Path   string
	Drive  string // its ID; empty if that is not known
	Slot   int    // its place among those of all sets; -1: it has none, or that is not known
	Online bool
	Blank  bool // it stands for another one, and does not have all of that yet
	Room   format.Room

	why string // it is of no use, as its node says
}

// States returns how the drives stand, in the order of the command line.
func (c *Cluster) States() []State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.states)
}

// Blank returns the IDs of drives that stand for others and do not have all yet, by slot.
func (c *Cluster) Blank() map[int]string {
	blank := make(map[int]string)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.states {
		if s.Blank && s.Online {
			blank[s.Slot] = s.Drive
		}
	}
	return blank
}

// Writable returns an error while fewer drives of a set can be reached than a majority. Like
// the next two it asks nobody.
func (c *Cluster) Writable(set int) error { return c.reaches(set, register.Majority) }

// Away returns how many drives of a set cannot be reached. It asks nobody.
func (c *Cluster) Away(set int) int { return len(c.sets[set]) - c.reached(set) }

// AllWritable returns an error while that is so of any set.
func (c *Cluster) AllWritable() error { return c.allReach(register.Majority) }

// Readable returns an error while too few drives of any set can be reached for reads.
func (c *Cluster) Readable() error { return c.allReach(register.ReadQuorum) }

func (c *Cluster) allReach(quorum func(n int) int) error {
	for i := range c.sets {
		if err := c.reaches(i, quorum); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) reaches(set int, quorum func(n int) int) error {
	all, reached := len(c.sets[set]), c.reached(set)
	if n := quorum(all); reached < n {
		return fmt.Errorf("%d of %d drives of set %d can be reached, and %d are needed", reached, all, set+1, n)
	}
	return nil
}

func (c *Cluster) reached(set int) (n int) {
	for _, s := range c.sets[set] {
		if s.now.Load().reached() {
			n++
		}
	}
	return n
}

// Missed returns a number that changes when drives may have missed something, by what all
// nodes know, and one that grows when a drive has come.
func (c *Cluster) Missed() (missed int64, joined int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.hello != nil && !m.self {
			missed += m.hello.Missed
		}
	}
	return missed + c.cfg.Missed(), c.joined
}

// Placed reports whether all nodes are there and act by an epoch of the placement, or a later
// one.
func (c *Cluster) Placed(epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.members, func(m *member) bool { return m.hello == nil || m.hello.Placed < epoch })
}

// Healed takes note that drives which stand for others have all that those had.
func (c *Cluster) Healed(ctx context.Context, drives []string) error {
	var errs []error
	for i, s := range c.States() {
		if !slices.Contains(drives, s.Drive) {
			continue
		}
		if _, err := c.askOf(ctx, c.memberOf(i), questionHealed, s.Drive); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.endpoints[i], err))
		}
	}
	return errors.Join(errs...)
}

// healed is Healed for a drive of this node.
func (c *Cluster) healed(content []byte) error {
	var id string
	if err := json.Unmarshal(content, &id); err != nil {
		return fmt.Errorf("read drive: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.opened[id]; d != nil {
		return d.Healed()
	}
	return register.ErrUnknown
}

// tend keeps the slots right.
func (c *Cluster) tend() {
	for c.ctx.Err() == nil {
		var done chan struct{}
		select {
		case <-time.After(tendEvery):
		case done = <-c.refresh:
		case <-c.ctx.Done():
			return
		}
		c.round()
		if done != nil {
			close(done)
		}
	}
}

// round asks all nodes, and does what follows from their answers.
func (c *Cluster) round() {
	if err := c.ask(c.ctx, false); err != nil {
		return
	}
	s := c.survey()
	p, err := s.plan()
	if err != nil {
		c.cfg.Logger.Error("the drives of the nodes do not go together", "error", err)
		return
	}
	if p.step == ready || !p.forms() {
		c.settle(c.ctx, &s, p)
	}
}

// Refresh has what is known of the drives be as it is now, or as ctx ends: which are there, and
// what they may have missed. Otherwise it may be tendEvery old.
func (c *Cluster) Refresh(ctx context.Context) {
	done := make(chan struct{})
	select {
	case c.refresh <- done:
	case <-ctx.Done():
		return
	case <-c.ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

// settle brings the slots in line with what is known, and this node's drives into them.
func (c *Cluster) settle(ctx context.Context, s *survey, p plan) {
	tables := make([]format.Table, len(p.sets))
	for i := range p.sets {
		tables[i] = p.sets[i].table
		if _, err := c.local.Learn(tables[i]); err != nil {
			c.cfg.Logger.Error("a drive could not take note of which drives its set is of", "error", err)
		}
	}
	if _, err := c.local.Note(p.roster); err != nil {
		c.cfg.Logger.Error("a drive could not take note of which sets hold something", "error", err)
	}
	if p.step == ready {
		c.standIn(ctx, s, p)
	}
	c.closeLost()
	for i := range p.sets {
		c.openOwn(&p.sets[i])
	}
	if err := c.local.Witness(s.identities(true)); err != nil {
		c.cfg.Logger.Debug("a drive could not take note of how often the others were started", "error", err) // it fails otherwise, too
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.EqualFunc(c.tables, tables, func(a, b format.Table) bool { return a.Epoch == b.Epoch }) {
		for _, i := range s.stranded(p) {
			c.cfg.Logger.Error("another drive has been put in the place of this one: nothing is stored on it", "drive", c.endpoints[i].String())
		}
	}
	c.tables = tables
	for i := range p.sets {
		for slot, at := range p.sets[i].slots {
			c.sets[i][slot].now.Store(c.target(tables[i].Set[slot], at))
		}
	}
	c.mark(s, p)
}

// target returns the drive of an ID, which was found at an endpoint; nil if it cannot be used.
// The caller holds mu.
func (c *Cluster) target(id string, endpoint int) *target {
	if endpoint < 0 {
		return nil
	}
	m := c.memberOf(endpoint)
	if !m.self {
		return &target{m.peer.Drive(id), m}
	}
	if d := c.opened[id]; d != nil {
		return &target{Drive: d}
	}
	return nil
}

// mark takes note of how the drives stand. The caller holds mu.
func (c *Cluster) mark(s *survey, p plan) {
	before := c.states
	c.states = make([]State, len(s.endpoints))
	for i, e := range s.endpoints {
		st := State{Node: e.Node, Path: e.Path, Slot: -1}
		if f := s.found[i]; f != nil && f.Identity != nil {
			st.Drive, st.Blank, st.Room = f.Identity.Drive, f.Identity.Blank, f.Room
			st.Slot = -1
			set := p.position(f.Identity.Number) // tables has found it
			if at := slices.Index(c.tables[set].Set, st.Drive); at >= 0 {
				st.Slot = s.first(set) + at
			}
			st.Online = slices.Contains(p.sets[set].slots, i) && (f.Open || c.opened[st.Drive] != nil && f.Why == "")
		}
		if f := s.found[i]; f != nil && !st.Online {
			st.why = f.Why
		}
		c.states[i] = st
		switch {
		case st.Online && before != nil && !before[i].Online:
			c.joined++
			c.cfg.Logger.Info("a drive is there again", "drive", e.String())
		case st.Online:
		case before != nil && before[i].Online, st.why != "" && (before == nil || before[i].why != st.why):
			c.cfg.Logger.Warn("a drive is away", "drive", e.String(), "why", why(s.found[i]))
		}
	}
}

// why says why a drive is away.
func why(f *format.Found) string {
	switch {
	case f == nil:
		return "its node does not answer"
	case f.Blank:
		return "it is blank"
	}
	return f.Why
}

// closeLost has nobody use drives of this node any more that are lost.
func (c *Cluster) closeLost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, d := range c.opened {
		if d.Lost() {
			delete(c.opened, id)
			c.server.Withdraw(id)
		}
	}
}

// openOwn opens this node's drives that are in slots of a set.
func (c *Cluster) openOwn(p *setPlan) {
	for i, at := range p.slots {
		if at < 0 || !c.memberOf(at).self {
			continue
		}
		id := p.table.Set[i]
		c.mu.Lock()
		open := c.opened[id] != nil
		c.mu.Unlock()
		if open {
			continue
		}
		d, err := c.local.Open(c.endpoints[at].Path)
		if err != nil {
			c.cfg.Logger.Error("a drive cannot be opened", "drive", c.endpoints[at].String(), "error", err)
			continue
		}
		own := newOwnDrive(d)
		c.mu.Lock()
		c.opened[id] = own
		c.mu.Unlock()
		c.server.Offer(id, offer(own))
	}
}

// standIn has blank drives of this node stand for those that are missing.
func (c *Cluster) standIn(ctx context.Context, s *survey, p plan) {
	for i, f := range s.found {
		if f == nil || !f.Blank || !c.memberOf(i).self || !s.suits(f) {
			continue
		}
		free := s.free(p, i)
		if free < 0 {
			continue
		}
		if err := c.replace(ctx, p.sets[s.setOf(i)].table, free, i); err != nil {
			c.cfg.Logger.Warn("a blank drive cannot stand for a missing one yet", "drive", c.endpoints[i].String(), "error", err)
		}
		return // the next look sees what has come of it
	}
}
