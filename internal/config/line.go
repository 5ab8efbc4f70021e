// Package config keeps settings that all gateways share, with a history of how they were
// changed, as one record of a control plane: a change is in force as a whole, and of two
// at the same time none is lost.
package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ErrText says that a text is not one of settings.
var ErrText = errors.New("config: these are no settings")

// The bounds of what is kept.
const (
	maxText    = 64 << 10 // bytes of one change
	maxValue   = 8 << 10  // bytes
	maxName    = 64       // bytes of the name of a target
	maxTargets = 256
)

// Target is whom settings are of, as MinIO's tools write it: "notify_webhook:MAIN".
type Target struct {
	System string
	Name   string // "": it has none
}

func (t Target) String() string {
	if t.Name == "" {
		return t.System
	}
	return t.System + ":" + t.Name
}

// ParseTarget reads one; the name "_" stands for none.
func ParseTarget(text string) (Target, error) {
	system, name, named := strings.Cut(text, ":")
	if name == "_" {
		name, named = "", false
	}
	if !isName(system) || named && (!isName(name) || len(name) > maxName) {
		return Target{}, fmt.Errorf("%w: %q is no target", ErrText, text)
	}
	return Target{system, name}, nil
}

// isName reports whether a text can be part of the name of a variable.
func isName(text string) bool {
	return text != "" && strings.IndexFunc(text, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}) < 0
}

// Line is what one line of a text says: of a target, values by their keys.
type Line struct {
	Target Target
	Values map[string]string
}

// Parse reads a text of lines such as
//
//	identity_openid:DEX client_id=shoal display_name="The name"
//
// of which empty ones and those that begin with "#" say nothing.
func Parse(text string) ([]Line, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: there are more than %d bytes", ErrText, maxText)
	}
	var all []Line
	for row := range strings.Lines(text) {
		row = strings.TrimSpace(row)
		if row == "" || row[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(row, " ")
		target, err := ParseTarget(name)
		if err != nil {
			return nil, err
		}
		values, err := ParseValues(rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", target, err)
		}
		all = append(all, Line{target, values})
	}
	if len(all) == 0 || len(all) > maxTargets {
		return nil, fmt.Errorf("%w: there are none, or of more than %d targets", ErrText, maxTargets)
	}
	return all, nil
}

// ParseValues reads what a line says of its target. A key without "=" names the key alone.
func ParseValues(text string) (map[string]string, error) {
	values := make(map[string]string)
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, "= ")
		if end < 0 {
			end = len(text)
		}
		key := text[:end]
		if !isName(key) {
			return nil, fmt.Errorf("%w: %q is no key", ErrText, key)
		}
		value, rest, err := cutValue(text[end:])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if len(value) > maxValue || strings.ContainsAny(value, "\x00\n\r") {
			return nil, fmt.Errorf("%w: the value of %s is too long, or of several lines", ErrText, key)
		}
		values[key], text = value, rest
	}
	return values, nil
}

// cutValue cuts a value from a text that begins with "=", if there is one: it is quoted, or
// goes on until the next key, since shells take quotes away.
func cutValue(text string) (value, rest string, err error) {
	text, given := strings.CutPrefix(text, "=")
	if !given {
		return "", text, nil
	}
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", fmt.Errorf("%w: a quote is not closed", ErrText)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return "", "", fmt.Errorf("%w: %w", ErrText, err)
		}
		return value, text[len(quoted):], nil
	}
	words := strings.SplitAfter(text, " ")
	n := 1
	for n < len(words) && !startsKey(words[n]) {
		n++
	}
	return strings.TrimSpace(strings.Join(words[:n], "")), strings.Join(words[n:], ""), nil
}

// startsKey reports whether a word is a key with a value.
func startsKey(word string) bool {
	key, _, given := strings.Cut(word, "=")
	return given && isName(key)
}

// String is the line as a text.
func (l Line) String() string {
	text := l.Target.String()
	for _, key := range slices.Sorted(maps.Keys(l.Values)) {
		text += " " + key + "=" + Quote(l.Values[key])
	}
	return text
}

// Quote is a value as it stands in a line.
func Quote(value string) string {
	special := func(c rune) bool { return c == '"' || c == '\\' || unicode.IsSpace(c) || !unicode.IsPrint(c) }
	if strings.ContainsFunc(value, special) {
		return strconv.Quote(value)
	}
	return value
}
