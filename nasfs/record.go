package nasfs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// errRecord is returned for bytes that are no record of a version known here.
var errRecord = errors.New("not a metadata record")

// recordVersion is the first byte of a record. Fields that are added do not
// change it: who does not know them skips them.
const recordVersion = 1

// maxRecord is the most bytes that a record can have: one of 10,000 parts and
// all the metadata that S3 takes is well below it.
const maxRecord = 4 << 20

// record is what is kept of an object, part, upload or changed metadata beside
// the content. It counts for a file only while its stamp is the file's (describes).
type record struct {
	key      string // as it was put; a rename leaves it as it is
	stamp    stamp
	token    lock.Token // of the lease that a change was made under, where there was one
	writer   string     // session that wrote it
	etag     string     // empty: the hex of md5
	md5      []byte     // empty if it is not known
	checksum object.Checksum
	parts    []object.PartInfo
	meta     object.Meta
	modified time.Time // of an upload: when it was initiated
	version  version   // of an object, and of a delete marker
	uploadID string    // upload that the object was assembled from
	implied  bool      // of an upload
	overhead int64     // bytes of the file that are none of the content
	salt     string    // of a part: what it was sealed with
	spilled  bool      // the whole record is in the sidecar of the stamp
}

// The field numbers. They are stored and must not change.
const (
	fieldKey protowire.Number = iota + 1
	fieldIno
	fieldSize
	fieldMtime
	fieldToken
	fieldWriter
	fieldETag
	fieldMD5
	fieldChecksum
	fieldPart
	fieldContentType
	fieldContentEncoding
	fieldContentDisposition
	fieldContentLanguage
	fieldCacheControl
	fieldExpires
	fieldStorageClass
	fieldWebsiteRedirect
	fieldUser
	fieldTag
	fieldModified
	fieldUploadID
	fieldImplied
	fieldSpilled
	fieldVersion
	fieldRetention
	fieldRetainUntil
	fieldLegalHold
	fieldSeal
	fieldOverhead
	fieldSalt
	fieldModifiedExact
	fieldRetainUntilExact
)

// etagOf returns the object's ETag.
func (r *record) etagOf() string {
	if r.etag != "" {
		return r.etag
	}
	return hex.EncodeToString(r.md5)
}

// text returns string fields, most of the metadata, with their numbers.
func (r *record) text() [10]struct {
	n protowire.Number
	s *string
} {
	m := &r.meta
	return [10]struct {
		n protowire.Number
		s *string
	}{
		{fieldContentType, &m.ContentType},
		{fieldContentEncoding, &m.ContentEncoding},
		{fieldContentDisposition, &m.ContentDisposition},
		{fieldContentLanguage, &m.ContentLanguage},
		{fieldCacheControl, &m.CacheControl},
		{fieldExpires, &m.Expires},
		{fieldStorageClass, &m.StorageClass},
		{fieldWebsiteRedirect, &m.WebsiteRedirect},
		{fieldSeal, &m.Seal},
		{fieldSalt, &r.salt},
	}
}

// describes reports whether the record, which a file has with it, is of the content of a
// file with a stamp. It is even if the file is a copy that has taken the record and the time
// along, as those do that people make when they move a tree or put back a backup: else these
// would lose what S3 knows of the objects, and locks with it.
func (r *record) describes(st stamp) bool {
	return r.stamp.size == st.size && r.stamp.mtime == st.mtime
}

