package shard

import (
	"fmt"
	"io"
)

// Rebuild writes one shard of a content of size bytes anew, from k others.
func (c *Codec) Rebuild(id ID, size int64, missing int, source Source, w io.Writer) error {
	r := c.NewReader(id, size, 0, size, source, nil)
	r.bad[missing] = true
	var units []byte
	for start := int64(0); start < size; start += c.stripe() {
		s := stripe{unit: start / c.stripe() * cellUnits, cell: CellData}
		if content := size - start; content < c.stripe() {
			s.cell = c.lastCell(content)
		}
		p := piece{shard: missing, last: (s.cell - 1) / UnitData}
		if err := r.rebuild(&s, &p, nil); err != nil {
			return fmt.Errorf("rebuild shard %d: %w", missing, err)
		}
		units = sealCell(units[:0], p.content, id, missing, s.unit)
		if _, err := w.Write(units); err != nil {
			return fmt.Errorf("rebuild shard %d: %w", missing, err)
		}
	}
	return nil
}
