// Package healing has drives that lack something be given it, without a command: it decides when what they hold is
// looked through, has one of all nodes do that, and tells the others how far that is.
package healing

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/upkeep"
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
	scrubTold   = 10 * time.Minute // how far it is, for who goes on
	scrubRate   = 8 << 20          // bytes a second, of all drives together
	askedRate   = 64 << 20         // the same where somebody waits for it
)

// Settings that say when all shards were read, as seconds since 1970, and how far the pass is that reads them, as
// a scrubbed in JSON; empty: there is none.
const (
	lastScrub = "scrub/last"
	scrubAt   = "scrub/at"
)

// scrubbed is how far a pass is that reads all shards. Where they were read through since it began, as by a node that
// does not know of this, it is of no pass any more.
type scrubbed struct {
	erasure.Position
	Last string `json:"last"` // what lastScrub was when it began
}

// Config says what a Keeper looks after. Its functions may be called concurrently.
type Config struct {
	Store   *erasure.Store
	Ledger  *erasure.Ledger // nil: there is none
	Records Records
	Alone   bool   // no other process has these records: how far a pass is needs not be written
	Name    string // of this node, as others are to see who makes a pass; empty: there is no other
	Locker  lock.Locker
	Logger  *slog.Logger
	// Standing returns how the drives stand, as this process knows it. Refresh finds out
	// before, for somebody who waits; nil: it is always known.
	Standing func() Standing
	Refresh  func(ctx context.Context)
	// Healed takes note that drives, by their IDs, have all they should.
	Healed func(ctx context.Context, drives []string) error
}

// Keeper brings the drives of sets what they lack, together with those of the other processes
// that have them. It is an admin.Healer.
type Keeper struct {
	Config
	passes

	mu     sync.Mutex
	before Standing  // as it was looked at last
	gone   time.Time // when a drive was missed first that had been there
}

// New returns a Keeper that does nothing before Start.
func New(cfg Config) *Keeper {
	if cfg.Refresh == nil {
		cfg.Refresh = func(context.Context) {}
	}
	return &Keeper{Config: cfg, passes: passes{kept: cfg.Records, alone: cfg.Alone, now: time.Now, own: make(map[upkeep.PassKind]upkeep.Pass)}}
}

