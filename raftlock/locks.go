package raftlock

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// MaxHeldLocks is how many locks of each node are told at most.
const MaxHeldLocks = 1000

// HeldLock is a lock that a node holds.
type HeldLock struct {
	Name      string        `json:"name"`
	Exclusive bool          `json:"exclusive,omitempty"`
	Age       time.Duration `json:"age_ns"` // since it was asked for
	Request   string        `json:"request"`
	Endpoint  string        `json:"endpoint,omitempty"` // where clients of the node are served
}

// HeldLocks asks all members for the locks that they hold, and returns the oldest, up to a
// number. Those of a member that does not answer before ctx ends are left out.
func (n *Node) HeldLocks(ctx context.Context, most int) []HeldLock {
	l := n.currentLife()
	if l == nil || most < 1 {
		return nil
	}
	var mu sync.Mutex
	var all []HeldLock
	var group sync.WaitGroup
	for _, other := range l.others() {
		group.Go(func() {
			a, err := l.calls.ask(ctx, other, request{Generation: l.generation, Locks: most})
			if err != nil {
				return // it is gone, or another version
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a.Locks...)
		})
	}
	own := l.locks(most)
	group.Wait()
	all = append(all, own...)
	slices.SortStableFunc(all, func(a, b HeldLock) int { return cmp.Compare(b.Age, a.Age) })
	return all[:min(len(all), most)]
}

// others returns where the other nodes are whose sessions are alive.
func (l *life) others() (all []raft.ServerAddress) {
	l.look(func(state *protocol.State) {
		for _, s := range state.Sessions {
			if s.Node != string(l.id) && !s.Expired {
				all = append(all, raftAddress(raft.ServerID(s.Node), s.Address))
			}
		}
	})
	return all
}

// jsonSize is no less than what a lock takes as JSON, in which a letter may be six.
func (h *HeldLock) jsonSize() int { return 256 + 6*(len(h.Name)+len(h.Endpoint)) }

// locks returns the locks that this node holds, the oldest, as far as an answer has room. An exclusive lock of a bucket, which is
// held in several slots, is one.
func (l *life) locks(most int) []HeldLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return nil
	}
	now, seen := l.now(), make(map[string]bool)
	var all []HeldLock
	room := maxCall - 4096 // for the rest of the answer
	for _, h := range l.member.Held(most * l.node.cfg.Spread) {
		exclusive := h.Mode == lock.Exclusive
		if exclusive && seen[h.Name] {
			continue
		}
		seen[h.Name] = exclusive
		told := HeldLock{Name: h.Name, Exclusive: exclusive, Age: now - h.Since, Request: strconv.FormatUint(h.Request, 10), Endpoint: l.node.cfg.Endpoint}
		if room -= told.jsonSize(); room < 0 {
			break
		}
		all = append(all, told)
	}
	return all[:min(len(all), most)]
}
