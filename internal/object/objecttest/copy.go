package objecttest

import (
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

func copyTests() []test {
	return []test{
		{"a copy has the bytes, metadata, ETag and checksum of its source", copies},
		{"a Copy that is refused changes nothing", refusedCopies},
		{"a renamed object is the same under another key", renames},
		{"a Rename that is refused changes nothing", refusedRenames},
		{"an object that is renamed is never missing under both names", func(c *suite) {
			r, ok := c.Store.(object.Renamer)
			if !ok {
				return // an optional power
			}
			const keys = 30
			for i := range keys {
				c.put(fmt.Sprintf("a%d", i), "v")
			}
			done := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := 0; ; i = (i + 1) % keys {
					select {
					case <-done:
						return
					default:
					}
					// It moves one way only, so what has left its first name has the second.
					_, first := c.Stat(c.Context(), ref(fmt.Sprintf("a%d", i)))
					_, second := c.Stat(c.Context(), ref(fmt.Sprintf("b%d", i)))
					if first != nil && second != nil {
						c.Errorf("missing: %v, %v", first, second)
						return
					}
				}
			})
			for i := range keys {
				if err := r.Rename(c.Context(), ref(fmt.Sprintf("a%d", i)), ref(fmt.Sprintf("b%d", i)), object.CopyInput{}); err != nil {
					c.Errorf("rename: %v", err)
				}
			}
			close(done)
			wg.Wait()
		}},
	}
}

func copies(c *suite) {
	cp, ok := c.Store.(object.Copier)
	if !ok {
		return // an optional power
	}
	c.ok("create bucket", c.CreateBucket(c.Context(), object.Bucket{Name: otherBucket}))
	content := pattern(1, 300000)
	meta := object.Meta{ContentType: "t", User: map[string]string{"a": "b"}, Tags: []object.Tag{{Key: "x", Value: "y"}}}
	source := c.putIn(object.PutInput{Meta: meta}, "source", content)
	other := object.Meta{ContentType: "other"}
	for name, tt := range map[string]struct {
		to   object.Ref
		meta *object.Meta
		want object.Meta
	}{
		"within the bucket":      {ref("deep/copy"), nil, meta},
		"to another bucket":      {object.Ref{Bucket: otherBucket, Key: "source"}, nil, meta},
		"with other metadata":    {ref("other"), &other, other},
		"over an object":         {ref("deep/copy"), nil, meta},
		"over itself":            {ref("source"), &other, other},
		"below a key of another": {ref("source/below"), nil, other},
	} {
		want := source
		want.Bucket, want.Key, want.Meta = tt.to.Bucket, tt.to.Key, tt.want
		if tt.meta == nil { // the source may have been copied over itself by now
			now, err := c.Stat(c.Context(), ref("source"))
			c.ok("stat", err)
			want.Meta = now.Meta
		}
		got, err := cp.Copy(c.Context(), ref("source"), tt.to, object.CopyInput{Meta: tt.meta})
		c.ok(name, err)
		if d := differ(got, want); d != "" {
			c.Errorf("%s: %s", name, d)
		}
		h, err := c.Open(c.Context(), tt.to)
		c.ok("open", err)
		c.same(name, h.Info(), got)
		c.slice(h, 0, int64(len(content)), content)
		c.ok("close", h.Close())
	}
	c.ok("delete the source", c.delete(ref("source"), nil))
	c.holds("deep/copy", string(content))
}

func refusedCopies(c *suite) {
	cp, ok := c.Store.(object.Copier)
	if !ok {
		return // an optional power
	}
	c.put("source", "new")
	c.put("k", "old")
	_, err := cp.Copy(c.Context(), ref("none"), ref("k"), object.CopyInput{})
	c.fails("no source", err, object.NoSuchKey)
	_, err = cp.Copy(c.Context(), ref("source"), object.Ref{Bucket: otherBucket, Key: "k"}, object.CopyInput{})
	c.fails("no bucket", err, object.NoSuchBucket)
	_, err = cp.Copy(c.Context(), object.Ref{Bucket: otherBucket, Key: "k"}, ref("k"), object.CopyInput{})
	c.fails("no source bucket", err, object.NoSuchBucket)
	_, err = cp.Copy(c.Context(), ref("source"), ref("k"), object.CopyInput{Check: object.IfNoneMatch("*")})
	c.fails("check", err, object.PreconditionFailed)
	_, err = cp.Copy(c.Context(), ref("source"), ref("k"), object.CopyInput{SourceCheck: func(i *object.Info) error {
		if i == nil || i.Key != "source" {
			c.Errorf("the source check saw %+v", i)
		}
		return errRefused
	}})
	c.is("source check", err, errRefused)
	c.holds("k", "old")
	c.strings("keys", c.keys(10), []string{"k", "source"})
}

func renames(c *suite) {
	r, ok := c.Store.(object.Renamer)
	if !ok {
		return // an optional power
	}
	content := pattern(1, 100000)
	want := c.putIn(object.PutInput{Meta: object.Meta{ContentType: "t", User: map[string]string{"a": "b"}, Tags: manyTags(30)}}, "a/b", content)
	c.put("taken", "old")
	from := "a/b"
	for _, to := range []string{"a/c", "new/place/k", "taken", "a", "a/b"} {
		c.ok("rename", r.Rename(c.Context(), ref(from), ref(to), object.CopyInput{}))
		c.lacks(from)
		c.holds(to, string(content))
		got, err := c.Stat(c.Context(), ref(to))
		c.ok("stat", err)
		want.Key = to
		c.same("rename", got, want)
		c.strings("keys of what was moved", onlyOf(c.keys(10), "taken"), onlyOf([]string{to}, "taken"))
		from = to
	}
}

// onlyOf returns keys without one.
func onlyOf(keys []string, without string) []string {
	var rest []string
	for _, k := range keys {
		if k != without {
			rest = append(rest, k)
		}
	}
	return rest
}

func refusedRenames(c *suite) {
	r, ok := c.Store.(object.Renamer)
	if !ok {
		return // an optional power
	}
	c.put("a", "a")
	c.put("b", "b")
	c.fails("no source", r.Rename(c.Context(), ref("none"), ref("b"), object.CopyInput{}), object.NoSuchKey)
	c.fails("check", r.Rename(c.Context(), ref("a"), ref("b"), object.CopyInput{Check: object.IfNoneMatch("*")}), object.PreconditionFailed)
	c.is("source check", r.Rename(c.Context(), ref("a"), ref("b"), object.CopyInput{SourceCheck: func(*object.Info) error { return errRefused }}), errRefused)
	c.holds("a", "a")
	c.holds("b", "b")
}
