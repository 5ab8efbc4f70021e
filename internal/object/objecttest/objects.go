package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing/iotest"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// largeSize is over every buffer and below what makes tests slow.
const largeSize = 3<<20 + 12345

func objectTests() []test {
	return []test{
		{"an object keeps its bytes", func(c *suite) {
			for i, size := range []int{0, 1, 4095, 4096, 4097, 65536, 262144, 262145, largeSize} {
				content := pattern(i, size)
				info := c.putIn(object.PutInput{}, "k", content)
				if info.Size != int64(size) {
					c.Errorf("size %d, want %d", info.Size, size)
				}
				c.holds("k", string(content))
			}
		}},
		{"a body of unknown size is stored whole", func(c *suite) {
			content := pattern(1, largeSize)
			for name, source := range map[string]io.Reader{
				"plain": bytes.NewReader(content), "error with data": iotest.DataErrReader(bytes.NewReader(content)),
				"halves": iotest.HalfReader(bytes.NewReader(content)),
			} {
				_, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: bodyFrom(source, -1, object.CRC32C)})
				c.ok(name, err)
				c.holds("k", string(content))
			}
		}},
		{"an object has the ETag and the checksum of its body", etagAndChecksum},
		{"Put, Open, Stat and List say the same", func(c *suite) {
			put := c.putIn(object.PutInput{Meta: object.Meta{ContentType: "text/plain", StorageClass: "STANDARD"}}, "dir/k", []byte("content"))
			stat, err := c.Stat(c.Context(), ref("dir/k"))
			c.ok("stat", err)
			c.same("Stat after Put", stat, put)
			if put.Bucket != bucketName || put.Key != "dir/k" {
				c.Errorf("names %q %q", put.Bucket, put.Key)
			}
			page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Limit: 10})
			c.ok("list", err)
			want := stat
			want.Meta, want.Checksum = object.Meta{StorageClass: stat.Meta.StorageClass}, page.Objects[0].Checksum
			c.same("List after Put", page.Objects[0], want)
		}},
		{"Modified is the time of the Put and does not move", func(c *suite) {
			before := time.Now().Add(-2 * time.Second)
			info := c.put("k", "v")
			if info.Modified.Before(before) || info.Modified.After(time.Now().Add(2*time.Second)) {
				c.Errorf("modified %v, now %v", info.Modified, time.Now())
			}
			if next := c.put("k", "v"); next.Modified.Before(info.Modified) {
				c.Errorf("a later put has the earlier time %v", next.Modified)
			}
		}},
		{"ranges of an object", func(c *suite) {
			content := pattern(1, 300000)
			c.putIn(object.PutInput{}, "k", content)
			h, err := c.Open(c.Context(), ref("k"))
			c.ok("open", err)
			defer func() { c.ok("close", h.Close()) }()
			for _, r := range [][2]int64{{0, 1}, {0, 300000}, {299999, 1}, {1, 299998}, {65535, 2}, {262143, 3}, {5, 0}, {300000, 0}, {0, 10}} {
				c.slice(h, r[0], r[1], content[r[0]:r[0]+r[1]])
			}
		}},
		{"metadata comes back as it was put", func(c *suite) {
			for name, meta := range metas() {
				info := c.putIn(object.PutInput{Meta: meta}, "k", []byte("content"))
				if d := differ(info, object.Info{Bucket: bucketName, Key: "k", Size: 7, ETag: info.ETag, Checksum: info.Checksum, Meta: meta}); d != "" {
					c.Errorf("%s: %s", name, d)
				}
				c.holds("k", "content")
			}
			c.put("k", "content")
			if info, err := c.Stat(c.Context(), ref("k")); err != nil || len(info.Meta.User)+len(info.Meta.Tags) != 0 || info.Meta.ContentType != "" {
				c.Errorf("metadata of an overwritten object is left: %+v, %v", info.Meta, err)
			}
		}},
		{"what a caller does to a result does not change the object", func(c *suite) {
			meta := object.Meta{User: map[string]string{"a": "b"}, Tags: []object.Tag{{Key: "a", Value: "b"}}}
			info := c.putIn(object.PutInput{Meta: meta}, "k", []byte("v"))
			stat, err := c.Stat(c.Context(), ref("k"))
			c.ok("stat", err)
			for _, m := range []object.Meta{meta, info.Meta, stat.Meta} {
				m.User["a"], m.Tags[0].Value = "changed", "changed"
			}
			after, err := c.Stat(c.Context(), ref("k"))
			if err != nil || after.Meta.User["a"] != "b" || after.Meta.Tags[0].Value != "b" {
				c.Errorf("%+v, %v", after.Meta, err)
			}
		}},
		{"an overwritten object has the new bytes and metadata only", func(c *suite) {
			c.putIn(object.PutInput{Meta: object.Meta{ContentType: "old", User: map[string]string{"a": "b"}}}, "k", pattern(1, 100000))
			c.putIn(object.PutInput{Meta: object.Meta{ContentType: "new"}}, "k", []byte("new"))
			c.holds("k", "new")
			info, err := c.Stat(c.Context(), ref("k"))
			if err != nil || info.Size != 3 || info.Meta.ContentType != "new" || len(info.Meta.User) != 0 {
				c.Errorf("%+v, %v", info, err)
			}
			c.strings("keys", c.keys(10), []string{"k"})
		}},
		{"a handle goes on with the bytes it opened", handleKeepsVersion},
		{"a body that fails leaves no trace", failingBodies},
		{"an object that was deleted is gone, and can be deleted again", func(c *suite) {
			for _, key := range []string{"k", "a/b/c"} {
				c.put(key, "v")
				c.ok("delete", c.delete(ref(key), nil))
				c.lacks(key)
				c.ok("delete again", c.delete(ref(key), nil))
				c.put(key, "w")
				c.holds(key, "w")
				c.ok("delete", c.delete(ref(key), nil))
			}
			c.strings("keys", c.keys(10), nil)
		}},
		{"Update changes the tags and nothing else", updateTags},
		{"an Update that fails changes nothing", func(c *suite) {
			want := c.putIn(object.PutInput{Meta: object.Meta{Tags: []object.Tag{{Key: "a", Value: "b"}}}}, "k", []byte("v"))
			_, err := c.Update(c.Context(), ref("k"), func(m *object.Meta) error {
				m.Tags[0].Value = "changed"
				m.Tags = append(m.Tags, object.Tag{Key: "more"})
				return errRefused
			})
			if !errors.Is(err, errRefused) {
				c.Errorf("got %v", err)
			}
			got, err := c.Stat(c.Context(), ref("k"))
			c.ok("stat", err)
			c.same("Stat", got, want)
			_, err = c.Update(c.Context(), ref("none"), func(*object.Meta) error { c.Error("fn was called"); return nil })
			c.fails("update of nothing", err, object.NoSuchKey)
		}},
	}
}

