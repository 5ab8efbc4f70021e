package objecttest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

func versionTests() []test {
	return []test{
		{"without versioning there are null versions only, and nobody is told of them", unversioned},
		{"every write makes a version, and all can be read", everyWrite},
		{"a delete makes a marker, and deleting the marker brings the object back", markerAndBack},
		{"a delete of nothing makes a marker too", func(c *suite) {
			c.versioning(object.Versioned)
			d := c.drop(ref("none"))
			if !d.Marker || d.Version == "" || d.Version == object.NullVersion {
				c.Errorf("got %+v", d)
			}
			c.lacks("none")
			c.versions("none", "marker*")
		}},
		{"deleting the current version makes the one before it current", func(c *suite) {
			c.versioning(object.Versioned)
			one, two := c.put("k", "1"), c.put("k", "22")
			if d := c.drop(version(two)); d.Version != two.Version || d.Marker {
				c.Errorf("got %+v", d)
			}
			c.holds("k", "1")
			c.versions("k", "1*")
			c.drop(version(one))
			c.lacks("k")
			c.versions("k")
		}},
		{"deleting an older version leaves the others", func(c *suite) {
			c.versioning(object.Versioned)
			c.put("k", "1")
			two := c.put("k", "22")
			c.put("k", "333")
			c.drop(version(two))
			c.drop(version(two))
			c.holds("k", "333")
			c.versions("k", "333*", "1")
		}},
		{"deleting a version below a marker does not show what is below that", func(c *suite) {
			c.versioning(object.Versioned)
			one := c.put("k", "1")
			c.drop(ref("k"))
			c.drop(version(one))
			c.lacks("k")
			c.versions("k", "marker*")
		}},
		{"what was there before versioning is the null version", func(c *suite) {
			c.put("k", "old")
			c.versioning(object.Versioned)
			info, err := c.Stat(c.Context(), ref("k"))
			if err != nil || info.Version != object.NullVersion {
				c.Errorf("got %+v, %v", info, err)
			}
			c.put("k", "newer")
			c.versions("k", "newer*", "old null")
			c.holdsVersion(object.Ref{Bucket: bucketName, Key: "k", Version: object.NullVersion}, "old")
			c.drop(object.Ref{Bucket: bucketName, Key: "k", Version: object.NullVersion})
			c.versions("k", "newer*")
		}},
		{"a suspended bucket replaces the null version and keeps the others", suspended},
		{"a delete in a suspended bucket replaces the null version by a marker", suspendedDelete},
		{"a suspended bucket can have versioning again", func(c *suite) {
			c.versioning(object.Suspended)
			c.put("k", "1")
			c.versioning(object.Versioned)
			c.put("k", "22")
			c.versioning(object.Suspended)
			c.put("k", "333")
			c.versions("k", "333* null", "22")
		}},
		{"a version that is not there is NoSuchVersion", noVersion},
		{"an ID that no version has anywhere is BadVersion, one of another server NoSuchVersion", foreignVersion},
		{"a delete marker is no object, by whatever name", markerIsNoObject},
		{"tags belong to their version", func(c *suite) {
			c.versioning(object.Versioned)
			one, two := c.put("k", "1"), c.put("k", "22")
			tag := func(value string) func(*object.Meta) error {
				return func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "t", Value: value}}; return nil }
			}
			_, err := c.Update(c.Context(), version(one), tag("one"))
			c.ok("update", err)
			_, err = c.Update(c.Context(), ref("k"), tag("two"))
			c.ok("update", err)
			for v, want := range map[object.Ref]string{version(one): "one", version(two): "two"} {
				if info, err := c.Stat(c.Context(), v); err != nil || len(info.Meta.Tags) != 1 || info.Meta.Tags[0].Value != want {
					c.Errorf("%+v: %+v, %v", v, info.Meta.Tags, err)
				}
			}
			c.drop(version(two))
			if info, err := c.Stat(c.Context(), ref("k")); err != nil || len(info.Meta.Tags) != 1 || info.Meta.Tags[0].Value != "one" {
				c.Errorf("the version that is current again: %+v, %v", info.Meta.Tags, err)
			}
		}},
		{"checks see the current version, and those of a named one that", func(c *suite) {
			c.versioning(object.Versioned)
			one, two := c.put("k", "1"), c.put("k", "22")
			_, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte("x"), object.CRC32), Check: object.IfMatch(one.ETag, object.NoSuchKey)})
			c.fails("put over another", err, object.PreconditionFailed)
			c.fails("delete of another", c.delete(version(two), object.IfMatch(one.ETag, object.NoSuchKey)), object.PreconditionFailed)
			c.ok("delete", c.delete(version(one), object.IfMatch(one.ETag, object.NoSuchKey)))
			c.drop(ref("k"))
			_, err = c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte("333"), object.CRC32), Check: object.IfNoneMatch("*")})
			c.ok("create over a marker", err)
			c.versions("k", "333*", "marker", "22")
		}},
		{"a bucket with versions or markers is not deleted", func(c *suite) {
			c.versioning(object.Versioned)
			one := c.put("a/k", "1")
			marker := c.drop(ref("a/k"))
			c.fails("with both", c.DeleteBucket(c.Context(), bucketName), object.BucketNotEmpty)
			c.drop(version(one))
			c.fails("with a marker", c.DeleteBucket(c.Context(), bucketName), object.BucketNotEmpty)
			c.drop(object.Ref{Bucket: bucketName, Key: "a/k", Version: marker.Version})
			c.ok("empty", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"uploads make versions", func(c *suite) {
			c.versioning(object.Versioned)
			c.put("k", "1")
			up := c.upload("k", object.CRC64NVME)
			p := c.part(up, 1, []byte("22"))
			info, err := c.CompleteUpload(c.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: p.ETag}}})
			c.ok("complete", err)
			again, err := c.CompleteUpload(c.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: p.ETag}}})
			if err != nil || again.Version != info.Version {
				c.Errorf("repeated: %+v, %v; want version %s", again, err, info.Version)
			}
			c.versions("k", "22*", "1")
		}},
		{"copies make versions, of versions too", func(c *suite) {
			copier, ok := c.Store.(object.Copier)
			if !ok {
				c.Skip("the store copies nothing itself")
			}
			c.versioning(object.Versioned)
			one := c.put("k", "1")
			c.put("k", "22")
			info, err := copier.Copy(c.Context(), version(one), ref("k"), object.CopyInput{})
			if err != nil || info.Version == "" || info.Version == one.Version {
				c.Errorf("got %+v, %v", info, err)
			}
			c.versions("k", "1*", "22", "1")
		}},
		{"a bucket with versioning renames nothing", func(c *suite) {
			renamer, ok := c.Store.(object.Renamer)
			if !ok {
				c.Skip("the store renames nothing")
			}
			c.versioning(object.Versioned)
			c.put("k", "1")
			c.fails("rename", renamer.Rename(c.Context(), ref("k"), ref("l"), object.CopyInput{}), object.InvalidRequest)
		}},
		{"versions are listed by key, newest first, in pages of any size", pagesOfVersions},
		{"keys of every shape have versions", func(c *suite) {
			c.versioning(object.Versioned)
			for _, key := range []string{"a", "a/", "a/b", "a//b", "=f=a", "..", "\xff/x", string(pattern(1, 600))} {
				c.put(key, "1")
				c.put(key, "22")
				c.versions(key, "22*", "1")
			}
		}},
		{"a version that is held or retained is not deleted", locked},
		{"retention and legal hold are kept with their version", func(c *suite) {
			c.versioning(object.Versioned)
			until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
			one := c.putIn(object.PutInput{Meta: object.Meta{Retention: object.Retention{Mode: object.Governance, Until: until}, LegalHold: object.LegalHoldOn}}, "k", []byte("1"))
			c.put("k", "22")
			got, err := c.Stat(c.Context(), version(one))
			if err != nil || got.Meta.Retention.Mode != object.Governance || !got.Meta.Retention.Until.Equal(until) || got.Meta.LegalHold != object.LegalHoldOn {
				c.Errorf("got %+v, %v", got.Meta, err)
			}
			_, err = c.Update(c.Context(), version(one), func(m *object.Meta) error { m.LegalHold = object.LegalHoldOff; return nil })
			c.ok("update", err)
			if got, err := c.Stat(c.Context(), version(one)); err != nil || got.Meta.Retention.Mode != object.Governance || got.Meta.LegalHold != object.LegalHoldOff {
				c.Errorf("after an update: %+v, %v", got.Meta, err)
			}
		}},
		{"of many writers of one key every one makes a version", manyWriters},
	}
}

