package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/object"
)

// Moved is what a pass has found in sets that partitions leave, and done.
type Moved struct {
	Names    int64 // of objects and uploads that were there
	Versions int64 // that were moved
	Bytes    int64 // of their contents
	Failed   int64 // names that could not be moved, and will be tried again
}

// Move goes once through the sets that partitions leave by the Table, which is Moving, and moves
// what is in those. Nothing is left when it has found no names. seen, if not nil, hears of it
// now and then. Everybody acts by that Table, and nobody by one before.
func (s *Store) Move(ctx context.Context, seen func(Moved)) (Moved, error) {
	e := s.enter()
	defer e.leave()
	m := &mover{s: s, seen: seen}
	if e.table.Phase != placement.Moving {
		return m.done, nil
	}
	buckets, err := s.everyBucket(ctx)
	for _, b := range buckets {
		for _, set := range s.sets {
			if err == nil && e.sources[set] {
				err = m.bucket(ctx, b, set)
			}
		}
	}
	if err == nil {
		err = m.common(ctx)
	}
	return m.done, fail("move", "", err)
}

// common moves what belongs to no key, if it is to leave its set.
func (m *mover) common(ctx context.Context) error {
	moves := m.s.common(place{}).moves
	if moves == nil {
		return nil
	}
	for _, l := range m.s.commons() {
		err := m.names(ctx, l, moves.from, func(ctx context.Context, e *entry) error {
			at := l.place(moves.to, e.name)
			at.moves = moves
			return m.record(ctx, at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// record moves a register that has no contents.
func (m *mover) record(ctx context.Context, at place) error {
	return m.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
		r, err := h.read(ctx, h.moves.from, func(a asking) (*register.Record, error) { return a.latest(ctx, h.key) })
		if err != nil || r == nil {
			return err
		}
		m.done.Names++
		there, err := h.read(ctx, h.moves.to, func(a asking) (*register.Record, error) { return a.exact(ctx, h.key, r.Version, r.Made) })
		if err != nil {
			return err
		}
		if there == nil || !r.Made.Less(there.Made) {
			next := register.Record{Version: r.Version, Kind: r.Kind, Made: r.Made, Quorum: h.moves.to.majority(), Value: r.Value}
			if err := h.commit(ctx, h.moves.to, next, commitment{}); err != nil {
				return err
			}
			m.done.Versions++
		}
		return h.remove(ctx, []copied{{r, h.moves.from}})
	})
}

// mover is one such pass.
type mover struct {
	s    *Store
	done Moved
	seen func(Moved)
	told int64 // names
}

// tellNames is after how many names somebody hears of a pass.
const tellNames = 100

// bucket moves what a set has of a bucket and is to leave it: uploads first, since one that is completed
// meanwhile is an object there. None begins there any more.
func (m *mover) bucket(ctx context.Context, b *bucket, from *set) error {
	err := m.names(ctx, m.s.uploads(b, b.Record.Name, ""), from, func(ctx context.Context, e *entry) error {
		key, id := splitUpload(e.name)
		return m.upload(ctx, b, object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id})
	})
	if err != nil {
		return err
	}
	objects := m.s.listing(b, b.Record.Name, "", "", object.MaxListLimit)
	objects.q.Versions = true
	return m.names(ctx, objects, from, func(ctx context.Context, e *entry) error {
		return m.object(ctx, b, object.Ref{Bucket: b.Record.Name, Key: e.name}, e)
	})
}

// names calls move for the names that a set has of a listing and that are to leave it.
func (m *mover) names(ctx context.Context, l *listing, from *set, move func(ctx context.Context, e *entry) error) error {
	l.sets = []*set{from}
	for at, more := "", true; more; {
		entries, further, err := l.scan(ctx, at, register.Token{})
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			_, moves := m.s.homeAt(m.s.epoch.Load(), l.partition(e.name))
			if moves == nil || moves.from != from {
				continue
			}
			if err := move(ctx, e); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				m.done.Failed++
				m.done.Names++ // it is there
				m.s.cfg.Logger.Warn("an object is not moved to another set of drives yet", "name", e.name, "error", err)
			}
			if m.seen != nil && m.done.Names-m.told >= tellNames {
				m.told = m.done.Names
				m.seen(m.done)
			}
		}
		if more = further && len(entries) > 0; more {
			at = behind(entries[len(entries)-1])
		}
	}
	return nil
}

