package nasfs

import (
	"context"

	"github.com/shoal-storage/shoal/internal/object"
)

// change runs an operation that changes something, in a session that has not
// ended when it begins.
func change[T any](ctx context.Context, f *Fleet, op, name string, do func(*Store) (T, error)) (T, error) {
	t, err := f.write(ctx)
	if err != nil {
		var none T
		return none, fail(op, name, err)
	}
	defer f.leave(t)
	return do(t.Store)
}

// changeErr is change for operations that return nothing else.
func changeErr(ctx context.Context, f *Fleet, op, name string, do func(*Store) error) error {
	_, err := change(ctx, f, op, name, func(s *Store) (struct{}, error) { return struct{}{}, do(s) })
	return err
}

// CreateBucket implements object.Buckets.
func (f *Fleet) CreateBucket(ctx context.Context, b object.Bucket) error {
	return changeErr(ctx, f, "create bucket", b.Name, func(s *Store) error { return s.CreateBucket(ctx, b) })
}

// StatBucket implements object.Buckets.
func (f *Fleet) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	t := f.read()
	defer f.leave(t)
	return t.StatBucket(ctx, name)
}

// ListBuckets implements object.Buckets.
func (f *Fleet) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	t := f.read()
	defer f.leave(t)
	return t.ListBuckets(ctx)
}

// UpdateBucket implements object.Buckets.
func (f *Fleet) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	return changeErr(ctx, f, "update bucket", name, func(s *Store) error { return s.UpdateBucket(ctx, name, fn) })
}

// DeleteBucket implements object.Buckets.
func (f *Fleet) DeleteBucket(ctx context.Context, name string) error {
	return changeErr(ctx, f, "delete bucket", name, func(s *Store) error { return s.DeleteBucket(ctx, name) })
}

// Prove implements object.Giver.
func (f *Fleet) Prove(ctx context.Context, files object.Files) error {
	return changeErr(ctx, f, "set up files", "", func(s *Store) error { return s.Prove(ctx, files) })
}

// Put implements object.Objects.
func (f *Fleet) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	return change(ctx, f, "put", ref.Bucket+"/"+ref.Key, func(s *Store) (object.Info, error) { return s.Put(ctx, ref, in) })
}

// Open implements object.Objects.
func (f *Fleet) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	t := f.read()
	defer f.leave(t)
	return t.Open(ctx, ref) // what it returns does not need the session
}

// Stat implements object.Objects.
func (f *Fleet) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	t := f.read()
	defer f.leave(t)
	return t.Stat(ctx, ref)
}

// Update implements object.Objects.
func (f *Fleet) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	return change(ctx, f, "update", ref.Bucket+"/"+ref.Key, func(s *Store) (object.Info, error) { return s.Update(ctx, ref, fn) })
}

// Delete implements object.Objects.
func (f *Fleet) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	return change(ctx, f, "delete", ref.Bucket+"/"+ref.Key, func(s *Store) (object.Deleted, error) { return s.Delete(ctx, ref, check) })
}

// List implements object.Objects.
func (f *Fleet) List(ctx context.Context, q object.Query) (object.Page, error) {
	t := f.read()
	defer f.leave(t)
	return t.List(ctx, q)
}

// ListVersions implements object.Objects.
func (f *Fleet) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	t := f.read()
	defer f.leave(t)
	return t.ListVersions(ctx, q)
}

// Copy implements object.Copier.
func (f *Fleet) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	return change(ctx, f, "copy", src.Bucket+"/"+src.Key, func(s *Store) (object.Info, error) { return s.Copy(ctx, src, dst, in) })
}

// Rename implements object.Renamer.
func (f *Fleet) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	return changeErr(ctx, f, "rename", src.Bucket+"/"+src.Key, func(s *Store) error { return s.Rename(ctx, src, dst, in) })
}

// CreateUpload implements object.Uploads.
func (f *Fleet) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	return change(ctx, f, "create upload", uploadName(up.UploadRef), func(s *Store) (object.Upload, error) { return s.CreateUpload(ctx, up) })
}

// StatUpload implements object.Uploads.
func (f *Fleet) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	t := f.read()
	defer f.leave(t)
	return t.StatUpload(ctx, ref)
}

// PutPart implements object.Uploads.
func (f *Fleet) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	return change(ctx, f, "put part", uploadName(ref), func(s *Store) (object.Part, error) { return s.PutPart(ctx, ref, number, body) })
}

// ListParts implements object.Uploads.
func (f *Fleet) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) (parts []object.Part, more bool, err error) {
	t := f.read()
	defer f.leave(t)
	return t.ListParts(ctx, ref, after, limit)
}

// ListUploads implements object.Uploads.
func (f *Fleet) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	t := f.read()
	defer f.leave(t)
	return t.ListUploads(ctx, q)
}

// CompleteUpload implements object.Uploads.
func (f *Fleet) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	return change(ctx, f, "complete upload", uploadName(ref), func(s *Store) (object.Info, error) { return s.CompleteUpload(ctx, ref, in) })
}

// AbortUpload implements object.Uploads.
func (f *Fleet) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	return changeErr(ctx, f, "abort upload", uploadName(ref), func(s *Store) error { return s.AbortUpload(ctx, ref) })
}
