package erasure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/object"
)

// Healed is what a pass over the drives has found and done.
type Healed struct {
	Names   int64    // looked at
	Records int64    // brought to drives that had missed them
	Shards  int64    // made anew
	Bytes   int64    // of those
	Damaged int64    // shards that were there and not whole
	Failed  int64    // names that could not be healed, and will be tried again
	Pending int64    // states that are not on every drive yet, of those that were looked at
	Absent  Slots    // drives that were not there at some time: they may lack what others have
	Mended  []Mended // the first objects that were healed
	Left    []Left   // the first names that were not
}

// maxNames is how many names of each kind a pass tells.
const maxNames = 100

// Mended is an object that was healed.
type Mended struct {
	Bucket, Key string
	Bytes       int64 // of its contents that shards were made of
	Drives      int   // that lacked something of it
}

// Left is a name that could not be healed, as things were.
type Left struct {
	Bucket string // empty: it is the server's own
	Name   string
	Reason string
}

// maxReason is the length, in bytes, of a reason that is told.
const maxReason = 300

// Slots are some of the drives of all sets, by their places: a bit for each.
type Slots [MaxDrives / 64]uint64

// Has reports whether the drive of a place is among them.
func (s *Slots) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s *Slots) add(i int) { s[i/64] |= 1 << (i % 64) }

// Add adds others.
func (s *Slots) Add(others *Slots) {
	for i := range s {
		s[i] |= others[i]
	}
}

// Count returns how many there are.
func (s *Slots) Count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// wrapped is implemented by a Drive that does not vouch for what it lacks, since it is new:
// Inner does what it is asked all the same.
type wrapped interface{ Inner() Drive }

// inner returns the drive to heal.
func inner(d Drive) Drive {
	if w, ok := d.(wrapped); ok {
		return w.Inner()
	}
	return d
}

// Heal goes through everything that is kept once, and brings each drive what it lacks:
// records that it has missed, and shards, made anew from those of others. seen, if not nil,
// hears of it now and then. What cannot be healed now is counted and left.
func (s *Store) Heal(ctx context.Context, seen func(Healed)) (Healed, error) {
	return s.heal(ctx, &healing{s: s, seen: seen})
}

// Scrub is Heal, and reads every shard to see whether it is whole: no more than rate bytes
// a second.
func (s *Store) Scrub(ctx context.Context, rate int64, seen func(Healed)) (Healed, error) {
	return s.heal(ctx, &healing{s: s, seen: seen, rate: rate})
}

// HealBucket is Heal, or Scrub if rate is not 0, of the objects and uploads of one bucket
// whose keys begin with prefix.
func (s *Store) HealBucket(ctx context.Context, bucket, prefix string, rate int64, seen func(Healed)) (Healed, error) {
	p := &healing{s: s, seen: seen, rate: rate, told: s.cfg.Now()}
	b, err := s.bucket(ctx, "heal", bucket)
	if err != nil {
		return p.done, err
	}
	return p.done, p.inside(ctx, b, prefix)
}

func (s *Store) heal(ctx context.Context, p *healing) (Healed, error) {
	p.told = s.cfg.Now()
	buckets, err := s.healBuckets(ctx, p)
	if err != nil {
		return p.done, err
	}
	for _, b := range buckets {
		if err := p.inside(ctx, b, ""); err != nil {
			return p.done, err
		}
	}
	return p.done, nil
}

// healing is one pass.
type healing struct {
	s    *Store
	set  *set // that is being looked at
	done Healed
	told time.Time
	seen func(Healed)
	log  bool  // only what is pending is looked at
	rate int64 // in bytes a second, at which shards are read; 0: they are not

	agreed []agreement // of set: what its drives have to be told

	bucket string   // that is being looked at
	now    struct { // the name that is
		name   string
		bytes  int64 // of its contents that shards were made of
		lacked Slots
	}
}

