package admin

import (
	"context"
	"fmt"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
	"github.com/shoal-storage/shoal/internal/usage"
)

// Usage tells what buckets hold; usage.Worker is one. It may be asked concurrently.
type Usage interface {
	// Known returns what is known of a bucket without looking, if anything is.
	Known(b object.Bucket) (u usage.Usage, known bool, err error)
	// Count looks.
	Count(ctx context.Context, b object.Bucket) (usage.Usage, error)
}

// bucketQuota is a quota as MinIO's tools set and show it; that of objects is Shoal's.
type bucketQuota struct {
	Quota    int64  `json:"quota"`
	Size     int64  `json:"size"`
	Objects  int64  `json:"objects,omitempty"`
	Rate     int64  `json:"rate"`
	Requests int64  `json:"requests"`
	Type     string `json:"quotatype,omitempty"`
}

// setBucketQuota serves set-bucket-quota. The bucket is counted before it answers, so that
// the limit is in force then.
func (a *API) setBucketQuota(ctx context.Context, c *Call) error {
	text, err := c.body()
	if err != nil {
		return err
	}
	return a.setQuota(ctx, c, c.Query.Get("bucket"), text)
}

// setQuota sets the quota of a bucket to what a document says.
func (a *API) setQuota(ctx context.Context, _ *Call, bucket string, text []byte) error {
	if a.Usage == nil {
		return errNoRecords.with("This server joins no others (--single-gateway), so it keeps no quotas.")
	}
	var in bucketQuota
	if err := decode(text, &in); err != nil {
		return err
	}
	limit := quota.Limit{Bytes: max(in.Quota, in.Size), Objects: in.Objects}
	switch {
	case in.Quota < 0, in.Size < 0, in.Objects < 0, in.Quota != 0 && in.Size != 0 && in.Quota != in.Size:
		return errInvalid
	case in.Rate != 0 || in.Requests != 0:
		return errNotImplemented.with("Quotas of rates and requests are not supported.")
	case in.Type != "hard" && !limit.IsZero():
		return errNotImplemented.with("Of quotas only hard ones are supported.")
	}
	var counted object.Bucket
	err := a.Store.UpdateBucket(ctx, bucket, func(b *object.Bucket) error {
		if limit.IsZero() {
			delete(b.Documents, quota.Document)
		} else {
			if b.Documents == nil {
				b.Documents = make(map[string]string)
			}
			b.Documents[quota.Document] = limit.String()
		}
		counted = b.Clone()
		return nil
	})
	if err != nil || limit.IsZero() {
		return err
	}
	_, err = a.Usage.Count(ctx, counted)
	return err
}

// getBucketQuota serves get-bucket-quota.
func (a *API) getBucketQuota(ctx context.Context, c *Call) error {
	b, err := a.Store.StatBucket(ctx, c.Query.Get("bucket"))
	if err != nil {
		return err
	}
	shown, err := shownQuota(b.Documents[quota.Document])
	if err != nil {
		return err
	}
	return c.answerJSON(shown)
}

// shownQuota is a quota that a bucket has as a document.
func shownQuota(document string) (shown bucketQuota, err error) {
	limit, err := quota.ParseLimit(document)
	if err != nil {
		return shown, err
	}
	shown = bucketQuota{Quota: limit.Bytes, Size: limit.Bytes, Objects: limit.Objects}
	if !limit.IsZero() {
		shown.Type = "hard"
	}
	return shown, nil
}

// usageOf returns what buckets hold, by name and together. One of which nothing is known
// is left out.
func (a *API) usageOf(buckets []object.Bucket) (each map[string]usage.Usage, all usage.Usage, err error) {
	each = make(map[string]usage.Usage, len(buckets))
	if a.Usage == nil {
		return each, all, nil
	}
	for _, b := range buckets {
		u, known, err := a.Usage.Known(b)
		if err != nil {
			return nil, all, err
		}
		if known {
			each[b.Name], all = u, all.Plus(u)
		}
	}
	return each, all, nil
}

// histogram is how many objects there are of which sizes, by MinIO's names for them.
func histogram(u usage.Usage) map[string]int64 {
	names := [...]string{
		"LESS_THAN_1024_B", "BETWEEN_1024_B_AND_1_MB", "BETWEEN_1_MB_AND_10_MB", "BETWEEN_10_MB_AND_64_MB",
		"BETWEEN_64_MB_AND_128_MB", "BETWEEN_128_MB_AND_512_MB", "GREATER_THAN_512_MB",
	}
	h := make(map[string]int64, len(names))
	for i, name := range names {
		h[name] = u.Sizes[i]
	}
	return h
}

// dataUsageInfo serves datausageinfo.
func (a *API) dataUsageInfo(ctx context.Context, c *Call) error {
	buckets, err := a.Store.ListBuckets(ctx)
	if err != nil {
		return err
	}
	each, all, err := a.usageOf(buckets)
	if err != nil {
		return err
	}
	infos, sizes := make(map[string]any, len(each)), make(map[string]int64, len(each))
	for name, u := range each {
		sizes[name] = u.Bytes
		infos[name] = map[string]any{
			"size": u.Bytes, "objectsCount": u.Objects, "versionsCount": u.Versions, "deleteMarkersCount": u.Markers,
			"objectsSizesHistogram": histogram(u),
		}
	}
	return c.answerJSON(map[string]any{
		"lastUpdate": all.At, "objectsCount": all.Objects, "objectsTotalSize": all.Bytes, "versionsCount": all.Versions,
		"deleteMarkersCount": all.Markers, "bucketsCount": len(buckets), "bucketsUsageInfo": infos, "bucketsSizes": sizes,
	})
}

// unknownUsage is what info tells of all buckets where that is not known.
func unknownUsage(why string) map[string]any {
	unknown := map[string]any{"error": why}
	return map[string]any{"usage": unknown, "objects": unknown, "versions": unknown, "deletemarkers": unknown}
}

// usageSummary is what info tells of all buckets, of which so many are known. Where that is not all, it says so
// beside what is known.
func usageSummary(u usage.Usage, known, buckets int) map[string]any {
	if known == 0 && buckets > 0 {
		return unknownUsage("the buckets were not counted yet")
	}
	partial := func(of map[string]any) map[string]any {
		if known < buckets {
			of["error"] = fmt.Sprintf("%d of %d buckets were not counted yet", buckets-known, buckets)
		}
		return of
	}
	count := func(n int64) map[string]any { return partial(map[string]any{"count": n}) }
	return map[string]any{
		"usage": partial(map[string]any{"size": u.Bytes}), "objects": count(u.Objects), "versions": count(u.Versions), "deletemarkers": count(u.Markers),
	}
}