// Start has each kind of pass be made by one of all processes, when there is cause to, until the returned
// function is called, which waits for what is under way. Values of ctx are used, and not when it ends.
func (k *Keeper) Start(ctx context.Context) (end func() error) {
	k.before = k.Standing()
	if len(k.ended()) > 0 { // all drives come when a process begins, unless the set is new
		k.arrived(k.gone)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { lock.Elect(ctx, k.Locker, "s/heal", k.tend) })
	running.Go(func() { lock.Elect(ctx, k.Locker, "s/scrub", k.read) }) // it takes long, and healing must not wait for it
	running.Go(func() { lock.Elect(ctx, k.Locker, "s/asked", k.serve) })
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
func (k *Keeper) watch(ctx context.Context) {
	for ; ctx.Err() == nil; lock.Pause(ctx, watchEvery) {
		k.look()
	}
}

// look notes whether drives have come, or miss something though they are there, and reports
// whether any is not.
func (k *Keeper) look() (away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, before := k.Standing(), k.before
	k.before = now
	if now.Offline > before.Offline {
		k.gone = time.Now()
	}
	if now.Joined != before.Joined || now.Offline < before.Offline {
		k.arrived(k.gone)
	}
	if now.Missed != before.Missed && now.Offline == 0 {
		k.lacking()
	}
	return now.Offline > 0
}

// refreshTime is how long it may take to learn how the drives stand now.
const refreshTime = 2 * time.Second

// Due reports whether drives are away, or have come or missed something of which no pass has seen yet what it
// is. Who asks learns how they stand now.
func (k *Keeper) Due(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	k.Refresh(ctx)
	return k.look() || k.due()
}

// watchEvery is how often it is looked whether drives have come.
const watchEvery = 100 * time.Millisecond

// mendAgain is how long an object that was mended is not mended again: a shard that cannot be
// made anew would be read without end.
const mendAgain = time.Minute

// mend heals objects whose readers on this node have found damaged.
func (k *Keeper) mend(ctx context.Context) {
	mended := make(map[object.Ref]time.Time)
	for {
		select {
		case ref := <-k.Store.Suspects():
			if last, ok := mended[ref]; ok && time.Since(last) < mendAgain {
				continue
			}
			h, err := k.Store.Repair(ctx, ref, askedRate)
			if ctx.Err() != nil {
				return
			}
			level, msg, args := mendedAs(&h, err)
			k.Logger.Log(ctx, level, msg, append([]any{"bucket", ref.Bucket, "key", ref.Key}, args...)...)
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
func (k *Keeper) tend(ctx context.Context) {
	last, before := time.Time{}, Standing{}
	for lock.Pause(ctx, wholeSoon); ctx.Err() == nil; lock.Pause(ctx, wholeLook) {
		now := k.Standing()
		kind := now.due(before, time.Since(last), time.Since(k.wholeSince()))
		if kind == "" {
			continue
		}
		if kind == upkeep.Everything {
			now.leave(before, !k.heal(ctx))
		} else {
			now.leave(before, !k.catchUp(ctx))
		}
		last, before = time.Now(), now
	}
}

// wholeSince returns when a pass over everything was complete last. Names that it has left are
// among what is known to be missed.
func (k *Keeper) wholeSince() time.Time {
	p, err := k.last(upkeep.Everything)
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
func (k *Keeper) catchUp(ctx context.Context) (whole bool) {
	h, err := k.pass(ctx, upkeep.Pass{Kind: upkeep.Missed}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
		h, err := k.Store.HealMissed(ctx, seen)
		return k.withLedger(ctx, h, err, (*erasure.Ledger).HealMissed)
	})
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, register.ErrNoLog):
		k.Logger.Info("a drive cannot tell what others have missed: everything is looked through", "error", err)
		return k.heal(ctx)
	case err != nil:
		k.Logger.Error("drives could not be given what they have missed, and will be later", "error", err)
		return false
	}
	if h.Records+h.Shards+h.Failed > 0 {
		k.told("drives were given what they had missed", &h)
	}
	return h.Failed == 0 && h.Pending == 0
}

func (k *Keeper) told(msg string, h *erasure.Healed) {
	k.Logger.Info(msg, "names", h.Names, "records", h.Records, "shards", h.Shards, "bytes", h.Bytes, "failed", h.Failed, "pending", h.Pending)
}

// underWay returns what tells the log how far a pass is that begins now, if it has done anything: as seldom as
// others are told.
func (k *Keeper) underWay(msg string) func(h *erasure.Healed) {
	p := upkeep.Pass{Begun: time.Now()}
	return func(h *erasure.Healed) {
		if now := time.Now(); h.Records+h.Shards > 0 && untold(&p, now) {
			p.Told = now
			k.told(msg, h)
		}
	}
}

// read reads all shards now and then.
func (k *Keeper) read(ctx context.Context) {
	for lock.Pause(ctx, wholeAgain); ctx.Err() == nil; {
		again := wholeAgain
		if k.scrubIsDue() && errors.Is(k.scrub(ctx), erasure.ErrSetAway) {
			again = wholeEvery // all others were read
		}
		lock.Pause(ctx, again)
	}
}

// scrubIsDue reports whether the shards were not read for long. A new set is scrubbed when
// it is as old as that.
func (k *Keeper) scrubIsDue() bool {
	value, _, err := k.Records.Get(lastScrub)
	seconds, parsed := strconv.ParseInt(string(value), 10, 64)
	return err == nil && (parsed != nil || time.Since(time.Unix(seconds, 0)) > scrubEvery)
}

// scrub reads all shards, unless none of the set was read before: then it only notes that
// the time for it begins now.
func (k *Keeper) scrub(ctx context.Context) error {
	last, revision, err := k.Records.Get(lastScrub)
	if err == nil && revision != 0 {
		err = k.scrubOn(ctx, string(last))
	}
	if err == nil {
		err = k.Records.Set(ctx, lastScrub, strconv.AppendInt(nil, time.Now().Unix(), 10), revision)
	}
	if err != nil && ctx.Err() == nil {
		k.Logger.Error("the shards could not be read through, and will be later", "error", err)
	}
	return err
}

// scrubOn reads all shards that the last pass has not come to, which ended before it was through, as its process did.
func (k *Keeper) scrubOn(ctx context.Context, last string) error {
	var from scrubbed
	value, _, err := k.Records.Get(scrubAt)
	if err == nil && len(value) > 0 {
		err = json.Unmarshal(value, &from)
	}
	if err != nil {
		return fmt.Errorf("read how far the shards were read: %w", err)
	}
	if from.Last != last {
		from = scrubbed{}
	}
	told := time.Now()
	h, err := k.pass(ctx, upkeep.Pass{Kind: upkeep.Scrub, Deep: true}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
		return k.Store.ScrubFrom(ctx, from.Position, scrubRate, func(h erasure.Healed) {
			seen(h)
			if now := time.Now(); now.Sub(told) > scrubTold {
				told = now
				k.scrubbedTo(ctx, scrubbed{h.At, last})
			}
		})
	})
	k.Logger.Info("all shards were read", "names", h.Names, "damaged", h.Damaged, "failed", h.Failed, "error", err)
	if err == nil || errors.Is(err, erasure.ErrSetAway) {
		h.At = erasure.Position{} // the next one is to begin with the first
	}
	k.scrubbedTo(ctx, scrubbed{h.At, last})
	return err
}

// scrubbedTo notes how far the shards were read.
func (k *Keeper) scrubbedTo(ctx context.Context, at scrubbed) {
	value, err := json.Marshal(at)
	if at.Position == (erasure.Position{}) {
		value = nil
	}
	before, revision, err1 := k.Records.Get(scrubAt)
	if err = cmp.Or(err, err1); err == nil && !bytes.Equal(value, before) {
		err = k.Records.Set(ctx, scrubAt, value, revision)
	}
	if err != nil && ctx.Err() == nil {
		k.Logger.Warn("it could not be noted how far the shards were read", "error", err)
	}
}

// heal goes through the drives once, and reports whether they have all they should.
func (k *Keeper) heal(ctx context.Context) (whole bool) {
	blank := k.Standing().Blank // those that come meanwhile are for the next time
	h, err := k.pass(ctx, upkeep.Pass{Kind: upkeep.Everything}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
		log := k.underWay("drives are being healed")
		return k.everything(ctx, 0, func(h erasure.Healed) {
			seen(h)
			log(&h)
		})
	})
	if err != nil && ctx.Err() == nil {
		k.Logger.Error("the drives could not be looked through, and will be later", "error", err)
	}
	if err != nil && !errors.Is(err, erasure.ErrSetAway) {
		return false
	}
	if h.Records+h.Shards+h.Failed > 0 || len(blank) > 0 {
		k.told("drives were healed", &h)
	}
	var all []string
	for i, id := range blank {
		if !h.Absent.Has(i) && !h.Lacking.Has(i) {
			all = append(all, id)
		}
	}
	if len(all) > 0 {
		if err := k.Healed(ctx, all); err != nil {
			k.Logger.Error("a drive that was healed cannot take note of that", "error", err)
		}
	}
	return err == nil && h.Failed == 0 && h.Absent.Count() == 0
}

