package adminclient

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Quota is what a bucket may hold; 0 is no limit.
type Quota struct {
	Bytes   int64 `json:"bytes"`
	Objects int64 `json:"objects"`
}

// quotaDocument is a quota as the API has it.
type quotaDocument struct {
	Quota   int64  `json:"quota"`
	Size    int64  `json:"size"`
	Objects int64  `json:"objects,omitempty"`
	Type    string `json:"quotatype,omitempty"`
}

// Quota returns the quota of a bucket.
func (c *Client) Quota(ctx context.Context, bucket string) (Quota, error) {
	var d quotaDocument
	err := c.call(ctx, call{method: http.MethodGet, path: "get-bucket-quota", query: url.Values{"bucket": {bucket}}, answer: &d})
	return Quota{Bytes: max(d.Quota, d.Size), Objects: d.Objects}, err
}

// SetQuota sets the quota of a bucket; the zero Quota removes it. The bucket is counted
// before it returns.
func (c *Client) SetQuota(ctx context.Context, bucket string, q Quota) error {
	body := quotaDocument{Quota: q.Bytes, Size: q.Bytes, Objects: q.Objects, Type: "hard"}
	return c.call(ctx, call{method: http.MethodPut, path: "set-bucket-quota", query: url.Values{"bucket": {bucket}}, body: body})
}

// Held is what something holds.
type Held struct {
	Bytes         int64 `json:"bytes"`
	Objects       int64 `json:"objects"`
	Versions      int64 `json:"versions"` // current ones too
	DeleteMarkers int64 `json:"delete_markers"`
}

// BucketUsage is what a bucket holds.
type BucketUsage struct {
	Bucket string `json:"bucket"`
	Held
}

// Usage is what buckets hold, as they were counted.
type Usage struct {
	Counted time.Time     `json:"counted,omitzero"` // when the last one was; zero: none yet
	Buckets []BucketUsage `json:"buckets"`          // that were counted, sorted by name
	All     int64         `json:"all_buckets"`      // how many there are
}

// Usage returns what the buckets hold.
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	var d struct {
		LastUpdate       time.Time
		BucketsCount     int64
		BucketsUsageInfo map[string]struct{ Size, ObjectsCount, VersionsCount, DeleteMarkersCount int64 }
	}
	if err := c.call(ctx, call{method: http.MethodGet, path: "datausageinfo", answer: &d}); err != nil {
		return Usage{}, err
	}
	u := Usage{Counted: d.LastUpdate, Buckets: []BucketUsage{}, All: d.BucketsCount}
	for _, name := range slices.Sorted(maps.Keys(d.BucketsUsageInfo)) {
		b := d.BucketsUsageInfo[name]
		u.Buckets = append(u.Buckets, BucketUsage{name, Held{b.Size, b.ObjectsCount, b.VersionsCount, b.DeleteMarkersCount}})
	}
	return u, nil
}
