package quota

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/internal/object"
)

// Store is an object.Store that keeps the buckets of another one within their limits. A
// bucket without a limit costs nothing.
type Store struct {
	object.Store
	accounts *Accounts
	// Written is told of a bucket in which something was written or removed, or may have been;
	// anew: the bucket itself was made or removed. Nil: nobody is told. It does not wait.
	Written func(bucket string, anew bool)
}

var (
	_ object.Copier     = (*Store)(nil)
	_ object.Renamer    = (*Store)(nil)
	_ object.Configured = (*Store)(nil)
	_ object.Giver      = (*Store)(nil)
	_ object.Health     = (*Store)(nil)
)

// NewStore returns a Store. The accounts are closed by who runs them.
func NewStore(store object.Store, accounts *Accounts) *Store {
	return &Store{Store: store, accounts: accounts}
}

// limited returns the record of a bucket and its limit; none if there is no such bucket,
// which its Store will say.
func (s *Store) limited(ctx context.Context, bucket string) (_ object.Bucket, limit Limit, err error) {
	b, known := object.BucketOf(ctx, bucket)
	if c, ok := s.Store.(object.Configured); ok && !known {
		if !c.Configured() {
			return b, limit, nil
		}
		b, known = c.Known(bucket)
	}
	if !known {
		if b, err = s.StatBucket(ctx, bucket); err != nil {
			if errors.Is(err, object.NoSuchBucket) {
				err = nil
			}
			return object.Bucket{}, limit, err
		}
	}
	limit, err = ParseLimit(b.Documents[Document])
	return b, limit, err
}

// tell tells of a change unless it has failed.
func (s *Store) tell(bucket string, anew bool, err error) {
	if s.Written != nil && (err == nil || errors.Is(err, object.Unknown)) {
		s.Written(bucket, anew)
	}
}

// errReplaced says that an object is not the one whose room a write was to take over.
var errReplaced = errors.New("another object is in its place meanwhile")

// maxReplaced bounds how often a write begins anew because of that.
const maxReplaced = 5

// grow runs an operation that makes a current version of so many bytes.
func (s *Store) grow(ctx context.Context, ref object.Ref, size int64, check object.Check, do func(object.Check) (object.Info, error)) (object.Info, error) {
	b, limit, err := s.limited(ctx, ref.Bucket)
	if err != nil {
		return object.Info{}, err
	}
	if limit.IsZero() {
		return do(check)
	}
	g := growth{s: s, bucket: b, limit: limit, ref: ref, size: size}
	for range maxReplaced {
		info, err := g.try(ctx, check, do)
		if !errors.Is(err, errReplaced) {
			return info, err
		}
	}
	return object.Info{}, object.E("put", ref.Bucket+"/"+ref.Key, object.Conflict, errReplaced)
}

// growth is one operation that makes a current version.
type growth struct {
	s      *Store
	bucket object.Bucket
	limit  Limit
	ref    object.Ref
	size   int64
}

// try reserves room for the whole version, or, where that is not to be had, for what it
// is larger than the one that it replaces, and then replaces no other.
func (g *growth) try(ctx context.Context, check object.Check, do func(object.Check) (object.Info, error)) (object.Info, error) {
	null, err := g.s.null(ctx, g.bucket, g.ref)
	if err != nil {
		return object.Info{}, err
	}
	r, instead, err := g.reserve(ctx)
	if err != nil {
		return object.Info{}, err
	}
	w := watch{versioning: g.bucket.Versioning, null: null}
	info, err := do(object.All(check, func(current *object.Info) error {
		if instead != nil && g.replaces(current) && !same(current, instead) {
			return errReplaced
		}
		w.see(current)
		return nil
	}))
	switch {
	case errors.Is(err, object.Unknown):
		r.Doubt()
	case err != nil, !w.seen, same(w.current, &info):
		r.Done(Amount{}) // nothing was changed: the operation had been carried out before
	default:
		r.Done(Amount{info.Size, 1}.minus(w.replaced))
	}
	return info, err
}

// reserve also returns the version whose room is taken over, or nil.
func (g *growth) reserve(ctx context.Context) (*Reservation, *object.Info, error) {
	r, err := g.s.accounts.Reserve(ctx, g.bucket, g.limit, Amount{g.size, 1})
	if !errors.Is(err, object.OverQuota) || g.bucket.Versioning == object.Versioned {
		return r, nil, err
	}
	ref := g.ref
	if ref.Version = ""; g.bucket.Versioning == object.Suspended {
		ref.Version = object.NullVersion
	}
	old, lost := g.s.Stat(ctx, ref)
	if lost != nil {
		return nil, nil, err
	}
	r, err = g.s.accounts.Reserve(ctx, g.bucket, g.limit, Amount{Bytes: max(0, g.size-old.Size)})
	return r, &old, err
}

