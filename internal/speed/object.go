// Package speed measures what a Store and the drives below it can take and give. Whatever it
// makes it removes again, however it ends.
package speed

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Bounds of a test.
const (
	MaxSize        = 1 << 30 // bytes of an object, and of a file
	MaxConcurrency = 256
	MaxDuration    = time.Minute // of each half
	MaxHeld        = 8 << 30     // bytes that are there at the same time
	maxKeys        = 8           // that one worker writes, one after the other and then anew
)

// cleaning is how long it may take to remove what was made.
const cleaning = time.Minute

// gain is by how much more than before there must be for twice as many at once to be worth it.
const gain = 1.025

// Store is what is measured.
type Store interface {
	CreateBucket(ctx context.Context, b object.Bucket) error
	DeleteBucket(ctx context.Context, name string) error
	Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error)
	Open(ctx context.Context, ref object.Ref) (object.Handle, error)
	Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error)
}

// Config says how objects are tested.
type Config struct {
	Size        int64 // bytes of an object
	Concurrency int   // objects at once
	Autotune    bool  // twice as many at once, as long as that brings more
	Duration    time.Duration
	Now         func() time.Time
}

// Validate reports what is beyond the bounds.
func (c *Config) Validate() error {
	switch {
	case c.Size < 1 || c.Size > MaxSize:
		return fmt.Errorf("speed: an object must have 1 to %d bytes", MaxSize)
	case c.Concurrency < 1 || c.Concurrency > MaxConcurrency:
		return fmt.Errorf("speed: there must be 1 to %d objects at once", MaxConcurrency)
	case c.Size*int64(c.Concurrency) > MaxHeld:
		return fmt.Errorf("speed: as many objects at once must have %d bytes at most", int64(MaxHeld))
	case c.Duration < time.Second || c.Duration > MaxDuration:
		return fmt.Errorf("speed: it must take from a second to %s", MaxDuration)
	}
	return nil
}

// Result is what a round came to.
type Result struct {
	Concurrency int
	Put, Get    Rate
}

// Rate is what one half of a round came to.
type Rate struct {
	Bytes, Objects float64         // a second
	Took           []time.Duration // by each object, sorted
	First          []time.Duration // until its first byte was there, sorted; of those that were read
}

// Objects writes and reads objects in a bucket of its own, and tells report what each round came
// to. It ends early when ctx does, and leaves nothing behind.
func Objects(ctx context.Context, store Store, cfg Config, report func(Result)) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	bucket := "shoal-speedtest-" + strings.ToLower(rand.Text()[:12])
	if err := store.CreateBucket(ctx, object.Bucket{Name: bucket, Created: cfg.Now().UTC()}); err != nil {
		return fmt.Errorf("make a bucket: %w", err)
	}
	t := &test{cfg: cfg, store: store, bucket: bucket, made: make(map[string]bool)}
	_, _ = rand.Read(t.block[:]) // it cannot fail
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
		defer cancel()
		err = errors.Join(err, t.clean(ctx))
	}()
	best := 0.0
	for at := cfg.Concurrency; ; at *= 2 {
		r, err := t.round(ctx, at)
		if err != nil {
			return err
		}
		report(r)
		more := r.Put.Bytes+r.Get.Bytes > best*gain
		best = max(best, r.Put.Bytes+r.Get.Bytes)
		if !cfg.Autotune || !more || 2*at > MaxConcurrency || cfg.Size*int64(2*at) > MaxHeld {
			return nil
		}
	}
}

// test is a test of objects that is under way.
type test struct {
	cfg    Config
	store  Store
	bucket string
	block  [64 << 10]byte // of which contents are made: random, so that nothing can compress it

	mu   sync.Mutex
	made map[string]bool // keys that may be there
}

func (t *test) round(ctx context.Context, concurrency int) (r Result, err error) {
	r.Concurrency = concurrency
	keys := int(max(1, min(maxKeys, MaxHeld/(t.cfg.Size*int64(concurrency)))))
	written := make([]int, concurrency) // keys of each worker
	r.Put, err = t.half(ctx, concurrency, func(ctx context.Context, worker, i int) (time.Duration, error) {
		err := t.put(ctx, key(worker, i%keys))
		if err == nil {
			written[worker] = min(i+1, keys)
		}
		return 0, err
	})
	if err != nil {
		return r, err
	}
	r.Get, err = t.half(ctx, concurrency, func(ctx context.Context, worker, i int) (time.Duration, error) {
		return t.get(ctx, key(worker, i%written[worker]))
	})
	return r, err
}

