package nasfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// split opens a Store in memory with so many versions in a part of a history.
func split(t *testing.T, root vfs.Dir, part int) *nasfs.Store {
	t.Helper()
	s := open(t, config(t, root))
	s.SplitHistories(part)
	return s
}

func TestAStoreWithSplitHistoriesKeepsItsPromises(t *testing.T) {
	t.Parallel()
	objecttest.Run(t, func(t *testing.T) object.Store { return split(t, vfs.NewMemory().Root(), 1) })
}

func TestAStoreWithSplitHistoriesAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	s := seed(t)
	objecttest.Model(t, func(t *testing.T) object.Store { return split(t, vfs.NewMemory().Root(), 2) }, s, 3000)
}

// putMany puts so many versions of a key, and returns their IDs, the newest first.
func putMany(t *testing.T, s object.Store, key string, count int) (ids []string) {
	t.Helper()
	for i := range count {
		info, err := s.Put(t.Context(), ref(key), object.PutInput{Body: body(fmt.Sprint(i))})
		must(t, err)
		ids = append(ids, info.Version)
	}
	slices.Reverse(ids)
	return ids
}

// listVersions lists all versions of a key in pages of so many.
func listVersions(t *testing.T, s object.Store, key string, limit int) (ids []string) {
	t.Helper()
	q := object.VersionQuery{Bucket: bucket, Prefix: key, Limit: limit}
	for {
		page, err := s.ListVersions(t.Context(), q)
		must(t, err)
		for _, v := range page.Versions {
			ids = append(ids, v.Version)
		}
		if !page.More {
			return ids
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
}

// largest returns how many entries the largest directory below path has, and how
// many files there are.
func largest(t *testing.T, root vfs.Dir, path string) (entries, files int) {
	t.Helper()
	dir, err := root.OpenDir(path)
	must(t, err)
	defer func() { must(t, dir.Close()) }()
	list, err := dir.ReadDir()
	must(t, err)
	entries = len(list)
	for _, e := range list {
		if e.Type != fs.ModeDir {
			files++
			continue
		}
		more, below := largest(t, root, path+"/"+e.Name)
		entries, files = max(entries, more), files+below
	}
	return entries, files
}

const histories = ".shoal.sys/versions/" + bucket

func TestNoDirectoryOfALongHistoryIsLarge(t *testing.T) {
	t.Parallel()
	const count, part = 120, 10
	root := vfs.NewMemory().Root()
	s := split(t, root, part)
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned}))
	ids := putMany(t, s, "dir/k", count)
	if entries, files := largest(t, root, histories); files != count-1 || entries > part+2 {
		t.Errorf("%d versions are kept, in directories of at most %d", files, entries)
	}
	for _, limit := range []int{1, part - 1, part, count} {
		if got := listVersions(t, s, "dir/k", limit); !slices.Equal(got, ids) {
			t.Errorf("in pages of %d there are\n%q, want\n%q", limit, got, ids)
		}
	}
	for i, id := range ids {
		if got, err := readVersion(t.Context(), s, named("dir/k", id)); got != fmt.Sprint(count-1-i) {
			t.Errorf("version %d is %q, %v", i, got, err)
		}
	}
}

// TestAllVersionsOfASplitHistoryCanBeDeleted deletes them in random order; the
// newest one that is left is current all the time.
func TestAllVersionsOfASplitHistoryCanBeDeleted(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(seed(t), 0))
	root := vfs.NewMemory().Root()
	s := split(t, root, 4)
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned}))
	ids := putMany(t, s, "k", 40)
	for len(ids) > 0 {
		if got := listVersions(t, s, "k", 7); !slices.Equal(got, ids) {
			t.Fatalf("there are\n%q, want\n%q", got, ids)
		}
		if info, err := s.Stat(t.Context(), ref("k")); err != nil || info.Version != ids[0] {
			t.Fatalf("current is %q, %v; want %q", info.Version, err, ids[0])
		}
		i := rng.IntN(len(ids))
		must(t, drop(t.Context(), s, named("k", ids[i]), nil))
		ids = slices.Delete(ids, i, i+1)
	}
	nasfs.Quiesce(s)
	if entries, _ := largest(t, root, ".shoal.sys/versions"); entries > 0 {
		t.Error("directories are left when all versions are gone")
	}
}

// TestAHistoryOfOneDirectoryGoesOnInSegments: so histories were before there were
// segments.
func TestAHistoryOfOneDirectoryGoesOnInSegments(t *testing.T) {
	t.Parallel()
	root := vfs.NewMemory().Root()
	before := open(t, config(t, root))
	e := edit(t, before, nil) // with a null version
	ids := append(putMany(t, before, "dir/k", 5), e.last.Version, e.first.Version, object.NullVersion)
	must(t, before.Close())
	s := split(t, root, 3)
	ids = append(putMany(t, s, "dir/k", 10), ids...)
	for _, limit := range []int{1, 100} {
		if got := listVersions(t, s, "dir/k", limit); !slices.Equal(got, ids) {
			t.Errorf("in pages of %d there are\n%q, want\n%q", limit, got, ids)
		}
	}
	for _, id := range ids {
		_, err := readVersion(t.Context(), s, named("dir/k", id))
		must(t, err)
	}
	must(t, deleteAll(t.Context(), s))
}

