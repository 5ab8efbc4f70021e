package object

import "context"

type knownBucket struct{}

// WithBucket returns a context for a call that is part of a request for which the record of a
// bucket was read before: then the Store need not read it again. It is for calls that only read,
// and for what a Store looks at before a change to refuse it early.
func WithBucket(ctx context.Context, b Bucket) context.Context {
	return context.WithValue(ctx, knownBucket{}, &b)
}

// BucketOf returns the record of a bucket that WithBucket was given. The caller must not change
// what it holds.
func BucketOf(ctx context.Context, name string) (Bucket, bool) {
	b, ok := ctx.Value(knownBucket{}).(*Bucket)
	if !ok || b.Name != name {
		return Bucket{}, false
	}
	return *b, true
}
