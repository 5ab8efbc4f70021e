package raftlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Who votes. The number of voters is odd, so that none of them is without use,
// and nobody becomes one that has not shown that it follows: a voter that is
// added and does not answer can cost the quorum at once.
const (
	maxVoters      = 5
	reconcileEvery = time.Second
	settledAfter   = 3 * time.Second  // a session's age before its node may vote
	forgetAfter    = 30 * time.Second // a server without a session, before it is removed
	followTimeout  = time.Second      // for a candidate to have applied what is committed
)

// admit adds a server that cannot vote yet.
func (l *life) admit(_ context.Context, j joinRequest) error {
	if nodeOf(raft.ServerID(j.ID)) == "" || j.Address == "" || len(j.ID)+len(j.Address) > maxPreamble {
		return errors.New("a server has an ID and an address")
	}
	id, address := raft.ServerID(j.ID), raftAddress(raft.ServerID(j.ID), j.Address)
	voters, others := l.servers()
	if slices.ContainsFunc(slices.Concat(voters, others), func(s raft.Server) bool { return s.ID == id && s.Address != address }) {
		return fmt.Errorf("there is a %s at another address: a running process was copied", j.ID)
	}
	return l.consensus.raft.AddNonvoter(id, address, 0, applyTimeout).Error()
}

// remove removes a server that leaves. A leader that leaves makes another one first, and has
// that one remove it: whoever needs a leader would otherwise wait until the others find out that
// there is none, which takes an election's time.
func (l *life) remove(ctx context.Context, id raft.ServerID) error {
	if id == l.id {
		if s, ok := l.successor(ctx); ok {
			if err := l.handOver(ctx, s); err == nil {
				return raft.ErrNotLeader
			}
		}
	}
	return l.consensus.raft.RemoveServer(id, 0, applyTimeout).Error()
}

// successor returns another server that follows, and that may be the leader once it votes; one
// that does already is the first choice.
func (l *life) successor(ctx context.Context) (raft.Server, bool) {
	voters, others := l.servers()
	age := l.ages()
	for _, s := range slices.Concat(voters, others) {
		if _, alive := age[s.ID]; alive && s.ID != l.id && l.follows(ctx, s) {
			return s, true
		}
	}
	return raft.Server{}, false
}

// handOver makes another server the leader: it is made to stand for election, and has the vote of
// this one, if it has all entries. None is added meanwhile. The one that makes it a voter counts as
// committed before that server has it.
func (l *life) handOver(ctx context.Context, to raft.Server) error {
	l.consensus.hold(true)
	defer l.consensus.hold(false)
	if to.Suffrage != raft.Voter {
		if err := l.consensus.raft.AddVoter(to.ID, to.Address, 0, applyTimeout).Error(); err != nil {
			return fmt.Errorf("make %s a voter: %w", to.ID, err)
		}
	}
	if err := l.consensus.raft.Barrier(applyTimeout).Error(); err != nil { // what was proposed before is in the log
		return fmt.Errorf("make %s the leader: %w", to.ID, err)
	}
	if !l.has(ctx, to, l.consensus.raft.LastIndex()) {
		return fmt.Errorf("%s does not follow", to.ID)
	}
	l.mu.Lock()
	t := l.term
	l.mu.Unlock()
	if t == nil {
		return nil
	}
	if err := l.consensus.hasten(l, to.ID, to.Address); err != nil {
		return fmt.Errorf("make %s the leader: %w", to.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	select {
	case <-t.ctx.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("make %s the leader: %w", to.ID, ctx.Err())
	}
}

// servers returns who votes and who does not.
func (l *life) servers() (voters, others []raft.Server) {
	future := l.consensus.raft.GetConfiguration()
	if future.Error() != nil {
		return nil, nil
	}
	for _, s := range future.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		} else {
			others = append(others, s)
		}
	}
	return voters, others
}

func (l *life) isServer(id raft.ServerID) bool {
	voters, others := l.servers()
	return slices.ContainsFunc(slices.Concat(voters, others), func(s raft.Server) bool { return s.ID == id })
}

// isForgotten reports whether a session is there whose node is no server.
func (l *life) isForgotten(sid protocol.SID) bool {
	var node raft.ServerID
	l.look(func(s *protocol.State) {
		if session := s.Sessions[sid]; session != nil {
			node = raft.ServerID(session.Node)
		}
	})
	return node != "" && !l.isServer(node)
}

// follows reports whether a server has all that is committed now.
func (l *life) follows(ctx context.Context, s raft.Server) bool {
	index := uint64(0)
	l.look(func(s *protocol.State) { index = s.Applied })
	return l.answers(ctx, s, request{Applied: max(index, 1)})
}

// has reports whether a server's log reaches as far as index.
func (l *life) has(ctx context.Context, s raft.Server, index uint64) bool {
	return l.answers(ctx, s, request{Logged: index})
}

// answers reports whether a server answers in time that something is so.
func (l *life) answers(ctx context.Context, s raft.Server, q request) bool {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	q.Generation = l.generation
	a, err := l.calls.ask(ctx, s.Address, q)
	return err == nil && a.Error == ""
}

// reconcile brings the servers in line with the sessions, a step at a time.
func (t *term) reconcile() {
	absent := make(map[raft.ServerID]time.Duration) // since when a server has had no session
	for t.ctx.Err() == nil {
		sleep(t.ctx, reconcileEvery)
		t.useFeature()
		if err := t.step(absent); err != nil && t.ctx.Err() == nil {
			t.life.log.Debug("the servers stay as they are", "error", err)
		}
	}
}

