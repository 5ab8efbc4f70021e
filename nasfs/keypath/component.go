package keypath

import (
	"strings"
	"unicode/utf8"
)

// encode returns the stored name of a component, which may be too long.
func (c Codec) encode(component string) string {
	if component == "" {
		return sentinelEmpty
	}
	if c.isPlain(component) {
		return component
	}
	if raw, ok := c.rawName(component); ok {
		return raw
	}
	return sentinelEscape + c.escape(component)
}

// decode returns the component of a name that is not in the alias slot.
func (c Codec) decode(name string) (string, bool) {
	switch {
	case c.isPlain(name):
		return name, true
	case name == sentinelEmpty:
		return "", true
	case name == "" || Hidden(name) || !c.isStorable(name) || c.IsLong(name):
		return "", false
	}
	if component, ok := c.escaped(name); ok {
		return component, true
	}
	return sentinelBytes + c.escape(name), true
}

// escaped returns the component of a canonical "=e=" name: what it decodes to
// has no other name, and is encoded so.
func (c Codec) escaped(name string) (string, bool) {
	text, found := strings.CutPrefix(name, sentinelEscape)
	if !found {
		return "", false
	}
	component, ok := unescape(text)
	if !ok || component == "" || c.isPlain(component) || c.escape(component) != text {
		return "", false
	}
	if _, ok := c.rawName(component); ok {
		return "", false
	}
	return component, true
}

// rawName returns the name that a canonical "=b=" component stands for: one
// that is shown and that no other component has.
func (c Codec) rawName(component string) (string, bool) {
	text, found := strings.CutPrefix(component, sentinelBytes)
	if !found {
		return "", false
	}
	name, ok := unescape(text)
	if !ok || name == "" || name == sentinelEmpty || len(name) > c.nameMax() || strings.ContainsAny(name, "/\x00") {
		return "", false
	}
	if c.isPlain(name) || Hidden(name) || !c.isStorable(name) || c.IsLong(name) || c.escape(name) != text {
		return "", false
	}
	if _, ok := c.escaped(name); ok {
		return "", false
	}
	if _, ok := c.alias(name); ok {
		return "", false
	}
	return name, true
}

// alias returns the component of a name in the alias slot. There is no alias
// of an alias.
func (c Codec) alias(name string) (string, bool) {
	inner, found := strings.CutPrefix(name, sentinelAlias)
	if !found {
		return "", false
	}
	if _, ok := c.alias(inner); ok {
		return "", false
	}
	return c.decode(inner)
}

// isPlainPath reports whether every component of key is stored as it is.
func (c Codec) isPlainPath(key string) bool {
	for {
		i := strings.IndexByte(key, '/')
		if i < 0 {
			return c.isShort(key)
		}
		if !c.isShort(key[:i]) {
			return false
		}
		key = key[i+1:]
	}
}

func (c Codec) isShort(component string) bool {
	return len(component) <= c.nameMax() && c.isPlain(component)
}

// isPlain reports whether a component is stored as it is, if it is not too
// long.
func (c Codec) isPlain(s string) bool {
	if s == "" || isSentinel(s) || isDots(s) || Hidden(s) {
		return false
	}
	ascii := true
	for i := range len(s) {
		if isControl(s[i]) {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	return (ascii || utf8.ValidString(s)) && (!c.SMB || isWindowsName(s) && (len(s) <= c.nameMax() || !strings.ContainsAny(s, windowsEnds)))
}

// isStorable reports whether a name can be on this kind of mount at all.
func (c Codec) isStorable(name string) bool {
	if isDots(name) || strings.ContainsAny(name, "/\x00") {
		return false
	}
	return !c.SMB || utf8.ValidString(name) && !hasControl(name) && isWindowsName(name)
}

// isSentinel reports whether s begins with one of our sentinels, or with one
// that is not used yet.
func isSentinel(s string) bool {
	return len(s) >= sentinelSize && s[0] == '=' && s[2] == '=' && ('a' <= s[1] && s[1] <= 'z' || '0' <= s[1] && s[1] <= '9')
}

func isDots(s string) bool  { return s == "." || s == ".." }
func isControl(b byte) bool { return b < ' ' || b == 0x7f }
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0
}

const hexDigits = "0123456789ABCDEF"

// escape writes as %XX what keeps s from being plain, and '%' and a leading
// '='. On SMB these are also all dots and spaces of what is then too long for one
// name: of its pieces none may end with one.
func (c Codec) escape(s string) string {
	text := c.escapeBut(s, windowsEnds)
	if c.SMB && len(sentinelEscape)+len(text) > c.nameMax() {
		return c.escapeBut(s, "")
	}
	return text
}

// escapeBut is escape for a name that may have some characters anywhere but at its
// end.
func (c Codec) escapeBut(s, inside string) string {
	first := s[0] == '=' || Hidden(s) || c.SMB && isReserved(s)
	dots := isDots(s)
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		size, bad := 1, i == 0 && first || dots || s[i] == '%' || isControl(s[i])
		if s[i] >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			bad = bad || r == utf8.RuneError && size == 1
		}
		if c.SMB && size == 1 {
			ends := strings.IndexByte(windowsEnds, s[i]) >= 0
			bad = bad || strings.IndexByte(windowsBytes, s[i]) >= 0 || ends && (i == len(s)-1 || strings.IndexByte(inside, s[i]) < 0)
		}
		if bad {
			for range size {
				b.Write([]byte{'%', hexDigits[s[i]>>4], hexDigits[s[i]&15]})
				i++
			}
			continue
		}
		b.WriteString(s[i : i+size])
		i += size
	}
	return b.String()
}

// unescape is the inverse of escape, for what may also be no result of it.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b = append(b, byte(high<<4|low))
		i += 2
	}
	return string(b), true
}
