package erasure

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// listing goes through the names of a space as a quorum of drives knows them.
type listing struct {
	s        *Store
	sets     []*set // that have the names
	q        register.ScanQuery
	markers  bool                     // delete markers count, too
	lockName func(name string) string // under which what is not settled is settled
	// partition returns the place, of those of a Table, that says which sets may have a name; nil: those
	// that are asked.
	partition func(name string) int
	by        *epoch // in which the last page was read: what it shows is to be understood by that
}

// commonPlace is the partition of a listing of what belongs to no key.
func commonPlace(string) int { return placement.Common }

// entry is one name of a listing, or a common prefix.
type entry struct {
	set    *set
	again  bool // it was read after the sets that others move to
	stray  bool // its set does not have to have the name: it counts for nothing
	name   string
	prefix bool                   // then several sets may have it, each an entry of its own
	first  string                 // of a common prefix: the first name behind it that any drive lists
	views  []reply[register.View] // of the name, or of first
}

// scan reads a page from a quorum of the drives of each set, and returns what it shows of each
// name, in order. more says that there is more, behind the last one.
func (l *listing) scan(ctx context.Context, from string, below register.Token) (entries []entry, more bool, err error) {
	q := l.q
	l.by = l.s.epoch.Load()
	q.From, q.Below = from, below
	if q.Limit == 0 {
		q.Limit = object.MaxListLimit
	}
	if len(l.sets) == 1 {
		p := l.sets[0].scan(ctx, q)
		return p.entries, p.more, p.err
	}
	q.Limit = share(q.Limit, len(l.sets))
	sources := l.by.sources
	var pages []setPage
	for _, round := range l.rounds(sources) {
		read := make([]setPage, len(round))
		var asked sync.WaitGroup
		for i, s := range round {
			asked.Go(func() { read[i] = s.scan(ctx, q) })
		}
		asked.Wait()
		pages = append(pages, read...)
	}
	if len(sources) > 0 { // the last round
		for i := len(pages) - len(sources); i < len(pages); i++ {
			for j := range pages[i].entries {
				pages[i].entries[j].again = true
			}
		}
	}
	entries, more, err = mergeSets(pages)
	for i := range entries {
		entries[i].stray = l.stray(&entries[i])
	}
	return entries, more && len(entries) > 0, err
}

// rounds returns the sets in the order in which they are read: those that names move from before
// and after the others, so that none is missed that moves meanwhile.
func (l *listing) rounds(sources map[*set]bool) [][]*set {
	var from, others []*set
	for _, s := range l.sets {
		if sources[s] {
			from = append(from, s)
		} else {
			others = append(others, s)
		}
	}
	if len(from) == 0 {
		return [][]*set{others}
	}
	return [][]*set{from, others, from}
}

// stray reports whether an entry is of a name that its set does not have to have.
func (l *listing) stray(e *entry) bool {
	return l.partition != nil && !e.prefix && !l.s.homedAt(l.by, e.set, l.partition(e.name))
}

// share is how many names of a page are asked of each of n sets: what one is likely to have of
// them, and some more.
func share(limit, n int) int {
	mean := float64(limit) / float64(n)
	return min(limit, int(mean+3*math.Sqrt(mean))+2)
}

// setPage is what a page shows that was read from one set.
type setPage struct {
	entries []entry
	more    bool
	err     error
}

func (s *set) scan(ctx context.Context, q register.ScanQuery) setPage {
	need := register.ReadQuorum(len(s.drives))
	replies := gather(ctx, s, s.scans, need, func(ctx context.Context, d Drive) (register.ScanPage, error) {
		return d.Scan(ctx, q)
	}, func(replies []reply[register.ScanPage], _ bool) bool { return succeeded(replies) >= need })
	if succeeded(replies) < need {
		return setPage{err: object.E("scan", "", object.Unavailable, errors.Join(errFew, why(replies)))}
	}
	entries, more := s.merge(replies)
	return setPage{entries, more, nil}
}

// mergeSets puts the pages of several sets into one, in order. Behind the end of one that has
// more, nothing is known of what its set has.
func mergeSets(pages []setPage) (entries []entry, more bool, err error) {
	end := ""
	for i := range pages {
		p := &pages[i]
		if p.err != nil {
			return nil, false, p.err
		}
		if n := len(p.entries); p.more && n > 0 && (!more || p.entries[n-1].name < end) {
			end, more = p.entries[n-1].name, true
		}
	}
	at := make([]int, len(pages))
	for {
		least := -1
		for i := range pages {
			if at[i] < len(pages[i].entries) && (least < 0 || pages[i].entries[at[i]].name < pages[least].entries[at[least]].name) {
				least = i
			}
		}
		if least < 0 || more && pages[least].entries[at[least]].name > end {
			return entries, more, nil
		}
		entries = append(entries, pages[least].entries[at[least]])
		at[least]++
	}
}