// encode returns the record: a version, fields in the wire format of Protocol
// Buffers (https://protobuf.dev/programming-guides/encoding/), and the CRC32C
// of all that.
func (r *record) encode() []byte {
	b := make([]byte, 1, 512)
	b[0] = recordVersion
	b = appendText(b, fieldKey, r.key)
	b = appendInt(b, fieldIno, r.stamp.ino)
	b = appendInt(b, fieldSize, uint64(r.stamp.size)) //nolint:gosec // bits
	b = appendInt(b, fieldMtime, protowire.EncodeZigZag(r.stamp.mtime))
	if r.token != (lock.Token{}) {
		b = protowire.AppendTag(b, fieldToken, protowire.BytesType)
		b = protowire.AppendBytes(b, r.token.Append(nil))
	}
	b = appendText(b, fieldWriter, r.writer)
	b = appendText(b, fieldETag, r.etag)
	b = appendText(b, fieldMD5, string(r.md5))
	if !r.checksum.IsZero() {
		b = protowire.AppendTag(b, fieldChecksum, protowire.BytesType)
		b = protowire.AppendBytes(b, encodeChecksum(r.checksum))
	}
	for _, p := range r.parts {
		b = protowire.AppendTag(b, fieldPart, protowire.BytesType)
		b = protowire.AppendBytes(b, encodePart(p))
	}
	for _, f := range r.text() {
		b = appendText(b, f.n, *f.s)
	}
	for _, name := range slices.Sorted(maps.Keys(r.meta.User)) {
		b = appendPair(b, fieldUser, name, r.meta.User[name])
	}
	for _, t := range r.meta.Tags {
		b = appendPair(b, fieldTag, t.Key, t.Value)
	}
	if !r.modified.IsZero() {
		b = appendTime(b, fieldModified, fieldModifiedExact, r.modified)
	}
	b = appendText(b, fieldUploadID, r.uploadID)
	b = appendInt(b, fieldImplied, protowire.EncodeBool(r.implied))
	b = appendInt(b, fieldSpilled, protowire.EncodeBool(r.spilled))
	if r.meta.Retention.Mode != object.NoRetention {
		b = appendInt(b, fieldRetention, uint64(r.meta.Retention.Mode))
		b = appendTime(b, fieldRetainUntil, fieldRetainUntilExact, r.meta.Retention.Until)
	}
	b = appendInt(b, fieldLegalHold, uint64(r.meta.LegalHold))
	b = appendInt(b, fieldOverhead, uint64(r.overhead)) //nolint:gosec // bits
	if !r.version.isZero() {
		b = protowire.AppendTag(b, fieldVersion, protowire.BytesType)
		b = protowire.AppendBytes(b, r.version[:])
	}
	return seal(b)
}

// seal appends the checksum of all that is before it.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// appendText appends a string, unless it is empty.
func appendText(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

// appendInt appends a number, unless it is 0.
func appendInt(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendPair(b []byte, n protowire.Number, name, value string) []byte {
	pair := appendText(appendText(make([]byte, 0, 8+len(name)+len(value)), 1, name), 2, value)
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), pair)
}

func encodeChecksum(c object.Checksum) []byte {
	b := appendInt(nil, 1, uint64(c.Algorithm))
	b = appendInt(b, 2, uint64(c.Type))
	b = appendText(b, 3, c.Value)
	return appendInt(b, 4, uint64(c.Parts)) //nolint:gosec // a small count
}

func encodePart(p object.PartInfo) []byte {
	b := appendInt(nil, 1, uint64(p.Number)) //nolint:gosec // 1 to 10,000
	b = appendInt(b, 2, uint64(p.Size))      //nolint:gosec // bits
	b = appendText(b, 3, p.Checksum)
	return appendText(b, 4, p.Salt)
}

// decodeRecord is the inverse of encode. It refuses, with errRecord, what was
// damaged or written by a version that is not known here.
func decodeRecord(b []byte) (*record, error) {
	if len(b) < 5 || len(b) > maxRecord || b[0] != recordVersion {
		return nil, errRecord
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, fmt.Errorf("%w: its checksum is wrong", errRecord)
	}
	r := &record{}
	if err := eachField(body[1:], r.field); err != nil {
		return nil, err
	}
	if r.overhead < 0 || r.overhead > r.stamp.size {
		return nil, fmt.Errorf("%w: its overhead is more than the file", errRecord)
	}
	return r, nil
}

// eachField calls fn with every field: v for a varint, s for bytes. Fields of
// other types are skipped.
func eachField(b []byte, fn func(n protowire.Number, v uint64, s []byte) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errRecord
		}
		b = b[size:]
		var v uint64
		var s []byte
		switch t { //nolint:exhaustive // the other types are skipped
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			s, size = protowire.ConsumeBytes(b)
		default:
			n, size = 0, protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return errRecord
		}
		b = b[size:]
		if n == 0 {
			continue
		}
		if err := fn(n, v, s); err != nil {
			return err
		}
	}
	return nil
}

