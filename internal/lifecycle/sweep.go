package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Action is what a sweep does.
type Action string

// The actions.
const (
	Expire           Action = "expire"            // a current version
	ExpireNoncurrent Action = "expire noncurrent" // a version that is not
	RemoveMarker     Action = "remove marker"     // a delete marker with nothing below it
	AbortUpload      Action = "abort upload"
)

// Sweep goes through the buckets once.
type Sweep struct {
	Store object.Store
	Now   time.Time
	// Done is called with every action that was carried out, or would be with
	// DryRun, and what the Store did.
	Done   func(a Action, ref object.Ref, done object.Deleted)
	DryRun bool
}

// errChanged says that a version is no longer what was decided on.
var errChanged = errors.New("it has changed since it was looked at")

// Run goes through all buckets. What goes wrong in one does not keep it from the
// others.
func (s *Sweep) Run(ctx context.Context) error {
	if c, ok := s.Store.(object.Configured); ok && !c.Configured() {
		return nil
	}
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var errs []error
	for _, b := range buckets {
		text, there := b.Documents[Document]
		if !there {
			continue
		}
		c, err := Parse(text)
		if err == nil {
			err = s.bucket(ctx, b, c)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", b.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Sweep) bucket(ctx context.Context, b object.Bucket, c *Configuration) error {
	var versions, uploads bool
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.Status == "Enabled" {
			versions = versions || r.deletes()
			uploads = uploads || r.AbortIncompleteMultipartUpload != nil
		}
	}
	if versions {
		if err := s.versions(ctx, b, c); err != nil {
			return err
		}
	}
	if uploads {
		return s.uploads(ctx, b, c)
	}
	return nil
}

// versions goes through the versions of a bucket, the keys one after another.
func (s *Sweep) versions(ctx context.Context, b object.Bucket, c *Configuration) error {
	k := &keySweep{Sweep: s, bucket: b, rules: c}
	q := object.VersionQuery{Bucket: b.Name, Limit: object.MaxListLimit}
	for {
		page, err := s.Store.ListVersions(ctx, q)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		for i := range page.Versions {
			if err := k.next(ctx, &page.Versions[i]); err != nil {
				return err
			}
		}
		if !page.More {
			return k.end(ctx)
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
}

// keySweep goes through the versions of a bucket, newest first of each key.
type keySweep struct {
	*Sweep
	bucket object.Bucket
	rules  *Configuration

	key        string
	noncurrent int                 // versions of the key so far that are not current
	newer      time.Time           // when the version before this one was made
	alone      *object.VersionInfo // the key's first version, if it is a marker and nothing follows yet
}

func (k *keySweep) next(ctx context.Context, v *object.VersionInfo) error {
	if v.Key != k.key || k.newer.IsZero() {
		if err := k.end(ctx); err != nil {
			return err
		}
		k.key, k.noncurrent, k.alone = v.Key, 0, nil
		if v.Latest && v.Marker {
			k.alone = v
		}
	} else {
		k.alone = nil
	}
	since := k.newer
	k.newer = v.Modified
	if v.Latest {
		if v.Marker {
			return nil
		}
		return k.current(ctx, v)
	}
	k.noncurrent++
	return k.past(ctx, v, since)
}

// end is to be called when a key has no more versions.
func (k *keySweep) end(ctx context.Context) error {
	v := k.alone
	k.alone = nil
	if v == nil {
		return nil
	}
	for i := range k.rules.Rules {
		r := &k.rules.Rules[i]
		if !r.about(v.Key, 0) || len(r.tags()) > 0 {
			continue
		}
		at, timed := r.expires(v.Modified)
		if r.Expiration.removesMarkers() || timed && !k.Now.Before(at) {
			return k.remove(ctx, RemoveMarker, v)
		}
	}
	return nil
}

// current deletes a current version that has had its time.
func (k *keySweep) current(ctx context.Context, v *object.VersionInfo) error {
	for i := range k.rules.Rules {
		r := &k.rules.Rules[i]
		at, timed := r.expires(v.Modified)
		if !timed || k.Now.Before(at) || !r.about(v.Key, v.Size) {
			continue
		}
		ok, err := k.tagged(ctx, r, v)
		if err != nil {
			return err
		}
		if ok {
			return k.expire(ctx, v)
		}
	}
	return nil
}

// past deletes a version that has not been current for long enough.
func (k *keySweep) past(ctx context.Context, v *object.VersionInfo, since time.Time) error {
	for i := range k.rules.Rules {
		r := &k.rules.Rules[i]
		n := r.NoncurrentVersionExpiration
		if n == nil || since.IsZero() || k.Now.Before(due(since, *n.NoncurrentDays)) || !r.about(v.Key, v.Size) {
			continue
		}
		if n.NewerNoncurrentVersions != nil && k.noncurrent <= *n.NewerNoncurrentVersions {
			continue
		}
		ok, err := k.tagged(ctx, r, v)
		if err != nil {
			return err
		}
		if ok {
			return k.expirePast(ctx, v)
		}
	}
	return nil
}

// tagged reports whether a version has the tags that a rule is about.
func (k *keySweep) tagged(ctx context.Context, r *Rule, v *object.VersionInfo) (bool, error) {
	if len(r.tags()) == 0 {
		return true, nil
	}
	if v.Marker {
		return false, nil
	}
	info, err := k.Store.Stat(ctx, object.Ref{Bucket: k.bucket.Name, Key: v.Key, Version: v.Version})
	switch kind := object.KindOf(err); {
	case err == nil:
		return r.tagged(info.Meta.Tags), nil
	case kind == object.NoSuchKey, kind == object.NoSuchVersion:
		return false, nil
	}
	return false, fmt.Errorf("look at %s: %w", v.Key, err)
}

// expire deletes a current version as a client does: where there are versions, it is
// kept below a delete marker.
func (k *keySweep) expire(ctx context.Context, v *object.VersionInfo) error {
	return k.delete(ctx, Expire, object.Ref{Bucket: k.bucket.Name, Key: v.Key}, unchanged(v))
}

// unchanged is the Check of a Delete that something is still what was listed. A null version is another one when
// somebody has put the key meanwhile.
func unchanged(v *object.VersionInfo) object.Check {
	return func(now *object.Info) error {
		if v.Marker != (now == nil) || now != nil && (now.ETag != v.ETag || !now.Modified.Equal(v.Modified)) {
			return errChanged
		}
		return nil
	}
}

// expirePast deletes a version that is not current, unless it has become so again: what was above it is gone.
func (k *keySweep) expirePast(ctx context.Context, v *object.VersionInfo) error {
	current, err := k.Store.Stat(ctx, object.Ref{Bucket: k.bucket.Name, Key: v.Key})
	switch kind := object.KindOf(err); {
	case err == nil && versionOf(current.Version) == versionOf(v.Version):
		return nil
	case err != nil && kind != object.NoSuchKey:
		return fmt.Errorf("look at %s: %w", v.Key, err)
	}
	return k.remove(ctx, ExpireNoncurrent, v)
}

// remove deletes a version for good.
func (k *keySweep) remove(ctx context.Context, a Action, v *object.VersionInfo) error {
	same, mayGo := unchanged(v), object.NotGoverned(k.Now)
	check := func(now *object.Info) error {
		if err := same(now); err != nil {
			return err
		}
		return mayGo(now)
	}
	return k.delete(ctx, a, object.Ref{Bucket: k.bucket.Name, Key: v.Key, Version: versionOf(v.Version)}, check)
}

// versionOf returns a version's ID as a Ref has it.
func versionOf(id string) string { return cmp.Or(id, object.NullVersion) }

func (k *keySweep) delete(ctx context.Context, a Action, ref object.Ref, check object.Check) error {
	if k.DryRun {
		k.Done(a, ref, object.Deleted{})
		return nil
	}
	done, err := k.Store.Delete(ctx, ref, check)
	switch {
	case err == nil:
		k.Done(a, ref, done)
	case errors.Is(err, errChanged), errors.Is(err, object.Locked):
	default:
		return fmt.Errorf("%s %s: %w", a, ref.Key, err)
	}
	return nil
}

// uploads ends the uploads of a bucket that were not completed in time.
func (s *Sweep) uploads(ctx context.Context, b object.Bucket, c *Configuration) error {
	q := object.UploadQuery{Bucket: b.Name, Limit: object.MaxListLimit}
	for {
		page, err := s.Store.ListUploads(ctx, q)
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}
		for _, up := range page.Uploads {
			if at, _, ok := c.Aborts(&up); !ok || s.Now.Before(at) {
				continue
			}
			if !s.DryRun {
				err := s.Store.AbortUpload(ctx, up.UploadRef)
				if errors.Is(err, object.NoSuchUpload) {
					continue
				}
				if err != nil {
					return fmt.Errorf("abort upload of %s: %w", up.Key, err)
				}
			}
			s.Done(AbortUpload, up.Ref, object.Deleted{})
		}
		if !page.More {
			return nil
		}
		q.AfterKey, q.AfterID = page.NextKey, page.NextID
	}
}
