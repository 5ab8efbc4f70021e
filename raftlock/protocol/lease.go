package protocol

import "time"

// The time a session lives without being heard of, and what is allowed for
// clocks that run at different rates. They decide how soon the dead are found
// and how long caches may be read; safety does not rest on them.
const (
	SessionTTL  = 3 * time.Second
	LeaseMargin = 300 * time.Millisecond // before its end a lease is not used any more
	graceful    = 100 * time.Millisecond
	drift       = 100 // a clock gains or loses less than one part in so many
)

// Lease is how long a session may count on being alive: a TTL from when it sent
// the question that was answered. The zero Lease is not valid.
type Lease struct {
	until time.Duration
}

// Confirm takes an answer to a question that was sent at a time.
func (l *Lease) Confirm(sent time.Duration) { l.until = max(l.until, sent+SessionTTL) }

// Valid reports whether something may still be begun under the lease.
func (l *Lease) Valid(now time.Duration) bool { return now < l.until-LeaseMargin }

// Left returns how much of the lease is left.
func (l *Lease) Left(now time.Duration) time.Duration { return l.until - now }
