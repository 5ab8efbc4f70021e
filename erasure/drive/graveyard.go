package drive

import (
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// grace is how long the shards of a content that nothing refers to any more are kept, for
// those who are reading it.
const grace = 5 * time.Minute

// graveyard holds contents whose shards are to be removed. Those that are in it when the
// process ends are marked: the sweeper of the next one removes them.
type graveyard struct {
	mu     sync.Mutex
	graves []grave     // in the order of their time
	timer  *time.Timer // nil: there is none, and nobody removes anything
	closed bool
}

type grave struct {
	id  register.DataID
	due time.Time
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

// bury has the shards of contents removed after a while.
func (d *Drive) bury(ids []register.DataID) {
	if len(ids) == 0 {
		return
	}
	g := &d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	due := time.Now().Add(grace)
	for _, id := range ids {
		g.graves = append(g.graves, grave{id, due})
	}
	if g.timer == nil && !g.closed {
		g.timer = time.AfterFunc(grace, d.exhume)
	}
}

// exhume removes what has had its time. Nobody who buries waits for that: he holds the stripe of a key.
func (d *Drive) exhume() {
	for g := &d.grave; ; g.fill() {
		id, due := g.first(d.exhume)
		if !due || d.enter(nil) != nil {
			return
		}
		_ = d.free(id) //nolint:errcheck // the sweeper finds what is left
		d.leave(nil)
	}
}

// first returns the content whose time is over, if there is one. Otherwise next is called when that of the first one is.
func (g *graveyard) first(next func()) (id register.DataID, due bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.graves) == 0 {
		g.timer = nil
		return id, false
	}
	if wait := time.Until(g.graves[0].due); wait > 0 {
		g.timer = time.AfterFunc(wait, next)
		return id, false
	}
	return g.graves[0].id, true
}

// fill has the first grave be one no more.
func (g *graveyard) fill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.graves = g.graves[1:]
}

func (g *graveyard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
