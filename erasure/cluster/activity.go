package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/node"
)

// Activity is what a node, its drives, and its connections to the others have done.
type Activity struct {
	Node    string                  `json:"-"` // host:port where it serves S3
	Drives  []format.Activity       `json:"drives"`
	Traffic map[string]node.Traffic `json:"traffic"` // by the node that it is with
	Err     error                   `json:"-"`       // why the rest is not known
}

// Activity asks all nodes for theirs, once Open has returned, and returns it in their order.
func (c *Cluster) Activity(ctx context.Context) []Activity {
	all := make([]Activity, len(c.members))
	var asked sync.WaitGroup
	for i, m := range c.members {
		asked.Go(func() {
			b, err := c.askOf(ctx, m, questionActivity, nil)
			if err == nil {
				err = json.Unmarshal(b, &all[i])
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", m.name, err)
			}
			all[i].Node, all[i].Err = m.name, err
		})
	}
	asked.Wait()
	return all
}

// activity is that of this node.
func (c *Cluster) activity(local *format.Local) Activity {
	a := Activity{Drives: local.Activity(), Traffic: make(map[string]node.Traffic)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.peer != nil {
			a.Traffic[m.name] = m.peer.Traffic()
		}
	}
	return a
}
