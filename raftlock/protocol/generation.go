package protocol

import "time"

// GenerationTTL is how long a generation lives without its leader renewing it.
// Like SessionTTL it decides how soon the dead are found, and safety does not
// rest on it: who usurps a generation that was only slow fences it first.
const GenerationTTL = 3 * time.Second

// refusedFor is how long every known member must have refused connections
// before that counts as evidence. One refusal may be a node that restarts.
const refusedFor = 200 * time.Millisecond

// claimSpread is what the claims of nodes that wait for the same event are
// spread over, so that as a rule the first is over before the next begins.
const claimSpread = 250 * time.Millisecond

// Seen is what a node found when it looked at the newest generation.
type Seen struct {
	Number  uint32 // 0: there is none yet
	Pulse   string // changes with every renewal
	Closed  bool   // it was ended cleanly
	Refused bool   // every known address of its members refused the connection
}

// Step is what a node that looks for a generation to live in does next.
type Step uint8

// The steps.
const (
	Wait  Step = iota // look again in a while
	Join              // try the members of the generation that was seen
	Claim             // claim the number after it
)

// Candidate decides when a node that belongs to no generation joins the one
// there is, and when it claims the next: when there is none, when its last
// node ended it, when all of its members refuse connections, or when nobody
// has renewed it for its time to live by this node's own clock.
type Candidate struct {
	rand    uint64
	seen    Seen
	since   time.Duration // when what was seen last changed
	refused bool
	first   time.Duration // when the refusals began
}

// NewCandidate returns a Candidate that has seen nothing yet. rand is a random
// number, different on each node.
func NewCandidate(now time.Duration, rand uint64) *Candidate {
	return &Candidate{rand: rand, since: now}
}

// Observe takes what was seen at a time and returns what to do next. Any change
// of number or pulse starts the wait for a claim anew.
func (c *Candidate) Observe(g Seen, now time.Duration) Step {
	if g.Number != c.seen.Number || g.Pulse != c.seen.Pulse || g.Closed != c.seen.Closed {
		c.since, c.refused = now, false
	}
	if g.Refused && !c.refused {
		c.first = now
	}
	again := g.Refused && c.refused
	c.seen, c.refused = g, g.Refused
	delay := time.Duration(mix(c.rand+uint64(g.Number)) % uint64(claimSpread)) //nolint:gosec // below claimSpread
	silent := now - c.since - delay
	switch {
	case g.Number == 0 || g.Closed:
		return claimIf(silent >= 0)
	case silent >= GenerationTTL+2*GenerationTTL/drift+graceful:
		return Claim
	case g.Refused:
		return claimIf(again && now-c.first-delay >= refusedFor)
	}
	return Join
}

func claimIf(due bool) Step {
	if due {
		return Claim
	}
	return Wait
}
