package objecttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

var errRefused = errors.New("refused by the test")

func bucketTests() []test {
	return []test{
		{"a bucket keeps its record", func(c *suite) {
			want := object.Bucket{Name: otherBucket, Created: time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC), Region: "eu-west-1", Tags: []object.Tag{{Key: "a", Value: "b"}}, Documents: map[string]string{"policy": "{}"}}
			c.ok("create", c.CreateBucket(c.Context(), want))
			got, err := c.StatBucket(c.Context(), otherBucket)
			c.ok("stat", err)
			if got.Name != want.Name || got.Region != want.Region || !got.Created.Equal(want.Created) || !slices.Equal(got.Tags, want.Tags) || !maps.Equal(got.Documents, want.Documents) {
				c.Errorf("got %+v, want %+v", got, want)
			}
		}},
		{"a bucket that exists cannot be created", func(c *suite) {
			c.fails("create", c.CreateBucket(c.Context(), object.Bucket{Name: bucketName, Region: "other"}), object.BucketExists)
			if b, err := c.StatBucket(c.Context(), bucketName); err != nil || b.Region != "" {
				c.Errorf("record became %+v, %v", b, err)
			}
		}},
		{"of many who create one bucket one succeeds", func(c *suite) {
			won := winners(20, func(int) error { return c.CreateBucket(c.Context(), object.Bucket{Name: otherBucket}) }, object.BucketExists)
			c.won(won)
		}},
		{"buckets are listed by name", func(c *suite) {
			for _, name := range []string{"zz.z", "a-b", "a.b", "a0b", "bucket"} {
				c.ok("create", c.CreateBucket(c.Context(), object.Bucket{Name: name}))
			}
			all, err := c.ListBuckets(c.Context())
			c.ok("list", err)
			var names []string
			for _, b := range all {
				names = append(names, b.Name)
			}
			c.strings("buckets", names, []string{"a-b", "a.b", "a0b", "bucket", bucketName, "zz.z"})
		}},
		{"an empty bucket can be deleted and made again, empty", func(c *suite) {
			c.put("k", "v")
			c.ok("delete", c.delete(ref("k"), nil))
			c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
			_, err := c.StatBucket(c.Context(), bucketName)
			c.fails("stat", err, object.NoSuchBucket)
			c.ok("create", c.CreateBucket(c.Context(), object.Bucket{Name: bucketName}))
			c.strings("keys", c.keys(10), nil)
		}},
		{"a bucket with an object is not deleted", func(c *suite) {
			for _, key := range []string{"k", "deep/in/it", "slash/", "//"} {
				c.put(key, "v")
				c.fails("delete bucket with "+key, c.DeleteBucket(c.Context(), bucketName), object.BucketNotEmpty)
				c.holds(key, "v")
				c.ok("delete", c.delete(ref(key), nil))
			}
			c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"deleting a bucket aborts its uploads", func(c *suite) {
			up := c.upload("k", object.CRC32)
			c.part(up, 1, []byte("x"))
			c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
			c.ok("create", c.CreateBucket(c.Context(), object.Bucket{Name: bucketName}))
			_, err := c.StatUpload(c.Context(), up.UploadRef)
			c.fails("stat upload", err, object.NoSuchUpload)
			page, err := c.ListUploads(c.Context(), object.UploadQuery{Bucket: bucketName, Limit: 10})
			if err != nil || len(page.Uploads) != 0 {
				c.Errorf("uploads %+v, %v", page, err)
			}
		}},
		{"every operation says that there is no bucket", noBucket},
		{"updates of a bucket are one after another", func(c *suite) {
			const writers, each = 8, 10
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						err := c.UpdateBucket(c.Context(), bucketName, func(b *object.Bucket) error {
							b.Tags = append(b.Tags, object.Tag{Key: fmt.Sprintf("%d-%d", w, i)})
							return nil
						})
						if err != nil {
							c.Errorf("update: %v", err)
						}
					}
				})
			}
			wg.Wait()
			b, err := c.StatBucket(c.Context(), bucketName)
			if err != nil || len(b.Tags) != writers*each {
				c.Errorf("%d of %d updates are there, %v", len(b.Tags), writers*each, err)
			}
		}},
		{"an update that fails changes nothing", func(c *suite) {
			err := c.UpdateBucket(c.Context(), bucketName, func(b *object.Bucket) error {
				b.Region, b.Tags = "changed", []object.Tag{{Key: "a"}}
				return errRefused
			})
			if !errors.Is(err, errRefused) {
				c.Errorf("got %v", err)
			}
			if b, err := c.StatBucket(c.Context(), bucketName); err != nil || b.Region != "" || len(b.Tags) != 0 {
				c.Errorf("record became %+v, %v", b, err)
			}
		}},
		{"buckets do not see one another's objects", func(c *suite) {
			c.ok("create", c.CreateBucket(c.Context(), object.Bucket{Name: otherBucket}))
			c.put("k", "v")
			_, err := c.Stat(c.Context(), object.Ref{Bucket: otherBucket, Key: "k"})
			c.fails("stat", err, object.NoSuchKey)
			c.ok("delete", c.delete(object.Ref{Bucket: otherBucket, Key: "k"}, nil))
			c.holds("k", "v")
		}},
	}
}

