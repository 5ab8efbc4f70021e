package raftlock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Owner is a session that a name's slot is given to, or could be.
type Owner struct {
	Session string // ID; "": nobody is known to own it now
	Node    string // UUID of its process
	Address string // host:port of its cluster port
	Self    bool   // it is this node's
}

// Owner returns who owns the slot of a name, such as "o/bucket/key", as far as
// this node knows, and a channel that is closed when that may have changed. It is
// a hint where a question should go: only a lease says what nobody else has.
func (n *Node) Owner(name string) (Owner, <-chan struct{}) {
	moved := n.moved.next()
	l := n.currentLife()
	if l == nil {
		return Owner{}, moved
	}
	_, rest, _ := strings.Cut(name, "/")
	bucket, _, _ := strings.Cut(rest, "/")
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.current()
	sid := state.Owners[protocol.SlotOf(bucket, name, n.cfg.Spread)].Owner
	if state.Standing(sid) != protocol.Live {
		return Owner{}, moved
	}
	s := state.Sessions[sid]
	return Owner{
		Session: sessionID(l.generation, s.Dir), Node: nodeOf(raft.ServerID(s.Node)), Address: s.Address,
		Self: l.session != nil && l.session.sid == sid,
	}, moved
}

// Live reports whether a session is alive, as far as this node knows.
func (n *Node) Live(id string) bool {
	l := n.currentLife()
	live := false
	if l != nil {
		l.look(func(state *protocol.State) {
			for _, s := range state.Sessions {
				live = live || !s.Expired && sessionID(l.generation, s.Dir) == id
			}
		})
	}
	return live
}

// Others returns the sessions of other nodes that are alive, as far as this node
// knows.
func (n *Node) Others() []Owner {
	l := n.currentLife()
	if l == nil {
		return nil
	}
	var all []Owner
	l.look(func(state *protocol.State) {
		for _, s := range state.Sessions {
			if s.Node != string(l.id) && !s.Expired {
				all = append(all, Owner{Session: sessionID(l.generation, s.Dir), Node: nodeOf(raft.ServerID(s.Node)), Address: s.Address})
			}
		}
	})
	return all
}

// Alone reports whether no session but this node's is alive, as far as it knows.
func (n *Node) Alone() bool {
	l := n.currentLife()
	if l == nil {
		return false
	}
	others := 0
	l.look(func(state *protocol.State) {
		for _, s := range state.Sessions {
			if s.Node != string(l.id) && !s.Expired {
				others++
			}
		}
	})
	return others == 0
}

func sessionID(generation uint32, dir string) string { return fmt.Sprintf("%08x-%s", generation, dir) }

// event is something that happens again and again. The zero event is ready.
type event struct {
	mu sync.Mutex
	c  chan struct{} // nil while nobody waits
}

// next returns a channel that is closed when it happens the next time.
func (e *event) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c == nil {
		e.c = make(chan struct{})
	}
	return e.c
}

func (e *event) happen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c != nil {
		close(e.c)
		e.c = nil
	}
}

// Prove returns nil if a session of this node had not been fenced at some time
// between call and return, which the storage says. It returns ErrLost if it has
// been, and the node goes on in another one; after any other error that is not known.
func (n *Node) Prove(ctx context.Context, s lock.Session) error {
	own, ok := s.(*session)
	if !ok {
		return lock.ErrLost
	}
	err := n.cfg.Arbiter.Prove(ctx, own.life.generation, own.dir)
	if isOver(err) {
		own.life.lose(own) // the leader may not have told yet, or may be gone
		return errors.Join(lock.ErrLost, err)
	}
	if err != nil {
		return fmt.Errorf("prove that this gateway was not fenced: %w", err)
	}
	return nil
}
