package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// How often the drives are looked at for what some of them lack.
const (
	wholeSoon   = 5 * time.Second // after the start
	wholeLook   = 2 * time.Second // a drive that has come is not to be taken for whole
	askedAgain  = 15 * time.Second
	wholeAgain  = time.Minute      // between two passes, at least, unless a drive has come or the first has left something
	missedAgain = 15 * time.Second // the same where something was missed and all drives are there
	wholeApart  = time.Hour        // the same while a drive is away, and what it misses grows
	wholeEvery  = 24 * time.Hour   // over everything, in any case
	scrubEvery  = 30 * 24 * time.Hour
	scrubRate   = 8 << 20  // bytes a second, of all drives together
	askedRate   = 64 << 20 // the same where somebody waits for it
)

// lastScrub is the setting that says when all shards were read, as seconds since 1970.
const lastScrub = "scrub/last"

// standing of drives is what decides whether they are to be looked through.
type standing struct {
	missed  int64          // changes when drives may have missed something
	joined  int            // changes when a drive has come
	blank   map[int]string // IDs of drives that stand for others and do not have all yet, by their places
	offline int
	left    bool          // the pass that was made as they stood so has left something
	pause   time.Duration // after that pass before the next; 0: wholeAgain
}

// leave notes what became of a pass, which was made after another one. What it has left it may
// have come too early for, since other nodes notice later that a drive has come: so it is soon
// tried again, and less soon each time that something is left.
func (s *standing) leave(before standing, left bool) {
	if s.left = left; left && s.offline == 0 {
		s.pause = min(max(wholeSoon, 3*before.pause), wholeAgain)
	}
}

// due returns which pass over the drives is to be made, none if it is empty: one was made last
// at some time, as they stood then, and one over everything was complete at another.
func (s standing) due(before standing, since, whole time.Duration) gateway.PassKind {
	pause := cmp.Or(before.pause, wholeAgain)
	if s.missed != before.missed && s.offline == 0 {
		pause = min(pause, missedAgain) // one was away too briefly to be noticed, or is slow
	}
	changed := s.missed != before.missed || s.joined != before.joined || len(s.blank) > 0 || before.left
	switch {
	case since < pause && s.joined == before.joined:
		return ""
	case before.left && s.offline > 0 && s.joined == before.joined && since <= wholeApart:
		return ""
	case whole > wholeEvery:
		return gateway.Everything
	case since > wholeEvery: // this process has made none yet
	case !changed, s.offline > 0 && s.joined == before.joined && since <= wholeApart:
		return ""
	}
	if len(s.blank) > 0 {
		return gateway.Everything
	}
	return gateway.Missed
}

// keeper brings the drives of a set what they lack.
type keeper struct {
	store  *erasure.Store
	ledger *erasure.Ledger // nil: there is none
	kept   records
	passes *passes
	name   string // of this gateway; empty: there is no other
	locker lock.Locker
	log    *slog.Logger
	stands func() standing
	healed func(ctx context.Context, drives []string) error // takes note that these have all they should

	mu     sync.Mutex
	before standing  // as it was looked at last
	gone   time.Time // when a drive was missed first that had been there
}

// keep does so on one of all processes that keep the set, until the returned function is
// called.
func (k *keeper) keep(ctx context.Context) (end func() error) {
	k.before = k.stands()
	if len(k.passes.ended()) > 0 { // all drives come when a process begins, unless the set is new
		k.passes.arrived(k.gone)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { lock.Elect(ctx, k.locker, "s/heal", k.tend) })
	running.Go(func() { lock.Elect(ctx, k.locker, "s/scrub", k.read) }) // it takes long, and healing must not wait for it
	running.Go(func() { lock.Elect(ctx, k.locker, "s/asked", k.serve) })
	running.Go(func() { k.mend(ctx) })
	running.Go(func() { k.watch(ctx) })
	return func() error {
		cancel()
		running.Wait()
		return nil
	}
}

// watch looks at the drives before any pass does that they call for, which is longer in coming
// than watchEvery.
func (k *keeper) watch(ctx context.Context) {
	for ; ctx.Err() == nil; lock.Pause(ctx, watchEvery) {
		k.look()
	}
}

// look notes whether drives have come, or miss something though they are there, and reports
// whether any is not.
func (k *keeper) look() (away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, before := k.stands(), k.before
	k.before = now
	if now.offline > before.offline {
		k.gone = time.Now()
	}
	if now.joined != before.joined || now.offline < before.offline {
		k.passes.arrived(k.gone)
	}
	if now.missed != before.missed && now.offline == 0 {
		k.passes.lacking()
	}
	return now.offline > 0
}

// attentive is the Healer of a gateway that keeps drives: who asks learns how they stand now.
type attentive struct {
	*passes
	look func() (away bool)
}

// Due implements gateway.Healer.
func (a attentive) Due() bool { return a.look() || a.passes.Due() }

