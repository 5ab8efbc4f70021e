package raftlock

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
