package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/object"
)

// found is the record of a version, and where it is.
type found struct {
	b   *bucket
	r   *register.Record
	v   *value
	set *set
}

// find returns what ref names.
// small, if not nil, takes the shards of its content that come with the answers.
func (s *Store) find(ctx context.Context, op string, ref object.Ref, small *smallShards) (*found, error) {
	b, err := s.bucket(ctx, op, ref.Bucket)
	if err != nil {
		return nil, err
	}
	name := ref.Bucket + "/" + ref.Key
	version, made, err := register.Null, register.Token{}, error(nil)
	if ref.Version != "" {
		if version, made, err = parseVersion(ref.Version); err != nil {
			return nil, object.E(op, name, unknownVersion(ref.Version), err)
		}
	}
	at := s.objectPlace(b, ref)
	r, set, err := s.located(ctx, at, func(a asking) (*register.Record, error) {
		a.small = small
		if ref.Version != "" {
			return a.exact(ctx, at.key, version, made)
		}
		return a.latest(ctx, at.key)
	})
	if err != nil {
		return nil, fail(op, name, err)
	}
	if err := missing(op, name, ref, r); err != nil {
		return nil, err
	}
	v, err := decodeValue(r.Value)
	if err != nil {
		return nil, fail(op, name, err)
	}
	return &found{b, r, v, set}, nil
}

// missing returns the error of a read of what is no version with content.
func missing(op, name string, ref object.Ref, r *register.Record) error {
	switch {
	case r == nil && ref.Version != "":
		return object.E(op, name, object.NoSuchVersion, nil)
	case r == nil:
		return object.E(op, name, object.NoSuchKey, nil)
	case r.Kind == register.Object:
		return nil
	}
	m := &object.Marker{Version: r.Version}
	if v, err := decodeValue(r.Value); err == nil {
		m.Modified = v.info.Modified
	}
	if ref.Version != "" {
		return object.E(op, name, object.DeleteMarker, m)
	}
	return object.E(op, name, object.NoSuchKey, m)
}

// Stat implements object.Objects.
func (s *Store) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	defer s.enter().leave()
	f, err := s.find(ctx, "stat", ref, nil)
	if err != nil {
		return object.Info{}, err
	}
	return f.b.info(ref, f.r, f.v), nil
}

// Open implements object.Objects.
func (s *Store) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	defer s.enter().leave()
	var small smallShards
	f, err := s.find(ctx, "open", ref, &small)
	if err != nil {
		return nil, err
	}
	codec, err := s.codec(f.v.geometry)
	if err != nil {
		return nil, fail("open", ref.Bucket+"/"+ref.Key, err)
	}
	h := &handle{s: s, set: f.set, ctx: context.WithoutCancel(ctx), codec: codec, v: f.v, info: f.b.info(ref, f.r, f.v)}
	h.whole = h.join(&small)
	return h, nil
}

// handle is an open version.
type handle struct {
	s     *Store
	set   *set
	ctx   context.Context
	codec *shard.Codec
	v     *value
	info  object.Info
	whole []byte // the content, if its shards came with the record
}

// join returns the content, or nil if enough of its shards are not there, or not whole: then they
// are read, and what is wrong with them is found.
func (h *handle) join(small *smallShards) []byte {
	if len(h.v.contents) != 1 || small.set != h.set || small.of != h.v.contents[0].id {
		return nil
	}
	var shards [shard.MaxShards][]byte
	come := 0
	for i := range h.codec.N() {
		if shards[i] = small.by[h.set.drive(h.v.start, i)]; shards[i] != nil {
			come++
		}
	}
	if come < h.codec.K {
		return nil
	}
	content, err := h.codec.Join(shard.ID(small.of), h.v.contents[0].size, shards[:h.codec.N()])
	if err != nil {
		return nil
	}
	return content
}

// Info implements object.Handle.
func (h *handle) Info() object.Info { return h.info }

// Close implements object.Handle.
func (h *handle) Close() error { return nil }