// watchEvery is how often it is looked whether drives have come.
const watchEvery = 100 * time.Millisecond

// mendAgain is how long an object that was mended is not mended again: a shard that cannot be
// made anew would be read without end.
const mendAgain = time.Minute

// mend heals objects whose readers on this node have found damaged.
func (k *keeper) mend(ctx context.Context) {
	mended := make(map[object.Ref]time.Time)
	for {
		select {
		case ref := <-k.store.Suspects():
			if last, ok := mended[ref]; ok && time.Since(last) < mendAgain {
				continue
			}
			h, err := k.store.Repair(ctx, ref, askedRate)
			if ctx.Err() != nil {
				return
			}
			level, msg, args := mendedAs(&h, err)
			k.log.Log(ctx, level, msg, append([]any{"bucket", ref.Bucket, "key", ref.Key}, args...)...)
			if len(mended) >= maxMended {
				clear(mended)
			}
			mended[ref] = time.Now()
		case <-ctx.Done():
			return
		}
	}
}

// mendedAs says what became of an object that a reader has found damaged.
func mendedAs(h *erasure.Healed, err error) (level slog.Level, msg string, args []any) {
	const damaged = "an object that a reader found damaged "
	args = []any{"shards", h.Shards, "records", h.Records}
	switch {
	case errors.Is(err, object.NoSuchBucket), err == nil && h.Names == 0:
		return slog.LevelInfo, damaged + "is no more", nil
	case err != nil:
		return slog.LevelWarn, damaged + "could not be looked at, and will be when it is read again", []any{"error", err}
	case h.Failed > 0:
		for _, l := range h.Left {
			args = append(args, "reason", l.Reason)
		}
		return slog.LevelWarn, damaged + "could not be healed, and will be tried again", args
	case h.Shards+h.Records > 0:
		return slog.LevelInfo, damaged + "was healed", args
	case h.Absent.Count() > 0:
		return slog.LevelInfo, damaged + "lacks something on drives that are away, and is healed when they are back", []any{"drives", h.Absent.Count()}
	}
	return slog.LevelInfo, damaged + "is whole: nothing is left to be done", nil
}

// maxMended is how many objects are remembered as mended.
const maxMended = 1024

// tend heals the drives when there is cause to.
func (k *keeper) tend(ctx context.Context) {
	last, before := time.Time{}, standing{}
	for lock.Pause(ctx, wholeSoon); ctx.Err() == nil; lock.Pause(ctx, wholeLook) {
		now := k.stands()
		kind := now.due(before, time.Since(last), time.Since(k.wholeSince()))
		if kind == "" {
			continue
		}
		if kind == gateway.Everything {
			now.leave(before, !k.heal(ctx))
		} else {
			now.leave(before, !k.catchUp(ctx))
		}
		last, before = time.Now(), now
	}
}

// wholeSince returns when a pass over everything was complete last. Names that it has left are
// among what is known to be missed.
func (k *keeper) wholeSince() time.Time {
	p, err := k.passes.last(gateway.Everything)
	switch {
	case err != nil:
		return time.Time{}
	case p.Ended.IsZero() || p.Error != "":
		return p.Complete
	}
	return p.Ended
}

// catchUp brings drives what is known to be missed, and reports whether they have all of that.
// Where that is not known of all drives it goes through everything.
func (k *keeper) catchUp(ctx context.Context) (whole bool) {
	h, err := k.pass(ctx, gateway.Pass{Kind: gateway.Missed}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
		h, err := k.store.HealMissed(ctx, seen)
		return k.withLedger(ctx, h, err, (*erasure.Ledger).HealMissed)
	})
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, register.ErrNoLog):
		k.log.Info("a drive cannot tell what others have missed: everything is looked through", "error", err)
		return k.heal(ctx)
	case err != nil:
		k.log.Error("drives could not be given what they have missed, and will be later", "error", err)
		return false
	}
	if h.Records+h.Shards+h.Failed > 0 {
		k.told("drives were given what they had missed", &h)
	}
	return h.Failed == 0 && h.Pending == 0
}

func (k *keeper) told(msg string, h *erasure.Healed) {
	k.log.Info(msg, "names", h.Names, "records", h.Records, "shards", h.Shards, "bytes", h.Bytes, "failed", h.Failed, "pending", h.Pending)
}

// underWay returns what tells the log how far a pass is that begins now, if it has done anything: as seldom as
// others are told.
func (k *keeper) underWay(msg string) func(h *erasure.Healed) {
	p := gateway.Pass{Begun: time.Now()}
	return func(h *erasure.Healed) {
		if now := time.Now(); h.Records+h.Shards > 0 && untold(&p, now) {
			p.Told = now
			k.told(msg, h)
		}
	}
}

