package sse

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Local is MasterKeys that were given to this process.
type Local struct {
	first string
	keys  map[string]Key
}

// maxKeyName is the longest name of a master key, in bytes.
const maxKeyName = 128

// ParseLocal reads master keys: one or more of name:base64, of 32 bytes each,
// separated by commas or white space. The first is the default. An error tells no
// part of a key.
func ParseLocal(text string) (*Local, error) {
	l := &Local{keys: make(map[string]Key)}
	for field := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' }) {
		name, encoded, found := strings.Cut(field, ":")
		if !found || !ValidKeyName(name) {
			return nil, errors.New("a master key is not of the form name:base64")
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(raw) != KeySize {
			return nil, fmt.Errorf("the master key %s is not the base64 of %d bytes", name, KeySize)
		}
		if _, twice := l.keys[name]; twice {
			return nil, fmt.Errorf("there are two master keys %s", name)
		}
		if l.first == "" {
			l.first = name
		}
		l.keys[name] = Key(raw)
	}
	if l.first == "" {
		return nil, errors.New("there is no master key in it")
	}
	return l, nil
}

// ValidKeyName reports whether a master key can have a name: it becomes part of
// paths and headers.
func ValidKeyName(name string) bool {
	if name == "" || len(name) > maxKeyName || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// Before returns keys that are l's where l has one of the name, and otherwise those
// of others, whose default is used.
func (l *Local) Before(others MasterKeys) MasterKeys { return &joined{l, others} }

// joined is local master keys before others.
type joined struct {
	local *Local
	MasterKeys
}

func (j *joined) of(name string) MasterKeys {
	if _, ok := j.local.keys[name]; ok {
		return j.local
	}
	return j.MasterKeys
}

// Names implements MasterKeys.
func (j *joined) Names(ctx context.Context) ([]string, error) {
	names, err := j.MasterKeys.Names(ctx)
	for name := range j.local.keys {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// Wrap implements MasterKeys.
func (j *joined) Wrap(ctx context.Context, name string, key Key, context []byte) ([]byte, error) {
	return j.of(name).Wrap(ctx, name, key, context)
}

// Unwrap implements MasterKeys.
func (j *joined) Unwrap(ctx context.Context, name string, wrapped, context []byte) (Key, error) {
	return j.of(name).Unwrap(ctx, name, wrapped, context)
}

// HasVersions implements MasterKeys.
func (j *joined) HasVersions(name string) bool { return j.of(name).HasVersions(name) }

// Default implements MasterKeys.
func (l *Local) Default() string { return l.first }

// Names implements MasterKeys.
func (l *Local) Names(context.Context) ([]string, error) {
	return slices.Collect(maps.Keys(l.keys)), nil
}

// Create implements MasterKeys: it makes none.
func (l *Local) Create(_ context.Context, name string) error {
	return fmt.Errorf("make master key %q: %w", name, errors.ErrUnsupported)
}

// HasVersions implements MasterKeys: there are none.
func (l *Local) HasVersions(string) bool { return false }

// Wrap implements MasterKeys.
func (l *Local) Wrap(_ context.Context, name string, key Key, context []byte) ([]byte, error) {
	master, ok := l.keys[name]
	if !ok {
		return nil, ErrNoMasterKey
	}
	return master.Wrap(key, context), nil
}

// Unwrap implements MasterKeys.
func (l *Local) Unwrap(_ context.Context, name string, wrapped, context []byte) (Key, error) {
	master, ok := l.keys[name]
	if !ok {
		return Key{}, ErrNoMasterKey
	}
	return master.Unwrap(wrapped, context)
}
