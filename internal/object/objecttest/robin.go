package objecttest

import (
	"context"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/object"
)

// Robin is a Store whose calls go to one of several gateways of one storage after
// the other.
type Robin struct {
	Between  func() // called before each call, unless nil
	gateways []object.Store
	calls    atomic.Uint64
}

var (
	_ object.Copier  = (*Robin)(nil)
	_ object.Renamer = (*Robin)(nil)
)

// NewRobin returns the Store of gateways that are Copiers and Renamers. Closing
// it closes none of them.
func NewRobin(gateways ...object.Store) *Robin { return &Robin{gateways: gateways} }

func (r *Robin) next() object.Store {
	if r.Between != nil {
		r.Between()
	}
	return r.gateways[r.calls.Add(1)%uint64(len(r.gateways))]
}

// Close implements object.Store.
func (r *Robin) Close() error { return nil }

// CreateBucket implements object.Buckets.
func (r *Robin) CreateBucket(ctx context.Context, b object.Bucket) error {
	return r.next().CreateBucket(ctx, b)
}

// StatBucket implements object.Buckets.
func (r *Robin) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	return r.next().StatBucket(ctx, name)
}

// ListBuckets implements object.Buckets.
func (r *Robin) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	return r.next().ListBuckets(ctx)
}

// UpdateBucket implements object.Buckets.
func (r *Robin) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	return r.next().UpdateBucket(ctx, name, fn)
}

// DeleteBucket implements object.Buckets.
func (r *Robin) DeleteBucket(ctx context.Context, name string) error {
	return r.next().DeleteBucket(ctx, name)
}

// Put implements object.Objects.
func (r *Robin) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	return r.next().Put(ctx, ref, in)
}

// Open implements object.Objects.
func (r *Robin) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	return r.next().Open(ctx, ref)
}

// Stat implements object.Objects.
func (r *Robin) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	return r.next().Stat(ctx, ref)
}

// Update implements object.Objects.
func (r *Robin) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	return r.next().Update(ctx, ref, fn)
}

// Delete implements object.Objects.
func (r *Robin) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	return r.next().Delete(ctx, ref, check)
}

// List implements object.Objects.
func (r *Robin) List(ctx context.Context, q object.Query) (object.Page, error) {
	return r.next().List(ctx, q)
}

// ListVersions implements object.Objects.
func (r *Robin) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	return r.next().ListVersions(ctx, q)
}

// Copy implements object.Copier.
func (r *Robin) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	return r.next().(object.Copier).Copy(ctx, src, dst, in)
}

// Rename implements object.Renamer.
func (r *Robin) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	return r.next().(object.Renamer).Rename(ctx, src, dst, in)
}

// CreateUpload implements object.Uploads.
func (r *Robin) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	return r.next().CreateUpload(ctx, up)
}

// StatUpload implements object.Uploads.
func (r *Robin) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	return r.next().StatUpload(ctx, ref)
}

// PutPart implements object.Uploads.
func (r *Robin) PutPart(ctx context.Context, ref object.UploadRef, n int, b object.Body) (object.Part, error) {
	return r.next().PutPart(ctx, ref, n, b)
}

// ListParts implements object.Uploads.
func (r *Robin) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	return r.next().ListParts(ctx, ref, after, limit)
}

// ListUploads implements object.Uploads.
func (r *Robin) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	return r.next().ListUploads(ctx, q)
}

// CompleteUpload implements object.Uploads.
func (r *Robin) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	return r.next().CompleteUpload(ctx, ref, in)
}

// AbortUpload implements object.Uploads.
func (r *Robin) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	return r.next().AbortUpload(ctx, ref)
}
