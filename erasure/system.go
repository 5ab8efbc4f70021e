package erasure

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure/register"
)

// What the server itself keeps on the drives: records in a space of their own, each a
// register of a majority like everything else.
const (
	settingsPrefix = "settings/"
	journalPrefix  = "journal/"
)

func systemLock(name string) string { return "s/" + name }

// batchPlace is where a batch of a Journal is.
func (s *Store) batchPlace(name string) place {
	full := journalPrefix + name
	return s.common(place{lock: systemLock(full), key: register.Key{Space: register.System, Name: full}})
}

// ErrChanged says that a setting no longer has the revision that it had.
var ErrChanged = errors.New("erasure: the setting has changed")

// Settings are the records of the control plane of a deployment that one process serves:
// they are in its memory, and on the drives before a change returns. Its methods may be
// called concurrently.
type Settings struct {
	s *Store

	mu      sync.Mutex
	values  map[string]setting
	changed chan struct{}
}

type setting struct {
	value    []byte
	revision uint64
}

// Settings reads the settings, and has every set hold the same of them before it returns: a change
// that was broken off, which only some have, is made or undone. There may be one Settings of a
// deployment.
func (s *Store) Settings(ctx context.Context) (*Settings, error) {
	t := &Settings{s: s, values: make(map[string]setting), changed: make(chan struct{})}
	held := make([]map[string]setting, len(s.sets))
	for i, set := range s.sets {
		var err error
		if held[i], err = s.settingsIn(ctx, set); err != nil {
			return nil, fail("read settings", "", err)
		}
		if set.fresh {
			continue
		}
		for name, v := range held[i] {
			if have, ok := t.values[name]; !ok || have.revision < v.revision {
				t.values[name] = v
			}
		}
	}
	for i, set := range s.sets {
		if err := t.bring(ctx, set, held[i]); err != nil {
			return nil, fail("bring settings to all sets", "", err)
		}
	}
	return t, nil
}

// settingsIn returns the settings that a set holds.
func (s *Store) settingsIn(ctx context.Context, in *set) (map[string]setting, error) {
	l := s.system(settingsPrefix)
	l.sets, l.partition = []*set{in}, nil
	held := make(map[string]setting)
	err := l.each(ctx, func(name string, r *register.Record) (bool, error) {
		if len(r.Value) < 8 {
			return false, errValue
		}
		held[strings.TrimPrefix(name, settingsPrefix)] = setting{r.Value[8:], binary.BigEndian.Uint64(r.Value)}
		return true, nil
	})
	return held, err
}

// bring has a set hold the settings, of which it has others.
func (t *Settings) bring(ctx context.Context, to *set, held map[string]setting) error {
	for name, v := range t.values {
		if had, ok := held[name]; ok && had.revision == v.revision {
			continue
		}
		if err := t.save(ctx, []*set{to}, name, &v); err != nil {
			return err
		}
	}
	for name := range held {
		if _, ok := t.values[name]; ok {
			continue
		}
		if err := t.save(ctx, []*set{to}, name, nil); err != nil {
			return err
		}
	}
	return nil
}

// save commits a setting in some sets, or with nil that there is none.
func (t *Settings) save(ctx context.Context, in []*set, name string, v *setting) error {
	return t.s.holding(ctx, t.s.settingPlace(in[0], name), func(ctx context.Context, h *hold) error { return h.setting(ctx, in, v) })
}

// settingPlace is where a set has a setting.
func (s *Store) settingPlace(in *set, name string) place {
	full := settingsPrefix + name
	return place{set: in, lock: systemLock(full), key: register.Key{Space: register.System, Name: full}}
}