// noBucket runs every operation on a bucket that is not there.
func noBucket(c *suite) {
	ctx := c.Context()
	nowhere := object.Ref{Bucket: "no-such-bucket", Key: "k"}
	for name, run := range map[string]func() error{
		"StatBucket":   func() error { _, err := c.StatBucket(ctx, nowhere.Bucket); return err },
		"DeleteBucket": func() error { return c.DeleteBucket(ctx, nowhere.Bucket) },
		"UpdateBucket": func() error {
			return c.UpdateBucket(ctx, nowhere.Bucket, func(*object.Bucket) error { c.Error("fn was called"); return nil })
		},
		"Put": func() error {
			_, err := c.Put(ctx, nowhere, object.PutInput{Body: NewBody([]byte("x"), object.CRC32)})
			return err
		},
		"Open":   func() error { _, err := c.Open(ctx, nowhere); return err },
		"Stat":   func() error { _, err := c.Stat(ctx, nowhere); return err },
		"Update": func() error { _, err := c.Update(ctx, nowhere, func(*object.Meta) error { return nil }); return err },
		"Delete": func() error { _, err := c.Delete(ctx, nowhere, nil); return err },
		"ListVersions": func() error {
			_, err := c.ListVersions(ctx, object.VersionQuery{Bucket: nowhere.Bucket, Limit: 1})
			return err
		},
		"List": func() error { _, err := c.List(ctx, object.Query{Bucket: nowhere.Bucket, Limit: 1}); return err },
		"CreateUpload": func() error {
			_, err := c.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: nowhere}, Algorithm: object.CRC32})
			return err
		},
		"ListUploads": func() error {
			_, err := c.ListUploads(ctx, object.UploadQuery{Bucket: nowhere.Bucket, Limit: 1})
			return err
		},
	} {
		c.fails(name, run(), object.NoSuchBucket)
	}
	if all, err := c.ListBuckets(ctx); err != nil || len(all) != 1 {
		c.Errorf("buckets %+v, %v", all, err)
	}
}

// result is what came of many who tried the same at once.
type result struct {
	winners []int
	others  []error // errors of another kind than expected
}

// winners runs n calls at the same time. One that fails with the kind lost, and
// may try no more; one that fails with Conflict tries again.
func winners(n int, run func(i int) error, lost object.Kind) result {
	var (
		mu    sync.Mutex
		r     result
		wg    sync.WaitGroup
		start = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-start
			err := run(i)
			for errors.Is(err, object.Conflict) && lost != object.Conflict {
				err = run(i)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				r.winners = append(r.winners, i)
			case !errors.Is(err, lost):
				r.others = append(r.others, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return r
}

// won checks that exactly one won, and returns it.
func (c *suite) won(r result) int {
	c.Helper()
	if len(r.winners) != 1 || len(r.others) != 0 {
		c.Fatalf("winners %v, errors %v", r.winners, r.others)
	}
	return r.winners[0]
}

func cancelTests() []test {
	return []test{
		{"a context that has ended does nothing", func(c *suite) {
			c.put("k", "old")
			up := c.upload("k", object.CRC32)
			ctx, cancel := context.WithCancel(c.Context())
			cancel()
			_, err := c.Put(ctx, ref("k"), object.PutInput{Body: NewBody([]byte("new"), object.CRC32)})
			c.refused("put", err)
			_, err = c.PutPart(ctx, up.UploadRef, 1, NewBody([]byte("new"), object.CRC32))
			c.refused("put part", err)
			_, err = c.Delete(ctx, ref("k"), nil)
			c.refused("delete", err)
			c.refused("delete bucket", c.DeleteBucket(ctx, bucketName))
			c.refused("create bucket", c.CreateBucket(ctx, object.Bucket{Name: otherBucket}))
			c.refused("abort", c.AbortUpload(ctx, up.UploadRef))
			_, err = c.Update(ctx, ref("k"), func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "a"}}; return nil })
			c.refused("update", err)
			c.holds("k", "old")
			c.parts(up)
			if info, err := c.Stat(c.Context(), ref("k")); err != nil || len(info.Meta.Tags) != 0 {
				c.Errorf("tags %+v, %v", info.Meta.Tags, err)
			}
			_, err = c.StatBucket(c.Context(), otherBucket)
			c.fails("stat bucket", err, object.NoSuchBucket)
		}},
		{"a context that ends while the body is read leaves nothing", func(c *suite) {
			for _, key := range []string{"k", "new/in/a/new/place"} {
				ctx, cancel := context.WithCancel(c.Context())
				source := &failing{content: strings.NewReader(strings.Repeat("x", 100000)), err: context.Canceled, before: cancel}
				_, err := c.Put(ctx, ref(key), object.PutInput{Body: bodyFrom(source, 200000, object.CRC32)})
				c.refused("put", err)
				cancel()
				c.lacks(key)
			}
			c.strings("keys", c.keys(10), nil)
			c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"a context that ends while a part is read leaves the upload as it was", func(c *suite) {
			up := c.upload("k", object.CRC32)
			one := c.part(up, 1, []byte("one"))
			for _, number := range []int{1, 2} {
				ctx, cancel := context.WithCancel(c.Context())
				source := &failing{content: strings.NewReader(strings.Repeat("x", 100000)), err: context.Canceled, before: cancel}
				_, err := c.PutPart(ctx, up.UploadRef, number, bodyFrom(source, 200000, object.CRC32))
				c.refused("put part", err)
				cancel()
				c.parts(up, one)
			}
		}},
	}
}

func (c *suite) refused(what string, err error) {
	c.Helper()
	if err == nil {
		c.Errorf("%s: no error", what)
	}
}