func version(i object.Info) object.Ref {
	return object.Ref{Bucket: i.Bucket, Key: i.Key, Version: i.Version}
}

// versioning sets the bucket's state.
func (c *suite) versioning(v object.Versioning) {
	c.Helper()
	c.ok("set versioning", c.UpdateBucket(c.Context(), bucketName, func(b *object.Bucket) error { b.Versioning = v; return nil }))
}

// drop deletes, and ends the test if that fails.
func (c *suite) drop(r object.Ref) object.Deleted {
	c.Helper()
	d, err := c.Delete(c.Context(), r, nil)
	c.ok("delete", err)
	return d
}

// listVersions returns what all pages of a listing hold.
func (c *suite) listVersions(q object.VersionQuery) (all []object.VersionInfo, prefixes []string) {
	c.Helper()
	q.Bucket = bucketName
	for {
		page, err := c.ListVersions(c.Context(), q)
		c.ok("list versions", err)
		all, prefixes = append(all, page.Versions...), append(prefixes, page.Prefixes...)
		if !page.More {
			return all, prefixes
		}
		if n := len(page.Versions) + len(page.Prefixes); n == 0 || n > q.Limit || page.NextKey < q.AfterKey {
			c.Fatalf("page of %d after %q %q says the next is after %q %q", n, q.AfterKey, q.AfterVersion, page.NextKey, page.NextVersion)
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
}

// versions checks which versions a key has, each as its content or "marker", with
// "*" behind it if it is the latest and " null" if it has no ID, and that all can
// be read.
func (c *suite) versions(key string, want ...string) {
	c.Helper()
	var got []string
	all, _ := c.listVersions(object.VersionQuery{Prefix: key, Limit: 100})
	for _, v := range all {
		if v.Key == key {
			got = append(got, c.describe(v))
		}
	}
	if !slices.Equal(got, want) {
		c.Errorf("versions of %.60q: %.300q, want %.300q", key, got, want)
	}
}

func (c *suite) describe(v object.VersionInfo) string {
	c.Helper()
	text := "marker"
	if !v.Marker {
		h, err := c.Open(c.Context(), version(v.Info))
		c.ok("open a listed version", err)
		content, err := read(h)
		c.ok("read a listed version", errors.Join(err, h.Close()))
		if info := h.Info(); info.Version != v.Version || info.ETag != v.ETag || info.Size != v.Size || !info.Modified.Equal(v.Modified) {
			c.Errorf("listed %+v, opened %+v", v, info)
		}
		text = string(content)
	}
	if v.Latest {
		text += "*"
	}
	if v.Version == object.NullVersion {
		text += " null"
	}
	return text
}

// holdsVersion checks the content of a version.
func (c *suite) holdsVersion(r object.Ref, content string) {
	c.Helper()
	h, err := c.Open(c.Context(), r)
	if err != nil {
		c.Errorf("open %+v: %v", r, err)
		return
	}
	got, err := read(h)
	if err = errors.Join(err, h.Close()); err != nil || string(got) != content || h.Info().Version != r.Version {
		c.Errorf("%+v holds %q as %q, %v; want %q", r, got, h.Info().Version, err, content)
	}
}

func unversioned(c *suite) {
	c.put("k", "1")
	if info := c.put("k", "22"); info.Version != "" {
		c.Errorf("put: version %q", info.Version)
	}
	all, _ := c.listVersions(object.VersionQuery{Limit: 10})
	if len(all) != 1 || !all[0].Latest || all[0].Version != "" || all[0].Size != 2 {
		c.Errorf("listed %+v", all)
	}
	c.holdsNull("k", "22")
	if d := c.drop(object.Ref{Bucket: bucketName, Key: "k", Version: object.NullVersion}); d.Marker || d.Version != object.NullVersion {
		c.Errorf("delete of the null version: %+v", d)
	}
	c.lacks("k")
	if d := c.drop(ref("k")); d.Marker || d.Version != "" {
		c.Errorf("delete: %+v", d)
	}
}

// holdsNull checks that a null version can be read by its name.
func (c *suite) holdsNull(key, content string) {
	c.Helper()
	h, err := c.Open(c.Context(), object.Ref{Bucket: bucketName, Key: key, Version: object.NullVersion})
	c.ok("open null version", err)
	got, err := read(h)
	if err = errors.Join(err, h.Close()); err != nil || string(got) != content {
		c.Errorf("null version holds %q, %v", got, err)
	}
}

func everyWrite(c *suite) {
	c.versioning(object.Versioned)
	var made []object.Info
	for i := range 5 {
		made = append(made, c.put("k", fmt.Sprint("content ", i)))
	}
	for i, info := range made {
		if info.Version == "" || info.Version == object.NullVersion {
			c.Errorf("put: version %q", info.Version)
		}
		c.holdsVersion(version(info), fmt.Sprint("content ", i))
	}
	c.holds("k", "content 4")
	c.versions("k", "content 4*", "content 3", "content 2", "content 1", "content 0")
	c.strings("keys", c.keys(10), []string{"k"})
}

func markerAndBack(c *suite) {
	c.versioning(object.Versioned)
	c.put("a/k", "1")
	d := c.drop(ref("a/k"))
	if !d.Marker || d.Version == "" {
		c.Errorf("got %+v", d)
	}
	c.lacks("a/k")
	c.strings("keys", c.keys(10), nil)
	c.versions("a/k", "marker*", "1")
	marker := object.Ref{Bucket: bucketName, Key: "a/k", Version: d.Version}
	if back := c.drop(marker); back.Marker != d.Marker || back.Version != d.Version {
		c.Errorf("delete of the marker: %+v, want %+v", back, d)
	}
	c.holds("a/k", "1")
	c.versions("a/k", "1*")
	c.strings("keys", c.keys(10), []string{"a/k"})
}

func suspended(c *suite) {
	c.versioning(object.Versioned)
	c.put("k", "1")
	c.versioning(object.Suspended)
	if info := c.put("k", "22"); info.Version != object.NullVersion {
		c.Errorf("put: version %q", info.Version)
	}
	c.versions("k", "22* null", "1")
	c.put("k", "333")
	c.versions("k", "333* null", "1")
	c.versioning(object.Versioned)
	c.put("k", "4444")
	c.versioning(object.Suspended)
	c.put("k", "55555")
	c.versions("k", "55555* null", "4444", "1")
}

func suspendedDelete(c *suite) {
	c.versioning(object.Versioned)
	c.put("k", "1")
	c.versioning(object.Suspended)
	c.put("k", "22")
	if d := c.drop(ref("k")); !d.Marker || d.Version != object.NullVersion {
		c.Errorf("got %+v", d)
	}
	c.lacks("k")
	c.versions("k", "marker* null", "1")
	c.drop(ref("k"))
	c.versions("k", "marker* null", "1")
	c.put("k", "333")
	c.versions("k", "333* null", "1")
	c.versioning(object.Versioned)
	c.drop(ref("k"))
	c.versioning(object.Suspended)
	c.drop(ref("k"))
	c.versions("k", "marker* null", "marker", "1")
}

func foreignVersion(c *suite) {
	c.versioning(object.Versioned)
	c.put("k", "1")
	for id, want := range map[string]object.Kind{
		"1": object.BadVersion, "not an ID but a sentence": object.BadVersion, "Null": object.BadVersion,
		"8f1c2d3e-4b5a-4c6d-8e9f-0a1b2c3d4e5f": object.NoSuchVersion, "VWVT9JkWTreQ95JbRmQt6T3LWrljLpRZ": object.NoSuchVersion,
	} {
		r := object.Ref{Bucket: bucketName, Key: "k", Version: id}
		_, err := c.Stat(c.Context(), r)
		c.fails("stat "+id, err, want)
		_, err = c.Open(c.Context(), r)
		c.fails("open "+id, err, want)
		_, err = c.Update(c.Context(), r, func(*object.Meta) error { return nil })
		c.fails("update "+id, err, want)
		d, err := c.Delete(c.Context(), r, nil)
		switch {
		case want == object.BadVersion:
			c.fails("delete "+id, err, want)
		case err != nil || d.Version != id || d.Marker:
			c.Errorf("delete %s: %+v, %v", id, d, err)
		}
		page, err := c.ListVersions(c.Context(), object.VersionQuery{Bucket: bucketName, AfterKey: "k", AfterVersion: id, Limit: 10})
		c.ok("list after "+id, err)
		if len(page.Versions) != 1 || !page.Versions[0].Latest {
			c.Errorf("after %s: %+v", id, page.Versions)
		}
	}
	c.versions("k", "1*")
}

func noVersion(c *suite) {
	c.versioning(object.Versioned)
	gone := c.put("k", "1")
	c.put("k", "22")
	c.drop(version(gone))
	_, err := c.Stat(c.Context(), version(gone))
	c.fails("stat", err, object.NoSuchVersion)
	_, err = c.Open(c.Context(), version(gone))
	c.fails("open", err, object.NoSuchVersion)
	_, err = c.Update(c.Context(), version(gone), func(*object.Meta) error { return nil })
	c.fails("update", err, object.NoSuchVersion)
	_, err = c.Stat(c.Context(), object.Ref{Bucket: bucketName, Key: "k", Version: object.NullVersion})
	c.fails("stat null", err, object.NoSuchVersion)
	_, err = c.Stat(c.Context(), object.Ref{Bucket: bucketName, Key: "none", Version: gone.Version})
	c.fails("stat of another key", err, object.NoSuchVersion)
	if d := c.drop(version(gone)); d.Marker || d.Version != gone.Version {
		c.Errorf("delete: %+v", d)
	}
	c.versions("k", "22*")
}

func markerIsNoObject(c *suite) {
	c.versioning(object.Versioned)
	c.put("k", "1")
	d := c.drop(ref("k"))
	for what, r := range map[string]object.Ref{"by key": ref("k"), "by version": {Bucket: bucketName, Key: "k", Version: d.Version}} {
		want := object.NoSuchKey
		if r.Version != "" {
			want = object.DeleteMarker
		}
		_, err := c.Stat(c.Context(), r)
		c.fails("stat "+what, err, want)
		m, ok := errors.AsType[*object.Marker](err)
		if !ok || m.Version != d.Version || m.Modified.IsZero() {
			c.Errorf("%s: %v says %+v of the marker", what, err, m)
		}
		_, err = c.Update(c.Context(), r, func(*object.Meta) error { return nil })
		c.fails("update "+what, err, want)
	}
}

func pagesOfVersions(c *suite) {
	c.versioning(object.Versioned)
	var want []string
	for _, key := range []string{"a", "a-b", "a/b", "a/b/c", "b", "c/d"} {
		c.put(key, "1")
		if key != "b" {
			c.drop(ref(key))
		}
		last := c.put(key, "22")
		versions := []string{"22", "marker", "1"}
		switch key {
		case "b":
			versions = []string{"22", "1"}
		case "a/b/c":
			c.drop(version(last))
			versions = versions[1:]
		case "c/d":
			c.drop(ref(key))
			versions = append([]string{"marker"}, versions...)
		}
		for i, v := range versions {
			if i == 0 {
				v += "*"
			}
			want = append(want, key+" "+v)
		}
	}
	for _, limit := range []int{1, 2, 3, 5, 100} {
		var got []string
		all, _ := c.listVersions(object.VersionQuery{Limit: limit})
		for _, v := range all {
			got = append(got, v.Key+" "+c.describe(v))
		}
		c.strings(fmt.Sprint("in pages of ", limit), got, want)
		var keys []string
		all, prefixes := c.listVersions(object.VersionQuery{Delimiter: "/", Limit: limit})
		for _, v := range all {
			keys = append(keys, v.Key)
		}
		c.strings("with a delimiter", keys, []string{"a", "a", "a", "a-b", "a-b", "a-b", "b", "b"})
		c.strings("prefixes", prefixes, []string{"a/", "c/"})
	}
	all, _ := c.listVersions(object.VersionQuery{Prefix: "a/", AfterKey: "a/b", Limit: 10})
	if len(all) != 2 || all[0].Key != "a/b/c" {
		c.Errorf("after a key: %+v", all)
	}
}

// locked tries to delete versions that are protected, the current one and one
// before it.
func locked(c *suite) {
	c.ok("configure", c.UpdateBucket(c.Context(), bucketName, func(b *object.Bucket) error {
		b.Versioning, b.Documents = object.Versioned, map[string]string{"object-lock": "enabled"}
		return nil
	}))
	now := time.Now()
	for name, meta := range map[string]object.Meta{
		"held":     {LegalHold: object.LegalHoldOn},
		"retained": {Retention: object.Retention{Mode: object.Compliance, Until: now.Add(time.Hour)}},
	} {
		current := c.putIn(object.PutInput{Meta: meta}, name, []byte("1"))
		c.fails("delete the current version, "+name, c.delete(version(current), nil), object.Locked)
		c.put(name, "22")
		c.fails("delete an older version, "+name, c.delete(version(current), nil), object.Locked)
		c.ok("a marker is made all the same", c.delete(ref(name), nil))
		c.holdsVersion(version(current), "1")
	}
	for name, meta := range map[string]object.Meta{
		"over":     {Retention: object.Retention{Mode: object.Compliance, Until: now.Add(-time.Second)}},
		"governed": {Retention: object.Retention{Mode: object.Governance, Until: now.Add(time.Hour)}},
	} {
		info := c.putIn(object.PutInput{Meta: meta}, name, []byte("1"))
		if name == "governed" {
			c.fails("without a bypass", c.delete(version(info), object.NotGoverned(now)), object.Locked)
		}
		c.ok("delete, "+name, c.delete(version(info), nil))
	}
	held := c.putIn(object.PutInput{Meta: object.Meta{LegalHold: object.LegalHoldOn}}, "k", []byte("1"))
	_, err := c.Update(c.Context(), version(held), func(m *object.Meta) error { m.LegalHold = object.LegalHoldOff; return nil })
	c.ok("release", err)
	c.ok("delete what was released", c.delete(version(held), nil))
}

func manyWriters(c *suite) {
	c.versioning(object.Versioned)
	const writers, each = 6, 4
	n := each
	if testing.Short() {
		n = 2
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		made = map[string]bool{}
	)
	for w := range writers {
		wg.Go(func() {
			for i := range n {
				info, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte(fmt.Sprint(w, i)), object.CRC32)})
				if errors.Is(err, object.Conflict) {
					continue
				}
				if err != nil {
					c.Errorf("put: %v", err)
				}
				mu.Lock()
				made[info.Version] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all, _ := c.listVersions(object.VersionQuery{Limit: 7})
	current, err := c.Stat(c.Context(), ref("k"))
	if err != nil || len(all) != len(made) || all[0].Version != current.Version || !all[0].Latest {
		c.Errorf("%d versions were made, %d are listed; the first is %+v, current %+v, %v", len(made), len(all), all[0], current, err)
	}
	for _, v := range all {
		if !made[v.Version] {
			c.Errorf("nobody made version %q", v.Version)
		}
	}
}