func metas() map[string]object.Meta {
	large := map[string]string{}
	for i := range 20 {
		large[fmt.Sprintf("name-%02d", i)] = strings.Repeat(string(rune('a'+i)), 100)
	}
	return map[string]object.Meta{
		"none": {},
		"all": {
			ContentType: "text/html; charset=utf-8", ContentEncoding: "gzip", ContentDisposition: `attachment; filename="ä.txt"`,
			ContentLanguage: "de, en", CacheControl: "max-age=1", Expires: "Thu, 01 Dec 1994 16:00:00 GMT", StorageClass: "REDUCED_REDUNDANCY",
			WebsiteRedirect: "/other", User: map[string]string{"colour": "blue", "empty": ""}, Tags: []object.Tag{{Key: "a", Value: ""}, {Key: "b", Value: "x y+z"}},
		},
		"odd bytes":  {ContentType: "\x00\x01\xff\n", User: map[string]string{"k": "a\x00b\xff\n=\r\n", "ключ": "значение"}},
		"two KiB":    {User: large},
		"eight KiB":  {User: map[string]string{"a": strings.Repeat("x", 8192)}, CacheControl: strings.Repeat("y", 1000)},
		"fifty tags": {Tags: manyTags(50)},
		"long tags":  {Tags: []object.Tag{{Key: strings.Repeat("ü", 64), Value: strings.Repeat("v", 256)}}},
	}
}

func manyTags(n int) []object.Tag {
	var tags []object.Tag
	for i := range n {
		tags = append(tags, object.Tag{Key: fmt.Sprintf("tag-%03d-%s", i, strings.Repeat("k", 100)), Value: strings.Repeat("v", 200)})
	}
	return tags
}

