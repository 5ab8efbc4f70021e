// Package objecttest holds the behaviour that every object.Store must show, as
// tests to run on it: Run, the conformance suite, and Model, random operations
// held against Memory. Memory is a Store in memory under one mutex, simple
// enough to be seen to be right; nothing of it is kept when the process ends.
package objecttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// Memory is an object.Store, object.Copier and object.Renamer in memory.
type Memory struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	uploads int       // how many there ever were
	ids     int       // how many versions ever got one
	last    time.Time // the newest time given out
}

type bucket struct {
	record   object.Bucket
	versions map[string][]*stored // of each key the newest first; no empty lists
	uploads  map[string]*upload   // by ID
}

// stored is one version of an object. It is never changed but replaced, so that
// a Handle keeps what it opened.
type stored struct {
	info    object.Info // its Version is always set
	marker  bool
	content []byte
	upload  string                 // the ID of the upload it was completed from
	named   []object.CompletedPart // what that upload was completed with
}

// NewMemory returns an empty store.
func NewMemory() object.Store { return &Memory{buckets: map[string]*bucket{}} }

// Close implements object.Store. The store can be used no more.
func (m *Memory) Close() error { return nil }

// now returns a time later than all before. The caller holds the mutex.
func (m *Memory) now() time.Time {
	t := time.Now().UTC().Round(0)
	if !t.After(m.last) {
		t = m.last.Add(1)
	}
	m.last = t
	return t
}

// in locks the store and returns the bucket; the caller unlocks it.
func (m *Memory) in(ctx context.Context, op, name string) (*bucket, error) {
	m.mu.Lock()
	if err := context.Cause(ctx); err != nil {
		return nil, object.E(op, name, object.Unavailable, err)
	}
	b := m.buckets[name]
	if b == nil {
		return nil, object.E(op, name, object.NoSuchBucket, nil)
	}
	return b, nil
}

// CreateBucket implements object.Buckets.
func (m *Memory) CreateBucket(ctx context.Context, b object.Bucket) error {
	_, err := m.in(ctx, "create bucket", b.Name)
	defer m.mu.Unlock()
	switch {
	case err == nil:
		return object.E("create bucket", b.Name, object.BucketExists, nil)
	case object.KindOf(err) != object.NoSuchBucket:
		return err
	}
	b.Dir = object.Files{}
	m.buckets[b.Name] = &bucket{record: b.Clone(), versions: map[string][]*stored{}, uploads: map[string]*upload{}}
	return nil
}

// StatBucket implements object.Buckets.
func (m *Memory) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	b, err := m.in(ctx, "stat bucket", name)
	defer m.mu.Unlock()
	if err != nil {
		return object.Bucket{}, err
	}
	return b.record.Clone(), nil
}

// ListBuckets implements object.Buckets.
func (m *Memory) ListBuckets(ctx context.Context) ([]object.Bucket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := context.Cause(ctx); err != nil {
		return nil, object.E("list buckets", "", object.Unavailable, err)
	}
	var all []object.Bucket
	for _, name := range slices.Sorted(maps.Keys(m.buckets)) {
		all = append(all, m.buckets[name].record.Clone())
	}
	return all, nil
}

// UpdateBucket implements object.Buckets.
func (m *Memory) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	b, err := m.in(ctx, "update bucket", name)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	record := b.record.Clone()
	if err := fn(&record); err != nil {
		return err
	}
	b.record = record.Clone()
	return nil
}

// DeleteBucket implements object.Buckets.
func (m *Memory) DeleteBucket(ctx context.Context, name string) error {
	b, err := m.in(ctx, "delete bucket", name)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if len(b.versions) > 0 {
		return object.E("delete bucket", name, object.BucketNotEmpty, nil)
	}
	delete(m.buckets, name)
	return nil
}

func cloneInfo(i object.Info) object.Info {
	i.Parts = slices.Clone(i.Parts)
	i.Meta = i.Meta.Clone()
	return i
}

// check runs check on the current version of a key.
func (b *bucket) check(key string, check object.Check) error {
	return b.checkOne(b.current(key), check)
}

// checkOne runs check on a version, which is nil if there is none.
func (b *bucket) checkOne(s *stored, check object.Check) error {
	switch {
	case check == nil:
		return nil
	case s == nil || s.marker:
		return check(nil)
	}
	info := b.info(s)
	return check(&info)
}

