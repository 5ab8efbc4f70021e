package erasure

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// HealMissed brings drives what they have missed: it looks only at registers of which some drive
// does not know that all of them have the same, so that it costs as much as was missed, and not
// as there is. It fails with register.ErrNoLog if a drive cannot tell which these are. A drive
// that is new lacks more, and takes Heal.
func (s *Store) HealMissed(ctx context.Context, seen func(Healed)) (Healed, error) {
	p := s.newHealing(seen)
	p.log = true
	for _, set := range s.sets {
		if err := p.passing(ctx, set, p.pending(ctx, set, 0, func(by *epoch) catalog { return &storeCatalog{s: s, by: by} })); err != nil {
			return p.done, err
		}
	}
	return p.done, p.left
}

// catalog says which listings have the names of registers that are pending.
type catalog interface {
	// listing returns the one that has a key, and which bucket that is in; nil if there is none
	// any more, or it is not to be looked at.
	listing(ctx context.Context, in *set, key register.Key) (l *listing, bucket string, err error)
}

// pending heals the registers of a space, or of all, that drives of a set have pending.
// catalogs returns a catalog that is true of what was read of the set before, since an epoch.
func (p *healing) pending(ctx context.Context, set *set, space register.Space, catalogs func(since *epoch) catalog) error {
	p.set = set
	for from, more := "", true; more; {
		by := p.s.epoch.Load()
		entries, further, err := p.pages(ctx, func(ctx context.Context, d Drive) (register.ScanPage, error) {
			return d.Pending(ctx, register.PendingQuery{Space: space, From: from, Limit: object.MaxListLimit})
		})
		if err != nil {
			return err
		}
		if more = further && len(entries) > 0; more {
			from = entries[len(entries)-1].name + "\x00"
		}
		slices.SortStableFunc(entries, riskier)
		page, err := p.found(ctx, catalogs(by), entries, by)
		if err == nil {
			err = p.mend(ctx, page)
		}
		if err != nil {
			return err
		}
		p.tell()
	}
	return nil
}

// riskier sorts what fewer drives have before what more have, and the newer before the older.
func riskier(a, b entry) int {
	holders := func(e *entry) (n int, last register.Token) {
		for i := range e.views {
			for _, x := range e.views[i].value.Entries {
				n++
				if last.Less(x.Changed) {
					last = x.Changed
				}
			}
		}
		return n, last
	}
	n, last := holders(&a)
	m, latest := holders(&b)
	return cmp.Or(cmp.Compare(n, m), latest.Compare(last))
}

// found returns what is to be healed of registers that some drive has listed as pending, and that
// were read in an epoch.
func (p *healing) found(ctx context.Context, c catalog, entries []entry, by *epoch) (page []*mending, err error) {
	for i := range entries {
		e := &entries[i]
		key, _, err := register.DecodeKey([]byte(e.name))
		if err != nil {
			return nil, err
		}
		m := &mending{p: p, e: e, name: key.Name, pending: &key}
		if m.l, m.bucket, err = c.listing(ctx, e.set, key); err != nil {
			return nil, err
		}
		if m.l != nil {
			m.l.by = by
		}
		page = append(page, m)
	}
	return page, nil
}

// ask asks drives that did not list the register what they hold of it.
func (m *mending) ask(ctx context.Context) {
	made, _ := m.e.versions()
	for i := range m.e.views {
		v := &m.e.views[i]
		for version, at := range made {
			if len(v.value.Entries) > 0 {
				break
			}
			q := register.Query{Key: *m.pending, Version: version, Made: at}
			if view, err := inner(m.e.set.drives[v.drive]).Read(ctx, q); err == nil {
				v.value = view
			}
		}
	}
}

// leftover heals a register of what is no more: a bucket, or an upload. Nobody can have the
// lock of its key, and nothing of it is shown; but it is pending until no drive has it. What is
// no tombstone there is left: it counts for nothing.
func (m *mending) leftover(ctx context.Context) error {
	var gone *register.Record
	for i := range m.e.views {
		for j := range m.e.views[i].value.Entries {
			if x := &m.e.views[i].value.Entries[j]; x.Decided && x.Kind == register.Tombstone && (gone == nil || gone.Changed.Less(x.Changed)) {
				gone = &x.Record
			}
		}
	}
	if gone == nil {
		return nil
	}
	return m.bury(ctx, gone)
}