func etagAndChecksum(c *suite) {
	for _, content := range []string{"", "content"} {
		for _, a := range append(object.Algorithms(), object.NoAlgorithm) {
			want := digestOf([]byte(content), a)
			info, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte(content), a)})
			c.ok("put", err)
			if info.ETag != fmt.Sprintf("%x", want.MD5) || info.Checksum != want.Checksum {
				c.Errorf("%v: ETag %s, checksum %+v", a, info.ETag, info.Checksum)
			}
			c.holds("k", content) // Stat says the same, too
			stat, err := c.Stat(c.Context(), ref("k"))
			c.ok("stat", err)
			c.same("Stat after Put", stat, info)
		}
	}
}

// handleKeepsVersion overwrites and deletes beneath open handles. A Handle may
// fail then, but never give other bytes than those it opened.
func handleKeepsVersion(c *suite) {
	old := pattern(1, 400000)
	for name, change := range map[string]func(){
		"overwritten":         func() { c.putIn(object.PutInput{}, "k", pattern(2, 400000)) },
		"overwritten shorter": func() { c.put("k", "short") },
		"deleted":             func() { c.ok("delete", c.delete(ref("k"), nil)) },
		"deleted and made again": func() {
			c.ok("delete", c.delete(ref("k"), nil))
			c.putIn(object.PutInput{}, "k", pattern(3, 400000))
		},
	} {
		info := c.putIn(object.PutInput{Meta: object.Meta{ContentType: "old"}}, "k", old)
		h, err := c.Open(c.Context(), ref("k"))
		c.ok("open", err)
		r := h.Range(0, info.Size)
		first := make([]byte, 1000)
		_, err = io.ReadFull(r, first)
		c.ok("read", err)
		change()
		rest, err := io.ReadAll(r)
		if got := slices.Concat(first, rest); err == nil && !bytes.Equal(got, old) || !bytes.HasPrefix(old, got) {
			c.Errorf("%s: a handle mixed versions (%d bytes, %v)", name, len(got), err)
		}
		c.same(name, h.Info(), info)
		late, err := io.ReadAll(h.Range(1000, 5000))
		if err == nil && !bytes.Equal(late, old[1000:6000]) || !bytes.HasPrefix(old[1000:6000], late) {
			c.Errorf("%s: a later range is of another version (%d bytes, %v)", name, len(late), err)
		}
		c.ok("close", h.Close())
	}
}

func failingBodies(c *suite) {
	wrapped := fmt.Errorf("the client left: %w", io.EOF)
	for _, size := range []int{0, 1, 100000, largeSize} {
		for _, cause := range []error{errRefused, io.ErrUnexpectedEOF, wrapped} {
			for _, key := range []string{"there", "not/there"} {
				c.put("there", "old")
				source := &failing{content: bytes.NewReader(pattern(9, size)), err: cause}
				_, err := c.Put(c.Context(), ref(key), object.PutInput{Body: bodyFrom(source, int64(size)+1, object.CRC32), Meta: object.Meta{ContentType: "new"}})
				if !errors.Is(err, cause) {
					c.Errorf("%d bytes, then %v: got %v", size, cause, err)
				}
				c.holds("there", "old")
				c.lacks("not/there")
				c.strings("keys", c.keys(10), []string{"there"})
			}
		}
	}
	c.ok("delete", c.delete(ref("there"), nil))
	c.ok("nothing is left in the bucket", c.DeleteBucket(c.Context(), bucketName))
}

func updateTags(c *suite) {
	before := c.putIn(object.PutInput{Meta: object.Meta{ContentType: "t", User: map[string]string{"a": "b"}, Tags: []object.Tag{{Key: "old"}}}}, "k", []byte("v"))
	for _, tags := range [][]object.Tag{{{Key: "a", Value: "b"}}, nil, manyTags(50), {{Key: "x"}, {Key: "y", Value: "z"}}} {
		want := before
		want.Meta.Tags = tags
		got, err := c.Update(c.Context(), ref("k"), func(m *object.Meta) error {
			if m.ContentType != "t" || m.User["a"] != "b" {
				c.Errorf("fn was given %+v", m)
			}
			m.Tags = slices.Clone(tags)
			return nil
		})
		c.ok("update", err)
		c.same("Update", got, want)
		stat, err := c.Stat(c.Context(), ref("k"))
		c.ok("stat", err)
		c.same("Stat after Update", stat, want)
		c.holds("k", "v")
	}
	c.put("k", "new")
	if info, err := c.Stat(c.Context(), ref("k")); err != nil || len(info.Meta.Tags) != 0 {
		c.Errorf("an overwritten object kept tags %+v, %v", info.Meta.Tags, err)
	}
}
