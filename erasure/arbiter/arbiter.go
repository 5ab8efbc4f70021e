// Package arbiter is the storage that decides for a fleet of nodes, where they have no file
// system in common: the drives of its sets. It says which generation of the fleet may act, ends
// sessions for good, and keeps what must outlive all nodes. Drives obey the rules of package
// fence; here is how many of them it takes.
package arbiter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/raftlock"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

// Drive takes orders. Its method may be called concurrently.
type Drive interface {
	Order(ctx context.Context, o fence.Order) (fence.State, error)
}

// Arbiter is a raftlock.Arbiter over the drives of sets. What it takes so many drives for it
// takes so many of each set for, since commits are made in each. Its methods may be called
// concurrently.
type Arbiter struct {
	sets   []int   // how many drives each has
	drives []Drive // of one set after the other
	ledger *erasure.Ledger

	mu         sync.Mutex
	generation uint32 // that this node acts in
}

var _ raftlock.Arbiter = (*Arbiter)(nil)

// New returns an Arbiter over the drives of sets, and the Ledger on them.
func New(sets [][]Drive, ledger *erasure.Ledger) *Arbiter {
	a := &Arbiter{ledger: ledger}
	for _, s := range sets {
		a.sets, a.drives = append(a.sets, len(s)), append(a.drives, s...)
	}
	return a
}

// callTime is how long one drive is waited for.
const callTime = 3 * time.Second

// reply is what a drive answered.
type reply struct {
	drive int
	state fence.State
	err   error
}

// order gives all drives an order. It returns when enough says so, or all have answered.
func (a *Arbiter) order(ctx context.Context, o fence.Order, enough func(replies []reply) bool) []reply {
	come := make(chan reply, len(a.drives))
	for i, d := range a.drives {
		go func() {
			// Who gives an order may leave; the order is to reach all drives nevertheless.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
			defer cancel()
			s, err := d.Order(ctx, o)
			come <- reply{i, s, err}
		}()
	}
	var replies []reply
	for len(replies) < len(a.drives) && !enough(replies) {
		select {
		case r := <-come:
			replies = append(replies, r)
		case <-ctx.Done():
			return replies
		}
	}
	return replies
}

// quorum is how many drives of a set of n it takes.
type quorum func(n int) int

// reached reports whether so many drives of each set have done what they were told.
func (a *Arbiter) reached(replies []reply, least quorum) bool {
	first := 0
	for _, n := range a.sets {
		obeyed := 0
		for i := range replies {
			if r := &replies[i]; r.err == nil && r.drive >= first && r.drive < first+n {
				obeyed++
			}
		}
		if obeyed < least(n) {
			return false
		}
		first += n
	}
	return true
}

// settles says that so many drives have obeyed, or that one has refused for good.
func (a *Arbiter) settles(least quorum) func([]reply) bool {
	return func(replies []reply) bool { return a.reached(replies, least) || refused(replies) != nil }
}

// refused returns the error of a drive that knows better, or nil.
func refused(replies []reply) error {
	for i := range replies {
		switch err := replies[i].err; {
		case errors.Is(err, fence.ErrTaken):
			return fmt.Errorf("%w: %w", mount.ErrTaken, err)
		case errors.Is(err, fence.ErrOver):
			return fmt.Errorf("%w: %w", mount.ErrOver, err)
		}
	}
	return nil
}

// errFew says that too few drives obey.
var errFew = errors.New("arbiter: too few drives answer")

// result is what replies come to where so many drives have to obey.
func (a *Arbiter) result(replies []reply, least quorum) error {
	if err := refused(replies); err != nil {
		return err
	}
	if a.reached(replies, least) {
		return nil
	}
	errs := []error{errFew}
	for i := range replies {
		errs = append(errs, replies[i].err)
	}
	return errors.Join(errs...)
}

// take gives all drives an order that so many have to obey.
func (a *Arbiter) take(ctx context.Context, o fence.Order, least quorum) error {
	return a.result(a.order(ctx, o, a.settles(least)), least)
}

// look returns what the drives know together, if so many answer.
func (a *Arbiter) look(ctx context.Context, least quorum) (fence.State, error) {
	replies := a.order(ctx, fence.Order{Op: fence.Look}, a.settles(least))
	if err := a.result(replies, least); err != nil {
		return fence.State{}, err
	}
	var states []fence.State
	for i := range replies {
		if replies[i].err == nil {
			states = append(states, replies[i].state)
		}
	}
	return fence.Merge(states...), nil
}

// Newest implements raftlock.Arbiter.
func (a *Arbiter) Newest(ctx context.Context) (mount.Generation, error) {
	s, err := a.look(ctx, register.ReadQuorum)
	if err != nil {
		return mount.Generation{}, fmt.Errorf("look for the newest generation: %w", err)
	}
	g := mount.Generation{Number: s.Generation, Closed: s.Closed, Claimant: s.Claimant}
	if s.Pulse > 0 {
		g.Pulse = strconv.FormatUint(s.Pulse, 16)
	}
	return g, nil
}

// Claim implements raftlock.Arbiter. A number that fewer drives have taken than a majority is
// spent. None is touched unless a majority answers, so that who is cut off from it disturbs
// nobody.
func (a *Arbiter) Claim(ctx context.Context, generation uint32, node string) error {
	a.teachAll(ctx, a.patiently(ctx, fence.Order{Op: fence.Look}))
	s, err := a.look(ctx, register.Majority)
	if err == nil && s.Generation >= generation {
		err = mount.ErrTaken
	}
	if err == nil {
		err = a.take(ctx, fence.Order{Op: fence.Claim, Generation: generation, Node: node}, register.Majority)
	}
	if err != nil {
		return fmt.Errorf("claim generation %d: %w", generation, err)
	}
	a.act(generation, "claimant")
	return nil
}

