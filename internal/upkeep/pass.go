// Package upkeep has the values in which it is told how drives are looked after: passes over
// what they hold, and pools that objects are moved to and from. The packages of erasure fill
// them in, and the gateway shows them.
package upkeep

import (
	"errors"
	"time"
)

// ErrHealing says that another pass is not over.
var ErrHealing = errors.New("another pass is not over")

// PassKind says why a pass is made.
type PassKind string

// The kinds.
const (
	Missed     PassKind = "missed"     // what drives are known to have missed is looked at
	Everything PassKind = "everything" // a drive is new, or a day has gone by
	Scrub      PassKind = "scrub"      // all shards are read once in a while
	Asked      PassKind = "asked"      // somebody wants it
)

// Pass is one pass over the drives. What it counts is known to all gateways within a
// minute.
type Pass struct {
	Kind     PassKind  `json:"kind"`
	Token    string    `json:"token"`            // names it
	Bucket   string    `json:"bucket,omitempty"` // only what is in it; empty: everything
	Prefix   string    `json:"prefix,omitempty"` // of the keys in Bucket
	Deep     bool      `json:"deep"`             // it reads every shard
	Gateway  string    `json:"gateway,omitempty"`
	Asked    time.Time `json:"asked,omitzero"`
	Begun    time.Time `json:"begun,omitzero"`
	Told     time.Time `json:"told,omitzero"`    // when this was so
	Counted  time.Time `json:"counted,omitzero"` // when what is counted below was so; zero: when it was told
	Ended    time.Time `json:"ended,omitzero"`
	Complete time.Time `json:"complete,omitzero"`  // when the last one of its kind before it ended, without an error
	Expected int64     `json:"expected,omitempty"` // names, as that one has found them; 0: not known
	Names    int64     `json:"names"`              // looked at
	Records  int64     `json:"records"`            // brought to drives
	Shards   int64     `json:"shards"`             // made anew
	Bytes    int64     `json:"bytes"`              // of those
	Damaged  int64     `json:"damaged"`            // shards that were there and not whole
	Failed   int64     `json:"failed"`             // names that could not be healed
	Pending  int64     `json:"pending"`            // states that are not on every drive yet, of what was looked at
	Away     int       `json:"away"`               // drives that were not there at some time
	Limit    int64     `json:"limit,omitempty"`    // bytes a second that it makes anew, at most; 0: as many as go
	Since    *Stage    `json:"since,omitempty"`    // where it was when Limit was changed; nil: it was not
	Mended   []Mended  `json:"mended,omitempty"`   // the first objects that were healed
	Left     []Left    `json:"left,omitempty"`     // the first names that were not
	Error    string    `json:"error,omitempty"`    // why it ended before its end
}

// Stage is where a pass was at some time.
type Stage struct {
	Time  time.Time `json:"time"`
	Names int64     `json:"names"`
	Bytes int64     `json:"bytes"`
}

// Limited notes what its rate is limited to from when it was counted last.
func (p *Pass) Limited(limit int64) {
	if limit != p.Limit {
		p.Limit, p.Since = limit, &Stage{p.CountedAt(), p.Names, p.Bytes}
	}
}

// CountedAt returns when what it counts was so.
func (p *Pass) CountedAt() time.Time {
	if p.Counted.IsZero() {
		return p.Told
	}
	return p.Counted
}

// Mended is an object that was healed.
type Mended struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`  // of its contents that shards were made of
	Drives int    `json:"drives"` // that lacked something of it
}

// Left is a name that could not be healed.
type Left struct {
	Bucket string `json:"bucket,omitempty"` // empty: it is the server's own
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// passSilence is how long nothing may be heard of a pass that is under way: its gateway tells
// once a minute, and if that has gone another one begins anew.
const passSilence = 2 * time.Minute

// PassState says how far a pass is, as MinIO's tools know it.
type PassState string

// The states.
const (
	NotStarted PassState = "not started"
	Running    PassState = "running"
	Finished   PassState = "finished"
	Stopped    PassState = "stopped"
)

// Over reports whether nobody works on the pass any more.
func (p *Pass) Over(now time.Time) bool {
	state := p.State(now)
	return state == Finished || state == Stopped
}

// State returns how far the pass is.
func (p *Pass) State(now time.Time) PassState {
	switch {
	case p.Error != "":
		return Stopped
	case !p.Ended.IsZero():
		return Finished
	case now.Sub(p.Told) > passSilence:
		return Stopped
	case p.Begun.IsZero():
		return NotStarted
	}
	return Running
}
