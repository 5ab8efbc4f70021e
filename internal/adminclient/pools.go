package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Pool is a pool of drives, and how far what it holds is on its way to others.
type Pool struct {
	Name     string     `json:"name"`
	State    string     `json:"state"`              // active, draining or drained
	Draining *time.Time `json:"draining,omitempty"` // since when
	Total    uint64     `json:"total"`              // bytes of its drives
	Free     uint64     `json:"free"`               // of these
	Share    float64    `json:"share"`              // of all objects that it has, or will have: from 0 to 1
	Coming   float64    `json:"coming"`             // of all objects, how many are on their way to it,
	Leaving  float64    `json:"leaving"`            // and from it
	Looked   int64      `json:"looked"`             // names that were looked at before anything moves
	Names    int64      `json:"names"`              // moved with the last pass
	Bytes    int64      `json:"bytes"`
	Failed   int64      `json:"failed"`
}

// The states of a Pool.
const (
	PoolActive   = "active"
	PoolDraining = "draining"
	PoolDrained  = "drained"
)

// Pools returns the pools of drives, in the order in which they were named.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	var documents []struct {
		CmdLine                string
		Share, Coming, Leaving float64
		Looked                 int64
		DecommissionInfo       struct {
			StartTime                   time.Time
			TotalSize, CurrentSize      uint64
			Complete                    bool
			ObjectsDecommissioned       int64
			ObjectsDecommissionedFailed int64
			BytesDecommissioned         int64
		}
	}
	if err := c.call(ctx, call{method: http.MethodGet, path: "pools/list", answer: &documents}); err != nil {
		return nil, err
	}
	pools := []Pool{}
	for i := range documents {
		d := &documents[i].DecommissionInfo
		p := Pool{
			Name: documents[i].CmdLine, State: PoolActive, Total: d.TotalSize, Free: d.CurrentSize, Share: documents[i].Share, Coming: documents[i].Coming,
			Leaving: documents[i].Leaving, Looked: documents[i].Looked, Names: d.ObjectsDecommissioned, Bytes: d.BytesDecommissioned, Failed: d.ObjectsDecommissionedFailed,
		}
		if !d.StartTime.IsZero() {
			if p.State, p.Draining = PoolDraining, &d.StartTime; d.Complete {
				p.State = PoolDrained
			}
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// DrainPool has what a pool holds be moved to the others, or no longer.
func (c *Client) DrainPool(ctx context.Context, name string, drain bool) error {
	path := "pools/cancel"
	if drain {
		path = "pools/decommission"
	}
	return c.call(ctx, call{method: http.MethodPost, path: path, query: url.Values{"pool": {name}}})
}
