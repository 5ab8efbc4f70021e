// Package keypath maps object keys to paths of a shared file tree and back. A
// key is its own path wherever that is possible; what cannot be stored as it
// is gets a name that begins with a sentinel such as "=e=". The map is one to
// one in both directions: no two keys share a path, and every name that
// somebody else made in the tree has exactly one key.
//
// It is pure: it knows nothing of what is on the disk. DESIGN.md has the
// grammar.
package keypath

import "strings"

// DefaultNameMax is the longest name on nearly all file systems, in bytes.
const DefaultNameMax = 255

// minNameMax is the least NameMax that a Codec works with, in bytes.
const minNameMax = 32

// SystemName is the name, at the root of a tree, of what is ours and no
// object's.
const SystemName = ".shoal.sys"

// Slot is one of the two places that a component has in its directory. The
// file of a key moves to the second one when a directory takes the first.
type Slot uint8

// The slots.
const (
	Plain Slot = iota
	Alias
)

// The sentinels: '=', a lower-case letter or a digit, '='.
const (
	sentinelEmpty  = "=0=" // the empty component
	sentinelEscape = "=e=" // a component that had to be escaped
	sentinelBytes  = "=b=" // in a key: a name that is no component's
	sentinelAlias  = "=f=" // the alias slot
	sentinelLong   = "=l=" // a directory that holds the rest of a long name
	sentinelLast   = "=m=" // the last piece of a long name
	sentinelSize   = 3
)

// Codec is the mapping for one kind of mount. It is a value, and its methods
// may be called concurrently. All gateways of a tree must use the same.
type Codec struct {
	NameMax int  // longest name in bytes; 0 means DefaultNameMax, at least 32
	SMB     bool // names are also held to what SMB servers and Windows accept
}

func (c Codec) nameMax() int {
	if c.NameMax == 0 {
		return DefaultNameMax
	}
	return max(c.NameMax, minNameMax)
}

// Path returns the path of the file of a key: relative, joined by '/', valid
// for vfs.Dir. It is defined for every key but the empty one, and returns the
// key itself, without allocation, if nothing in it needs escaping.
func (c Codec) Path(key string) string {
	if c.isPlainPath(key) {
		return key
	}
	var b strings.Builder
	b.Grow(len(key) + 2*sentinelSize)
	for rest, more := key, true; more; {
		var component string
		component, rest, more = strings.Cut(rest, "/")
		c.appendStored(&b, c.encode(component))
		if more {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// Alias returns the path of the alias slot of a key's file.
func (c Codec) Alias(key string) string {
	i := strings.LastIndexByte(key, '/') + 1
	var b strings.Builder
	if i > 0 {
		b.WriteString(c.Path(key[:i-1]))
		b.WriteByte('/')
	}
	c.appendStored(&b, sentinelAlias+c.encode(key[i:]))
	return b.String()
}

// Name returns the path of a component's plain slot in its directory. It is a
// single name unless that would be too long.
func (c Codec) Name(component string) string { return c.Slot(component, Plain) }

// Slot returns the path of a component's slot in its directory.
func (c Codec) Slot(component string, slot Slot) string {
	stored := c.encode(component)
	if slot == Alias {
		stored = sentinelAlias + stored
	}
	if len(stored) <= c.nameMax() {
		return stored
	}
	var b strings.Builder
	c.appendStored(&b, stored)
	return b.String()
}

// Decode returns the component, and its slot, that a name in a directory
// stands for. It is not ok for a name that is never shown: Hidden, IsLong, and
// on SMB what cannot be on such a mount. A name of the alias slot means
// something for a file only; a directory is always in the plain slot.
func (c Codec) Decode(name string) (component string, slot Slot, ok bool) {
	if inner, ok := c.alias(name); ok {
		return inner, Alias, true
	}
	component, ok = c.decode(name)
	return component, Plain, ok
}

// DecodeLong returns the component, and its slot, that the path of a long name
// stands for: names of directories for which IsLong is true and a last one. It
// is not ok for what Slot never returns, which is never shown.
func (c Codec) DecodeLong(path string) (component string, slot Slot, ok bool) {
	var b strings.Builder
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		sentinel := sentinelLast
		if more {
			sentinel = sentinelLong
		}
		piece, found := strings.CutPrefix(name, sentinel)
		if !found {
			return "", Plain, false
		}
		b.WriteString(piece)
	}
	component, slot, ok = c.Decode(b.String())
	if !ok || c.Slot(component, slot) != path {
		return "", Plain, false
	}
	return component, slot, true
}

// IsLong reports whether a name is that of a directory of DecodeLong.
func (c Codec) IsLong(name string) bool {
	return strings.HasPrefix(name, sentinelLong) && len(name) >= c.nameMax()-c.pieceSlack() && len(name) <= c.nameMax()
}

// MaxLong returns how many directories deep the long name of a component of
// at most size bytes can lie.
func (c Codec) MaxLong(size int) int {
	return (2*sentinelSize + 3*size) / (c.nameMax() - c.pieceSlack() - sentinelSize)
}

// cutSlack is how many bytes less than there is room for cut may take: three of a
// character and two of an escape.
const cutSlack = 5

// pieceSlack is how many bytes shorter a piece of a long name may be than there is
// room for.
func (c Codec) pieceSlack() int {
	if c.SMB {
		return 2*cutSlack + 1 // it was cut a second time, in front of a dot
	}
	return cutSlack
}

// appendStored appends a stored name, in pieces if it is too long.
func (c Codec) appendStored(b *strings.Builder, stored string) {
	room := c.nameMax()
	if len(stored) <= room {
		b.WriteString(stored)
		return
	}
	room -= sentinelSize
	for len(stored) > room {
		n := cut(stored, room)
		if c.SMB && endsBadly(stored[:n]) {
			n = cut(stored, n-1) // an alias that is hardly too long: its dots are not escaped
		}
		b.WriteString(sentinelLong)
		b.WriteString(stored[:n])
		b.WriteByte('/')
		stored = stored[n:]
	}
	b.WriteString(sentinelLast)
	b.WriteString(stored)
}

// cut returns how many of the first room bytes of s to take so that neither a
// character nor an escape is split.
func cut(s string, room int) int {
	n := room
	for n > room-3 && isContinuation(s[n]) {
		n--
	}
	if isContinuation(s[n]) {
		n = room // no UTF-8 anyway
	}
	switch {
	case s[n-1] == '%':
		n--
	case s[n-2] == '%':
		n -= 2
	}
	return n
}

func isContinuation(b byte) bool { return b&0xc0 == 0x80 }
