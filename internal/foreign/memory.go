package foreign

import (
	"crypto/sha256"
	"fmt"

	"github.com/shoal-storage/shoal/internal/object"
)

const (
	maxMemory  = 56 << 20 // bytes of the batch that holds all of a bucket
	maxChanged = 1 << 16  // files that are written down as changes
)

// memory is what is known to be, or to have been, in a bucket.
type memory struct {
	files    map[string]file // by key
	size     int             // bytes, as encoded at most
	pass     uint32          // that is under way
	complete bool            // there was a look at the whole bucket
	mark     string          // since which what S3's clients do is not known yet
	asked    string          // the mark at which the last look at the whole bucket began
	settled  string          // the same of the last one that has come to its end

	changed map[string]struct{} // since it was written
	whole   bool                // it has to be written as a whole
	number  uint64              // of the last batch
	batches []string            // in the Journal, that together hold it
}

func newMemory() *memory {
	return &memory{files: make(map[string]file), changed: make(map[string]struct{}), whole: true}
}

// file is what is known of one.
type file struct {
	content content
	touched bool   // S3's clients may have changed it since it was seen
	pass    uint32 // in which it was seen
}

// content stands for what a file holds; the zero value for any that S3 made.
type content [8]byte

func contentOf(o *object.Info) content {
	if !isForeign(o) {
		return content{}
	}
	sum := sha256.Sum256([]byte(o.ETag))
	return content(sum[:])
}

// entrySize is the most that a file takes beside its key, in a batch.
const entrySize = 1 + 2 + len(content{})

// has reports whether a file is remembered as it is, and notes that it was seen.
func (m *memory) has(o *object.Info) bool {
	f, ok := m.files[o.Key]
	return ok && f.content == contentOf(o) && m.see(o.Key)
}

// see notes that there is a file of a key. It returns whether one is remembered.
func (m *memory) see(key string) bool {
	f, ok := m.files[key]
	if ok {
		f.pass, f.touched = m.pass, false
		m.files[key] = f
	}
	return ok
}

// takes returns an error if there is no room for files.
func (m *memory) takes(objects []*object.Info) error {
	size := m.size
	for _, o := range objects {
		size += len(o.Key) + entrySize
	}
	if size > maxMemory {
		return fmt.Errorf("no more than its %d files can be remembered", len(m.files))
	}
	return nil
}

// put remembers a file that was seen.
func (m *memory) put(o *object.Info) {
	if _, ok := m.files[o.Key]; !ok {
		m.size += len(o.Key) + entrySize
	}
	m.files[o.Key] = file{content: contentOf(o), pass: m.pass}
	m.change(o.Key)
}

func (m *memory) forget(key string) {
	if _, ok := m.files[key]; ok {
		m.size -= len(key) + entrySize
		delete(m.files, key)
		m.change(key)
	}
}

func (m *memory) change(key string) {
	if !m.whole {
		m.changed[key] = struct{}{}
	}
	if len(m.changed) > maxChanged {
		m.whole = true
		clear(m.changed)
	}
}

// touch notes that a client of S3 may have changed a file since it was seen.
func (m *memory) touch(key string) {
	if f, ok := m.files[key]; ok {
		f.touched = true
		m.files[key] = f
	}
}

// doubt is touch for all files.
func (m *memory) doubt() {
	for key := range m.files {
		m.touch(key)
	}
}

func (m *memory) isTouched(key string) bool { return m.files[key].touched }

// missing returns the keys that are remembered, were looked for in this pass, and not seen.
func (m *memory) missing(prefixes map[string]bool, keys []string) []string {
	var all []string
	for _, key := range keys {
		if f, ok := m.files[key]; ok && f.pass != m.pass {
			all = append(all, key)
		}
	}
	if len(prefixes) == 0 {
		return all
	}
	for key, f := range m.files {
		if f.pass != m.pass && covered(prefixes, key) {
			all = append(all, key)
		}
	}
	return all
}
