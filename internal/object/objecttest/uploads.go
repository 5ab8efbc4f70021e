package objecttest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// upload begins an upload of key with checksums over the object where the
// algorithm can have them.
func (c *suite) upload(key string, a object.Algorithm) object.Upload {
	c.Helper()
	up := object.Upload{Algorithm: a, Type: object.FullObject}
	if !a.Supports(object.FullObject) {
		up.Type = object.Composite
	}
	return c.uploadOf(key, up)
}

func (c *suite) uploadOf(key string, up object.Upload) object.Upload {
	c.Helper()
	up.Ref = ref(key)
	up, err := c.CreateUpload(c.Context(), up)
	c.ok("create upload", err)
	return up
}

// part stores a part.
func (c *suite) part(up object.Upload, number int, content []byte) object.Part {
	c.Helper()
	p, err := c.PutPart(c.Context(), up.UploadRef, number, NewBody(content, up.Algorithm))
	c.ok("put part", err)
	return p
}

// parts checks which parts an upload has.
func (c *suite) parts(up object.Upload, want ...object.Part) {
	c.Helper()
	got, more, err := c.ListParts(c.Context(), up.UploadRef, 0, 1000)
	c.ok("list parts", err)
	if more || !slices.EqualFunc(got, want, samePart) {
		c.Errorf("parts %+v, more %v, want %+v", got, more, want)
	}
}

func samePart(x, y object.Part) bool {
	return x.Number == y.Number && x.Size == y.Size && x.ETag == y.ETag && x.Checksum == y.Checksum && x.Modified.Equal(y.Modified)
}