// TestAPutThatIsRepeatedKeepsEachVersionOnce makes each call of a PUT fail in turn,
// and puts again.
func TestAPutThatIsRepeatedKeepsEachVersionOnce(t *testing.T) {
	t.Parallel()
	for n, failed := 1, true; failed; n++ {
		fault := vfs.NewFault(vfs.NewMemory().Root())
		s := split(t, fault.Root(), 2)
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: object.Versioned}))
		ids := putMany(t, s, "k", 4) // one more fills the newest segment
		calls := 0
		stop := fault.Inject(func(vfs.OpCall) error {
			if calls++; calls == n {
				return &injected{syscall.EIO}
			}
			return nil
		})
		_, err := s.Put(t.Context(), ref("k"), object.PutInput{Body: body("again")})
		stop()
		failed = calls >= n
		ids = append(putMany(t, s, "k", 1), ids...)
		got := listVersions(t, s, "k", 100)
		if err == nil || errors.Is(err, object.Unknown) {
			got = slices.Delete(got, 1, min(2, 1+len(got)-len(ids)))
		}
		if !slices.Equal(got, ids) {
			t.Errorf("call %d failed, %v; then there are\n%q, want\n%q", n, err, got, ids)
		}
		must(t, deleteAll(t.Context(), s))
	}
}

// TestAListingHasAllVersionsThatAreThereAllTheTime has another gateway delete the
// newest versions before each call of a listing in turn, so that what is below them
// becomes current.
func TestAListingHasAllVersionsThatAreThereAllTheTime(t *testing.T) {
	t.Parallel()
	for _, part := range []int{2, whole} {
		for n := 1; listWhileDeleted(t, part, n); n++ {
		}
	}
}

// listWhileDeleted reports whether the listing made n calls.
func listWhileDeleted(t *testing.T, part, n int) bool {
	t.Helper()
	const count, deleted = 9, 6
	w := versionedWorld(t, part)
	ids := putMany(t, w.gateways[1], "k", count)
	calls := 0
	stop := w.faults[0].Inject(func(vfs.OpCall) error {
		if calls++; calls == n {
			for _, id := range ids[:deleted] {
				must(t, drop(t.Context(), w.gateways[1], named("k", id), nil))
			}
		}
		return nil
	})
	got := listVersions(t, w.gateways[0], "k", count)
	stop()
	if len(got) < count-deleted || !slices.Equal(got[len(got)-(count-deleted):], ids[deleted:]) {
		t.Errorf("parts of %d, deleted before call %d: there are\n%q, want at the end\n%q", part, n, got, ids[deleted:])
	}
	return calls >= n
}

// versionedWorld is threeSplit in memory with a bucket that has versioning.
func versionedWorld(t *testing.T, part int) *world {
	t.Helper()
	w := threeSplit(t, "memory", part)
	must(t, w.gateways[0].UpdateBucket(t.Context(), bucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
	return w
}

// TestWhatAFencedGatewayDoesLateHidesNoVersion ends a gateway's session just before
// each call of a PUT that begins a segment. Before that call goes on another gateway
// has taken away what the segment was to begin with, and kept later versions elsewhere.
func TestWhatAFencedGatewayDoesLateHidesNoVersion(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		w := versionedWorld(t, 3)
		first, other := w.gateways[0], w.gateways[1]
		putMany(t, first, "k", 7) // the newest segment is full
		var ids []string
		calls, tell := 0, func() {}
		stop := w.faults[0].Inject(func(vfs.OpCall) error {
			if calls++; calls == n {
				tell = w.members[0].expire()
				ids = rewrite(t, other)
			}
			return nil
		})
		_, err := first.Put(t.Context(), ref("k"), object.PutInput{Body: body("late")})
		stop()
		tell()
		if calls < n {
			must(t, err)
			return
		}
		mustHave(t, other, ids, fmt.Sprintf("fenced before call %d", n))
	}
}

// rewrite deletes the two newest versions of "k" and puts others. It returns the IDs
// of all.
func rewrite(t *testing.T, s object.Store) []string {
	t.Helper()
	ids := listVersions(t, s, "k", 100)
	for _, id := range ids[:2] {
		must(t, drop(t.Context(), s, named("k", id), nil))
	}
	return append(putMany(t, s, "k", 4), ids[2:]...)
}

// mustHave checks that just these versions of "k" are there.
func mustHave(t *testing.T, s object.Store, ids []string, what string) {
	t.Helper()
	if got := listVersions(t, s, "k", 100); !slices.Equal(got, ids) {
		t.Errorf("%s there are\n%q, want\n%q", what, got, ids)
	}
	for i, id := range ids {
		if _, err := s.Stat(t.Context(), named("k", id)); err != nil {
			t.Errorf("%s version %d of %d: %v", what, i, len(ids), err)
		}
	}
}
