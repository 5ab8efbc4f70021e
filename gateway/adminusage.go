package gateway

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
func (s *Server) setBucketQuota(ctx context.Context, r *request) error {
	if s.Usage == nil {
		return errAdminNoRecords.with("This server joins no others (--single-gateway), so it keeps no quotas.")
	}
	text, err := s.adminBody(r)
	if err != nil {
		return err
	}
	var in bucketQuota
	if err := decodeAdmin(text, &in); err != nil {
		return err
	}
	limit := quota.Limit{Bytes: max(in.Quota, in.Size), Objects: in.Objects}
	switch {
	case in.Quota < 0, in.Size < 0, in.Objects < 0, in.Quota != 0 && in.Size != 0 && in.Quota != in.Size:
		return errAdminInvalid
	case in.Rate != 0 || in.Requests != 0:
		return errNotImplemented.with("Quotas of rates and requests are not supported.")
	case in.Type != "hard" && !limit.IsZero():
		return errNotImplemented.with("Of quotas only hard ones are supported.")
	}
	var bucket object.Bucket
	err = s.Store.UpdateBucket(ctx, r.query.get("bucket"), func(b *object.Bucket) error {
		if limit.IsZero() {
			delete(b.Documents, quota.Document)
		} else {
			if b.Documents == nil {
				b.Documents = make(map[string]string)
			}
			b.Documents[quota.Document] = limit.String()
		}
		bucket = b.Clone()
		return nil
	})
	if err != nil || limit.IsZero() {
		return err
	}
	_, err = s.Usage.Count(ctx, bucket)
	return err
}

// getBucketQuota serves get-bucket-quota.
func (s *Server) getBucketQuota(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.query.get("bucket"))
	if err != nil {
		return err
	}
	limit, err := quota.ParseLimit(b.Documents[quota.Document])
	if err != nil {
		return err
	}
	out := bucketQuota{Quota: limit.Bytes, Size: limit.Bytes, Objects: limit.Objects}
	if !limit.IsZero() {
		out.Type = "hard"
	}
	return r.answerJSON(out)
}

// usageOf returns what buckets hold, by name and together. One of which nothing is known
// is left out.
func (s *Server) usageOf(buckets []object.Bucket) (each map[string]usage.Usage, all usage.Usage, err error) {
	each = make(map[string]usage.Usage, len(buckets))
	if s.Usage == nil {
		return each, all, nil
	}
	for _, b := range buckets {
		u, known, err := s.Usage.Known(b)
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
func (s *Server) dataUsageInfo(ctx context.Context, r *request) error {
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		return err
	}
	each, all, err := s.usageOf(buckets)
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
	return r.answerJSON(map[string]any{
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
