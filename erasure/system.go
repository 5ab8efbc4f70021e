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

// systemPlace is where what the server keeps is.
func (s *Store) systemPlace(name string) place {
	return place{set: s.first(), lock: systemLock(name), key: register.Key{Space: register.System, Name: name}}
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

// Settings reads the settings. There may be one Settings of a deployment.
func (s *Store) Settings(ctx context.Context) (*Settings, error) {
	t := &Settings{s: s, values: make(map[string]setting), changed: make(chan struct{})}
	err := s.system(settingsPrefix).each(ctx, func(name string, r *register.Record) (bool, error) {
		if len(r.Value) < 8 {
			return false, errValue
		}
		t.values[strings.TrimPrefix(name, settingsPrefix)] = setting{r.Value[8:], binary.BigEndian.Uint64(r.Value)}
		return true, nil
	})
	if err != nil {
		return nil, fail("read settings", "", err)
	}
	return t, nil
}

func (s *Store) system(prefix string) *listing {
	return &listing{s: s, sets: s.sets[:1], q: register.ScanQuery{Space: register.System, Prefix: prefix}, lockName: systemLock}
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
	full := settingsPrefix + name
	next := max(revision+1, uint64(t.s.cfg.Now().UnixNano())) //nolint:gosec // after 1970
	err := t.s.holding(ctx, t.s.systemPlace(full), func(ctx context.Context, h *hold) error {
		if _, now, _ := t.Get(name); now != revision {
			return ErrChanged
		}
		r := register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: h.set.majority()}
		if value != nil {
			r.Kind, r.Value = register.Object, append(binary.BigEndian.AppendUint64(nil, next), value...)
		}
		if err := h.commit(ctx, h.set, r, commitment{}); err != nil {
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

// Keep makes a batch durable and returns its name: a later one sorts behind it.
func (j *Journal) Keep(ctx context.Context, label string, content []byte) (string, error) {
	name := fmt.Sprintf("%s/%016x-%s", j.sessions.Current(), j.last.Add(1), label)
	r := register.Record{Version: register.Null, Kind: register.Object, Quorum: j.s.first().majority(), Value: content}
	return name, j.commit(ctx, name, r)
}

func (j *Journal) commit(ctx context.Context, name string, r register.Record) error {
	full := journalPrefix + name
	err := j.s.holding(ctx, j.s.systemPlace(full), func(ctx context.Context, h *hold) error {
		return h.commit(ctx, h.set, r, commitment{})
	})
	return fail("journal", name, err)
}

// Left returns the sorted names of batches of sessions that are over.
func (j *Journal) Left(ctx context.Context) (names []string, err error) {
	err = j.s.system(journalPrefix).each(ctx, func(name string, _ *register.Record) (bool, error) {
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
	full := journalPrefix + name
	at := j.s.systemPlace(full)
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
	return j.commit(ctx, name, register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: j.s.first().majority()})
}
