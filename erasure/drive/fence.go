package drive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
)

// fenceKey is the key in the store of what the drive knows of the fleet.
const fenceKey = 'f'

// sinceKey is the key in the store of the first epoch of the placement whose changes are taken.
const sinceKey = 'e'

// guard is what a drive knows of the fleet that may commit on it. A commit looks at it and
// is made while it does not change.
type guard struct {
	mu       sync.RWMutex
	required bool
	state    fence.State
	since    uint64 // epoch of the placement
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

// Since has the drive refuse, durably, changes of what moves that were placed in an epoch before
// this one. What began before is over then.
func (d *Drive) Since(_ context.Context, epoch uint64) error {
	if err := d.enter(&d.syncs); err != nil {
		return err
	}
	defer d.leave(&d.syncs)
	d.guard.mu.Lock()
	defer d.guard.mu.Unlock()
	if epoch <= d.guard.since {
		return nil
	}
	var b Batch
	b.Set([]byte{sinceKey}, binary.BigEndian.AppendUint64(nil, epoch))
	if err := d.kv.Apply(&b, true); err != nil {
		return fmt.Errorf("keep placement: %w", err)
	}
	d.guard.since = epoch
	return nil
}

// recall reads what Since has kept, before anything else is done.
func (d *Drive) recall() error {
	b, found, err := d.kv.Get([]byte{sinceKey})
	switch {
	case err != nil:
		return fmt.Errorf("read placement: %w", err)
	case found && len(b) != 8:
		return fmt.Errorf("drive: %d bytes are no epoch of a placement", len(b))
	case found:
		d.guard.since = binary.BigEndian.Uint64(b)
	}
	return nil
}

// errMisplaced says that a change is of a placement that is over.
var errMisplaced = errors.New("drive: it was placed before what moved")

// admit has no fence change until the returned function is called, if a change may be committed
// as to who makes it, and where.
func (d *Drive) admit(c *register.Change) (func(), error) {
	d.guard.mu.RLock()
	var err error
	if d.guard.required {
		err = d.guard.state.Admits(c.Session)
	}
	// What nodes have agreed on, and settings, are in every set; a batch of events that comes late is told twice.
	if c.Key.Space != register.Fleet && c.Key.Space != register.System && c.Placed < d.guard.since {
		err = errMisplaced
	}
	if err != nil {
		d.guard.mu.RUnlock()
		return nil, err
	}
	return d.guard.mu.RUnlock, nil
}
