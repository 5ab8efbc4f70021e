package nasfs_test

import (
	"errors"
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
// newest, deletes it, and lists a page. What each costs a gateway that has just been
// started is told beside it.
func BenchmarkVersions(b *testing.B) {
	for _, many := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			cfg := config(b, osRoot(b))
			cfg.Durability = nasfs.Relaxed
			s := open(b, cfg)
			ctx := b.Context()
			mustBench(b, s.CreateBucket(ctx, object.Bucket{Name: bucket, Versioning: object.Versioned}))
			for range many {
				mustBench(b, putIn(ctx, s, "k", "x", nil))
			}
			costs := cold(b, cfg, s)
			s = open(b, cfg)
			for b.Loop() {
				info, err := s.Put(ctx, ref("k"), object.PutInput{Body: body("x")})
				mustBench(b, err)
				_, err = s.Stat(ctx, ref("k"))
				mustBench(b, err)
				_, err = s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 10})
				mustBench(b, err)
				mustBench(b, drop(ctx, s, named("k", info.Version), nil))
			}
			for name, cost := range costs {
				b.ReportMetric(float64(cost.Microseconds())/1000, "cold-"+name+"-ms")
			}
		})
	}
}

// cold returns what operations cost each of which is the first of a Store.
func cold(b *testing.B, cfg nasfs.Config, s *nasfs.Store) map[string]time.Duration {
	ctx := b.Context()
	var marker object.Deleted
	operations := []struct {
		name string
		do   func() error
	}{
		{"page", func() error {
			_, err := s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 10})
			return err
		}},
		{"put", func() error { return putIn(ctx, s, "k", "x", nil) }},
		{"delete", func() (err error) { marker, err = s.Delete(ctx, ref("k"), nil); return err }},
		{"get-marked", func() error {
			if _, err := s.Stat(ctx, ref("k")); !errors.Is(err, object.NoSuchKey) {
				return fmt.Errorf("a key below a marker: %w", err)
			}
			return nil
		}},
		{"undelete", func() error { return drop(ctx, s, named("k", marker.Version), nil) }},
		{"get-null", func() error {
			if _, err := s.Stat(ctx, named("k", object.NullVersion)); !errors.Is(err, object.NoSuchVersion) {
				return fmt.Errorf("a null version: %w", err)
			}
			return nil
		}},
	}
	costs := make(map[string]time.Duration)
	for _, o := range operations {
		mustBench(b, s.Close())
		s = open(b, cfg)
		began := time.Now()
		mustBench(b, o.do())
		costs[o.name] = time.Since(began)
	}
	mustBench(b, s.Close())
	return costs
}

func mustBench(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
