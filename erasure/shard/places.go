package shard

import (
	"errors"
	"runtime"
	"time"
)

// Places tells a Reader of where shards are, and hears from it how long they take. Its methods may be
// called concurrently, also when nobody reads any more.
type Places interface {
	// Near reports whether a shard costs less to read than others.
	Near(shard int) bool
	// Slow reports whether a shard is to be asked only where others do not suffice.
	Slow(shard int) bool
	// Patience returns how long a shard is waited for before others are asked.
	Patience() time.Duration
	// Look returns a channel that is closed when it is to be looked whether a shard is late, which is no
	// later than that time from now.
	Look() <-chan struct{}
	// Late hears that a shard has not come for that time, and reports whether so many others may be asked.
	// If not, it is called again when it is looked again.
	Late(shard, others int) bool
	// Came hears how long a shard took, and why it could not be read if it was not.
	Came(shard int, took time.Duration, err error)
}

// maxNear is of how many data shards of a content near ones stand in for others: what making one up
// costs grows with their number, and what is saved does not.
const maxNear = 4

// From tells the Reader where the shards are, before it reads. Of a stripe that is wanted whole it reads
// those first that are near, also if they stand in for others; where a shard is late it asks others,
// and takes those that come first. The source need not return then, and is given up after two seconds.
func (r *Reader) From(p Places) {
	r.places = p
	for i := range r.codec.N() {
		r.slow[i] = p.Slow(i)
	}
}

// quick returns how many shards can be read that are not slow.
func (r *Reader) quick() (n int) {
	for i := range r.codec.N() {
		if !r.bad[i] && !r.slow[i] {
			n++
		}
	}
	return n
}

// nearWorth reports whether making up for a shard costs less than having it sent. Without vector
// instructions it does not, but for copies.
func (r *Reader) nearWorth() bool {
	if r.places == nil || r.codec.rs == nil || r.codec.K > maxNear {
		return false
	}
	return r.codec.K == 1 || runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"
}

// What a shard costs.
const (
	direct = iota // it is wanted
	nearby
	far
	reluctant // it takes long
	never
)

// cost returns what it costs a group to ask for a shard.
func (g *gathering) cost(gr *group, shard int) int {
	switch {
	case g.r.bad[shard] || gr.states[shard] != unasked:
		return never
	case g.r.slow[shard]:
		return reluctant
	case !gr.nearest && gr.wants(shard):
		return direct
	case g.r.places != nil && g.r.places.Near(shard):
		return nearby
	default:
		return far
	}
}

// limit is how long a shard is waited for that nobody can do without.
const limit = 2 * time.Second

// errHung says that a shard has not come for that long.
var errHung = errors.New("shard: it does not come")

// hurry asks for others where shards are late.
func (g *gathering) hurry(gr *group) error {
	if g.suffice(gr, there) {
		return nil
	}
	patience := g.r.places.Patience()
	var now [MaxShards]bool
	for i, s := range gr.states {
		if s&(expected|overdue) != 0 && time.Since(gr.begun[i]) >= limit {
			if err := g.lost(gr, i, errHung); err != nil {
				return err
			}
			continue
		}
		if now[i] = s == expected && time.Since(gr.begun[i]) >= patience; now[i] {
			gr.states[i] = overdue
			g.r.slow[i] = g.r.slow[i] || g.r.late[i] // twice: it loses its place
			g.r.late[i] = true
		}
	}
	if g.r.codec.rs == nil { // none stands in for another one
		return nil
	}
	short, may := g.short(gr), false
	for i, s := range gr.states {
		if s == overdue && (now[i] || short > 0) && g.r.places.Late(i, short) {
			may = true
		}
	}
	if !may {
		return nil
	}
	return g.more(gr)
}
