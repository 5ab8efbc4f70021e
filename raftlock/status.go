package raftlock

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Status is what one node knows of the fleet.
type Status struct {
	Generation uint32         `json:"generation"` // 0: the node is in none now
	Node       string         `json:"node"`       // that was asked
	Leader     string         `json:"leader,omitempty"`
	Term       string         `json:"term,omitempty"`
	Applied    uint64         `json:"applied"` // entries of the log
	Settings   int            `json:"settings"`
	Members    []MemberStatus `json:"members"`
}

// MemberStatus is what a member of the fleet knows of itself, or, while it does
// not answer, what the others know of it.
type MemberStatus struct {
	Node        string    `json:"node"`
	Address     string    `json:"address"`
	Endpoint    string    `json:"endpoint,omitempty"` // where its clients are served
	Version     string    `json:"version,omitempty"`
	Role        string    `json:"role"`              // leader, voter or follower (without a vote)
	Session     string    `json:"session,omitempty"` // its state: live, expired or none
	SessionID   string    `json:"session_id,omitempty"`
	LeaseMillis int64     `json:"lease_ms"` // how long it may count on being alive
	Slots       int       `json:"slots"`    // owned
	Recovering  int       `json:"slots_recovering"`
	Granted     int       `json:"locks_granted"` // in its slots, to whomever
	Queued      int       `json:"locks_queued"`  // in its slots
	Holding     int       `json:"locks_held"`    // by it, in whichever slots
	Waiting     int       `json:"locks_waiting"` // that it waits for
	Caches      int       `json:"cache_leases"`  // by it
	Recalls     int64     `json:"cache_recalls"` // of its cache leases
	Inquiries   int64     `json:"feed_inquiries"`
	Gaps        int64     `json:"feed_gaps"` // inquiries to which anything might have changed
	Lost        int64     `json:"sessions_lost"`
	Fenced      int64     `json:"sessions_fenced"` // by it
	LastFence   time.Time `json:"last_fence,omitzero"`
	Uptime      float64   `json:"uptime_seconds"`
	Error       string    `json:"error,omitempty"` // why it did not answer
}

// Status asks all members. Those that do not answer before ctx ends are shown
// as the others know them.
func (n *Node) Status(ctx context.Context) Status {
	st := Status{Node: n.cfg.Node}
	l := n.currentLife()
	if l == nil {
		return st
	}
	_, leaderID := l.consensus.raft.LeaderWithID()
	st.Generation, st.Leader, st.Term = l.generation, nodeOf(leaderID), l.consensus.raft.Stats()["term"]
	members := make(map[raft.ServerID]*MemberStatus)
	voters, others := l.servers()
	for i, s := range slices.Concat(voters, others) {
		_, at := splitAddress(s.Address)
		m := &MemberStatus{Node: nodeOf(s.ID), Address: at, Role: "follower", Session: "none"}
		switch {
		case s.ID == leaderID:
			m.Role = "leader"
		case i < len(voters):
			m.Role = "voter"
		}
		members[s.ID] = m
	}
	l.look(func(s *protocol.State) {
		st.Applied, st.Settings = s.Applied, len(s.Settings)
		for _, session := range s.Sessions {
			m := members[raft.ServerID(session.Node)]
			if m == nil {
				m = &MemberStatus{Node: nodeOf(raft.ServerID(session.Node)), Address: session.Address, Role: "follower"}
				members[raft.ServerID(session.Node)] = m
			}
			m.Session = "live"
			if session.Expired {
				m.Session = "expired"
			}
		}
	})
	var group sync.WaitGroup
	for id, m := range members {
		group.Go(func() { l.askStatus(ctx, id, m) })
	}
	group.Wait()
	for _, m := range members {
		st.Members = append(st.Members, *m)
	}
	slices.SortFunc(st.Members, func(a, b MemberStatus) int { return strings.Compare(a.Address+a.Node, b.Address+b.Node) })
	return st
}

// askStatus completes what is known of a member with what it says itself.
func (l *life) askStatus(ctx context.Context, id raft.ServerID, m *MemberStatus) {
	own := MemberStatus{}
	if id == l.id {
		own = l.memberStatus()
	} else {
		a, err := l.calls.ask(ctx, raftAddress(id, m.Address), request{Generation: l.generation, Status: &struct{}{}})
		switch {
		case err != nil:
			m.Error = err.Error()
			return
		case a.Status == nil:
			m.Error = a.Error
			return
		}
		own = *a.Status
	}
	own.Address, own.Role, own.Session = m.Address, m.Role, m.Session
	*m = own
}

