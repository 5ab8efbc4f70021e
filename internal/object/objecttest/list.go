package objecttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// listKeys are keys whose order and grouping a store on directories could get
// wrong: '-' and '.' sort before '/', '0' after it.
func listKeys() []string {
	return []string{
		"a", "a-b", "a.b", "a/", "a/-", "a/b", "a/b/c", "a/b0", "a/c/d", "a0", "aa/b", "b//c", "b/c", "c-d-e", "c-d/e", "c/d-e",
		"photos/2025/x", "photos/2026/01/y", "photos/2026/01/z", "photos/2026/02/y", "photos/readme", "x::y", "x::y::z", "x:y", "äöü/a", "äöü€b", "€", "\xff/x", "=e=%41/x",
	}
}

// some returns its arguments, with -short every third of them: a file server takes its
// time for a listing.
func some(all ...string) []string {
	if !testing.Short() {
		return all
	}
	var some []string
	for i := 0; i < len(all); i += 3 {
		some = append(some, all[i])
	}
	return some
}

func listTests() []test {
	return []test{
		{"keys come in byte order", func(c *suite) {
			for _, key := range []string{"a0", "a/b", "a", "a.b", "a-b"} {
				c.put(key, "v")
			}
			c.strings("keys", c.keys(1000), []string{"a", "a-b", "a.b", "a/b", "a0"})
			for _, key := range listKeys() {
				c.put(key, "v")
			}
			c.strings("keys", c.keys(1000), slices.Sorted(slices.Values(listKeys())))
		}},
		{"any prefix, delimiter and page size give what the rules say", func(c *suite) {
			c.putAll(listKeys())
			for _, prefix := range some("", "a", "a/", "a/b", "photos/20", "photos/2026/", "photos/2026/0", "nothing", "/", "c-d", "x:", "\xc3", "a/b/c", "a/b/cc") {
				for _, delimiter := range []string{"", "/", "-", "::", "€", "/2026/", "b", "\xbc", "/c"} {
					wantKeys, wantPrefixes := grouped(listKeys(), object.Query{Prefix: prefix, Delimiter: delimiter})
					for _, limit := range []int{1, 2, 3, 7, 1000} {
						keys, prefixes := c.list(object.Query{Prefix: prefix, Delimiter: delimiter, Limit: limit})
						what := fmt.Sprintf("prefix %q, delimiter %q, limit %d", prefix, delimiter, limit)
						c.strings(what+", keys", keys, wantKeys)
						c.strings(what+", common prefixes", prefixes, wantPrefixes)
					}
				}
			}
		}},
		{"After is honoured at, inside and between entries", func(c *suite) {
			c.putAll(listKeys())
			afters := []string{"", "a/", "a/b", "a/b/", "a/b/c", "a/zzz", "a-", "photos", "photos/", "photos/2026", "photos/2026/01/y", "photos0", "x::", "zzz", "\xff", "\xff\xff", "A"}
			for _, after := range some(append(afters, listKeys()...)...) {
				for _, delimiter := range []string{"", "/", "-"} {
					for _, prefix := range []string{"", "a/", "photos/2"} {
						q := object.Query{Prefix: prefix, Delimiter: delimiter, After: after, Limit: 1000}
						keys, prefixes := c.list(q)
						wantKeys, wantPrefixes := grouped(listKeys(), q)
						what := fmt.Sprintf("prefix %q, delimiter %q, after %q", prefix, delimiter, after)
						c.strings(what+", keys", keys, wantKeys)
						c.strings(what+", common prefixes", prefixes, wantPrefixes)
					}
				}
			}
		}},
		{"a page has no more than its limit and says whether there is more", func(c *suite) {
			c.putAll([]string{"a", "b/1", "b/2", "c"})
			for limit, want := range map[int]bool{1: true, 2: true, 3: false, 4: false} {
				page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Delimiter: "/", Limit: limit})
				c.ok("list", err)
				if n := len(page.Objects) + len(page.Prefixes); n != min(limit, 3) || page.More != want {
					c.Errorf("limit %d: %d entries, more %v", limit, n, page.More)
				}
			}
		}},
		{"many pages of keys are listed in full", func(c *suite) {
			count := 1100
			if testing.Short() {
				count = 220
			}
			var want []string
			for i := range count {
				want = append(want, fmt.Sprintf("d%d/k%04d", i%3, i))
			}
			c.putAll(want)
			slices.Sort(want)
			c.strings("keys", c.keys(count-100), want)
			c.strings("keys", c.keys(count/3), want)
		}},
		{"deletes and puts between pages", betweenPages},
		{"an object is listed with what Stat tells of it", func(c *suite) {
			meta := object.Meta{ContentType: "t", StorageClass: "STANDARD", User: map[string]string{"a": "b"}, Tags: manyTags(3)}
			for i, key := range []string{"a", "b/c"} {
				put := c.putIn(object.PutInput{Meta: meta}, key, pattern(i, 1000+i))
				page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Prefix: key, Limit: 10})
				c.ok("list", err)
				if len(page.Objects) != 1 {
					c.Fatalf("%d objects", len(page.Objects))
				}
				o := page.Objects[0]
				if o.Key != key || o.Size != put.Size || o.ETag != put.ETag || !o.Modified.Equal(put.Modified) || o.Meta.User != nil || o.Parts != nil {
					c.Errorf("listed %+v, put %+v", o, put)
				}
			}
		}},
		{"a listing shows every change at once", func(c *suite) {
			for i := range 20 {
				key := fmt.Sprintf("dir/k%d", i)
				info := c.put(key, strings.Repeat("x", i))
				page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Prefix: "dir/", Limit: 1000})
				c.ok("list", err)
				if len(page.Objects) != 1 || page.Objects[0].Key != key || page.Objects[0].ETag != info.ETag {
					c.Fatalf("after the put of %s: %+v", key, page.Objects)
				}
				c.ok("delete", c.delete(ref(key), nil))
				c.strings("keys", c.keys(10), nil)
			}
		}},
		{"an empty bucket lists nothing", func(c *suite) {
			page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Delimiter: "/", Limit: 1})
			if err != nil || len(page.Objects)+len(page.Prefixes) != 0 || page.More {
				c.Errorf("%+v, %v", page, err)
			}
		}},
	}
}

