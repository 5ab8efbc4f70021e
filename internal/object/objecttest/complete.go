package objecttest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// naming returns the input that completes an upload with these parts.
func naming(parts ...object.Part) object.CompleteInput {
	in := object.CompleteInput{Size: -1}
	for _, p := range parts {
		in.Parts = append(in.Parts, object.CompletedPart{Number: p.Number, ETag: p.ETag})
	}
	return in
}

// namingSums names the parts with their checksums, as Composite demands.
func namingSums(a object.Algorithm, parts ...object.Part) object.CompleteInput {
	in := naming(parts...)
	for i, p := range parts {
		in.Parts[i].Checksum = object.Checksum{Algorithm: a, Value: p.Checksum}
	}
	return in
}

func completeTests() []test {
	return []test{
		{"a completed upload is the object of its parts in order", joined},
		{"every checksum algorithm and type that S3 has", func(c *suite) {
			content := []byte("one part")
			for _, a := range object.Algorithms() {
				for _, typ := range []object.ChecksumType{object.FullObject, object.Composite} {
					if !a.Supports(typ) {
						continue
					}
					up := c.uploadOf("k", object.Upload{Algorithm: a, Type: typ})
					in := namingSums(a, c.part(up, 1, content))
					want, err := object.Assemble(up, []object.Part{c.part(up, 1, content)}, in)
					c.ok("assemble", err)
					info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
					c.ok("complete", err)
					if info.Checksum != want.Checksum || info.ETag != want.ETag {
						c.Errorf("%v %v: %+v, want %+v", a, typ, info, want)
					}
				}
			}
		}},
		{"a completed object has the upload's metadata", func(c *suite) {
			for name, meta := range metas() {
				up := c.uploadOf("k", object.Upload{Algorithm: object.CRC32, Type: object.FullObject, Meta: meta})
				info, err := c.CompleteUpload(c.Context(), up.UploadRef, naming(c.part(up, 1, []byte("x"))))
				c.ok("complete", err)
				if d := differ(object.Info{Meta: info.Meta}, object.Info{Meta: meta}); d != "" {
					c.Errorf("%s: %s", name, d)
				}
				c.holds("k", "x")
			}
		}},
		{"a completed upload has ended", func(c *suite) {
			up := c.upload("k", object.CRC32)
			_, err := c.CompleteUpload(c.Context(), up.UploadRef, naming(c.part(up, 1, []byte("x"))))
			c.ok("complete", err)
			c.ended(up.UploadRef)
			c.holds("k", "x")
			got, _ := c.pageUploads(object.UploadQuery{Limit: 10})
			if len(got) != 0 {
				c.Errorf("uploads %+v", got)
			}
		}},
		{"a Complete that is repeated answers the same until the object is overwritten", repeated},
		{"a Complete that is refused leaves the upload and the object", refusedComplete},
		{"a Check sees the object that Complete would replace", func(c *suite) {
			c.put("k", "old")
			up := c.upload("k", object.CRC32)
			in := naming(c.part(up, 1, []byte("new")))
			in.Check = object.IfNoneMatch("*")
			_, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
			c.fails("complete", err, object.PreconditionFailed)
			c.holds("k", "old")
			c.ok("delete", c.delete(ref("k"), nil))
			_, err = c.CompleteUpload(c.Context(), up.UploadRef, in)
			c.ok("complete", err)
			c.holds("k", "new")
		}},
		{"of Complete and Abort one wins", completeOrAbort},
		{"concurrent Completes of one upload all answer the same", func(c *suite) {
			up := c.upload("k", object.CRC32)
			in := naming(c.part(up, 1, []byte("x")))
			var mu sync.Mutex
			etags := map[string]int{}
			r := winners(8, func(int) error {
				info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
				if err == nil {
					mu.Lock()
					etags[info.ETag+info.Modified.String()]++
					mu.Unlock()
				}
				return err
			}, object.NoSuchKey)
			if len(r.winners) != 8 || len(etags) != 1 {
				c.Errorf("%d succeeded with %d answers; %v", len(r.winners), len(etags), r.others)
			}
		}},
		{"of many who complete uploads of one new key one creates it", func(c *suite) {
			var ups []object.Upload
			var ins []object.CompleteInput
			for i := range 10 {
				up := c.upload("dir/k", object.CRC32)
				in := naming(c.part(up, 1, []byte(fmt.Sprint(i))))
				in.Check = object.IfNoneMatch("*")
				ups, ins = append(ups, up), append(ins, in)
			}
			winner := c.won(winners(10, func(i int) error {
				_, err := c.CompleteUpload(c.Context(), ups[i].UploadRef, ins[i])
				return err
			}, object.PreconditionFailed))
			c.holds("dir/k", fmt.Sprint(winner))
		}},
		{"uploads of keys of odd shapes", func(c *suite) {
			want := map[string]string{}
			for i, key := range oddKeys() {
				if i%4 != 0 {
					continue
				}
				up := c.upload(key, object.CRC32)
				_, err := c.CompleteUpload(c.Context(), up.UploadRef, naming(c.part(up, 1, []byte("content of "+key))))
				c.ok(fmt.Sprintf("complete %.60q", key), err)
				want[key] = "content of " + key
			}
			for key, content := range want {
				c.holds(key, content)
			}
			c.strings("keys", c.keys(1000), sortedKeys(want))
		}},
	}
}

