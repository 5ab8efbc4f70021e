package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Info is what the gateways are and serve.
type Info struct {
	Region   string    `json:"region"`
	Gateways []Gateway `json:"gateways"`
	Buckets  int64     `json:"buckets"`
	Held     *Held     `json:"held,omitempty"`    // nil: nothing was counted yet
	Partial  string    `json:"partial,omitempty"` // what Held lacks
	Error    string    `json:"error,omitempty"`   // why Buckets and Held are not known
	Parity   int       `json:"parity"`            // drives of a set that may be lost
}

// Gateway is one of those that serve a tree.
type Gateway struct {
	Endpoint string  `json:"endpoint"`
	Online   bool    `json:"online"`
	Leader   bool    `json:"leader"`
	Version  string  `json:"version,omitempty"`
	Uptime   int64   `json:"uptime"` // seconds
	Drives   []Drive `json:"drives"`
}

// Drive is one of a gateway's.
type Drive struct {
	Path    string `json:"path"`
	Online  bool   `json:"online"`
	Healing bool   `json:"healing"`
}

// infoDocument is Info as the API has it.
type infoDocument struct {
	Region  string
	Buckets struct {
		Count int64
		Error string
	}
	Usage struct {
		Size  *int64
		Error string
	}
	Objects, Versions, DeleteMarkers struct{ Count int64 }
	Backend                          struct{ StandardSCParity int }
	Servers                          []struct {
		State, Endpoint, Version string
		Uptime                   int64
		IsLeader                 bool `json:"is_leader"`
		Drives                   []struct {
			Path, State string
			Healing     bool
		}
	}
}

// Info returns what the gateways are and serve.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var d infoDocument
	if err := c.call(ctx, call{method: http.MethodGet, path: "info", answer: &d}); err != nil {
		return Info{}, err
	}
	info := Info{Region: d.Region, Gateways: []Gateway{}, Buckets: d.Buckets.Count, Error: d.Buckets.Error, Parity: d.Backend.StandardSCParity}
	if d.Usage.Size != nil {
		info.Partial = d.Usage.Error
		info.Held = &Held{Bytes: *d.Usage.Size, Objects: d.Objects.Count, Versions: d.Versions.Count, DeleteMarkers: d.DeleteMarkers.Count}
	}
	for _, s := range d.Servers {
		g := Gateway{Endpoint: s.Endpoint, Online: s.State == "online", Leader: s.IsLeader, Version: s.Version, Uptime: s.Uptime, Drives: []Drive{}}
		for _, drive := range s.Drives {
			g.Drives = append(g.Drives, Drive{Path: drive.Path, Online: drive.State == "ok", Healing: drive.Healing})
		}
		info.Gateways = append(info.Gateways, g)
	}
	return info, nil
}

// Up is for how long the gateway has been running.
func (g Gateway) Up() time.Duration { return time.Duration(g.Uptime) * time.Second }

// Action is what can be done to a gateway.
type Action string

// The actions that there are.
const (
	Restart Action = "restart"
	Stop    Action = "stop"
)

// Do has the gateway that is asked, and no other, end when what it serves is done. With
// dry it only finds out whether it would. It returns the gateway's name.
func (c *Client) Do(ctx context.Context, action Action, dry bool) (host string, err error) {
	var d struct{ Results []struct{ Host string } }
	query := url.Values{"action": {string(action)}, "dry-run": {strconv.FormatBool(dry)}, "type": {"2"}}
	err = c.call(ctx, call{method: http.MethodPost, path: "service", query: query, answer: &d})
	if len(d.Results) > 0 {
		host = d.Results[0].Host
	}
	return host, err
}
