package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Usage is what is known of what a bucket with a limit holds.
type Usage struct {
	Used    Amount
	Loose   bool      // it may be less, and should be counted again
	Counted time.Time // zero: never
}

// Usage returns what a bucket holds, as far as all gateways have said.
func (as *Accounts) Usage(b object.Bucket) (Usage, error) {
	l, _, _, err := as.account(b.Name).load(b.Created)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Used: l.Used, Loose: l.Loose, Counted: l.Counted}, nil
}

// Count has count look at all that a bucket holds, and the ledger say so. What is changed
// meanwhile makes the result too large rather than too small, and Loose.
func (as *Accounts) Count(ctx context.Context, b object.Bucket, count func(context.Context) (Amount, error)) error {
	a := as.account(b.Name)
	before, err := a.quiesce(ctx, b)
	if err != nil {
		return err
	}
	found, err := count(ctx)
	if err != nil {
		return fmt.Errorf("count %s: %w", b.Name, err)
	}
	after, err := a.quiesce(ctx, b)
	if err != nil {
		return err
	}
	session := as.sessions.Current()
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	_, err = a.change(ctx, b.Created, session, func(l *ledger, inflight Amount) edit {
		still := before.Changes == l.Changes && len(before.Held)+len(after.Held)+others(l, session) == 0 && inflight == Amount{}
		l.Counted = as.now().UTC().Truncate(time.Second)
		if still {
			l.Used, l.Loose = found, false
		} else {
			grown := l.Used.minus(before.Used)
			l.Used = Amount{Bytes: max(l.Used.Bytes, found.Bytes+grown.Bytes), Objects: max(l.Used.Objects, found.Objects+grown.Objects)}
			l.Loose = true
		}
		l.Changes++
		return edit{held: inflight}
	})
	if err != nil {
		return object.E("count", b.Name, object.Unavailable, err)
	}
	as.wake()
	return nil
}

// quiesce has all gateways settle and give back what they do not need, and returns the
// ledger then, without what this one holds if that is nothing.
func (a *account) quiesce(ctx context.Context, b object.Bucket) (*ledger, error) {
	session := a.sessions.Current()
	if err := a.lock(ctx); err != nil {
		return nil, err
	}
	defer a.unlock()
	defer a.wake()
	var recall uint64
	for deadline := a.now().Add(patience); ; {
		changed := a.records.Changed()
		resting := false
		l, err := a.change(ctx, b.Created, session, func(l *ledger, inflight Amount) edit {
			if recall == 0 {
				l.Recall++
				recall = l.Recall
			}
			resting = inflight == Amount{}
			return edit{held: inflight}
		})
		if err != nil {
			return nil, object.E("count", b.Name, object.Unavailable, err)
		}
		if !l.owed(session, recall) || !a.now().Before(deadline) {
			if resting {
				delete(l.Held, session)
			}
			return l, nil
		}
		if err := wait(ctx, changed, idle); err != nil {
			return nil, err
		}
	}
}

// others returns how many sessions beside one hold anything.
func others(l *ledger, session string) int {
	n := len(l.Held)
	if l.Held[session] != nil {
		n--
	}
	return n
}

// Buckets returns the names of the buckets that have a ledger.
func (as *Accounts) Buckets() ([]string, error) {
	names, err := as.records.List(recordPrefix)
	if err != nil {
		return nil, fmt.Errorf("list ledgers: %w", err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], recordPrefix)
	}
	return names, nil
}

// Forget removes the ledger of a bucket that is gone.
func (as *Accounts) Forget(ctx context.Context, bucket string) error {
	for range maxTries {
		value, revision, err := as.records.Get(recordPrefix + bucket)
		if err != nil || value == nil {
			return err
		}
		err = as.records.Set(ctx, recordPrefix+bucket, nil, revision)
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return nil
}
