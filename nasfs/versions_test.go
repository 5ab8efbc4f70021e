package nasfs_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// TestVersionsAreInTheOrderInWhichTheyWereMade has a clock that goes back by an hour
// at each look, as between gateways whose clocks differ.
func TestVersionsAreInTheOrderInWhichTheyWereMade(t *testing.T) {
	t.Parallel()
	cfg := config(t, vfs.NewMemory().Root())
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg.Now = func() time.Time {
		now = now.Add(-time.Hour)
		return now
	}
	s := open(t, cfg)
	e := edit(t, s, nil)
	made := []string{e.last.Version, e.first.Version, object.NullVersion}
	for i := range 5 {
		if i == 2 {
			d, err := s.Delete(t.Context(), ref("dir/k"), nil)
			must(t, err)
			made = slices.Insert(made, 0, d.Version)
		}
		info, err := e.make(t.Context(), "dir/k", fmt.Sprint(i))
		must(t, err)
		made = slices.Insert(made, 0, info.Version)
	}
	page, err := s.ListVersions(t.Context(), object.VersionQuery{Bucket: bucket, Prefix: "dir/k", Limit: 100})
	must(t, err)
	var listed []string
	for _, v := range page.Versions {
		listed = append(listed, v.Version)
	}
	if !slices.Equal(listed, made) || !page.Versions[0].Latest {
		t.Errorf("listed %q\nmade   %q", listed, made)
	}
	for i, id := range made[:5] {
		if info, err := s.Stat(t.Context(), ref("dir/k")); i != 3 && (err != nil || info.Version != id) {
			t.Errorf("current is %q, %v; want %q", info.Version, err, id)
		}
		must(t, drop(t.Context(), s, named("dir/k", id), nil))
	}
}

// BenchmarkVersions puts versions of one key, of which there are many, reads the
// newest, deletes it, and lists a page.
func BenchmarkVersions(b *testing.B) {
	for _, many := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			cfg := config(b, osRoot(b))
			cfg.Durability = nasfs.Relaxed
			s := open(b, cfg)
			ctx := b.Context()
			mustBench(b, s.CreateBucket(ctx, object.Bucket{Name: bucket, Versioning: object.Versioned}))
			for range many {
				mustBench(b, putIn(ctx, s, "k", "x", nil))
			}
			began := time.Now()
			_, err := s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 10})
			mustBench(b, err)
			first := time.Since(began)
			for b.Loop() {
				info, err := s.Put(ctx, ref("k"), object.PutInput{Body: body("x")})
				mustBench(b, err)
				_, err = s.Stat(ctx, ref("k"))
				mustBench(b, err)
				_, err = s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 10})
				mustBench(b, err)
				mustBench(b, drop(ctx, s, named("k", info.Version), nil))
			}
			b.ReportMetric(float64(first.Microseconds())/1000, "first-page-ms")
		})
	}
}

func mustBench(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
