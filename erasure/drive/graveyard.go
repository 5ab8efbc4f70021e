package drive

import (
	"container/heap"
	"slices"
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
// process ends are marked: the sweeper of the next one removes them.
type graveyard struct {
	some atomic.Bool // there is one

	mu     sync.Mutex
	graves graves // a heap
	known  map[register.DataID]*grave
	timer  *time.Timer // nil: there is none, and nobody removes anything
	tight  bool        // there is little room
	closed bool
}

type grave struct {
	id     register.DataID
	buried time.Time
	read   time.Time // last, since then
	due    time.Time // if there is room
}

// graves are a heap by when they are due.
type graves []*grave

func (g graves) Len() int           { return len(g) }
func (g graves) Less(i, j int) bool { return g[i].due.Before(g[j].due) }
func (g graves) Swap(i, j int)      { g[i], g[j] = g[j], g[i] }
func (g *graves) Push(x any)        { *g = append(*g, x.(*grave)) } //nolint:forcetypeassert // bury alone pushes
func (g *graves) Pop() any {
	last := len(*g) - 1
	x := (*g)[last]
	(*g)[last] = nil
	*g = (*g)[:last]
	return x
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
	all := make(map[register.DataID]bool, len(g.graves))
	for _, in := range g.graves {
		all[in.id] = true
	}
	return all
}

// visit notes that a content is read.
func (g *graveyard) visit(id register.DataID) {
	if !g.some.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if in := g.known[id]; in != nil {
		in.read = time.Now()
	}
}

// bury has the shards of contents removed after a while.
func (d *Drive) bury(ids []register.DataID) {
	if len(ids) == 0 {
		return
	}
	g := &d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		if g.known[id] != nil {
			continue
		}
		in := &grave{id: id, buried: now, due: now.Add(grace)}
		if g.known == nil {
			g.known = make(map[register.DataID]*grave)
		}
		g.known[id] = in
		heap.Push(&g.graves, in)
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
		in := g.first(d.exhume)
		if in == nil || d.enter(nil) != nil {
			return
		}
		_ = d.free(in.id) //nolint:errcheck // the sweeper finds what is left
		d.leave(nil)
		g.fill(in)
	}
}

// first returns the grave of a content whose time is over, if there is one. Otherwise next is called when that of the first one is.
func (g *graveyard) first(next func()) *grave {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for !g.closed && len(g.graves) > 0 {
		in, early := g.graves[0], g.early()
		if wait := in.due.Sub(now) - early; wait > 0 {
			g.timer = time.AfterFunc(wait, next)
			return nil
		}
		if quiet := in.read.Add(lull); !quiet.After(now) || now.Sub(in.buried) >= longest {
			return in
		}
		in.due = in.read.Add(lull + early)
		heap.Fix(&g.graves, 0)
	}
	g.timer = nil
	return nil
}

// fill has a grave be one no more.
func (g *graveyard) fill(in *grave) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.graves, in); i >= 0 {
		heap.Remove(&g.graves, i)
	}
	delete(g.known, in.id)
	g.some.Store(len(g.graves) > 0)
}

func (g *graveyard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
