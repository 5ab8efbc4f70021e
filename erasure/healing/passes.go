package healing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Records are what all processes with the drives have in common. Methods may be called concurrently.
type Records interface {
	// Get returns a record and its revision, which is 0 if there is none. It does not wait.
	Get(name string) (value []byte, revision uint64, err error)
	// Set changes a record if it still has the revision, else it returns an error that is
	// ErrChanged. When it returns nil, Get says so everywhere.
	Set(ctx context.Context, name string, value []byte, revision uint64) error
	// Changed returns what is closed when any record changes.
	Changed() <-chan struct{}
}

// ErrChanged says that a record is not of the revision any more that was to be changed.
var ErrChanged = errors.New("the record has changed meanwhile")

// passes keep what is known of passes over the drives, and which one is asked for. They are
// records, so that every gateway knows them, and one that goes on with a pass of another.
type passes struct {
	kept  Records
	alone bool // nobody else asks: how far a pass is needs not be written
	now   func() time.Time

	mu     sync.Mutex
	own    map[upkeep.PassKind]upkeep.Pass // as this process has told them last
	came   time.Time                       // when drives came last; zero: that was seen to
	over   map[string]upkeep.Pass          // that had ended by then, by token
	missed time.Time                       // when drives that are there missed something last; zero: the same
}

// wholeTold is how often the end of a pass that nobody has asked for is written by who is alone: while a
// drive is away each write is one more that it misses, which calls for a pass.
const wholeTold = time.Hour

// errPassEnded says that a pass is not wanted any more.
var errPassEnded = errors.New("it was ended, or another one was asked for")

func passRecord(kind upkeep.PassKind) string { return "heal/" + string(kind) }

// recorded returns the pass of a kind that is written, zero if there is none.
func (ps *passes) recorded(kind upkeep.PassKind) (p upkeep.Pass, revision uint64, err error) {
	value, revision, err := ps.kept.Get(passRecord(kind))
	if err == nil && revision != 0 {
		err = json.Unmarshal(value, &p)
	}
	if err != nil {
		return p, revision, fmt.Errorf("read pass: %w", err)
	}
	return p, revision, nil
}

// last returns the last pass of a kind, zero if there is none.
func (ps *passes) last(kind upkeep.PassKind) (upkeep.Pass, error) {
	p, _, err := ps.recorded(kind)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if own := ps.own[kind]; own.Told.After(p.Told) {
		p = own
	}
	return p, err
}

// dueFor is how long a pass that drives call for is said to be due: if there was none by then, it
// was over before it was known that they call for it.
const dueFor = time.Minute

// arrived notes that drives have come, as far as this process knows just now: one that was gone
// at some time, if it is not zero. Who has made a pass over all of them since then has noticed
// it earlier.
func (ps *passes) arrived(gone time.Time) {
	over := ps.ended()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.came, ps.over = ps.now(), over
	maps.DeleteFunc(over, func(_ string, p upkeep.Pass) bool {
		return p.Away == 0 && ps.came.Sub(p.Ended) < noticed && !p.Begun.Before(gone)
	})
}

// noticed is how long after another process this one may notice that a drive has come, or has
// missed something.
const noticed = 2 * wholeLook

// lacking notes that drives which are there have missed something, as far as this process knows
// just now. A pass that is under way may have looked there before.
func (ps *passes) lacking() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.missed = ps.now()
	if !ps.alone {
		ps.missed = ps.missed.Add(-noticed)
	}
}

// ended returns the passes over what drives lack that have ended, by token.
func (ps *passes) ended() map[string]upkeep.Pass {
	all := make(map[string]upkeep.Pass)
	for _, kind := range []upkeep.PassKind{upkeep.Missed, upkeep.Everything} {
		if p, err := ps.last(kind); err == nil && !p.Ended.IsZero() {
			all[p.Token] = p
		}
	}
	return all
}

// due reports whether drives have come or missed something, as far as was noticed, of which no
// pass has seen yet what they lack.
func (ps *passes) due() bool {
	ended := ps.ended()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	missed := ps.missedDue(ended)
	return ps.cameDue(ended) || missed
}

