package admin

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Gateway is one of those that serve a tree.
type Gateway struct {
	Endpoint string // host:port that its clients use, as far as that is known
	Online   bool
	Leader   bool
	Uptime   time.Duration
	Version  string
	Drives   []Drive // empty: what all gateways have mounted
}

// drives returns the drives of the gateway; what all gateways have mounted is one.
func (g Gateway) drives() []Drive {
	if len(g.Drives) == 0 {
		return []Drive{{Path: g.Endpoint, Online: g.Online}}
	}
	return g.Drives
}

// document is the gateway as info shows it.
func (g Gateway) document(scheme string, network map[string]string) map[string]any {
	drives := []any{}
	for _, d := range g.drives() {
		drives = append(drives, d.document())
	}
	return map[string]any{
		"state": g.state(), "endpoint": g.Endpoint, "scheme": scheme, "uptime": int64(g.Uptime.Seconds()), "version": g.Version,
		"network": network, "drives": drives, "is_leader": g.Leader,
	}
}

func (g Gateway) state() string {
	if g.Online {
		return "online"
	}
	return "offline"
}

// statusTimeout is how long others are waited for that are asked how they are.
const statusTimeout = 3 * time.Second

// gateways returns those that serve the tree.
func (a *API) gateways(c *Call) []Gateway {
	if a.Gateways == nil {
		g := a.itself(c.Host)
		if a.Drives != nil {
			g.Drives = placed(a.Drives())
		}
		return []Gateway{g}
	}
	return a.Fleet()
}

// itself is this gateway under a name.
func (a *API) itself(endpoint string) Gateway {
	return Gateway{Endpoint: endpoint, Online: true, Uptime: a.Now().Sub(a.started), Version: a.Version}
}

// Fleet returns this gateway and the others. One with drives is online if any of them answers: without
// a majority there are no members, and who looks then wants to know which nodes are away.
func (a *API) Fleet() []Gateway {
	ctx, cancel := context.WithTimeout(a.root, statusTimeout)
	defer cancel()
	all := a.Gateways(ctx)
	if a.Drives == nil {
		return all
	}
	for _, d := range placed(a.Drives()) {
		at := slices.IndexFunc(all, func(g Gateway) bool { return g.Endpoint == d.Node })
		if at < 0 { // nothing is heard of it
			g := Gateway{Endpoint: d.Node}
			if d.Node == a.Node {
				g = a.itself(d.Node)
			}
			at, all = len(all), append(all, g)
		}
		g := &all[at]
		g.Drives, g.Online = append(g.Drives, d), g.Online || d.Online || d.Node == a.Node
	}
	slices.SortStableFunc(all, func(a, b Gateway) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all
}
