package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// absent is a drive that can be away.
type absent struct {
	erasure.Drive
	away atomic.Bool
}

var errAway = errors.New("the drive is away")

func (a *absent) Commit(ctx context.Context, c register.Change) error {
	if a.away.Load() {
		return errAway
	}
	return a.Drive.Commit(ctx, c)
}

func (a *absent) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	if a.away.Load() {
		return register.View{}, errAway
	}
	return a.Drive.Promise(ctx, t, q)
}

func (a *absent) Read(ctx context.Context, q register.Query) (register.View, error) {
	if a.away.Load() {
		return register.View{}, errAway
	}
	return a.Drive.Read(ctx, q)
}

func (a *absent) Decide(ctx context.Context, all []register.Decision) error {
	if a.away.Load() {
		return errAway
	}
	return a.Drive.Decide(ctx, all)
}

func (a *absent) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	if a.away.Load() {
		return register.ScanPage{}, errAway
	}
	return a.Drive.Scan(ctx, q)
}

func (a *absent) Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error) {
	if a.away.Load() {
		return register.ScanPage{}, errAway
	}
	return a.Drive.Pending(ctx, q)
}

// scene is a Store, and what was made in it.
type scene struct {
	*testing.T
	*erasure.Store
	journal *erasure.Journal
	made    map[string]string // contents to versions
	drives  []*absent
	away    int // which of them is away; none if there are fewer
}

// leave has a drive go away, and the one that was away come back.
func (s *scene) leave(n int) {
	time.Sleep(time.Minute) // all have been told what is committed
	for i, d := range s.drives {
		d.away.Store(i == n)
	}
	s.away = n
}

// another has another drive be away.
func (s *scene) another() {
	if s.away < len(s.drives) {
		s.leave((s.away + 1) % len(s.drives))
	}
}

const inBucket = "bucket"

func at(key, version string) object.Ref {
	return object.Ref{Bucket: inBucket, Key: key, Version: version}
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) put(key, content string) {
	s.Helper()
	info, err := s.Put(s.Context(), at(key, ""), object.PutInput{Body: objecttest.NewBody([]byte(content), object.CRC64NVME)})
	s.must(err)
	s.made[content] = info.Version
}

func (s *scene) remove(key, version string) {
	s.Helper()
	_, err := s.Delete(s.Context(), at(key, version), nil)
	s.must(err)
}

func (s *scene) versioning(v object.Versioning) {
	s.Helper()
	s.must(s.UpdateBucket(s.Context(), inBucket, func(b *object.Bucket) error { b.Versioning = v; return nil }))
}

// edit makes a null version, two that have IDs, and so on, alternating.
func (s *scene) edit(key string, contents ...string) {
	s.Helper()
	for _, c := range contents {
		s.versioning(object.Versioned)
		if strings.HasPrefix(c, "null") {
			s.versioning(object.Suspended)
		}
		s.put(key, c)
	}
}

// missable are changes that a drive may miss, after what has been prepared.
func missable() map[string]struct{ prepare, change func(s *scene) } {
	type step = func(s *scene)
	none := func(*scene) {}
	return map[string]struct{ prepare, change step }{
		"a bucket is deleted": {none, func(s *scene) { s.must(s.DeleteBucket(s.Context(), inBucket)) }},
		"a bucket is deleted and made again": {none, func(s *scene) {
			s.must(s.DeleteBucket(s.Context(), inBucket))
			s.must(s.CreateBucket(s.Context(), object.Bucket{Name: inBucket}))
		}},
		"an object is deleted":            {func(s *scene) { s.put("dir/k", "0") }, func(s *scene) { s.remove("dir/k", "") }},
		"the newest version is deleted":   {func(s *scene) { s.edit("dir/k", "1", "2") }, func(s *scene) { s.remove("dir/k", s.made["2"]) }},
		"the only version is deleted":     {func(s *scene) { s.edit("dir/k", "1") }, func(s *scene) { s.remove("dir/k", s.made["1"]) }},
		"the null version is deleted":     {func(s *scene) { s.edit("k", "null 0", "1", "2") }, func(s *scene) { s.remove("k", object.NullVersion) }},
		"the null version is replaced":    {func(s *scene) { s.edit("k", "null 0", "1") }, func(s *scene) { s.edit("k", "null 2", "3") }},
		"the null version becomes marked": {func(s *scene) { s.edit("k", "null 0", "1"); s.versioning(object.Suspended) }, func(s *scene) { s.remove("k", "") }},
		"a marker is made":                {func(s *scene) { s.edit("dir/k", "1") }, func(s *scene) { s.remove("dir/k", "") }},
		"all that was in a bucket is gone": {func(s *scene) { s.edit("k", "null 0", "1", "2") }, func(s *scene) {
			for _, v := range []string{s.made["2"], object.NullVersion, s.made["1"]} {
				s.remove("k", v)
			}
		}},
		"two drives have missed the end of a version each": {func(s *scene) { s.edit("dir/k", "1", "2") }, func(s *scene) {
			s.remove("dir/k", s.made["1"])
			s.another()
			s.remove("dir/k", s.made["2"])
		}},
		"two drives have missed a null version and its end": {func(s *scene) { s.edit("k", "null 0", "1") }, func(s *scene) {
			s.edit("k", "null 2", "3")
			s.another()
			s.remove("k", object.NullVersion)
		}},
		"an upload is ended": {none, func(s *scene) {
			up, err := s.CreateUpload(s.Context(), object.Upload{UploadRef: object.UploadRef{Ref: at("dir/up", "")}})
			s.must(err)
			s.must(s.AbortUpload(s.Context(), up.UploadRef))
		}},
		"a batch of events is dropped": {func(s *scene) {
			name, err := s.journal.Keep(s.Context(), "label", []byte("batch"))
			s.must(err)
			if !strings.HasSuffix(name, ".label") {
				s.Errorf("the batch is called %s", name)
			}
			s.made["batch"] = name
		}, func(s *scene) { s.must(s.journal.Drop(s.Context(), s.made["batch"])) }},
		"a setting is removed": {func(s *scene) { s.set("a", []byte("b")) }, func(s *scene) { s.set("a", nil) }},
	}
}

