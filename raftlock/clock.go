package raftlock

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

const (
	// clockTolerance is how far a clock may be ahead of the fleet's before that counts: what is told of clocks is
	// late by as long as it takes to come.
	clockTolerance = 2 * time.Second
	// clockWrong is from where on the clock is said to be wrong.
	clockWrong = time.Minute
)

// clocks are how far those of sessions are ahead of the leader's.
type clocks struct {
	mu  sync.Mutex
	all map[protocol.SID]time.Duration
}

// note takes note of what a session says the time is, and forgets those that are over.
func (c *clocks) note(of protocol.SID, ahead time.Duration, over func(protocol.SID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[protocol.SID]time.Duration)
	}
	for sid := range c.all {
		if over(sid) {
			delete(c.all, sid)
		}
	}
	c.all[of] = ahead
}

// fleet returns how far the clock of the fleet is ahead of the leader's: the one in the middle, and of two in the middle
// the earlier one, since nothing is lost by waiting. One alone says nothing.
func (c *clocks) fleet() (ahead time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) < 2 {
		return 0, false
	}
	all := slices.Sorted(maps.Values(c.all))
	return all[(len(all)-1)/2], true
}

// hearClock takes note of what a session says the time is, if this node leads; 0: it does not say.
func (l *life) hearClock(of protocol.SID, says int64) {
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t == nil || says == 0 {
		return
	}
	ahead := time.Unix(0, says).Sub(l.node.wall())
	l.look(func(s *protocol.State) {
		t.clocks.note(of, ahead, func(sid protocol.SID) bool { return s.Standing(sid) != protocol.Live })
	})
	l.node.setClock(l.fleetClock())
}

// fleetClock returns the time of the fleet, as ns since 1970; 0 if this node does not lead, or has never heard of
// another clock than its own.
func (l *life) fleetClock() int64 {
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t == nil {
		return 0
	}
	if ahead, known := t.clocks.fleet(); known {
		return l.node.wall().Add(ahead).UnixNano()
	}
	if l.node.known.Load() == nil {
		return 0
	}
	return l.node.fleetTime().UnixNano() // as the others had it who were there
}

// fleetTime is what the time of a fleet was at some moment of a node's life.
type fleetTime struct {
	time time.Time
	at   time.Duration
}

// wall returns the time by this node's clock.
func (n *Node) wall() time.Time {
	if n.cfg.Wall != nil {
		return n.cfg.Wall()
	}
	return time.Now()
}

// fleetTime returns the time by what the fleet has said last, whatever has become of this node's clock since. If it
// has said nothing, it is this node's.
func (n *Node) fleetTime() time.Time {
	if known := n.known.Load(); known != nil {
		return known.time.Add(n.now() - known.at)
	}
	return n.wall()
}

// off returns how far the clock of this node is ahead of the fleet's, if that counts.
func (n *Node) off() time.Duration {
	ahead := n.wall().Sub(n.fleetTime())
	if ahead.Abs() <= clockTolerance {
		return 0
	}
	return ahead
}

// setClock takes note of what the leader says the time of the fleet is; 0: it does not say.
func (n *Node) setClock(fleet int64) {
	if fleet == 0 {
		return
	}
	n.known.Store(&fleetTime{time.Unix(0, fleet), n.now()})
	ahead := n.off()
	wrong := ahead.Abs() > clockWrong
	switch before := n.clockWrong.Swap(wrong); {
	case wrong && !before:
		n.cfg.Logger.Error("the clock of this node and those of most others differ: set it, since it refuses requests of clients whose clocks are right", "ahead", ahead.Round(time.Second).String())
	case before && !wrong:
		n.cfg.Logger.Info("the clock of this node is that of the others again")
	}
}

// Earliest returns the time by this node's clock or by that of its fleet, whichever is earlier. By it is judged
// whether something has had its time, so that one clock of several that is fast does no harm. Without others it is
// this node's.
func (n *Node) Earliest() time.Time { return n.wall().Add(-max(0, n.off())) }

// Latest returns the later one. By it is dated what is to be kept for a time.
func (n *Node) Latest() time.Time { return n.wall().Add(max(0, -n.off())) }
