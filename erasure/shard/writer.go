package shard

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Writer cuts a content into shards and writes them, stripe by stripe. A shard whose
// writer fails is left out from then on. It is used by one goroutine.
//
// The content of a stripe is put where it is written from: into the units of its cells, with
// room for their trailers between. Nothing is copied.
type Writer struct {
	codec  *Codec
	id     ID
	sinks  []io.Writer // of the shards; nil: it is left out
	errs   []error     // why shards were left out
	cells  [][]byte    // of the stripe that is being filled, for each shard: its units
	cell   int64       // content of each of these
	filled int64       // content of the stripe so far
	left   int64       // content that is still to come with this stripe; -1: not known
	number int64       // of the next unit
	least  int         // shards that have to be left

	patience func(shard int) time.Duration // nil: as long as the constant says
	begun    time.Time
	waited   [MaxShards]time.Duration // for each shard, while enough others were done
}

// ErrTooFew says that more shards failed than may.
var ErrTooFew = errors.New("shard: too few shards can be written")

// NewWriter returns a Writer of a content of size bytes, -1 if that is not known, to sinks,
// of which nil ones are left out; it fails when less than least are left.
func (c *Codec) NewWriter(id ID, size int64, sinks []io.Writer, least int) *Writer {
	w := &Writer{codec: c, id: id, sinks: sinks, errs: make([]error, len(sinks)), cells: make([][]byte, c.N()), left: size, least: least, begun: time.Now()}
	w.begin()
	return w
}

// begin begins a stripe.
func (w *Writer) begin() {
	w.filled, w.cell = 0, CellData
	if w.left >= 0 && w.left < w.codec.stripe() {
		w.cell = w.codec.lastCell(w.left)
	}
	for i, b := range w.cells {
		if b != nil {
			continue
		}
		if w.number == 0 && w.cell < CellData { // the only stripe, which may be far smaller
			w.cells[i] = make([]byte, unitsSize(w.cell))
		} else {
			w.cells[i] = w.codec.cell()
		}
	}
}

// unitsSize returns how long the units of a cell are.
func unitsSize(cell int64) int64 { return cell + (cell+UnitData-1)/UnitData*trailerSize }

// Space returns where the next bytes of the content have to be put: none if that would be longer
// than it was said to be. It is valid until Filled.
func (w *Writer) Space() []byte {
	room := w.codec.stripe()
	if w.left >= 0 {
		room = min(room, w.left)
	}
	if w.filled >= room {
		return nil
	}
	shard, at := w.filled/w.cell, w.filled%w.cell
	p := w.content(int(shard), at/UnitData)[at%UnitData:]
	return p[:min(int64(len(p)), room-w.filled)]
}

// content returns what a unit of a cell has before its trailer.
func (w *Writer) content(shard int, unit int64) []byte {
	return w.cells[shard][unit*UnitSize:][:min(UnitData, w.cell-unit*UnitData)]
}

// Filled says that so many bytes were put where Space said.
func (w *Writer) Filled(n int) error {
	w.filled += int64(n)
	if w.filled < w.codec.stripe() || w.filled == w.left { // the last stripe is left to Last
		return nil
	}
	return w.flush()
}

// errLonger says that a content is longer than it was said to be.
var errLonger = errors.New("shard: the content is longer than its declared size")

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := copy(w.Space(), p)
		if n == 0 {
			return written, errLonger
		}
		p, written = p[n:], written+n
		if err := w.Filled(n); err != nil {
			return written, err
		}
	}
	return written, nil
}

// Last returns, for each shard that is not left out, what writes the rest of it: to be called once, at
// any time and all at the same time. The Writer can be used no more.
func (w *Writer) Last() ([]func() error, error) {
	defer w.Free()
	var size int64
	if w.filled > 0 {
		w.shorten()
		w.pad()
		if err := w.encode(); err != nil {
			return nil, err
		}
		size = unitsSize(w.cell)
	}
	last := make([]func() error, len(w.sinks))
	for i, sink := range w.sinks {
		if sink == nil {
			continue
		}
		cell := w.cells[i]
		w.cells[i] = nil
		last[i] = func() error {
			defer w.codec.giveBack(cell)
			return write(sink, cell[:size], w.id, i, w.number)
		}
	}
	return last, nil
}

// Sent reports whether stripes were written before the last one.
func (w *Writer) Sent() bool { return w.number > 0 }

// Left returns why shards were left out, for those that were.
func (w *Writer) Left() []error { return w.errs }

// Close writes what is left, one shard after the other, and returns which shards were left out and
// why. The Writer can be used no more.
func (w *Writer) Close() ([]error, error) {
	last, err := w.Last()
	if err != nil {
		return w.errs, err
	}
	for i, rest := range last {
		if rest == nil {
			continue
		}
		if err := rest(); err != nil {
			w.errs[i], w.sinks[i] = err, nil
		}
	}
	return w.errs, w.enough()
}

// shorten makes the cells of a last stripe as long as its content wants them, which is known
// only now if its size was not.
func (w *Writer) shorten() {
	cell := w.codec.lastCell(w.filled)
	if cell == w.cell {
		return
	}
	content := make([]byte, 0, w.filled)
	for i := range w.codec.K {
		for unit := int64(0); unit*UnitData < w.cell && int64(len(content)) < w.filled; unit++ {
			p := w.content(i, unit)
			content = append(content, p[:min(int64(len(p)), w.filled-int64(len(content)))]...)
		}
	}
	w.filled, w.cell, w.left = 0, cell, w.filled
	for len(content) > 0 {
		n := copy(w.Space(), content)
		w.filled, content = w.filled+int64(n), content[n:]
	}
}

