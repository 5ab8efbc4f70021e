package erasure

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/object"
)

// errValue is returned for what is no value of a version known here.
var errValue = errors.New("erasure: not the value of a record, or a damaged one")

// valueVersion is the first byte of a value.
const valueVersion = 1

// content is where the bytes of a version, or of a part of one, are.
type content struct {
	id   register.DataID
	size int64 // bytes, with overhead
}

// value is what a record says of a version, an upload or a part.
type value struct {
	info     object.Info // without names; Parts, Meta and all
	geometry shard.Geometry
	start    int       // the drive of the set that has the first shard
	contents []content // in order
	uploadID string    // that it was assembled from
	upload   object.Upload
}

// encoder appends fields. All numbers are varints, all texts have their length before
// them.
type encoder struct{ b []byte }

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) bool(v bool)   { e.uint(map[bool]uint64{true: 1}[v]) }
func (e *encoder) text(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.bool(false)
		return
	}
	e.bool(true)
	e.int(t.Unix())
	e.int(int64(t.Nanosecond()))
}

func (e *encoder) checksum(c object.Checksum) {
	e.uint(uint64(c.Algorithm))
	e.uint(uint64(c.Type))
	e.text(c.Value)
	e.int(int64(c.Parts))
}

func (e *encoder) meta(m *object.Meta) {
	for _, s := range metaTexts(m) {
		e.text(*s)
	}
	e.uint(uint64(len(m.User)))
	for _, name := range slices.Sorted(maps.Keys(m.User)) {
		e.text(name)
		e.text(m.User[name])
	}
	e.uint(uint64(len(m.Tags)))
	for _, t := range m.Tags {
		e.text(t.Key)
		e.text(t.Value)
	}
	e.uint(uint64(m.Retention.Mode))
	e.time(m.Retention.Until)
	e.uint(uint64(m.LegalHold))
}

// metaTexts are the texts of metadata, in their order.
func metaTexts(m *object.Meta) []*string {
	return []*string{
		&m.ContentType, &m.ContentEncoding, &m.ContentDisposition, &m.ContentLanguage, &m.CacheControl, &m.Expires,
		&m.StorageClass, &m.WebsiteRedirect, &m.Seal,
	}
}

// long reports whether its shards on one drive are larger together than what is in a segment: it takes
// its time to copy them.
func (v *value) long() bool {
	all := int64(0)
	for i := range v.contents {
		all += v.geometry.Size(v.contents[i].size)
	}
	return all > maxSegmented
}

// encode returns the value: a version byte and the fields in their order.
func (v *value) encode() []byte {
	e := encoder{b: append(make([]byte, 0, 256), valueVersion)}
	e.int(v.info.Size)
	e.int(v.info.Overhead)
	e.time(v.info.Modified)
	e.text(v.info.ETag)
	e.checksum(v.info.Checksum)
	e.uint(uint64(len(v.info.Parts)))
	for _, p := range v.info.Parts {
		e.int(int64(p.Number))
		e.int(p.Size)
		e.text(p.Checksum)
		e.text(p.Salt)
	}
	e.meta(&v.info.Meta)
	e.uint(uint64(v.geometry.K)) //nolint:gosec // small
	e.uint(uint64(v.geometry.M)) //nolint:gosec // small
	e.uint(uint64(v.start))      //nolint:gosec // small
	e.uint(uint64(len(v.contents)))
	for _, c := range v.contents {
		e.b = append(e.b, c.id[:]...)
		e.int(c.size)
	}
	e.text(v.uploadID)
	e.time(v.upload.Initiated)
	e.uint(uint64(v.upload.Algorithm))
	e.uint(uint64(v.upload.Type))
	e.bool(v.upload.Implied)
	return e.b
}

// decoder reads what encoder appended. After a failure it gives zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if d.failed || size <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.rest)
	if d.failed || size <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bool() bool { return d.uint() != 0 }

// count reads how many of something there are, of which each takes a byte at least.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.failed = true
		return 0
	}
	return int(n) //nolint:gosec // no more than there are bytes
}

func (d *decoder) take(n int) []byte {
	if d.failed || n > len(d.rest) {
		d.failed = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.take(d.count())) }

func (d *decoder) time() time.Time {
	if !d.bool() {
		return time.Time{}
	}
	s, ns := d.int(), d.int()
	return time.Unix(s, ns).UTC()
}

func (d *decoder) checksum() object.Checksum {
	c := object.Checksum{
		Algorithm: d.algorithm(),
		Type:      object.ChecksumType(d.uint()), //nolint:gosec // as it was written
		Value:     d.text(), Parts: int(d.int()),
	}
	if c.IsZero() {
		return object.Checksum{}
	}
	return c
}

// algorithm returns NoAlgorithm for what is not known here.
func (d *decoder) algorithm() object.Algorithm {
	a := object.Algorithm(min(d.uint(), math.MaxUint8)) //nolint:gosec // bounded
	if a.String() == "" {
		return object.NoAlgorithm
	}
	return a
}

func (d *decoder) meta() object.Meta {
	var m object.Meta
	for _, s := range metaTexts(&m) {
		*s = d.text()
	}
	for range d.count() {
		if m.User == nil {
			m.User = make(map[string]string)
		}
		name := d.text()
		m.User[name] = d.text()
	}
	for range d.count() {
		m.Tags = append(m.Tags, object.Tag{Key: d.text(), Value: d.text()})
	}
	m.Retention = object.Retention{Mode: object.RetentionMode(d.uint()), Until: d.time()} //nolint:gosec // as it was written
	m.LegalHold = object.LegalHold(min(d.uint(), uint64(object.LegalHoldOff)))            //nolint:gosec // bounded
	return m
}

// decodeValue is the inverse of encode.
func decodeValue(b []byte) (*value, error) {
	if len(b) == 0 || b[0] != valueVersion {
		return nil, errValue
	}
	d := decoder{rest: b[1:]}
	v := &value{}
	v.info.Size, v.info.Overhead, v.info.Modified = d.int(), d.int(), d.time()
	v.info.ETag, v.info.Checksum = d.text(), d.checksum()
	for range d.count() {
		v.info.Parts = append(v.info.Parts, object.PartInfo{Number: int(d.int()), Size: d.int(), Checksum: d.text(), Salt: d.text()})
	}
	v.info.Meta = d.meta()
	v.geometry = shard.Geometry{K: int(d.uint()), M: int(d.uint())} //nolint:gosec // small
	v.start = int(d.uint())                                         //nolint:gosec // small
	for range d.count() {
		var c content
		copy(c.id[:], d.take(len(c.id)))
		c.size = d.int()
		v.contents = append(v.contents, c)
	}
	v.uploadID = d.text()
	v.upload = object.Upload{
		Initiated: d.time(), Algorithm: d.algorithm(), Type: object.ChecksumType(d.uint()), Implied: d.bool(), //nolint:gosec // as it was written
	}
	if d.failed || len(d.rest) > 0 {
		return nil, errValue
	}
	return v, nil
}
