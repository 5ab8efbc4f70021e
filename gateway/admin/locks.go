package admin

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Lock is a lock that a gateway holds, on an object or on what else is one's alone.
type Lock struct {
	Name      string // a kind, a bucket and the rest: "o/bucket/key"
	Exclusive bool
	Age       time.Duration
	ID        string
	Holder    string // gateway, as its clients reach it
}

// heldLock is a lock as MinIO's tools know it.
type heldLock struct {
	Time     time.Time `json:"time"`
	Elapsed  int64     `json:"elapsed"` // nanoseconds
	Resource string    `json:"resource"`
	Type     string    `json:"type"`
	Source   string    `json:"source"`
	Servers  []string  `json:"serverlist"`
	Owner    string    `json:"owner"`
	ID       string    `json:"id"`
	Quorum   int       `json:"quorum"`
}

// How many locks are told.
const (
	someLocks = 10 // if nobody says
	maxLocks  = 1000
)

// topLocks serves top/locks: the locks that are held for the longest time.
func (a *API) topLocks(ctx context.Context, c *Call) error {
	if a.Locks == nil {
		return errNotImplemented.with("A server that serves alone shares no locks with others, and keeps no list of its own.")
	}
	count := someLocks
	if text := c.Query.Get("count"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 1 {
			return errInvalid.with("The number of locks must be one.")
		}
	}
	now, documents := a.Now().UTC(), []heldLock{}
	for _, l := range a.Locks(ctx, min(count, maxLocks)) {
		kind := map[bool]string{true: "Write", false: "Read"}[l.Exclusive]
		documents = append(documents, heldLock{
			Time: now.Add(-l.Age), Elapsed: l.Age.Nanoseconds(), Resource: l.resource(), Type: kind, Source: l.Name,
			Servers: []string{l.Holder}, Owner: l.Holder, ID: l.ID, Quorum: 1,
		})
	}
	return c.answerJSON(documents)
}

// resource is what the lock is on, without its kind.
func (l Lock) resource() string {
	_, rest, _ := strings.Cut(l.Name, "/")
	return rest
}