// Range implements object.Handle.
func (h *handle) Range(offset, length int64) io.Reader {
	if h.whole != nil {
		return bytes.NewReader(h.whole[min(offset, int64(len(h.whole))):min(offset+length, int64(len(h.whole)))])
	}
	r := &rangeReader{h: h}
	for i := range h.v.contents {
		c := &h.v.contents[i]
		if offset < c.size && length > 0 {
			n := min(length, c.size-offset)
			r.pieces = append(r.pieces, rangePiece{c, offset, n})
			offset, length = 0, length-n
			continue
		}
		offset -= c.size
	}
	return r
}

// failed hears of shards that could not be read. One that is not there while its object is new may be on
// its way yet, to a drive that is late (finish.go).
func (h *handle) failed(_ int, err error) {
	damaged := errors.Is(err, shard.ErrDamaged)
	if damaged {
		h.s.counts.damagedRead.Add(1)
	}
	if damaged || errors.Is(err, fs.ErrNotExist) && h.s.cfg.Now().Sub(h.info.Modified) > callTime {
		select {
		case h.s.suspects <- object.Ref{Bucket: h.info.Bucket, Key: h.info.Key}:
		default: // there are many: a scrub finds it
		}
	}
}

// maxSuspects is how many objects wait to be healed that were found damaged.
const maxSuspects = 64

// Suspects tells of objects of which a shard was damaged or missing when they were read: to be
// healed by Repair. What nobody takes in time is left to a scrub.
func (s *Store) Suspects() <-chan object.Ref { return s.suspects }

// rangePiece is what is wanted of one content.
type rangePiece struct {
	c              *content
	offset, length int64
}

// rangeReader reads the contents of a range one after another.
type rangeReader struct {
	h      *handle
	pieces []rangePiece
	now    *shard.Reader
}

func (r *rangeReader) next() bool {
	if len(r.pieces) == 0 {
		return false
	}
	p := r.pieces[0]
	r.pieces = r.pieces[1:]
	r.now = r.h.codec.NewReader(shard.ID(p.c.id), p.c.size, p.offset, p.length, r.h.left(p.c.id), r.h.failed)
	r.now.From(places{r.h.set, r.h.v.start, r.h.set.pieces})
	return true
}

// Prefetch implements object.Prefetcher.
func (r *rangeReader) Prefetch() error {
	if !r.next() {
		return nil
	}
	return unreadable(r.now.Prefetch())
}

// Read implements io.Reader.
func (r *rangeReader) Read(p []byte) (int, error) {
	for {
		if r.now == nil && !r.next() {
			return 0, io.EOF
		}
		n, err := r.now.Read(p)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, unreadable(err)
		}
		if err != nil {
			r.end()
		}
	}
}

// WriteTo implements io.WriterTo.
func (r *rangeReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if r.now == nil && !r.next() {
			return written, nil
		}
		n, err := r.now.WriteTo(w)
		written += n
		if err != nil {
			return written, unreadable(err)
		}
		r.end()
	}
}

// end is called when all that is wanted of a content was given.
func (r *rangeReader) end() {
	r.now.Free()
	r.now = nil
}

// errCut is the error of a shard that is shorter than it was.
var errCut = fmt.Errorf("%w: its end is missing", shard.ErrDamaged)

// unreadable gives the Kind to a content that cannot be read as things are.
func unreadable(err error) error {
	if errors.Is(err, shard.ErrTooMany) {
		return object.E("read", "", object.Unavailable, err)
	}
	return err
}

// source returns where the shards of a content are read.
func (h *handle) source(id register.DataID) shard.Source { return h.from(h.set.drives, id) }

// left is source for those who leave calls that do not end.
func (h *handle) left(id register.DataID) shard.Source { return h.from(h.set.staying, id) }

func (h *handle) from(drives []Drive, id register.DataID) shard.Source {
	return func(i int, offset int64, p []byte) error {
		ctx, cancel := context.WithTimeout(h.ctx, shardTime)
		defer cancel()
		n, err := drives[h.set.drive(h.v.start, i)].ReadShard(ctx, id, offset, p)
		if err == nil && n < len(p) {
			err = errCut
		}
		return err
	}
}