// Who has gone without a word stays in the register, and each that comes would ask there: when a
// member is taken out, and how often is looked.
const (
	goneAfter = 5 * time.Minute // announceEvery, and what a client of the storage may have cached
	tidyEvery = time.Minute
)

// tidy takes members out of the register that have no session, and have not announced themselves for long by
// this node's clock. One that is there all the same is in it again at its next announcement.
func (t *term) tidy() {
	type sight struct {
		refreshed time.Time
		since     time.Duration
	}
	l := t.life
	known := make(map[string]sight)
	for {
		sleep(t.ctx, tidyEvery)
		if t.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.ctx, storageTimeout)
		members, err := l.node.cfg.Arbiter.Members(ctx)
		cancel()
		if err != nil {
			continue // it is looked again
		}
		alive := make(map[string]bool)
		for id := range l.ages() {
			alive[nodeOf(id)] = true
		}
		before := known
		known = make(map[string]sight)
		for _, m := range members {
			s, there := before[m.Node]
			if !there || !s.refreshed.Equal(m.Refreshed) || alive[m.Node] {
				s = sight{m.Refreshed, l.now()}
			}
			known[m.Node] = s
			if l.now()-s.since < goneAfter {
				continue
			}
			ctx, cancel := context.WithTimeout(t.ctx, storageTimeout)
			if err := l.node.cfg.Arbiter.Withdraw(ctx, m.Node); err == nil {
				l.log.Info("a member that has gone is taken out of the register", "node", m.Node)
			}
			cancel()
		}
	}
}

// step makes the most urgent change.
func (t *term) step(absent map[raft.ServerID]time.Duration) error {
	l := t.life
	voters, others := l.servers()
	age := l.ages()
	for _, s := range slices.Concat(voters, others) {
		if _, alive := age[s.ID]; alive {
			delete(absent, s.ID)
		} else if _, known := absent[s.ID]; !known {
			absent[s.ID] = l.now()
		}
	}
	alive := func(s raft.Server) bool { _, ok := age[s.ID]; return ok || s.ID == l.id }
	healthy := count(voters, alive)
	for _, s := range voters {
		if !alive(s) && l.now()-absent[s.ID] > reconcileEvery && healthy > len(voters)/2 {
			l.log.Info("a voter has gone", "node", s.ID)
			return l.consensus.raft.RemoveServer(s.ID, 0, applyTimeout).Error()
		}
	}
	candidates := t.candidates(others, age)
	want := wantVoters(healthy + count(others, alive))
	switch {
	case healthy < len(voters):
		// Those that are missing come back, or are removed first.
	case len(voters) > want:
		return t.demote(voters)
	case len(voters) < wantVoters(healthy+len(candidates)):
		return t.promote(candidates[:wantVoters(healthy+len(candidates))-len(voters)])
	}
	for _, s := range others {
		if !alive(s) && l.now()-absent[s.ID] > forgetAfter {
			return l.consensus.raft.RemoveServer(s.ID, 0, applyTimeout).Error()
		}
	}
	return nil
}

// wantVoters returns how many should vote when so many could.
func wantVoters(healthy int) int { return max(1, min(maxVoters, healthy-(healthy+1)%2)) }

func count(servers []raft.Server, is func(raft.Server) bool) int {
	n := 0
	for _, s := range servers {
		if is(s) {
			n++
		}
	}
	return n
}

// ages returns for how long the servers with a live session have been seen to
// have it.
func (l *life) ages() map[raft.ServerID]time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := make(map[raft.ServerID]time.Duration)
	maps.DeleteFunc(l.seen, func(sid protocol.SID, _ time.Duration) bool { return l.current().Sessions[sid] == nil })
	for _, s := range l.current().Sessions {
		if s.Expired {
			continue
		}
		since, known := l.seen[s.ID]
		if !known {
			since = l.now()
			l.seen[s.ID] = since
		}
		age[raft.ServerID(s.Node)] = l.now() - since
	}
	return age
}

// candidates returns the servers that may become voters, the longest known
// first.
func (t *term) candidates(others []raft.Server, age map[raft.ServerID]time.Duration) []raft.Server {
	var fit []raft.Server
	for _, s := range others {
		if age[s.ID] >= settledAfter {
			fit = append(fit, s)
		}
	}
	slices.SortStableFunc(fit, func(a, b raft.Server) int { return cmp.Compare(age[b.ID], age[a.ID]) })
	return fit
}

// promote makes servers voters, if all of them follow now.
func (t *term) promote(servers []raft.Server) error {
	for _, s := range servers {
		if !t.life.follows(t.ctx, s) {
			return fmt.Errorf("%s does not follow", s.ID)
		}
	}
	for _, s := range servers {
		if err := t.life.consensus.raft.AddVoter(s.ID, s.Address, 0, applyTimeout).Error(); err != nil {
			return fmt.Errorf("make %s a voter: %w", s.ID, err)
		}
		t.life.log.Info("a node votes", "node", s.ID)
	}
	return nil
}

// demote makes one voter that is not this node a server without a vote.
func (t *term) demote(voters []raft.Server) error {
	for _, s := range slices.Backward(voters) {
		if s.ID != t.life.id {
			t.life.log.Info("a node votes no more", "node", s.ID)
			return t.life.consensus.raft.DemoteVoter(s.ID, 0, applyTimeout).Error()
		}
	}
	return nil
}

// useFeature lets all use what every live session understands, and what all have to understand.
func (t *term) useFeature() {
	common, now := uint32(agreed), uint32(0)
	t.life.look(func(s *protocol.State) {
		now = s.Feature
		for _, session := range s.Sessions {
			common = min(common, session.Feature)
		}
	})
	if common > now {
		t.life.consensus.apply(protocol.UseFeature{Feature: common})
	}
}