// act has the Ledger be kept in a session.
func (a *Arbiter) act(generation uint32, session string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation <= generation {
		a.generation = generation
		a.ledger.Act(generation, session)
	}
}

// Renew implements raftlock.Arbiter. It tells drives that were away what they have missed.
func (a *Arbiter) Renew(ctx context.Context, generation uint32) error {
	o := fence.Order{Op: fence.Renew, Generation: generation, Pulse: uint64(time.Now().UnixNano())} //nolint:gosec // after 1970
	for try := 0; ; try++ {
		replies := a.patiently(ctx, o)
		err := a.result(replies, register.ReadQuorum)
		taught := a.teachAll(ctx, replies)
		switch {
		case err == nil:
			return nil
		case !taught || try == len(a.drives):
			return fmt.Errorf("renew generation %d: %w", generation, err)
		}
	}
}

// patience is how long all drives are waited for, and not only a quorum of them.
const patience = 500 * time.Millisecond

// patiently gives an order and waits for a while until all drives have obeyed.
func (a *Arbiter) patiently(ctx context.Context, o fence.Order) []reply {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return a.order(ctx, o, func(replies []reply) bool { return refused(replies) != nil })
}

// teachAll tells drives that are behind what the others know, and reports whether any was
// told. The others are told the next time.
func (a *Arbiter) teachAll(ctx context.Context, replies []reply) (taught bool) {
	for i := range replies {
		if errors.Is(replies[i].err, fence.ErrBehind) && a.teach(ctx, replies[i].drive) == nil {
			taught = true
		}
	}
	return taught
}

// teach tells a drive what the others of its set know. It may stand for one that was counted in
// majorities: what each of these has in common with a quorum of the others it gets.
func (a *Arbiter) teach(ctx context.Context, drive int) error {
	first, n := a.setOf(drive)
	var states []fence.State
	enough := func(replies []reply) bool {
		states = states[:0]
		for i := range replies {
			if at := replies[i].drive; replies[i].err == nil && at != drive && at >= first && at < first+n {
				states = append(states, replies[i].state)
			}
		}
		return len(states) >= register.ReadQuorum(n)
	}
	if !enough(a.order(ctx, fence.Order{Op: fence.Look}, enough)) {
		return errFew
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := a.drives[drive].Order(ctx, fence.Order{Op: fence.Adopt, State: fence.Merge(states...)})
	return err
}

// setOf returns the first drive of the set that a drive is of, and how many that has.
func (a *Arbiter) setOf(drive int) (first, n int) {
	for _, n = range a.sets {
		if drive < first+n {
			break
		}
		first += n
	}
	return first, n
}

// End implements raftlock.Arbiter.
func (a *Arbiter) End(ctx context.Context, generation uint32) error {
	if err := a.take(ctx, fence.Order{Op: fence.End, Generation: generation}, register.Majority); err != nil {
		return fmt.Errorf("end generation %d: %w", generation, err)
	}
	return nil
}

// Begin implements raftlock.Arbiter: there is nothing to make, but whoever has a session can
// commit on a majority.
func (a *Arbiter) Begin(ctx context.Context, generation uint32, session string) error {
	if err := a.take(ctx, fence.Order{Op: fence.Check, Generation: generation, Session: session}, register.Majority); err != nil {
		return fmt.Errorf("begin session %s of generation %d: %w", session, generation, err)
	}
	a.act(generation, session)
	return nil
}

// Prove implements raftlock.Arbiter.
func (a *Arbiter) Prove(ctx context.Context, generation uint32, session string) error {
	if err := a.take(ctx, fence.Order{Op: fence.Check, Generation: generation, Session: session}, register.ReadQuorum); err != nil {
		return fmt.Errorf("prove that session %s of generation %d is not over: %w", session, generation, err)
	}
	return nil
}

// Fence implements raftlock.Arbiter.
func (a *Arbiter) Fence(ctx context.Context, generation uint32, session string) error {
	for {
		err := a.take(ctx, fence.Order{Op: fence.Seal, Generation: generation, Session: session}, register.Majority)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(fencePause):
		case <-ctx.Done():
			return fmt.Errorf("fence session %s of generation %d: %w", session, generation, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// fencePause is how long a fence waits before it tries again.
const fencePause = 200 * time.Millisecond

// Announce implements raftlock.Arbiter. Where nodes may be is in everybody's command line.
func (*Arbiter) Announce(context.Context, mount.Member) error { return nil }

// Members implements raftlock.Arbiter.
func (*Arbiter) Members(context.Context) ([]mount.Member, error) { return nil, nil }

// Withdraw implements raftlock.Arbiter.
func (*Arbiter) Withdraw(context.Context, string) error { return nil }

// SaveChange implements raftlock.Arbiter.
func (a *Arbiter) SaveChange(ctx context.Context, generation uint32, session string, index uint64, change []byte) error {
	return a.ledger.SaveChange(ctx, generation, session, index, change)
}

// SaveAll implements raftlock.Arbiter.
func (a *Arbiter) SaveAll(ctx context.Context, generation uint32, session string, index uint64, all []byte) error {
	return a.ledger.SaveAll(ctx, generation, session, index, all)
}

// Load implements raftlock.Arbiter.
func (a *Arbiter) Load(ctx context.Context) (mount.Saved, error) {
	s, err := a.ledger.Load(ctx)
	return mount.Saved(s), err
}
