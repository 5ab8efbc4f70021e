package erasure_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebblefs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// many returns how many versions or keys there are to be: SHOAL_TEST_MANY, or what takes seconds.
func many(t *testing.T, normally int) int {
	t.Helper()
	if value := os.Getenv("SHOAL_TEST_MANY"); value != "" {
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return normally / 10
	}
	return normally
}

// stepped is an ordered store that counts what is looked at in it.
type stepped struct {
	drive.KV
	steps *atomic.Int64
}

func (s stepped) Get(key []byte) ([]byte, bool, error) {
	s.steps.Add(1)
	return s.KV.Get(key)
}

func (s stepped) Scan(from, to []byte) (drive.Iterator, error) {
	it, err := s.KV.Scan(from, to)
	return steppedIterator{it, s.steps}, err
}

type steppedIterator struct {
	drive.Iterator
	steps *atomic.Int64
}

func (s steppedIterator) Next() bool {
	s.steps.Add(1)
	return s.Iterator.Next()
}

func (s steppedIterator) Seek(key []byte) bool {
	s.steps.Add(1)
	return s.Iterator.Seek(key)
}

// crowded is a Store over four drives with their real stores, in memory or, with SHOAL_TEST_MANY, in
// directories.
type crowded struct {
	*testing.T
	*erasure.Store
	drives []*absent
	steps  atomic.Int64 // in all stores
}

func newCrowded(t *testing.T) *crowded {
	t.Helper()
	c := &crowded{T: t}
	var all []erasure.Drive
	for i := range 4 {
		var disk pebblefs.FS = pebblefs.NewMem()
		path, root := "kv", vfs.NewMemory().Root()
		if os.Getenv("SHOAL_TEST_MANY") != "" {
			disk, path = pebblefs.Default, filepath.Join(t.TempDir(), fmt.Sprint(i))
		}
		kv, err := drive.OpenPebbleIn(disk, path, slog.New(slog.DiscardHandler))
		c.must(err)
		d := drive.New(stepped{kv, &c.steps}, drive.NewMemoryFiles(), nil)
		c.must(errors.Join(d.UseSegments(root, slog.New(slog.DiscardHandler)), d.StartLog()))
		c.drives = append(c.drives, &absent{Drive: d})
		all = append(all, c.drives[i])
	}
	c.Store = open(t, 2, all)
	c.must(c.CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
	return c
}

func (c *crowded) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *crowded) put(key, content string) (version string) {
	c.Helper()
	info, err := c.Put(c.Context(), at(key, ""), object.PutInput{Body: objecttest.NewBody([]byte(content), object.CRC64NVME)})
	c.must(err)
	return info.Version
}

func (c *crowded) read(key, version string) string {
	c.Helper()
	h, err := c.Open(c.Context(), at(key, version))
	c.must(err)
	info := h.Info()
	content, err := io.ReadAll(h.Range(0, info.Held()))
	c.must(errors.Join(err, h.Close()))
	return string(content)
}

// costs returns how many steps something takes.
func (c *crowded) costs(what func()) int64 {
	before := c.steps.Load()
	what()
	return c.steps.Load() - before
}

// paging is what the pages of a listing took.
type paging struct {
	steps []int64
	took  []time.Duration
}

// page notes one page.
func (p *paging) page(c *crowded, what func()) {
	began := time.Now()
	p.steps = append(p.steps, c.costs(what))
	p.took = append(p.took, time.Since(began))
}

// expectEven looks that no page took more steps than the first, and half as many.
func (p *paging) expectEven(t *testing.T) {
	t.Helper()
	if most := slices.Max(p.steps); most > p.steps[0]*3/2 {
		t.Errorf("the first page takes %d steps, and page %d takes %d", p.steps[0], slices.Index(p.steps, most), most)
	}
	first := p.took[0]
	slices.Sort(p.took)
	t.Logf("%d pages: the first %v, median %v, longest %v; %d to %d steps", len(p.took), first, p.took[len(p.took)/2], p.took[len(p.took)-1], slices.Min(p.steps), slices.Max(p.steps))
}

func (c *crowded) phase(what string) func() {
	began := time.Now()
	return func() { c.Logf("%s: %.1f s", what, time.Since(began).Seconds()) }
}

