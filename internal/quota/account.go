// Package quota keeps buckets within their limits, exactly: what all gateways together
// store never exceeds a limit, and nothing is refused for which there is room.
package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Records is where the ledgers are kept: records of the control plane that all gateways
// follow. Its methods may be called concurrently.
type Records interface {
	// Get returns a record and its revision, which is 0 if there is none. It touches
	// neither storage nor network.
	Get(name string) (value []byte, revision uint64, err error)
	// Set changes a record if it still has the revision, else it returns an error that
	// is ErrChanged; nil removes it.
	Set(ctx context.Context, name string, value []byte, revision uint64) error
	// List returns the names of the records that begin with a prefix.
	List(prefix string) ([]string, error)
	// Changed returns a channel that is closed at the next change of any record.
	Changed() <-chan struct{}
}

// ErrChanged says that a record no longer has the revision that it had.
var ErrChanged = errors.New("the record has changed")

// Sessions tells which gateways there are. Its methods may be called concurrently.
type Sessions interface {
	// Current returns the ID of this gateway's session.
	Current() string
	// Live reports whether a session is alive. What a dead one stores afterwards does
	// not happen.
	Live(id string) bool
}

// How an Accounts waits.
const (
	idle     = time.Second           // after which an account that nobody uses is closed
	again    = 10 * time.Millisecond // after a change that failed
	patience = 5 * time.Second       // for other gateways to give back what they do not need
	maxTries = 100                   // to change a record that others change as well
)

// recordPrefix begins the names of ledgers.
const recordPrefix = "quota/"

// Accounts are this gateway's part in the ledgers of all buckets. Its methods may be
// called concurrently.
type Accounts struct {
	records  Records
	sessions Sessions
	now      func() time.Time

	opened chan struct{} // an account was opened
	mu     sync.Mutex
	all    map[string]*account // by bucket
}

// NewAccounts returns Accounts, which need Run.
func NewAccounts(records Records, sessions Sessions, now func() time.Time) *Accounts {
	return &Accounts{records: records, sessions: sessions, now: now, all: make(map[string]*account), opened: make(chan struct{}, 1)}
}

// account is what this gateway holds of a bucket's room. What it has stored and not yet
// settled, and what it is storing, is never more than it holds.
type account struct {
	*Accounts
	bucket string
	turn   chan struct{} // taken by who changes the ledger, with these:
	tried  []attempt     // changes of which nobody knows whether they were made
	number uint64        // of the last attempt

	mu        sync.Mutex
	session   string // under which the ledger has the account; "" if it has not
	syncing   bool   // what is held is being changed: nobody takes of it
	doubtful  bool   // nor while nobody knows what the ledger says
	doubts    int    // how much of what is unsettled has not changed, perhaps
	held      Amount
	running   int    // operations under way
	inflight  Amount // promised to them
	unsettled Amount // what those that are done have changed
	used      time.Time
}

// attempt is a change of the ledger.
type attempt struct {
	number  uint64
	settled Amount
	doubts  int
	held    Amount
}

func (as *Accounts) account(bucket string) *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.all[bucket]
	if a == nil {
		a = &account{Accounts: as, bucket: bucket, turn: make(chan struct{}, 1)}
		as.all[bucket] = a
	}
	return a
}

// Reservation is room that is kept for one operation.
type Reservation struct {
	a       *account
	session string
	need    Amount
}

// Done gives the room back. delta is what the operation has changed: no more than what
// was reserved.
func (r *Reservation) Done(delta Amount) { r.settle(delta, 0) }

// Doubt is Done for an operation of which nobody knows whether it has changed anything:
// all that was reserved counts as used until it is counted again.
func (r *Reservation) Doubt() { r.settle(r.need, 1) }

func (r *Reservation) settle(delta Amount, doubts int) {
	a := r.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session != r.session {
		return // others have taken it as used, all of it
	}
	a.running--
	a.inflight = a.inflight.minus(r.need)
	a.unsettled = a.unsettled.plus(delta)
	a.doubts += doubts
	a.used = a.now()
}

// Reserve keeps room for an operation that needs so much, and has the ledger say so
// before it returns. It fails with the Kind OverQuota if there is not so much room.
func (as *Accounts) Reserve(ctx context.Context, b object.Bucket, limit Limit, need Amount) (*Reservation, error) {
	a := as.account(b.Name)
	if session := as.sessions.Current(); a.take(session, need) {
		return &Reservation{a, session, need}, nil
	}
	if err := a.lock(ctx); err != nil {
		return nil, err
	}
	defer a.unlock()
	for range maxTries {
		session := as.sessions.Current()
		if a.take(session, need) {
			return &Reservation{a, session, need}, nil
		}
		err := a.acquire(ctx, b, limit, session, need)
		if err == nil {
			as.wake()
			return &Reservation{a, session, need}, nil
		}
		if !errors.Is(err, errMoved) {
			return nil, object.E("reserve", b.Name, kindOf(err), err)
		}
	}
	return nil, object.E("reserve", b.Name, object.Unavailable, errMoved)
}

