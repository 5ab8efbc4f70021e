package protocol

import (
	"strconv"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// one returns a Member that owns every slot.
func one() *Member {
	state := NewState()
	state.Apply(1, OpenSession{Nonce: "a"})
	m := NewMember(1, state, 0)
	m.Lease().Confirm(time.Hour)
	return m
}

func BenchmarkLocalAcquireAndRelease(b *testing.B) {
	m := one()
	names := make([]string, 1024)
	slots := make([]Slot, len(names))
	for i := range names {
		names[i] = "o/" + strconv.Itoa(i)
		slots[i] = SlotOf("bucket", names[i], DefaultSpread)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % len(names)
		items := []Item{{Name: "bucket", Mode: lock.Shared}, {Name: names[k], Mode: lock.Exclusive}}
		d, ok := m.Acquire(slots[k], items, false, 0)
		if !ok || d.Verdict != Granted {
			b.Fatal("not granted")
		}
		m.Release(slots[k], d.Request)
	}
}
