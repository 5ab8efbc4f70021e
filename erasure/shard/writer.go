package shard

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Writer cuts a content into shards and writes them, stripe by stripe. A shard whose
// writer fails is left out from then on. It is used by one goroutine.
type Writer struct {
	codec    *Codec
	id       ID
	sinks    []io.Writer // of the shards; nil: it is left out
	errs     []error     // why shards were left out
	*buffers             // content of the stripe that is being filled, and what becomes of it
	filled   int
	number   int64 // of the next unit
	least    int   // shards that have to be left
}

// ErrTooFew says that more shards failed than may.
var ErrTooFew = errors.New("shard: too few shards can be written")

// NewWriter returns a Writer of a content of size bytes, -1 if that is not known, to sinks,
// of which nil ones are left out; it fails when less than least are left.
func (c *Codec) NewWriter(id ID, size int64, sinks []io.Writer, least int) *Writer {
	w := &Writer{codec: c, id: id, sinks: sinks, errs: make([]error, len(sinks)), least: least}
	cell := int64(CellData)
	if size >= 0 && size < c.stripe() {
		cell = c.lastCell(size)
	}
	w.buffers = c.buffersFor(cell)
	return w
}

// errLonger says that a content is longer than it was said to be.
var errLonger = errors.New("shard: the content is longer than its declared size")

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := copy(w.stripe[w.filled:], p)
		if n == 0 {
			return written, errLonger
		}
		w.filled, p, written = w.filled+n, p[n:], written+n
		if int64(w.filled) == w.codec.stripe() {
			if err := w.flush(CellData); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// Close writes what is left, and returns which shards were left out and why. The Writer can
// be used no more.
func (w *Writer) Close() ([]error, error) {
	defer w.Free()
	if w.filled > 0 {
		cell := w.codec.lastCell(int64(w.filled))
		clear(w.stripe[w.filled : cell*int64(w.codec.K)])
		if err := w.flush(cell); err != nil {
			return w.errs, err
		}
	}
	return w.errs, nil
}

// Free gives back the memory of a Writer that is not closed. It can be called twice.
func (w *Writer) Free() {
	if w.buffers != nil {
		w.codec.giveBack(w.buffers)
		w.buffers = nil
	}
}

// flush writes a stripe whose cells have so much content.
func (w *Writer) flush(cell int64) error {
	shards := make([][]byte, w.codec.N())
	for i := range shards {
		if i < w.codec.K {
			shards[i] = w.stripe[int64(i)*cell : int64(i+1)*cell]
		} else {
			j := int64(i - w.codec.K)
			shards[i] = w.parity[j*cell : (j+1)*cell]
		}
	}
	if w.codec.rs != nil {
		if err := w.codec.rs.Encode(shards); err != nil {
			return fmt.Errorf("shard: encode: %w", err)
		}
	}
	w.filled = 0
	w.send(shards)
	w.number += (cell + UnitData - 1) / UnitData
	return w.enough()
}

// patience is how long a sink is waited for when enough others are done.
const patience = 2 * time.Second

// ErrSlow says that a shard was left out since its sink was far behind the others.
var ErrSlow = errors.New("shard: it cannot be written as fast as the others")

// send writes a cell to each sink, all at the same time. One that is far behind is left
// out, with the memory that it still reads from.
func (w *Writer) send(shards [][]byte) {
	var sealed sync.WaitGroup
	done := make(chan wrote, len(shards))
	waiting := make(map[int]bool)
	for i, sink := range w.sinks {
		if sink == nil {
			continue
		}
		waiting[i] = true
		sealed.Add(1)
		units := w.units[i][:0]
		go func() {
			units = sealCell(units, shards[i], w.id, i, w.number)
			sealed.Done()
			_, err := sink.Write(units)
			done <- wrote{i, units, err}
		}()
	}
	sealed.Wait()
	w.collect(done, waiting)
	for i := range waiting {
		w.errs[i], w.sinks[i], w.units[i] = ErrSlow, nil, nil
	}
}

// wrote is what became of a cell.
type wrote struct {
	shard int
	units []byte
	err   error
}

// collect waits for the cells that are being written, and takes those that are from
// waiting.
func (w *Writer) collect(done <-chan wrote, waiting map[int]bool) {
	var late <-chan time.Time
	for good := 0; len(waiting) > 0; {
		select {
		case d := <-done:
			delete(waiting, d.shard)
			if w.units[d.shard] = d.units; d.err != nil {
				w.errs[d.shard], w.sinks[d.shard] = d.err, nil
				continue
			}
			if good++; good >= w.least && late == nil && len(waiting) > 0 {
				timer := time.NewTimer(patience)
				defer timer.Stop()
				late = timer.C
			}
		case <-late:
			return
		}
	}
}

// sealCell appends the units of a cell.
func sealCell(b, cell []byte, id ID, shard int, number int64) []byte {
	for len(cell) > 0 {
		n := min(len(cell), UnitData)
		b = seal(b, cell[:n], id, shard, number)
		cell, number = cell[n:], number+1
	}
	return b
}

func (w *Writer) enough() error {
	left := 0
	for _, s := range w.sinks {
		if s != nil {
			left++
		}
	}
	if left < w.least {
		return errors.Join(append([]error{ErrTooFew}, w.errs...)...)
	}
	return nil
}
