package erasure

import (
	"context"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// sharedReads has those who want the record of a bucket at the same time share a read of it.
// Each gets what was read after he had asked, which is as good as a read of his own.
type sharedReads struct {
	mu sync.Mutex
	// next are the reads that have not begun, by name; nil: one is under way, and nobody
	// waits for the one after it.
	next map[string]*sharedRead
}

// sharedRead is one read. What it gives is valid once done is closed, and nobody changes it.
type sharedRead struct {
	done   chan struct{}
	bucket *bucket
	err    error
}

// get returns what read says of a name, of which one call is made at a time. read does not
// end with the context of who has asked first: others wait for it.
func (r *sharedReads) get(ctx context.Context, name string, read func(context.Context, string) (*bucket, error)) (*bucket, error) {
	r.mu.Lock()
	mine, running := r.next[name]
	if mine == nil {
		mine = &sharedRead{done: make(chan struct{})}
		r.next[name] = mine
	}
	r.mu.Unlock()
	if !running {
		go r.run(context.WithoutCancel(ctx), name, read)
	}
	select {
	case <-mine.done:
		return mine.bucket, mine.err
	case <-ctx.Done():
		return nil, object.E("read", name, object.Unavailable, context.Cause(ctx))
	}
}

// run reads until nobody waits any more.
func (r *sharedReads) run(ctx context.Context, name string, read func(context.Context, string) (*bucket, error)) {
	for next := r.begin(name); next != nil; next = r.begin(name) {
		next.bucket, next.err = read(ctx, name)
		close(next.done)
	}
}

// begin returns the read that is to be made now; nil: there is none.
func (r *sharedReads) begin(name string) *sharedRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next[name]
	if next == nil {
		delete(r.next, name)
	} else {
		r.next[name] = nil
	}
	return next
}
