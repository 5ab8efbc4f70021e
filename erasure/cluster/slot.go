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
type slot struct{ now atomic.Pointer[target] }

// target is a drive in a slot.
type target struct {
	node.Drive
	peer *node.Peer // the node that has it; nil: this one
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

// Inner returns the drive as it is, also if it is new.
func (s *slot) Inner() erasure.Drive {
	d := s.drive()
	if w, ok := d.(interface{ Inner() erasure.Drive }); ok {
		return w.Inner()
	}
	return d
}

// Commit implements erasure.Drive.
func (s *slot) Commit(ctx context.Context, c register.Change) error { return s.drive().Commit(ctx, c) }

// Promise implements erasure.Drive.
func (s *slot) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return s.drive().Promise(ctx, t, q)
}

// Read implements erasure.Drive.
func (s *slot) Read(ctx context.Context, q register.Query) (register.View, error) {
	return s.drive().Read(ctx, q)
}

// Decide implements erasure.Drive.
func (s *slot) Decide(ctx context.Context, all []register.Decision) error {
	return s.drive().Decide(ctx, all)
}

// Scan implements erasure.Drive.
func (s *slot) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	return s.drive().Scan(ctx, q)
}

// Create implements erasure.Drive.
func (s *slot) Create(ctx context.Context, id register.DataID) (register.ShardWriter, error) {
	return s.drive().Create(ctx, id)
}

// ReadShard implements erasure.Drive.
func (s *slot) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	return s.drive().ReadShard(ctx, id, offset, p)
}

// Drop implements erasure.Drive.
func (s *slot) Drop(ctx context.Context, id register.DataID) error { return s.drive().Drop(ctx, id) }

// Install implements erasure.Drive.
func (s *slot) Install(ctx context.Context, key register.Key, r register.Record) (bool, error) {
	return s.drive().Install(ctx, key, r)
}

// Order takes an order of the fleet.
func (s *slot) Order(ctx context.Context, o fence.Order) (fence.State, error) {
	return s.drive().Order(ctx, o)
}

// Close implements erasure.Drive. The drives are the Cluster's to close.
func (*slot) Close() error { return nil }

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

// offered is an ownDrive as other nodes use it: their calls are left when their time is over.
type offered struct {
	erasure.Drive
	own   *ownDrive
	inner erasure.Drive
}

func offer(o *ownDrive) *offered {
	return &offered{Drive: erasure.Guard(o), own: o, inner: erasure.Guard(o.Inner())}
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