// errMoved says that the gateway has another session meanwhile.
var errMoved = errors.New("this gateway goes on in another session")

// wake has Run look at the accounts.
func (as *Accounts) wake() {
	select {
	case as.opened <- struct{}{}:
	default:
	}
}

// errFull says that there is no room.
var errFull = errors.New("the quota of the bucket leaves no room for it")

func kindOf(err error) object.Kind {
	if errors.Is(err, errFull) {
		return object.OverQuota
	}
	return object.Unavailable
}

// take takes of what is held.
func (a *account) take(session string, need Amount) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	free := a.held.minus(a.inflight).minus(a.unsettled)
	if a.session != session || a.syncing || a.doubtful || !need.fits(free) {
		return false
	}
	a.running++
	a.inflight = a.inflight.plus(need)
	a.used = a.now()
	return true
}

func (a *account) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return object.E("reserve", a.bucket, object.Unavailable, context.Cause(ctx))
	}
}

func (a *account) unlock() { <-a.turn }

// acquire has the ledger say that the account holds enough, and takes it. Where there is
// no room, others give back first what they hold and do not need. The caller has the turn.
func (a *account) acquire(ctx context.Context, b object.Bucket, limit Limit, session string, need Amount) error {
	var recall uint64
	deadline := a.now().Add(patience)
	for {
		changed := a.records.Changed()
		granted, waits := false, false
		_, err := a.change(ctx, b.Created, session, func(l *ledger, inflight Amount) edit {
			room := l.room(limit, session).minus(inflight)
			granted, waits = need.fits(room), false
			switch {
			case granted:
				return edit{held: inflight.plus(need).plus(spare(room.minus(need))), take: true, taken: need}
			case recall == 0 && l.shared(session):
				l.Recall++
				recall, waits = l.Recall, true
			case recall > 0 && l.owed(session, recall) && a.now().Before(deadline):
				waits = true
			}
			return edit{held: inflight}
		})
		switch {
		case err != nil:
			return err
		case granted:
			return nil
		case !waits:
			return errFull
		}
		if err := wait(ctx, changed, idle); err != nil {
			return err
		}
	}
}

// pause waits before a failed change is tried again.
func pause(ctx context.Context) error { return wait(ctx, nil, again) }

// wait waits for a change, and not for long.
func wait(ctx context.Context, changed <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// edit says what an account makes of its holding.
type edit struct {
	held  Amount
	take  bool   // the one who edits takes of it,
	taken Amount // so much
	close bool   // the ledger need not have it any more
}

// change changes the ledger by what there is to settle and by what decide makes of it,
// and returns it. decide may run more than once. The caller has the turn.
func (a *account) change(ctx context.Context, created time.Time, session string, decide func(l *ledger, inflight Amount) edit) (*ledger, error) {
	for deadline := a.now().Add(patience); ; {
		l, value, revision, err := a.load(created)
		if err != nil {
			if !a.now().Before(deadline) || pause(ctx) != nil {
				return nil, err
			}
			continue
		}
		if a.sessions.Current() != session {
			return nil, errMoved
		}
		a.resolve(l)
		inflight, unsettled, doubts := a.begin(session)
		if a.buried(l) {
			a.end(attempt{}, edit{close: true})
			continue
		}
		l.bury(func(id string) bool { return id == session || a.sessions.Live(id) })
		l.settle(unsettled)
		l.Loose = l.Loose || doubts > 0
		e := decide(l, inflight)
		if l.hold(session, e.held); e.close {
			delete(l.Held, session)
		}
		try := attempt{number: a.number + 1, settled: unsettled, doubts: doubts, held: e.held}
		if string(l.encode()) != string(value) {
			err = a.save(ctx, l, session, revision, try)
		}
		if err == nil {
			a.tried = nil
			a.end(try, e)
			return l, nil
		}
		a.abandon()
		if errors.Is(err, ErrChanged) && a.now().Before(deadline) {
			continue
		}
		// Perhaps there is no leader just now. The next attempt finds out what became of this one.
		if !a.now().Before(deadline) || pause(ctx) != nil {
			return nil, err
		}
	}
}

// save keeps the ledger with the number of the attempt, by which it shows later whether
// it was made.
func (a *account) save(ctx context.Context, l *ledger, session string, revision uint64, try attempt) error {
	a.number = try.number
	if h := l.Held[session]; h != nil {
		h.Attempt = try.number
		a.tried = append(a.tried, try)
	}
	if err := a.records.Set(ctx, recordPrefix+a.bucket, l.encode(), revision); err != nil {
		return fmt.Errorf("change the ledger of %s: %w", a.bucket, err)
	}
	return nil
}

// resolve finds out whether an attempt was made that seemed to fail.
func (a *account) resolve(l *ledger) {
	a.mu.Lock()
	h := l.Held[a.session]
	a.mu.Unlock()
	for _, try := range a.tried {
		if h != nil && h.Attempt == try.number {
			a.end(try, edit{held: try.held})
			a.tried = nil
			return
		}
	}
}

// begin has nobody take of what is held, and returns what is under way and what has to
// be settled. An account of another session begins anew.
func (a *account) begin(session string) (inflight, unsettled Amount, doubts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.syncing = true
	if a.session != session {
		a.reset()
		a.session, a.tried = session, nil
	}
	return a.inflight, a.unsettled, a.doubts
}

func (a *account) reset() {
	a.session, a.running, a.doubtful, a.doubts = "", 0, false, 0
	a.held, a.inflight, a.unsettled = Amount{}, Amount{}, Amount{}
}

// buried reports whether others have taken as used what the account held.
func (a *account) buried(l *ledger) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return l.Held[a.session] == nil && (a.running > 0 || a.unsettled != Amount{} || a.held != Amount{})
}

