// Package throttle says how long to keep those waiting who fail to prove who they are. It
// has no clock and keeps nobody waiting itself, and it is not asked about who succeeds.
package throttle

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/recent"
)

// Failure is one attempt to prove who somebody is that has failed.
type Failure struct {
	Name    string // that was claimed, "" if it is nobody's
	Known   bool   // Name is somebody's: other names from the address have nothing to do with it
	Address string // of the client
}

// How failures count.
const (
	halfLife    = time.Minute // after which a failure counts half
	freeHere    = 10          // of a name at an address, before anything waits
	freeAtAll   = 50          // of a name at all addresses
	shortest    = 125 * time.Millisecond
	Longest     = 4 * time.Second // that an answer waits
	reportEvery = time.Minute
	maxCounts   = 1 << 14 // that are remembered at least, of each kind
	maxName     = 256     // bytes that tell names apart
)

// Throttle counts failures. Its methods may be called concurrently.
type Throttle struct {
	now func() time.Time

	mu    sync.Mutex
	here  *recent.Map[origin, count]
	atAll *recent.Map[string, count]
}

// origin is where failures come from: of a known name at an address, or of all others.
type origin struct{ name, address string }

// count is how much failures count at a time.
type count struct {
	sum      float64
	at       time.Time
	reported time.Time
	silent   int // since then
}

// New returns a Throttle.
func New(now func() time.Time) *Throttle {
	return &Throttle{now: now, here: recent.New[origin, count](maxCounts), atAll: recent.New[string, count](maxCounts)}
}

// Fail counts a failure. It returns how long the answer is to wait, and, once a minute for
// each origin, how many there were since it said so the last time; else 0.
func (t *Throttle) Fail(f Failure) (wait time.Duration, report int) {
	f.Name = f.Name[:min(len(f.Name), maxName)]
	from := origin{address: network(f.Address)}
	if f.Known {
		from.name = f.Name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	here := t.here.Get(from)
	wait = delay(here.add(now), freeHere)
	if f.Name != "" {
		wait = max(wait, delay(t.atAll.Get(f.Name).add(now), freeAtAll))
	}
	here.silent++
	if here.reported.IsZero() || now.Sub(here.reported) >= reportEvery {
		report, here.silent, here.reported = here.silent, 0, now
	}
	return wait, report
}

// add counts one more, and returns the sum.
func (c *count) add(now time.Time) float64 {
	if c.sum > 0 {
		c.sum *= math.Exp2(-max(0, now.Sub(c.at).Seconds()) / halfLife.Seconds())
	}
	c.sum, c.at = c.sum+1, now
	return c.sum
}

// delay doubles with each failure beyond those that are free.
func delay(sum, free float64) time.Duration {
	if sum <= free {
		return 0
	}
	return time.Duration(min(float64(shortest)*math.Exp2(sum-free-1), float64(Longest)))
}

// network returns the part of an address that is one client's: of IPv6, where everybody
// has countless ones, the first 64 bits.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || !ip.Is6() || ip.Is4In6() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
