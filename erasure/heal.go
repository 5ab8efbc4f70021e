package erasure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-storage/shoal/erasure/register"
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
	Lacking Slots    // drives of sets of which something was left: they may lack that
	Mended  []Mended // the first objects that were healed
	Left    []Left   // the first names that were not
	At      Position // how far a pass over everything has come
}

// Position is a place in the objects of all buckets, in the order in which a pass goes through them.
type Position struct {
	Bucket string `json:"bucket"`
	Set    int    `json:"set"`   // by the place of its first drive
	Name   string `json:"name"`  // the first one that was not looked at
	Names  int64  `json:"names"` // that were
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

// add adds what was done for other names, of which those are told for whom there is room.
func (h *Healed) add(other *Healed) {
	h.Names += other.Names
	h.Records += other.Records
	h.Shards += other.Shards
	h.Bytes += other.Bytes
	h.Damaged += other.Damaged
	h.Failed += other.Failed
	h.Pending += other.Pending
	h.Absent.Add(&other.Absent)
	h.Lacking.Add(&other.Lacking)
	h.Mended = append(h.Mended, other.Mended[:min(len(other.Mended), maxNames-len(h.Mended))]...)
	h.Left = append(h.Left, other.Left[:min(len(other.Left), maxNames-len(h.Left))]...)
}

// maxReason is the length, in bytes, of a reason that is told.
const maxReason = 300

// Slots are some of the drives of all sets, by their places: a bit for each.
type Slots [MaxDrives / 64]uint64

// Has reports whether the drive of a place is among them.
func (s *Slots) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s *Slots) add(i int) { s[i/64] |= 1 << (i % 64) }

// addSet adds the drives of a set.
func (s *Slots) addSet(of *set) {
	for i := range of.drives {
		s.add(of.first + i)
	}
}

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

// ErrSetAway says that too few drives of a set were there to look it through. Others were.
var ErrSetAway = errors.New("erasure: a set of drives is away")

// Heal goes through everything that is kept once, and brings each drive what it lacks:
// records that it has missed, and shards, made anew from those of others. seen, if not nil,
// hears of it now and then. What cannot be healed now is counted and left, and so are sets of which too few drives are
// there: then it fails with ErrSetAway.
func (s *Store) Heal(ctx context.Context, seen func(Healed)) (Healed, error) {
	return s.newHealing(seen).everything(ctx)
}

// Scrub is Heal, and reads every shard to see whether it is whole: no more than rate bytes
// a second.
func (s *Store) Scrub(ctx context.Context, rate int64, seen func(Healed)) (Healed, error) {
	return s.ScrubFrom(ctx, Position{}, rate, seen)
}

// ScrubFrom is Scrub that goes on where another one was. What was in front of that it leaves out, but for what the
// server keeps.
func (s *Store) ScrubFrom(ctx context.Context, at Position, rate int64, seen func(Healed)) (Healed, error) {
	p := s.newHealing(seen)
	p.rate, p.begin, p.done.At, p.done.Names = rate, at, at, at.Names
	return p.everything(ctx)
}

// HealBucket is Heal, or Scrub if rate is not 0, of the objects and uploads of one bucket
// whose keys begin with prefix.
func (s *Store) HealBucket(ctx context.Context, bucket, prefix string, rate int64, seen func(Healed)) (Healed, error) {
	p := s.newHealing(seen)
	p.rate = rate
	b, err := s.bucket(ctx, "heal", bucket)
	if err == nil {
		err = p.inside(ctx, b, prefix)
	}
	return p.done, cmp.Or(err, p.left)
}

// Repair is Scrub of one object, of which a reader has found something damaged: at once, whatever
// the rate of healing is.
func (s *Store) Repair(ctx context.Context, ref object.Ref, rate int64) (Healed, error) {
	p := s.newHealing(nil)
	p.rate, p.only, p.pace = rate, ref.Key, newPacer(s.cfg.Now)
	b, err := s.bucket(ctx, "heal", ref.Bucket)
	if err == nil {
		p.bucket = b.Record.Name
		err = p.space(ctx, s.listing(b, b.Record.Name, ref.Key, "", object.MaxListLimit))
	}
	return p.done, cmp.Or(err, p.left)
}