// everything goes through all that the drives hold, and reads every shard if rate is not 0.
func (k *Keeper) everything(ctx context.Context, rate int64, seen func(erasure.Healed)) (h erasure.Healed, err error) {
	if rate > 0 {
		h, err = k.Store.Scrub(ctx, rate, seen)
	} else {
		h, err = k.Store.Heal(ctx, seen)
	}
	return k.withLedger(ctx, h, err, (*erasure.Ledger).Heal)
}

// withLedger adds what healing the Ledger comes to, if there is one and nothing has failed but what is away.
func (k *Keeper) withLedger(ctx context.Context, h erasure.Healed, err error, heal func(*erasure.Ledger, context.Context) (erasure.Healed, error)) (erasure.Healed, error) {
	if k.Ledger == nil || err != nil && !errors.Is(err, erasure.ErrSetAway) {
		return h, err
	}
	kept, unkept := heal(k.Ledger, ctx)
	h.Names, h.Records, h.Failed, h.Pending = h.Names+kept.Names, h.Records+kept.Records, h.Failed+kept.Failed, h.Pending+kept.Pending
	h.Absent.Add(&kept.Absent)
	h.Lacking.Add(&kept.Lacking)
	h.Left = append(h.Left, kept.Left...)
	if unkept != nil && !errors.Is(unkept, erasure.ErrSetAway) {
		err = unkept
	}
	return h, cmp.Or(err, unkept) //nolint:wrapcheck // it is told as what came of the pass
}

// serve makes the passes that are asked for.
func (k *Keeper) serve(ctx context.Context) {
	for ctx.Err() == nil {
		changed := k.Records.Changed()
		if p, wanted := k.asked(); wanted {
			h, err := k.pass(ctx, p, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
				return k.part(ctx, &p, seen)
			})
			k.Logger.Info("a pass that was asked for is over", "bucket", p.Bucket, "prefix", p.Prefix, "names", h.Names, "shards", h.Shards, "failed", h.Failed, "error", err)
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
func (k *Keeper) part(ctx context.Context, p *upkeep.Pass, seen func(erasure.Healed)) (erasure.Healed, error) {
	rate := int64(0)
	if p.Deep {
		rate = askedRate
	}
	if p.Bucket == "" {
		return k.everything(ctx, rate, seen)
	}
	return k.Store.HealBucket(ctx, p.Bucket, p.Prefix, rate, seen) //nolint:wrapcheck // it is told as what came of the pass
}
