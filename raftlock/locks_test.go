package raftlock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// heldAt returns the locks that a node tells of.
func heldAt(p *process, most int) map[string]HeldLock {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	found := make(map[string]HeldLock)
	for _, l := range p.node.HeldLocks(ctx, most) {
		found[l.Name] = l
	}
	return found
}

func TestEachNodeTellsOfTheLocksOfAll(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		x, y := others[0], others[1]
		old, _ := take(t, x, time.Second, "o/bucket/old")
		time.Sleep(10 * time.Second)
		whole, _ := take(t, y, time.Second, "b/other")
		young, err := y.node.Acquire(t.Context(), lock.Shared, "o/bucket/young", "o/bucket/young2")
		if err != nil {
			t.Fatal(err)
		}
		waits, cancel := context.WithCancel(t.Context())
		defer cancel()
		over := make(chan error, 1)
		go func() {
			_, err := y.node.Acquire(waits, lock.Exclusive, "o/bucket/young")
			over <- err
		}()
		time.Sleep(time.Millisecond)
		for _, p := range []*process{x, y} {
			held := heldAt(p, 100)
			if len(held) != 4 || len(p.node.HeldLocks(t.Context(), 100)) != 4 {
				t.Errorf("%s tells of %+v", p.name, held)
			}
			if l := held["o/bucket/old"]; !l.Exclusive || l.Age < 10*time.Second || l.Age > 11*time.Second {
				t.Errorf("%s: %+v", p.name, l)
			}
			if l := held["o/bucket/young2"]; l.Exclusive || l.Age > time.Second {
				t.Errorf("%s: %+v", p.name, l)
			}
			if first := heldAt(p, 1); len(first) != 1 || first["o/bucket/old"].Request == "" {
				t.Errorf("of one, %s tells of %+v", p.name, first)
			}
		}
		cancel()
		if err := <-over; err == nil {
			t.Error("who waited was granted what others hold")
		}
		for _, ls := range []lock.Lease{old, whole, young} {
			ls.Release()
		}
		if held := heldAt(x, 100); len(held) != 0 {
			t.Errorf("released: %+v", held)
		}
	})
}

// Long names of letters that JSON writes as six each are more than an answer has room for.
func TestTheOldestOfManyLongLocksAreTold(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		old, _ := take(t, others[0], time.Second, "o/bucket/old")
		defer old.Release()
		time.Sleep(time.Second)
		for i := range MaxHeldLocks {
			ls, _ := take(t, others[0], time.Second, fmt.Sprintf("o/bucket/%s%d", strings.Repeat("<", 1000), i))
			defer ls.Release()
		}
		for _, p := range w.running {
			held := heldAt(p, MaxHeldLocks)
			if _, there := held["o/bucket/old"]; !there || len(held) < MaxHeldLocks/2 {
				t.Errorf("%s tells of %d", p.name, len(held))
			}
		}
	})
}
