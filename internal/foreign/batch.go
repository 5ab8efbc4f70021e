package foreign

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
)

// What is remembered of a bucket is batches in the Journal: a whole one, and changes that have
// come since. A batch is a format (1 byte), its kind (1 byte), its number, the mark since which
// what S3's clients did has to be asked, and the files: a state (1 byte), the key, and the
// content of one that S3 has not made. Numbers are varints, and strings follow their length.

const format = 2

// The kinds of batches.
const (
	kindWhole byte = iota
	kindChanges
)

// The states of a file.
const (
	stateGone byte = iota
	stateOurs
	stateTheirs
)

// maxBatches is after how many batches the whole memory is written again.
const maxBatches = 64

// remember keeps what has changed in the memory, for this gateway and the next.
func (s *search) remember(ctx context.Context, b *bucket) error {
	m := b.memory
	if !m.whole && len(m.changed) == 0 {
		return nil
	}
	m.whole = m.whole || len(m.batches) >= maxBatches
	name, err := s.Journal.Keep(ctx, "1."+events.Foreign+"."+b.name, m.encode())
	if err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	old := m.batches
	if !m.whole {
		old = nil
		m.batches = append(m.batches, name)
	} else {
		m.batches = []string{name}
	}
	m.number++
	m.whole = false
	clear(m.changed)
	return s.drop(ctx, old)
}

func (w *Worker) drop(ctx context.Context, batches []string) error {
	var errs []error
	for _, name := range batches {
		if err := w.Journal.Drop(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("forget: %w", err))
		}
	}
	return errors.Join(errs...)
}

// encode returns the next batch.
func (m *memory) encode() []byte {
	kind := kindChanges
	if m.whole {
		kind = kindWhole
	}
	content := binary.AppendUvarint([]byte{format, kind}, m.number+1)
	content = appendString(content, m.settled)
	if m.whole {
		for key, f := range m.files {
			content = f.append(content, key)
		}
		return content
	}
	for key := range m.changed {
		if f, ok := m.files[key]; ok {
			content = f.append(content, key)
		} else {
			content = appendString(append(content, stateGone), key)
		}
	}
	return content
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (f file) append(b []byte, key string) []byte {
	if f.content == (content{}) {
		return appendString(append(b, stateOurs), key)
	}
	return append(appendString(append(b, stateTheirs), key), f.content[:]...)
}

// errFormat is the error of a batch that cannot be read.
var errFormat = errors.New("it has another form")

// batch is one that was read.
type batch struct {
	kind   byte
	number uint64
	mark   string
	files  []byte
}

func parseBatch(b []byte) (batch, error) {
	if len(b) < 2 || b[0] != format || b[1] > kindChanges {
		return batch{}, errFormat
	}
	number, n := binary.Uvarint(b[2:])
	if n <= 0 {
		return batch{}, errFormat
	}
	mark, files, ok := cutString(b[2+n:])
	if !ok {
		return batch{}, errFormat
	}
	return batch{b[1], number, mark, files}, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	end := n + int(size) //nolint:gosec // within b
	return string(b[n:end]), b[end:], true
}

// apply brings a memory up to a batch.
func (m *memory) apply(b *batch) error {
	if b.kind == kindWhole {
		clear(m.files)
		m.size = 0
	}
	m.number, m.mark = b.number, b.mark
	for rest := b.files; len(rest) > 0; {
		state := rest[0]
		key, after, ok := cutString(rest[1:])
		if !ok {
			return errFormat
		}
		rest = after
		var f file
		switch state {
		case stateGone:
			m.forget(key)
			continue
		case stateOurs:
		case stateTheirs:
			if len(rest) < len(f.content) {
				return errFormat
			}
			f.content, rest = content(rest[:len(f.content)]), rest[len(f.content):]
		default:
			return errFormat
		}
		if _, again := m.files[key]; !again {
			m.size += len(key) + entrySize
		}
		m.files[key] = f
	}
	return nil
}

// load returns what gateways that are gone have remembered. If one died while it replaced
// batches there are older ones, too: each numbered as it was written.
func (w *Worker) load(ctx context.Context) (map[string]*memory, error) {
	names, err := w.Journal.Left(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what is remembered: %w", err)
	}
	left := make(map[string][]string)
	for _, name := range names {
		if bucket, ok := bucketOf(name); ok {
			left[bucket] = append(left[bucket], name)
		}
	}
	all := make(map[string]*memory)
	for bucket, names := range left {
		m, err := w.fetch(ctx, names)
		if errors.Is(err, errFormat) {
			w.Log.Error("what was remembered of the files in a bucket cannot be read", "bucket", bucket)
			m = newMemory()
		} else if err != nil {
			return nil, err
		}
		m.batches = names
		all[bucket] = m
	}
	return all, nil
}

// fetch returns the memory that batches hold.
func (w *Worker) fetch(ctx context.Context, names []string) (*memory, error) {
	var batches []batch
	for _, name := range names {
		content, err := w.Journal.Fetch(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what is remembered: %w", err)
		}
		b, err := parseBatch(content)
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	slices.SortFunc(batches, func(a, b batch) int { return cmp.Compare(a.number, b.number) })
	m := newMemory()
	for i := range batches {
		m.complete = m.complete || batches[i].kind == kindWhole
		if err := m.apply(&batches[i]); err != nil {
			return nil, err
		}
	}
	m.settled = m.mark
	return m, nil
}

// bucketOf returns the bucket of a batch whose name remember has chosen.
func bucketOf(name string) (string, bool) {
	_, label, _ := strings.Cut(name, ".")
	return strings.CutPrefix(label, "1."+events.Foreign+".")
}