// end is what follows begin when the ledger was changed.
func (a *account) end(made attempt, e edit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.syncing, a.doubtful = false, false
	if e.close {
		a.reset()
		return
	}
	a.unsettled = a.unsettled.minus(made.settled)
	a.doubts -= made.doubts
	a.held = e.held
	if e.take {
		a.running++
		a.inflight = a.inflight.plus(e.taken)
	}
	a.used = a.now()
}

// abandon is what follows begin where the ledger was not changed, or nobody knows: until
// that shows there is nothing to take.
func (a *account) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.syncing, a.doubtful = false, true
}

// load returns the ledger of the bucket that was created then, and how it is kept.
func (a *account) load(created time.Time) (l *ledger, value []byte, revision uint64, err error) {
	l, value, revision, err = loadLedger(a.records, a.bucket)
	if err == nil && !created.IsZero() && !l.Created.Equal(created) {
		l = &ledger{Created: created, Loose: true}
	}
	return l, value, revision, err
}

func loadLedger(records Records, bucket string) (l *ledger, value []byte, revision uint64, err error) {
	value, revision, err = records.Get(recordPrefix + bucket)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read the ledger of %s: %w", bucket, err)
	}
	l = &ledger{}
	if len(value) > 0 {
		if err := json.Unmarshal(value, l); err != nil {
			return nil, nil, 0, fmt.Errorf("read the ledger of %s: %w", bucket, err)
		}
	}
	return l, value, revision, nil
}

// Run answers recalls, and closes accounts that nobody uses, until ctx ends. Then it
// closes all.
func (as *Accounts) Run(ctx context.Context) {
	for {
		changed := as.records.Changed()
		var later <-chan time.Time
		if as.tend(ctx, false) {
			later = time.After(idle)
		}
		select {
		case <-changed:
		case <-later:
		case <-as.opened:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			as.tend(last, true)
			return
		}
	}
}

// tend looks after the accounts, and reports whether any is open.
func (as *Accounts) tend(ctx context.Context, all bool) (open bool) {
	as.mu.Lock()
	accounts := slices.Collect(maps.Values(as.all))
	as.mu.Unlock()
	for _, a := range accounts {
		if a.isOpen() && (all || a.due()) {
			a.giveBack(ctx)
		}
		open = open || a.isOpen()
	}
	return open
}

func (a *account) isOpen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session != ""
}

// due reports whether the account has a recall to answer, or to be closed.
func (a *account) due() bool {
	a.mu.Lock()
	session, quiet := a.session, a.now().Sub(a.used) >= idle
	a.mu.Unlock()
	if quiet {
		return true
	}
	l, _, _, err := loadLedger(a.records, a.bucket)
	return err == nil && l.Held[session] != nil && l.Held[session].Answered < l.Recall
}

// giveBack settles the account and has it hold no more than what is under way. If that
// is nothing, and there is nothing to settle, it is closed. What goes wrong is tried again
// later.
func (a *account) giveBack(ctx context.Context) {
	select {
	case a.turn <- struct{}{}:
		defer a.unlock()
	default:
		return // who has the turn answers, too
	}
	a.mu.Lock()
	session := a.session
	a.mu.Unlock()
	if session != a.sessions.Current() {
		a.end(attempt{}, edit{close: true}) // others take as used what it held
		return
	}
	for range 2 { // settled first, then closed: it shows whether a change was made that settles
		done := false
		_, err := a.change(ctx, time.Time{}, session, func(_ *ledger, inflight Amount) edit {
			a.mu.Lock()
			defer a.mu.Unlock()
			done = a.running == 0 && a.unsettled == Amount{}
			return edit{held: inflight, close: done}
		})
		if err != nil || done {
			return
		}
	}
}