func (c *suite) putAll(keys []string) {
	c.Helper()
	for _, key := range keys {
		c.put(key, "v")
	}
}

// grouped is what a listing of keys must hold, said as plainly as can be.
func grouped(keys []string, q object.Query) (objects, prefixes []string) {
	common := map[string]bool{}
	for _, key := range slices.Sorted(slices.Values(keys)) {
		rest, ok := strings.CutPrefix(key, q.Prefix)
		if !ok {
			continue
		}
		if before, _, found := strings.Cut(rest, q.Delimiter); found && q.Delimiter != "" {
			common[q.Prefix+before+q.Delimiter] = true
		} else if key > q.After {
			objects = append(objects, key)
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(common)) {
		if prefix > q.After {
			prefixes = append(prefixes, prefix)
		}
	}
	return objects, prefixes
}

// betweenPages deletes and adds keys before and after the place where a listing
// has got to: what was there all the time is listed once.
func betweenPages(c *suite) {
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf("k%02d/x", i))
	}
	c.putAll(all)
	var seen []string
	q := object.Query{Bucket: bucketName, Limit: 3}
	for round := 0; ; round++ {
		page, err := c.List(c.Context(), q)
		c.ok("list", err)
		for _, o := range page.Objects {
			seen = append(seen, o.Key)
		}
		if !page.More {
			break
		}
		q.After = page.Next
		c.ok("delete the key the page ended at", c.delete(ref(page.Next), nil))
		if at := len(seen); at < 40 {
			c.ok("delete the next key", c.delete(ref(all[at]), nil))
			all = slices.Delete(all, at, at+1)
		}
		c.put(fmt.Sprintf("a%02d", round), "before")
		if len(seen) >= len(all) {
			break
		}
	}
	c.strings("keys", seen, all)
}