// agreement is a state that drives hold and do not know to be committed, or everywhere.
type agreement struct {
	register.Decision
	tombstone bool
}

// tellEvery is how often somebody hears of a pass.
const tellEvery = 5 * time.Second

// healBuckets heals what the server keeps and the records of buckets, and returns these.
func (s *Store) healBuckets(ctx context.Context, p *healing) ([]*bucket, error) {
	if err := p.space(ctx, s.system("")); err != nil {
		return nil, err
	}
	l := s.buckets()
	l.sets = s.sets
	if err := p.space(ctx, l); err != nil {
		return nil, err
	}
	return s.everyBucket(ctx)
}

// inside heals what is in a bucket, of keys that begin with prefix.
func (p *healing) inside(ctx context.Context, b *bucket, prefix string) error {
	p.bucket = b.Record.Name
	if err := p.space(ctx, p.s.listing(b, b.Record.Name, prefix, "", object.MaxListLimit)); err != nil {
		return err
	}
	return p.uploads(ctx, b, prefix)
}

func (p *healing) uploads(ctx context.Context, b *bucket, prefix string) error {
	l := p.s.uploads(b, b.Record.Name, prefix)
	if err := p.space(ctx, l); err != nil {
		return err
	}
	return l.each(ctx, func(name string, _ *register.Record) (bool, error) {
		key, id := splitUpload(name)
		number, ok := uploadNumber(id)
		if !ok {
			return true, nil
		}
		ref := object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id}
		for _, set := range l.sets {
			if p.s.homed(p.s.epoch.Load(), set, key) {
				if err := p.space(ctx, p.s.partsOf(set, ref, number)); err != nil {
					return false, err
				}
			}
		}
		return true, nil
	})
}