// readBody reads a body to its io.EOF, unless ctx ends before.
func readBody(ctx context.Context, body object.Body) ([]byte, error) {
	var content bytes.Buffer
	for buf := make([]byte, 64<<10); ; {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := body.Read(buf)
		content.Write(buf[:n])
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF does not say that the content is whole
			return content.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Put implements object.Objects.
func (m *Memory) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	_, err := m.in(ctx, "put", ref.Bucket)
	m.mu.Unlock()
	if err != nil {
		return object.Info{}, err
	}
	content, err := readBody(ctx, in.Body)
	if err != nil {
		return object.Info{}, fmt.Errorf("put %s/%s: %w", ref.Bucket, ref.Key, err)
	}
	digest := in.Body.Digest()
	b, err := m.in(ctx, "put", ref.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.Info{}, err
	}
	if err := b.check(ref.Key, in.Check); err != nil {
		return object.Info{}, err
	}
	s := &stored{content: content, info: object.Info{
		Bucket: ref.Bucket, Key: ref.Key, Version: m.newID(b), Size: int64(len(content)) - digest.Overhead, Overhead: digest.Overhead, Modified: m.now(),
		ETag: hex.EncodeToString(digest.MD5[:]), Checksum: digest.Checksum, Meta: in.Meta.Clone(),
	}}
	b.add(s)
	return b.info(s), nil
}

// find locks the store and returns the object; the caller unlocks it.
func (m *Memory) find(ctx context.Context, op string, ref object.Ref) (*bucket, *stored, error) {
	b, err := m.in(ctx, op, ref.Bucket)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.find(ref)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	return b, s, nil
}

// handle is an open object.
type handle struct {
	s    *stored
	info object.Info
}

func (h handle) Info() object.Info { return cloneInfo(h.info) }
func (h handle) Close() error      { return nil }
func (h handle) Range(offset, length int64) io.Reader {
	return io.NewSectionReader(bytes.NewReader(h.s.content), offset, length)
}

// Open implements object.Objects.
func (m *Memory) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	b, s, err := m.find(ctx, "open", ref)
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return handle{s, b.info(s)}, nil
}

// Stat implements object.Objects.
func (m *Memory) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	b, s, err := m.find(ctx, "stat", ref)
	defer m.mu.Unlock()
	if err != nil {
		return object.Info{}, err
	}
	return b.info(s), nil
}

// Update implements object.Objects.
func (m *Memory) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	b, s, err := m.find(ctx, "update", ref)
	defer m.mu.Unlock()
	if err != nil {
		return object.Info{}, err
	}
	meta := s.info.Meta.Clone()
	if err := fn(&meta); err != nil {
		return object.Info{}, err
	}
	changed := *s
	changed.info.Meta.Tags = slices.Clone(meta.Tags)
	changed.info.Meta.Retention, changed.info.Meta.LegalHold, changed.info.Meta.Seal = meta.Retention, meta.LegalHold, meta.Seal
	all := b.versions[ref.Key]
	all[slices.Index(all, s)] = &changed
	return b.info(&changed), nil
}

// commonPrefix returns what a listing shows for a key in its place, if it is
// not the key.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// List implements object.Objects.
func (m *Memory) List(ctx context.Context, q object.Query) (object.Page, error) {
	b, err := m.in(ctx, "list", q.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.Page{}, err
	}
	var page object.Page
	last := ""
	for _, key := range slices.Sorted(maps.Keys(b.versions)) {
		if !strings.HasPrefix(key, q.Prefix) || b.current(key) == nil {
			continue
		}
		entry, common := commonPrefix(key, q.Prefix, q.Delimiter)
		if !common {
			entry = key
		}
		if entry <= q.After || common && entry == last {
			continue
		}
		if len(page.Objects)+len(page.Prefixes) == q.Limit {
			page.More, page.Next = true, last
			break
		}
		last = entry
		if common {
			page.Prefixes = append(page.Prefixes, entry)
			continue
		}
		info := b.info(b.current(key))
		info.Meta = object.Meta{StorageClass: info.Meta.StorageClass}
		info.Version, info.Parts = "", nil
		page.Objects = append(page.Objects, info)
	}
	return page, nil
}

// Copy implements object.Copier.
func (m *Memory) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	from, s, err := m.find(ctx, "copy", src)
	defer m.mu.Unlock()
	if err != nil {
		return object.Info{}, err
	}
	to := m.buckets[dst.Bucket]
	if to == nil {
		return object.Info{}, object.E("copy", dst.Bucket, object.NoSuchBucket, nil)
	}
	if err := cmp.Or(from.checkOne(s, in.SourceCheck), to.check(dst.Key, in.Check)); err != nil {
		return object.Info{}, err
	}
	c := &stored{content: s.content, info: cloneInfo(s.info)}
	c.info.Bucket, c.info.Key, c.info.Version, c.info.Modified = dst.Bucket, dst.Key, m.newID(to), m.now()
	if in.Meta != nil {
		c.info.Meta = in.Meta.Clone()
		c.info.Meta.Seal = s.info.Meta.Seal
	}
	to.add(c)
	return to.info(c), nil
}

// Rename implements object.Renamer.
func (m *Memory) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	b, err := m.in(ctx, "rename", src.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if src.Bucket != dst.Bucket || b.record.Versioning != object.Unversioned {
		return object.E("rename", dst.Bucket, object.InvalidRequest, nil)
	}
	s, err := b.find(src)
	if err != nil {
		return err
	}
	if err := cmp.Or(b.check(src.Key, in.SourceCheck), b.check(dst.Key, in.Check)); err != nil {
		return err
	}
	moved := *s
	moved.info.Key = dst.Key
	delete(b.versions, src.Key)
	b.add(&moved)
	return nil
}
