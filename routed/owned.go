package routed

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/remote"
)

// proofTime bounds how long the storage is asked for a proof.
const proofTime = 10 * time.Second

// owned is the part of the Store that this gateway owns: for all else it returns
// ErrAgain.
type owned struct {
	*tenures
	store object.Store

	mu      sync.Mutex
	prover  *prover
	session string // that prover proves
}

func newOwned(ctx context.Context, cfg Config) *owned {
	return &owned{tenures: newTenures(ctx, cfg), store: cfg.Store}
}

// proof begins to prove that a session is not over.
func (o *owned) proof(s lock.Session) *proof {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session != s.ID() {
		o.session = s.ID()
		o.prover = &prover{ctx: o.ctx, prove: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, proofTime)
			defer cancel()
			return o.cfg.Fleet.Prove(ctx, s)
		}}
	}
	return o.prover.begin()
}

// use makes a call in a bucket that this gateway owns, and answers it only if it
// still did when the call had begun.
func use[T any](ctx context.Context, o *owned, c callOf, do func(ctx context.Context, t *tenure) (T, error)) (T, error) {
	t, err := o.enter(ctx, c.bucket)
	if err != nil {
		var none T
		return none, object.E(c.op, c.bucket, object.Unavailable, err)
	}
	defer o.leave(t)
	proof := o.proof(t.lease.Session())
	scope, end := t.scope(ctx)
	defer end()
	v, err := do(scope, t)
	unproven := o.shown(ctx, t)
	if unproven == nil {
		unproven = proof.wait(ctx)
	}
	if unproven != nil {
		err = c.unproven(err, unproven)
	}
	return v, err
}

// callOf is what is called for.
type callOf struct {
	op, bucket string
	changes    bool
}

// unproven returns the error of a call that has come to err at a gateway that may
// not have been the owner: it could commit nothing then, but may have found what
// was there no more.
func (c callOf) unproven(err, why error) error {
	switch {
	case errors.Is(err, object.Unknown):
		return err
	case c.changes && err == nil:
		return object.E(c.op, c.bucket, object.Unknown, why)
	case c.changes:
		return object.E(c.op, c.bucket, object.Unavailable, why)
	}
	return object.E(c.op, c.bucket, object.Unavailable, errors.Join(remote.ErrAgain, why))
}

// read and change are use for calls that do so.
func read[T any](ctx context.Context, o *owned, op, bucket string, do func(ctx context.Context) (T, error)) (T, error) {
	return use(ctx, o, callOf{op: op, bucket: bucket}, func(ctx context.Context, _ *tenure) (T, error) { return do(ctx) })
}

func change[T any](ctx context.Context, o *owned, op, bucket string, do func(ctx context.Context) (T, error)) (T, error) {
	return use(ctx, o, callOf{op, bucket, true}, func(ctx context.Context, _ *tenure) (T, error) { return do(ctx) })
}

func changeErr(ctx context.Context, o *owned, op, bucket string, do func(ctx context.Context) error) error {
	_, err := change(ctx, o, op, bucket, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

// turn creates or deletes a bucket.
func (o *owned) turn(ctx context.Context, op, bucket string, do func(ctx context.Context) error) error {
	_, err := use(ctx, o, callOf{op, bucket, true}, func(ctx context.Context, t *tenure) (struct{}, error) {
		return struct{}{}, o.transition(ctx, t, func() (bool, error) {
			err := do(ctx)
			return err == nil || errors.Is(err, object.Unknown), err
		})
	})
	return err
}

// Close implements object.Store. What the Store needs its owner closes.
func (o *owned) Close() error { return nil }

// CreateBucket implements object.Buckets.
func (o *owned) CreateBucket(ctx context.Context, b object.Bucket) error {
	return o.turn(ctx, "create bucket", b.Name, func(ctx context.Context) error { return o.store.CreateBucket(ctx, b) })
}

// DeleteBucket implements object.Buckets.
func (o *owned) DeleteBucket(ctx context.Context, name string) error {
	return o.turn(ctx, "delete bucket", name, func(ctx context.Context) error { return o.store.DeleteBucket(ctx, name) })
}

// StatBucket implements object.Buckets.
func (o *owned) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	return read(ctx, o, "stat bucket", name, func(ctx context.Context) (object.Bucket, error) { return o.store.StatBucket(ctx, name) })
}

// ListBuckets implements object.Buckets. No gateway owns all buckets.
func (o *owned) ListBuckets(context.Context) ([]object.Bucket, error) {
	return nil, object.E("list buckets", "", object.NotImplemented, nil)
}

// UpdateBucket implements object.Buckets.
func (o *owned) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	return changeErr(ctx, o, "update bucket", name, func(ctx context.Context) error { return o.store.UpdateBucket(ctx, name, fn) })
}

