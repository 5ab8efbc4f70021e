package cluster

import (
	"context"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/node"
	"github.com/shoal-storage/shoal/erasure/register"
)

// slot is the place of a drive in the set, whichever drive it is and wherever that is now.
type slot struct {
	format.Slot
	now atomic.Pointer[target]
}

func newSlot() *slot {
	s := &slot{}
	s.Drive = func() erasure.Drive { return s.drive() }
	return s
}

// target is a drive in a slot.
type target struct {
	node.Drive
	peer *member // the node that has it; nil: this one
}

// reached reports whether the drive can be used: that of a node which was started with another command
// line is not of this deployment any more, or this node is not.
func (t *target) reached() bool {
	return t != nil && (t.peer == nil || t.peer.peer.Online() && !t.peer.strange.Load())
}

// drive returns the drive that is in the slot.
func (s *slot) drive() node.Drive {
	if t := s.now.Load(); t != nil {
		return t.Drive
	}
	return none{}
}

// none is a drive that is not there.
type none struct{ format.Absent }

var _ erasure.Drive = (*slot)(nil)

// Order takes an order of the fleet.
func (s *slot) Order(ctx context.Context, o fence.Order) (fence.State, error) {
	return s.drive().Order(ctx, o)
}

// Order implements node.Drive.
func (none) Order(context.Context, fence.Order) (fence.State, error) {
	return fence.State{}, register.ErrUnknown
}

// maxOrders is how many orders are inside of a drive at a time.
const maxOrders = 16

// ownDrive is a drive of this node: as the Store uses it, which leaves calls itself whose time
// is over, but for orders.
type ownDrive struct {
	*format.Opened
	orders chan struct{}
}

func newOwnDrive(d *format.Opened) *ownDrive {
	return &ownDrive{Opened: d, orders: make(chan struct{}, maxOrders)}
}

// offered is an ownDrive as other nodes use it, which leave a call when its time is over.
type offered struct {
	erasure.Drive
	own   *ownDrive
	inner erasure.Drive
}

func offer(o *ownDrive) *offered {
	return &offered{Drive: erasure.Bound(o), own: o, inner: erasure.Bound(o.Inner())}
}

// Inner returns the drive as it is, also if it is new.
func (o *offered) Inner() erasure.Drive { return o.inner }

// Order implements node.Drive.
func (o *offered) Order(ctx context.Context, order fence.Order) (fence.State, error) {
	return o.own.Order(ctx, order)
}

// Order implements node.Drive.
func (o *ownDrive) Order(ctx context.Context, order fence.Order) (fence.State, error) {
	select {
	case o.orders <- struct{}{}:
	default:
		return fence.State{}, register.ErrUnknown
	}
	type result struct {
		state fence.State
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-o.orders }()
		s, err := o.Opened.Order(ctx, order)
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.state, r.err
	case <-ctx.Done():
		return fence.State{}, context.Cause(ctx)
	}
}
