package erasure

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// bucket is the record of a bucket. Its ID is never used again, so that what is left of a
// bucket on a drive that was away never shows in another one of its name.
type bucket struct {
	ID     uint64        `json:"id"`
	Record object.Bucket `json:"record"`
}

func bucketLock(name string) string      { return "b/" + name }
func keyLock(bucket, key string) string  { return "o/" + bucket + "/" + key }
func bucketKey(name string) register.Key { return register.Key{Space: register.Buckets, Name: name} }

// bucketPlace is where the record of a bucket is.
func (s *Store) bucketPlace(name string) place {
	return s.common(place{lock: bucketLock(name), key: bucketKey(name)})
}

// objectPlace is where the versions of an object are.
func (s *Store) objectPlace(b *bucket, ref object.Ref) place {
	return s.placed(ref.Key, place{lock: keyLock(ref.Bucket, ref.Key), key: register.Key{Space: register.Objects, Bucket: b.ID, Name: ref.Key}})
}

func decodeBucket(r *register.Record) (*bucket, error) {
	var b bucket
	if err := json.Unmarshal(r.Value, &b); err != nil {
		return nil, fmt.Errorf("erasure: record of a bucket: %w", err)
	}
	return &b, nil
}

// everyBucket returns all buckets.
func (s *Store) everyBucket(ctx context.Context) (all []*bucket, err error) {
	err = s.buckets().each(ctx, func(_ string, r *register.Record) (bool, error) {
		b, err := decodeBucket(r)
		all = append(all, b)
		return err == nil, err
	})
	return all, err
}

// record returns the bucket as a state of its register.
func (b *bucket) record() (register.Record, error) {
	v, err := json.Marshal(b)
	if err != nil {
		return register.Record{}, fmt.Errorf("erasure: encode bucket: %w", err)
	}
	return register.Record{Version: register.Null, Kind: register.Object, Value: v}, nil
}

// bucket returns the bucket of a name, or NoSuchBucket: as it is, or was when the request began
// that this is done for. The caller must not change it.
func (s *Store) bucket(ctx context.Context, op, name string) (*bucket, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, object.E(op, name, object.Unavailable, err)
	}
	if known, ok := object.BucketOf(ctx, name); ok && known.ID != 0 {
		return &bucket{ID: known.ID, Record: known}, nil
	}
	return s.bucketNow(ctx, op, name)
}

// bucketNow is bucket, as it is.
func (s *Store) bucketNow(ctx context.Context, op, name string) (*bucket, error) {
	b, err := s.reads.get(ctx, name, s.readBucket)
	if _, not := errors.AsType[*unsettled](err); not {
		at := s.bucketPlace(name)
		var r *register.Record
		r, err = s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.latest(ctx, at.key) })
		if err == nil && r != nil {
			b, err = decodeBucket(r)
		}
	}
	return b, noBucket(op, name, b, err)
}

// readBucket reads a bucket without a lock; nil: there is none. It may be unsettled.
func (s *Store) readBucket(ctx context.Context, name string) (*bucket, error) {
	r, _, err := s.bucketPlace(name).located(func(in place) (*register.Record, error) {
		return asking{s: in.set}.latest(ctx, in.key)
	})
	if err != nil || r == nil {
		return nil, err
	}
	return decodeBucket(r)
}

// noBucket returns the error of a read, or NoSuchBucket if it gave none.
func noBucket(op, name string, b *bucket, err error) error {
	if err == nil && b == nil {
		return object.E(op, name, object.NoSuchBucket, nil)
	}
	return fail(op, name, err)
}

// settled reads without a lock, and takes it to settle what is not settled.
func (s *Store) settled(ctx context.Context, at place, ask func(asking) (*register.Record, error)) (*register.Record, error) {
	r, _, err := s.located(ctx, at, ask)
	return r, err
}

// settledIn is settled for a place that does not move.
func (s *Store) settledIn(ctx context.Context, at place, ask func(asking) (*register.Record, error)) (*register.Record, error) {
	for try := 1; ; try++ {
		r, err := ask(asking{s: at.set})
		u, not := errors.AsType[*unsettled](err)
		if !not {
			return r, err
		}
		if try > maxHolds {
			return nil, object.E("read", at.key.Name, object.Unavailable, err)
		}
		err = s.holding(ctx, at, func(ctx context.Context, h *hold) error { return h.settle(ctx, at.set, u.sought) })
		if err != nil {
			return nil, err
		}
	}
}

