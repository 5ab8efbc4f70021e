package format

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
)

// Opened is a drive that can be used. One that stands for another drive takes what it is
// given, and does not vouch for what it lacks before Healed was called. One that is lost
// fails with register.ErrUnknown.
type Opened struct {
	*drive.Drive
	store *drive.Pebble
	local *Local
	place *place
	id    string
	whole atomic.Bool
	lost  atomic.Bool

	closing sync.Once
	closed  error
}

// Lost reports whether the drive was given back since it failed, or is not where it was.
func (o *Opened) Lost() bool { return o.lost.Load() }

// Close implements erasure.Drive. It can be called twice.
func (o *Opened) Close() error {
	o.closing.Do(func() { o.closed = o.Drive.Close() })
	return o.closed
}

// Inner returns the drive as it is.
func (o *Opened) Inner() erasure.Drive { return o.Drive }

// Promise implements erasure.Drive.
func (o *Opened) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	v, err := o.Drive.Promise(ctx, t, q)
	return v, o.vouch(err)
}

// Read implements erasure.Drive.
func (o *Opened) Read(ctx context.Context, q register.Query) (register.View, error) {
	v, err := o.Drive.Read(ctx, q)
	return v, o.vouch(err)
}

// Scan implements erasure.Drive.
func (o *Opened) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	page, err := o.Drive.Scan(ctx, q)
	return page, o.vouch(err)
}

func (o *Opened) vouch(err error) error {
	if err == nil && !o.whole.Load() {
		return register.ErrUnknown
	}
	return err
}

// Healed takes note, durably, that the drive has all that the one had that it stands for.
func (o *Opened) Healed() error {
	if o.whole.Load() {
		return nil
	}
	o.local.mu.Lock()
	defer o.local.mu.Unlock()
	if o.place.drive != o {
		return register.ErrUnknown
	}
	o.place.id.Blank = false
	if err := o.place.save(); err != nil {
		o.place.id.Blank = true
		return fmt.Errorf("%s: %w", o.place.path, err)
	}
	o.whole.Store(true)
	return nil
}
