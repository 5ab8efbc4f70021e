package shard

import (
	"errors"
	"io"
)

// Source reads a shard from an offset until p is full. After an error it may still write to p.
type Source func(shard int, offset int64, p []byte) error

// Reader gives a range of a content from its shards. It verifies every unit, and makes up
// for those that are missing, damaged or late from the others. It is used by one goroutine.
type Reader struct {
	codec  *Codec
	id     ID
	size   int64 // of the content
	source Source
	next   int64 // offset of what is read next
	end    int64
	out    [][]byte // what was read and not given yet, valid until more is
	memory memory
	failed func(shard int, err error)
	bad    [MaxShards]bool // shards that failed and are not asked again
	places Places          // nil: nothing is known of them
	slow   [MaxShards]bool // shards that are asked where others do not suffice
	late   [MaxShards]bool // shards that were late once

	inOrder bool // the shards are in memory: one is read after the other
}

// ErrTooMany says that too many shards are missing or damaged.
var ErrTooMany = errors.New("shard: too many shards are missing or damaged")

// NewReader returns a Reader of length bytes from offset of a content of size bytes. failed,
// if not nil, hears of shards that are missing or damaged, once of each.
func (c *Codec) NewReader(id ID, size, offset, length int64, source Source, failed func(shard int, err error)) *Reader {
	return &Reader{codec: c, id: id, size: size, source: source, next: offset, end: min(offset+length, size), failed: failed}
}

// Free gives the memory back of a Reader whose content is not looked at any more. It can be called
// twice; the Reader can be used no more.
func (r *Reader) Free() { r.memory.free(r.codec) }

// Prefetch reads the first stripe of what is wanted, if nothing was read yet: an error of it is known before
// anything is given.
func (r *Reader) Prefetch() error {
	if len(r.out) > 0 || r.next >= r.end {
		return nil
	}
	return r.fill()
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if r.next >= r.end {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out[0])
	if r.out[0] = r.out[0][n:]; len(r.out[0]) == 0 {
		r.out = r.out[1:]
	}
	return n, nil
}

// WriteTo implements io.WriterTo: without a copy of what was read.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(r.out) == 0 {
			if r.next >= r.end {
				return written, nil
			}
			if err := r.fill(); err != nil {
				return written, err
			}
		}
		n, err := w.Write(r.out[0])
		written += int64(n)
		if err != nil {
			return written, err
		}
		r.out = r.out[1:]
	}
}

// stripe is one stripe of the content, and the part of it that is wanted.
type stripe struct {
	unit     int64 // number of its first unit in each shard
	cell     int64 // content of each of its cells, with padding
	from, to int64 // wanted of the stripe
}

// fill reads what is wanted of the next stripe.
func (r *Reader) fill() error {
	length := r.codec.stripe()
	number := r.next / length
	start := number * length
	content := min(length, r.size-start)
	s := stripe{unit: number * cellUnits, cell: CellData, from: r.next - start, to: min(r.end-start, content)}
	if content < length {
		s.cell = r.codec.lastCell(content)
	}
	first, last := int(s.from/s.cell), int((s.to-1)/s.cell)
	pieces := make([]piece, last-first+1)
	for i := range pieces {
		pieces[i] = s.piece(first + i)
	}
	if err := r.readAll(&s, pieces); err != nil {
		return err
	}
	r.out = r.out[:0]
	for i := range pieces {
		r.out = append(r.out, pieces[i].wanted())
	}
	r.next = start + s.to
	return nil
}

// piece is what is wanted of one cell: it is in whole units.
type piece struct {
	shard       int
	first, last int64  // units of the cell
	skip, take  int64  // wanted of the content of those units
	content     []byte // of the units
}

// piece returns what is wanted of a data shard's cell.
func (s *stripe) piece(shard int) piece {
	start := int64(shard) * s.cell
	from, to := max(s.from-start, 0), min(s.to-start, s.cell)
	p := piece{shard: shard, first: from / UnitData, last: (to - 1) / UnitData}
	p.skip, p.take = from-p.first*UnitData, to-from
	return p
}

func (p *piece) wanted() []byte { return p.content[p.skip : p.skip+p.take] }

// errNotGiven is the error of a shard that Join was not given.
var errNotGiven = errors.New("shard: it is not there")

// Join returns a content of size bytes from k or more of its shards; those that are not there are nil.
func (c *Codec) Join(id ID, size int64, shards [][]byte) ([]byte, error) {
	r := c.NewReader(id, size, 0, size, func(i int, offset int64, p []byte) error {
		if int64(len(shards[i])) < offset+int64(len(p)) {
			return errNotGiven
		}
		copy(p, shards[i][offset:])
		return nil
	}, nil)
	r.inOrder = true
	content := make([]byte, size)
	_, err := io.ReadFull(r, content)
	return content, err
}
