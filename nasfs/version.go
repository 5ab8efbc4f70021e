package nasfs

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

// version is the ID of a version: when it was made, counted downwards in big
// endian so that the newest sorts first, and what chance adds, so that nobody
// guesses it. The zero version is that of what has no ID.
type version [versionTime + 4]byte

const versionTime = 8 // bytes of a version that are its time

// newVersion returns the ID of a version made now, in ns, but later than after.
func newVersion(now, after int64) version {
	return versionAt(max(now, after+1))
}

// versionAt returns an ID of the given time.
func versionAt(ns int64) version {
	var v version
	binary.BigEndian.PutUint64(v[:], math.MaxUint64-uint64(max(ns, 0))) //nolint:gosec // not negative
	_, _ = rand.Read(v[versionTime:])                                   // it never fails (crypto/rand)
	return v
}

func (v version) isZero() bool { return v == version{} }

// made returns the time in the ID, in ns.
func (v version) made() int64 {
	return int64(math.MaxUint64 - binary.BigEndian.Uint64(v[:])) //nolint:gosec // as it was put in
}

func (v version) String() string { return hex.EncodeToString(v[:]) }

// parseVersion is the inverse of String.
func parseVersion(s string) (v version, ok bool) {
	if len(s) != hex.EncodedLen(len(v)) || strings.ToLower(s) != s {
		return v, false
	}
	_, err := hex.Decode(v[:], []byte(s))
	return v, err == nil && !v.isZero()
}

// past is a version that is kept in the history of its key: one that was current
// before, or a delete marker.
type past struct {
	id     version // of a null version it says only where it belongs in the order
	null   bool
	marker bool
}

// The endings of the names of files in a history.
const (
	endMarker     = ".d"
	endNull       = ".n"
	endNullMarker = ".nd"
)

// name returns the name of the version's file. Names sort as versions do, the
// newest first.
func (p past) name() string {
	end := ""
	switch {
	case p.null && p.marker:
		end = endNullMarker
	case p.null:
		end = endNull
	case p.marker:
		end = endMarker
	}
	return p.id.String() + end
}

// parsePast is the inverse of name. What is not ok is nobody's version.
func parsePast(name string) (p past, ok bool) {
	id, end, _ := strings.Cut(name, ".")
	if p.id, ok = parseVersion(id); !ok {
		return p, false
	}
	switch name[len(id):] {
	case "":
	case endMarker:
		p.marker = true
	case endNull:
		p.null = true
	case endNullMarker:
		p.null, p.marker = true, true
	default:
		return p, false
	}
	return p, end == "" || name == p.name()
}

// version returns the ID by which S3 knows the version.
func (p past) version() string {
	if p.null {
		return object.NullVersion
	}
	return p.id.String()
}

// versionOf returns the ID of an object's file by its record, which is nil for
// what somebody else wrote.
func versionOf(r *record) version {
	if r == nil {
		return version{}
	}
	return r.version
}

// versionID returns the ID by which S3 knows an object's file.
func versionID(r *record) string {
	if v := versionOf(r); !v.isZero() {
		return v.String()
	}
	return object.NullVersion
}

// madeAt returns when a current version was made, in ns: of a null version that
// is as good as the clock of whoever wrote it.
func (o *opened) madeAt() int64 {
	switch v := versionOf(o.rec); {
	case !v.isZero():
		return v.made()
	case o.rec != nil:
		return nanos(o.rec.modified)
	}
	return nanos(o.stat.Mtime)
}

// asPast returns what a current version is to be kept as, once one made at the
// time next follows it.
func (o *opened) asPast(next int64) past {
	if v := versionOf(o.rec); !v.isZero() {
		return past{id: v}
	}
	p := past{id: versionAt(min(o.madeAt(), next-1)), null: true}
	// The same file gets the same name should this be done twice.
	binary.BigEndian.PutUint32(p.id[versionTime:], uint32(o.stat.Ino)) //nolint:gosec // some of its bits will do
	return p
}