// field takes one field of a record; one of an unknown number is left out.
func (r *record) field(n protowire.Number, v uint64, s []byte) (err error) {
	switch n { //nolint:exhaustive // field numbers, not the constants of protowire
	case fieldKey:
		r.key = string(s)
	case fieldIno:
		r.stamp.ino = v
	case fieldSize:
		r.stamp.size = int64(v) //nolint:gosec // bits
	case fieldMtime:
		r.stamp.mtime = protowire.DecodeZigZag(v)
	case fieldToken:
		if r.token, err = lock.ParseToken(s); err != nil {
			return errRecord
		}
	case fieldWriter:
		r.writer = string(s)
	case fieldETag:
		r.etag = string(s)
	case fieldMD5:
		r.md5 = slices.Clone(s)
	case fieldChecksum:
		r.checksum, err = decodeChecksum(s)
	case fieldPart:
		return r.part(s)
	case fieldModified:
		r.modified = time.Unix(0, protowire.DecodeZigZag(v)).UTC()
	case fieldModifiedExact:
		r.modified, err = exactTime(s)
	case fieldUploadID:
		r.uploadID = string(s)
	case fieldImplied:
		r.implied = v != 0
	case fieldSpilled:
		r.spilled = v != 0
	case fieldRetention:
		r.meta.Retention.Mode = object.RetentionMode(min(v, uint64(object.Compliance))) //nolint:gosec // bounded
	case fieldRetainUntil:
		r.meta.Retention.Until = retainedUntil(protowire.DecodeZigZag(v))
	case fieldRetainUntilExact:
		r.meta.Retention.Until, err = exactTime(s)
	case fieldLegalHold:
		r.meta.LegalHold = object.LegalHold(min(v, uint64(object.LegalHoldOff))) //nolint:gosec // bounded
	case fieldOverhead:
		r.overhead = int64(v) //nolint:gosec // bits
	case fieldVersion:
		if copy(r.version[:], s) != len(s) || len(s) != len(r.version) {
			return errRecord
		}
	case fieldUser, fieldTag:
		return r.pair(n, s)
	default:
		for _, f := range r.text() {
			if f.n == n {
				*f.s = string(s)
			}
		}
	}
	return err
}

func (r *record) part(b []byte) error {
	var p object.PartInfo
	err := eachField(b, func(n protowire.Number, v uint64, s []byte) error {
		switch n { //nolint:exhaustive // field numbers, not the constants of protowire
		case 1:
			p.Number = int(min(v, object.MaxPartNumber+1)) //nolint:gosec // bounded
		case 2:
			p.Size = int64(v) //nolint:gosec // bits
		case 3:
			p.Checksum = string(s)
		case 4:
			p.Salt = string(s)
		}
		return nil
	})
	r.parts = append(r.parts, p)
	return err
}

func (r *record) pair(field protowire.Number, b []byte) error {
	var t object.Tag
	err := eachField(b, func(n protowire.Number, _ uint64, s []byte) error {
		switch n { //nolint:exhaustive // field numbers, not the constants of protowire
		case 1:
			t.Key = string(s)
		case 2:
			t.Value = string(s)
		}
		return nil
	})
	if field == fieldTag {
		r.meta.Tags = append(r.meta.Tags, t)
		return err
	}
	if r.meta.User == nil {
		r.meta.User = make(map[string]string)
	}
	r.meta.User[t.Key] = t.Value
	return err
}

func decodeChecksum(b []byte) (object.Checksum, error) {
	var c object.Checksum
	err := eachField(b, func(n protowire.Number, v uint64, s []byte) error {
		switch n { //nolint:exhaustive // field numbers, not the constants of protowire
		case 1:
			c.Algorithm = object.Algorithm(min(v, 255)) //nolint:gosec // bounded
		case 2:
			c.Type = object.ChecksumType(min(v, 255)) //nolint:gosec // bounded
		case 3:
			c.Value = string(s)
		case 4:
			c.Parts = int(min(v, object.MaxPartNumber)) //nolint:gosec // bounded
		}
		return nil
	})
	if err == nil && (c.IsZero() || c.Algorithm.String() == "") {
		return object.Checksum{}, nil // of an algorithm that is not known here
	}
	return c, err
}
