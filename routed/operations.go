package routed

import (
	"context"
	"errors"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// CreateBucket implements object.Buckets.
func (s *Store) CreateBucket(ctx context.Context, b object.Bucket) error {
	return onErr(ctx, s, "create bucket", b.Name, func(at object.Store) error { return at.CreateBucket(ctx, b) })
}

// StatBucket implements object.Buckets.
func (s *Store) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	return on(ctx, s, "stat bucket", name, func(at object.Store) (object.Bucket, error) { return at.StatBucket(ctx, name) })
}

// maxAsked is how many buckets are asked for at a time.
const maxAsked = 16

// ListBuckets implements object.Buckets. The names are those that this gateway
// sees: a creation or deletion that was answered shows everywhere. What is behind
// a name, and whether anything is yet, its owner says.
func (s *Store) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	seen, err := s.cfg.Store.ListBuckets(ctx)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(seen))
	errs := make([]error, len(seen))
	asked := make(chan struct{}, maxAsked)
	var group sync.WaitGroup
	for i := range seen {
		asked <- struct{}{}
		group.Go(func() {
			defer func() { <-asked }()
			b, err := s.StatBucket(ctx, seen[i].Name)
			if errors.Is(err, object.NoSuchBucket) {
				return
			}
			seen[i], there[i], errs[i] = b, err == nil, err
		})
	}
	group.Wait()
	var buckets []object.Bucket
	for i := range seen {
		if there[i] {
			buckets = append(buckets, seen[i])
		}
	}
	return buckets, errors.Join(errs...)
}

// UpdateBucket implements object.Buckets.
func (s *Store) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	return onErr(ctx, s, "update bucket", name, func(at object.Store) error { return at.UpdateBucket(ctx, name, fn) })
}

// DeleteBucket implements object.Buckets.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	return onErr(ctx, s, "delete bucket", name, func(at object.Store) error { return at.DeleteBucket(ctx, name) })
}

// Put implements object.Objects.
func (s *Store) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	return on(ctx, s, "put", ref.Bucket, func(at object.Store) (object.Info, error) { return at.Put(ctx, ref, in) })
}

// Open implements object.Objects.
func (s *Store) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	return on(ctx, s, "open", ref.Bucket, func(at object.Store) (object.Handle, error) { return at.Open(ctx, ref) })
}

// Stat implements object.Objects.
func (s *Store) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	return on(ctx, s, "stat", ref.Bucket, func(at object.Store) (object.Info, error) { return at.Stat(ctx, ref) })
}

// Update implements object.Objects.
func (s *Store) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	return on(ctx, s, "update", ref.Bucket, func(at object.Store) (object.Info, error) { return at.Update(ctx, ref, fn) })
}

// Delete implements object.Objects.
func (s *Store) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	return on(ctx, s, "delete", ref.Bucket, func(at object.Store) (object.Deleted, error) { return at.Delete(ctx, ref, check) })
}

// List implements object.Objects.
func (s *Store) List(ctx context.Context, q object.Query) (object.Page, error) {
	return on(ctx, s, "list", q.Bucket, func(at object.Store) (object.Page, error) { return at.List(ctx, q) })
}

// ListVersions implements object.Objects.
func (s *Store) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	return on(ctx, s, "list versions", q.Bucket, func(at object.Store) (object.VersionPage, error) { return at.ListVersions(ctx, q) })
}

// Copy implements object.Copier. Between buckets of two owners it is
// NotImplemented: neither may touch what is the other's.
func (s *Store) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	return on(ctx, s, "copy", dst.Bucket, func(at object.Store) (object.Info, error) {
		copier, ok := at.(object.Copier)
		if !ok {
			return object.Info{}, object.E("copy", dst.Bucket, object.NotImplemented, nil)
		}
		return copier.Copy(ctx, src, dst, in)
	})
}

// Rename implements object.Renamer.
func (s *Store) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	return onErr(ctx, s, "rename", dst.Bucket, func(at object.Store) error {
		renamer, ok := at.(object.Renamer)
		if !ok {
			return object.E("rename", dst.Bucket, object.NotImplemented, nil)
		}
		return renamer.Rename(ctx, src, dst, in)
	})
}

// CreateUpload implements object.Uploads.
func (s *Store) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	return on(ctx, s, "create upload", up.Bucket, func(at object.Store) (object.Upload, error) { return at.CreateUpload(ctx, up) })
}

// StatUpload implements object.Uploads.
func (s *Store) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	return on(ctx, s, "stat upload", ref.Bucket, func(at object.Store) (object.Upload, error) { return at.StatUpload(ctx, ref) })
}

// PutPart implements object.Uploads.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	return on(ctx, s, "put part", ref.Bucket, func(at object.Store) (object.Part, error) { return at.PutPart(ctx, ref, number, body) })
}

// partPage is what ListParts returns.
type partPage struct {
	parts []object.Part
	more  bool
}

// ListParts implements object.Uploads.
func (s *Store) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	page, err := on(ctx, s, "list parts", ref.Bucket, func(at object.Store) (page partPage, err error) {
		page.parts, page.more, err = at.ListParts(ctx, ref, after, limit)
		return page, err
	})
	return page.parts, page.more, err
}

// CompleteUpload implements object.Uploads.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	return on(ctx, s, "complete upload", ref.Bucket, func(at object.Store) (object.Info, error) { return at.CompleteUpload(ctx, ref, in) })
}

// AbortUpload implements object.Uploads.
func (s *Store) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	return onErr(ctx, s, "abort upload", ref.Bucket, func(at object.Store) error { return at.AbortUpload(ctx, ref) })
}

// ListUploads implements object.Uploads.
func (s *Store) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	return on(ctx, s, "list uploads", q.Bucket, func(at object.Store) (object.UploadPage, error) { return at.ListUploads(ctx, q) })
}
