package upkeep

import (
	"errors"
	"time"
)

// ErrLastPool says that there is no other pool that what a pool holds could be moved to.
var ErrLastPool = errors.New("all other pools are drained, and this one has nowhere to move what it holds to")

// Pool is how a pool of drives stands.
type Pool struct {
	Name     string    // as it was named
	Draining time.Time // since when what it holds is moved to others; zero: it is not
	Empty    bool      // nothing is left to be moved, and nodes start without it
	Began    uint64    // how much room its drives had when that began, in bytes; 0: that is not known
	Room     Room      // of its drives
	Share    float64   // of all objects that it has, or will have: from 0 to 1
	Coming   float64   // of all objects, how many are on their way to it,
	Leaving  float64   // and from it
	Moved    Progress  // of the last time that objects were moved between sets
}

// Moving reports whether objects are on their way to or from the pool.
func (p *Pool) Moving() bool { return p.Coming+p.Leaving > 0 }

// Progress is how far objects are on their way.
type Progress struct {
	Begun    time.Time `json:"begun,omitzero"`
	Told     time.Time `json:"told"`
	Looked   int64     `json:"looked,omitempty"` // names that were looked at before anything moves, to see that nothing old is in the way
	Names    int64     `json:"names"`
	Versions int64     `json:"versions,omitempty"`
	Bytes    int64     `json:"bytes"`
	Failed   int64     `json:"failed"`
}

// Room is how many bytes file systems have; zero: that is not known.
type Room struct{ Free, Total uint64 }

// Used returns how many are taken.
func (r Room) Used() uint64 { return r.Total - min(r.Free, r.Total) }
