package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

// forceHeader is MinIO's header that deletes a bucket with all that is in it.
const forceHeader = "x-minio-force-delete"

// forceAttempts is how often a bucket is emptied that others go on filling.
const forceAttempts = 3

// forceDeleteBucket serves the DeleteBucket of "mc rb --force": all versions of all
// objects go first. What is locked stays, and so does the bucket then.
func (s *Server) forceDeleteBucket(ctx context.Context, r *request) error {
	if !strings.EqualFold(r.header(forceHeader), "true") {
		if err := s.allow(r, "s3:DeleteBucket", object.Ref{Bucket: r.bucket}); err != nil {
			return err
		}
		return s.deleteBucket(ctx, r)
	}
	var err error
	for range forceAttempts {
		if err := s.emptyBucket(ctx, r); err != nil {
			return err
		}
		if err = s.deleteBucket(ctx, r); !errors.Is(err, object.BucketNotEmpty) {
			return err
		}
	}
	return err
}

// emptyBucket deletes page after page, always the first one that is left.
func (s *Server) emptyBucket(ctx context.Context, r *request) error {
	for {
		page, err := s.Store.ListVersions(ctx, object.VersionQuery{Bucket: r.bucket, Limit: object.MaxListLimit})
		if err != nil || len(page.Versions) == 0 {
			return err
		}
		objects := make([]deleteObject, len(page.Versions))
		for i := range page.Versions {
			v := &page.Versions[i]
			objects[i] = deleteObject{Key: v.Key, VersionID: v.Version}
			if v.Version == "" {
				objects[i].VersionID = object.NullVersion
			}
		}
		results := s.deleteAll(ctx, r, objects)
		if err := s.tellDeleted(ctx, r, objects, results); err != nil {
			return err
		}
		for _, d := range results {
			if d.err != nil && !errors.Is(d.err, object.NoSuchVersion) {
				return d.err
			}
		}
	}
}
