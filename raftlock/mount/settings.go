package mount

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// maxSettings bounds a copy of the settings, and a change, in bytes.
const maxSettings = 256 << 20

// kind says what a file of the settings holds. It is the end of its name.
type kind string

const (
	whole  kind = "all" // a copy of all settings
	change kind = "one" // one change to them
)

// stamp is the place of a file in the order of all: that of generations, and
// in one of them that of the indexes of its log.
type stamp struct {
	generation uint32
	index      uint64
}

func (s stamp) compare(o stamp) int {
	return cmp.Or(cmp.Compare(s.generation, o.generation), cmp.Compare(s.index, o.index))
}

// label names a file of the settings.
type label struct {
	stamp
	kind kind
}

func (l label) name() string { return fmt.Sprintf("%08x-%016x.%s", l.generation, l.index, l.kind) }

// parseLabel is the inverse of name, and of nothing else.
func parseLabel(name string) (label, bool) {
	base, end, _ := strings.Cut(name, ".")
	left, right, _ := strings.Cut(base, "-")
	generation, ok := parseHex(left, 8)
	index, ok2 := parseHex(right, 16)
	k := kind(end)
	return label{stamp{uint32(generation), index}, k}, ok && ok2 && (k == whole || k == change) //nolint:gosec // eight digits
}

// A file is its magic, its label as a name, the content, and the CRC-32C of all
// that, big-endian. The label is in it so that a file under another's name is
// noticed.
const (
	settingsMagic = "shoal settings 1\n"
	labelSize     = 8 + 1 + 16 + 1 + 3
	checksumSize  = 4
	envelopeSize  = len(settingsMagic) + labelSize + checksumSize
)

// errDamaged is the error of a file of the settings that is not what was saved.
var errDamaged = errors.New("it is damaged: put a good copy of it in its place, or remove it and lose what it says")

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// seal returns the bytes of a file.
func seal(l label, content []byte) []byte {
	b := make([]byte, 0, envelopeSize+len(content))
	b = append(b, settingsMagic...)
	b = append(b, l.name()...)
	b = append(b, content...)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// unseal is the inverse of seal.
func unseal(l label, b []byte) ([]byte, error) {
	header := settingsMagic + l.name()
	end := len(b) - checksumSize
	if end < len(header) || string(b[:len(header)]) != header || binary.BigEndian.Uint32(b[end:]) != checksum(b[:end]) {
		return nil, errDamaged
	}
	return b[len(header):end:end], nil
}

// SaveChange makes a change to the settings durable, which has an index in the
// log of a generation. It is staged in the directory of the caller's session:
// ErrOver if that is gone. Saving it again replaces it.
func (m *Mount) SaveChange(ctx context.Context, number uint32, session string, index uint64, content []byte) error {
	err := m.save(ctx, session, label{stamp{number, index}, change}, content)
	if err != nil {
		return fmt.Errorf("save change %d of generation %d: %w", index, number, err)
	}
	return nil
}

// SaveAll makes a copy of all settings durable, as they are after the change of
// an index, and removes the files that it makes needless: earlier copies, and
// the changes up to it. It returns ErrOver as SaveChange does.
func (m *Mount) SaveAll(ctx context.Context, number uint32, session string, index uint64, all []byte) error {
	l := label{stamp{number, index}, whole}
	err := m.save(ctx, session, l, all)
	if err == nil {
		err = m.do(ctx, func() error {
			return within(m.system, settingsDir, func(settings vfs.Dir) error { return prune(ctx, settings, l.stamp) })
		})
	}
	if err != nil {
		return fmt.Errorf("save settings as of change %d of generation %d: %w", index, number, err)
	}
	return nil
}

func (m *Mount) save(ctx context.Context, session string, l label, content []byte) error {
	if err := checkName(session); err != nil {
		return err
	}
	if len(content) > maxSettings {
		return fmt.Errorf("%d bytes are more than %d", len(content), maxSettings)
	}
	sealed := seal(l, content) // before the caller can leave, and change content
	err := m.do(ctx, func() error {
		return within(m.system, settingsDir, func(settings vfs.Dir) error {
			path := sessionsDir + "/" + hex32(l.generation) + "/" + session
			return over(within(m.system, path, func(staging vfs.Dir) error { return put(ctx, staging, settings, l, sealed) }))
		})
	})
	return err
}

// over makes the absence of a session its end.
func over(err error) error {
	if gone(err) {
		return fmt.Errorf("%w: %w", ErrOver, err)
	}
	return err
}

func put(ctx context.Context, staging, settings vfs.Dir, l label, sealed []byte) error {
	temp := "settings-" + random(8)
	st, err := writeFile(staging, temp, sealed)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		_ = staging.Remove(temp) // nobody waits for it any more
		return context.Cause(ctx)
	}
	return publish(staging, temp, st, settings, l.name())
}

