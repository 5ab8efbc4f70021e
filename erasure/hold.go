package erasure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// hold is the lock of a key, under which it is changed.
type hold struct {
	s *Store
	place
	lease lock.Lease
	token register.Token // of the next change
	last  register.Token // of the last one
}

// maxSettled is how often a read under a lock settles what it meets.
const maxSettled = 10

// maxHolds is how often an operation that lost its lock is begun anew.
const maxHolds = 3

// holding runs do under the lock of a key, and again if the lock turns out to be lost
// before anything was changed.
func (s *Store) holding(ctx context.Context, at place, do func(ctx context.Context, h *hold) error) error {
	for try := 1; ; try++ {
		err := s.held(ctx, at, do)
		switch {
		case !errors.Is(err, errStale):
			return err
		case try == maxHolds:
			return object.E("lock", at.lock, object.Unavailable, err)
		}
	}
}

func (s *Store) held(ctx context.Context, at place, do func(ctx context.Context, h *hold) error) error {
	lease, err := s.acquire(ctx, lock.Exclusive, at)
	if err != nil {
		return err
	}
	defer lease.Release()
	h := &hold{s: s, place: at, lease: lease, token: register.Token{Lease: lease.Token()}}
	return do(lease.Context(), h)
}

// lookEvery is how often who waits for a lock looks whether he could do anything with it.
const lookEvery = time.Second

// acquire takes a lock. While so few drives can be reached that nothing can be changed, it
// fails: who held the lock may be among those that cannot be reached.
func (s *Store) acquire(ctx context.Context, mode lock.Mode, at place) (lock.Lease, error) {
	writable := at.set.writable
	if writable == nil {
		lease, err := s.cfg.Locker.Acquire(ctx, mode, at.lock)
		return lease, lockFailure(at.lock, err)
	}
	if err := writable(); err != nil {
		return nil, lockFailure(at.lock, err)
	}
	wait, leave := context.WithCancelCause(ctx)
	stop := watch(writable, leave)
	lease, err := s.cfg.Locker.Acquire(wait, mode, at.lock)
	stop()
	if err != nil {
		leave(nil)
		return nil, lockFailure(at.lock, errors.Join(err, context.Cause(wait)))
	}
	return &kept{lease, leave}, nil
}