func uploadTests() []test {
	return []test{
		{"an upload keeps what it was created with", func(c *suite) {
			for name, meta := range metas() {
				for _, up := range []object.Upload{
					{Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true}, {Algorithm: object.SHA256, Type: object.Composite}, {Algorithm: object.CRC32, Type: object.FullObject},
				} {
					up.Meta = meta
					made := c.uploadOf("dir/k", up)
					got, err := c.StatUpload(c.Context(), made.UploadRef)
					c.ok("stat upload", err)
					if d := differentUpload(got, made); d != "" {
						c.Errorf("%s: %s", name, d)
					}
					up.UploadRef = made.UploadRef
					up.Initiated = made.Initiated
					if d := differentUpload(got, up); d != "" {
						c.Errorf("%s: %s", name, d)
					}
				}
			}
			c.strings("keys while nothing is complete", c.keys(10), nil)
		}},
		{"an upload's ID is new, and made of letters, digits, '-' and '_'", func(c *suite) {
			seen := map[string]bool{}
			for range 30 {
				up := c.upload("k", object.CRC32)
				if up.ID == "" || len(up.ID) > 128 || seen[up.ID] || strings.Trim(up.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
					c.Errorf("ID %q", up.ID)
				}
				seen[up.ID] = true
				if since := time.Since(up.Initiated); since < -2*time.Second || since > time.Minute {
					c.Errorf("initiated %v ago", since)
				}
			}
		}},
		{"a part has the size, ETag and checksum of its body", func(c *suite) {
			for _, a := range object.Algorithms() {
				up := c.upload("k", a)
				want := digestOf([]byte("part"), a)
				p := c.part(up, 3, []byte("part"))
				if p.Number != 3 || p.Size != 4 || p.ETag != fmt.Sprintf("%x", want.MD5) || p.Checksum != want.Checksum.Value {
					c.Errorf("%v: %+v", a, p)
				}
				c.parts(up, p)
			}
		}},
		{"a part put again takes the place of the first", func(c *suite) {
			up := c.upload("k", object.CRC32)
			c.part(up, 1, pattern(1, 100000))
			c.part(up, 2, []byte("two"))
			one, two := c.part(up, 1, []byte("new")), c.part(up, 2, pattern(2, 100000))
			c.parts(up, one, two)
		}},
		{"a part whose body fails leaves the upload as it was", func(c *suite) {
			up := c.upload("k", object.CRC32)
			one := c.part(up, 1, []byte("one"))
			for _, number := range []int{1, 2} {
				_, err := c.PutPart(c.Context(), up.UploadRef, number, bodyFrom(&failing{content: bytes.NewReader(pattern(1, 100000)), err: errRefused}, 100001, object.CRC32))
				c.is("put part", err, errRefused)
				c.parts(up, one)
			}
		}},
		{"parts are listed by number, in pages", func(c *suite) {
			up := c.upload("k", object.CRC32)
			var want []object.Part
			for _, n := range []int{10000, 1, 9, 10, 100, 99, 2, 1000} {
				want = append(want, c.part(up, n, []byte(fmt.Sprint(n))))
			}
			slices.SortFunc(want, func(x, y object.Part) int { return cmp.Compare(x.Number, y.Number) })
			for limit := 1; limit <= len(want)+1; limit++ {
				var got []object.Part
				after, more := 0, true
				for more {
					page, m, err := c.ListParts(c.Context(), up.UploadRef, after, limit)
					c.ok("list parts", err)
					if len(page) == 0 || len(page) > limit {
						c.Fatalf("limit %d: page of %d", limit, len(page))
					}
					got, more, after = append(got, page...), m, page[len(page)-1].Number
				}
				if !slices.EqualFunc(got, want, samePart) {
					c.Errorf("limit %d: %+v", limit, got)
				}
			}
			page, more, err := c.ListParts(c.Context(), up.UploadRef, 10000, 10)
			if err != nil || more || len(page) != 0 {
				c.Errorf("after the last: %+v, %v, %v", page, more, err)
			}
		}},
		{"an aborted upload is gone, and only it", func(c *suite) {
			c.put("k", "old")
			gone, stays := c.upload("k", object.CRC32), c.upload("k", object.CRC32)
			c.part(gone, 1, []byte("x"))
			p := c.part(stays, 1, []byte("y"))
			c.ok("abort", c.AbortUpload(c.Context(), gone.UploadRef))
			c.ended(gone.UploadRef)
			c.parts(stays, p)
			c.holds("k", "old")
		}},
		{"an upload is known by its ID and its key", func(c *suite) {
			up := c.upload("k", object.CRC32)
			c.part(up, 1, []byte("x"))
			for _, r := range []object.UploadRef{
				{Ref: ref("other"), ID: up.ID},
				{Ref: ref("k/"), ID: up.ID},
				{Ref: ref("k"), ID: up.ID + "x"},
				{Ref: ref("k"), ID: "no-such-upload"},
				{Ref: ref("k"), ID: strings.Repeat("x", 128)},
				{Ref: object.Ref{Bucket: bucketName, Key: up.ID}, ID: "k"},
			} {
				c.ended(r)
			}
			c.parts(up, c.part(up, 1, []byte("x")))
		}},
		{"concurrent puts of one part leave one of them whole", func(c *suite) {
			up := c.upload("k", object.CRC32)
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					if _, err := c.PutPart(c.Context(), up.UploadRef, 1, NewBody(pattern(i, 50000+i), object.CRC32)); err != nil {
						c.Errorf("put part: %v", err)
					}
				})
			}
			wg.Wait()
			parts, _, err := c.ListParts(c.Context(), up.UploadRef, 0, 10)
			c.ok("list parts", err)
			if len(parts) != 1 {
				c.Fatalf("parts %+v", parts)
			}
			i := int(parts[0].Size - 50000)
			if want := digestOf(pattern(i, 50000+i), object.CRC32); parts[0].ETag != fmt.Sprintf("%x", want.MD5) || parts[0].Checksum != want.Checksum.Value {
				c.Errorf("part %+v is of no put", parts[0])
			}
			_, err = c.CompleteUpload(c.Context(), up.UploadRef, naming(parts...))
			c.ok("complete", err)
			c.holds("k", string(pattern(i, 50000+i)))
		}},
		{"uploads are listed by key and time, grouped and in pages", listUploads},
	}
}

