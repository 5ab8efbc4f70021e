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
		w.key = q.AfterKey
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
// still says by its ID where it was, but for a null version: then all of the key come again.
func (w *versionWalk) madeOf(ctx context.Context, q object.VersionQuery) (register.Token, error) {
	version, made, err := parseVersion(q.AfterVersion)
	if err != nil {
		return made, object.E("list versions", q.Bucket, object.BadVersion, err)
	}
	if version != register.Null {
		return made, nil
	}
	at := w.place(w.s.home(q.AfterKey), q.AfterKey)
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
		for i := range entries {
			e := &entries[i]
			if e.prefix {
				there, _, err := w.object(ctx, w.b, e)
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
			full, cut, err := w.versions(ctx, e, below)
			if err != nil || full {
				return err
			}
			if !cut.IsZero() { // there are more versions of this key than the drives listed
				from, below, more = e.name, cut, true
				entries = entries[:i+1]
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
	if n := len(w.page.Prefixes); n > 0 && w.page.Prefixes[n-1] == name {
		return true // another set has shown it
	}
	if !w.room() {
		return false
	}
	w.page.Prefixes = append(w.page.Prefixes, name)
	w.page.NextKey, w.page.NextVersion = name, ""
	return true
}

// versions adds the versions of a name, of which below is not zero where those made later
// came before. full says that the page was; cut, if it is not zero, that there may be more,
// made before it.
func (w *versionWalk) versions(ctx context.Context, e *entry, below register.Token) (full bool, cut register.Token, err error) {
	records, cut, err := w.settledVersions(ctx, e, below)
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
		info := listed(w.b, e.name, r, v)
		w.page.Versions = append(w.page.Versions, object.VersionInfo{Info: info, Latest: w.key != e.name, Marker: r.Kind == register.Marker})
		w.key = e.name
		w.page.NextKey, w.page.NextVersion = e.name, r.Version
	}
	return false, cut, nil
}

// settledVersions returns the records of a name that are versions, the newest first, as far
// as every drive has listed them.
func (w *versionWalk) settledVersions(ctx context.Context, e *entry, below register.Token) (records []register.Record, cut register.Token, err error) {
	made, cut := e.versions()
	at := w.place(e.set, e.name)
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
