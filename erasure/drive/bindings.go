package drive

import (
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// bindings see to it that no shard is removed between the look whether a drive has it and the
// register that is to refer to it.
type bindings struct {
	mu    sync.Mutex
	bound map[register.DataID]int           // by how many registers that are being written
	freed map[register.DataID]chan struct{} // being removed; closed when that is over
}

// bind has the shards of some contents stay until the returned function is called.
func (b *bindings) bind(ids []register.DataID) (unbind func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := 0; i < len(ids); i++ {
		if over, ok := b.freed[ids[i]]; ok {
			b.mu.Unlock()
			<-over
			b.mu.Lock()
			i = -1 // another one may have begun to go meanwhile
		}
	}
	if b.bound == nil {
		b.bound = make(map[register.DataID]int)
	}
	for _, id := range ids {
		b.bound[id]++
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, id := range ids {
			if b.bound[id]--; b.bound[id] == 0 {
				delete(b.bound, id)
			}
		}
	}
}

// free has nobody bind a content until over is called. It returns nil if somebody has.
func (b *bindings) free(id register.DataID) (over func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, freed := b.freed[id]; freed || b.bound[id] > 0 {
		return nil
	}
	if b.freed == nil {
		b.freed = make(map[register.DataID]chan struct{})
	}
	done := make(chan struct{})
	b.freed[id] = done
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.freed, id)
		close(done)
	}
}
