package limits

import (
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/recent"
)

// Subject is who or what is kept within rates.
type Subject struct {
	Name  string // of no other subject, such as "user/ann"
	Rates Rates
}

// Direction is where bytes go.
type Direction uint8

// The directions, as clients see them.
const (
	Up Direction = iota
	Down
)

// How a Limiter counts.
const (
	burst       = time.Second // that can be used at once, of what was not used before
	look        = time.Second // for how long the number of gateways is believed
	maxSubjects = 1 << 14     // that are remembered at least; one that is forgotten begins anew
	pieces      = 4           // that the bytes of a second are moved in,
	maxPiece    = 256 << 10   // each with at most so many bytes
	minPiece    = 256
)

// Limiter counts what subjects do at this gateway, and keeps each within its share: the
// rate divided by the number of gateways. Its methods may be called concurrently.
type Limiter struct {
	now   func() time.Time
	count func() int

	mu       sync.Mutex
	used     *recent.Map[string, account]
	gateways int
	counted  time.Time
}

// account is what a subject has used: the times from which on all of it would have been
// within the rate. One that is in the future is a debt.
type account struct {
	requests, up, down time.Time
}

// New returns a Limiter. gateways returns how many share the rates; it is asked once a
// second at most, and less than 1 counts as 1.
func New(now func() time.Time, gateways func() int) *Limiter {
	return &Limiter{now: now, count: gateways, used: recent.New[string, account](maxSubjects)}
}

// Admit counts a request of subjects and returns 0, or how long it is before there is
// room for one: then it is not counted.
func (l *Limiter) Admit(subjects []Subject) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	wait := time.Duration(0)
	for _, s := range subjects {
		if s.Rates.Requests > 0 {
			one := l.cost(now, 1, s.Rates.Requests)
			after := spend(l.used.Get(s.Name).requests, now, one, max(burst, one))
			wait = max(wait, after.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	for _, s := range subjects {
		if s.Rates.Requests > 0 {
			a, one := l.used.Get(s.Name), l.cost(now, 1, s.Rates.Requests)
			a.requests = spend(a.requests, now, one, max(burst, one))
		}
	}
	return 0
}

// Move counts bytes that subjects have moved, and returns how long they have to wait
// before they move more.
func (l *Limiter) Move(d Direction, n int64, subjects []Subject) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	wait := time.Duration(0)
	for _, s := range subjects {
		rate := s.Rates.of(d)
		if rate == 0 {
			continue
		}
		at := l.used.Get(s.Name).of(d)
		*at = spend(*at, now, l.cost(now, n, rate), burst)
		wait = max(wait, at.Sub(now))
	}
	return wait
}

// Piece returns how many bytes subjects should move before they are counted, so that
// what is moved keeps moving. It is 0 if they may move as many as they like.
func (l *Limiter) Piece(d Direction, subjects []Subject) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	piece := int64(0)
	for _, s := range subjects {
		rate := s.Rates.of(d)
		if rate == 0 {
			continue
		}
		share := min(max(minPiece, rate/int64(l.share(now))/pieces), maxPiece)
		if piece == 0 || share < piece {
			piece = share
		}
	}
	return piece
}

// cost returns the time in which so much is within this gateway's share of a rate.
func (l *Limiter) cost(now time.Time, n, rate int64) time.Duration {
	return time.Duration(float64(n) * float64(l.share(now)) / float64(rate) * float64(time.Second))
}

// share returns how many gateways there are.
func (l *Limiter) share(now time.Time) int {
	if l.gateways == 0 || now.Sub(l.counted) >= look {
		l.gateways, l.counted = max(1, l.count()), now
	}
	return l.gateways
}

// spend returns the account of somebody who uses more. What was not used for longer than
// saved is lost.
func spend(used, now time.Time, cost, saved time.Duration) time.Time {
	if begin := now.Add(-saved); used.Before(begin) {
		used = begin
	}
	return used.Add(cost)
}

func (r Rates) of(d Direction) int64 {
	if d == Up {
		return r.Up
	}
	return r.Down
}

func (a *account) of(d Direction) *time.Time {
	if d == Up {
		return &a.up
	}
	return &a.down
}