// space heals all names of a listing, in each of its sets.
func (p *healing) space(ctx context.Context, l *listing) error {
	for _, s := range l.sets {
		p.set = s
		if err := p.names(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// names heals those of a listing that one set has.
func (p *healing) names(ctx context.Context, l *listing) error {
	for from, below, more := "", (register.Token{}), true; more; {
		entries, further, err := p.scan(ctx, l, from, below)
		if err != nil {
			return err
		}
		more = further && len(entries) > 0
		for i := range entries {
			e := &entries[i]
			cut, err := p.name(ctx, l, e)
			if err != nil {
				return err
			}
			from, below = behind(*e), register.Token{}
			if !cut.IsZero() { // it has more versions
				from, below, more = e.name, cut, true
				break
			}
		}
		p.tell()
	}
	return nil
}

// tell tells drives what was agreed on.
func (p *healing) tell() {
	var all, gone []register.Decision
	for _, a := range p.agreed {
		all = append(all, a.Decision)
		if a.tombstone && a.Everywhere {
			gone = append(gone, forgotten(a.Decision))
		}
	}
	p.agreed = p.agreed[:0]
	heard := func(what []register.Decision) bool {
		return len(what) == 0 || p.s.decider.all(p.set, func(ctx context.Context, d Drive) error { return d.Decide(ctx, what) })
	}
	if !heard(all) || !heard(gone) {
		p.done.Pending += int64(len(all))
	}
}

// scan reads a page from every drive that answers, also from those that are new.
func (p *healing) scan(ctx context.Context, l *listing, from string, below register.Token) ([]entry, bool, error) {
	q := l.q
	q.From, q.Below, q.Limit, q.Versions = from, below, object.MaxListLimit, true
	l.by = p.s.epoch.Load()
	return p.pages(ctx, func(ctx context.Context, d Drive) (register.ScanPage, error) { return d.Scan(ctx, q) })
}

// pages reads a page from every drive that answers, also from those that are new, and puts them
// side by side.
func (p *healing) pages(ctx context.Context, read func(ctx context.Context, d Drive) (register.ScanPage, error)) ([]entry, bool, error) {
	n := len(p.set.drives)
	replies := gather(ctx, p.set, n, func(ctx context.Context, d Drive) (register.ScanPage, error) {
		return read(ctx, inner(d))
	}, func(replies []reply[register.ScanPage], _ bool) bool { return len(replies) == n })
	heard := make([]bool, n)
	for i := range replies {
		heard[replies[i].drive] = replies[i].err == nil
	}
	for i := range heard {
		if !heard[i] {
			p.done.Absent.add(p.set.first + i)
		}
	}
	for i := range replies {
		if errors.Is(replies[i].err, register.ErrNoLog) {
			return nil, false, fmt.Errorf("erasure: drive %d: %w", p.set.first+replies[i].drive, replies[i].err)
		}
	}
	if succeeded(replies) < register.ReadQuorum(n) {
		return nil, false, object.E("heal", "", object.Unavailable, errors.Join(errFew, why(replies)))
	}
	entries, more := p.set.merge(replies)
	return entries, more, context.Cause(ctx)
}

// name heals the versions of a name that all drives have listed, if they differ. cut is
// where the next ones begin, if there may be more.
func (p *healing) name(ctx context.Context, l *listing, e *entry) (cut register.Token, err error) {
	p.now.name, p.now.bytes, p.now.lacked = e.name, 0, Slots{}
	made, cut := e.versions()
	p.done.Names++
	before := p.done.Pending
	if err := p.differing(ctx, l, e, made); err != nil {
		if ctx.Err() != nil {
			return cut, context.Cause(ctx)
		}
		p.done.Pending = max(p.done.Pending, before+1)
		p.leave("not healed", err)
	}
	if p.rate > 0 {
		if err := p.scrub(ctx, e); err != nil {
			return cut, err
		}
	}
	if l.q.Space == register.Objects && p.now.lacked.Count() > 0 && len(p.done.Mended) < maxNames {
		p.done.Mended = append(p.done.Mended, Mended{Bucket: p.bucket, Key: e.name, Bytes: p.now.bytes, Drives: p.now.lacked.Count()})
	}
	if now := p.s.cfg.Now(); p.seen != nil && now.Sub(p.told) > tellEvery {
		p.told = now
		p.seen(p.done)
	}
	return cut, nil
}

// differing heals the versions of a name if drives differ in one of them.
func (p *healing) differing(ctx context.Context, l *listing, e *entry, made map[string]register.Token) error {
	at, alike := l.place(e.set, e.name), make([]common, 0, len(made))
	for version := range made {
		c := e.common(version)
		if c.record == nil {
			return p.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
				for _, version := range slices.Sorted(maps.Keys(made)) {
					if err := p.version(ctx, h, sought{version, made[version], e.changed(version)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		alike = append(alike, c)
	}
	for i := range alike {
		p.same(at.key, &alike[i], len(e.views))
	}
	return nil
}

// same takes note that so many drives hold the same of a register.
func (p *healing) same(key register.Key, c *common, holders int) {
	everywhere, tombstone := holders == len(p.set.drives), c.record.Kind == register.Tombstone
	if c.committed && (everywhere && (p.log || tombstone) || !c.decided) {
		p.agreed = append(p.agreed, agreement{decision(key, c.record, everywhere), tombstone})
	}
	if !everywhere {
		p.done.Pending++
	}
}

// leave takes note that something of the name could not be healed.
func (p *healing) leave(msg string, err error, args ...any) {
	p.done.Failed++
	p.s.counts.failed.Add(1)
	p.s.cfg.Logger.Warn(msg, append(args, "bucket", p.bucket, "name", p.now.name, "error", err)...)
	if len(p.done.Left) < maxNames {
		reason := err.Error()
		p.done.Left = append(p.done.Left, Left{Bucket: p.bucket, Name: p.now.name, Reason: reason[:min(len(reason), maxReason)]})
	}
}

// versions returns the registers that any drive lists, and where the shortest list ends.
func (e *entry) versions() (made map[string]register.Token, cut register.Token) {
	made = make(map[string]register.Token)
	for i := range e.views {
		v := &e.views[i].value
		for j := range v.Entries {
			if have, ok := made[v.Entries[j].Version]; !ok || have.Less(v.Entries[j].Made) {
				made[v.Entries[j].Version] = v.Entries[j].Made
			}
		}
		if n := len(v.Entries); v.More && n > 0 && cut.Less(v.Entries[n-1].Made) {
			cut = v.Entries[n-1].Made
		}
	}
	maps.DeleteFunc(made, func(_ string, m register.Token) bool { return m.Less(cut) })
	return made, cut
}

// changed returns the newest state of a register that any drive lists.
func (e *entry) changed(version string) (last register.Token) {
	for i := range e.views {
		for _, x := range e.views[i].value.Entries {
			if x.Version == version && last.Less(x.Changed) {
				last = x.Changed
			}
		}
	}
	return last
}

// common is what all drives that answered hold of a register, with its shards.
type common struct {
	record    *register.Record // nil: they differ
	decided   bool             // all of them know that it is committed
	committed bool             // one of them knows, or so many hold it
}

func (e *entry) common(version string) common {
	c := common{decided: true}
	for i := range e.views {
		listed := e.views[i].value.Entries
		j := slices.IndexFunc(listed, func(x register.Entry) bool { return x.Version == version })
		if j < 0 {
			return common{}
		}
		x := &listed[j]
		if c.record == nil {
			c.record = &x.Record
		}
		if x.Changed != c.record.Changed || !x.Shard && len(x.Data) > 0 {
			return common{}
		}
		c.decided = c.decided && x.Decided
		c.committed = c.committed || x.Decided || len(e.views) >= x.Quorum
	}
	return c
}

// version heals one register, under the lock of its key.
func (p *healing) version(ctx context.Context, h *hold, what sought) error {
	j, replies := asking{s: h.set, token: h.token}.judge(ctx, h.key, what, true)
	for try := 1; (j.Verdict == register.Forward || j.Verdict == register.Back) && try < maxSettled; try++ {
		if err := h.settle(ctx, h.set, what); err != nil {
			return err
		}
		// What it has made an end of may be forgotten just now, by one drive before another.
		j, replies = asking{s: h.set, token: h.token}.judge(ctx, h.key, what, true)
	}
	switch j.Verdict {
	case register.Absent:
		return nil
	case register.Committed:
	case register.AskMore, register.Forward, register.Back, register.Unreadable:
		return asking{s: h.set, token: h.token}.failure(replies)
	}
	var errs []error
	reached := 0
	for i, d := range h.set.drives {
		switch err := p.drive(ctx, h, &j.Record, i, inner(d)); {
		case err == nil:
			reached++
		case errors.Is(err, register.ErrUnknown): // it is not there
			p.done.Absent.add(p.set.first + i)
		default:
			errs = append(errs, fmt.Errorf("drive %d: %w", i, err))
		}
	}
	if reached == len(h.set.drives) {
		p.agreed = append(p.agreed, agreement{decision(h.key, &j.Record, true), j.Record.Kind == register.Tombstone})
	} else {
		p.done.Pending++
	}
	return errors.Join(errs...)
}

// errNewer says that a drive has something newer than what is to be brought to it.
var errNewer = errors.New("erasure: the drive has a newer state")

// drive brings a drive the record, and the shards of what it refers to.
func (p *healing) drive(ctx context.Context, h *hold, r *register.Record, i int, d Drive) error {
	view, err := d.Read(ctx, register.Query{Key: h.key, Version: r.Version, Made: r.Made})
	if err != nil {
		return err
	}
	var has *register.Entry
	if len(view.Entries) > 0 {
		has = &view.Entries[0]
	}
	if has != nil && r.Changed.Less(has.Changed) {
		return errNewer
	}
	if has != nil && has.Changed == r.Changed && has.Decided && (has.Shard || len(r.Data) == 0) {
		return nil
	}
	if has == nil || has.Changed != r.Changed || !has.Decided {
		changed, err := d.Install(ctx, h.key, *r, h.token)
		if err != nil {
			return err
		}
		if changed {
			p.done.Records++
			p.now.lacked.add(p.set.first + i)
			p.s.counts.records.Add(1)
		}
	}
	if len(r.Data) == 0 {
		return nil
	}
	if err := p.shards(ctx, r, i, d); err != nil {
		return err
	}
	_, err = d.Install(ctx, h.key, *r, h.token) // it finds that the shards are there
	return err
}

// shards makes the shards of a record that a drive lacks.
func (p *healing) shards(ctx context.Context, r *register.Record, i int, d Drive) error {
	v, err := decodeValue(r.Value)
	if err != nil {
		return err
	}
	for _, c := range v.contents {
		if _, err := d.ReadShard(ctx, c.id, 0, make([]byte, 1)); err == nil {
			continue
		}
		if err := p.rebuild(ctx, v, c, i, d); err != nil {
			return err
		}
	}
	return nil
}

// number returns which shard a drive has.
func (p *healing) number(v *value, drive int) int {
	n := len(p.set.drives)
	return (drive - v.start + n) % n
}

// rebuild makes the shard of a content on a drive.
func (p *healing) rebuild(ctx context.Context, v *value, c content, i int, d Drive) error {
	codec, err := p.s.codec(v.geometry)
	if err != nil {
		return err
	}
	w, err := d.Create(ctx, c.id)
	if err != nil {
		return err
	}
	expect(w, codec.Size(c.size))
	source := (&handle{s: p.s, set: p.set, ctx: ctx, codec: codec, v: v}).source(c.id)
	if err := codec.Rebuild(shard.ID(c.id), c.size, p.number(v, i), source, w); err != nil {
		w.Abort()
		return err
	}
	if err := w.Finish(); err != nil {
		return err
	}
	made := codec.Size(c.size)
	p.done.Shards++
	p.done.Bytes += made
	p.now.bytes += c.size
	p.now.lacked.add(p.set.first + i)
	p.s.counts.shards.Add(1)
	p.s.counts.bytes.Add(made)
	return nil
}

// scrub reads the shards of a name's versions on every drive that says that it has them,
// and makes those anew that are not whole.
func (p *healing) scrub(ctx context.Context, e *entry) error {
	for i := range e.views {
		reply := &e.views[i]
		for j := range reply.value.Entries {
			x := &reply.value.Entries[j]
			if !x.Shard || len(x.Data) == 0 {
				continue
			}
			if err := p.scrubOne(ctx, &x.Record, reply.drive); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *healing) scrubOne(ctx context.Context, r *register.Record, i int) error {
	v, err := decodeValue(r.Value)
	if err != nil {
		return err
	}
	codec, err := p.s.codec(v.geometry)
	if err != nil {
		return err
	}
	d := inner(p.set.drives[i])
	for _, c := range v.contents {
		if err := p.pace(ctx, codec.Size(c.size)); err != nil {
			return err
		}
		source := (&handle{s: p.s, set: p.set, ctx: ctx, codec: codec, v: v}).source(c.id)
		damage := codec.Verify(shard.ID(c.id), c.size, p.number(v, i), source)
		if damage == nil {
			continue
		}
		p.done.Damaged++
		p.s.counts.damagedScrub.Add(1)
		p.s.cfg.Logger.Warn("a shard is not whole, and made anew", "drive", p.set.first+i, "content", fmt.Sprintf("%x", c.id), "error", damage)
		if err := p.rebuild(ctx, v, c, i, d); err != nil {
			p.leave("a shard is not made anew", err, "drive", p.set.first+i, "content", fmt.Sprintf("%x", c.id))
		}
	}
	return nil
}

// pace waits for as long as so many bytes may take.
func (p *healing) pace(ctx context.Context, n int64) error {
	timer := time.NewTimer(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
