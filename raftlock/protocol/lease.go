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

// How long caches may be read without a word from the leader, and how fresh the
// generation's last renewal must be for its word to count. Nobody founds the
// next generation within GenerationTTL of a renewal, which is as long as both; the
// allowance for clocks comes on top of it.
const (
	CacheTTL     = 1800 * time.Millisecond
	FreshRenewal = 1200 * time.Millisecond
)

// Lease is how long a session may count on being alive: a TTL from when it sent
// the question that was answered. The zero Lease is not valid.
type Lease struct {
	until    time.Duration
	readable time.Duration
}

// Confirm takes an answer to a question that was sent at a time.
func (l *Lease) Confirm(sent time.Duration) { l.until = max(l.until, sent+SessionTTL) }

// ConfirmCaches takes an answer, to a question that was sent at a time, of a
// leader that has renewed the generation within FreshRenewal.
func (l *Lease) ConfirmCaches(sent time.Duration) {
	l.Confirm(sent)
	l.readable = max(l.readable, sent+CacheTTL)
}

// Readable returns until when what lies under cache leases may be used.
func (l *Lease) Readable() time.Duration { return l.readable }

// Valid reports whether something may still be begun under the lease.
func (l *Lease) Valid(now time.Duration) bool { return now < l.until-LeaseMargin }

// Left returns how much of the lease is left.
func (l *Lease) Left(now time.Duration) time.Duration { return l.until - now }
