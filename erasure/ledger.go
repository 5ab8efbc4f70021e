package erasure

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
)

// Ledger keeps what the nodes of a fleet have agreed on, in every set: changes of settings, and copies
// of all of them. So any set may be left out. It is there before anybody has a lock. What keeps its
// registers in order is that every change is made under a token of its own, and that drives
// take none from a session that is over. Its methods may be called concurrently.
type Ledger struct {
	s       *Store
	ballots *ballots
}

// NewLedger returns the Ledger of some sets, whose drives stay the caller's to close.
func NewLedger(ctx context.Context, cfg Config) (*Ledger, error) {
	b := &ballots{now: cfg.Now}
	cfg.Locker, cfg.Table = b, nil
	s, err := New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Ledger{s: s, ballots: b}, nil
}

// Act says in which session of which generation this node acts from now on.
func (l *Ledger) Act(generation uint32, session string) {
	l.ballots.mu.Lock()
	defer l.ballots.mu.Unlock()
	l.ballots.generation, l.ballots.session = generation, session
}

// Close waits for what is under way.
func (l *Ledger) Close() { l.s.decider.close() }

// Heal brings drives what they lack of the Ledger.
func (l *Ledger) Heal(ctx context.Context) (Healed, error) {
	p := l.s.newHealing(nil)
	err := p.space(ctx, l.all())
	return p.done, cmp.Or(err, p.left)
}

// HealMissed is Heal, of what drives have pending.
func (l *Ledger) HealMissed(ctx context.Context) (Healed, error) {
	p := l.s.newHealing(nil)
	p.log = true
	for _, set := range l.s.sets {
		if err := p.passing(ctx, set, p.pending(ctx, set, register.Fleet, func(*epoch) catalog { return ledgerCatalog{l} })); err != nil {
			return p.done, err
		}
	}
	return p.done, p.left
}

// ledgerCatalog is the catalog of what a Ledger keeps.
type ledgerCatalog struct{ l *Ledger }

// listing implements catalog.
func (c ledgerCatalog) listing(context.Context, *set, register.Key) (*listing, string, error) {
	return c.l.all(), "", nil
}

// page is the size, in bytes, of the pieces in which a copy of all settings is kept.
const page = 512 << 10

// label is the place of an entry in the order of all: that of generations, and in one of them
// that of the indexes of its log.
func label(generation uint32, index uint64) string {
	return fmt.Sprintf("%08x-%016x", generation, index)
}

// parseLabel returns the place of the entry of a name.
func parseLabel(name string) (generation uint32, index uint64, err error) {
	if _, err := fmt.Sscanf(name, "%08x-%016x", &generation, &index); err != nil {
		return 0, 0, fmt.Errorf("an entry is called %q: %w", name, err)
	}
	return generation, index, nil
}

// What the names of entries end with, behind their labels.
const (
	oneChange = ".one"
	allOfThem = ".all" // behind it, in names of their own, its pages
)

// SaveChange makes a change durable in every set, unless the session is over.
func (l *Ledger) SaveChange(ctx context.Context, generation uint32, session string, index uint64, change []byte) error {
	return l.save(ctx, generation, session, label(generation, index)+oneChange, change)
}

// SaveAll makes a copy of all settings durable, as they are after a change, and removes what
// that makes needless.
func (l *Ledger) SaveAll(ctx context.Context, generation uint32, session string, index uint64, all []byte) error {
	at := label(generation, index)
	for n, piece := range slices.Collect(slices.Chunk(all, page)) {
		if err := l.save(ctx, generation, session, fmt.Sprintf("%s%s.%08x", at, allOfThem, n), piece); err != nil {
			return err
		}
	}
	head := binary.BigEndian.AppendUint64(nil, uint64(len(all)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)))
	if err := l.save(ctx, generation, session, at+allOfThem, head); err != nil {
		return err
	}
	return l.prune(ctx, generation, session, at)
}

// prune removes the entries that a copy makes needless: those before it, and its change.
func (l *Ledger) prune(ctx context.Context, generation uint32, session, at string) error {
	var names []string
	err := l.all().each(ctx, func(name string, _ *register.Record) (bool, error) {
		if name < at || name == at+oneChange {
			names = append(names, name)
		}
		return true, nil
	})
	for _, name := range names {
		if err == nil {
			err = l.save(ctx, generation, session, name, nil)
		}
	}
	return fail("prune settings", at, err)
}

// save commits an entry in every set, or with nil that there is none, without asking what there was.
func (l *Ledger) save(ctx context.Context, generation uint32, session, name string, content []byte) error {
	errs := make([]error, len(l.s.sets))
	var saving sync.WaitGroup
	for i, set := range l.s.sets {
		saving.Go(func() { errs[i] = l.saveIn(ctx, set, generation, session, name, content) })
	}
	saving.Wait()
	return fail("save settings", name, errors.Join(errs...))
}

// saveIn is save, of one set.
func (l *Ledger) saveIn(ctx context.Context, in *set, generation uint32, session, name string, content []byte) error {
	// Nothing is to be left on drives that is not decided: who reads could not tell it from
	// what was saved (Newer).
	in.wary.Store(true)
	lease := l.ballots.lease(ctx, generation, session)
	defer lease.Release()
	h := &hold{s: l.s, place: place{set: in, lock: name, key: fleetKey(name)}, lease: lease, token: register.Token{Lease: lease.Token()}}
	r := register.Record{Version: register.Null, Kind: register.Object, Quorum: in.majority(), Value: content}
	if content == nil {
		r.Kind = register.Tombstone
	}
	return h.commit(ctx, in, r, commitment{})
}

