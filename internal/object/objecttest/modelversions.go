package objecttest

import (
	"slices"
	"strconv"

	"github.com/shoal-storage/shoal/internal/object"
)

// remember keeps the names of a version that both have made.
func (m *model) remember(got, want object.Info) {
	if want.Version != "" {
		m.made = append(m.made, versions{version(got), version(want)})
	}
}

// deleted compares what two Deletes did.
func (m *model) deleted(r object.Ref, got, want object.Deleted) {
	m.Helper()
	null := func(id string) bool { return id == object.NullVersion }
	if got.Marker != want.Marker || (got.Version == "") != (want.Version == "") || null(got.Version) != null(want.Version) {
		m.Errorf("delete %q: got %+v, want %+v", r, got, want)
	}
	m.follows(r, got.Sequence)
	if want.Marker {
		real, memory := r, r
		real.Version, memory.Version = got.Version, want.Version
		m.made = append(m.made, versions{real, memory})
	}
}

func (m *model) setVersioning() {
	name := m.bucket()
	// Never back to none: S3 has no way to ask for that.
	v := pick(m, object.Versioned, object.Versioned, object.Suspended)
	m.note("versioning of %s becomes %d", name, v)
	fn := func(b *object.Bucket) error { b.Versioning = v; return nil }
	m.agree("set versioning", m.UpdateBucket(m.Context(), name, fn), m.memory.UpdateBucket(m.Context(), name, fn))
}

// version returns one that there was, mostly of late, or the null version.
func (m *model) version() versions {
	if len(m.made) == 0 || m.rng.IntN(5) == 0 {
		r := m.ref()
		r.Version = object.NullVersion
		return versions{r, r}
	}
	recent := m.made[max(0, len(m.made)-30):]
	return recent[m.rng.IntN(len(recent))]
}

func (m *model) getVersion() {
	v := m.version()
	m.note("get version %q", v)
	got, err := m.Stat(m.Context(), v.real)
	want, wantErr := m.memory.Stat(m.Context(), v.memory)
	if m.agree("stat version", err, wantErr) {
		m.info("stat version", got, want)
	}
	h, err := m.Open(m.Context(), v.real)
	if !m.agree("open version", err, wantErr) {
		return
	}
	m.same("Stat after Open", got, h.Info())
	m.ok("close", h.Close())
}

func (m *model) removeVersion() {
	v := m.version()
	m.note("delete version %q", v)
	got, err := m.Delete(m.Context(), v.real, nil)
	want, wantErr := m.memory.Delete(m.Context(), v.memory, nil)
	if m.agree("delete version", err, wantErr) && (got.Marker != want.Marker || got.Version != v.real.Version) {
		m.Errorf("delete %q: got %+v, want %+v", v.real, got, want)
	}
}

func (m *model) updateVersion() {
	v := m.version()
	tags := []object.Tag{{Key: "t", Value: strconv.Itoa(m.rng.IntN(100))}}
	m.note("update version %q to %v", v, tags)
	fn := func(meta *object.Meta) error { meta.Tags = slices.Clone(tags); return nil }
	got, err := m.Update(m.Context(), v.real, fn)
	want, wantErr := m.memory.Update(m.Context(), v.memory, fn)
	if m.agree("update version", err, wantErr) {
		m.info("update version", got, want)
	}
}

func (m *model) listVersions() {
	q := object.VersionQuery{
		Bucket: m.bucket(), Prefix: pick(m, "", "", "", "a", "a/", "a/b", "=", "\xff"), Delimiter: pick(m, "", "/", "/", "-", "b"),
		AfterKey: pick(m, "", "", "", m.key(), "a/", "a/b/"), Limit: pick(m, 1, 2, 5, 1000),
	}
	m.note("list versions %+v", q)
	m.compareVersions(q)
}

// compareVersions compares all pages of a listing from q on.
func (m *model) compareVersions(q object.VersionQuery) {
	m.Helper()
	wantQuery := q
	for {
		got, err := m.ListVersions(m.Context(), q)
		want, wantErr := m.memory.ListVersions(m.Context(), wantQuery)
		if !m.agree("list versions", err, wantErr) {
			return
		}
		if len(got.Versions) != len(want.Versions) || !slices.Equal(got.Prefixes, want.Prefixes) || got.More != want.More {
			m.Errorf("list versions %+v: got %+v, want %+v", q, got, want)
			return
		}
		for i, v := range got.Versions {
			w := want.Versions[i]
			w.Checksum = v.Checksum // a listing need not know it
			if v.Latest != w.Latest || v.Marker != w.Marker {
				m.Errorf("list versions %+v: got %+v, want %+v", q, v, w)
			}
			m.info("listed version", v.Info, w.Info)
		}
		if !want.More {
			return
		}
		q.AfterKey, q.AfterVersion = got.NextKey, got.NextVersion
		wantQuery.AfterKey, wantQuery.AfterVersion = want.NextKey, want.NextVersion
	}
}
