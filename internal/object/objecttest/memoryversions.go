package objecttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// newID returns the ID of the next version in a bucket.
func (m *Memory) newID(b *bucket) string {
	if b.record.Versioning != object.Versioned {
		return object.NullVersion
	}
	m.ids++
	return fmt.Sprintf("v%019d", m.ids)
}

// info returns what is told of a version.
func (b *bucket) info(s *stored) object.Info {
	i := cloneInfo(s.info)
	if b.record.Versioning == object.Unversioned {
		i.Version = ""
	}
	return i
}

// current returns the current version of a key, or nil if there is no object.
func (b *bucket) current(key string) *stored {
	if all := b.versions[key]; len(all) > 0 && !all[0].marker {
		return all[0]
	}
	return nil
}

// find returns the version that ref names.
func (b *bucket) find(ref object.Ref) (*stored, error) {
	name := ref.Bucket + "/" + ref.Key
	all := b.versions[ref.Key]
	if ref.Version != "" {
		if !object.PossibleVersion(ref.Version) {
			return nil, object.E("find version", name, object.BadVersion, nil)
		}
		i := slices.IndexFunc(all, func(s *stored) bool { return s.info.Version == ref.Version })
		switch {
		case i < 0:
			return nil, object.E("find version", name, object.NoSuchVersion, nil)
		case all[i].marker:
			return nil, object.E("find version", name, object.DeleteMarker, markerOf(all[i]))
		}
		return all[i], nil
	}
	switch {
	case len(all) == 0:
		return nil, object.E("find object", name, object.NoSuchKey, nil)
	case all[0].marker:
		return nil, object.E("find object", name, object.NoSuchKey, markerOf(all[0]))
	}
	return all[0], nil
}

func markerOf(s *stored) error {
	return &object.Marker{Version: s.info.Version, Modified: s.info.Modified}
}

// add makes a version the newest. A null version takes the place of another.
func (b *bucket) add(s *stored) {
	b.remove(s.info.Key, object.NullVersion, s.info.Version == object.NullVersion)
	b.versions[s.info.Key] = append([]*stored{s}, b.versions[s.info.Key]...)
}

// remove takes away a version, if it is there and wanted.
func (b *bucket) remove(key, version string, wanted bool) {
	rest := slices.DeleteFunc(slices.Clone(b.versions[key]), func(s *stored) bool { return wanted && s.info.Version == version })
	if b.versions[key] = rest; len(rest) == 0 {
		delete(b.versions, key)
	}
}

// Delete implements object.Objects.
func (m *Memory) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	b, err := m.in(ctx, "delete", ref.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.Deleted{}, err
	}
	if ref.Version != "" {
		return b.deleteVersion(ref, check)
	}
	if err := b.check(ref.Key, check); err != nil {
		return object.Deleted{}, err
	}
	if b.record.Versioning == object.Unversioned {
		delete(b.versions, ref.Key)
		return object.Deleted{}, nil
	}
	s := &stored{marker: true, info: object.Info{Bucket: ref.Bucket, Key: ref.Key, Version: m.newID(b), Modified: m.now()}}
	b.add(s)
	return object.Deleted{Version: s.info.Version, Marker: true}, nil
}

func (b *bucket) deleteVersion(ref object.Ref, check object.Check) (object.Deleted, error) {
	done := object.Deleted{Version: ref.Version}
	if !object.PossibleVersion(ref.Version) {
		return done, object.E("delete", ref.Bucket+"/"+ref.Key, object.BadVersion, nil)
	}
	all := b.versions[ref.Key]
	var s *stored
	if i := slices.IndexFunc(all, func(s *stored) bool { return s.info.Version == ref.Version }); i >= 0 {
		s = all[i]
		done.Marker = s.marker
	}
	if err := b.checkOne(s, check); err != nil {
		return object.Deleted{}, err
	}
	if s != nil {
		if err := s.info.Protected(time.Now()); err != nil {
			return object.Deleted{}, err
		}
	}
	b.remove(ref.Key, ref.Version, true)
	return done, nil
}

// ListVersions implements object.Objects.
func (m *Memory) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	b, err := m.in(ctx, "list versions", q.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.VersionPage{}, err
	}
	var page object.VersionPage
	for _, key := range slices.Sorted(maps.Keys(b.versions)) {
		if strings.HasPrefix(key, q.Prefix) && !b.listKey(q, key, &page) {
			return page, nil
		}
	}
	page.NextKey, page.NextVersion = "", ""
	return page, nil
}

// listKey adds what a page shows of a key, and reports whether it had room.
func (b *bucket) listKey(q object.VersionQuery, key string, page *object.VersionPage) bool {
	full := func() bool {
		page.More = len(page.Versions)+len(page.Prefixes) == q.Limit
		return page.More
	}
	if entry, common := commonPrefix(key, q.Prefix, q.Delimiter); common {
		switch {
		case entry <= q.AfterKey || len(page.Prefixes) > 0 && page.Prefixes[len(page.Prefixes)-1] == entry:
			return true
		case full():
			return false
		}
		page.Prefixes = append(page.Prefixes, entry)
		page.NextKey, page.NextVersion = entry, ""
		return true
	}
	all := b.versions[key]
	first := 0
	switch {
	case key < q.AfterKey || key == q.AfterKey && q.AfterVersion == "":
		return true
	case key == q.AfterKey:
		first = 1 + slices.IndexFunc(all, func(s *stored) bool { return s.info.Version == q.AfterVersion })
	}
	for i, s := range all[first:] {
		if full() {
			return false
		}
		info := b.info(s)
		info.Meta, info.Parts = object.Meta{StorageClass: info.Meta.StorageClass}, nil
		page.Versions = append(page.Versions, object.VersionInfo{Info: info, Latest: first+i == 0, Marker: s.marker})
		page.NextKey, page.NextVersion = key, s.info.Version
	}
	return true
}
