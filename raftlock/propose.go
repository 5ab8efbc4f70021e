package raftlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Errors of changes of what is agreed.
var (
	// ErrNoLeader is returned when no leader was found in time: nothing was
	// changed.
	ErrNoLeader = errors.New("raftlock: the fleet has no leader now")
	// ErrUnknown says that it is not known whether something was changed.
	ErrUnknown = errors.New("it is not known whether it was done")
)

// commit commits a command on this node, which must be the leader.
func (l *life) commit(ctx context.Context, c protocol.Command) (protocol.Result, uint64, error) {
	if open, ok := c.(protocol.OpenSession); ok && !l.isServer(raft.ServerID(open.Node)) {
		return protocol.Result{}, 0, errRemoved // it would never see its session
	}
	if _, setting := c.(protocol.SetSetting); setting {
		t := l.leads()
		if t == nil {
			return protocol.Result{}, 0, raft.ErrNotLeader // elected, and not ready to save it yet
		}
		if err := t.archive.admits(ctx); err != nil {
			return protocol.Result{}, 0, err
		}
	}
	future := l.consensus.apply(c)
	done := make(chan error, 1)
	go func() { done <- future.Error() }() // Raft ends it when it loses the leadership or shuts down
	select {
	case err := <-done:
		if err != nil {
			return protocol.Result{}, 0, err
		}
	case <-ctx.Done():
		return protocol.Result{}, 0, fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	}
	result, _ := future.Response().(protocol.Result)
	if err := l.saved(ctx, c, result, future.Index()); err != nil {
		return result, 0, err
	}
	return result, future.Index(), nil
}

// leads returns what this node does as the leader, nil while it is not.
func (l *life) leads() *term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// leaderAddress returns who is to be asked for what only the leader does, "" if
// nobody is known.
func (l *life) leaderAddress() raft.ServerAddress {
	if address, _ := l.consensus.raft.LeaderWithID(); address != "" {
		return address
	}
	l.mu.Lock()
	sponsor := l.sponsor
	l.mu.Unlock()
	if sponsor != "" {
		return sponsor
	}
	// Raft tells nothing any more to a node that the others have removed while it was cut
	// off: any of them knows more.
	known := l.acquaintances()
	if len(known) == 0 {
		return ""
	}
	return known[l.asked.Add(1)%uint32(len(known))].Address //nolint:gosec // few
}

// acquaintances returns the other servers that this node knows of.
func (l *life) acquaintances() []raft.Server {
	voters, others := l.servers()
	return slices.DeleteFunc(slices.Concat(voters, others), func(s raft.Server) bool { return s.ID == l.id })
}

// heard notes what somebody who was asked said of the leader. Who does not answer, or
// knows none, is not asked first again, if there are others.
func (l *life) heard(from, leader raft.ServerAddress) {
	alone := len(l.acquaintances()) == 0
	l.mu.Lock()
	defer l.mu.Unlock()
	if leader != "" || l.sponsor == from && !alone {
		l.sponsor = leader
	}
}

// atLeader has the leader do something: local where this node is it, otherwise
// by a call. It tries until ctx ends, but not again when the first attempt may
// have been a success and once is not to happen twice.
func (l *life) atLeader(ctx context.Context, q request, local func() (response, error)) (response, error) {
	q.Generation = l.generation
	var last error
	for {
		a, err := l.tryLeader(ctx, q, local)
		if err == nil {
			return a, nil
		}
		if isUnknown(err) && !again(q) || Refuses(err) {
			return a, err
		}
		if errors.Is(err, errRemoved) {
			l.end(errRemoved)
			return a, err
		}
		last = err
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("%w: %w", ErrNoLeader, last)
		case <-l.ctx.Done():
			return a, context.Cause(l.ctx)
		case <-time.After(retryAfter):
		}
	}
}

func (l *life) tryLeader(ctx context.Context, q request, local func() (response, error)) (response, error) {
	to := l.leaderAddress()
	switch to {
	case "":
		return response{}, raft.ErrNotLeader
	case l.address:
		return local()
	}
	a, err := l.calls.ask(ctx, to, q)
	l.node.setClock(a.Clock)
	if err != nil {
		l.heard(to, "")
		return a, errors.Join(err, ErrUnknown)
	}
	if a.Leader != "" || a.NotLeader {
		l.heard(to, raft.ServerAddress(a.Leader))
	}
	switch {
	case a.Removed:
		return a, errRemoved
	case a.NotLeader:
		return a, raft.ErrNotLeader
	case a.Error != "":
		return a, a.failure()
	}
	return a, nil
}

// propose has the leader commit a command, and returns what became of it and
// the index that it has.
func (l *life) propose(ctx context.Context, c protocol.Command) (protocol.Result, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*applyTimeout)
	defer cancel()
	a, err := l.atLeader(ctx, request{Propose: protocol.Encode(c)}, func() (response, error) {
		result, index, err := l.commit(ctx, c)
		return response{Result: &result, Index: index}, err
	})
	if err != nil {
		return protocol.Result{}, 0, err
	}
	if a.Result == nil {
		return protocol.Result{}, 0, errors.New("an answer without a result")
	}
	return *a.Result, a.Index, nil
}

// keepAlive tells the leader that a session is alive, and waits until it has
// proved that it is the leader. It returns whether the session is alive to it,
// and whether it has renewed the generation of late.
func (l *life) keepAlive(ctx context.Context, sid protocol.SID, number uint64) (alive, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.SessionTTL/2)
	defer cancel()
	q := keepRequest{sid, number, l.node.wall().UnixNano()}
	a, err := l.tryLeader(ctx, request{Generation: l.generation, Keep: &q}, func() (response, error) {
		l.hearClock(sid, q.Clock)
		alive, fresh, err := l.kept(ctx, sid, number)
		return response{Alive: alive, Fresh: fresh}, err
	})
	return a.Alive, a.Fresh, err
}
