package shard

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Source reads a shard from an offset until p is full. After an error it may still write to p.
type Source func(shard int, offset int64, p []byte) error

// Reader gives a range of a content from its shards. It verifies every unit, and makes up
// for those that are missing or damaged from the others. It is used by one goroutine.
type Reader struct {
	codec  *Codec
	id     ID
	size   int64 // of the content
	source Source
	next   int64 // offset of what is read next
	end    int64
	out    [][]byte        // what was read and not given yet, valid until more is
	raw    memory          // of units that are wanted, or are near and stand in for such
	spare  memory          // of those that others are made up from
	bad    [MaxShards]bool // shards that failed and are not asked again
	failed func(shard int, err error)
	near   func(shard int) bool // nil: all are

	inOrder bool // the shards are in memory: one is read after the other
}

// ErrTooMany says that too many shards are missing or damaged.
var ErrTooMany = errors.New("shard: too many shards are missing or damaged")

// NewReader returns a Reader of length bytes from offset of a content of size bytes. failed,
// if not nil, hears of shards that are missing or damaged, once of each.
func (c *Codec) NewReader(id ID, size, offset, length int64, source Source, failed func(shard int, err error)) *Reader {
	return &Reader{codec: c, id: id, size: size, source: source, next: offset, end: min(offset+length, size), failed: failed}
}

// Near tells the Reader which shards cost the least to read, before it reads: where one of those stands
// in for another one that costs more, and all the rest of a stripe is wanted anyway, it is read instead.
func (r *Reader) Near(near func(shard int) bool) { r.near = near }

// Free gives the memory back of a Reader whose content is not looked at any more. It can be called
// twice; the Reader can be used no more.
func (r *Reader) Free() {
	for _, m := range []*memory{&r.raw, &r.spare} {
		for i, b := range m {
			r.codec.giveBack(b)
			m[i] = nil
		}
	}
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

// piece is what is read of one cell: whole units.
type piece struct {
	shard       int
	first, last int64  // units of the cell
	skip, take  int64  // wanted of the content of those units
	content     []byte // of the units
	err         error
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

// readAll reads the pieces, and makes up for those that cannot be read.
func (r *Reader) readAll(s *stripe, pieces []piece) error {
	if r.readNear(s, pieces) {
		return nil
	}
	r.readEach(s, pieces, &r.raw)
	for i := range pieces {
		if pieces[i].err == nil {
			continue
		}
		r.note(&pieces[i])
		if err := r.rebuild(s, &pieces[i], pieces); err != nil {
			return err
		}
	}
	return nil
}

// readEach reads pieces of different shards, at once if each may take its time.
func (r *Reader) readEach(s *stripe, pieces []piece, to *memory) {
	if r.inOrder || len(pieces) == 1 {
		for i := range pieces {
			r.read(s, &pieces[i], to)
		}
		return
	}
	var all sync.WaitGroup
	for i := range pieces {
		all.Go(func() { r.read(s, &pieces[i], to) })
	}
	all.Wait()
}

func (r *Reader) note(p *piece) {
	if !r.bad[p.shard] && r.failed != nil {
		r.failed(p.shard, p.err)
	}
	r.bad[p.shard] = true
}

// errSkipped is the error of a shard that is not asked again.
var errSkipped = errors.New("shard: it failed before")

// read reads a piece and verifies it.
func (r *Reader) read(s *stripe, p *piece, to *memory) {
	if r.bad[p.shard] {
		p.err = errSkipped
		return
	}
	length := min((p.last+1)*UnitData, s.cell) - p.first*UnitData
	raw := r.space(to, p.shard, int(length+(p.last-p.first+1)*trailerSize))
	if err := r.source(p.shard, (s.unit+p.first)*UnitSize, raw); err != nil {
		p.err, to[p.shard] = err, nil
		return
	}
	p.content = raw[:0]
	for u := p.first; u <= p.last; u++ {
		n := min(UnitSize, len(raw))
		content, err := open(raw[:n], r.id, p.shard, s.unit+u)
		if err != nil {
			p.err = fmt.Errorf("unit %d of shard %d: %w", s.unit+u, p.shard, err)
			return
		}
		p.content = append(p.content, content...) // towards the front, over trailers
		raw = raw[n:]
	}
}

// memory is where units are read to, by shard: cells of the codec's, or less. What somebody may
// still write to is forgotten.
type memory [MaxShards][]byte

// smallCell is how much is not worth a cell of the codec's, in bytes.
const smallCell = cellSize / 8

// space returns n bytes for a shard.
func (r *Reader) space(m *memory, shard, n int) []byte {
	switch {
	case cap(m[shard]) >= n:
	case n <= smallCell:
		m[shard] = make([]byte, n)
	default:
		m[shard] = r.codec.cell()
	}
	return m[shard][:n]
}

// rebuild makes a piece from those of k other shards.
func (r *Reader) rebuild(s *stripe, p *piece, have []piece) error {
	shards := make([][]byte, r.codec.N())
	found := 0
	for i := range have {
		h := &have[i]
		if h.err == nil && h.first == p.first && h.last == p.last && len(h.content) > 0 {
			shards[h.shard] = h.content
			found++
		}
	}
	for next := 0; found < r.codec.K; {
		var others []piece
		for ; next < r.codec.N() && found+len(others) < r.codec.K; next++ {
			if shards[next] == nil && next != p.shard && !r.bad[next] {
				others = append(others, piece{shard: next, first: p.first, last: p.last})
			}
		}
		if len(others) == 0 || r.codec.rs == nil {
			return errors.Join(ErrTooMany, p.err)
		}
		r.readEach(s, others, &r.spare)
		for i := range others {
			if o := &others[i]; o.err != nil {
				r.note(o)
			} else {
				shards[o.shard] = o.content
				found++
			}
		}
	}
	return r.reconstruct(p, shards)
}

// reconstruct makes a piece from those of k other shards, each at its place.
func (r *Reader) reconstruct(p *piece, shards [][]byte) error {
	length := 0
	for _, other := range shards {
		length = max(length, len(other))
	}
	wanted := make([]bool, len(shards))
	wanted[p.shard] = true
	shards[p.shard] = r.space(&r.spare, p.shard, length)[:0] // nothing is read to it: the shard is bad, or not near
	if err := r.codec.rs.ReconstructSome(shards, wanted); err != nil {
		return fmt.Errorf("shard: reconstruct: %w", err)
	}
	p.content, p.err = shards[p.shard], nil
	return nil
}

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
