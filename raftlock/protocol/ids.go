package protocol

import (
	"cmp"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Slots is how many slots the names of locks are spread over.
const Slots = 4096

// DefaultSpread is over how many slots the names of one bucket are spread. It
// is fixed for the life of a generation: a name that changed its slot could be
// given tokens that are not greater than its earlier ones.
const DefaultSpread = 64

// What a version understands is a number, which grows.
const (
	// FeatureLog is the first.
	FeatureLog = iota + 1
	// FeatureParts is to answer AssertFrom. It is between two sessions, and needs
	// no others that understand it.
	FeatureParts
)

// Slot is the number of a slot.
type Slot uint16

// SID identifies a session within a generation: the index of the log entry that
// opened it. So a session that is greater than what has been applied is one
// that has not been heard of yet, and never one that is gone.
type SID uint64

// Epoch says since when a slot has had its owner: the index of the log entry
// that assigned it.
type Epoch uint64

// ReqID names a request for locks over all retries.
type ReqID struct {
	Session SID
	Request uint64 // never used again in the session
}

// Item is a name that a request wants, and how.
type Item struct {
	Name string
	Mode lock.Mode
}

// SlotOf returns the slot of a name within a bucket: one of the spread slots
// that are the bucket's.
func SlotOf(bucket, name string, spread int) Slot {
	return Slot((hash(bucket) + hash(name)%uint64(spread)) % Slots) //nolint:gosec // below Slots
}

// BucketSlots returns the slots that the names of a bucket are in, ascending.
// A lock on the bucket as a whole is held in each of them.
func BucketSlots(bucket string, spread int) []Slot {
	first := hash(bucket)
	slots := make([]Slot, 0, min(spread, Slots))
	for i := range min(spread, Slots) {
		slots = append(slots, Slot((first+uint64(i))%Slots)) //nolint:gosec // below Slots
	}
	slices.Sort(slots)
	return slots
}

// hash is FNV-1a with a finalizer that spreads the last bytes over all bits. It
// is part of the protocol: all versions must agree on it.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// sortItems returns the items of a request sorted, and of two of one name the
// stronger one. All requests take their items in this order.
func sortItems(items []Item) []Item {
	if sorted(items) {
		return items
	}
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(b.Mode, a.Mode))
	})
	return slices.CompactFunc(items, func(a, b Item) bool { return a.Name == b.Name })
}

func sorted(items []Item) bool {
	for i := 1; i < len(items); i++ {
		if items[i-1].Name >= items[i].Name {
			return false
		}
	}
	return true
}
