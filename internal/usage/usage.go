// Package usage knows what buckets hold without looking at request time: one gateway of
// all counts once a day, and more often while a bucket is young, and the others read what it
// has found.
package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Usage is what a bucket held when it was counted.
type Usage struct {
	Bytes    int64        `json:"bytes"`    // of all versions
	Objects  int64        `json:"objects"`  // current versions that are no delete markers
	Versions int64        `json:"versions"` // of all objects, without delete markers
	Markers  int64        `json:"markers"`  // delete markers
	Sizes    [sizes]int64 `json:"sizes"`    // current versions, by the bounds that Bounds tells
	At       time.Time    `json:"at"`
}

// sizes is how many classes of sizes there are.
const sizes = 7

// Bounds returns what the sizes of each class are less than, in bytes; those of the last
// have no bound.
func Bounds() [sizes - 1]int64 {
	return [...]int64{1 << 10, 1 << 20, 10 << 20, 64 << 20, 128 << 20, 512 << 20}
}

// Plus returns what two buckets hold together, by the older of the two counts.
func (u Usage) Plus(v Usage) Usage {
	u.Bytes, u.Objects, u.Versions, u.Markers = u.Bytes+v.Bytes, u.Objects+v.Objects, u.Versions+v.Versions, u.Markers+v.Markers
	for i := range u.Sizes {
		u.Sizes[i] += v.Sizes[i]
	}
	if u.At.IsZero() || v.At.Before(u.At) {
		u.At = v.At
	}
	return u
}

func (u *Usage) add(v *object.VersionInfo) {
	if v.Marker {
		u.Markers++
		return
	}
	u.Bytes += v.Size
	u.Versions++
	if !v.Latest {
		return
	}
	u.Objects++
	class := 0
	for _, bound := range Bounds() {
		if v.Size < bound {
			break
		}
		class++
	}
	u.Sizes[class]++
}

// Count looks at all that a bucket holds.
func Count(ctx context.Context, store object.Objects, bucket string, now func() time.Time) (Usage, error) {
	u := Usage{At: now().UTC().Truncate(time.Second)}
	q := object.VersionQuery{Bucket: bucket, Limit: object.MaxListLimit}
	for {
		page, err := store.ListVersions(ctx, q)
		if err != nil {
			return Usage{}, fmt.Errorf("count %s: %w", bucket, err)
		}
		for i := range page.Versions {
			u.add(&page.Versions[i])
		}
		if !page.More {
			return u, nil
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
}

// Records is where counts are kept: records of the control plane that all gateways follow.
// Its methods may be called concurrently.
type Records interface {
	// Get returns a record and its revision, which is 0 if there is none. It touches
	// neither storage nor network.
	Get(name string) (value []byte, revision uint64, err error)
	// List returns the names of the records that begin with a prefix.
	List(prefix string) ([]string, error)
	// Set changes a record if it still has the revision; nil removes it.
	Set(ctx context.Context, name string, value []byte, revision uint64) error
}

// recordPrefix begins the names of counts.
const recordPrefix = "usage/"

// record is what is kept of a bucket.
type record struct {
	Usage             // zero At: it was not counted yet
	Due     time.Time `json:"due,omitzero"`      // when it is counted again, if it was written to since
	Written bool      `json:"written,omitempty"` // it was
}

// load also returns the revision of the record.
func load(records Records, bucket string) (r record, revision uint64, err error) {
	value, revision, err := records.Get(recordPrefix + bucket)
	if err != nil || len(value) == 0 {
		return record{}, revision, err
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, 0, fmt.Errorf("read the usage of %s: %w", bucket, err)
	}
	return r, revision, nil
}

// counted reports whether the bucket ever was.
func (r *record) counted() bool { return !r.At.IsZero() }

// Of returns what a bucket held when it was counted last, if it ever was.
func Of(records Records, bucket string) (u Usage, counted bool, err error) {
	r, _, err := load(records, bucket)
	return r.Usage, r.counted(), err
}

// Known returns the names of the buckets of which something is known; that may be only that
// they are to be counted.
func Known(records Records) ([]string, error) {
	names, err := records.List(recordPrefix)
	if err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], recordPrefix)
	}
	return names, nil
}

// save keeps what is known of a bucket, if the record still has the revision.
func save(ctx context.Context, records Records, bucket string, r record, revision uint64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode usage: %w", err)
	}
	return records.Set(ctx, recordPrefix+bucket, value, revision)
}

// forget removes what is known of a bucket.
func forget(ctx context.Context, records Records, bucket string) error {
	_, revision, err := records.Get(recordPrefix + bucket)
	if err != nil {
		return err
	}
	return records.Set(ctx, recordPrefix+bucket, nil, revision)
}