// Put implements object.Objects.
func (o *owned) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	return use(ctx, o, callOf{"put", ref.Bucket, true}, func(ctx context.Context, t *tenure) (object.Info, error) {
		in.Body = &body{Body: in.Body, tenures: o.tenures, tenure: t}
		return o.store.Put(ctx, ref, in)
	})
}

// Open implements object.Objects.
func (o *owned) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	h, err := read(ctx, o, "open", ref.Bucket, func(ctx context.Context) (*handle, error) {
		inner, err := o.store.Open(ctx, ref)
		if err != nil {
			return nil, err
		}
		return o.note(ref.Bucket, inner), nil
	})
	if err == nil {
		return h, nil
	}
	if h != nil {
		err = errors.Join(err, h.Close())
	}
	return nil, err
}

// Stat implements object.Objects.
func (o *owned) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	return read(ctx, o, "stat", ref.Bucket, func(ctx context.Context) (object.Info, error) { return o.store.Stat(ctx, ref) })
}

// Update implements object.Objects.
func (o *owned) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	return change(ctx, o, "update", ref.Bucket, func(ctx context.Context) (object.Info, error) { return o.store.Update(ctx, ref, fn) })
}

// Delete implements object.Objects.
func (o *owned) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	return change(ctx, o, "delete", ref.Bucket, func(ctx context.Context) (object.Deleted, error) { return o.store.Delete(ctx, ref, check) })
}

// List implements object.Objects.
func (o *owned) List(ctx context.Context, q object.Query) (object.Page, error) {
	return read(ctx, o, "list", q.Bucket, func(ctx context.Context) (object.Page, error) { return o.store.List(ctx, q) })
}

// ListVersions implements object.Objects.
func (o *owned) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	return read(ctx, o, "list versions", q.Bucket, func(ctx context.Context) (object.VersionPage, error) { return o.store.ListVersions(ctx, q) })
}

// Copy implements object.Copier.
func (o *owned) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	copier, ok := o.store.(object.Copier)
	source, _ := o.cfg.Fleet.Owner(leaseName(src.Bucket))
	if !ok || !source.Self {
		return object.Info{}, object.E("copy", dst.Bucket, object.NotImplemented, nil)
	}
	return change(ctx, o, "copy", dst.Bucket, func(ctx context.Context) (object.Info, error) {
		if src.Bucket == dst.Bucket {
			return copier.Copy(ctx, src, dst, in)
		}
		return change(ctx, o, "copy", src.Bucket, func(ctx context.Context) (object.Info, error) { return copier.Copy(ctx, src, dst, in) })
	})
}

// Rename implements object.Renamer.
func (o *owned) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	renamer, ok := o.store.(object.Renamer)
	if !ok {
		return object.E("rename", dst.Bucket, object.NotImplemented, nil)
	}
	return changeErr(ctx, o, "rename", dst.Bucket, func(ctx context.Context) error { return renamer.Rename(ctx, src, dst, in) })
}

// CreateUpload implements object.Uploads.
func (o *owned) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	return change(ctx, o, "create upload", up.Bucket, func(ctx context.Context) (object.Upload, error) { return o.store.CreateUpload(ctx, up) })
}

// StatUpload implements object.Uploads.
func (o *owned) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	return read(ctx, o, "stat upload", ref.Bucket, func(ctx context.Context) (object.Upload, error) { return o.store.StatUpload(ctx, ref) })
}

// PutPart implements object.Uploads.
func (o *owned) PutPart(ctx context.Context, ref object.UploadRef, number int, content object.Body) (object.Part, error) {
	return use(ctx, o, callOf{"put part", ref.Bucket, true}, func(ctx context.Context, t *tenure) (object.Part, error) {
		return o.store.PutPart(ctx, ref, number, &body{Body: content, tenures: o.tenures, tenure: t})
	})
}

// ListParts implements object.Uploads.
func (o *owned) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	page, err := read(ctx, o, "list parts", ref.Bucket, func(ctx context.Context) (page partPage, err error) {
		page.parts, page.more, err = o.store.ListParts(ctx, ref, after, limit)
		return page, err
	})
	return page.parts, page.more, err
}

// CompleteUpload implements object.Uploads.
func (o *owned) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	return change(ctx, o, "complete upload", ref.Bucket, func(ctx context.Context) (object.Info, error) { return o.store.CompleteUpload(ctx, ref, in) })
}

// AbortUpload implements object.Uploads.
func (o *owned) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	return changeErr(ctx, o, "abort upload", ref.Bucket, func(ctx context.Context) error { return o.store.AbortUpload(ctx, ref) })
}

// ListUploads implements object.Uploads.
func (o *owned) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	return read(ctx, o, "list uploads", q.Bucket, func(ctx context.Context) (object.UploadPage, error) { return o.store.ListUploads(ctx, q) })
}
