// Package dirsnap keeps sorted images of directories, so that a page of a
// listing costs what the page holds and not what the directory holds. A
// Snapshot is one reading of one directory in the order of object keys; a
// Cache decides how long a snapshot may stand for the directory, and adds to
// it what this gateway knows to have changed since.
//
// It knows nothing of keys as a whole, of prefixes or of pages: it deals in
// the components of one directory.
package dirsnap

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Entry is one component of a directory.
type Entry struct {
	// Key is the component, with '/' behind it if it is a directory. The order
	// of keys as bytes is the order in which a walk of the tree meets the keys
	// of objects sorted.
	Key  string
	Slot keypath.Slot // of a file
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return strings.HasSuffix(e.Key, "/") }

// Component returns Key without the '/' behind it.
func (e Entry) Component() string { return strings.TrimSuffix(e.Key, "/") }

// Snapshot is an image of one directory. It never changes.
type Snapshot struct {
	arena   string   // of each entry its slot in one byte, and its key
	offsets []uint32 // into arena, one more than there are entries
	long    bool     // parts of it were read from directories of long names
}

// Len returns the number of entries.
func (s *Snapshot) Len() int { return len(s.offsets) - 1 }

// At returns the i-th entry. It does not allocate.
func (s *Snapshot) At(i int) Entry {
	record := s.arena[s.offsets[i]:s.offsets[i+1]]
	return Entry{Key: record[1:], Slot: keypath.Slot(record[0])}
}

// Seek returns the index of the first entry whose Key is not less than key;
// Len if there is none.
func (s *Snapshot) Seek(key string) int {
	return sort.Search(s.Len(), func(i int) bool { return s.arena[s.offsets[i]+1:s.offsets[i+1]] >= key })
}

// SeekAfter returns the index of the first entry whose Key is greater than key.
func (s *Snapshot) SeekAfter(key string) int {
	i := s.Seek(key)
	if i < s.Len() && s.At(i).Key == key {
		i++
	}
	return i
}

// Size returns how much memory the snapshot takes, in bytes.
func (s *Snapshot) Size() int { return len(s.arena) + 4*len(s.offsets) + 64 }

// read makes a snapshot of dir. Files and directories are taken, of a long
// name from the directories that hold it, and what Codec hides, links and
// devices are not. If a file is in both slots the plain one counts.
func read(dir vfs.Dir, cfg Config) (*Snapshot, error) {
	entries, err := dir.ReadDir()
	if err != nil {
		return nil, err
	}
	b := builder{codec: cfg.Codec, aliasDirs: cfg.AliasDirs, dir: dir, refs: make([]ref, 0, len(entries))}
	for _, e := range entries {
		if err := b.entry(e); err != nil {
			return nil, err
		}
	}
	return b.finish()
}

// builder collects entries in the order in which they are read.
type builder struct {
	codec     keypath.Codec
	aliasDirs bool
	dir       vfs.Dir
	arena     []byte
	refs      []ref
	long      bool
}

// ref is one entry: its key is arena[start:end], and prefix the first bytes of
// it, which decide nearly all comparisons.
type ref struct {
	prefix     uint64
	start, end int
	slot       keypath.Slot
}

// entry adds one name of the directory.
func (b *builder) entry(e vfs.Entry) error {
	mode, err := typeOf(b.dir, e.Name, e.Type)
	if err != nil || !mode.IsDir() && !mode.IsRegular() {
		return err
	}
	if mode.IsDir() && b.codec.IsLong(e.Name) {
		b.long = true
		return b.longName(e.Name, 1)
	}
	component, slot, ok := b.codec.Decode(e.Name)
	if ok {
		b.add(component, slot, mode.IsDir())
	}
	return nil
}

// longName adds the entries below a directory that holds long names. What else
// somebody put there is nobody's key.
func (b *builder) longName(path string, depth int) error {
	entries, err := b.readDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := path + "/" + e.Name
		mode, err := typeOf(b.dir, below, e.Type)
		if err != nil {
			return err
		}
		if mode.IsDir() && b.codec.IsLong(e.Name) {
			if depth < b.codec.MaxLong(maxComponent) {
				err = b.longName(below, depth+1)
			}
			if err != nil {
				return err
			}
			continue
		}
		component, slot, ok := b.codec.DecodeLong(below)
		if ok && (mode.IsDir() || mode.IsRegular()) {
			b.add(component, slot, mode.IsDir())
		}
	}
	return nil
}

// maxComponent is the longest component of a key, in bytes: that of a key of
// one component (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const maxComponent = 1024

// readDir reads a directory below b.dir: nothing, if it is gone meanwhile.
func (b *builder) readDir(path string) (entries []vfs.Entry, err error) {
	d, err := b.dir.OpenDir(path)
	if err == nil {
		entries, err = d.ReadDir()
		_ = d.Close() // open for reading: there is nothing to lose
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// typeOf returns the type of an entry, which some file systems tell only when
// they are asked; what is gone meanwhile is of no type that counts.
func typeOf(dir vfs.Dir, path string, t fs.FileMode) (fs.FileMode, error) {
	if t != fs.ModeIrregular {
		return t, nil
	}
	st, err := dir.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ModeIrregular, nil
	}
	return st.Mode.Type(), err
}

func (b *builder) add(component string, slot keypath.Slot, isDir bool) {
	if isDir && slot != keypath.Plain {
		if !b.aliasDirs {
			return // directories have no alias: somebody else's, which no key can name
		}
		isDir = false
	}
	start := len(b.arena)
	b.arena = append(b.arena, component...)
	if isDir {
		b.arena = append(b.arena, '/')
	}
	var first [8]byte
	copy(first[:], b.arena[start:])
	b.refs = append(b.refs, ref{binary.BigEndian.Uint64(first[:]), start, len(b.arena), slot})
}

func (b *builder) key(r ref) []byte { return b.arena[r.start:r.end] }

func (b *builder) finish() (*Snapshot, error) {
	slices.SortFunc(b.refs, func(x, y ref) int {
		if x.prefix != y.prefix {
			return cmp.Compare(x.prefix, y.prefix)
		}
		return cmp.Or(slices.Compare(b.key(x), b.key(y)), cmp.Compare(x.slot, y.slot))
	})
	refs := slices.CompactFunc(b.refs, func(x, y ref) bool { return x.prefix == y.prefix && slices.Equal(b.key(x), b.key(y)) })
	p := newPacker(len(refs), len(b.arena)+len(refs))
	for _, r := range refs {
		p.arena.WriteByte(byte(r.slot))
		p.arena.Write(b.key(r))
		p.end()
	}
	return p.finish(b.long)
}

// packer writes a Snapshot from sorted entries.
type packer struct {
	arena   strings.Builder
	offsets []uint32
}

func newPacker(entries, size int) *packer {
	p := &packer{offsets: make([]uint32, 1, entries+1)}
	p.arena.Grow(size)
	return p
}

func (p *packer) add(e Entry) {
	p.arena.WriteByte(byte(e.Slot))
	p.arena.WriteString(e.Key)
	p.end()
}

func (p *packer) end() { p.offsets = append(p.offsets, uint32(p.arena.Len())) } //nolint:gosec // finish looks at it

func (p *packer) finish(long bool) (*Snapshot, error) {
	if uint64(p.arena.Len()) > math.MaxUint32 {
		return nil, fmt.Errorf("names of %d bytes in one directory", p.arena.Len())
	}
	return &Snapshot{arena: p.arena.String(), offsets: p.offsets, long: long}, nil
}