// everything heals all there is, and removes what is left of uploads that are no more.
func (p *healing) everything(ctx context.Context) (Healed, error) {
	p.orphans = &orphans{of: make(map[*set][]parent), doubted: make(map[register.DataID]bool)}
	var left error
	if p.begin == (Position{}) { // else not every name is looked at, as what is removed has to have been
		left = p.findOrphans(ctx)
	}
	buckets, err := p.buckets(ctx)
	if err != nil {
		return p.done, err
	}
	for _, b := range buckets {
		if b.Record.Name < p.begin.Bucket {
			continue
		}
		if err := p.inside(ctx, b, ""); err != nil {
			return p.done, err
		}
	}
	if left = cmp.Or(left, p.left); left == nil {
		left = p.removeOrphans(ctx)
	}
	if left != nil && ctx.Err() == nil {
		p.s.cfg.Logger.Warn("what is left of uploads that are no more is not removed yet", "error", left)
	}
	return p.done, cmp.Or(context.Cause(ctx), p.left)
}

// healing is one pass.
type healing struct {
	s     *Store
	seen  func(Healed)
	log   bool     // only what is pending is looked at
	rate  int64    // in bytes a second, at which shards are read; 0: they are not
	only  string   // name that is looked at; empty: all
	begin Position // what is in front of it was looked at
	pace  *pacer   // of what is written

	set     *set   // that is being looked at
	bucket  string // the same
	objects bool   // these are

	done   Healed
	told   time.Time
	agreed []agreement // of set: what its drives have to be told

	orphans *orphans // nil: they are not looked for
	left    error    // why a set was left out

	long    chan struct{} // has an element for each name at hand that has a long version
	writing chan struct{} // the same for who writes a large shard
}

// newHealing returns a pass that tells seen, if it is not nil, what it has done.
func (s *Store) newHealing(seen func(Healed)) *healing {
	return &healing{s: s, seen: seen, told: s.cfg.Now(), pace: s.pace, long: make(chan struct{}, maxLong), writing: make(chan struct{}, 1)}
}

// agreement is a state that drives hold and do not know to be committed, or everywhere.
type agreement struct {
	register.Decision
	tombstone bool
}

// tellEvery is how often somebody hears of a pass.
const tellEvery = 5 * time.Second

// buckets heals what the server keeps and the records of buckets, and returns these.
func (p *healing) buckets(ctx context.Context) ([]*bucket, error) {
	if err := p.space(ctx, p.s.system("")); err != nil {
		return nil, err
	}
	l := p.s.buckets()
	l.sets = p.s.sets
	if err := p.space(ctx, l); err != nil {
		return nil, err
	}
	return p.s.everyBucket(ctx)
}

// inside heals what is in a bucket, of keys that begin with prefix.
func (p *healing) inside(ctx context.Context, b *bucket, prefix string) error {
	p.bucket, p.objects = b.Record.Name, true
	err := p.space(ctx, p.s.listing(b, b.Record.Name, prefix, "", object.MaxListLimit))
	if p.objects = false; err != nil {
		return err
	}
	return p.uploads(ctx, b, prefix)
}

// uploads heals the uploads in a bucket, and the parts of those that it finds in a set.
func (p *healing) uploads(ctx context.Context, b *bucket, prefix string) error {
	all := p.s.uploads(b, b.Record.Name, prefix)
	if err := p.space(ctx, all); err != nil {
		return err
	}
	for _, in := range all.sets {
		one := p.s.uploads(b, b.Record.Name, prefix)
		one.sets = []*set{in}
		if err := p.passing(ctx, in, p.parts(ctx, b, one)); err != nil {
			return err
		}
	}
	return nil
}

// parts heals those of the uploads of a listing, in each set that may have some.
func (p *healing) parts(ctx context.Context, b *bucket, uploads *listing) error {
	return uploads.each(ctx, func(name string, _ *register.Record) (bool, error) {
		key, id := splitUpload(name)
		number, ok := uploadNumber(id)
		if !ok {
			return true, nil
		}
		ref := object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id}
		for _, set := range p.s.sets {
			if p.s.homed(p.s.epoch.Load(), set, key) {
				if err := p.space(ctx, p.s.partsOf(set, ref, number)); err != nil {
					return false, err
				}
			}
		}
		return true, nil
	})
}

