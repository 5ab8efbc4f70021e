package raftlock

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// countedKeys is how many keys clients count in, and keep copies of.
const countedKeys = 4

func countedKey(i int) string { return "k" + strconv.Itoa(i) }

// floor returns what has been committed of each key.
func (h *history) floor() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.newest)
}

// over reports whether a client of a process has to stop.
func (p *process) over(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	case <-p.node.ctx.Done():
		return true
	default:
		return false
	}
}

// follow keeps copies of the counters by asking what has changed, until stop. No
// copy may be older than what had been committed when it asked.
func (w *world) follow(p *process, h *history, stop <-chan struct{}) {
	var mark lock.Mark
	copies := make(map[string]int)
	for !p.over(stop) {
		time.Sleep(time.Duration(w.pick(900)) * time.Millisecond)
		floor := h.floor()
		session, ok := p.node.Session().(*session)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		changes, err := p.node.Changes(ctx, "bucket", mark, "o/bucket/k")
		cancel()
		dir := fmt.Sprintf(".shoal.sys/sessions/%08x/%s", session.life.generation, session.dir)
		if _, fenced := w.root.Stat(dir); err != nil || fenced != nil {
			mark = ""
			continue
		}
		if mark = changes.Next; !changes.Known {
			clear(copies)
		}
		for _, name := range changes.Names {
			delete(copies, strings.TrimPrefix(name, "o/bucket/"))
		}
		h.check(p.name+" follows", floor, copies)
		for i := range countedKeys {
			if _, there := copies[countedKey(i)]; !there {
				copies[countedKey(i)], _ = w.read(h, countedKey(i))
			}
		}
		h.mu.Lock()
		h.followed++
		h.mu.Unlock()
	}
}

// check compares copies with what they must not be older than.
func (h *history) check(who string, floor, copies map[string]int) {
	for key, count := range copies {
		if count < floor[key] {
			h.problem("%s: its copy of %s is %d, and %d had been committed", who, key, count, floor[key])
		}
	}
}

// cache reads a counter under a cache lease, and then from memory for as long as
// that is good, until stop.
func (w *world) cache(p *process, h *history, stop <-chan struct{}) {
	for !p.over(stop) {
		time.Sleep(time.Duration(w.pick(400)) * time.Millisecond)
		key := countedKey(w.pick(countedKeys))
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		lease, err := p.node.Cache(ctx, "o/bucket/"+key)
		cancel()
		if err != nil {
			continue
		}
		count, _ := w.read(h, key)
		for !p.over(stop) {
			floor := h.floor()
			if !lease.Good() {
				break
			}
			h.check(p.name+" caches", floor, map[string]int{key: count})
			h.mu.Lock()
			h.cached++
			h.mu.Unlock()
			time.Sleep(time.Duration(w.pick(500)) * time.Millisecond)
		}
		lease.Release()
	}
}

// shelf is storage that real nodes share: counts by name.
type shelf struct {
	t      *testing.T
	mu     sync.Mutex
	counts map[string]int
}

const shelfNames = 4

func (*shelf) name(i int) string { return fmt.Sprintf("o/bucket/key%d", i%shelfNames) }

func (s *shelf) read(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[name]
}

// check reports a copy that is older than what was there before.
func (s *shelf) check(who, name string, copied, before int) {
	if copied < before {
		s.t.Errorf("%s has %d of %s, which was %d", who, copied, name, before)
	}
}

// write counts under a lock.
func (s *shelf) write(n *Node, name string) {
	ls, err := n.Acquire(s.t.Context(), lock.Exclusive, name)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	s.counts[name]++
	s.mu.Unlock()
	ls.Release()
}

// follow brings copies up to date by asking what has changed since a mark.
func (s *shelf) follow(n *Node, mark lock.Mark, copies map[string]int) lock.Mark {
	before := make([]int, shelfNames)
	for i := range before {
		before[i] = s.read(s.name(i))
	}
	changes, err := n.Changes(s.t.Context(), "bucket", mark, "o/bucket/")
	if err != nil || !changes.Known {
		clear(copies)
	}
	for _, changed := range changes.Names {
		delete(copies, changed)
	}
	for i := range before {
		name := s.name(i)
		if _, there := copies[name]; !there {
			copies[name] = s.read(name)
		}
		s.check("a follower", name, copies[name], before[i])
	}
	return changes.Next
}

