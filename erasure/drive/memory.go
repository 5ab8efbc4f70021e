package drive

import (
	"slices"
	"sort"
	"sync"
)

// Memory is a KV in memory, which outlives its Close, as a disk does a process: for
// simulations.
type Memory struct {
	mu   sync.Mutex
	keys []string // sorted
	m    map[string][]byte
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{m: make(map[string][]byte)} }

// Get implements KV.
func (m *Memory) Get(key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.m[string(key)]
	return slices.Clone(v), ok, nil
}

// Apply implements KV.
func (m *Memory) Apply(b *Batch, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range b.ops {
		k := string(o.key)
		i, there := slices.BinarySearch(m.keys, k)
		if o.what == remove {
			if there {
				m.keys = slices.Delete(m.keys, i, i+1)
				delete(m.m, k)
			}
			continue
		}
		if !there {
			m.keys = slices.Insert(m.keys, i, k)
		}
		var before []byte
		if o.what == extend {
			before = m.m[k]
		}
		m.m[k] = slices.Concat(before, o.value)
	}
	return nil
}

// Scan implements KV.
func (m *Memory) Scan(from, to []byte) (Iterator, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearch(m.keys, string(from))
	j, _ := slices.BinarySearch(m.keys, string(to))
	it := &memoryIterator{at: -1}
	if i < j {
		for _, k := range m.keys[i:j] {
			it.keys = append(it.keys, []byte(k))
			it.values = append(it.values, m.m[k])
		}
	}
	return it, nil
}

// Close implements KV.
func (m *Memory) Close() error { return nil }

type memoryIterator struct {
	keys, values [][]byte
	at           int
}

func (it *memoryIterator) Next() bool {
	it.at++
	return it.at < len(it.keys)
}

func (it *memoryIterator) Seek(key []byte) bool {
	it.at = sort.Search(len(it.keys), func(i int) bool { return string(it.keys[i]) >= string(key) })
	return it.at < len(it.keys)
}

func (it *memoryIterator) Key() []byte   { return it.keys[it.at] }
func (it *memoryIterator) Value() []byte { return it.values[it.at] }
func (it *memoryIterator) Close() error  { return nil }
