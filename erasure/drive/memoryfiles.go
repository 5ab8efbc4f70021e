package drive

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// MemoryFiles is Files in memory, for simulations.
type MemoryFiles struct {
	mu sync.Mutex
	m  map[register.DataID][]byte
}

// NewMemoryFiles returns empty MemoryFiles.
func NewMemoryFiles() *MemoryFiles { return &MemoryFiles{m: make(map[register.DataID][]byte)} }

// Len returns how many files there are.
func (f *MemoryFiles) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.m)
}

// Create implements Files.
func (f *MemoryFiles) Create(id register.DataID) (File, error) { return &memoryFile{f: f, id: id}, nil }

// Open implements Files.
func (f *MemoryFiles) Open(id register.DataID) (io.ReaderAt, io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.m[id]
	if !ok {
		return nil, nil, fs.ErrNotExist
	}
	return bytes.NewReader(b), io.NopCloser(nil), nil
}

// Remove implements Files.
func (f *MemoryFiles) Remove(id register.DataID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.m, id)
	return nil
}

// RemoveBegun implements Files: what was begun is where nobody sees it.
func (f *MemoryFiles) RemoveBegun(register.DataID) error { return nil }

// Each implements Files.
func (f *MemoryFiles) Each(fn func(id register.DataID, begun bool) error) error {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.m))
	f.mu.Unlock()
	for _, id := range all {
		if err := fn(id, false); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Files.
func (f *MemoryFiles) Close() error { return nil }

type memoryFile struct {
	f  *MemoryFiles
	id register.DataID
	b  []byte
}

func (m *memoryFile) Write(p []byte) (int, error) {
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memoryFile) Finish() error {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.m[m.id] = m.b
	return nil
}

func (m *memoryFile) Abort() {}