// object moves the versions of an object, each by itself: while one is in both sets it is the
// same. e is what some drives listed of it.
func (m *mover) object(ctx context.Context, b *bucket, ref object.Ref, e *entry) error {
	at := m.s.objectPlace(b, ref)
	ahead := m.prepare(ctx, at.moves, ref, e)
	defer ahead.drop(m.s)
	return m.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
		found := false
		for below, more := (register.Token{}), true; more; {
			made, cut, err := h.listed(ctx, h.moves.from, below)
			if err != nil {
				return err
			}
			for _, version := range slices.Sorted(maps.Keys(made)) {
				r, err := h.read(ctx, h.moves.from, func(a asking) (*register.Record, error) { return a.exact(ctx, h.key, version, made[version]) })
				if err == nil && r != nil {
					found = true
					err = m.version(ctx, h, ref, r, ahead)
				}
				if err != nil {
					return err
				}
			}
			below, more = cut, !cut.IsZero()
		}
		if found {
			m.done.Names++
		}
		return nil
	})
}

// prepared are records with their contents where they go, which nothing refers to yet, by the
// tokens of the states that they were made of.
type prepared map[register.Token]*transferred

// prepare writes the contents of long versions where they go before the key is locked: that takes as
// long as they are, and who changes the object waits for the lock. Contents never change, and what
// becomes of the versions meanwhile is seen afterwards.
func (m *mover) prepare(ctx context.Context, moves *move, ref object.Ref, e *entry) prepared {
	ahead := make(prepared)
	made, _ := e.versions()
	for version := range made {
		r := e.decided(version)
		if r == nil || r.Kind == register.Marker {
			continue
		}
		if v, err := decodeValue(r.Value); err != nil || !v.long() {
			continue
		}
		t, err := m.transfer(ctx, moves, ref, r, nil)
		if err != nil {
			t.drop(m.s)
			continue // it shows again under the lock, unless the version is gone
		}
		ahead[r.Changed] = t
	}
	return ahead
}

// take returns what was prepared of a state, which is the caller's then; nil: nothing was.
func (p prepared) take(r *register.Record) *transferred {
	t := p[r.Changed]
	delete(p, r.Changed)
	return t
}

// drop gives up what nobody has taken.
func (p prepared) drop(s *Store) {
	for _, t := range p {
		t.drop(s)
	}
}

// listed returns the registers of the key that any drive of a quorum of a set lists, made before
// a token; cut is where the next ones begin, if there may be more.
func (h *hold) listed(ctx context.Context, s *set, below register.Token) (made map[string]register.Token, cut register.Token, err error) {
	a, need := asking{s: s, token: h.token}, register.ReadQuorum(len(s.drives))
	replies := a.ask(ctx, register.Query{Key: h.key, Below: below}, func(replies []reply[register.View], _ bool) bool { return succeeded(replies) >= need })
	if succeeded(replies) < need {
		return nil, cut, a.failure(replies)
	}
	e := entry{set: s, name: h.key.Name, views: slices.DeleteFunc(replies, func(r reply[register.View]) bool { return r.err != nil })}
	made, cut = e.versions()
	return made, cut, nil
}

