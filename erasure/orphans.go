package erasure

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// Orphans are registers that are left of uploads and buckets which are no more, and that nobody can reach: who ends
// an upload removes its parts when it is gone, and may be cut off; and a part that has missed its quorum is on a
// drive that was not asked then. A pass over everything removes them. Drives give up the contents of a part at
// once, to which an object may refer that was made of it, and of which a drive may lack the record. So the pass
// notes first what is gone, brings all drives all objects that there are, and removes then what it has noted.

// orphans are what a pass knows of them.
type orphans struct {
	of      map[*set][]parent        // which are no more
	doubted map[register.DataID]bool // contents of names that could not be healed
	many    bool                     // there are more of these than it remembers
}

// parent is what registers of a space are of: an upload, or a bucket.
type parent struct {
	space  register.Space
	number uint64
}

const (
	orphanAge  = 24 * time.Hour // of what is removed: longer than anything hangs on its way
	maxDoubted = 100_000        // contents, of 16 bytes
	// orphansName is of a record that there never is.
	orphansName = "orphans"
)

// findOrphans notes what is left in each set of uploads and buckets that are no more. Sets with a drive that does
// not answer have to wait.
func (p *healing) findOrphans(ctx context.Context) error {
	e := p.s.enter()
	defer e.leave()
	if e.table.Phase != placement.Settled {
		return nil
	}
	seen, found := make(map[*set]map[parent]bool), 0
	for _, in := range p.s.sets {
		seen[in] = make(map[parent]bool)
		for _, space := range []register.Space{register.Uploads, register.Parts} {
			if err := in.parents(ctx, space, seen[in]); err != nil {
				p.s.cfg.Logger.Info("what is left of uploads is not looked for in a set", "drive", in.first, "error", err)
				clear(seen[in])
				break
			}
		}
		found += len(seen[in])
	}
	there := &storeCatalog{s: p.s} // which is read afterwards: nobody stores parts of what has not begun
	if found == 0 {
		return nil
	}
	if err := there.readUploads(ctx, nil); err != nil {
		return err
	}
	if p.s.epoch.Load() != e {
		return errReplaced
	}
	for in, all := range seen {
		for of := range all {
			if !there.has(of) {
				p.orphans.of[in] = append(p.orphans.of[in], of)
			}
		}
	}
	return p.inForce(ctx)
}

// has reports whether there is an upload, or a bucket.
func (c *storeCatalog) has(of parent) bool {
	if of.space == register.Parts {
		return c.uploads[of.number] != nil
	}
	return c.buckets[of.number] != nil
}

// parents adds what registers of a space are of that any drive has. All of them have to answer.
func (s *set) parents(ctx context.Context, space register.Space, seen map[parent]bool) error {
	for from, more := "", true; more; {
		q := register.PendingQuery{Space: space, From: from, Limit: object.MaxListLimit, Every: true}
		replies := gather(ctx, s, nil, len(s.drives), func(ctx context.Context, d Drive) (register.ScanPage, error) {
			return inner(d).Pending(ctx, q)
		}, func(_ []reply[register.ScanPage], all bool) bool { return all })
		if succeeded(replies) < len(s.drives) {
			return fmt.Errorf("%w: %w", ErrAway, why(replies))
		}
		entries, further := s.merge(replies)
		more = further && len(entries) > 0
		for i := range entries {
			key, _, err := register.DecodeKey([]byte(entries[i].name))
			if err != nil {
				return err
			}
			seen[parent{space, key.Bucket}] = true
			if from = string(register.Key{Space: space, Bucket: key.Bucket + 1}.AppendPrefix(nil)); key.Bucket == math.MaxUint64 {
				more = false
			}
		}
	}
	return nil
}

// inForce fails unless this process has its session still: what it has read before was true by a Table in force.
func (p *healing) inForce(ctx context.Context) error {
	for in := range p.orphans.of {
		at := place{set: in, lock: systemLock(orphansName), key: register.Key{Space: register.System, Name: orphansName}}
		err := p.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
			return h.commit(ctx, in, register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: in.majority()}, commitment{})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// doubt takes note that a name could not be healed: drives may lack records of it.
func (o *orphans) doubt(e *entry) {
	for i := range e.views {
		for _, x := range e.views[i].value.Entries {
			for _, id := range x.Data {
				o.doubted[id] = true
			}
			for j := range x.Before {
				for _, id := range x.Before[j].Data {
					o.doubted[id] = true
				}
			}
		}
	}
	o.many = o.many || len(o.doubted) > maxDoubted
	if o.many {
		clear(o.doubted)
	}
}

// removeOrphans removes what was noted, where all drives were there all the time and are there still.
func (p *healing) removeOrphans(ctx context.Context) error {
	for in, all := range p.orphans.of {
		for _, of := range all {
			if p.orphans.many || p.lacks(in) {
				break
			}
			if err := p.removeOrphan(ctx, in, of); err != nil {
				return err
			}
		}
	}
	return nil
}

// lacks reports whether the pass has not found a drive of a set there.
func (p *healing) lacks(in *set) bool {
	for i := range in.drives {
		if p.done.Absent.Has(in.first + i) {
			return true
		}
	}
	return false
}

// removeOrphan removes what a set has of an upload or a bucket that is no more.
func (p *healing) removeOrphan(ctx context.Context, in *set, of parent) error {
	p.set, p.bucket = in, ""
	l := &listing{s: p.s, sets: []*set{in}, q: register.ScanQuery{Space: of.space, Bucket: of.number}}
	for from, more := "", true; more; {
		entries, further, err := p.scan(ctx, l, from, register.Token{})
		if err != nil || p.lacks(in) {
			return err
		}
		for i := range entries {
			e := &entries[i]
			from = behind(*e)
			gone := p.ending(e)
			if gone == nil {
				continue
			}
			m := &mending{p: p, e: e, pending: &register.Key{Space: of.space, Bucket: of.number, Name: e.name}, name: e.name}
			if err := m.bury(ctx, gone); err != nil {
				return err
			}
			p.add(m)
		}
		p.tell()
		more = further && len(entries) > 0
	}
	return nil
}

// ending returns the tombstone in which a register ends that is left, or nil if it is to stay for now. It is newer than all
// that drives have of it, and the same whoever makes it: nobody can have the lock of its key, and nobody else
// has got so far with a lease.
func (p *healing) ending(e *entry) *register.Record {
	var last *register.Record
	for i := range e.views {
		entries := e.views[i].value.Entries
		for j := range entries {
			if entries[j].Version != register.Null || !p.over(&entries[j].Record) {
				return nil
			}
			for k := range entries[j].Before {
				if !p.over(&entries[j].Before[k].Record) {
					return nil
				}
			}
			if last == nil || last.Changed.Less(entries[j].Changed) {
				last = &entries[j].Record
			}
		}
	}
	if last == nil {
		return nil
	}
	changed := register.Token{Lease: last.Changed.Lease, Minor: math.MaxUint32}
	return &register.Record{Version: register.Null, Kind: register.Tombstone, Made: last.Made, Changed: changed, Quorum: e.set.majority()}
}

// over reports whether a state may go: it has been there for long, and no object refers to its contents that a drive may lack.
func (p *healing) over(r *register.Record) bool {
	if r.Kind == register.Tombstone {
		return true
	}
	for _, id := range r.Data {
		if p.orphans.doubted[id] {
			return false
		}
	}
	v, err := decodeValue(r.Value)
	if err != nil {
		return false
	}
	since := v.info.Modified
	if since.Before(v.upload.Initiated) {
		since = v.upload.Initiated
	}
	return p.s.cfg.Now().Sub(since) >= orphanAge
}
