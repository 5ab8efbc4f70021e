package config

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Records is where a Store keeps what it knows, sealed: secrets are among it. Its methods
// may be called concurrently.
type Records interface {
	// Get returns a record, nil if there is none, and its revision.
	Get(name string) (content []byte, revision uint64, err error)
	// Set changes a record if it still has the revision, else it returns ErrChanged. When
	// it returns nil, Get says so on every gateway.
	Set(ctx context.Context, name string, content []byte, revision uint64) error
}

// The errors of a Store.
var (
	ErrChanged = errors.New("config: the record was changed meanwhile")
	ErrNoEntry = errors.New("config: there is no such entry in the history")
	ErrTooMany = errors.New("config: there would be too many settings")
)

// recordName is the record of all settings.
const recordName = "config/settings"

// maxHistory is how many changes are remembered.
const maxHistory = 20

// Settings are the values of all targets, by their keys. They do not change.
type Settings map[Target]map[string]string

// Entry is a change.
type Entry struct {
	ID      string
	Created time.Time
	Text    string // of the lines that were set, or "reset" and what was
}

// Store keeps settings. Its methods may be called concurrently.
type Store struct {
	Records Records
	Now     func() time.Time
}

// document is the record.
type document struct {
	Settings map[string]map[string]string `json:"settings,omitempty"` // by target
	History  []past                       `json:"history,omitempty"`  // the newest last
}

// past is an Entry as it is kept.
type past struct {
	ID      string                       `json:"id"`
	Created time.Time                    `json:"created"`
	Text    string                       `json:"text"`
	After   map[string]map[string]string `json:"after,omitempty"` // all settings
}

// Get returns the settings, and a revision that is another one after each change.
func (s *Store) Get() (Settings, uint64, error) {
	d, revision, err := s.read()
	if err != nil {
		return nil, 0, err
	}
	all, err := settingsOf(d.Settings)
	return all, revision, err
}

// Revision returns the revision alone.
func (s *Store) Revision() (uint64, error) {
	_, revision, err := s.Records.Get(recordName)
	return revision, err //nolint:wrapcheck // the question is the caller's own
}

// Change runs change on a copy of the settings, and keeps what it leaves there, and text in the
// history. An error of change is returned as it is, and nothing is changed then.
func (s *Store) Change(ctx context.Context, text string, change func(Settings) error) error {
	return s.edit(ctx, func(d *document) error {
		all, err := settingsOf(d.Settings)
		if err != nil {
			return err
		}
		if err := change(all); err != nil {
			return err
		}
		return s.keep(d, text, all)
	})
}

// keep puts settings into the document, and the change into its history.
func (s *Store) keep(d *document, text string, all Settings) error {
	d.Settings = make(map[string]map[string]string)
	for target, values := range all {
		if len(values) > 0 {
			d.Settings[target.String()] = values
		}
	}
	if len(d.Settings) > maxTargets {
		return ErrTooMany
	}
	d.History = append(d.History, past{ID: rand.Text(), Created: s.Now().UTC(), Text: text, After: d.Settings})
	d.History = d.History[max(0, len(d.History)-maxHistory):]
	return nil
}

// Restore makes the settings what they were after the change of an ID. Check is called with
// those that there are and with them; its error is returned as it is, and nothing is changed
// then.
func (s *Store) Restore(ctx context.Context, id string, check func(have, then Settings) error) error {
	return s.edit(ctx, func(d *document) error {
		i := slices.IndexFunc(d.History, func(p past) bool { return p.ID == id })
		if i < 0 {
			return ErrNoEntry
		}
		all, err := settingsOf(d.History[i].After)
		have, wrong := settingsOf(d.Settings)
		if err = errors.Join(err, wrong); err != nil {
			return err
		}
		if err := check(have, all); err != nil {
			return err
		}
		return s.keep(d, d.History[i].Text, all)
	})
}

// History returns the changes, the newest first.
func (s *Store) History() ([]Entry, error) {
	d, _, err := s.read()
	var all []Entry
	for _, p := range slices.Backward(d.History) {
		all = append(all, Entry{ID: p.ID, Created: p.Created, Text: p.Text})
	}
	return all, err
}

// Forget removes a change from the history, or all if the ID is "".
func (s *Store) Forget(ctx context.Context, id string) error {
	return s.edit(ctx, func(d *document) error {
		before := len(d.History)
		d.History = slices.DeleteFunc(d.History, func(p past) bool { return id == "" || p.ID == id })
		if id != "" && len(d.History) == before {
			return ErrNoEntry
		}
		return nil
	})
}

// edit repeats a change on the newest record until nobody else's comes in between.
func (s *Store) edit(ctx context.Context, change func(*document) error) error {
	for {
		d, revision, err := s.read()
		if err != nil {
			return err
		}
		if err := change(&d); err != nil {
			return err
		}
		content, err := d.encode()
		if err != nil {
			return err
		}
		if err := s.Records.Set(ctx, recordName, content, revision); !errors.Is(err, ErrChanged) {
			return err //nolint:wrapcheck // the change is the caller's own
		}
	}
}

// maxRecord bounds the record, in bytes.
const maxRecord = 512 << 10

// encode returns the document, without what of its history there is no room for.
func (d *document) encode() ([]byte, error) {
	for {
		content, err := json.Marshal(d)
		switch {
		case err != nil:
			return nil, fmt.Errorf("config: encode the settings: %w", err)
		case len(content) <= maxRecord:
			return content, nil
		case len(d.History) == 0:
			return nil, ErrTooMany
		}
		d.History = d.History[1:]
	}
}

func (s *Store) read() (d document, revision uint64, err error) {
	content, revision, err := s.Records.Get(recordName)
	if err != nil || content == nil {
		return d, revision, err //nolint:wrapcheck // the question is the caller's own
	}
	if err := json.Unmarshal(content, &d); err != nil {
		return d, 0, fmt.Errorf("config: read the settings: %w", err)
	}
	return d, revision, nil
}

// settingsOf returns a copy of what a record says.
func settingsOf(kept map[string]map[string]string) (Settings, error) {
	all := make(Settings, len(kept))
	for name, values := range kept {
		target, err := ParseTarget(name)
		if err != nil {
			return nil, err
		}
		all[target] = maps.Clone(values)
	}
	return all, nil
}
