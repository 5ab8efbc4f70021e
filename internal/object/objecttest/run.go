package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

const (
	bucketName  = "bucket-one"
	otherBucket = "bucket-two"
)

// Run tests every promise that package object makes of a Store. newStore
// returns a new, empty store each time; it closes it by t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) object.Store) {
	for _, family := range []struct {
		name  string
		tests []test
	}{
		{"buckets", bucketTests()},
		{"objects", objectTests()},
		{"checks", checkTests()},
		{"keys", keyTests()},
		{"list", listTests()},
		{"uploads", uploadTests()},
		{"complete", completeTests()},
		{"copy", copyTests()},
		{"sealed", sealedTests()},
		{"versions", versionTests()},
		{"cancel", cancelTests()},
	} {
		t.Run(family.name, func(t *testing.T) {
			for _, tt := range family.tests {
				t.Run(tt.name, func(t *testing.T) {
					c := &suite{T: t, Store: newStore(t)}
					c.ok("create bucket", c.CreateBucket(t.Context(), object.Bucket{Name: bucketName}))
					tt.run(c)
				})
			}
		})
	}
}

// test is one promise and how it is tested.
type test struct {
	name string
	run  func(*suite)
}

// suite is one test on one store that holds one empty bucket.
type suite struct {
	*testing.T
	object.Store
}

func ref(key string) object.Ref { return object.Ref{Bucket: bucketName, Key: key} }

// ok ends the test if err is not nil.
func (c *suite) ok(what string, err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

// fails reports an error that is not of the kind.
func (c *suite) fails(what string, err error, want object.Kind) {
	c.Helper()
	if !errors.Is(err, want) || object.KindOf(err) != want {
		c.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// put stores content under key.
func (c *suite) put(key, content string) object.Info {
	c.Helper()
	return c.putIn(object.PutInput{}, key, []byte(content))
}

func (c *suite) putIn(in object.PutInput, key string, content []byte) object.Info {
	c.Helper()
	in.Body = NewBody(content, object.CRC64NVME)
	info, err := c.Put(c.Context(), ref(key), in)
	c.ok(fmt.Sprintf("put %.60q", key), err)
	return info
}

// read returns the bytes that are held of an open object.
func read(h object.Handle) ([]byte, error) {
	info := h.Info()
	return io.ReadAll(h.Range(0, info.Held()))
}

// holds checks that key has the content, by Open and by Stat.
func (c *suite) holds(key, content string) {
	c.Helper()
	h, err := c.Open(c.Context(), ref(key))
	if err != nil {
		c.Errorf("open %.60q: %v", key, err)
		return
	}
	defer func() { _ = h.Close() }() // nothing was written
	got, err := read(h)
	if err != nil || string(got) != content {
		c.Errorf("%.60q holds %.60q, %v; want %.60q", key, got, err, content)
	}
	info, err := c.Stat(c.Context(), ref(key))
	if err != nil {
		c.Errorf("stat %.60q: %v", key, err)
		return
	}
	c.same("Stat after Open", info, h.Info())
}

// delete is Delete for tests that look at nothing but its error.
func (c *suite) delete(r object.Ref, check object.Check) error {
	c.Helper()
	_, err := c.Delete(c.Context(), r, check)
	return err
}

// lacks checks that there is no object under key.
func (c *suite) lacks(key string) {
	c.Helper()
	_, err := c.Stat(c.Context(), ref(key))
	c.fails(fmt.Sprintf("stat %.60q", key), err, object.NoSuchKey)
	h, err := c.Open(c.Context(), ref(key))
	c.fails(fmt.Sprintf("open %.60q", key), err, object.NoSuchKey)
	if err == nil {
		_ = h.Close() // the test has failed
	}
}

// same compares two Infos of one version of an object.
func (c *suite) same(what string, got, want object.Info) {
	c.Helper()
	if !got.Modified.Equal(want.Modified) {
		c.Errorf("%s: modified %v, want %v", what, got.Modified, want.Modified)
	}
	if got.Version != want.Version {
		c.Errorf("%s: version %q, want %q", what, got.Version, want.Version)
	}
	if d := differ(got, want); d != "" {
		c.Errorf("%s: %s", what, d)
	}
}

// differ tells how two Infos differ but for Modified and what ID a version has;
// "" if they do not.
func differ(got, want object.Info) string {
	g, w := normal(got), normal(want)
	if reflect.DeepEqual(g, w) {
		return ""
	}
	return fmt.Sprintf("got %.900s\nwant %.900s", fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
}

// normal makes Infos that mean the same equal, but takes away Modified and Sequence.
func normal(i object.Info) object.Info {
	i.Modified, i.Sequence = time.Time{}, ""
	if i.Version != "" && i.Version != object.NullVersion {
		i.Version = "an ID"
	}
	i.Meta = i.Meta.Clone()
	if i.Meta.StorageClass == "" {
		i.Meta.StorageClass = object.StorageClass
	}
	if len(i.Meta.User) == 0 {
		i.Meta.User = nil
	}
	if len(i.Meta.Tags) == 0 {
		i.Meta.Tags = nil
	}
	if len(i.Parts) == 0 {
		i.Parts = nil
	}
	return i
}

// keys returns all keys of the bucket, sorted, read in pages of limit.
func (c *suite) keys(limit int) []string {
	c.Helper()
	keys, _ := c.list(object.Query{Limit: limit})
	return keys
}

// list returns what all pages of a listing hold.
func (c *suite) list(q object.Query) (keys, prefixes []string) {
	c.Helper()
	q.Bucket = bucketName
	for {
		page, err := c.List(c.Context(), q)
		c.ok("list", err)
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		prefixes = append(prefixes, page.Prefixes...)
		if !page.More {
			return keys, prefixes
		}
		if n := len(page.Objects) + len(page.Prefixes); n == 0 || n > q.Limit || page.Next <= q.After {
			c.Fatalf("page of %d after %q with limit %d says the next is after %q", n, q.After, q.Limit, page.Next)
		}
		q.After = page.Next
	}
}

// strings checks two lists of strings.
func (c *suite) strings(what string, got, want []string) {
	c.Helper()
	if !slices.Equal(got, want) {
		c.Errorf("%s: got %.600q, want %.600q", what, got, want)
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// slice checks the content of an object by one ranged read.
func (c *suite) slice(h object.Handle, offset, length int64, want []byte) {
	c.Helper()
	got, err := io.ReadAll(h.Range(offset, length))
	if err != nil || !bytes.Equal(got, want) {
		c.Errorf("range of %d from %d: %d bytes, %v; want %d", length, offset, len(got), err, len(want))
	}
	r := h.Range(offset, length)
	if w, ok := r.(io.WriterTo); ok {
		var out bytes.Buffer
		n, err := w.WriteTo(&out)
		if err != nil || n != length || !bytes.Equal(out.Bytes(), want) {
			c.Errorf("WriteTo of %d from %d: %d bytes, %v", length, offset, n, err)
		}
	}
}