// version moves one version, unless there is a later one where it goes.
func (m *mover) version(ctx context.Context, h *hold, ref object.Ref, r *register.Record, ahead prepared) error {
	to := h.moves.to
	there, err := h.read(ctx, to, func(a asking) (*register.Record, error) { return a.exact(ctx, h.key, r.Version, r.Made) })
	if err != nil {
		return err
	}
	if there == nil || !r.Made.Less(there.Made) {
		if err := m.copy(ctx, h, ref, r, nil, ahead.take(r)); err != nil {
			return err
		}
	}
	return h.remove(ctx, []copied{{r, h.moves.from}})
}

// copy commits a record where it goes, with its contents cut anew: as g says, or if it is nil
// as that set cuts them. ref is the object that it is of, or will be. t is the record with its contents
// there, if it was transferred before.
func (m *mover) copy(ctx context.Context, h *hold, ref object.Ref, r *register.Record, g *shard.Geometry, t *transferred) (err error) {
	if t == nil {
		t, err = m.transfer(ctx, h.moves, ref, r, g)
	}
	if err == nil {
		err = h.commit(ctx, h.moves.to, t.record, t.how)
	}
	if err != nil {
		if !errors.Is(err, object.Unknown) {
			t.drop(m.s)
		}
		return err
	}
	m.done.Versions++
	for _, w := range t.contents {
		m.done.Bytes += w.size
	}
	return nil
}

// transferred is a record as it is to be where it goes, and its contents, which are there.
type transferred struct {
	record   register.Record
	contents []*written
	how      commitment
}

func (t *transferred) drop(s *Store) {
	for _, w := range t.contents {
		s.drop(w)
	}
}

// transfer writes the contents of a record to the drives where it goes. After an error what was
// written has to be dropped.
func (m *mover) transfer(ctx context.Context, moves *move, ref object.Ref, r *register.Record, g *shard.Geometry) (*transferred, error) {
	to := moves.to
	t := &transferred{record: register.Record{Version: r.Version, Kind: r.Kind, Made: r.Made, Quorum: to.majority()}}
	v, err := decodeValue(r.Value)
	if err != nil {
		return t, err
	}
	if r.Kind == register.Marker { // it has no contents, and is not cut in any way
		t.record.Value = r.Value
		return t, nil
	}
	codec, err := m.s.codec(v.geometry)
	if err != nil {
		return t, err
	}
	if g == nil {
		cut := to.geometry(v.info.Meta.StorageClass, v.single())
		g = &cut
	}
	source := &handle{s: m.s, set: moves.from, ctx: ctx, codec: codec, v: v, info: object.Info{Bucket: ref.Bucket, Key: ref.Key}}
	t.how.targets = slices.Repeat([]bool{true}, len(to.drives))
	moved := *v
	moved.geometry, moved.start, moved.contents = *g, to.start(ref.Key), nil
	for i := range v.contents {
		c := &v.contents[i]
		w, err := m.s.writeApart(ctx, to, *g, ref.Key, &carried{source.content(c), c.size}, len(v.contents) > 1)
		if err != nil {
			return t, err
		}
		w.settle(ctx)
		t.add(w)
		moved.contents = append(moved.contents, w.content)
	}
	t.record.Value = moved.encode()
	return t, nil
}

// add adds a content that was written.
func (t *transferred) add(w *written) {
	t.contents = append(t.contents, w)
	t.record.Data = append(t.record.Data, w.id)
	t.record.Need, t.record.Quorum = w.geometry.K, register.WriteQuorum(len(w.set.drives), w.geometry.K)
	t.how.strict, t.how.inline = true, w.inline
	for j, has := range w.targets {
		t.how.targets[j] = t.how.targets[j] && has
	}
}

// single returns the size of the one content that a version has, -1 if there are several.
func (v *value) single() int64 {
	switch len(v.contents) {
	case 0:
		return 0
	case 1:
		return v.contents[0].size
	}
	return -1
}

// content reads one content to its end.
func (h *handle) content(c *content) io.Reader {
	return &rangeReader{h: h, pieces: []rangePiece{{c, 0, c.size}}}
}