// joined uploads three parts, out of order, with gaps, one of them twice and
// one of them left out.
func joined(c *suite) {
	for _, up := range []object.Upload{
		{Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true}, {Algorithm: object.SHA256, Type: object.Composite}, {Algorithm: object.CRC32C, Type: object.FullObject},
	} {
		up = c.uploadOf("dir/k", up)
		first, second, last := pattern(1, object.MinPartSize+1), pattern(2, object.MinPartSize), pattern(3, 1000)
		three := c.part(up, 9000, last)
		c.part(up, 2, []byte("to be replaced"))
		one, two := c.part(up, 2, first), c.part(up, 17, second)
		c.part(up, 20, []byte("left out"))
		in := namingSums(up.Algorithm, one, two, three)
		want, err := object.Assemble(up, []object.Part{one, two, three}, in)
		c.ok("assemble", err)
		in.Size, in.Checksum = want.Size, want.Checksum
		info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
		c.ok("complete", err)
		wantInfo := object.Info{Bucket: bucketName, Key: "dir/k", Size: want.Size, ETag: want.ETag, Checksum: want.Checksum, Parts: want.Infos}
		if d := differ(info, wantInfo); d != "" {
			c.Error(d)
		}
		whole := slices.Concat(first, second, last)
		c.holds("dir/k", string(whole))
		h, err := c.Open(c.Context(), ref("dir/k"))
		c.ok("open", err)
		c.same("Open", h.Info(), info)
		edge := int64(len(first))
		for _, r := range [][2]int64{{edge - 1, 2}, {edge, 1}, {edge - 10, object.MinPartSize + 20}, {int64(len(whole)) - 1, 1}} {
			c.slice(h, r[0], r[1], whole[r[0]:r[0]+r[1]])
		}
		c.ok("close", h.Close())
	}
}

// repeated repeats a Complete whose answer was lost.
func repeated(c *suite) {
	up := c.upload("k", object.CRC32)
	p := c.part(up, 1, []byte("x"))
	in := naming(p)
	in.Check = object.IfNoneMatch("*")
	info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.ok("complete", err)
	for range 2 {
		again, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
		c.ok("complete again", err)
		c.same("again", again, info)
	}
	_, err = c.CompleteUpload(c.Context(), up.UploadRef, naming(object.Part{Number: 2, ETag: p.ETag}))
	c.fails("complete with other parts", err, object.NoSuchUpload)
	c.holds("k", "x")
	c.put("k", "new")
	_, err = c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.fails("complete after an overwrite", err, object.NoSuchUpload)
	c.holds("k", "new")
	c.ok("delete", c.delete(ref("k"), nil))
	_, err = c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.fails("complete after a delete", err, object.NoSuchUpload)
	c.lacks("k")
}

// refusedComplete breaks each rule of CompleteMultipartUpload once.
func refusedComplete(c *suite) {
	c.put("k", "old")
	up := c.uploadOf("k", object.Upload{Algorithm: object.CRC32, Type: object.FullObject})
	one, two, three := c.part(up, 1, []byte("one")), c.part(up, 2, []byte("two")), c.part(up, 3, []byte("three"))
	otherTag, otherSum, size, sum, check := naming(one), namingSums(object.CRC32, one), naming(one), naming(one), naming(one)
	otherTag.Parts[0].ETag = two.ETag
	otherSum.Parts[0].Checksum.Value = two.Checksum
	size.Size = 4
	sum.Checksum = object.Checksum{Algorithm: object.CRC32, Value: two.Checksum}
	check.Check = object.IfMatch(`"00"`, object.NoSuchKey)
	for name, tt := range map[string]struct {
		in   object.CompleteInput
		want object.Kind
	}{
		"no parts":               {object.CompleteInput{Size: -1}, object.InvalidRequest},
		"parts out of order":     {naming(two, one), object.InvalidPartOrder},
		"a part twice":           {naming(one, one), object.InvalidPartOrder},
		"a part that is missing": {naming(object.Part{Number: 7, ETag: one.ETag}), object.InvalidPart},
		"another ETag":           {otherTag, object.InvalidPart},
		"another part checksum":  {otherSum, object.InvalidPart},
		"a small part":           {naming(one, three), object.PartTooSmall},
		"another size":           {size, object.InvalidRequest},
		"another checksum":       {sum, object.BadDigest},
		"a Check":                {check, object.PreconditionFailed},
	} {
		_, err := c.CompleteUpload(c.Context(), up.UploadRef, tt.in)
		c.fails(name, err, tt.want)
		c.holds("k", "old")
		c.parts(up, one, two, three)
	}
	info, err := c.CompleteUpload(c.Context(), up.UploadRef, naming(two))
	c.ok("complete at last", err)
	c.holds("k", "two")
	if info.Size != 3 {
		c.Errorf("size %d", info.Size)
	}
}

// completeOrAbort races both: either the object is there or Complete failed.
func completeOrAbort(c *suite) {
	for round := range 30 {
		key := fmt.Sprintf("k%d", round)
		up := c.upload(key, object.CRC32)
		in := naming(c.part(up, 1, []byte("x")))
		var completed, aborted error
		var wg sync.WaitGroup
		start := make(chan struct{})
		wg.Go(func() { <-start; _, completed = c.CompleteUpload(c.Context(), up.UploadRef, in) })
		wg.Go(func() { <-start; aborted = c.AbortUpload(c.Context(), up.UploadRef) })
		close(start)
		wg.Wait()
		for _, err := range []error{completed, aborted} {
			if err != nil && !errors.Is(err, object.NoSuchUpload) && !errors.Is(err, object.Conflict) {
				c.Errorf("got %v", err)
			}
		}
		if completed == nil {
			c.holds(key, "x")
		} else {
			c.lacks(key)
		}
		if (completed == nil) == (aborted == nil) {
			c.Errorf("complete: %v, abort: %v", completed, aborted)
		}
	}
}