func succeeded[T any](replies []reply[T]) (n int) {
	for i := range replies {
		if replies[i].err == nil {
			n++
		}
	}
	return n
}

// merge puts the pages of several drives side by side. Behind the end of the shortest one
// nothing is known of what its drive has.
func (s *set) merge(replies []reply[register.ScanPage]) (entries []entry, more bool) {
	at := make([]int, len(replies))
	for {
		least, ended := "", true
		for i := range replies {
			items := replies[i].value.Items
			if replies[i].err != nil {
				continue
			}
			if at[i] == len(items) {
				if replies[i].value.More {
					return entries, true
				}
				continue
			}
			if ended || items[at[i]].Name < least {
				least, ended = items[at[i]].Name, false
			}
		}
		if ended {
			return entries, false
		}
		e := entry{set: s, name: least}
		for i := range replies {
			items := replies[i].value.Items
			if replies[i].err != nil {
				continue
			}
			v := reply[register.View]{drive: replies[i].drive}
			if at[i] < len(items) && items[at[i]].Name == least {
				e.add(&items[at[i]], &v)
				at[i]++
			}
			e.views = append(e.views, v)
		}
		entries = append(entries, e)
	}
}

// add adds what one drive has of the entry.
func (e *entry) add(item *register.ScanItem, v *reply[register.View]) {
	if item.First == "" {
		v.value = item.View
		return
	}
	if !e.prefix || item.First < e.first {
		// What the others have is of another name.
		for i := range e.views {
			e.views[i].value = register.View{}
		}
		e.prefix, e.first = true, item.First
	}
	if item.First == e.first {
		v.value = item.View
	}
}

// agreed reports whether all drives have the same of a common prefix. One that knows what
// another one lists to be gone leaves it out, and so says nothing of it.
func (e *entry) agreed() bool {
	for i := range e.views {
		mine, first := e.views[i].value.Entries, e.views[0].value.Entries
		if len(mine) == 0 || len(first) == 0 || mine[0].Version != first[0].Version || mine[0].Changed != first[0].Changed {
			return false
		}
	}
	return true
}

// current returns the newest version of a name that several sets may have listed.
func (l *listing) current(ctx context.Context, es []entry) (*register.Record, error) {
	es = slices.DeleteFunc(slices.Clone(es), func(e entry) bool { return e.stray })
	if len(es) == 0 {
		return nil, nil
	}
	last := &es[len(es)-1]
	var moves *move
	if l.partition != nil {
		_, moves = l.s.homeAt(l.by, l.partition(last.name))
	}
	if moves == nil {
		return l.newest(ctx, last)
	}
	var before, there, again *register.Record
	for i := range es {
		r, err := l.newest(ctx, &es[i])
		switch {
		case err != nil:
			return nil, err
		case es[i].set == moves.to:
			there = r
		case es[i].again:
			again = r
		default:
			before = r
		}
	}
	if !same(before, again) { // it has changed or moved meanwhile
		at := l.place(moves.to, last.name)
		at.moves = moves
		return l.s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.latest(ctx, at.key) })
	}
	r, _ := moves.winner(again, there)
	return r, nil
}

// run returns how many of the entries are of the same name as the first, each from another set
// or another time.
func run(entries []entry) int {
	n := 1
	for n < len(entries) && entries[n].name == entries[0].name {
		n++
	}
	return n
}

// newest returns the newest version of an entry's name: from what the drives listed if they
// agree, and otherwise as a reader finds it.
func (l *listing) newest(ctx context.Context, e *entry) (*register.Record, error) {
	_, j := judgeNewest(len(e.set.drives), e.views, false)
	if j.Verdict == register.Committed && j.Record.Kind != register.Tombstone {
		return &j.Record, nil
	}
	at := l.place(e.set, e.name)
	return l.s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.latest(ctx, at.key) })
}

// place is where the registers of a name are, which a set has listed.
func (l *listing) place(s *set, name string) place {
	return place{set: s, lock: l.lockName(name), key: register.Key{Space: l.q.Space, Bucket: l.q.Bucket, Name: name}, epoch: l.by.table.Epoch}
}

// each calls fn with the newest version of each name, until it returns false.
func (l *listing) each(ctx context.Context, fn func(name string, r *register.Record) (bool, error)) error {
	return l.from(ctx, "", fn)
}

// from is each, from a name on.
func (l *listing) from(ctx context.Context, from string, fn func(name string, r *register.Record) (bool, error)) error {
	for more := true; more; {
		entries, further, err := l.scan(ctx, from, register.Token{})
		if err != nil {
			return err
		}
		for rest := entries; len(rest) > 0; rest = rest[run(rest):] {
			e := &rest[0]
			r, err := l.current(ctx, rest[:run(rest)])
			if err != nil {
				return err
			}
			if r == nil || r.Kind != register.Object && !l.markers {
				continue
			}
			if on, err := fn(e.name, r); err != nil || !on {
				return err
			}
		}
		if more = further && len(entries) > 0; more {
			from = entries[len(entries)-1].name + "\x00"
		}
	}
	return nil
}

