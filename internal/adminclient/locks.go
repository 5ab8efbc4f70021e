package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Lock is a lock that a gateway holds.
type Lock struct {
	Resource  string        `json:"resource"` // bucket, bucket/key, or another thing that is one's alone
	Exclusive bool          `json:"exclusive"`
	Held      time.Duration `json:"held"` // nanoseconds
	Gateway   string        `json:"gateway"`
}

// Locks returns the locks that gateways hold, the oldest first, up to a number.
func (c *Client) Locks(ctx context.Context, most int) ([]Lock, error) {
	var documents []struct {
		Resource, Type, Owner string
		Elapsed               int64
	}
	query := url.Values{"count": {strconv.Itoa(most)}}
	if err := c.call(ctx, call{method: http.MethodGet, path: "top/locks", query: query, answer: &documents}); err != nil {
		return nil, err
	}
	locks := []Lock{}
	for _, d := range documents {
		locks = append(locks, Lock{Resource: d.Resource, Exclusive: d.Type == "Write", Held: time.Duration(d.Elapsed), Gateway: d.Owner})
	}
	return locks, nil
}
