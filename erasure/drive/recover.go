package drive

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// UseSegments has the drive keep shards of middle size in segments, in a directory below
// root, which stays the caller's to close. It is called before anything else. Without it
// such shards are files of their own.
func (d *Drive) UseSegments(root vfs.Dir, log *slog.Logger) error {
	entries, err := d.openSegments(root, log, segmentSize)
	if err != nil {
		return err
	}
	d.segments.stopped.Go(func() { d.tend(entries) })
	return nil
}

// openSegments opens the segments, and returns what is in use of them, to be counted.
func (d *Drive) openSegments(root vfs.Dir, log *slog.Logger, size int64) (Iterator, error) {
	if err := makeDir(root, segmentsDir); err != nil {
		return nil, err
	}
	if err := root.Sync(); err != nil {
		return nil, err
	}
	dir, err := root.OpenDir(segmentsDir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", segmentsDir, err)
	}
	s := &segments{
		dir: dir, kv: d.kv, log: log, size: size, all: make(map[uint32]*segment),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	err = s.find()
	var entries Iterator
	if err == nil {
		entries, err = s.index()
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	d.segments = s
	if err := d.recheck(log); err != nil {
		return nil, errors.Join(err, entries.Close())
	}
	d.rechecked = true
	return entries, nil
}

// index returns what the store says of segments now.
func (s *segments) index() (Iterator, error) {
	return s.kv.Scan([]byte{segmentKey}, []byte{segmentKey + 1})
}

// find takes note of the segments that are there. Which of them the store knows is seen when what is in use is
// counted: that takes a look at each, and a slow disk that holds much is to be open before.
func (s *segments) find() error {
	sizes, err := s.sizes()
	if err != nil {
		return err
	}
	s.found = make(map[uint32]bool, len(sizes))
	for number, size := range sizes {
		g := &segment{number: number, synced: size, ended: true, full: true}
		g.size.Store(size)
		s.all[number], s.found[number] = g, true
		s.last = max(s.last, number)
	}
	return s.afterLast()
}

// afterLast takes note of numbers that the store knows above those of all files: none of them is used again.
func (s *segments) afterLast() (err error) {
	it, err := s.kv.Scan(segmentName(s.last+1), []byte{segmentKey + 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for there := it.Next(); there; there = it.Seek(after(segmentName(s.last))) {
		e, _, err := parseIndex(it.Key(), it.Value())
		if err != nil {
			return err
		}
		s.last = e.segment
	}
	return nil
}

// settle compares the segments that were there with those that the store knew, and whether anything in them was in
// use. Nothing is compacted before.
func (s *segments) settle(known map[uint32]bool) error {
	for number, used := range known {
		switch {
		case s.found[number]:
			delete(s.found, number)
		case used:
			s.log.Error("a segment is not there, whose shards are lost to this drive", "segment", number)
		default: // it was removed when the process ended
			var b Batch
			b.Remove(segmentName(number))
			if err := s.kv.Apply(&b, false); err != nil {
				return err
			}
		}
	}
	for number := range s.found {
		s.mu.Lock()
		size := s.all[number].size.Load()
		delete(s.all, number)
		s.mu.Unlock()
		if size > 0 {
			s.log.Warn("a segment that the store does not know is left alone", "segment", number, "bytes", size)
		} else if err := s.dir.Remove(segmentFile(number)); err != nil { // it was begun when the process ended
			return fmt.Errorf("remove segment %d: %w", number, err)
		}
	}
	s.found = nil
	return nil
}

// sizes returns how long the files are.
func (s *segments) sizes() (map[uint32]int64, error) {
	names, err := s.dir.ReadDir()
	if err != nil {
		return nil, fmt.Errorf("look for segments: %w", err)
	}
	all := make(map[uint32]int64, len(names))
	for _, e := range names {
		if number, ok := segmentNumber(e.Name); ok {
			st, err := s.dir.Stat(e.Name)
			if err != nil {
				return nil, fmt.Errorf("look at segment %d: %w", number, err)
			}
			all[number] = st.Size
		}
	}
	return all, nil
}
