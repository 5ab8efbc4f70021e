package drive

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// How long the shards of a content that nothing refers to any more are kept, for those who are reading it.
const (
	grace   = 5 * time.Minute  // if nobody reads it;
	lull    = 30 * time.Second // after it was read last, and all that one has that nobody reads while there is little room;
	longest = 24 * time.Hour   // however often it is read
)

// graveyard holds contents whose shards are to be removed. Those that are in it when the
// process ends are marked: the sweeper of the next one removes them. There may be a million.
type graveyard struct {
	begun time.Time
	some  atomic.Bool // somebody is in it

	mu     sync.Mutex
	graves []grave                           // in the order of their time
	kept   []grave                           // that were being read when their time was over, in the order of their new one
	reads  map[register.DataID]time.Duration // when contents were read last while it held any, if that is less than lull ago
	purge  int                               // how many of these there may be before older ones are left out
	timer  *time.Timer                       // nil: there is none, and nobody removes anything
	tight  bool                              // there is little room
	closed bool
}

// grave is of one content. Times are since begun.
type grave struct {
	id          register.DataID
	buried, due time.Duration
}

// unrefer has a Batch say that a register refers to contents no more, and that nothing has for so long that they
// are due after grace, unless another one does.
func unrefer(b *Batch, ids []register.DataID, key []byte, version string) {
	for _, id := range ids {
		b.Remove(refName(id, key, version))
		b.Set(markName(id), markOf(time.Now().Add(grace-orphanAge)))
	}
}

// holds returns what is in it.
func (g *graveyard) holds() map[register.DataID]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[register.DataID]bool, len(g.graves)+len(g.kept))
	for _, in := range g.graves {
		all[in.id] = true
	}
	for _, in := range g.kept {
		all[in.id] = true
	}
	return all
}

// visit notes that a content is read, which may be in it.
func (g *graveyard) visit(id register.DataID) {
	if !g.some.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Since(g.begun)
	if len(g.reads) >= g.purge {
		maps.DeleteFunc(g.reads, func(_ register.DataID, at time.Duration) bool { return now-at >= lull })
		g.purge = max(1024, 2*len(g.reads))
	}
	g.reads[id] = now
}

// bury has the shards of contents removed after a while.
func (d *Drive) bury(ids []register.DataID) {
	if len(ids) == 0 {
		return
	}
	g := &d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Since(g.begun)
	for _, id := range ids {
		g.graves = append(g.graves, grave{id, now, now + grace})
	}
	g.some.Store(true)
	if g.timer == nil && !g.closed {
		g.timer = time.AfterFunc(grace-g.early(), d.exhume)
	}
}

// early is how much earlier than where there is room contents are due. The caller has mu.
func (g *graveyard) early() time.Duration {
	if g.tight {
		return grace - lull
	}
	return 0
}

// press says whether there is little room.
func (d *Drive) press(tight bool) {
	g := &d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	sooner := tight && !g.tight
	g.tight = tight
	if sooner && g.timer != nil && g.timer.Stop() {
		g.timer = time.AfterFunc(0, d.exhume)
	}
}

// exhume removes what has had its time. Nobody who buries waits for that: he holds the stripe of a key.
func (d *Drive) exhume() {
	for g := &d.grave; ; {
		id, from := g.first(d.exhume)
		if from == nil || d.enter(nil) != nil {
			return
		}
		_ = d.free(id) //nolint:errcheck // the sweeper finds what is left
		d.leave(nil)
		g.fill(from)
	}
}

// first returns a content whose time is over and the queue that it is the first of, if there is one. Otherwise next is
// called when that of the first one is. Nobody else takes graves out.
func (g *graveyard) first(next func()) (id register.DataID, from *[]grave) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Since(g.begun)
	for !g.closed && len(g.graves)+len(g.kept) > 0 {
		from, early := &g.graves, g.early()
		if len(g.graves) == 0 || len(g.kept) > 0 && g.kept[0].due < g.graves[0].due-early {
			from, early = &g.kept, 0
		}
		in := (*from)[0]
		if wait := in.due - early - now; wait > 0 {
			g.timer = time.AfterFunc(wait, next)
			return id, nil
		}
		if at, read := g.reads[in.id]; !read || now-at >= lull || now-in.buried >= longest {
			return in.id, from
		}
		in.due = now + lull
		*from = (*from)[1:]
		g.kept = append(g.kept, in)
	}
	g.timer = nil
	return id, nil
}

// fill has the first grave of a queue be one no more.
func (g *graveyard) fill(from *[]grave) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*from = (*from)[1:]
	if len(g.graves)+len(g.kept) == 0 {
		g.some.Store(false)
		clear(g.reads)
	}
}

func (g *graveyard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
