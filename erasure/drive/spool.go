package drive

import (
	"sync"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure/register"
)

// What a drive takes of memory for shards that are being written, in bytes.
const (
	spoolSize = 16 << 20   // in all
	pieceSize = 33 * align // of one piece: two units of a shard, and a header
)

// maxSegmented is the size, in bytes, up to which a shard is in a segment.
const maxSegmented = 4 << 20

// spool is the memory in which shards are kept until it is known how long they are.
type spool struct {
	taken atomic.Int64 // pieces
	free  sync.Pool    // of *[pieceSize]byte
}

// take returns so many pieces, or nil if there is no room for them.
func (s *spool) take(n int) []*[pieceSize]byte {
	if s.taken.Add(int64(n)) > spoolSize/pieceSize {
		s.taken.Add(-int64(n))
		return nil
	}
	pieces := make([]*[pieceSize]byte, n)
	for i := range pieces {
		var ok bool
		if pieces[i], ok = s.free.Get().(*[pieceSize]byte); !ok {
			pieces[i] = new([pieceSize]byte)
		}
	}
	return pieces
}

func (s *spool) giveBack(pieces []*[pieceSize]byte) {
	for _, p := range pieces {
		s.free.Put(p)
	}
	s.taken.Add(-int64(len(pieces)))
}

// draft is a shard in a spool, as it will be in a segment: behind room for its header. It is
// used by one goroutine.
type draft struct {
	spool  *spool
	pieces []*[pieceSize]byte
	length int // of the shard
}

// write appends to the shard, all of p or, if that is too long or there is no room,
// nothing.
func (f *draft) write(p []byte) bool {
	if f.length+len(p) > maxSegmented {
		return false
	}
	end := headerSize + f.length + len(p)
	if more := (end+pieceSize-1)/pieceSize - len(f.pieces); more > 0 {
		pieces := f.spool.take(more)
		if pieces == nil {
			return false
		}
		f.pieces = append(f.pieces, pieces...)
	}
	for at := headerSize + f.length; len(p) > 0; {
		n := copy(f.pieces[at/pieceSize][at%pieceSize:], p)
		at, p = at+n, p[n:]
	}
	f.length = end - headerSize
	return true
}

// content returns what was written.
func (f *draft) content() [][]byte { return f.cut(headerSize, headerSize+f.length) }

// entry returns what is to be in a segment.
func (f *draft) entry(id register.DataID) [][]byte {
	putHeader(f.pieces[0][:], id, uint32(f.length)) //nolint:gosec // at most maxSegmented
	size := int(entrySize(int64(f.length)))
	for _, zeros := range f.cut(headerSize+f.length, size) {
		clear(zeros)
	}
	return f.cut(0, size)
}

// cut returns the bytes from one offset to another one.
func (f *draft) cut(from, to int) [][]byte {
	var all [][]byte
	for from < to {
		start := from % pieceSize
		n := min(pieceSize-start, to-from)
		all = append(all, f.pieces[from/pieceSize][start:start+n])
		from += n
	}
	return all
}

// drop gives the memory back. It can be called twice.
func (f *draft) drop() {
	if len(f.pieces) > 0 {
		f.spool.giveBack(f.pieces)
	}
	f.pieces, f.length = nil, 0
}
