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
	graves []grave // in the order of their time
	timer  *time.Timer
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

// exhume removes what has had its time.
func (d *Drive) exhume() {
	g := &d.grave
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for len(g.graves) > 0 && !g.closed && !now.Before(g.graves[0].due) {
		_ = d.free(g.graves[0].id) //nolint:errcheck // the sweeper finds what is left
		g.graves = g.graves[1:]
	}
	g.timer = nil
	if len(g.graves) > 0 && !g.closed {
		g.timer = time.AfterFunc(g.graves[0].due.Sub(now), d.exhume)
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
