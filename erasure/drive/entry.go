package drive

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/shoal-storage/shoal/erasure/register"
)

// headerSize is the length of what is before a shard in a segment, in bytes:
//
//	0 version 1 | 1 zero 3 | 4 length of the shard 4 | 8 content's ID 16 | 24 zero 4 | 28 CRC-32C of all before 4
const headerSize = 32

// entryVersion is the first byte of a header.
const entryVersion = 1

// align is what the length of an entry, with its header, is rounded up to by zeros, in
// bytes: a page that was synced is not written again for the entry behind it.
const align = 4 << 10

// errEntry is returned for bytes that are no header.
var errEntry = errors.New("drive: not an entry of a segment, or a damaged one")

// putHeader writes the header of a shard into b.
func putHeader(b []byte, id register.DataID, length uint32) {
	clear(b[:headerSize])
	b[0] = entryVersion
	binary.BigEndian.PutUint32(b[4:], length)
	copy(b[8:], id[:])
	binary.BigEndian.PutUint32(b[28:], headerSum(b))
}

// parseHeader is the inverse of putHeader.
func parseHeader(b []byte) (id register.DataID, length uint32, err error) {
	if len(b) < headerSize || b[0] != entryVersion || binary.BigEndian.Uint32(b[28:]) != headerSum(b) {
		return id, 0, errEntry
	}
	return register.DataID(b[8:24]), binary.BigEndian.Uint32(b[4:]), nil
}

func headerSum(b []byte) uint32 {
	return crc32.Checksum(b[:28], crc32.MakeTable(crc32.Castagnoli))
}

// place is where a shard is in a segment. The zero place is none: segments are numbered
// from 1.
type place struct {
	segment uint32
	offset  uint32 // of the header
	length  uint32 // of the shard
}

// size returns how many bytes of the segment are the entry's.
func (p place) size() int64 { return entrySize(int64(p.length)) }

func entrySize(length int64) int64 { return (headerSize + length + align - 1) / align * align }

// noteSize is the length of the note of a place, in bytes: its kind 1, segment 4, offset 4,
// length 4.
const noteSize = 13

// note returns what is noted of a shard that is there.
func (p place) note() []byte {
	b := binary.BigEndian.AppendUint32([]byte{isSegment}, p.segment)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, p.offset), p.length)
}

// parsePlace returns the place that a note is of, if it is of one.
func parsePlace(note []byte) (p place, ok bool) {
	if len(note) != noteSize || note[0] != isSegment {
		return p, false
	}
	return place{binary.BigEndian.Uint32(note[1:]), binary.BigEndian.Uint32(note[5:]), binary.BigEndian.Uint32(note[9:])}, true
}

// segmentName is the key in the store of a segment. Behind it are those of its entries.
func segmentName(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{segmentKey}, number)
}

// index has a Batch say what is at the place.
func (p place) index(b *Batch, id register.DataID) {
	b.Set(p.key(), binary.BigEndian.AppendUint32(id[:], p.length))
}

// unindex has a Batch say that nothing is at the place.
func (p place) unindex(b *Batch) { b.Remove(p.key()) }

func (p place) key() []byte { return binary.BigEndian.AppendUint32(segmentName(p.segment), p.offset) }

// indexed is an entry of a segment that is in use.
type indexed struct {
	place
	id register.DataID
}

// parseIndex is the inverse of index. entry is false for the key of a segment itself, of
// which only the number is returned.
func parseIndex(key, value []byte) (e indexed, entry bool, err error) {
	const own, with = 1 + 4, 1 + 4 + 4
	switch {
	case len(key) == own && key[0] == segmentKey:
	case len(key) == with && key[0] == segmentKey && len(value) == len(e.id)+4:
		entry = true
		e.offset = binary.BigEndian.Uint32(key[own:])
		e.id, e.length = register.DataID(value[:len(e.id)]), binary.BigEndian.Uint32(value[len(e.id):])
	default:
		return e, false, errEntry
	}
	e.segment = binary.BigEndian.Uint32(key[1:])
	return e, entry, nil
}
