package register

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// errFormat is returned for bytes that are nothing this package made.
var errFormat = errors.New("register: not an entry, or a damaged one")

// entryVersion is the first byte of an encoded Entry.
const entryVersion = 1

// The bits of a state's flags.
const (
	flagDecided = 1 << iota
	flagShard
)

// Bounds of what is decoded.
const (
	maxBefore    = 1 << 10 // states that an entry stands before
	maxUndecided = 1000    // the same, unless it settles them
	maxDatas     = 10001
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Append appends the entry: a version byte, its states with lengths as varints, and the
// CRC-32C of all that, little-endian.
func (e *Entry) Append(b []byte) []byte {
	start := len(b)
	b = append(b, entryVersion)
	b = e.append(b)
	b = binary.AppendUvarint(b, uint64(len(e.Before)))
	for i := range e.Before {
		b = e.Before[i].append(b)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

func (p *Past) append(b []byte) []byte {
	var flags byte
	if p.Decided {
		flags |= flagDecided
	}
	if p.Shard {
		flags |= flagShard
	}
	b = append(b, flags, byte(p.Kind), byte(p.Quorum), byte(p.Need))
	b = p.Changed.Append(p.Made.Append(b))
	b = appendBytes(b, []byte(p.Version))
	b = binary.AppendUvarint(b, uint64(len(p.Data)))
	for i := range p.Data {
		b = append(b, p.Data[i][:]...)
	}
	return appendBytes(b, p.Value)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// DecidedMark behind an encoded Entry says that its state is decided: then it stands before no
// other one, and to say so not all of it need be written anew.
const DecidedMark = 'd'

// DecodeEntry is the inverse of Append, with a DecidedMark behind it or not. What it returns
// does not refer to b.
func DecodeEntry(b []byte) (Entry, error) {
	if n := len(b) - 1; n >= 0 && b[n] == DecidedMark {
		if d, ok := verified(b[:n]); ok {
			e := Entry{Past: d.past()}
			e.Decided = true
			if d.failed {
				return Entry{}, errFormat
			}
			return e, nil
		}
	}
	d, ok := verified(b)
	if !ok {
		return Entry{}, errFormat
	}
	e := Entry{Past: d.past()}
	if n := d.length(maxBefore); n > 0 {
		e.Before = make([]Past, 0, n)
		for range n {
			e.Before = append(e.Before, d.past())
		}
	}
	if d.failed || len(d.rest) > 0 {
		return Entry{}, errFormat
	}
	return e, nil
}

// verified returns what reads an encoded Entry that is not damaged.
func verified(b []byte) (d decoder, ok bool) {
	if len(b) < 5 || b[0] != entryVersion {
		return d, false
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	return decoder{rest: body[1:]}, crc32.Checksum(body, castagnoli()) == binary.LittleEndian.Uint32(sum)
}

// decoder reads what append wrote. After a failure it gives zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if d.failed || n < 0 || n > len(d.rest) {
		d.failed = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) length(most int) int {
	n, size := binary.Uvarint(d.rest)
	if d.failed || size <= 0 || n > uint64(most) {
		d.failed = true
		return 0
	}
	d.rest = d.rest[size:]
	return int(n) //nolint:gosec // no more than most
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	b := d.take(d.length(len(d.rest)))
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

func (d *decoder) token() Token {
	b := d.take(TokenSize)
	if b == nil {
		return Token{}
	}
	t, err := ParseToken(b)
	d.failed = d.failed || err != nil
	return t
}

func (d *decoder) past() Past {
	var p Past
	if b := d.take(4); b != nil {
		p.Decided, p.Shard = b[0]&flagDecided != 0, b[0]&flagShard != 0
		p.Kind, p.Quorum, p.Need = Kind(b[1]), int(b[2]), int(b[3])
	}
	p.Made, p.Changed = d.token(), d.token()
	p.Version = string(d.bytes())
	for range d.length(maxDatas) {
		var id DataID
		copy(id[:], d.take(len(id)))
		p.Data = append(p.Data, id)
	}
	p.Value = d.bytes()
	return p
}

// headSize is the length of an encoded Head in bytes.
const headSize = 2 * TokenSize

// Append appends the head.
func (h Head) Append(b []byte) []byte { return h.Promised.Append(h.Last.Append(b)) }

// DecodeHead is the inverse of Append, and returns what follows.
func DecodeHead(b []byte) (h Head, rest []byte, err error) {
	if len(b) < headSize {
		return h, nil, errFormat
	}
	d := decoder{rest: b}
	h.Last, h.Promised = d.token(), d.token()
	return h, d.rest, nil
}