// TestWhatIsDoneWithAKeyCostsTheSameHoweverManyVersionsItHas makes SHOAL_TEST_MANY versions of a key, each
// tenth of them a delete marker, of which one drive misses the last tenth, and looks at each of them.
func TestWhatIsDoneWithAKeyCostsTheSameHoweverManyVersionsItHas(t *testing.T) {
	n := many(t, 20_000)
	c := newCrowded(t)
	c.must(c.UpdateBucket(t.Context(), inBucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
	c.put("before", "x")
	c.put("over", "x")
	made := make([]string, n)
	done := c.phase("put")
	for i := range n {
		c.drives[3].away.Store(i >= n-n/10)
		if i%10 == 9 {
			deleted, err := c.Delete(t.Context(), at("key", ""), nil)
			c.must(err)
			made[i] = deleted.Version
			continue
		}
		made[i] = c.put("key", fmt.Sprint(i))
	}
	done()
	c.drives[3].away.Store(false)
	c.expectVersions(made)
	few, lots := c.costs(func() { c.read("before", "") }), c.costs(func() { c.read("key", made[0]) })
	if lots > 2*few {
		t.Errorf("to read the only version of a key takes %d steps, and the oldest of %d takes %d", few, n, lots)
	}
	if _, err := c.Open(t.Context(), at("key", "")); !errors.Is(err, object.NoSuchKey) {
		t.Errorf("behind a delete marker: %v", err)
	}
	if steps := c.costs(func() {
		if page, err := c.List(t.Context(), object.Query{Bucket: inBucket, Limit: 1000}); err != nil || len(page.Objects) != 2 {
			t.Errorf("a listing has %d objects, %v", len(page.Objects), err)
		}
	}); steps > 1000 {
		t.Errorf("to list three keys takes %d steps", steps)
	}
	c.expectHealed(n / 10)
	c.drives[0].away.Store(true)
	c.drives[1].away.Store(true)
	c.expectVersions(made)
}

// expectVersions lists the versions, and reads some.
func (c *crowded) expectVersions(made []string) {
	c.Helper()
	p, q, next := &paging{}, object.VersionQuery{Bucket: inBucket, Prefix: "key", Limit: 1000}, len(made)
	for more := true; more; {
		p.page(c, func() {
			page, err := c.ListVersions(c.Context(), q)
			c.must(err)
			for _, v := range page.Versions {
				if next--; next < 0 || v.Version != made[next] || v.Marker != (next%10 == 9) || v.Latest != (next == len(made)-1) {
					c.Fatalf("%+v is listed where version %d should be", v, next)
				}
			}
			more, q.AfterKey, q.AfterVersion = page.More, page.NextKey, page.NextVersion
		})
	}
	if next != 0 {
		c.Errorf("%d versions are not listed", next)
	}
	p.expectEven(c.T)
	for i := 0; i < len(made); i += max(1, len(made)/100) {
		if i%10 != 9 && c.read("key", made[i]) != fmt.Sprint(i) {
			c.Errorf("version %d is another one", i)
		}
	}
}

// expectHealed heals what a drive has missed.
func (c *crowded) expectHealed(missed int) {
	c.Helper()
	defer c.phase(fmt.Sprintf("%d healed", missed))()
	h, err := c.HealMissed(c.Context(), nil)
	if err != nil || h.Failed != 0 || h.Pending != 0 || h.Records < int64(missed) || h.Names > int64(2*missed) {
		c.Errorf("of %d that were missed: %+v, %v", missed, h, err)
	}
}

// oddName returns the name of the i-th key, in no order.
func oddName(i int) string {
	odd := []string{"/", "//", " ", "\x01", "é", "e\u0301", "🐟", "%2F", "..", "./", "\\", "+", "\u2028", "~", "\x7f", "A"}
	var b strings.Builder
	for x := uint32(i) * 2654435761; x > 0; x >>= 4 { //nolint:gosec // a bijection of 32 bits
		b.WriteString(odd[x&15])
	}
	fmt.Fprintf(&b, "%d", i)
	return b.String()
}

// TestAPageCostsTheSameHoweverManyKeysThereAre makes SHOAL_TEST_MANY keys with odd names, of which one drive
// misses the last tenth, and lists them.
func TestAPageCostsTheSameHoweverManyKeysThereAre(t *testing.T) {
	n := many(t, 10_000)
	c := newCrowded(t)
	names := make([]string, n)
	for i := range names {
		names[i] = oddName(i)
	}
	done := c.phase("put")
	c.putAll(names[:n-n/10])
	c.drives[2].away.Store(true)
	c.putAll(names[n-n/10:])
	c.drives[2].away.Store(false)
	done()
	slices.Sort(names)
	c.expectKeys(names)
	c.expectHealed(n / 10)
	c.drives[0].away.Store(true)
	c.drives[1].away.Store(true)
	c.expectKeys(names)
	for i := 0; i < n; i += max(1, n/100) {
		if c.read(names[i], "") != names[i] {
			t.Errorf("%q is another one", names[i])
		}
	}
}

// putAll puts objects, several at a time.
func (c *crowded) putAll(names []string) {
	c.Helper()
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := worker; i < len(names); i += 16 {
				_, err := c.Put(c.Context(), at(names[i], ""), object.PutInput{Body: objecttest.NewBody([]byte(names[i]), object.CRC64NVME)})
				if err != nil {
					c.Errorf("%q: %v", names[i], err)
				}
			}
		})
	}
	group.Wait()
}

// expectKeys lists the keys.
func (c *crowded) expectKeys(sorted []string) {
	c.Helper()
	p, q, next := &paging{}, object.Query{Bucket: inBucket, Limit: 1000}, 0
	for more := true; more; {
		p.page(c, func() {
			page, err := c.List(c.Context(), q)
			c.must(err)
			for i := range page.Objects {
				if next == len(sorted) || page.Objects[i].Key != sorted[next] {
					c.Fatalf("%q is listed where key %d should be", page.Objects[i].Key, next)
				}
				next++
			}
			more, q.After = page.More, page.Next
		})
	}
	if next != len(sorted) {
		c.Errorf("%d of %d keys are listed", next, len(sorted))
	}
	p.expectEven(c.T)
}
