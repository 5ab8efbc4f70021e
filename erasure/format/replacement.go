package format

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
)

// replacement is a drive that stands for another one. Until it has all that that one had,
// it takes what it is given, and does not vouch for what it lacks.
type replacement struct {
	*drive.Drive
	place *place
	whole atomic.Bool
}

// Inner returns the drive as it is.
func (r *replacement) Inner() erasure.Drive { return r.Drive }

// Promise implements erasure.Drive.
func (r *replacement) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	v, err := r.Drive.Promise(ctx, t, q)
	return v, r.vouch(err)
}

// Read implements erasure.Drive.
func (r *replacement) Read(ctx context.Context, q register.Query) (register.View, error) {
	v, err := r.Drive.Read(ctx, q)
	return v, r.vouch(err)
}

// Scan implements erasure.Drive.
func (r *replacement) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	page, err := r.Drive.Scan(ctx, q)
	return page, r.vouch(err)
}

func (r *replacement) vouch(err error) error {
	if err == nil && !r.whole.Load() {
		return register.ErrUnknown
	}
	return err
}

// healed takes note, durably, that the drive has all that the one had that it stands for.
func (r *replacement) healed() error {
	r.place.id.Blank = false
	if err := r.place.save(); err != nil {
		r.place.id.Blank = true
		return fmt.Errorf("%s: %w", r.place.path, err)
	}
	r.whole.Store(true)
	return nil
}
