package gateway

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Pools are what drives were named together as. Its methods may be called concurrently.
type Pools interface {
	// Pools returns them, in the order in which they are named.
	Pools() ([]Pool, error)
	// Drain has what a pool holds be moved to the others, or no longer. ErrFirstPool says that
	// it cannot be.
	Drain(ctx context.Context, pool int, drain bool) error
}

// ErrFirstPool says that a pool has what all the others need.
var ErrFirstPool = errors.New("the first pool has the buckets and settings, and cannot be drained")

// Pool is how a pool of drives stands.
type Pool struct {
	Name     string    // as it was named
	Draining time.Time // since when what it holds is moved to others; zero: it is not
	Empty    bool      // nothing is left to be moved
	Moved    Progress  // of the last time that objects were moved between sets
}

// Progress is how far objects are on their way.
type Progress struct {
	Told   time.Time `json:"told"`
	Names  int64     `json:"names"`
	Bytes  int64     `json:"bytes"`
	Failed int64     `json:"failed"`
}

// shownPool is a pool as MinIO's tools know it.
type shownPool struct {
	ID           int           `json:"id"`
	CmdLine      string        `json:"cmdline"`
	LastUpdate   time.Time     `json:"lastUpdate"`
	Decommission shownDraining `json:"decommissionInfo"`
}

type shownDraining struct {
	StartTime     time.Time `json:"startTime"`
	StartSize     int64     `json:"startSize"`
	TotalSize     int64     `json:"totalSize"`
	CurrentSize   int64     `json:"currentSize"`
	Complete      bool      `json:"complete"`
	Failed        bool      `json:"failed"`
	Canceled      bool      `json:"canceled"`
	Objects       int64     `json:"objectsDecommissioned"`
	ObjectsFailed int64     `json:"objectsDecommissionedFailed"`
	Bytes         int64     `json:"bytesDecommissioned"`
}

func (p *Pool) shown(id int) shownPool {
	s := shownPool{ID: id, CmdLine: p.Name, LastUpdate: p.Moved.Told}
	if !p.Draining.IsZero() {
		s.Decommission = shownDraining{StartTime: p.Draining, Complete: p.Empty, Objects: p.Moved.Names, ObjectsFailed: p.Moved.Failed, Bytes: p.Moved.Bytes}
	}
	return s
}

// listPools serves pools/list.
func (s *Server) listPools(_ context.Context, r *request) error {
	if s.DrivePools == nil {
		return errNotImplemented.with(noPools)
	}
	all, err := s.DrivePools.Pools()
	if err != nil {
		return err
	}
	shown := []shownPool{}
	for i := range all {
		shown = append(shown, all[i].shown(i))
	}
	return r.answerJSON(shown)
}

// pool returns the pool that a request names, as it was named or by its number.
func (s *Server) pool(r *request) (int, *Pool, error) {
	if s.DrivePools == nil {
		return 0, nil, errNotImplemented.with(noPools)
	}
	all, err := s.DrivePools.Pools()
	if err != nil {
		return 0, nil, err
	}
	name := r.query.get("pool")
	number, notNumber := strconv.Atoi(name)
	for i := range all {
		if all[i].Name == name || notNumber == nil && number == i {
			return i, &all[i], nil
		}
	}
	return 0, nil, errAdminInvalid.with("There is no such pool of drives.")
}

// poolStatus serves pools/status.
func (s *Server) poolStatus(_ context.Context, r *request) error {
	i, p, err := s.pool(r)
	if err != nil {
		return err
	}
	return r.answerJSON(p.shown(i))
}

// drainPool serves pools/decommission, and keepPool pools/cancel.
func (s *Server) drainPool(ctx context.Context, r *request) error { return s.setDraining(ctx, r, true) }

func (s *Server) keepPool(ctx context.Context, r *request) error { return s.setDraining(ctx, r, false) }

func (s *Server) setDraining(ctx context.Context, r *request, drain bool) error {
	i, _, err := s.pool(r)
	if err != nil {
		return err
	}
	err = s.DrivePools.Drain(ctx, i, drain)
	if errors.Is(err, ErrFirstPool) {
		return errAdminInvalid.with("The first pool has the buckets and settings, and cannot be drained.")
	}
	return err
}

// Why calls about pools are not offered.
const (
	noPools      = "There are no pools of drives: what is served is one directory."
	selfBalanced = "Objects are moved to drives that were added by themselves. \"mc admin decommission status\" shows the pools."
)
