package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/uuid"
)

// What nodes ask each other. The values are spoken and must not change.
const (
	questionHello  = "hello"
	questionTicket = "ticket" // for a plain connection
	questionForm   = "form"   // formOrder: give a drive an identity
	questionFormed = "formed" // all drives of the set have theirs
	questionLearn  = "learn"  // format.Table: which drives the set is of
	questionHealed = "healed" // the drive of an ID has all that the one had that it stands for
	// questionActivity: what the node's drives and connections have done. Earlier releases do not
	// know it.
	questionActivity = "activity"
	// questionRoster: format.Roster: which sets hold something. Earlier releases do not know it.
	questionRoster = "roster"
)

// formOrder has a drive get an identity.
type formOrder struct {
	Path     string          `json:"path"`
	Identity format.Identity `json:"identity"`
}

// answer answers another node.
func (c *Cluster) answer(_ context.Context, question string, content []byte) ([]byte, error) {
	switch {
	case question == questionHello:
		return json.Marshal(c.hello())
	case question == questionTicket && c.cfg.Plain != nil:
		return c.cfg.Plain.Ticket()
	}
	c.mu.Lock()
	local := c.local
	c.mu.Unlock()
	if local == nil {
		return nil, register.ErrUnknown
	}
	switch question {
	case questionForm:
		var o formOrder
		if err := json.Unmarshal(content, &o); err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		return nil, local.Form(o.Path, o.Identity)
	case questionFormed:
		return nil, local.Formed()
	case questionLearn:
		var t format.Table
		if err := json.Unmarshal(content, &t); err != nil {
			return nil, fmt.Errorf("read table: %w", err)
		}
		drives, err := local.Learn(t)
		if err != nil {
			return nil, err
		}
		return json.Marshal(drives)
	case questionRoster:
		var r format.Roster
		if err := json.Unmarshal(content, &r); err != nil {
			return nil, fmt.Errorf("read roster: %w", err)
		}
		drives, err := local.Note(r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(drives)
	case questionHealed:
		return nil, c.healed(content)
	case questionActivity:
		return json.Marshal(c.activity(local))
	}
	return nil, fmt.Errorf("the question %.20q is not known here", question)
}

// askOf asks a node, which may be this one.
func (c *Cluster) askOf(ctx context.Context, m *member, question string, content any) ([]byte, error) {
	b, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	if m.self {
		return c.answer(ctx, question, b)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return m.peer.Ask(ctx, question, b)
}

// form gives all drives of the sets that are not formed their identities. What fails is done
// anew: the identities that were given stay.
func (c *Cluster) form(ctx context.Context, s *survey, p plan) error {
	var before []int
	for i := range p.sets {
		if p.sets[i].formed > 0 {
			before = append(before, p.sets[i].table.Number)
		}
	}
	if err := c.note(ctx, p.roster, before); err != nil && len(before) > 0 { // their numbers are not to be given again
		c.cfg.Logger.Warn("drives could not be told yet that sets are added", "error", err)
		return nil
	}
	for i, e := range s.endpoints {
		number := s.setOf(i)
		set := &p.sets[number]
		if set.formed > 0 {
			continue
		}
		id := set.table.Identity(i - s.first(number))
		if id.Forming = true; len(before) > 0 {
			id.Roster = &p.roster
		}
		if _, err := c.askOf(ctx, c.memberOf(i), questionForm, formOrder{Path: e.Path, Identity: id}); err != nil {
			c.cfg.Logger.Warn("a drive could not be formed yet", "drive", e.String(), "error", err)
			return nil
		}
	}
	return nil
}

// finish tells all nodes that the sets are formed.
func (c *Cluster) finish(ctx context.Context) error {
	for _, m := range c.members {
		if _, err := c.askOf(ctx, m, questionFormed, nil); err != nil {
			c.cfg.Logger.Warn("a node could not be told yet that all drives are formed", "node", m.name, "error", err)
			return nil
		}
	}
	c.cfg.Logger.Info("formed sets of drives", "sets", len(c.cfg.Sets), "drives", len(c.endpoints), "nodes", len(c.members))
	return nil
}

// errUndecided says that too few drives know which drives their set is of now.
var errUndecided = errors.New("too few drives could be told which drives the set is of")

// replace has a blank drive of this node stand for the one that is missing in a slot of a set.
// Enough drives of it have to know that for ever: from then on the other one is not let in any
// more.
func (c *Cluster) replace(ctx context.Context, table format.Table, slot, endpoint int) error {
	table.Epoch++
	table.Set = slices.Clone(table.Set)
	table.Set[slot] = uuid.New()
	known := make(map[string]bool)
	for _, m := range c.members {
		b, err := c.askOf(ctx, m, questionLearn, table)
		var drives []string
		if err != nil || json.Unmarshal(b, &drives) != nil {
			continue
		}
		for _, d := range drives {
			known[d] = true
		}
	}
	if need := register.ReadQuorum(len(table.Set)); len(known) < need {
		return fmt.Errorf("%w: %d, and %d are needed", errUndecided, len(known), need)
	}
	roster, err := c.rosterOf(ctx, table)
	if err != nil {
		return err
	}
	id := table.Identity(slot)
	id.Blank, id.Roster = true, &roster
	if err := c.local.Form(c.endpoints[endpoint].Path, id); err != nil {
		return err
	}
	c.cfg.Logger.Warn("a blank drive stands for one that is missing, and is given all that that one had", "drive", c.endpoints[endpoint].String(), "set", table.Number+1, "slot", slot)
	return nil
}