// ended checks that every operation on an upload says that there is none.
func (c *suite) ended(r object.UploadRef) {
	c.Helper()
	_, err := c.StatUpload(c.Context(), r)
	c.fails("stat upload", err, object.NoSuchUpload)
	_, err = c.PutPart(c.Context(), r, 1, NewBody([]byte("x"), object.CRC32))
	c.fails("put part", err, object.NoSuchUpload)
	_, _, err = c.ListParts(c.Context(), r, 0, 10)
	c.fails("list parts", err, object.NoSuchUpload)
	_, err = c.CompleteUpload(c.Context(), r, naming(object.Part{Number: 1, ETag: "00"}))
	c.fails("complete", err, object.NoSuchUpload)
	c.fails("abort", c.AbortUpload(c.Context(), r), object.NoSuchUpload)
}

func differentUpload(got, want object.Upload) string {
	if got.UploadRef != want.UploadRef || !got.Initiated.Equal(want.Initiated) || got.Algorithm != want.Algorithm || got.Type != want.Type || got.Implied != want.Implied {
		return fmt.Sprintf("got %+v, want %+v", got, want)
	}
	return differ(object.Info{Meta: got.Meta}, object.Info{Meta: want.Meta})
}

// listUploads compares pages of uploads with what the rules say.
func listUploads(c *suite) {
	keys := []string{"a", "a-b", "a/b", "a/b", "a/b/c", "a/c", "a0", "b/x", "b/x", "b/x", "c", "=0="}
	byKey := map[string][]string{}
	for _, key := range keys {
		byKey[key] = append(byKey[key], c.upload(key, object.CRC32).ID)
	}
	c.put("a/object", "not an upload")
	for _, prefix := range []string{"", "a", "a/", "a/b", "b", "zz"} {
		for _, delimiter := range []string{"", "/", "-"} {
			wantKeys, wantPrefixes := grouped(keys, object.Query{Prefix: prefix, Delimiter: delimiter})
			for _, limit := range []int{1, 2, 3, 1000} {
				what := fmt.Sprintf("prefix %q, delimiter %q, limit %d", prefix, delimiter, limit)
				got, prefixes := c.pageUploads(object.UploadQuery{Prefix: prefix, Delimiter: delimiter, Limit: limit})
				var gotKeys []string
				ids := map[string][]string{}
				for i, u := range got {
					gotKeys = append(gotKeys, u.Key)
					ids[u.Key] = append(ids[u.Key], u.ID)
					if i > 0 && got[i-1].Key == u.Key && u.Initiated.Before(got[i-1].Initiated) {
						c.Errorf("%s: the uploads of %s are not in order of time", what, u.Key)
					}
				}
				c.strings(what+", keys", gotKeys, wantKeys)
				c.strings(what+", common prefixes", prefixes, wantPrefixes)
				for key := range maps.Keys(ids) {
					c.strings(what+", IDs", slices.Sorted(slices.Values(ids[key])), slices.Sorted(slices.Values(byKey[key])))
				}
			}
		}
	}
	got, _ := c.pageUploads(object.UploadQuery{AfterKey: "a/b", Limit: 1000})
	if len(got) != 7 || got[0].Key != "a/b/c" {
		c.Errorf("after the key a/b: %d uploads", len(got))
	}
}

// pageUploads returns what all pages of a listing of uploads hold.
func (c *suite) pageUploads(q object.UploadQuery) (uploads []object.Upload, prefixes []string) {
	c.Helper()
	q.Bucket = bucketName
	for range 1000 {
		page, err := c.ListUploads(c.Context(), q)
		c.ok("list uploads", err)
		if n := len(page.Uploads) + len(page.Prefixes); n > q.Limit || n == 0 && page.More {
			c.Fatalf("page of %d with limit %d", n, q.Limit)
		}
		uploads, prefixes = append(uploads, page.Uploads...), append(prefixes, page.Prefixes...)
		if !page.More {
			return uploads, prefixes
		}
		q.AfterKey, q.AfterID = page.NextKey, page.NextID
	}
	c.Fatal("a listing of uploads has no end")
	return nil, nil
}