// missedDue is due of what drives have missed that are there: a pass that began later has seen it.
func (ps *passes) missedDue(ended map[string]upkeep.Pass) bool {
	if ps.missed.IsZero() {
		return false
	}
	for _, p := range ended {
		if !p.Begun.Before(ps.missed) {
			ps.missed = time.Time{}
		}
	}
	if ps.now().Sub(ps.missed) > dueFor {
		ps.missed = time.Time{}
	}
	return !ps.missed.IsZero()
}

// cameDue is due of drives that have come. A pass that was under way when they came tells by
// itself which ones it has missed.
func (ps *passes) cameDue(ended map[string]upkeep.Pass) bool {
	if ps.came.IsZero() {
		return false
	}
	maps.DeleteFunc(ended, func(token string, _ upkeep.Pass) bool { return ps.over[token].Token != "" })
	if len(ended) > 0 || ps.now().Sub(ps.came) > dueFor {
		ps.came = time.Time{}
	}
	return !ps.came.IsZero()
}

// Passes returns the last pass of each kind, under way or over.
func (ps *passes) Passes() (all []upkeep.Pass, err error) {
	for _, kind := range []upkeep.PassKind{upkeep.Missed, upkeep.Everything, upkeep.Scrub, upkeep.Asked} {
		p, err := ps.last(kind)
		if err != nil {
			return nil, err
		}
		if p.Token != "" {
			all = append(all, p)
		}
	}
	return all, nil
}

// Ask asks for a pass of the kind Asked, which one of all processes then makes. It returns upkeep.ErrHealing while
// another one is asked for or under way, unless it is to be taken instead of that.
func (ps *passes) Ask(ctx context.Context, p upkeep.Pass, instead bool) error {
	before, err := ps.last(upkeep.Asked)
	if err != nil {
		return err
	}
	if before.Token != "" && !before.Over(ps.now()) && !instead {
		return upkeep.ErrHealing
	}
	if everything, err := ps.last(upkeep.Everything); err == nil && p.Bucket == "" {
		p.Expected = max(everything.Names, everything.Expected)
	}
	_, revision, err := ps.recorded(upkeep.Asked)
	if err != nil {
		return err
	}
	if err := ps.write(ctx, &p, revision); errors.Is(err, ErrChanged) {
		return upkeep.ErrHealing // somebody else was faster
	} else if err != nil {
		return err
	}
	return nil
}

// End ends the pass that was asked for, if it is not over.
func (ps *passes) End(ctx context.Context) error {
	p, err := ps.last(upkeep.Asked)
	if err != nil || p.Over(ps.now()) {
		return err
	}
	_, revision, err := ps.recorded(upkeep.Asked)
	if err != nil {
		return err
	}
	p.Told = ps.now()
	p.Ended, p.Error = p.Told, errPassEnded.Error()
	return ps.write(ctx, &p, revision)
}

// asked returns the pass that somebody wants and nobody has made an end of.
func (ps *passes) asked() (p upkeep.Pass, wanted bool) {
	p, _, err := ps.recorded(upkeep.Asked)
	return p, err == nil && p.Token != "" && p.Ended.IsZero()
}

// tell takes note of how far a pass is. It returns errPassEnded if one that was asked for is
// not wanted any more.
func (ps *passes) tell(ctx context.Context, p upkeep.Pass) error {
	recorded, revision, err := ps.recorded(p.Kind)
	if err != nil {
		return err
	}
	if p.Kind == upkeep.Asked && (recorded.Token != p.Token || !recorded.Ended.IsZero()) {
		return errPassEnded
	}
	ps.mu.Lock()
	ps.own[p.Kind] = p
	ps.mu.Unlock()
	often := p.Kind == upkeep.Everything || p.Kind == upkeep.Missed
	if ps.alone && (p.Ended.IsZero() || often && p.Told.Sub(recorded.Told) < wholeTold) {
		return nil
	}
	return ps.write(ctx, &p, revision)
}

func (ps *passes) write(ctx context.Context, p *upkeep.Pass, revision uint64) error {
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write pass: %w", err)
	}
	return ps.kept.Set(ctx, passRecord(p.Kind), value, revision)
}
