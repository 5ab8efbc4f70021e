package drive

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// segment is a file of shards, one behind the other. It is written to by the process that
// made it, until it is full, and only read from then on.
type segment struct {
	number uint32

	file vfs.File     // for writing
	size atomic.Int64 // what was written

	syncing sync.Mutex
	synced  int64 // what is durable
	ended   bool  // file is closed
	failed  error // nothing becomes durable any more

	// The following are guarded by segments.mu.
	full    bool     // nothing is written to it any more
	live    int64    // bytes of entries in use
	pending int      // entries that are in use, of which that is not noted yet
	left    bool     // compacting it has failed
	reader  vfs.File // nil: it is not open for reading
	readers int      // who are reading
	removed bool
}

func segmentFile(number uint32) string { return fmt.Sprintf("%08x", number) }

func segmentNumber(name string) (number uint32, ok bool) {
	n, err := strconv.ParseUint(name, 16, 32)
	return uint32(n), err == nil && segmentFile(uint32(n)) == name //nolint:gosec // it has 32 bits
}

// append writes an entry, and returns where it begins. It is called by one at a time. What
// an attempt that fails has written stays, and nothing refers to it.
func (g *segment) append(entry [][]byte) (offset int64, err error) {
	offset = g.size.Load()
	n, err := vfs.Append(g.file, entry...)
	g.size.Add(n)
	if err != nil {
		return 0, fmt.Errorf("append to segment %d: %w", g.number, err)
	}
	return offset, nil
}

// sync returns when what was written up to an offset is durable. All who wait while one
// syncs have what they have written made durable together, by the next one.
func (g *segment) sync(upTo int64) error {
	g.syncing.Lock()
	defer g.syncing.Unlock()
	return g.syncLocked(upTo)
}

func (g *segment) syncLocked(upTo int64) error {
	if g.synced >= upTo {
		return nil
	}
	if g.failed == nil {
		size := g.size.Load()
		if g.failed = g.file.Sync(); g.failed == nil {
			g.synced = size
			return nil
		}
	}
	return fmt.Errorf("sync segment %d: %w", g.number, g.failed)
}

// end makes what was written durable, and has nothing written any more.
func (g *segment) end() error {
	g.syncing.Lock()
	defer g.syncing.Unlock()
	if g.file == nil || g.ended {
		return nil
	}
	err := g.syncLocked(g.size.Load())
	g.ended = true
	if closed := g.file.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close segment %d: %w", g.number, closed)
	}
	return err
}

// wasteful reports whether the segment is to be compacted: more than half of it is garbage.
func (g *segment) wasteful() bool {
	return g.full && g.pending == 0 && !g.left && (2*g.live < g.size.Load() || g.live == 0)
}
