package erasure

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/object"
)

// maxInline is the size, in bytes, up to which a shard goes with the record.
const maxInline = 8 << 10

// written is a content whose shards are on the drives, or go there with the record.
type written struct {
	content
	set      *set
	geometry shard.Geometry
	start    int
	digest   object.Digest
	targets  []bool       // drives that have their shard
	late     []*finishing // by drive: it is not known yet, and not waited for
	inline   [][]byte     // by drive, if they are small
}

// write reads a body to its end and writes its shards to the drives of a set, cut as g says.
func (s *Store) write(ctx context.Context, set *set, g shard.Geometry, key string, body object.Body) (*written, error) {
	return s.writeApart(ctx, set, g, key, body, false)
}

// writeApart is write; with apart small shards do not wait for the record to go with it.
func (s *Store) writeApart(ctx context.Context, set *set, g shard.Geometry, key string, body object.Body, apart bool) (*written, error) {
	codec, err := s.codec(g)
	if err != nil {
		return nil, err
	}
	w := &written{set: set, geometry: g, start: set.start(key), targets: make([]bool, len(set.drives)), late: make([]*finishing, len(set.drives))}
	if _, err := rand.Read(w.id[:]); err != nil {
		return nil, fmt.Errorf("erasure: %w", err)
	}
	if size := body.Size(); size >= 0 && codec.Size(size) <= maxInline && !apart {
		err = w.inMemory(codec, body)
	} else {
		err = s.writeShards(ctx, codec, w, body)
	}
	if err != nil {
		return nil, err
	}
	w.digest = body.Digest()
	return w, nil
}

// inMemory makes the shards of a small content in memory.
func (w *written) inMemory(codec *shard.Codec, body object.Body) error {
	buffers, sinks := make([]bytes.Buffer, codec.N()), make([]io.Writer, codec.N())
	for i := range sinks {
		sinks[i] = &buffers[i]
	}
	out := codec.NewWriter(shard.ID(w.id), body.Size(), sinks, codec.N())
	if err := w.copy(context.Background(), out, body); err != nil { //nolint:forbidigo // nothing here waits
		return err
	}
	if _, err := out.Close(); err != nil {
		return err
	}
	w.inline = make([][]byte, codec.N())
	for i := range buffers {
		w.inline[w.set.drive(w.start, i)] = buffers[i].Bytes()
	}
	w.targets = all(codec.N())
	if w.size == 0 {
		w.inline = nil
	}
	return nil
}

// errLonger says that a content is longer than it was said to be.
var errLonger = errors.New("erasure: the content is longer than its declared size")

// copy reads the body to its io.EOF into out.
func (w *written) copy(ctx context.Context, out *shard.Writer, body object.Body) error {
	var beyond [1]byte
	for {
		if err := ctx.Err(); err != nil {
			return object.E("put", "", object.Unavailable, context.Cause(ctx))
		}
		space := out.Space()
		full := len(space) == 0
		if full {
			space = beyond[:] // its end has to be read, too
		}
		n, err := body.Read(space)
		if full && n > 0 {
			return errLonger
		}
		if w.size += int64(n); w.size > object.MaxObjectSize {
			return object.TooLarge
		}
		if n > 0 {
			if err := out.Filled(n); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // object.Body: on this and on nothing that wraps it
			return nil
		}
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
	}
}

// writeShards streams the shards of a content to the drives.
func (s *Store) writeShards(ctx context.Context, codec *shard.Codec, w *written, body object.Body) error {
	n := codec.N()
	least := register.WriteQuorum(n, codec.K)
	begun := time.Now()
	writers, sinks := make([]register.ShardWriter, n), make([]io.Writer, n)
	errs := make([]error, n)
	var length int64
	if size := body.Size(); size >= 0 {
		length = codec.Size(size)
	}
	for i := range writers {
		d := w.set.drive(w.start, i)
		if w.set.backlog(d) {
			errs[i] = errBacklog
			continue
		}
		sw, err := w.set.drives[d].Create(ctx, w.id, length)
		if err != nil {
			errs[i] = err
			continue
		}
		writers[i] = &counted{sw, &w.set.writing[d]}
		sinks[i] = writers[i]
	}
	out := codec.NewWriter(shard.ID(w.id), body.Size(), sinks, least)
	out.Patience(func(i int) time.Duration { return w.set.patience(w.set.drive(w.start, i)) })
	defer out.Free()
	err := w.copy(ctx, out, body)
	var rest []func() error
	if err == nil {
		rest, err = out.Last()
	}
	if err != nil {
		for _, sw := range writers {
			if sw != nil {
				go sw.Abort() // of a drive that hangs it would not return
			}
		}
		return shardFailure(err, errs)
	}
	if out.Sent() {
		w.judge(writers, out.Left())
	}
	good, err := w.finish(time.Since(begun)-out.Waited(), writers, rest, least)
	if good < least {
		s.drop(w)
		return shardFailure(errors.Join(errFew, err), append(errs, out.Left()...))
	}
	return nil
}

// shardFailure gives the Kind to an error of writing shards; errs say why some could not be
// begun.
func shardFailure(err error, errs []error) error {
	if errors.Is(err, shard.ErrTooFew) || errors.Is(err, errFew) {
		all := errors.Join(append(errs, err)...)
		return object.E("write shards", "", fullOr(all, object.Unavailable), all)
	}
	return err
}

// commitment is how a record of the content is committed: by the drives that have their shard.
func (w *written) commitment() commitment {
	return commitment{strict: true, targets: w.targets, late: w.late, inline: w.inline}
}

// drop removes the shards of a content that no record refers to.
func (s *Store) drop(w *written) {
	if w.inline != nil || w.size == 0 {
		return
	}
	s.decider.drop(w)
}

// Put implements object.Objects.
func (s *Store) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	const op = "put"
	defer s.enter().leave()
	name := ref.Bucket + "/" + ref.Key
	if _, err := s.bucket(ctx, op, ref.Bucket); err != nil {
		return object.Info{}, err
	}
	set := s.home(ref.Key)
	w, err := s.write(ctx, set, set.geometry(in.Meta.StorageClass, in.Body.Size()), ref.Key, in.Body)
	if err != nil {
		return object.Info{}, fail(op, name, err)
	}
	var info object.Info
	err = s.within(ctx, op, ref, func(ctx context.Context, h *hold, b *bucket) error {
		if err := h.check(ctx, b, ref, in.Check); err != nil {
			return err
		}
		v := w.value(s)
		v.info.Meta = in.Meta.Clone()
		r := w.record(v)
		r.Version, r.Made = h.nextVersion(b)
		info = b.info(ref, &r, v)
		err := h.put(ctx, set, r, w.commitment())
		info.Sequence = h.sequence()
		return err
	})
	if err != nil {
		if !errors.Is(err, object.Unknown) {
			s.drop(w)
		}
		return object.Info{}, fail(op, name, err)
	}
	return info, nil
}

// check runs a Check on the current version of the hold's key.
func (h *hold) check(ctx context.Context, b *bucket, ref object.Ref, check object.Check) error {
	if check == nil {
		return nil
	}
	r, _, err := h.latest(ctx)
	if err != nil {
		return err
	}
	return b.checked(ref, r, check)
}
