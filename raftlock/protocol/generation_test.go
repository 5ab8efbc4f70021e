package protocol

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// silence is when a candidate without delay claims over a generation that is
// not renewed.
const silence = 3160 * ms

// sight is one observation, and the step that is due then.
type sight struct {
	at   time.Duration
	seen Seen
	want Step
}

func TestACandidateClaims(t *testing.T) {
	alive := func(number uint32, pulse string) Seen { return Seen{Number: number, Pulse: pulse} }
	closed := Seen{Number: 4, Pulse: "a", Closed: true}
	refused := Seen{Number: 4, Pulse: "a", Refused: true}
	for name, sights := range map[string][]sight{
		"when there is no generation": {{0, Seen{}, Claim}},
		"when the last node ended it": {{0, closed, Wait}, {0, closed, Claim}},
		"when it ends before its eyes": {
			{0, alive(4, "a"), Join}, {ms, closed, Wait}, {ms, closed, Claim},
		},
		"when nobody renews it": {
			{0, alive(4, "a"), Join}, {silence - ms, alive(4, "a"), Join}, {silence, alive(4, "a"), Claim},
		},
		"when nobody ever renewed it": {
			{0, alive(4, ""), Join}, {silence, alive(4, ""), Claim},
		},
		"from the last renewal on": {
			{0, alive(4, "a"), Join}, {silence - ms, alive(4, "b"), Join}, {2*silence - 2*ms, alive(4, "b"), Join}, {2*silence - ms, alive(4, "b"), Claim},
		},
		"not over one that somebody claimed meanwhile": {
			{0, alive(4, ""), Join}, {silence, alive(5, ""), Join}, {2*silence - ms, alive(5, ""), Join}, {2 * silence, alive(5, ""), Claim},
		},
		"when all members refuse twice": {
			{0, refused, Wait}, {199 * ms, refused, Wait}, {200 * ms, refused, Claim},
		},
		"not when they refuse once": {
			{0, refused, Wait}, {100 * ms, alive(4, "a"), Join}, {300 * ms, refused, Wait}, {499 * ms, refused, Wait}, {500 * ms, refused, Claim},
		},
		"not by refusals before the last renewal": {
			{0, refused, Wait}, {200 * ms, Seen{Number: 4, Pulse: "b", Refused: true}, Wait}, {400 * ms, Seen{Number: 4, Pulse: "b", Refused: true}, Claim},
		},
		"when nobody renews it though some refuse": {
			{0, alive(4, "a"), Join}, {silence, refused, Claim},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, start := range []time.Duration{0, time.Hour} {
				c := NewCandidate(start, 0)
				for _, s := range sights {
					delay := delayOf(0, s.seen.Number)
					// Changes are seen when they are, waits end later by the delay.
					at := start + s.at
					if s.want == Claim {
						at += delay
					}
					if got := c.Observe(s.seen, at); got != s.want {
						t.Errorf("at %v, %+v: step %d, not %d", s.at, s.seen, got, s.want)
					}
				}
			}
		})
	}
}

func delayOf(rand uint64, number uint32) time.Duration {
	return time.Duration(mix(rand+uint64(number)) % uint64(claimSpread))
}

// Of sixteen nodes that start at once all wait for a time of their own, and for
// another one at the next generation.
func TestCandidatesDoNotClaimAllAtOnce(t *testing.T) {
	for _, g := range []Seen{{}, {Number: 7, Closed: true}} {
		claims := make(map[time.Duration]int)
		for node := range uint64(16) {
			c := NewCandidate(0, node*0x9e3779b97f4a7c15)
			for now := time.Duration(0); ; now += ms {
				if c.Observe(g, now) == Claim {
					claims[now]++
					break
				}
				if now > claimSpread {
					t.Fatal("never claims")
				}
			}
		}
		if len(claims) < 12 {
			t.Errorf("16 nodes claim at %d times", len(claims))
		}
	}
	if delayOf(1, 1) == delayOf(1, 2) {
		t.Error("a node has the same delay at every generation")
	}
}