// List implements object.Objects.
func (s *Store) List(ctx context.Context, q object.Query) (object.Page, error) {
	const op = "list"
	defer s.enter().leave()
	b, err := s.bucket(ctx, op, q.Bucket)
	if err != nil {
		return object.Page{}, err
	}
	var page object.Page
	if len(q.Prefix) > object.MaxKeyLen || q.Limit < 1 {
		return page, nil
	}
	l := s.listing(b, q.Bucket, q.Prefix, q.Delimiter, q.Limit+1)
	from := after(q.After, q.Prefix, q.Delimiter)
	for {
		entries, more, err := l.scan(ctx, from, register.Token{})
		if err != nil {
			return object.Page{}, fail(op, q.Bucket, err)
		}
		for rest := entries; len(rest) > 0; rest = rest[run(rest):] {
			e := &rest[0]
			there, info, err := l.object(ctx, b, rest[:run(rest)])
			if err != nil {
				return object.Page{}, fail(op, q.Bucket, err)
			}
			if !there {
				continue
			}
			if len(page.Objects)+len(page.Prefixes) == q.Limit {
				page.More = true
				return page, nil
			}
			if page.Next = e.name; e.prefix {
				page.Prefixes = append(page.Prefixes, e.name)
			} else {
				page.Objects = append(page.Objects, info)
			}
		}
		if !more || len(entries) == 0 {
			page.Next = ""
			return page, nil
		}
		from = behind(entries[len(entries)-1])
	}
}

func (s *Store) listing(b *bucket, bucket, prefix, delimiter string, limit int) *listing {
	return &listing{
		s: s, sets: s.sets, q: register.ScanQuery{Space: register.Objects, Bucket: b.ID, Prefix: prefix, Delimiter: delimiter, Limit: min(limit, object.MaxListLimit+1)},
		lockName: func(key string) string { return keyLock(bucket, key) }, partition: s.partition,
	}
}

// after returns the first name that may come after one: behind all names of the common
// prefix that it is part of.
func after(name, prefix, delimiter string) string {
	if name == "" {
		return ""
	}
	if delimiter != "" && strings.HasPrefix(name, prefix) {
		if i := strings.Index(name[len(prefix):], delimiter); i >= 0 {
			return behindPrefix(name[:len(prefix)+i+len(delimiter)])
		}
	}
	return name + "\x00"
}

// behind returns the first name that may come after an entry.
func behind(e entry) string {
	if e.prefix {
		return behindPrefix(e.name)
	}
	return e.name + "\x00"
}

// behindPrefix returns what is behind all names that begin so.
func behindPrefix(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return prefix + strings.Repeat("\xff", object.MaxKeyLen)
}

// object returns what a listing shows of a name that several sets may have listed, if there is
// anything.
func (l *listing) object(ctx context.Context, b *bucket, es []entry) (there bool, info object.Info, err error) {
	e := &es[0]
	if e.prefix {
		there, err = l.prefix(ctx, es)
		return there, info, err
	}
	r, err := l.current(ctx, es)
	if err != nil || r == nil || r.Kind != register.Object {
		return false, info, err
	}
	v, err := decodeValue(r.Value)
	if err != nil {
		return false, info, err
	}
	info = listed(b, e.name, r, v)
	info.Version = ""
	return true, info, nil
}

// prefix reports whether there is anything behind a common prefix that sets have listed. While
// names move, what one of them has may be gone by what the other one has.
func (l *listing) prefix(ctx context.Context, es []entry) (there bool, err error) {
	if len(l.sets) > 1 && len(l.by.sources) > 0 {
		return l.inside(ctx, l.sets, es[0].name)
	}
	for i := range es {
		e := &es[i]
		_, j := judgeNewest(len(e.set.drives), e.views, false)
		if j.Verdict == register.Committed && j.Record.Kind == register.Object && e.agreed() && (l.partition == nil || l.s.homedAt(l.by, e.set, l.partition(e.first))) {
			return true, nil
		}
		if there, err = l.inside(ctx, []*set{e.set}, e.name); there || err != nil {
			break
		}
	}
	return there, err
}

// listed is what a listing tells of a version.
func listed(b *bucket, key string, r *register.Record, v *value) object.Info {
	i := b.info(object.Ref{Bucket: b.Record.Name, Key: key}, r, v)
	i.Parts, i.Meta = nil, object.Meta{StorageClass: i.Meta.StorageClass}
	return i
}

// inside reports whether sets have anything below a common prefix that a drive has listed.
func (l *listing) inside(ctx context.Context, in []*set, prefix string) (there bool, err error) {
	below := *l
	below.sets = in
	below.q.Prefix, below.q.Delimiter, below.q.Limit = prefix, "", 16
	err = below.each(ctx, func(string, *register.Record) (bool, error) {
		there = true
		return false, nil
	})
	return there, err
}
