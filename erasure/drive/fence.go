package drive

import (
	"context"
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/erasure/fence"
)

// fenceKey is the key in the store of what the drive knows of the fleet.
const fenceKey = 'f'

// guard is what a drive knows of the fleet that may commit on it. A commit looks at it and
// is made while it does not change.
type guard struct {
	mu       sync.RWMutex
	required bool
	state    fence.State
}

// Require has the drive take commits only in sessions of the fleet that it was told of. One
// that is blank stands for another drive, and vouches for nothing before it was told what
// that one may have known. It is called before anything else.
func (d *Drive) Require(blank bool) error {
	b, found, err := d.kv.Get([]byte{fenceKey})
	if err != nil {
		return fmt.Errorf("read fence: %w", err)
	}
	d.guard.required = true
	if !found {
		d.guard.state.Blank = blank
		return nil
	}
	d.guard.state, err = fence.Decode(b)
	return err
}

// Order has the drive do what package fence says of an Order, durably, and returns what it
// knows then.
func (d *Drive) Order(_ context.Context, o fence.Order) (fence.State, error) {
	if err := d.enter(&d.syncs); err != nil {
		return fence.State{}, err
	}
	defer d.leave(&d.syncs)
	d.guard.mu.Lock()
	defer d.guard.mu.Unlock()
	next, durable, err := d.guard.state.Apply(o)
	if err != nil {
		return d.guard.state, err
	}
	if durable {
		encoded, err := next.Encode()
		if err != nil {
			return d.guard.state, err
		}
		var b Batch
		b.Set([]byte{fenceKey}, encoded)
		if err := d.kv.Apply(&b, true); err != nil {
			return d.guard.state, fmt.Errorf("keep fence: %w", err)
		}
	}
	d.guard.state = next
	return next, nil
}

// admit has no fence change until the returned function is called, if what is done in a
// session may be committed.
func (d *Drive) admit(session string) (func(), error) {
	if !d.guard.required {
		return func() {}, nil
	}
	d.guard.mu.RLock()
	if err := d.guard.state.Admits(session); err != nil {
		d.guard.mu.RUnlock()
		return nil, err
	}
	return d.guard.mu.RUnlock, nil
}
