package raftlock

import "time"

// complaint is what a loop says that tries until it succeeds: each thing that
// stands in the way once, and all of them anew after a success.
type complaint struct{ said map[string]bool }

// maxComplaints bounds what is remembered of texts that are never the same.
const maxComplaints = 16

// about reports whether an error is news; nil is a success.
func (c *complaint) about(err error) bool {
	if err == nil || len(c.said) >= maxComplaints {
		clear(c.said)
	}
	if err == nil || c.said[err.Error()] {
		return false
	}
	if c.said == nil {
		c.said = make(map[string]bool)
	}
	c.said[err.Error()] = true
	return true
}

// reminder is what a loop says whose errors have a text that is never the same: that it fails the
// first time and once a minute, and when that is over.
type reminder struct{ last time.Time }

const remindEvery = time.Minute

// about reports whether it is to be said that something fails, or that it does no more.
func (r *reminder) about(err error) (fails, over bool) {
	if err == nil {
		over = !r.last.IsZero()
		r.last = time.Time{}
		return false, over
	}
	if fails = r.last.IsZero() || time.Since(r.last) >= remindEvery; fails {
		r.last = time.Now()
	}
	return fails, false
}