// read reads all shards now and then.
func (k *keeper) read(ctx context.Context) {
	for lock.Pause(ctx, wholeAgain); ctx.Err() == nil; lock.Pause(ctx, wholeAgain) {
		if k.scrubIsDue() {
			k.scrub(ctx)
		}
	}
}

// scrubIsDue reports whether the shards were not read for long. A new set is scrubbed when
// it is as old as that.
func (k *keeper) scrubIsDue() bool {
	value, _, err := k.kept.Get(lastScrub)
	seconds, parsed := strconv.ParseInt(string(value), 10, 64)
	return err == nil && (parsed != nil || time.Since(time.Unix(seconds, 0)) > scrubEvery)
}

// scrub reads all shards, unless none of the set was read before: then it only notes that
// the time for it begins now.
func (k *keeper) scrub(ctx context.Context) {
	_, revision, err := k.kept.Get(lastScrub)
	if err == nil && revision != 0 {
		var h erasure.Healed
		h, err = k.pass(ctx, gateway.Pass{Kind: gateway.Scrub, Deep: true}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
			return k.store.Scrub(ctx, scrubRate, seen)
		})
		k.log.Info("all shards were read", "names", h.Names, "damaged", h.Damaged, "failed", h.Failed, "error", err)
	}
	if err == nil {
		err = k.kept.Set(ctx, lastScrub, strconv.AppendInt(nil, time.Now().Unix(), 10), revision)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Error("the shards could not be read through, and will be later", "error", err)
	}
}

// heal goes through the drives once, and reports whether they have all they should.
func (k *keeper) heal(ctx context.Context) (whole bool) {
	blank := k.stands().blank // those that come meanwhile are for the next time
	h, err := k.pass(ctx, gateway.Pass{Kind: gateway.Everything}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
		log := k.underWay("drives are being healed")
		return k.everything(ctx, 0, func(h erasure.Healed) {
			seen(h)
			log(&h)
		})
	})
	if err != nil {
		if ctx.Err() == nil {
			k.log.Error("the drives could not be looked through, and will be later", "error", err)
		}
		return false
	}
	if h.Records+h.Shards+h.Failed > 0 || len(blank) > 0 {
		k.told("drives were healed", &h)
	}
	var all []string
	for i, id := range blank {
		if h.Failed == 0 && !h.Absent.Has(i) {
			all = append(all, id)
		}
	}
	if len(all) > 0 {
		if err := k.healed(ctx, all); err != nil {
			k.log.Error("a drive that was healed cannot take note of that", "error", err)
		}
	}
	return h.Failed == 0 && h.Absent.Count() == 0
}

// everything goes through all that the drives hold, and reads every shard if rate is not 0.
func (k *keeper) everything(ctx context.Context, rate int64, seen func(erasure.Healed)) (h erasure.Healed, err error) {
	if rate > 0 {
		h, err = k.store.Scrub(ctx, rate, seen)
	} else {
		h, err = k.store.Heal(ctx, seen)
	}
	return k.withLedger(ctx, h, err, (*erasure.Ledger).Heal)
}

// withLedger adds what healing the Ledger comes to, if there is one and nothing has failed.
func (k *keeper) withLedger(ctx context.Context, h erasure.Healed, err error, heal func(*erasure.Ledger, context.Context) (erasure.Healed, error)) (erasure.Healed, error) {
	if err == nil && k.ledger != nil {
		var kept erasure.Healed
		kept, err = heal(k.ledger, ctx)
		h.Names, h.Records, h.Failed, h.Pending = h.Names+kept.Names, h.Records+kept.Records, h.Failed+kept.Failed, h.Pending+kept.Pending
		h.Absent.Add(&kept.Absent)
		h.Left = append(h.Left, kept.Left...)
	}
	return h, err //nolint:wrapcheck // it is told as what came of the pass
}

// serve makes the passes that are asked for.
func (k *keeper) serve(ctx context.Context) {
	for ctx.Err() == nil {
		changed := k.kept.Changed()
		if p, wanted := k.passes.asked(); wanted {
			h, err := k.pass(ctx, p, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
				return k.part(ctx, &p, seen)
			})
			k.log.Info("a pass that was asked for is over", "bucket", p.Bucket, "prefix", p.Prefix, "names", h.Names, "shards", h.Shards, "failed", h.Failed, "error", err)
			again := time.Second
			if err != nil { // perhaps it could not be written either that it is over
				again = askedAgain
			}
			lock.Pause(ctx, again)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// part goes through what a pass is over that was asked for.
func (k *keeper) part(ctx context.Context, p *gateway.Pass, seen func(erasure.Healed)) (erasure.Healed, error) {
	rate := int64(0)
	if p.Deep {
		rate = askedRate
	}
	if p.Bucket == "" {
		return k.everything(ctx, rate, seen)
	}
	return k.store.HealBucket(ctx, p.Bucket, p.Prefix, rate, seen) //nolint:wrapcheck // it is told as what came of the pass
}
