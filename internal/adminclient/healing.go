package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Healing is what drives lack, and what is done about it.
type Healing struct {
	Offline []string `json:"offline"`         // gateways
	Away    []string `json:"away"`            // endpoints of drives that are not there, those of gateways that are offline among them
	Healing []string `json:"healing"`         // endpoints of drives that do not have all yet that those had which they stand for
	Due     bool     `json:"due"`             // drives have come of which no pass has seen yet what they have missed
	Passes  []Pass   `json:"passes"`          // the last one of each kind
	Error   string   `json:"error,omitempty"` // why Passes are not known
}

// Pass is one pass over the drives, under way or over.
type Pass struct {
	Kind     string    `json:"kind"`  // missed, everything, scrub or asked
	State    string    `json:"state"` // not started, running, finished or stopped
	Token    string    `json:"token"`
	Bucket   string    `json:"bucket,omitempty"` // only what is in it; empty: everything
	Prefix   string    `json:"prefix,omitempty"`
	Deep     bool      `json:"deep"` // it reads every shard
	Gateway  string    `json:"gateway,omitempty"`
	Asked    time.Time `json:"asked,omitzero"`
	Begun    time.Time `json:"begun,omitzero"`
	Told     time.Time `json:"told,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Complete time.Time `json:"complete,omitzero"`  // when the one before it ended, without an error
	Expected int64     `json:"expected,omitempty"` // names; 0: not known
	Names    int64     `json:"names"`
	Records  int64     `json:"records"`
	Shards   int64     `json:"shards"`
	Bytes    int64     `json:"bytes"`
	Damaged  int64     `json:"damaged"`
	Failed   int64     `json:"failed"`
	Pending  int64     `json:"pending"` // states that were not on every drive when it had looked at them
	Away     int       `json:"away"`    // drives
	Rate     float64   `json:"rate"`    // bytes a second
	Limit    int64     `json:"limit"`   // of Rate; 0: there is none
	ETA      float64   `json:"eta_seconds,omitempty"`
	Left     []Left    `json:"left,omitempty"` // the first names that could not be healed
	Error    string    `json:"error,omitempty"`
}

// Left is a name that could not be healed.
type Left struct {
	Bucket string `json:"bucket,omitempty"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Healing returns what drives lack, and what is done about it.
func (c *Client) Healing(ctx context.Context) (Healing, error) {
	var d struct {
		Offline   []string `json:"offline_nodes"`
		Away      []string `json:"offline_drives"`
		HealDisks []string
		Due       bool   `json:"due"`
		Passes    []Pass `json:"passes"`
		Error     string `json:"passes_error"`
	}
	err := c.call(ctx, call{method: http.MethodPost, path: "background-heal/status", answer: &d})
	return Healing{Offline: d.Offline, Away: d.Away, Healing: d.HealDisks, Due: d.Due, Passes: d.Passes, Error: d.Error}, err
}

// Heal asks for a pass over everything in a bucket whose key begins with prefix, or over
// everything that there is if bucket is empty, and returns its token. A deep one reads every
// shard. With instead it takes the place of another one that was asked for and is not over.
func (c *Client) Heal(ctx context.Context, bucket, prefix string, deep, instead bool) (token string, err error) {
	mode := 1
	if deep {
		mode = 2
	}
	path, query := "heal/"+bucket, url.Values{}
	if prefix != "" {
		path += "/" + prefix
	}
	if instead {
		query.Set("forceStart", "true")
	}
	var d struct{ ClientToken string }
	err = c.call(ctx, call{method: http.MethodPost, path: path, query: query, body: map[string]any{"recursive": true, "scanMode": mode}, answer: &d})
	return d.ClientToken, err
}

// EndHealing ends the pass that was asked for, if it is not over.
func (c *Client) EndHealing(ctx context.Context) error {
	return c.call(ctx, call{method: http.MethodPost, path: "heal/", query: url.Values{"forceStop": {"true"}}})
}
