package sse

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// BucketKeys saves calls of MasterKeys: between a master key and the keys of objects
// there is one more, which is wrapped once and used for a while. Whoever takes a
// master key away is obeyed when that is over
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html).
type BucketKeys struct {
	life time.Duration
	now  func() time.Time

	mu      sync.Mutex
	writing map[string]bucketKey // to wrap under, by the name of the master key
	reading map[string]bucketKey // that were unwrapped, by that name and what they are wrapped as
}

// bucketKey is a key between a master key and those of objects.
type bucketKey struct {
	key     Key
	wrapped []byte
	until   time.Time
}

// maxBucketKeys is how many are remembered of each sort.
const maxBucketKeys = 1 << 10

// NewBucketKeys returns BucketKeys each of which is used for life.
func NewBucketKeys(life time.Duration, now func() time.Time) *BucketKeys {
	return &BucketKeys{life: life, now: now, writing: make(map[string]bucketKey), reading: make(map[string]bucketKey)}
}

// Over returns keys with bucket keys between.
func (b *BucketKeys) Over(keys MasterKeys) MasterKeys { return &spared{b, keys} }

// spared is MasterKeys that are called less often.
type spared struct {
	between *BucketKeys
	MasterKeys
}

// boundBucketKey is what the wrapping of a bucket key is bound to.
const boundBucketKey = "bucket key"

// Wrap implements MasterKeys.
func (s *spared) Wrap(ctx context.Context, name string, key Key, context []byte) ([]byte, error) {
	b, ok := s.between.get(s.between.writing, name)
	if !ok {
		b = bucketKey{key: NewKey()}
		var err error
		if b.wrapped, err = s.MasterKeys.Wrap(ctx, name, b.key, []byte(boundBucketKey)); err != nil {
			return nil, fmt.Errorf("wrap a bucket key: %w", err)
		}
		s.between.put(s.between.writing, name, b)
	}
	return append(b.key.Wrap(key, context), b.wrapped...), nil
}

// Unwrap implements MasterKeys.
func (s *spared) Unwrap(ctx context.Context, name string, wrapped, context []byte) (Key, error) {
	if len(wrapped) <= WrappedSize {
		return Key{}, ErrWrongKey
	}
	own, outer := wrapped[:WrappedSize], wrapped[WrappedSize:]
	id := name + "\x00" + string(outer)
	b, ok := s.between.get(s.between.reading, id)
	if !ok {
		var err error
		if b.key, err = s.MasterKeys.Unwrap(ctx, name, outer, []byte(boundBucketKey)); err != nil {
			return Key{}, fmt.Errorf("unwrap a bucket key: %w", err)
		}
		s.between.put(s.between.reading, id, b)
	}
	return b.key.Unwrap(own, context)
}

// get returns what is remembered under a name and has not had its time.
func (b *BucketKeys) get(m map[string]bucketKey, name string) (bucketKey, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := m[name]
	if ok && !b.now().Before(k.until) {
		delete(m, name)
		return bucketKey{}, false
	}
	return k, ok
}

// put remembers a key, and forgets another if there are many.
func (b *BucketKeys) put(m map[string]bucketKey, name string, k bucketKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k.until = b.now().Add(b.life)
	if len(m) >= maxBucketKeys {
		for victim := range m { // in the map's own, random order
			delete(m, victim)
			break
		}
	}
	m[name] = k
}
