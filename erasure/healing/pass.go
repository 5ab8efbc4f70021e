package healing

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/upkeep"
	"github.com/shoal-storage/shoal/internal/uuid"
)

// How often it is told how far a pass is: more seldom as it gets long, up to once a minute.
const (
	passTold   = 5 * time.Second
	passSeldom = time.Minute
)

// untold reports whether it is time to tell how far a pass is.
func untold(p *upkeep.Pass, now time.Time) bool {
	return now.Sub(p.Told) >= min(now.Sub(p.Begun)/20, passSeldom)
}

// pass makes a pass, and tells how far it is and what came of it. One that ends since this
// process does is left as it is, for who goes on.
func (k *Keeper) pass(ctx context.Context, p upkeep.Pass, work func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error)) (erasure.Healed, error) {
	inside, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k.begin(&p)
	var mu sync.Mutex
	tell := func() {
		mu.Lock()
		defer mu.Unlock()
		p.Told = time.Now()
		p.Limited(k.Store.HealRate())
		if err := k.tell(ctx, p); errors.Is(err, errPassEnded) {
			cancel(err)
		} else if err != nil && ctx.Err() == nil {
			k.Logger.Warn("it could not be told how far a pass over the drives is", "error", err)
		}
	}
	if p.Kind != upkeep.Everything && p.Kind != upkeep.Missed { // these are mostly over before anybody asks
		tell()
	}
	var telling sync.WaitGroup
	telling.Go(func() {
		for timer := time.NewTicker(passTold); ; {
			select {
			case now := <-timer.C:
				mu.Lock()
				due := untold(&p, now) || p.Limit != k.Store.HealRate()
				mu.Unlock()
				if due {
					tell()
				}
			case <-inside.Done():
				timer.Stop()
				return
			}
		}
	})
	h, err := work(inside, func(h erasure.Healed) {
		mu.Lock()
		defer mu.Unlock()
		count(&p, &h)
	})
	cancel(nil)
	telling.Wait()
	if ctx.Err() == nil && !errors.Is(context.Cause(inside), errPassEnded) {
		count(&p, &h)
		if p.Ended = time.Now(); err != nil {
			p.Error = err.Error()
		}
		tell()
	}
	return h, err
}

// begin sets what is known of a pass at its beginning.
func (k *Keeper) begin(p *upkeep.Pass) {
	p.Begun, p.Gateway, p.Limit = time.Now(), k.Name, k.Store.HealRate()
	if p.Kind == upkeep.Asked {
		return
	}
	p.Token = uuid.New()
	if p.Kind == upkeep.Missed { // how much that is the one before does not say
		return
	}
	before, err := k.last(p.Kind)
	switch {
	case err != nil:
	case before.Ended.IsZero() || before.Error != "":
		p.Complete, p.Expected = before.Complete, before.Expected
	default:
		p.Complete, p.Expected = before.Ended, before.Names
	}
}

// count sets what a pass has done.
func count(p *upkeep.Pass, h *erasure.Healed) {
	p.Counted = time.Now()
	p.Names, p.Records, p.Shards, p.Bytes, p.Damaged, p.Failed, p.Pending = h.Names, h.Records, h.Shards, h.Bytes, h.Damaged, h.Failed, h.Pending
	p.Away = h.Absent.Count()
	p.Mended, p.Left = nil, nil
	for _, m := range h.Mended {
		p.Mended = append(p.Mended, upkeep.Mended(m))
	}
	for _, l := range h.Left {
		p.Left = append(p.Left, upkeep.Left(l))
	}
}