// cache reads once, and then from memory.
func (s *shelf) cache(n *Node, name string) {
	c, err := n.Cache(s.t.Context(), name)
	if errors.Is(err, ErrInUse) {
		return
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	defer c.Release()
	copied := s.read(name)
	for range 20 {
		if before := s.read(name); c.Good() {
			s.check("a cache", name, copied, before)
		}
	}
}

// Three real nodes over TLS write, follow and cache at the same time.
func TestCopiesAreNeverOlderThanWhatWasCommittedBefore(t *testing.T) {
	s := &shelf{t: t, counts: make(map[string]int)}
	const rounds = 150
	var group sync.WaitGroup
	for i, n := range realFleet(t, 3) {
		group.Go(func() {
			for k := range rounds {
				s.write(n, s.name(i+k))
			}
		})
		group.Go(func() {
			var mark lock.Mark
			copies := make(map[string]int)
			for range rounds {
				mark = s.follow(n, mark, copies)
			}
		})
		group.Go(func() {
			for k := range rounds {
				s.cache(n, s.name(k))
			}
		})
	}
	group.Wait()
}

func TestACacheLeaseIsGoodUntilSomebodyWantsTheName(t *testing.T) {
	nodes := realFleet(t, 2)
	const name = "o/bucket/key"
	for _, n := range nodes {
		c, err := n.Cache(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for !c.Good() && !c.over.Load() { // until the leader has said that the session lives
			time.Sleep(time.Millisecond)
		}
		shared, err := nodes[0].Acquire(t.Context(), lock.Shared, name)
		if err != nil || c.over.Load() {
			t.Fatalf("a reader took it away: %v", err)
		}
		shared.Release()
		ls, err := nodes[1].Acquire(t.Context(), lock.Exclusive, name)
		if err != nil {
			t.Fatal(err)
		}
		if c.Good() {
			t.Error("it is good while somebody holds the name for himself")
		}
		if _, err := n.Cache(t.Context(), name); !errors.Is(err, ErrInUse) {
			t.Errorf("another one: %v", err)
		}
		ls.Release()
		c.Release()
	}
}

func TestANodeThatCachesTooMuchGivesUpWhatItHasHadLongest(t *testing.T) {
	n := realFleet(t, 1)[0]
	var leases []*CacheLease
	for i := range MaxCacheLeases + 1 {
		c, err := n.Cache(t.Context(), fmt.Sprintf("o/bucket%d/key%d", i%100, i))
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, c)
	}
	if !leases[0].over.Load() || leases[1].over.Load() {
		t.Error("another one was given up")
	}
	if got := n.currentLife().memberStatus().Caches; got != MaxCacheLeases {
		t.Errorf("%d are held", got)
	}
}

func TestAMarkCountsOnlyForItsSlotsInItsGeneration(t *testing.T) {
	slots := protocol.BucketSlots("bucket", 4)
	var marks []protocol.Mark
	for i, slot := range slots {
		marks = append(marks, protocol.Mark{Slot: slot, Epoch: protocol.Epoch(i + 1), Number: 7})
	}
	mark := formatMark(3, slots, []protocol.Mark{marks[2], marks[0], marks[3], marks[1]})
	if got, ok := parseMark(mark, 3, slots); !ok || !slices.Equal(got, marks) {
		t.Errorf("it came back as %v, %v", got, ok)
	}
	other := protocol.BucketSlots("other", 4)
	for name, got := range map[string]func() ([]protocol.Mark, bool){
		"another generation": func() ([]protocol.Mark, bool) { return parseMark(mark, 4, slots) },
		"another bucket":     func() ([]protocol.Mark, bool) { return parseMark(mark, 3, other) },
		"none":               func() ([]protocol.Mark, bool) { return parseMark("", 3, slots) },
		"cut short":          func() ([]protocol.Mark, bool) { return parseMark(mark[:len(mark)-1], 3, slots) },
		"too long":           func() ([]protocol.Mark, bool) { return parseMark(mark+"x", 3, slots) },
	} {
		marks, ok := got()
		if ok || len(marks) != 4 || marks[0].Epoch != 0 {
			t.Errorf("%s: %v, %v", name, marks, ok)
		}
	}
}

func TestAQuestionThatCannotBeAskedFails(t *testing.T) {
	var n Node
	if _, err := n.Changes(t.Context(), "bucket", ""); !errors.Is(err, lock.ErrLost) {
		t.Errorf("without a session: %v", err)
	}
	if _, err := n.Changes(t.Context(), "bucket", "", make([]string, protocol.MaxPrefixes+1)...); err == nil || errors.Is(err, lock.ErrLost) {
		t.Errorf("with too many prefixes: %v", err)
	}
}