// setting is Settings.save, under the lock.
func (h *hold) setting(ctx context.Context, in []*set, v *setting) error {
	for i, s := range in {
		r := register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: s.majority()}
		if v != nil {
			r.Kind, r.Value = register.Object, append(binary.BigEndian.AppendUint64(nil, v.revision), v.value...)
		}
		if err := h.commit(ctx, s, r, commitment{}); err != nil && i > 0 {
			return h.partly(err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// system is the listing of what the server keeps whose names begin with a prefix, in all sets.
func (s *Store) system(prefix string) *listing {
	return &listing{s: s, sets: s.sets, q: register.ScanQuery{Space: register.System, Prefix: prefix}, lockName: systemLock, partition: commonPlace}
}

// commons are the listings of what belongs to no key, and is in one set.
func (s *Store) commons() []*listing { return []*listing{s.buckets(), s.journaled()} }

// journaled is the listing of the batches of all Journals.
func (s *Store) journaled() *listing {
	l := s.system(journalPrefix)
	l.sets = s.commonSets()
	return l
}

// Get returns a setting and its revision, which is 0 if there is none.
func (t *Settings) Get(name string) (value []byte, revision uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[name]
	return v.value, v.revision, nil
}

// List returns the names of the settings that begin with a prefix.
func (t *Settings) List(prefix string) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(t.values)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

// Changed returns a channel that is closed at the next change of any setting.
func (t *Settings) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Set changes a setting if it still has the revision, else it returns ErrChanged; nil
// removes it. After any other error that may have been done or not, and Get says how it
// was.
func (t *Settings) Set(ctx context.Context, name string, value []byte, revision uint64) error {
	defer t.s.enter().leave()
	next := max(revision+1, uint64(t.s.cfg.Now().UnixNano())) //nolint:gosec // after 1970
	err := t.s.holding(ctx, t.s.settingPlace(t.s.sets[0], name), func(ctx context.Context, h *hold) error {
		if _, now, _ := t.Get(name); now != revision {
			return ErrChanged
		}
		var v *setting
		if value != nil {
			v = &setting{value, next}
		}
		if err := h.setting(ctx, t.s.sets, v); err != nil {
			return err
		}
		t.took(name, value, next)
		return nil
	})
	if errors.Is(err, ErrChanged) {
		return ErrChanged
	}
	return fail("set", name, err)
}

func (t *Settings) took(name string, value []byte, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if value == nil {
		delete(t.values, name)
	} else {
		t.values[name] = setting{value, revision}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// Sessions tells in which session this process keeps batches, and which are not over.
type Sessions interface {
	Current() string
	Live(id string) bool
}

// Journal keeps batches of events for the sessions that are not over. Its methods may be
// called concurrently.
type Journal struct {
	s        *Store
	sessions Sessions
	last     atomic.Uint64
}

// Journal returns the Journal of this process.
func (s *Store) Journal(sessions Sessions) *Journal { return &Journal{s: s, sessions: sessions} }

// Keep makes a batch durable and returns its name: a later one sorts behind it, and it ends with a dot
// and the label.
func (j *Journal) Keep(ctx context.Context, label string, content []byte) (string, error) {
	name := fmt.Sprintf("%s/%016x.%s", j.sessions.Current(), j.last.Add(1), label)
	return name, j.change(ctx, name, func(ctx context.Context, h *hold) error {
		return h.keep(ctx, register.Record{Version: register.Null, Kind: register.Object, Value: content})
	})
}

func (j *Journal) change(ctx context.Context, name string, do func(ctx context.Context, h *hold) error) error {
	defer j.s.enter().leave()
	return fail("journal", name, j.s.holding(ctx, j.s.batchPlace(name), do))
}

// Left returns the sorted names of batches of sessions that are over.
func (j *Journal) Left(ctx context.Context) (names []string, err error) {
	defer j.s.enter().leave()
	err = j.s.journaled().each(ctx, func(name string, _ *register.Record) (bool, error) {
		name = strings.TrimPrefix(name, journalPrefix)
		if session, _, _ := strings.Cut(name, "/"); !j.sessions.Live(session) {
			names = append(names, name)
		}
		return true, nil
	})
	return names, fail("journal", "", err)
}

// Fetch returns a batch, or fs.ErrNotExist.
func (j *Journal) Fetch(ctx context.Context, name string) ([]byte, error) {
	defer j.s.enter().leave()
	at := j.s.batchPlace(name)
	r, err := j.s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.latest(ctx, at.key) })
	if err != nil {
		return nil, fail("journal", name, err)
	}
	if r == nil {
		return nil, fs.ErrNotExist
	}
	return r.Value, nil
}

// Drop removes a batch. That it is gone is not an error.
func (j *Journal) Drop(ctx context.Context, name string) error {
	return j.change(ctx, name, func(ctx context.Context, h *hold) error { return h.vanish(ctx) })
}