// prune removes the files that a copy of all settings makes needless.
func prune(ctx context.Context, settings vfs.Dir, copied stamp) error {
	labels, err := list(settings)
	if err != nil {
		return err
	}
	for _, l := range labels {
		if order := l.compare(copied); order > 0 || order == 0 && l.kind == whole {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := unlink(ctx, settings, l.name()); err != nil {
			return err
		}
	}
	return nil
}

// list returns the labels of the files of the settings, in their order. Other
// files are not ours to judge.
func list(settings vfs.Dir) ([]label, error) {
	entries, err := settled(settings)
	if err != nil {
		return nil, err
	}
	var labels []label
	for _, e := range entries {
		if l, ok := parseLabel(e.Name); ok {
			labels = append(labels, l)
		}
	}
	slices.SortFunc(labels, func(a, b label) int { return a.compare(b.stamp) })
	return labels, nil
}

// Saved is what there is of the settings: the newest copy of all, nil if there is none, and the
// changes after it in their order, of whatever generation. Behind the place of the last there
// is nothing: the index of the change in the log of its generation.
type Saved struct {
	All        []byte
	Changes    [][]byte
	Generation uint32
	Index      uint64
}

// Load returns what there is of the settings. Called after Claim it returns all that was ever
// saved and nothing that is saved later.
func (m *Mount) Load(ctx context.Context) (Saved, error) {
	loaded, err := vfs.Call(ctx, m.calls, func() (s Saved, err error) {
		err = within(m.system, settingsDir, func(dir vfs.Dir) (err error) {
			s, err = load(ctx, dir)
			return err
		})
		return s, err
	}, nil)
	if err != nil {
		return Saved{}, fmt.Errorf("load settings: %w", err)
	}
	return loaded, nil
}

func load(ctx context.Context, dir vfs.Dir) (s Saved, err error) {
	for range readTries {
		var labels []label
		if labels, err = list(dir); err != nil {
			return s, err
		}
		if s, err = read(ctx, dir, needed(labels)); !gone(err) {
			break // otherwise a newer copy of all made a file needless
		}
	}
	return s, err
}

// needed returns the labels from the last whole copy on, which comes first.
func needed(labels []label) []label {
	for i, l := range slices.Backward(labels) {
		if l.kind == whole {
			after := slices.DeleteFunc(slices.Clone(labels), func(o label) bool { return o.compare(l.stamp) <= 0 })
			return slices.Insert(after, 0, labels[i])
		}
	}
	return labels
}

func read(ctx context.Context, dir vfs.Dir, labels []label) (s Saved, err error) {
	for _, l := range labels {
		if ctx.Err() != nil {
			return Saved{}, context.Cause(ctx)
		}
		sealed, _, err := readFile(dir, l.name(), int64(envelopeSize+maxSettings))
		if err != nil {
			return Saved{}, err
		}
		content, err := unseal(l, sealed)
		if err != nil {
			return Saved{}, fmt.Errorf("read %s/%s/%s: %w", systemDir, settingsDir, l.name(), err)
		}
		if l.kind == whole {
			s.All = content
		} else {
			s.Changes = append(s.Changes, content)
		}
		s.Generation, s.Index = l.generation, l.index
	}
	return s, nil
}
