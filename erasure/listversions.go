package erasure

import (
	"context"
	"slices"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// ListVersions implements object.Objects.
func (s *Store) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	const op = "list versions"
	defer s.enter().leave()
	b, err := s.bucket(ctx, op, q.Bucket)
	if err != nil {
		return object.VersionPage{}, err
	}
	if len(q.Prefix) > object.MaxKeyLen || q.Limit < 1 {
		return object.VersionPage{}, nil
	}
	w := &versionWalk{b: b, limit: q.Limit, listing: s.listing(b, q.Bucket, q.Prefix, q.Delimiter, q.Limit+1)}
	w.q.Versions, w.markers = true, true
	from := after(q.AfterKey, q.Prefix, q.Delimiter)
	var below register.Token
	if q.AfterVersion != "" {
		from = q.AfterKey
		if below, err = w.madeOf(ctx, q); err != nil {
			return object.VersionPage{}, fail(op, q.Bucket, err)
		}
		if !below.IsZero() {
			w.key = q.AfterKey
		}
	}
	if err := w.run(ctx, from, below); err != nil {
		return object.VersionPage{}, fail(op, q.Bucket, err)
	}
	return w.page, nil
}

// versionWalk is the making of one page of versions.
type versionWalk struct {
	*listing
	b     *bucket
	limit int
	page  object.VersionPage
	key   string // of which the latest version was seen
}

// madeOf returns the token of the version that a page goes on behind. One that is gone
// still says by its ID where it was, but for a null version and what is no ID here: then
// all of the key come again.
func (w *versionWalk) madeOf(ctx context.Context, q object.VersionQuery) (register.Token, error) {
	version, made, err := parseVersion(q.AfterVersion)
	if err != nil || version != register.Null {
		return made, nil
	}
	at := w.s.objectPlace(w.b, object.Ref{Bucket: q.Bucket, Key: q.AfterKey})
	r, err := w.s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.exact(ctx, at.key, version, made) })
	if err != nil || r == nil {
		return made, err
	}
	return r.Made, nil
}

func (w *versionWalk) run(ctx context.Context, from string, below register.Token) error {
	for {
		entries, more, err := w.scan(ctx, from, below)
		if err != nil {
			return err
		}
		for rest := entries; len(rest) > 0; rest = rest[run(rest):] {
			e := &rest[0]
			if e.prefix {
				there, _, err := w.object(ctx, w.b, rest[:run(rest)])
				if err != nil {
					return err
				}
				if there && !w.addPrefix(e.name) {
					return nil
				}
				continue
			}
			if e.name != from {
				below = register.Token{}
			}
			full, cut, err := w.versions(ctx, rest[:run(rest)], below)
			if err != nil || full {
				return err
			}
			if !cut.IsZero() { // there are more versions of this key than the drives listed
				from, below, more = e.name, cut, true
				entries = entries[:len(entries)-len(rest)+1]
				break
			}
			from, below = behind(*e), register.Token{}
		}
		if !more || len(entries) == 0 {
			w.page.NextKey, w.page.NextVersion = "", ""
			return nil
		}
		if last := entries[len(entries)-1]; last.prefix {
			from, below = behind(last), register.Token{}
		}
	}
}

// room reports whether the page has room, and otherwise that there is more.
func (w *versionWalk) room() bool {
	w.page.More = len(w.page.Versions)+len(w.page.Prefixes) == w.limit
	return !w.page.More
}

func (w *versionWalk) addPrefix(name string) bool {
	if !w.room() {
		return false
	}
	w.page.Prefixes = append(w.page.Prefixes, name)
	w.page.NextKey, w.page.NextVersion = name, ""
	return true
}

// versions adds the versions of a name that several sets may have listed, of which below is not zero where those made later
// came before. full says that the page was; cut, if it is not zero, that there may be more,
// made before it.
func (w *versionWalk) versions(ctx context.Context, es []entry, below register.Token) (full bool, cut register.Token, err error) {
	records, cut, err := w.allVersions(ctx, es, below)
	if err != nil {
		return false, cut, err
	}
	for i := range records {
		r := &records[i]
		if !w.room() {
			return true, cut, nil
		}
		v, err := decodeValue(r.Value)
		if err != nil {
			return false, cut, err
		}
		info := listed(w.b, es[0].name, r, v)
		w.page.Versions = append(w.page.Versions, object.VersionInfo{Info: info, Latest: w.key != es[0].name, Marker: r.Kind == register.Marker})
		w.key = es[0].name
		w.page.NextKey, w.page.NextVersion = w.key, r.Version
	}
	return false, cut, nil
}

// allVersions returns the records of a name that are versions, the newest first, as far as
// everybody has listed them. Of one that is on its way from a set to another both have it for a
// moment.
func (w *versionWalk) allVersions(ctx context.Context, es []entry, below register.Token) (records []register.Record, cut register.Token, err error) {
	for i := range es {
		if es[i].stray {
			continue
		}
		some, end, err := w.settledVersions(ctx, &es[i], below)
		if err != nil {
			return nil, cut, err
		}
		if cut.Less(end) {
			cut = end
		}
		records = append(records, some...)
	}
	if len(es) == 1 {
		return records, cut, nil
	}
	slices.SortStableFunc(records, func(a, b register.Record) int { return b.Made.Compare(a.Made) })
	known := make(map[string]bool)
	return slices.DeleteFunc(records, func(r register.Record) bool {
		double := known[r.Version]
		known[r.Version] = true
		return double || r.Made.Less(cut)
	}), cut, nil
}

// settledVersions returns the records of a name that are versions, the newest first, as far
// as every drive has listed them. What is read anew is read where it is now, which may be another set
// than the one that has listed it.
func (w *versionWalk) settledVersions(ctx context.Context, e *entry, below register.Token) (records []register.Record, cut register.Token, err error) {
	made, cut := e.versions()
	at := w.s.objectPlace(w.b, object.Ref{Bucket: w.b.Record.Name, Key: e.name})
	for version, m := range made {
		j := register.Judge(views(len(e.set.drives), e.views, version), false)
		r := &j.Record
		// What became of the null version may be above what was listed.
		moved := version == register.Null && !below.IsZero()
		if j.Verdict != register.Committed || moved {
			r, err = w.s.settled(ctx, at, func(a asking) (*register.Record, error) { return a.exact(ctx, at.key, version, m) })
			if err != nil {
				return nil, cut, err
			}
		}
		if r != nil && r.Kind != register.Tombstone && (!moved || r.Made.Less(below)) {
			records = append(records, *r)
		}
	}
	slices.SortFunc(records, func(a, b register.Record) int { return b.Made.Compare(a.Made) })
	return records, cut, nil
}