func fleetKey(name string) register.Key { return register.Key{Space: register.Fleet, Name: name} }

// all is the listing of the entries. A set may lack one, or have one that is needless.
func (l *Ledger) all() *listing {
	return &listing{s: l.s, sets: l.s.sets, q: register.ScanQuery{Space: register.Fleet}, lockName: func(name string) string { return name }}
}

// in is all, of one set.
func (l *Ledger) in(one *set) *listing {
	all := l.all()
	all.sets = []*set{one}
	return all
}

// errDamagedCopy says that a copy of the settings is not whole.
var errDamagedCopy = errors.New("erasure: a copy of the settings is damaged")

// entries returns the entries that any set has which is not new, and their names in order. Where sets
// differ an entry is of a change that was not made yet, or behind which there is a copy.
func (l *Ledger) entries(ctx context.Context) (entries map[string][]byte, names []string, err error) {
	entries = make(map[string][]byte)
	for _, set := range l.s.sets {
		if set.fresh {
			continue
		}
		err := l.in(set).each(ctx, func(name string, r *register.Record) (bool, error) {
			entries[name] = r.Value
			return true, nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return entries, slices.Sorted(maps.Keys(entries)), nil
}

// Saved is what there is of the settings: the newest copy of all, nil if there is none, and the
// changes after it in their order. Behind its place there is nothing.
type Saved struct {
	All        []byte
	Changes    [][]byte
	Generation uint32
	Index      uint64
}

// Load returns what there is of the settings. It settles what it meets in the session that Act
// named.
func (l *Ledger) Load(ctx context.Context) (Saved, error) {
	entries, names, err := l.entries(ctx)
	if err != nil || len(names) == 0 {
		return Saved{}, fail("load settings", "", err)
	}
	var s Saved
	if s.Generation, s.Index, err = parseLabel(names[len(names)-1]); err != nil {
		return Saved{}, fail("load settings", names[len(names)-1], err)
	}
	last := ""
	for _, name := range names {
		if strings.HasSuffix(name, allOfThem) {
			last = strings.TrimSuffix(name, allOfThem)
		}
	}
	if last != "" {
		if s.All, err = assemble(entries, last+allOfThem); err != nil {
			return Saved{}, fail("load settings", last, err)
		}
	}
	for _, name := range names {
		if at, ok := strings.CutSuffix(name, oneChange); ok && at > last {
			s.Changes = append(s.Changes, entries[name])
		}
	}
	return s, nil
}

// Newer reports whether anything was saved behind a place in the order of all, as a quorum of
// the drives knows at some time between call and return. What is not certain counts as saved.
func (l *Ledger) Newer(ctx context.Context, generation uint32, index uint64) (bool, error) {
	all := l.all()
	all.q.Limit = 1
	entries, more, err := all.scan(ctx, label(generation, index+1), register.Token{})
	return len(entries) > 0 || more, fail("look for settings", "", err)
}

// assemble puts the pages of a copy together.
func assemble(entries map[string][]byte, name string) ([]byte, error) {
	head := entries[name]
	if len(head) != 12 {
		return nil, errDamagedCopy
	}
	var all []byte
	size := binary.BigEndian.Uint64(head)
	for n := 0; uint64(len(all)) < size; n++ {
		piece := entries[fmt.Sprintf("%s.%08x", name, n)]
		if len(piece) == 0 {
			return nil, errDamagedCopy
		}
		all = append(all, piece...)
	}
	if crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(head[8:]) {
		return nil, errDamagedCopy
	}
	return all, nil
}

// ballots is a Locker that keeps nobody out. It gives tokens that were never given before:
// those of a later generation are later, and in one of them those of a later time.
type ballots struct {
	now func() time.Time

	mu         sync.Mutex
	generation uint32
	session    string
	last       uint64
}

// Acquire implements lock.Locker.
func (b *ballots) Acquire(ctx context.Context, _ lock.Mode, _ ...string) (lock.Lease, error) {
	b.mu.Lock()
	generation, session := b.generation, b.session
	b.mu.Unlock()
	return b.lease(ctx, generation, session), nil
}

// Session implements lock.Locker.
func (b *ballots) Session() lock.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return ballotSession(fence.Session(b.generation, b.session))
}

func (b *ballots) lease(ctx context.Context, generation uint32, session string) *ballot {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = max(b.last+1, uint64(b.now().UnixNano())) //nolint:gosec // after 1970
	return &ballot{
		ctx: ctx, session: ballotSession(fence.Session(generation, session)),
		token: lock.Token{Generation: generation, Epoch: b.last, Sequence: rand.Uint64()}, //nolint:gosec // it only has to be another one
	}
}

// ballot is the lease on nothing.
type ballot struct {
	ctx     context.Context
	session ballotSession
	token   lock.Token
}

// Token implements lock.Lease.
func (b *ballot) Token() lock.Token { return b.token }

// Session implements lock.Lease.
func (b *ballot) Session() lock.Session { return b.session }

// Context implements lock.Lease.
func (b *ballot) Context() context.Context { return b.ctx }

// Release implements lock.Lease.
func (*ballot) Release() {}

// ballotSession is a session by its name alone.
type ballotSession string

// ID implements lock.Session.
func (s ballotSession) ID() string { return string(s) }

// Done implements lock.Session: only drives know.
func (ballotSession) Done() <-chan struct{} { return nil }
