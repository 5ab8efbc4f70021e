package format

import (
	"context"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Absent is a drive that is not there.
type Absent struct{}

// Commit implements erasure.Drive.
func (Absent) Commit(context.Context, register.Change) error { return register.ErrUnknown }

// Since implements erasure.Drive.
func (Absent) Since(context.Context, uint64) error { return register.ErrUnknown }

// Install implements erasure.Drive.
func (Absent) Install(context.Context, register.Key, register.Record, register.Token) (bool, error) {
	return false, register.ErrUnknown
}

// Promise implements erasure.Drive.
func (Absent) Promise(context.Context, register.Token, register.Query) (register.View, error) {
	return register.View{}, register.ErrUnknown
}

// Read implements erasure.Drive.
func (Absent) Read(context.Context, register.Query) (register.View, error) {
	return register.View{}, register.ErrUnknown
}

// Decide implements erasure.Drive.
func (Absent) Decide(context.Context, []register.Decision) error { return register.ErrUnknown }

// Scan implements erasure.Drive.
func (Absent) Scan(context.Context, register.ScanQuery) (register.ScanPage, error) {
	return register.ScanPage{}, register.ErrUnknown
}

// Pending implements erasure.Drive.
func (Absent) Pending(context.Context, register.PendingQuery) (register.ScanPage, error) {
	return register.ScanPage{}, register.ErrUnknown
}

// Create implements erasure.Drive.
func (Absent) Create(context.Context, register.DataID, int64) (register.ShardWriter, error) {
	return nil, register.ErrUnknown
}

// ReadShard implements erasure.Drive.
func (Absent) ReadShard(context.Context, register.DataID, int64, []byte) (int, error) {
	return 0, register.ErrUnknown
}

// Drop implements erasure.Drive.
func (Absent) Drop(context.Context, register.DataID) error { return register.ErrUnknown }

// Close implements erasure.Drive.
func (Absent) Close() error { return nil }