// watch calls leave once check fails, until stop is called.
func watch(check func() error, leave context.CancelCauseFunc) (stop func()) {
	var mu sync.Mutex
	stopped := false
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(lookEvery, func() {
		err := check()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case stopped:
		case err != nil:
			leave(err)
		default:
			timer.Reset(lookEvery)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// kept is a lease with what frees its context.
type kept struct {
	lock.Lease
	leave context.CancelCauseFunc
}

// Release implements lock.Lease.
func (k *kept) Release() {
	k.Lease.Release()
	k.leave(nil)
}

func lockFailure(name string, err error) error {
	if err == nil {
		return nil
	}
	return object.E("lock", name, object.Unavailable, err)
}

// read has a quorum of the drives of a set promise to take nothing older than what is to come, and
// settles what is not settled. ask reads what it needs.
func (h *hold) read(ctx context.Context, s *set, ask func(asking) (*register.Record, error)) (*register.Record, error) {
	for try := 1; ; try++ {
		r, err := ask(asking{s: s, token: h.token})
		u, not := errors.AsType[*unsettled](err)
		switch {
		case !not:
			return r, err
		case try == maxSettled:
			return nil, object.E("read", h.key.Name, object.Unavailable, err)
		}
		if err := h.settle(ctx, s, u.sought); err != nil {
			return nil, err
		}
	}
}

// latest returns the newest version of the key, as whoever changes it next must see it, and the
// set that has it.
func (h *hold) latest(ctx context.Context) (*register.Record, *set, error) {
	newest := func(s *set) (*register.Record, error) {
		return h.read(ctx, s, func(a asking) (*register.Record, error) { return a.latest(ctx, h.key) })
	}
	if h.moves == nil {
		r, err := newest(h.set)
		return r, h.set, err
	}
	from, err := newest(h.moves.from)
	if err != nil {
		return nil, nil, err
	}
	to, err := newest(h.moves.to)
	if err != nil {
		return nil, nil, err
	}
	r, set := h.moves.winner(from, to)
	return r, set, nil
}

// copied is a state of a register that a set has.
type copied struct {
	*register.Record
	set *set
}

// copies returns a version of the key as each set has it that does: the last one counts. To
// remove them in that order is to let nobody see what no longer counted.
func (h *hold) copies(ctx context.Context, version string, made register.Token) (all []copied, err error) {
	for _, s := range h.sets() {
		r, err := h.read(ctx, s, func(a asking) (*register.Record, error) { return a.exact(ctx, h.key, version, made) })
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, copied{r, s})
		}
	}
	if len(all) == 2 && !all[0].Made.Less(all[1].Made) {
		all[0], all[1] = all[1], all[0]
	}
	return all, nil
}

// remove commits that there are no such states any more.
func (h *hold) remove(ctx context.Context, all []copied) error {
	for _, c := range all {
		gone := register.Record{Version: c.Version, Kind: register.Tombstone, Made: c.Made, Quorum: c.set.majority()}
		if err := h.commit(ctx, c.set, gone, commitment{}); err != nil {
			return err
		}
	}
	return nil
}

// clear commits that a version is in no set but one, of which all are the copies that were found.
// That is committed also where none was: a drive that was not asked may hold a state there that
// nobody has settled, and that would be taken for the version once it is found.
func (h *hold) clear(ctx context.Context, version string, made register.Token, all []copied, but *set) error {
	var gone []copied
	for _, s := range h.sets() {
		if s != but && !slices.ContainsFunc(all, func(c copied) bool { return c.set == s }) {
			gone = append(gone, copied{&register.Record{Version: version, Made: made}, s})
		}
	}
	for _, c := range all {
		if c.set != but {
			gone = append(gone, c)
		}
	}
	return h.remove(ctx, gone)
}

// put commits a new version in a set. A null version takes the place of the one that another
// set may have.
func (h *hold) put(ctx context.Context, s *set, r register.Record, how commitment) error {
	if err := h.commit(ctx, s, r, how); err != nil || h.moves == nil || r.Version != register.Null {
		return err
	}
	all, err := h.copies(ctx, register.Null, register.Token{})
	if err == nil {
		err = h.clear(ctx, register.Null, register.Token{}, all, s)
	}
	return h.partly(err)
}

// keep commits a null version that has no content of its own.
func (h *hold) keep(ctx context.Context, r register.Record) error {
	r.Quorum = h.set.majority()
	return h.put(ctx, h.set, r, commitment{})
}

// vanish commits that there is no null version any more.
func (h *hold) vanish(ctx context.Context) error {
	if h.moves == nil {
		gone := register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: h.set.majority()}
		return h.commit(ctx, h.set, gone, commitment{})
	}
	all, err := h.copies(ctx, register.Null, register.Token{})
	if err != nil {
		return err
	}
	return h.clear(ctx, register.Null, register.Token{}, all, nil)
}

// partly is the error of an operation of which a part is done: whoever holds the lock next must
// not begin it anew, as after errStale.
func (h *hold) partly(err error) error {
	if err == nil {
		return nil
	}
	return object.E("commit", h.key.Name, object.Unknown, errors.New(err.Error()))
}

// settle makes an end of a state that somebody began to commit in a set: it is committed, or
// what was before it is, under a token of this lock.
func (h *hold) settle(ctx context.Context, s *set, what sought) error {
	j, replies := asking{s: s, token: h.token}.judge(ctx, h.key, what, true)
	r := j.Record
	switch j.Verdict {
	case register.AskMore:
		return asking{s: s, token: h.token}.failure(replies)
	case register.Absent:
		return nil
	case register.Committed:
		h.decide(s, &r, false)
		return nil
	case register.Unreadable:
		h.s.counts.blocked.Add(1)
		return object.E("settle", h.key.Name, object.Unavailable, fmt.Errorf("the version %s may have been stored, and too few of its shards are here", what.version))
	case register.Back:
		return h.back(ctx, s, what.before(&j))
	case register.Forward:
	}
	err := h.end(ctx, s, r)
	if err == nil {
		h.s.counts.forward.Add(1)
	}
	return err
}

// back commits what a register held before what was begun.
func (h *hold) back(ctx context.Context, s *set, r register.Record) error {
	err := h.end(ctx, s, r)
	if err == nil {
		h.s.counts.back.Add(1)
	}
	return err
}

// end commits a state that makes an end. What it refers to was committed with a state before, or is on
// enough drives now.
func (h *hold) end(ctx context.Context, s *set, r register.Record) error {
	r.Quorum, r.Need = s.majority(), 0
	return h.commit(ctx, s, r, commitment{settles: true})
}

// commitment says how a record is committed.
type commitment struct {
	strict  bool         // only by drives that have the shards
	settles bool         // it makes an end of what others began
	targets []bool       // nil: by all
	late    []*finishing // by drive: it has its shard when that has ended; nil: there are none
	inline  [][]byte     // the shard of each drive, if they are small
}

// lateOf returns what a drive waits for.
func (how *commitment) lateOf(drive int) *finishing {
	if how.late == nil {
		return nil
	}
	return how.late[drive]
}

