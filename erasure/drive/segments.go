package drive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// segmentsDir is where a drive has its segments.
const segmentsDir = "segments"

// segmentSize is the length of a segment, in bytes. To compact one takes up to half of it,
// which a disk has that is full (leastFree).
const segmentSize = 64 << 20

// maxReaders is how many segments are kept open for reading.
const maxReaders = 64

// segments are the files in which a drive has shards of middle size. Which of them there
// are, and what is in use of each, is in the store: a file that this does not know is left alone.
// Its methods may be called concurrently.
type segments struct {
	dir  vfs.Dir
	kv   KV
	log  *slog.Logger
	size int64 // from which on nothing more is written to one, in bytes

	writing sync.Mutex
	open    *segment // that is written to; nil: the next one is to be begun
	last    uint32   // number that was used

	found map[uint32]bool // the files that were there when it was opened, until it is known which of them the store knows

	mu      sync.Mutex
	all     map[uint32]*segment
	reading []*segment    // those with a reader, the longest one first
	wake    chan struct{} // holds one when there may be something to compact
	stop    chan struct{}
	stopped sync.WaitGroup
}

// written is an entry that was written, and may not be durable.
type written struct {
	place
	in  *segment
	end int64
}

// sync returns when it is durable.
func (w written) sync() error { return w.in.sync(w.end) }

// write writes an entry with a shard of so many bytes. Unless it fails, done must be called.
func (s *segments) write(entry [][]byte, length uint32) (written, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	size := entrySize(int64(length))
	g, err := s.room(size)
	if err != nil {
		return written{}, err
	}
	offset, err := g.append(entry)
	if err != nil {
		return written{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.pending++
	g.live += size
	at := place{g.number, uint32(offset), length} //nolint:gosec // below s.size
	return written{at, g, offset + size}, nil
}

// room returns the segment that is written to, which has room for so many bytes.
func (s *segments) room(size int64) (*segment, error) {
	if s.open != nil && s.open.size.Load()+size > s.size {
		if err := s.endOpen(); err != nil {
			return nil, err
		}
	}
	if s.open == nil {
		g, err := s.begin()
		if err != nil {
			return nil, fmt.Errorf("begin segment: %w", err)
		}
		s.open = g
	}
	return s.open, nil
}

func (s *segments) endOpen() error {
	g := s.open
	s.open = nil
	err := g.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	g.full = true
	s.nudge(g)
	return err
}

// begin makes a segment.
func (s *segments) begin() (*segment, error) {
	s.last++
	g := &segment{number: s.last}
	var err error
	if g.file, err = s.dir.Create(segmentFile(g.number), fileMode); err != nil {
		return nil, err
	}
	if err = s.dir.Sync(); err == nil {
		var b Batch
		b.Set(segmentName(g.number), nil)
		err = s.kv.Apply(&b, true)
	}
	if err != nil {
		return nil, errors.Join(err, g.file.Close(), s.dir.Remove(segmentFile(g.number)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[g.number] = g
	return g, nil
}

// done ends what write began: its place is noted, or will not be.
func (s *segments) done(w written, noted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.in.pending--
	if !noted {
		w.in.live -= w.size()
	}
	s.nudge(w.in)
}

// abandon has nothing more written to a segment in which something could not be made
// durable.
func (s *segments) abandon(g *segment) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.open == g {
		_ = s.endOpen() //nolint:errcheck // who waits for it is told
	}
}

// store makes a shard durable, and gives the draft's memory back. Unless it fails, done
// must be called.
func (s *segments) store(id register.DataID, f *draft) (written, error) {
	w, err := s.write(f.entry(id), uint32(f.length)) //nolint:gosec // at most maxSegmented
	f.drop()
	if err != nil {
		return w, err
	}
	if err := w.sync(); err != nil {
		s.abandon(w.in)
		s.done(w, false)
		return w, err
	}
	return w, nil
}

// freed says that what was at a place is not in use any more.
func (s *segments) freed(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.all[p.segment]; g != nil {
		g.live -= p.size()
		g.left = false
		s.nudge(g)
	}
}

// read reads a shard from an offset into b, and returns how much; fs.ErrNotExist if the
// segment is not there.
func (s *segments) read(p place, offset int64, b []byte) (int, error) {
	start := min(offset, int64(p.length))
	b = b[:min(int64(len(b)), int64(p.length)-start)]
	if err := s.readAt(p.segment, b, int64(p.offset)+headerSize+start); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *segments) readAt(number uint32, b []byte, offset int64) error {
	g, f, err := s.enter(number)
	if err != nil {
		return fmt.Errorf("open segment %d: %w", number, err)
	}
	defer s.leave(g)
	if n, err := f.ReadAt(b, offset); n < len(b) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read segment %d: %w", number, err)
	}
	return nil
}

// enter returns a segment that is open for reading, and stays so until leave.
func (s *segments) enter(number uint32) (*segment, vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.all[number]
	if g == nil {
		return nil, nil, fs.ErrNotExist
	}
	if g.reader == nil {
		f, err := s.dir.Open(segmentFile(number))
		if err != nil {
			return nil, nil, err
		}
		s.makeRoom()
		g.reader = f
		s.reading = append(s.reading, g)
	}
	g.readers++
	return g, g.reader, nil
}

// makeRoom closes a segment that nobody reads, if many are open.
func (s *segments) makeRoom() {
	if len(s.reading) < maxReaders {
		return
	}
	for _, g := range s.reading {
		if g.readers == 0 {
			s.closeReader(g)
			return
		}
	}
}

func (s *segments) leave(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.readers--; g.removed && g.readers == 0 {
		s.closeReader(g)
	}
}

func (s *segments) closeReader(g *segment) {
	for i, other := range s.reading {
		if other == g {
			s.reading = append(s.reading[:i], s.reading[i+1:]...)
			break
		}
	}
	_ = g.reader.Close() //nolint:errcheck // it was only read
	g.reader = nil
}

// close ends what is under way in the background, and closes the files.
func (s *segments) close() error {
	close(s.stop)
	s.stopped.Wait()
	s.writing.Lock()
	defer s.writing.Unlock()
	var err error
	if s.open != nil {
		err = s.endOpen()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.reading) > 0 {
		s.closeReader(s.reading[0])
	}
	return errors.Join(err, s.dir.Close())
}
