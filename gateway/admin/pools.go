package admin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Pools are what drives were named together as. Its methods may be called concurrently.
type Pools interface {
	// Pools returns them, in the order in which they are named.
	Pools() ([]upkeep.Pool, error)
	// Drain has what a pool holds be moved to the others, or no longer. ErrLastPool says that it
	// cannot be.
	Drain(ctx context.Context, pool int, drain bool) error
}

// shownPool is a pool as MinIO's tools know it.
type shownPool struct {
	ID           int           `json:"id"`
	CmdLine      string        `json:"cmdline"`
	LastUpdate   time.Time     `json:"lastUpdate"`
	Share        float64       `json:"share"`   // what shoal shows besides
	Coming       float64       `json:"coming"`  // the same
	Leaving      float64       `json:"leaving"` // the same
	Looked       int64         `json:"looked"`  // the same
	Decommission shownDraining `json:"decommissionInfo"`
}

type shownDraining struct {
	StartTime     time.Time `json:"startTime"`
	StartSize     uint64    `json:"startSize"`
	TotalSize     uint64    `json:"totalSize"`
	CurrentSize   uint64    `json:"currentSize"`
	Complete      bool      `json:"complete"`
	Failed        bool      `json:"failed"`
	Canceled      bool      `json:"canceled"`
	Objects       int64     `json:"objectsDecommissioned"`
	ObjectsFailed int64     `json:"objectsDecommissionedFailed"`
	Bytes         int64     `json:"bytesDecommissioned"`
}

// newShownPool returns the pool as those tools show it: by what they call sizes they mean room that is left.
func newShownPool(p *upkeep.Pool, id int) shownPool {
	s := shownPool{ID: id, CmdLine: p.Name, LastUpdate: p.Moved.Told}
	s.Share, s.Coming, s.Leaving, s.Looked = p.Share, p.Coming, p.Leaving, p.Moved.Looked
	d := &s.Decommission
	d.TotalSize, d.CurrentSize = p.Room.Total, p.Room.Free
	if !p.Draining.IsZero() {
		d.StartTime, d.StartSize, d.Complete = p.Draining, p.Began, p.Empty
	}
	if !p.Draining.IsZero() || p.Moving() {
		d.Objects, d.ObjectsFailed, d.Bytes = p.Moved.Names, p.Moved.Failed, p.Moved.Bytes
	}
	return s
}

// shownRebalance is how objects get to drives that were added, as MinIO's tools know it.
type shownRebalance struct {
	ID    string
	Pools []shownBalance `json:"pools"`
}

type shownBalance struct {
	ID       int           `json:"id"`
	Status   string        `json:"status"` // "Started" while something moves, or ""
	Used     float64       `json:"used"`   // of its drives
	Progress shownProgress `json:"progress"`
}

type shownProgress struct {
	Objects  int64         `json:"objects"`
	Versions int64         `json:"versions"`
	Bytes    int64         `json:"bytes"`
	Elapsed  time.Duration `json:"elapsed"`
}

// balanceStatus serves rebalance/status. What is moved is told once, of the first pool that it
// leaves: those tools add up what all pools tell.
func (a *API) balanceStatus(_ context.Context, c *Call) error {
	if a.DrivePools == nil {
		return errNotImplemented.with(noPools)
	}
	all, err := a.DrivePools.Pools()
	if err != nil {
		return err
	}
	shown, told := shownRebalance{ID: "shoal"}, false
	for i := range all {
		p := &all[i]
		b := shownBalance{ID: i}
		if p.Room.Total > 0 {
			b.Used = float64(p.Room.Used()) / float64(p.Room.Total)
		}
		if p.Moving() {
			b.Status = "Started"
		}
		if p.Leaving > 0 && !told {
			told = true
			b.Progress = shownProgress{Objects: p.Moved.Names, Versions: p.Moved.Versions, Bytes: p.Moved.Bytes}
			if !p.Moved.Begun.IsZero() {
				b.Progress.Elapsed = a.Now().Sub(p.Moved.Begun)
			}
		}
		shown.Pools = append(shown.Pools, b)
	}
	return c.answerJSON(shown)
}

// listPools serves pools/list.
func (a *API) listPools(_ context.Context, c *Call) error {
	if a.DrivePools == nil {
		return errNotImplemented.with(noPools)
	}
	all, err := a.DrivePools.Pools()
	if err != nil {
		return err
	}
	shown := []shownPool{}
	for i := range all {
		shown = append(shown, newShownPool(&all[i], i))
	}
	return c.answerJSON(shown)
}

// pool returns the pool that a request names, as it was named or by its number.
func (a *API) pool(c *Call) (int, *upkeep.Pool, error) {
	if a.DrivePools == nil {
		return 0, nil, errNotImplemented.with(noPools)
	}
	all, err := a.DrivePools.Pools()
	if err != nil {
		return 0, nil, err
	}
	name := c.Query.Get("pool")
	number, notNumber := strconv.Atoi(name)
	for i := range all {
		if all[i].Name == name || notNumber == nil && number == i {
			return i, &all[i], nil
		}
	}
	return 0, nil, errInvalid.with("There is no such pool of drives.")
}

// poolStatus serves pools/status.
func (a *API) poolStatus(_ context.Context, c *Call) error {
	i, p, err := a.pool(c)
	if err != nil {
		return err
	}
	return c.answerJSON(newShownPool(p, i))
}

// drainPool serves pools/decommission, and keepPool pools/cancel.
func (a *API) drainPool(ctx context.Context, c *Call) error { return a.setDraining(ctx, c, true) }

func (a *API) keepPool(ctx context.Context, c *Call) error { return a.setDraining(ctx, c, false) }

func (a *API) setDraining(ctx context.Context, c *Call, drain bool) error {
	i, _, err := a.pool(c)
	if err != nil {
		return err
	}
	err = a.DrivePools.Drain(ctx, i, drain)
	if errors.Is(err, upkeep.ErrLastPool) {
		return errInvalid.with("All other pools are drained, and this one has nowhere to move what it holds to.")
	}
	return err
}

// Why calls about pools are not offered.
const (
	noPools      = "There are no pools of drives: what is served is one directory."
	selfBalanced = "Objects are moved to drives that were added by themselves: \"mc admin rebalance status\" shows how far that is."
)
