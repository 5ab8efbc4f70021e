package format

import (
	"context"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
)

// Slot is the place of a drive in a set, whichever drive that is now.
type Slot struct {
	// Drive returns the drive that is in the slot; one that is Absent if there is none.
	Drive func() erasure.Drive
}

var _ erasure.Drive = Slot{}

// Inner returns the drive as it is, also if it is new.
func (s Slot) Inner() erasure.Drive {
	d := s.Drive()
	if w, ok := d.(interface{ Inner() erasure.Drive }); ok {
		return w.Inner()
	}
	return d
}

// Commit implements erasure.Drive.
func (s Slot) Commit(ctx context.Context, c register.Change) error { return s.Drive().Commit(ctx, c) }

// Promise implements erasure.Drive.
func (s Slot) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return s.Drive().Promise(ctx, t, q)
}

// Read implements erasure.Drive.
func (s Slot) Read(ctx context.Context, q register.Query) (register.View, error) {
	return s.Drive().Read(ctx, q)
}

// Decide implements erasure.Drive.
func (s Slot) Decide(ctx context.Context, all []register.Decision) error {
	return s.Drive().Decide(ctx, all)
}

// Scan implements erasure.Drive.
func (s Slot) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	return s.Drive().Scan(ctx, q)
}

// Pending implements erasure.Drive.
func (s Slot) Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error) {
	return s.Drive().Pending(ctx, q)
}

// Create implements erasure.Drive.
func (s Slot) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	return s.Drive().Create(ctx, id, size)
}

// ReadShard implements erasure.Drive.
func (s Slot) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	return s.Drive().ReadShard(ctx, id, offset, p)
}

// Drop implements erasure.Drive.
func (s Slot) Drop(ctx context.Context, id register.DataID) error { return s.Drive().Drop(ctx, id) }

// Since implements erasure.Drive.
func (s Slot) Since(ctx context.Context, epoch uint64) error { return s.Drive().Since(ctx, epoch) }

// Install implements erasure.Drive.
func (s Slot) Install(ctx context.Context, key register.Key, r register.Record, t register.Token) (bool, error) {
	return s.Drive().Install(ctx, key, r, t)
}

// Close implements erasure.Drive. The drives are closed by who has opened them.
func (Slot) Close() error { return nil }
