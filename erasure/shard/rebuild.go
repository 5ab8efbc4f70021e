package shard

import (
	"fmt"
	"io"
)

// Verify reads one shard of a content of size bytes, and returns an error if it is not
// whole.
func (c *Codec) Verify(id ID, size int64, shard int, source Source) error {
	r := c.NewReader(id, size, 0, size, source, nil)
	for start := int64(0); start < size; start += c.stripe() {
		s := c.stripeAt(start, size)
		p := piece{shard: shard, last: (s.cell - 1) / UnitData}
		if r.read(&s, &p, &r.raw); p.err != nil {
			return p.err
		}
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

// Rebuild writes one shard of a content of size bytes anew, from k others.
func (c *Codec) Rebuild(id ID, size int64, missing int, source Source, w io.Writer) error {
	r := c.NewReader(id, size, 0, size, source, nil)
	r.bad[missing] = true
	var units []byte
	for start := int64(0); start < size; start += c.stripe() {
		s := c.stripeAt(start, size)
		p := piece{shard: missing, last: (s.cell - 1) / UnitData}
		if err := r.rebuild(&s, &p, nil); err != nil {
			return fmt.Errorf("rebuild shard %d: %w", missing, err)
		}
		units = appendUnits(units[:0], p.content, id, missing, s.unit)
		if _, err := w.Write(units); err != nil {
			return fmt.Errorf("rebuild shard %d: %w", missing, err)
		}
	}
	return nil
}
