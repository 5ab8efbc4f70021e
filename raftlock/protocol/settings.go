package protocol

import (
	"encoding/binary"
	"maps"
	"slices"
)

// SettingChange is what one entry made of one setting: the form in which
// settings outlive a generation.
type SettingChange struct {
	Revision uint64
	Name     string
	Value    []byte
	Delete   bool
}

// ApplyTo makes the change. A later one that is there already stays.
func (c SettingChange) ApplyTo(settings map[string]Setting) {
	if settings[c.Name].Revision > c.Revision {
		return
	}
	if c.Delete {
		delete(settings, c.Name)
		return
	}
	settings[c.Name] = Setting{Value: slices.Clone(c.Value), Revision: c.Revision}
}

// ChangesOf returns settings as the changes that make them, sorted by name.
func ChangesOf(settings map[string]Setting) []SettingChange {
	changes := make([]SettingChange, 0, len(settings))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		changes = append(changes, SettingChange{Revision: settings[name].Revision, Name: name, Value: settings[name].Value})
	}
	return changes
}

// AppendChanges appends the bytes of changes.
func AppendChanges(b []byte, changes []SettingChange) []byte { return appendChanges(b, changes) }

// ParseChanges is the inverse of AppendChanges.
func ParseChanges(b []byte) ([]SettingChange, error) {
	r := &reader{b: b}
	changes := r.changes()
	return changes, r.end()
}

func appendChanges(b []byte, changes []SettingChange) []byte {
	b = binary.AppendUvarint(b, uint64(len(changes)))
	for _, c := range changes {
		b = binary.AppendUvarint(b, c.Revision)
		b = appendString(b, c.Name)
		b = appendString(b, string(c.Value))
		b = appendBool(b, c.Delete)
	}
	return b
}

func (r *reader) changes() []SettingChange {
	var changes []SettingChange
	for range r.count(4) {
		changes = append(changes, SettingChange{Revision: r.uint(), Name: r.string(), Value: r.bytes(), Delete: r.bool()})
	}
	return changes
}