// space heals all names of a listing, in each of its sets. One of which too few drives are there is left out: it must
// not keep others from being healed.
func (p *healing) space(ctx context.Context, l *listing) error {
	for _, s := range l.sets {
		p.set = s
		from, seen := p.seenBefore()
		if seen {
			continue
		}
		if err := p.passing(ctx, s, p.names(ctx, l, from)); err != nil {
			return err
		}
	}
	return nil
}

// seenBefore returns from which name on the set is to be looked at, and whether it was already: by the pass that this
// one goes on with.
func (p *healing) seenBefore() (from string, seen bool) {
	if !p.objects || p.bucket != p.begin.Bucket || p.set.first > p.begin.Set {
		return "", false
	}
	return p.begin.Name, p.set.first < p.begin.Set
}

// passing returns an error with which the pass ends. What is unavailable of a set is left out, and told at the end.
func (p *healing) passing(ctx context.Context, of *set, err error) error {
	if err == nil || ctx.Err() != nil || object.KindOf(err) != object.Unavailable || errors.Is(err, register.ErrNoLog) {
		return err
	}
	p.done.Lacking.addSet(of)
	p.left = cmp.Or(p.left, fmt.Errorf("%w: %w", ErrSetAway, err))
	return nil
}

// names heals those of a listing that one set has, from one on.
func (p *healing) names(ctx context.Context, l *listing, from string) error {
	for below, more := (register.Token{}), true; more; {
		entries, further, err := p.scan(ctx, l, from, below)
		if err != nil {
			return err
		}
		more = further && len(entries) > 0
		var page []*mending
		for i := range entries {
			e := &entries[i]
			if p.only != "" && e.name != p.only {
				more = false
				break
			}
			page = append(page, &mending{p: p, l: l, e: e, bucket: p.bucket, name: e.name})
			from, below = behind(*e), register.Token{}
			if cut := e.cut(); !cut.IsZero() { // it has more versions
				from, below, more = e.name, cut, true
				break
			}
		}
		if err := p.mend(ctx, page); err != nil {
			return err
		}
		p.tell()
	}
	return nil
}

// atOnce is how many names are healed at a time.
const atOnce = 8

// mend heals the names of a page, several at a time.
func (p *healing) mend(ctx context.Context, page []*mending) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(atOnce)
	if p.rate > 0 {
		all.SetLimit(1) // the shards of one are read after those of another
	}
	var mu sync.Mutex
	added := 0
	for _, m := range page {
		all.Go(func() error {
			err := m.heal(ctx)
			mu.Lock()
			defer mu.Unlock()
			for m.over = true; added < len(page) && page[added].over; added++ {
				p.add(page[added])
			}
			return err
		})
	}
	return all.Wait()
}

// add adds what was done for a name.
func (p *healing) add(m *mending) {
	if p.done.add(&m.done); m.done.Failed > 0 {
		p.done.Lacking.addSet(p.set)
	}
	p.agreed = append(p.agreed, m.agreed...)
	if p.objects && p.left == nil && m.e.cut().IsZero() { // else a set is to be looked at again, or it has more versions
		p.done.At = Position{Bucket: p.bucket, Set: p.set.first, Name: behind(*m.e), Names: p.done.Names}
	}
	if m.done.Failed > 0 && p.orphans != nil && len(p.orphans.of) > 0 {
		p.orphans.doubt(m.e)
	}
	if now := p.s.cfg.Now(); p.seen != nil && now.Sub(p.told) > tellEvery {
		p.told = now
		p.seen(p.done)
	}
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
	replies := gather(ctx, p.set, nil, n, func(ctx context.Context, d Drive) (register.ScanPage, error) {
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
	}
	cut = e.cut()
	maps.DeleteFunc(made, func(_ string, m register.Token) bool { return m.Less(cut) })
	return made, cut
}

// cut returns where the shortest list of versions ends.
func (e *entry) cut() (cut register.Token) {
	for i := range e.views {
		v := &e.views[i].value
		if n := len(v.Entries); v.More && n > 0 && cut.Less(v.Entries[n-1].Made) {
			cut = v.Entries[n-1].Made
		}
	}
	return cut
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