// CreateBucket implements object.Buckets.
func (s *Store) CreateBucket(ctx context.Context, in object.Bucket) error {
	const op = "create bucket"
	defer s.enter().leave()
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return object.E(op, in.Name, object.Internal, err)
	}
	b := &bucket{ID: binary.BigEndian.Uint64(id[:]), Record: in.Clone()}
	err := s.holding(ctx, s.bucketPlace(in.Name), func(ctx context.Context, h *hold) error {
		r, _, err := h.latest(ctx)
		if err != nil {
			return err
		}
		if r != nil {
			return object.E(op, in.Name, object.BucketExists, nil)
		}
		next, err := b.record()
		if err != nil {
			return err
		}
		return h.keep(ctx, next)
	})
	return fail(op, in.Name, err)
}

// StatBucket implements object.Buckets.
func (s *Store) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	defer s.enter().leave()
	b, err := s.bucket(ctx, "stat bucket", name)
	if err != nil {
		return object.Bucket{}, err
	}
	record := b.Record.Clone()
	record.ID = b.ID
	return record, nil
}

// ListBuckets implements object.Buckets.
func (s *Store) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	defer s.enter().leave()
	var all []object.Bucket
	err := s.buckets().each(ctx, func(_ string, r *register.Record) (bool, error) {
		b, err := decodeBucket(r)
		if err == nil {
			all = append(all, b.Record)
		}
		return true, err
	})
	if err != nil {
		return nil, fail("list buckets", "", err)
	}
	return all, nil
}

// buckets is the listing of their records.
func (s *Store) buckets() *listing {
	return &listing{s: s, sets: s.commonSets(), q: register.ScanQuery{Space: register.Buckets}, lockName: bucketLock, partition: commonPlace}
}

// UpdateBucket implements object.Buckets.
func (s *Store) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	const op = "update bucket"
	defer s.enter().leave()
	var refused error
	err := s.holding(ctx, s.bucketPlace(name), func(ctx context.Context, h *hold) error {
		b, err := h.bucket(ctx, op)
		if err != nil {
			return err
		}
		record := b.Record.Clone()
		if refused = fn(&record); refused != nil {
			return nil
		}
		b.Record = record
		next, err := b.record()
		if err != nil {
			return err
		}
		return h.keep(ctx, next)
	})
	if refused != nil {
		return refused
	}
	return fail(op, name, err)
}

// bucket returns the bucket of the hold's key.
func (h *hold) bucket(ctx context.Context, op string) (*bucket, error) {
	r, _, err := h.latest(ctx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, object.E(op, h.key.Name, object.NoSuchBucket, nil)
	}
	return decodeBucket(r)
}

// DeleteBucket implements object.Buckets. Whoever writes into the bucket shares its lock. Its uploads are ended
// when it is gone: who completes one has the upload's lock, and waits for that of the bucket.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	const op = "delete bucket"
	defer s.enter().leave()
	var gone *bucket
	err := s.holding(ctx, s.bucketPlace(name), func(ctx context.Context, h *hold) error {
		b, err := h.bucket(ctx, op)
		if err != nil {
			return err
		}
		l := s.listing(b, name, "", "", 1)
		l.q.Versions, l.markers = true, true
		err = l.each(ctx, func(string, *register.Record) (bool, error) {
			return false, object.E(op, name, object.BucketNotEmpty, nil)
		})
		if err != nil {
			return err
		}
		gone = b
		return h.vanish(ctx)
	})
	if err != nil {
		return fail(op, name, err)
	}
	if err := s.endUploads(ctx, gone); err != nil {
		s.cfg.Logger.Warn("uploads of a bucket that was deleted are left", "bucket", name, "error", err)
	}
	return nil
}

// within runs do under the lock of an object's key, with the bucket as it is then: nobody
// deletes or changes it meanwhile.
func (s *Store) within(ctx context.Context, op string, ref object.Ref, do func(ctx context.Context, h *hold, b *bucket) error) error {
	lease, b, err := s.sharing(ctx, op, ref.Bucket)
	if err != nil {
		return err
	}
	defer lease.Release()
	return s.holding(ctx, s.objectPlace(b, ref), func(ctx context.Context, h *hold) error { return do(ctx, h, b) })
}

// sharing returns a bucket as it stays until the lease is released. Who shares its lock cannot
// settle it; so where somebody has left it unsettled, that is done first.
func (s *Store) sharing(ctx context.Context, op, name string) (lock.Lease, *bucket, error) {
	for try := 1; ; try++ {
		lease, err := s.acquire(ctx, lock.Shared, s.bucketPlace(name))
		if err != nil {
			return nil, nil, err
		}
		b, err := s.reads.get(ctx, name, s.readBucket)
		if err == nil && b != nil {
			return lease, b, nil
		}
		lease.Release()
		if _, not := errors.AsType[*unsettled](err); !not {
			return nil, nil, noBucket(op, name, b, err)
		}
		if try == maxHolds {
			return nil, nil, object.E(op, name, object.Unavailable, err)
		}
		if _, err := s.bucketNow(ctx, op, name); err != nil {
			return nil, nil, err
		}
	}
}
