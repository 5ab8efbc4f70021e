package remote

import (
	"context"

	"github.com/shoal-storage/shoal/internal/object"
)

// checking answers Asks by Checks.
func checking(check, source object.Check) func(ask) (verdict, error) {
	return func(a ask) (verdict, error) {
		asked := check
		if a.Source {
			asked = source
		}
		if asked == nil {
			return verdict{}, errMisplaced
		}
		return verdict{}, asked(a.Info)
	}
}

// CreateBucket implements object.Buckets.
func (c *Client) CreateBucket(ctx context.Context, b object.Bucket) error {
	_, err := c.run(ctx, &exchange{call: call{Op: createBucket, Ref: object.Ref{Bucket: b.Name}, Bucket: b}})
	return err
}

// StatBucket implements object.Buckets.
func (c *Client) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: statBucket, Ref: object.Ref{Bucket: name}}})
	return a.Bucket, err
}

// ListBuckets implements object.Buckets.
func (c *Client) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: listBuckets}})
	return a.Buckets, err
}

// UpdateBucket implements object.Buckets.
func (c *Client) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	_, err := c.run(ctx, &exchange{call: call{Op: updateBucket, Ref: object.Ref{Bucket: name}}, consider: func(a ask) (verdict, error) {
		if a.Bucket == nil {
			return verdict{}, errMisplaced
		}
		return verdict{Bucket: a.Bucket}, fn(a.Bucket)
	}})
	return err
}

// DeleteBucket implements object.Buckets.
func (c *Client) DeleteBucket(ctx context.Context, name string) error {
	_, err := c.run(ctx, &exchange{call: call{Op: deleteBucket, Ref: object.Ref{Bucket: name}}})
	return err
}

// Put implements object.Objects.
func (c *Client) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	q := call{Op: put, Ref: ref, Meta: &in.Meta, Files: in.Files, Check: in.Check != nil, Size: in.Body.Size()}
	a, err := c.run(ctx, &exchange{call: q, body: in.Body, consider: checking(in.Check, nil)})
	return a.Info, err
}

// Open implements object.Objects.
func (c *Client) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	x := &exchange{call: call{Op: open, Ref: ref}, keep: true}
	a, err := c.run(ctx, x)
	if err != nil {
		return nil, err
	}
	h := &handle{client: c, link: x.link, info: a.Info}
	if !a.Whole {
		return h, nil
	}
	return h.takeWhole()
}

// Stat implements object.Objects.
func (c *Client) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: stat, Ref: ref}})
	return a.Info, err
}

// Update implements object.Objects.
func (c *Client) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: update, Ref: ref}, consider: func(a ask) (verdict, error) {
		if a.Meta == nil {
			return verdict{}, errMisplaced
		}
		return verdict{Meta: a.Meta}, fn(a.Meta)
	}})
	return a.Info, err
}

// Delete implements object.Objects.
func (c *Client) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: remove, Ref: ref, Check: check != nil}, consider: checking(check, nil)})
	return a.Deleted, err
}

// List implements object.Objects.
func (c *Client) List(ctx context.Context, q object.Query) (object.Page, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: list, Ref: object.Ref{Bucket: q.Bucket}, Query: q}})
	return a.Page, err
}

// ListVersions implements object.Objects.
func (c *Client) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: listVersions, Ref: object.Ref{Bucket: q.Bucket}, Versions: q}})
	return a.Versions, err
}

// Copy implements object.Copier: NotImplemented if the Store there is none.
func (c *Client) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	q := call{Op: copyObject, Ref: dst, Source: src, Meta: in.Meta, Files: in.Files, Check: in.Check != nil, SourceCheck: in.SourceCheck != nil}
	a, err := c.run(ctx, &exchange{call: q, consider: checking(in.Check, in.SourceCheck)})
	return a.Info, err
}

// Rename implements object.Renamer: NotImplemented if the Store there is none.
func (c *Client) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	q := call{Op: rename, Ref: dst, Source: src, Meta: in.Meta, Files: in.Files, Check: in.Check != nil, SourceCheck: in.SourceCheck != nil}
	_, err := c.run(ctx, &exchange{call: q, consider: checking(in.Check, in.SourceCheck)})
	return err
}

// CreateUpload implements object.Uploads.
func (c *Client) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: createUpload, Ref: up.Ref, Upload: up}})
	return a.Upload, err
}

// StatUpload implements object.Uploads.
func (c *Client) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: statUpload, UploadRef: ref}})
	return a.Upload, err
}

// PutPart implements object.Uploads.
func (c *Client) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: putPart, UploadRef: ref, Number: number, Size: body.Size()}, body: body})
	return a.Part, err
}

// ListParts implements object.Uploads.
func (c *Client) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: listParts, UploadRef: ref, After: after, Limit: limit}})
	return a.Parts, a.More, err
}

// CompleteUpload implements object.Uploads.
func (c *Client) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	q := call{Op: completeUpload, UploadRef: ref, Complete: in, TypeStated: in.Type != nil, Check: in.Check != nil}
	a, err := c.run(ctx, &exchange{call: q, consider: checking(in.Check, nil)})
	return a.Info, err
}

// AbortUpload implements object.Uploads.
func (c *Client) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	_, err := c.run(ctx, &exchange{call: call{Op: abortUpload, UploadRef: ref}})
	return err
}

// ListUploads implements object.Uploads.
func (c *Client) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	a, err := c.run(ctx, &exchange{call: call{Op: listUploads, Ref: object.Ref{Bucket: q.Bucket}, UploadQuery: q}})
	return a.UploadPage, err
}