// replaces reports whether the write replaces the current version, and not one that was
// current before it.
func (g *growth) replaces(current *object.Info) bool {
	return g.bucket.Versioning == object.Unversioned || current != nil && current.Version == object.NullVersion
}

func same(a, b *object.Info) bool {
	return a != nil && a.ETag == b.ETag && a.Version == b.Version && a.Modified.Equal(b.Modified)
}

// null returns the null version where a write may replace one that is not current: in a
// bucket whose versioning is suspended.
func (s *Store) null(ctx context.Context, b object.Bucket, ref object.Ref) (Amount, error) {
	if b.Versioning != object.Suspended {
		return Amount{}, nil
	}
	ref.Version = object.NullVersion
	info, err := s.Stat(ctx, ref)
	switch kind := object.KindOf(err); {
	case kind == object.NoSuchKey, kind == object.NoSuchVersion, kind == object.DeleteMarker:
		return Amount{}, nil
	case err != nil:
		return Amount{}, fmt.Errorf("look at the null version: %w", err)
	}
	return Amount{info.Size, 1}, nil
}

// watch sees in a Check what a write replaces.
type watch struct {
	versioning object.Versioning
	null       Amount // of the null version, before
	seen       bool
	current    *object.Info
	replaced   Amount
}

func (w *watch) see(current *object.Info) {
	w.seen, w.current, w.replaced = true, current, Amount{}
	switch {
	case w.versioning == object.Versioned:
	case w.versioning == object.Suspended && (current == nil || current.Version != object.NullVersion):
		w.replaced = w.null
	case current != nil:
		w.replaced = Amount{current.Size, 1}
	}
}

// Put implements object.Objects.
func (s *Store) Put(ctx context.Context, ref object.Ref, in object.PutInput) (_ object.Info, err error) {
	defer func() { s.tell(ref.Bucket, false, err) }()
	return s.grow(ctx, ref, object.MostSize(in.Body), in.Check, func(check object.Check) (object.Info, error) {
		in.Check = check
		return s.Store.Put(ctx, ref, in)
	})
}

// Copy implements object.Copier.
func (s *Store) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (_ object.Info, err error) {
	defer func() { s.tell(dst.Bucket, false, err) }()
	copier, ok := s.Store.(object.Copier)
	if !ok {
		return object.Info{}, object.E("copy", src.Bucket+"/"+src.Key, object.NotImplemented, nil)
	}
	_, limit, err := s.limited(ctx, dst.Bucket)
	if err != nil {
		return object.Info{}, err
	}
	if limit.IsZero() {
		return copier.Copy(ctx, src, dst, in)
	}
	source, err := s.Stat(ctx, src)
	if err != nil {
		return object.Info{}, err
	}
	in.SourceCheck = object.All(in.SourceCheck, func(now *object.Info) error {
		if now == nil || now.Size != source.Size {
			return object.E("copy", src.Bucket+"/"+src.Key, object.Conflict, errReplaced)
		}
		return nil
	})
	return s.grow(ctx, dst, source.Size, in.Check, func(check object.Check) (object.Info, error) {
		in.Check = check
		return copier.Copy(ctx, src, dst, in)
	})
}

// CompleteUpload implements object.Uploads.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (_ object.Info, err error) {
	defer func() { s.tell(ref.Bucket, false, err) }()
	_, limit, err := s.limited(ctx, ref.Bucket)
	if err != nil {
		return object.Info{}, err
	}
	size := int64(0)
	if !limit.IsZero() {
		size, err = s.sizeOf(ctx, ref, in.Parts)
	}
	if limit.IsZero() || errors.Is(err, object.NoSuchUpload) {
		return s.Store.CompleteUpload(ctx, ref, in) // if it succeeds, then because it has before
	}
	if err != nil {
		return object.Info{}, err
	}
	return s.grow(ctx, ref.Ref, size, in.Check, func(check object.Check) (object.Info, error) {
		in.Check = check
		return s.Store.CompleteUpload(ctx, ref, in)
	})
}

