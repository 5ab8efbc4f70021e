package erasure

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// ErrAway says that a drive is not there of a set that partitions are to go to.
var ErrAway = errors.New("erasure: a drive of a set that objects are to go to is away")

// errReplaced says that keys are not placed any more by the Table that something is done for.
var errReplaced = errors.New("erasure: another placement is in force")

// Clear makes sure that no set has anything of the partitions that come to it by a Table, which
// is the one after that in force and not in force anywhere yet. A write that missed its quorum, or
// came late, may have left a state there when they were there before; it would come back with them,
// whatever has become of the key meanwhile. It fails with ErrAway while a drive is not
// there: nobody knows what that one holds. Everybody acts by the Table in force. seen, if not nil, hears how many
// names were looked at, now and then.
func (s *Store) Clear(ctx context.Context, next *placement.Table, seen func(looked int64)) error {
	e := s.enter() // the next Table comes into force when this is over
	defer e.leave()
	if e.table.Phase != placement.Settled || next.Epoch != e.table.Epoch+1 {
		return fail("clear", "", errReplaced)
	}
	buckets, err := s.everyBucket(ctx)
	c := &clearing{p: s.newHealing(nil), by: e, next: next, seen: seen}
	for i := range next.Destinations() {
		c.p.set = s.by[i]
		if err == nil {
			err = c.since(ctx)
		}
		for _, l := range s.commons() {
			if err == nil {
				err = c.names(ctx, l, func(string) error { return nil })
			}
		}
		for _, b := range buckets {
			if err == nil {
				err = c.bucket(ctx, b)
			}
		}
	}
	return fail("clear", "", err)
}

// clearing is one such pass.
type clearing struct {
	p    *healing // by which all drives of a set are read
	by   *epoch
	next *placement.Table

	looked int64 // names
	seen   func(looked int64)
}

// since has all drives of the set refuse what was placed before: a commit that hangs on its way
// from when keys were there that come now.
func (c *clearing) since(ctx context.Context) error {
	replies := gather(ctx, c.p.set, nil, len(c.p.set.drives), func(ctx context.Context, d Drive) (struct{}, error) {
		return struct{}{}, inner(d).Since(ctx, c.by.table.Epoch)
	}, func(_ []reply[struct{}], all bool) bool { return all })
	if succeeded(replies) < len(c.p.set.drives) {
		return fmt.Errorf("%w: %w", ErrAway, why(replies))
	}
	return nil
}

// bucket clears what the set has of a bucket, and of its uploads.
func (c *clearing) bucket(ctx context.Context, b *bucket) error {
	l := c.p.s.listing(b, b.Record.Name, "", "", object.MaxListLimit)
	if err := c.names(ctx, l, func(string) error { return nil }); err != nil {
		return err
	}
	return c.names(ctx, c.p.s.uploads(b, b.Record.Name, ""), func(name string) error {
		key, id := splitUpload(name)
		return c.p.s.dropParts(ctx, c.by.table.Epoch, c.p.set, object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id})
	})
}

// names clears the names of a listing that come to the set, and calls cleared for each of which
// something was there.
func (c *clearing) names(ctx context.Context, l *listing, cleared func(name string) error) error {
	for from, below, more := "", (register.Token{}), true; more; {
		entries, further, err := c.p.scan(ctx, l, from, below)
		switch {
		case err != nil:
			return err
		case c.p.done.Absent.Count() > 0:
			return ErrAway
		case c.p.s.epoch.Load() != c.by:
			return errReplaced
		}
		if c.looked += int64(len(entries)); c.seen != nil && len(entries) > 0 {
			c.seen(c.looked)
		}
		more = further && len(entries) > 0
		for i := range entries {
			e := &entries[i]
			made, cut := e.versions()
			if c.comes(l.partition(e.name)) {
				found, err := c.name(ctx, l, e, made)
				if err == nil && found {
					err = cleared(e.name)
				}
				if err != nil {
					return fmt.Errorf("clear %q: %w", e.name, err)
				}
			}
			from, below = behind(*e), register.Token{}
			if !cut.IsZero() { // it has more versions
				from, below, more = e.name, cut, true
				break
			}
		}
	}
	return nil
}

// comes reports whether a partition comes to the set, or what is Common.
func (c *clearing) comes(p int) bool {
	from, home := c.next.At(p)
	return from != home && c.p.s.by[home] == c.p.set
}

// name commits that there are no registers any more of those that drives have listed, and reports
// whether there were any. All drives have answered.
func (c *clearing) name(ctx context.Context, l *listing, e *entry, made map[string]register.Token) (found bool, err error) {
	var left []register.Record
	for version, at := range made {
		j := register.Judge(views(len(e.set.drives), e.views, version), true)
		if j.Verdict != register.Committed || j.Record.Kind != register.Tombstone {
			left = append(left, register.Record{Version: version, Kind: register.Tombstone, Made: at, Quorum: e.set.majority()})
		}
	}
	if len(left) == 0 {
		return false, nil
	}
	return true, c.p.s.holding(ctx, l.place(e.set, e.name), func(ctx context.Context, h *hold) error {
		for _, gone := range left {
			if err := h.commit(ctx, e.set, gone, commitment{settles: true}); err != nil {
				return err
			}
		}
		return nil
	})
}
