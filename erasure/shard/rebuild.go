package shard

import (
	"fmt"
	"io"
	"sync"
)

// Verify reads one shard of a content of size bytes, and returns an error if it is not
// whole.
func (c *Codec) Verify(id ID, size int64, shard int, source Source) error {
	r := c.NewReader(id, size, 0, size, source, nil)
	for start := int64(0); start < size; start += c.stripe() {
		s := c.stripeAt(start, size)
		q := request{shard: shard, units: r.memory.take(c, int(unitsSize(s.cell)))}
		if r.read(&q, s.unit); q.err != nil {
			return q.err
		}
		r.memory.keep(q.units)
		r.memory.reuse()
	}
	return nil
}

// stripeAt returns the stripe that begins there.
func (c *Codec) stripeAt(start, size int64) stripe {
	s := stripe{unit: start / c.stripe() * cellUnits, cell: CellData}
	if content := size - start; content < c.stripe() {
		s.cell = c.lastCell(content)
	}
	return s
}

// appendUnits appends the units of a cell.
func appendUnits(b, cell []byte, id ID, shard int, number int64) []byte {
	for start := len(b); len(cell) > 0; start = len(b) {
		n := min(len(cell), UnitData)
		b = append(append(b, cell[:n]...), make([]byte, trailerSize)...)
		seal(b[start:], id, shard, number)
		cell, number = cell[n:], number+1
	}
	return b
}

// Rebuild writes one shard of a content of size bytes anew, from k others. Up to ahead stripes, one
// at least, are being read at a time, so that no drive waits for another one or for w. Of those that
// p, if not nil, says are late others are read, as Reader.From has it.
func (c *Codec) Rebuild(id ID, size int64, missing, ahead int, source Source, p Places, w io.Writer) error {
	stripes := (size + c.stripe() - 1) / c.stripe()
	all := make([]*rebuilding, min(int64(ahead), stripes))
	for i := range all {
		all[i] = c.rebuilding(id, size, missing, source, p)
		all[i].begin(int64(i))
		defer all[i].end()
	}
	for number := range stripes {
		b := all[number%int64(len(all))]
		cell, err := b.wait()
		if err == nil {
			_, err = w.Write(cell)
		}
		if err != nil {
			return fmt.Errorf("rebuild shard %d: %w", missing, err)
		}
		if next := number + int64(len(all)); next < stripes {
			b.begin(next)
		}
	}
	return nil
}

// rebuilding makes one cell of a missing shard at a time.
type rebuilding struct {
	r       *Reader
	missing int
	cell    []byte // with its trailers
	err     error
	made    sync.WaitGroup
}

func (c *Codec) rebuilding(id ID, size int64, missing int, source Source, p Places) *rebuilding {
	b := &rebuilding{r: c.NewReader(id, size, 0, size, source, nil), missing: missing, cell: c.cell()}
	if p != nil {
		b.r.From(p)
	}
	b.r.bad[missing] = true
	return b
}

// begin begins to make the cell of a stripe, over the one before.
func (b *rebuilding) begin(number int64) { b.made.Go(func() { b.err = b.make(number) }) }

// wait returns the cell when it is made.
func (b *rebuilding) wait() ([]byte, error) {
	b.made.Wait()
	return b.cell, b.err
}

// end waits for what was begun and gives the memory back.
func (b *rebuilding) end() {
	b.made.Wait()
	b.r.Free()
	b.r.codec.giveBack(b.cell)
}

func (b *rebuilding) make(number int64) error {
	c := b.r.codec
	s := c.stripeAt(number*c.stripe(), b.r.size)
	p := []piece{{shard: b.missing, last: (s.cell - 1) / UnitData}}
	if err := b.r.readAll(&s, p); err != nil {
		return err
	}
	b.cell = appendUnits(b.cell[:0], p[0].content, b.r.id, b.missing, s.unit)
	return nil
}