// sizeOf returns how large an object of these parts will be.
func (s *Store) sizeOf(ctx context.Context, ref object.UploadRef, named []object.CompletedPart) (size int64, err error) {
	wanted := make(map[int]bool, len(named))
	for _, p := range named {
		wanted[p.Number] = true
	}
	for after, more := 0, true; more; {
		var parts []object.Part
		if parts, more, err = s.ListParts(ctx, ref, after, object.MaxListLimit); err != nil {
			return 0, err
		}
		for _, p := range parts {
			if after = p.Number; wanted[p.Number] {
				size += p.Size
			}
		}
	}
	return size, nil
}

// PutPart implements object.Uploads. Room is reserved while the part is being stored; the
// parts of uploads in progress take none.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	b, limit, err := s.limited(ctx, ref.Bucket)
	if err != nil {
		return object.Part{}, err
	}
	if !limit.IsZero() {
		r, err := s.accounts.Reserve(ctx, b, limit, Amount{Bytes: max(0, object.ContentSize(body))})
		if err != nil {
			return object.Part{}, err
		}
		defer r.Done(Amount{})
	}
	return s.Store.PutPart(ctx, ref, number, body)
}

// seeing returns a Check that shows see what it is about. Without see it is check,
// which may be none: to show it costs a look.
func seeing(check object.Check, see func(*object.Info)) object.Check {
	if see == nil {
		return check
	}
	return object.All(check, func(current *object.Info) error {
		see(current)
		return nil
	})
}

// shrink runs an operation that removes versions, which its Check sees; see is nil in
// a bucket without limits.
func (s *Store) shrink(ctx context.Context, ref object.Ref, do func(see func(*object.Info)) error) error {
	b, limit, err := s.limited(ctx, ref.Bucket)
	if err != nil {
		return err
	}
	if limit.IsZero() {
		return do(nil)
	}
	w := watch{versioning: b.Versioning}
	if ref.Version != "" {
		w.versioning = object.Unversioned // the one that is named goes
	} else if w.null, err = s.null(ctx, b, ref); err != nil {
		return err
	}
	r, err := s.accounts.Reserve(ctx, b, limit, Amount{})
	if err != nil {
		return err
	}
	err = do(w.see)
	switch {
	case errors.Is(err, object.Unknown):
		r.Doubt()
	case err != nil:
		r.Done(Amount{})
	default:
		r.Done(Amount{}.minus(w.replaced))
	}
	return err
}

// Delete implements object.Objects.
func (s *Store) Delete(ctx context.Context, ref object.Ref, check object.Check) (done object.Deleted, err error) {
	defer func() { s.tell(ref.Bucket, false, err) }()
	err = s.shrink(ctx, ref, func(see func(*object.Info)) error {
		done, err = s.Store.Delete(ctx, ref, seeing(check, see))
		return err
	})
	return done, err
}

// Prove implements object.Giver.
func (s *Store) Prove(ctx context.Context, f object.Files) error {
	giver, ok := s.Store.(object.Giver)
	if !ok {
		return object.E("set up files", "", object.NotImplemented, nil)
	}
	return giver.Prove(ctx, f)
}

// Rename implements object.Renamer. What it replaces goes.
func (s *Store) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) (err error) {
	defer func() { s.tell(dst.Bucket, false, err) }()
	renamer, ok := s.Store.(object.Renamer)
	if !ok {
		return object.E("rename", src.Bucket+"/"+src.Key, object.NotImplemented, nil)
	}
	return s.shrink(ctx, dst, func(see func(*object.Info)) error {
		in := in
		in.Check = seeing(in.Check, see)
		return renamer.Rename(ctx, src, dst, in)
	})
}

// CreateBucket implements object.Buckets.
func (s *Store) CreateBucket(ctx context.Context, b object.Bucket) (err error) {
	defer func() { s.tell(b.Name, true, err) }()
	return s.Store.CreateBucket(ctx, b)
}

// DeleteBucket implements object.Buckets.
func (s *Store) DeleteBucket(ctx context.Context, name string) (err error) {
	defer func() { s.tell(name, true, err) }()
	if err := s.Store.DeleteBucket(ctx, name); err != nil {
		return err
	}
	return s.accounts.Forget(ctx, name)
}

// Configured implements object.Configured.
func (s *Store) Configured() bool {
	c, ok := s.Store.(object.Configured)
	return !ok || c.Configured()
}

// Known implements object.Configured.
func (s *Store) Known(bucket string) (object.Bucket, bool) {
	if c, ok := s.Store.(object.Configured); ok {
		return c.Known(bucket)
	}
	return object.Bucket{}, false
}

// Healthy implements object.Health.
func (s *Store) Healthy() error {
	if h, ok := s.Store.(object.Health); ok {
		return h.Healthy()
	}
	return nil
}