// Free gives back the memory of a Writer that is not closed. It can be called twice.
func (w *Writer) Free() {
	for i, b := range w.cells {
		w.codec.giveBack(b)
		w.cells[i] = nil
	}
}

// flush writes a stripe, and begins the next.
func (w *Writer) flush() error {
	w.pad()
	if err := w.encode(); err != nil {
		return err
	}
	w.send()
	w.number += (w.cell + UnitData - 1) / UnitData
	if w.left >= 0 {
		w.left -= w.filled
	}
	w.begin()
	return w.enough()
}

// pad clears what is behind the end of the content.
func (w *Writer) pad() {
	for at, end := w.filled, w.cell*int64(w.codec.K); at < end; {
		p := w.content(int(at/w.cell), at%w.cell/UnitData)[at%w.cell%UnitData:]
		clear(p)
		at += int64(len(p))
	}
}

// encode makes the cells with the redundancy.
func (w *Writer) encode() error {
	if w.codec.rs == nil {
		return nil
	}
	units := make([][]byte, w.codec.N())
	for unit := int64(0); unit*UnitData < w.cell; unit++ {
		for i := range units {
			units[i] = w.content(i, unit)
		}
		if err := w.codec.rs.Encode(units); err != nil {
			return fmt.Errorf("shard: encode: %w", err)
		}
	}
	return nil
}

// patience is how long a sink is waited for, in all, while enough others are done, if that takes longer
// than what they take.
const patience = 2 * time.Second

// Patience has the Writer wait for sinks as long as of says, instead of two seconds each.
func (w *Writer) Patience(of func(shard int) time.Duration) { w.patience = of }

// Waited returns how long it was waited for that sink that was waited for the longest.
func (w *Writer) Waited() time.Duration { return slices.Max(w.waited[:]) }

// ErrSlow says that a shard was left out since its sink was far behind the others.
var ErrSlow = errors.New("shard: it cannot be written as fast as the others")

// send writes a cell to each sink, all at the same time. One that is far behind is left
// out, with the memory that it still reads from.
func (w *Writer) send() {
	done := make(chan wrote, len(w.sinks))
	waiting := make(map[int]bool)
	for i, sink := range w.sinks {
		if sink == nil {
			continue
		}
		waiting[i] = true
		units, number := w.cells[i][:unitsSize(w.cell)], w.number
		go func() { done <- wrote{i, write(sink, units, w.id, i, number)} }()
	}
	w.collect(done, waiting)
}

// write seals the units of a cell, from a number on, and writes them.
func write(sink io.Writer, units []byte, id ID, shard int, number int64) error {
	if len(units) == 0 {
		return nil
	}
	sealAll(units, id, shard, number)
	_, err := sink.Write(units)
	return err //nolint:wrapcheck // the sink's own
}

// sealAll seals the units of a cell.
func sealAll(units []byte, id ID, shard int, number int64) {
	for ; len(units) > 0; number++ {
		n := min(len(units), UnitSize)
		seal(units[:n], id, shard, number)
		units = units[n:]
	}
}

// wrote is what became of a cell.
type wrote struct {
	shard int
	err   error
}

// collect waits for the cells that are being written. Once enough are, those are left out for which it was
// waited for too long.
func (w *Writer) collect(done <-chan wrote, waiting map[int]bool) {
	var late <-chan time.Time
	var since time.Time // when enough were written
	good := 0
	for len(waiting) > 0 {
		select {
		case d := <-done:
			delete(waiting, d.shard)
			if late != nil {
				w.waited[d.shard] += time.Since(since)
			}
			if d.err != nil {
				w.errs[d.shard], w.sinks[d.shard] = d.err, nil
				continue
			}
			if good++; good < w.least || late != nil {
				continue
			}
			since = time.Now()
		case <-late:
			w.leaveOut(waiting, time.Since(since))
		}
		if len(waiting) > 0 {
			timer := time.NewTimer(w.first(waiting, time.Since(since)))
			defer timer.Stop()
			late = timer.C
		}
	}
}

// leftFor returns how long a sink is waited for yet, after some time for this cell: what it has cost may
// be as long as what would have passed without that, and the patience more.
func (w *Writer) leftFor(shard int, now time.Duration) time.Duration {
	most := patience
	if w.patience != nil {
		most = w.patience(shard)
	}
	waited := w.waited[shard] + now
	return min(most-now, most+time.Since(w.begun)-2*waited)
}

// first returns when the first of the sinks is left out that are waited for.
func (w *Writer) first(waiting map[int]bool, now time.Duration) time.Duration {
	first := time.Duration(math.MaxInt64)
	for i := range waiting {
		first = min(first, w.leftFor(i, now))
	}
	return max(first, 0)
}

// leaveOut leaves those sinks out that are not waited for any more, with the memory that they still
// read from.
func (w *Writer) leaveOut(waiting map[int]bool, now time.Duration) {
	for i := range waiting {
		if w.leftFor(i, now) <= 0 {
			w.errs[i], w.sinks[i], w.cells[i] = ErrSlow, nil, nil
			w.waited[i] += now
			delete(waiting, i)
		}
	}
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