// keeping is the only session that is not over, by its name.
type keeping string

// Current implements erasure.Sessions.
func (s keeping) Current() string { return string(s) }

// Live implements erasure.Sessions.
func (s keeping) Live(id string) bool { return id == string(s) }

func (s *scene) set(name string, value []byte) {
	s.Helper()
	t, err := s.Settings(s.Context())
	s.must(err)
	_, revision, err := t.Get(name)
	s.must(errors.Join(err, t.Set(s.Context(), name, value, revision)))
}

// shown is all that a client can see, but for IDs and times.
func (s *scene) shown() string {
	s.Helper()
	var all strings.Builder
	ctx := s.Context()
	buckets, err := s.ListBuckets(ctx)
	s.must(err)
	left, err := s.Journal(keeping("2")).Left(ctx)
	s.must(err)
	settings, err := s.Settings(ctx)
	s.must(err)
	names, err := settings.List("")
	s.must(err)
	fmt.Fprintln(&all, len(buckets), "buckets", len(left), "batches", names)
	if _, err := s.StatBucket(ctx, inBucket); err != nil {
		return all.String() + object.KindOf(err).Error()
	}
	for _, delimiter := range []string{"", "/"} {
		page, err := s.List(ctx, object.Query{Bucket: inBucket, Delimiter: delimiter, Limit: 10})
		s.must(err)
		fmt.Fprint(&all, "listed ", page.Prefixes)
		for _, o := range page.Objects {
			fmt.Fprint(&all, " ", o.Key, " ", s.read(at(o.Key, "")))
		}
		uploads, err := s.ListUploads(ctx, object.UploadQuery{Bucket: inBucket, Delimiter: delimiter, Limit: 10})
		s.must(err)
		fmt.Fprintln(&all, "; uploads", len(uploads.Uploads), uploads.Prefixes)
	}
	for _, limit := range []int{1, 100} {
		fmt.Fprintln(&all, "versions", s.versions(limit))
	}
	return all.String() + s.emptied()
}

// emptied tells whether the bucket, which is deleted if it is empty, was.
func (s *scene) emptied() string {
	err := s.DeleteBucket(s.Context(), inBucket)
	if err != nil && !errors.Is(err, object.BucketNotEmpty) {
		s.Fatal(err)
	}
	return fmt.Sprint("empty ", err == nil)
}

func (s *scene) read(r object.Ref) string {
	h, err := s.Open(s.Context(), r)
	if err != nil {
		return object.KindOf(err).Error()
	}
	b, err := io.ReadAll(h.Range(0, h.Info().Size))
	s.must(errors.Join(err, h.Close()))
	return string(b)
}

// versions lists the versions, a page of so many at a time.
func (s *scene) versions(limit int) (all []string) {
	s.Helper()
	for q := (object.VersionQuery{Bucket: inBucket, Limit: limit}); len(all) < 100; {
		page, err := s.ListVersions(s.Context(), q)
		s.must(err)
		for _, v := range page.Versions {
			text := "marker"
			if !v.Marker {
				text = s.read(at(v.Key, v.Version))
			}
			if v.Latest {
				text += "*"
			}
			all = append(all, v.Key+" "+text)
		}
		if !page.More {
			break
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
	return all
}

// play makes a change that the missing-th drive misses, if there is one of that number, and
// returns what is shown then.
func play(t *testing.T, missing int, prepare, change func(s *scene)) (shown string) {
	synctest.Test(t, func(t *testing.T) { shown = playIn(t, missing, prepare, change) })
	return shown
}

func playIn(t *testing.T, missing int, prepare, change func(s *scene)) string {
	s := newScene(t)
	prepare(s)
	s.leave(missing)
	change(s)
	s.leave(len(s.drives))
	return s.shown()
}

// TestWhatADriveHasMissedIsNotShownAgain: a drive that was away says what was before, and
// must not be believed, whatever its answer is put together with.
func TestWhatADriveHasMissedIsNotShownAgain(t *testing.T) {
	cases := missable()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cases[name]
			want := play(t, 4, c.prepare, c.change)
			for missing := range 4 {
				if got := play(t, missing, c.prepare, c.change); got != want {
					t.Errorf("missed by drive %d, shown are\n%s\nwant\n%s", missing, got, want)
				}
			}
		})
	}
}
