package erasure

import (
	"context"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// Delete implements object.Objects. To delete is to write: a tombstone, or a marker, that a
// drive which was away finds newer than what it has.
func (s *Store) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	const op = "delete"
	defer s.enter().leave()
	name := ref.Bucket + "/" + ref.Key
	var done object.Deleted
	err := s.within(ctx, op, ref, func(ctx context.Context, h *hold, b *bucket) (err error) {
		if ref.Version != "" {
			done, err = h.deleteVersion(ctx, b, ref, check)
		} else if err = h.check(ctx, b, ref, check); err == nil {
			done, err = h.deleteCurrent(ctx, b)
		}
		done.Sequence = h.sequence()
		return err
	})
	if err != nil {
		return object.Deleted{}, fail(op, name, err)
	}
	return done, nil
}

func (h *hold) deleteCurrent(ctx context.Context, b *bucket) (object.Deleted, error) {
	if b.Record.Versioning != object.Unversioned {
		r := register.Record{Kind: register.Marker, Quorum: h.set.majority()}
		r.Version, r.Made = h.nextVersion(b)
		v := &value{info: object.Info{Modified: h.s.cfg.Now().UTC()}}
		r.Value = v.encode()
		return object.Deleted{Version: r.Version, Marker: true}, h.put(ctx, h.set, r, commitment{})
	}
	return object.Deleted{}, h.vanish(ctx)
}

func (h *hold) deleteVersion(ctx context.Context, b *bucket, ref object.Ref, check object.Check) (object.Deleted, error) {
	done := object.Deleted{Version: ref.Version}
	version, made, err := parseVersion(ref.Version)
	if err != nil {
		if kind := unknownVersion(ref.Version); kind != object.NoSuchVersion {
			return done, object.E("delete", ref.Bucket+"/"+ref.Key, kind, err)
		}
		return done, b.checked(ref, nil, check)
	}
	all, err := h.copies(ctx, version, made)
	if err != nil {
		return done, err
	}
	if len(all) == 0 {
		return done, b.checked(ref, nil, check)
	}
	r := all[len(all)-1].Record
	if err := b.checked(ref, r, check); err != nil {
		return done, err
	}
	done.Marker = r.Kind == register.Marker
	if r.Kind == register.Object {
		v, err := decodeValue(r.Value)
		if err != nil {
			return done, err
		}
		i := b.info(ref, r, v)
		if err := i.Protected(h.s.cfg.LockNow()); err != nil {
			return done, err
		}
	}
	return done, h.clear(ctx, version, made, all, nil)
}

// Update implements object.Objects.
func (s *Store) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	const op = "update"
	defer s.enter().leave()
	name := ref.Bucket + "/" + ref.Key
	var info object.Info
	err := s.within(ctx, op, ref, func(ctx context.Context, h *hold, b *bucket) error {
		r, set, err := h.named(ctx, ref)
		if err != nil {
			return err
		}
		if err := missing(op, name, ref, r); err != nil {
			return err
		}
		v, err := decodeValue(r.Value)
		if err != nil {
			return err
		}
		meta := v.info.Meta.Clone()
		if err := fn(&meta); err != nil {
			return refused{err}
		}
		m := &v.info.Meta
		m.Tags, m.Retention, m.LegalHold = meta.Tags, meta.Retention, meta.LegalHold
		if m.Seal != "" {
			m.Seal = meta.Seal
		}
		next := *r
		next.Value, next.Quorum, next.Need = v.encode(), set.majority(), 0
		info = b.info(ref, &next, v)
		err = h.commit(ctx, set, next, commitment{})
		info.Sequence = h.sequence()
		return err
	})
	if err != nil {
		return object.Info{}, fail(op, name, err)
	}
	return info, nil
}

// named returns the version that ref names, and the set that has it.
func (h *hold) named(ctx context.Context, ref object.Ref) (*register.Record, *set, error) {
	if ref.Version == "" {
		return h.latest(ctx)
	}
	version, made, err := parseVersion(ref.Version)
	if err != nil {
		return nil, nil, object.E("find", ref.Bucket+"/"+ref.Key, unknownVersion(ref.Version), err)
	}
	all, err := h.copies(ctx, version, made)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	last := all[len(all)-1]
	return last.Record, last.set, nil
}
