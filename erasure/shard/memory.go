package shard

// memory is where a Reader has units: cells of the codec's, or less. What somebody may still write to
// is not in it.
type memory struct {
	spare [][]byte // cells that may be written to
	used  [][]byte // cells with what is being looked at
}

// smallCell is how much is not worth a cell of the codec's, in bytes.
const smallCell = cellSize / 8

// take returns n bytes, at most a cell, which are not in the memory any more.
func (m *memory) take(c *Codec, n int) []byte {
	if n <= smallCell {
		return make([]byte, n)
	}
	if last := len(m.spare) - 1; last >= 0 {
		b := m.spare[last]
		m.spare = m.spare[:last]
		return b[:n]
	}
	return c.cell()[:n]
}

// keep takes what take returned, and is looked at until reuse.
func (m *memory) keep(b []byte) {
	if cap(b) == cellSize {
		m.used = append(m.used, b)
	}
}

// reuse says that nothing is looked at any more.
func (m *memory) reuse() {
	m.spare = append(m.spare, m.used...)
	m.used = m.used[:0]
}

// free gives all back.
func (m *memory) free(c *Codec) {
	m.reuse()
	for _, b := range m.spare {
		c.giveBack(b)
	}
	m.spare, m.used = nil, nil
}