func key(worker, i int) string { return fmt.Sprintf("%d/%d", worker, i) }

// half has all workers do something again and again until its time is over. Each does it once at
// least. What is under way then is waited for, and counts.
func (t *test) half(ctx context.Context, concurrency int, do func(ctx context.Context, worker, i int) (time.Duration, error)) (rate Rate, err error) {
	begun := t.cfg.Now()
	var mu sync.Mutex
	var workers sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for worker := range concurrency {
		workers.Go(func() {
			for i := 0; i == 0 || ctx.Err() == nil && t.cfg.Now().Sub(begun) < t.cfg.Duration; i++ {
				at := t.cfg.Now()
				first, failure := do(ctx, worker, i)
				mu.Lock()
				if failure != nil {
					err = cmp.Or(err, failure)
					mu.Unlock()
					cancel() // one that fails is enough
					return
				}
				rate.Took, rate.First = append(rate.Took, t.cfg.Now().Sub(at)), append(rate.First, first)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if err == nil {
		err = ctx.Err() // broken off when nothing was under way
	}
	seconds := max(t.cfg.Now().Sub(begun).Seconds(), 1e-9)
	rate.Objects = float64(len(rate.Took)) / seconds
	rate.Bytes = rate.Objects * float64(t.cfg.Size)
	slices.Sort(rate.Took)
	slices.Sort(rate.First)
	return rate, err
}

func (t *test) put(ctx context.Context, key string) error {
	t.mu.Lock()
	t.made[key] = true
	t.mu.Unlock()
	_, err := t.store.Put(ctx, object.Ref{Bucket: t.bucket, Key: key}, object.PutInput{Body: &body{block: t.block[:], size: t.cfg.Size, sum: md5.New()}}) //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	return nil
}

// get reads an object and returns how long it took until its first byte was there.
func (t *test) get(ctx context.Context, key string) (first time.Duration, err error) {
	begun := t.cfg.Now()
	h, err := t.store.Open(ctx, object.Ref{Bucket: t.bucket, Key: key})
	if err != nil {
		return 0, fmt.Errorf("open an object: %w", err)
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	info := h.Info()
	r := h.Range(0, info.Held())
	var one [1]byte
	if _, err := io.ReadFull(r, one[:]); err != nil {
		return 0, fmt.Errorf("read an object: %w", err)
	}
	first = t.cfg.Now().Sub(begun)
	// The faster ways of some Stores are for connections only.
	n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 1<<20))
	if err == nil && n+1 != t.cfg.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return first, fmt.Errorf("read an object: %w", err)
	}
	return first, nil
}

// clean removes what was made.
func (t *test) clean(ctx context.Context) error {
	var err error
	for key := range t.made {
		_, failure := t.store.Delete(ctx, object.Ref{Bucket: t.bucket, Key: key}, nil)
		err = errors.Join(err, failure)
	}
	if err = errors.Join(err, t.store.DeleteBucket(ctx, t.bucket)); err != nil {
		return fmt.Errorf("remove the bucket %s: %w", t.bucket, err)
	}
	return nil
}

// body is the content of an object: a block, again and again. It implements object.Body.
type body struct {
	block []byte
	size  int64
	done  int64
	sum   hash.Hash
}

func (b *body) Read(p []byte) (int, error) {
	if b.done == b.size {
		return 0, io.EOF
	}
	n := copy(p, b.block[b.done%int64(len(b.block)):])
	n = int(min(int64(n), b.size-b.done))
	b.sum.Write(p[:n])
	b.done += int64(n)
	return n, nil
}

// Size implements object.Body.
func (b *body) Size() int64 { return b.size }

// Digest implements object.Body.
func (b *body) Digest() (d object.Digest) {
	b.sum.Sum(d.MD5[:0])
	return d
}