// commit commits a state of one of the key's registers in a set, under the next token. If it
// fails the Kind is Unknown unless no drive has taken it.
func (h *hold) commit(ctx context.Context, s *set, r register.Record, how commitment) error {
	if how.inline != nil && s.full(r.Quorum) {
		return object.E("commit", h.key.Name, object.Full, register.ErrFull)
	}
	if err := h.probe(ctx, s, &r); err != nil {
		return err
	}
	r.Changed, h.last = h.token, h.token
	h.token = h.token.Next()
	if r.Made.IsZero() {
		r.Made = r.Changed
	}
	c := register.Change{Key: h.key, Record: r, Strict: how.strict, Settles: how.settles, Session: h.lease.Session().ID(), Placed: h.epoch}
	o := s.commit(ctx, c, how, func(took int) { h.reached(s, &r, took) })
	if o.open == 0 && o.count < len(s.drives) && o.refused < len(s.drives) {
		h.s.missed.Add(1)
	}
	s.wary.Store(o.count < r.Quorum)
	if o.count < r.Quorum && errors.Is(o.err, register.ErrFull) {
		for _, i := range o.away { // they are as good as full
			s.noRoom(i)
		}
	}
	switch {
	case o.count >= r.Quorum:
		h.decide(s, &r, o.count == len(s.drives))
		return nil
	case o.refused == len(s.drives) && (errors.Is(o.err, register.ErrStale) || errors.Is(o.err, register.ErrFenced)):
		return errStale
	case o.refused == len(s.drives), o.count+o.refused == len(s.drives) && !how.settles && h.undo(ctx, s, &r):
		return object.E("commit", h.key.Name, fullOr(o.err, object.Unavailable), errors.Join(errFew, o.err))
	}
	return object.E("commit", h.key.Name, object.Unknown, errors.Join(errFew, o.err))
}

// undo takes a state back that some drives took and all others have refused, fewer than it needs: what
// was before it is committed under the next token. It would be settled otherwise by whoever meets it,
// with the shards that there are, in the place of one that has all. It reports whether that was done.
func (h *hold) undo(ctx context.Context, s *set, r *register.Record) bool {
	what := sought{version: r.Version, made: r.Made, changed: r.Changed, undone: r.Changed}
	j, _ := asking{s: s, token: h.token}.judge(ctx, h.key, what, true)
	return j.Verdict == register.Back && h.back(ctx, s, what.before(&j)) == nil
}

// reached is what follows when the last drives have answered that nobody has waited for.
func (h *hold) reached(s *set, r *register.Record, took int) {
	if took == len(s.drives) {
		h.decide(s, r, true)
	} else {
		h.s.missed.Add(1)
	}
}

// probe looks whether as many drives are there as a commit takes, if the last one did not
// reach them: each that does not leaves a state on the others that is not decided.
func (h *hold) probe(ctx context.Context, s *set, r *register.Record) error {
	if !s.wary.Load() {
		return nil
	}
	q, token := register.Query{Key: h.key, Version: r.Version, Made: r.Made}, h.token // drives that are slow hear it later
	replies := gather(ctx, s, nil, len(s.drives), func(ctx context.Context, d Drive) (register.View, error) {
		return inner(d).Promise(ctx, token, q)
	}, func(replies []reply[register.View], _ bool) bool { return succeeded(replies) >= r.Quorum })
	if succeeded(replies) >= r.Quorum {
		return nil
	}
	return asking{s: s, token: h.token}.failure(replies)
}

// fullOr is the Kind of a failure to write: that drives are full, or another one.
func fullOr(err error, other object.Kind) object.Kind {
	if errors.Is(err, register.ErrFull) {
		return object.Full
	}
	return other
}

func all(n int) []bool {
	b := make([]bool, n)
	for i := range b {
		b[i] = true
	}
	return b
}

// sequence returns the token of the last change as text: those of a key sort as its changes.
// It is empty if nothing was changed.
func (h *hold) sequence() string {
	if h.last.IsZero() {
		return ""
	}
	return fmt.Sprintf("%X", h.last.Append(nil))
}

// decide tells the drives of a set that a state is committed, without waiting for them;
// everywhere says that all of them hold it.
func (h *hold) decide(s *set, r *register.Record, everywhere bool) {
	h.s.decider.tell(s, decision(h.key, r, everywhere), r.Kind == register.Tombstone)
}

func decision(key register.Key, r *register.Record, everywhere bool) register.Decision {
	return register.Decision{Key: key, Version: r.Version, Made: r.Made, Changed: r.Changed, Everywhere: everywhere}
}