// memberStatus is what this node knows of itself.
func (l *life) memberStatus() MemberStatus {
	n := l.node
	m := MemberStatus{
		Node: n.cfg.Node, Endpoint: n.cfg.Endpoint, Version: n.cfg.Version, Uptime: n.now().Seconds(),
		Lost: n.metrics.sessionsLost.Load(), Fenced: n.metrics.fenced.Load(),
		Recalls: n.metrics.recalls.Load(), Inquiries: n.metrics.inquiries.Load(), Gaps: n.metrics.gaps.Load(),
	}
	if at := n.lastFence.Load(); at != 0 {
		m.LastFence = time.Unix(0, at).UTC()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return m
	}
	c := l.member.Counts()
	m.SessionID, m.Caches = l.session.id, l.session.cached.Len()
	m.LeaseMillis = max(0, l.member.Lease().Left(l.now()).Milliseconds())
	m.Slots, m.Recovering, m.Granted, m.Queued, m.Holding, m.Waiting = c.Owned, c.Recovering, c.Granted, c.Queued, c.Holding, c.Waiting
	return m
}

// Measurement is one number about this node.
type Measurement struct {
	Name    string // in the manner of Prometheus, without a prefix
	Help    string
	Value   float64
	Counter bool // it only grows; otherwise it is as it is now
}

// Measure returns what is to be watched on this node.
func (n *Node) Measure() []Measurement {
	var m MemberStatus
	var generation, leading, voters float64
	if l := n.currentLife(); l != nil {
		m, generation = l.memberStatus(), float64(l.generation)
		if l.consensus.raft.State() == raft.Leader {
			leading = 1
		}
		v, _ := l.servers()
		voters = float64(len(v))
	}
	alive := 0.0
	if m.LeaseMillis > 0 {
		alive = 1
	}
	c := &n.metrics
	return []Measurement{
		{"generation", "Number of the generation of the fleet that this node is in, 0 while it is in none.", generation, false},
		{"generations_entered_total", "Generations that this node has joined or founded.", float64(c.generations.Load()), true},
		{"leader", "1 on the node that leads the fleet.", leading, false},
		{"voters", "Nodes that vote.", voters, false},
		{"session_live", "1 while this node is known to be alive and may commit.", alive, false},
		{"session_lease_seconds", "How long this node may count on being alive.", float64(m.LeaseMillis) / 1000, false},
		{"sessions_lost_total", "Sessions of this node that were lost.", float64(c.sessionsLost.Load()), true},
		{"sessions_expired_total", "Sessions of others that this node, as the leader, took for dead.", float64(c.expired.Load()), true},
		{"sessions_fenced_total", "Dead sessions that this node has fenced at the storage.", float64(c.fenced.Load()), true},
		{"slots_owned", "Slots whose locks this node grants.", float64(m.Slots), false},
		{"slots_recovering", "Slots that this node is taking over.", float64(m.Recovering), false},
		{"slots_moved_total", "Slots of this node that it gave to nodes that use them more.", float64(c.moved.Load()), true},
		{"locks_granted", "Locks that are held in the slots of this node.", float64(m.Granted), false},
		{"locks_queued", "Requests that wait in the slots of this node.", float64(m.Queued), false},
		{"locks_held", "Requests for locks that this node holds.", float64(m.Holding), false},
		{"locks_waiting", "Requests for locks that this node waits for.", float64(m.Waiting), false},
		{"lock_grants_local_total", "Requests for locks that were granted at once, by this node itself.", float64(c.local.Load()), true},
		{"lock_grants_awaited_total", "Requests for locks that were granted by another node, or after a wait.", float64(c.remote.Load()), true},
		{"lock_timeouts_total", "Requests for locks that were given up.", float64(c.timeouts.Load()), true},
		{"feed_inquiries_total", "Questions of this node for what has changed.", float64(c.inquiries.Load()), true},
		{"feed_gaps_total", "Those questions to which the answer was that anything may have changed.", float64(c.gaps.Load()), true},
		{"cache_leases", "Cache leases that this node holds.", float64(m.Caches), false},
		{"cache_recalls_total", "Cache leases of this node that were taken back because somebody wanted to change something.", float64(c.recalls.Load()), true},
		{"violations_total", "Breaches of the protocol of locks. Any but 0 is a fault of the program.", float64(c.violations.Load()), true},
	}
}
