// Package recent remembers what was used of late, in bounded memory.
package recent

// Map holds values by key: those of the keys that were used last, a certain number of
// them at least and twice as many at most. It must not be used concurrently.
type Map[K comparable, V any] struct {
	room       int
	young, old map[K]*V
}

// New returns a Map that remembers so many keys at least.
func New[K comparable, V any](room int) *Map[K, V] {
	return &Map[K, V]{room: room, young: make(map[K]*V)}
}

// Get returns the value of a key, to be changed in place. One that is not remembered is
// a new zero value, which is remembered from then on.
func (m *Map[K, V]) Get(key K) *V {
	if v := m.young[key]; v != nil {
		return v
	}
	v := m.old[key]
	if v == nil {
		v = new(V)
	}
	if len(m.young) >= m.room {
		// What has not been used since the last time is forgotten.
		m.young, m.old = make(map[K]*V), m.young
	}
	m.young[key] = v
	return v
}