// bury brings all drives the tombstone of a register of what is no more.
func (m *mending) bury(ctx context.Context, gone *register.Record) error {
	if err := m.p.pace.wait(ctx, forever); err != nil {
		return err
	}
	m.done.Names++
	reached := 0
	for i, d := range m.e.set.drives {
		// It is taken only where it is newer than all that the drive had of the register.
		switch changed, err := inner(d).Install(ctx, *m.pending, *gone, register.Token{}); {
		case err == nil:
			reached++
			if changed {
				m.done.Records++
				m.p.pace.spend(recordCost)
				m.p.s.counts.records.Add(1)
			}
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, register.ErrUnknown):
			m.done.Absent.add(m.e.set.first + i)
		}
	}
	if reached < len(m.e.set.drives) {
		m.done.Pending++
		return nil
	}
	m.agreed = append(m.agreed, agreement{decision(*m.pending, gone, true), true})
	return nil
}

// storeCatalog is the catalog of what a Store keeps, as it is when it is asked first.
type storeCatalog struct {
	s       *Store
	by      *epoch                       // in which what it is asked of was read, in one set; nil: in several
	buckets map[uint64]*bucket           // by ID; nil: they are not read yet
	uploads map[uint64]*object.UploadRef // by number; nil: the same
}

// listing implements catalog.
func (c *storeCatalog) listing(ctx context.Context, in *set, key register.Key) (*listing, string, error) {
	switch key.Space {
	case register.System:
		return c.s.system(""), "", nil
	case register.Buckets:
		return c.s.buckets(), "", nil
	case register.Objects, register.Uploads:
		if err := c.readBuckets(ctx); err != nil {
			return nil, "", err
		}
		b := c.buckets[key.Bucket]
		switch {
		case b == nil:
			return nil, "", nil
		case key.Space == register.Uploads:
			return c.s.uploads(b, b.Record.Name, ""), b.Record.Name, nil
		}
		return c.s.listing(b, b.Record.Name, "", "", object.MaxListLimit), b.Record.Name, nil
	case register.Parts:
		if err := c.readUploads(ctx, in); err != nil {
			return nil, "", err
		}
		if ref := c.uploads[key.Bucket]; ref != nil {
			return c.s.partsOf(in, *ref, key.Bucket), ref.Bucket, nil
		}
	case register.Fleet: // the Ledger's
	}
	return nil, "", nil
}

func (c *storeCatalog) readBuckets(ctx context.Context) error {
	if c.buckets != nil {
		return nil
	}
	all := make(map[uint64]*bucket)
	err := c.s.buckets().each(ctx, func(_ string, r *register.Record) (bool, error) {
		b, err := decodeBucket(r)
		if err == nil {
			all[b.ID] = b
		}
		return err == nil, err
	})
	if err == nil {
		c.buckets = all
	}
	return err
}

// readUploads reads the uploads whose parts a set may have, of all if it is nil. Where nothing moves these are in
// the same one, and others may be away.
func (c *storeCatalog) readUploads(ctx context.Context, in *set) error {
	if c.uploads != nil {
		return nil
	}
	if err := c.readBuckets(ctx); err != nil {
		return err
	}
	sets, settled := c.s.sets, in != nil && c.by != nil && c.by.table.Phase == placement.Settled
	if settled {
		sets = []*set{in}
	}
	all := make(map[uint64]*object.UploadRef)
	for _, b := range c.buckets {
		l := c.s.uploads(b, b.Record.Name, "")
		l.sets = sets
		err := l.each(ctx, func(name string, _ *register.Record) (bool, error) {
			key, id := splitUpload(name)
			if number, ok := uploadNumber(id); ok {
				all[number] = &object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if settled && c.s.epoch.Load() != c.by {
		return c.readUploads(ctx, nil)
	}
	c.uploads = all
	return nil
}