// carried is a content that was stored as a body: what is told of it is known.
type carried struct {
	io.Reader
	size int64
}

// Size implements object.Body.
func (c *carried) Size() int64 { return c.size }

// Digest implements object.Body.
func (c *carried) Digest() object.Digest { return object.Digest{} }

// carry writes a content anew for another set, which nothing refers to yet. If that fails the
// content is as it was.
func (s *Store) carry(ctx context.Context, w *written, to *set, g shard.Geometry, ref object.UploadRef) (*written, error) {
	codec, err := s.codec(w.geometry)
	if err != nil {
		return w, err
	}
	v := &value{geometry: w.geometry, start: w.start}
	h := &handle{s: s, set: w.set, ctx: ctx, codec: codec, v: v, info: object.Info{Bucket: ref.Bucket, Key: ref.Key}}
	source := h.source(w.id)
	if w.inline != nil {
		source = w.inMemoryAt
	}
	r := codec.NewReader(shard.ID(w.id), w.size, 0, w.size, source, h.failed)
	defer r.Free()
	if w.inline == nil {
		r.From(places{w.set, w.start, w.set.pieces})
	}
	next, err := s.write(ctx, to, g, ref.Key, &carried{r, w.size})
	if err != nil {
		return w, err
	}
	next.digest = w.digest
	s.drop(w)
	return next, nil
}

// inMemoryAt reads shards that wait for their record.
func (w *written) inMemoryAt(i int, offset int64, p []byte) error {
	if from := w.inline[w.set.drive(w.start, i)]; offset+int64(len(p)) <= int64(len(from)) {
		copy(p, from[offset:])
		return nil
	}
	return io.ErrUnexpectedEOF
}

// upload moves an upload: its parts first, and they go when it is found in the other set.
func (m *mover) upload(ctx context.Context, b *bucket, ref object.UploadRef) error {
	number, ok := uploadNumber(ref.ID)
	if !ok {
		return fmt.Errorf("erasure: %q is no upload's ID", ref.ID)
	}
	return m.s.holding(ctx, m.s.uploadPlace(b, ref), func(ctx context.Context, h *hold) error {
		from, to := h.moves.from, h.moves.to
		r, err := h.read(ctx, from, func(a asking) (*register.Record, error) { return a.latest(ctx, h.key) })
		if err != nil || r == nil {
			return err
		}
		m.done.Names++
		v, err := decodeValue(r.Value)
		if err != nil {
			return err
		}
		parts, _, err := m.s.parts(ctx, from, ref, 0, object.MaxPartNumber)
		if err != nil {
			return err
		}
		v.geometry, v.start = to.geometry(v.info.Meta.StorageClass, -1), to.start(ref.Key)
		for i := range parts {
			if err := m.part(ctx, h.epoch, h.moves, ref, number, parts[i].Number, v.geometry); err != nil {
				return err
			}
		}
		next := register.Record{Version: r.Version, Kind: r.Kind, Made: r.Made, Quorum: to.majority(), Value: v.encode()}
		if err := h.commit(ctx, to, next, commitment{}); err != nil {
			return err
		}
		if err := h.remove(ctx, []copied{{r, from}}); err != nil {
			return err
		}
		return m.s.dropParts(ctx, h.epoch, from, ref)
	})
}

// part copies a part. Whoever holds the upload's lock alone calls it.
func (m *mover) part(ctx context.Context, epoch uint64, moves *move, ref object.UploadRef, number uint64, part int, g shard.Geometry) error {
	at := partPlace(epoch, moves.to, ref, number, part)
	at.moves = moves
	return m.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
		r, err := h.read(ctx, moves.from, func(a asking) (*register.Record, error) { return a.latest(ctx, h.key) })
		if err != nil || r == nil {
			return err
		}
		return m.copy(ctx, h, ref.Ref, r, &g, nil)
	})
}
