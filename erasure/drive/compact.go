package drive

import (
	"errors"
	"fmt"
	"io/fs"
)

// nudge has tend look for what there is to compact, if a segment is to be.
func (s *segments) nudge(g *segment) {
	if !g.wasteful() {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// errStopped says that the drive is being closed.
var errStopped = errors.New("drive: it is being closed")

func (s *segments) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// tend compacts segments of which more than half is garbage, one at a time, once it has
// counted what is in use.
func (d *Drive) tend(entries Iterator) {
	s := d.segments
	if err := s.count(entries); err != nil {
		if !errors.Is(err, errStopped) {
			s.log.Error("segments are not compacted", "error", err)
		}
		return
	}
	for {
		d.compactAll()
		select {
		case <-s.wake:
		case <-s.stop:
			return
		}
	}
}

func (d *Drive) compactAll() {
	s := d.segments
	for g := s.emptiest(); g != nil && !s.stopping(); g = s.emptiest() {
		if err := d.compact(g); err != nil && !errors.Is(err, errStopped) {
			s.log.Warn("a segment is not compacted for now", "segment", g.number, "error", err)
		}
	}
}

// count adds up what was in use of each segment when the drive was opened. What has changed
// since then was counted as it did.
func (s *segments) count(entries Iterator) error {
	known := make(map[uint32]bool)
	err := s.countEach(entries, known)
	if err = errors.Join(err, entries.Close()); err != nil {
		return err
	}
	return s.settle(known)
}

// countEach is count, up to what it finds in its way, and notes which segments the store knew, and whether
// anything in them was in use.
func (s *segments) countEach(entries Iterator, known map[uint32]bool) error {
	for entries.Next() {
		if s.stopping() {
			return errStopped
		}
		e, entry, err := parseIndex(entries.Key(), entries.Value())
		if err != nil {
			return err
		}
		known[e.segment] = known[e.segment] || entry
		if entry {
			s.mu.Lock()
			if g := s.all[e.segment]; g != nil {
				g.live += e.size()
			}
			s.mu.Unlock()
		}
	}
	return nil
}

// emptiest returns the segment to compact: of those that are mostly garbage the one that
// takes the least room to compact; nil: there is none.
func (s *segments) emptiest() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *segment
	for _, g := range s.all {
		if g.wasteful() && (found == nil || g.live < found.live) {
			found = g
		}
	}
	return found
}

// compactStep is how much is moved at a time, in bytes, or a little more.
const compactStep = 4 << 20

// compact moves what is in use of a segment to others, and removes it. If it fails, that is
// tried again when more of it is garbage.
func (d *Drive) compact(g *segment) error {
	err := d.empty(g)
	if err == nil {
		err = d.segments.remove(g)
	}
	if err != nil {
		d.segments.mu.Lock()
		g.left = true
		d.segments.mu.Unlock()
	}
	return err
}

func (d *Drive) empty(g *segment) error {
	for {
		if d.segments.stopping() {
			return errStopped
		}
		entries, err := d.segments.entries(g.number, compactStep)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := d.moveAll(entries); err != nil {
			return err
		}
	}
}

// entries returns the first entries of a segment that are in use: so many bytes of them, or a
// little more.
func (s *segments) entries(number uint32, limit int64) (all []indexed, err error) {
	name := segmentName(number)
	it, err := s.kv.Scan(name, after(name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for size := int64(0); size < limit && it.Next(); {
		e, entry, err := parseIndex(it.Key(), it.Value())
		if err != nil {
			return nil, err
		}
		if entry {
			all = append(all, e)
			size += e.size()
		}
	}
	return all, nil
}

// moveAll copies entries to the segment that is written to, and notes where they are once
// that is durable.
func (d *Drive) moveAll(entries []indexed) error {
	copies := make([]written, 0, len(entries))
	var buffer []byte
	var failure error
	for i := range entries {
		var w written
		if w, buffer, failure = d.segments.copy(&entries[i], buffer); failure != nil {
			break
		}
		copies = append(copies, w)
	}
	for i, w := range copies {
		noted := false
		if err := w.sync(); err != nil {
			d.segments.abandon(w.in)
			failure = errors.Join(failure, err)
		} else if noted, err = d.moved(&entries[i], w.place); err != nil {
			failure = errors.Join(failure, err)
		}
		d.segments.done(w, noted)
	}
	return failure
}

// copy writes an entry once more, after it was looked whether it is the one that it should be.
func (s *segments) copy(e *indexed, buffer []byte) (written, []byte, error) {
	if int64(cap(buffer)) < e.size() {
		buffer = make([]byte, e.size())
	}
	buffer = buffer[:e.size()]
	if err := s.readAt(e.segment, buffer, int64(e.offset)); err != nil {
		return written{}, buffer, err
	}
	if id, length, err := parseHeader(buffer); err != nil || id != e.id || length != e.length {
		return written{}, buffer, fmt.Errorf("segment %d at %d: %w", e.segment, e.offset, errEntry)
	}
	w, err := s.write([][]byte{buffer}, e.length)
	return w, buffer, err
}

// moved notes that a shard is at another place, unless it was freed. The note becomes durable
// before the segment is removed that it was in.
func (d *Drive) moved(e *indexed, to place) (noted bool, err error) {
	d.notes.Lock()
	defer d.notes.Unlock()
	note, _, err := d.kv.Get(dataName(e.id))
	if err != nil {
		return false, err
	}
	var b Batch
	e.unindex(&b)
	where, damaged := located(note)
	from, ok := parsePlace(where)
	noted = ok && from == e.place
	if noted {
		is := to.note()
		if damaged {
			is = append([]byte{isDamaged}, is...)
		}
		b.Set(dataName(e.id), is)
		to.index(&b, e.id)
	}
	if err := d.kv.Apply(&b, false); err != nil {
		return false, err
	}
	if noted {
		d.segments.freed(e.place)
	}
	return noted, nil
}

// remove removes a segment of which nothing is in use. Those who read it still have it.
func (s *segments) remove(g *segment) error {
	var durable, gone Batch
	durable.Set(segmentName(g.number), nil)
	if err := s.kv.Apply(&durable, true); err != nil { // and with it where its shards are now
		return err
	}
	s.mu.Lock()
	delete(s.all, g.number)
	g.removed = true
	if g.reader != nil && g.readers == 0 {
		s.closeReader(g)
	}
	s.mu.Unlock()
	if err := s.dir.Remove(segmentFile(g.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove segment %d: %w", g.number, err)
	}
	if err := s.dir.Sync(); err != nil { // or it would come back, and not be known
		return err
	}
	gone.Remove(segmentName(g.number))
	return s.kv.Apply(&gone, false)
}
