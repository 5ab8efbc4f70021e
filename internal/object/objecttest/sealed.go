package objecttest

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/shoal-storage/shoal/internal/object"
)

func sealedTests() []test {
	return []test{
		{"sealed content is kept as it comes and known by the size that it has without its overhead", keepsSealed},
		{"sealed content keeps its seal through updates, renames and copies", keepsSeal},
		{"the Seal of an object can be changed, and nothing else with it", changesSeal},
		{"parts that are sealed become one object that remembers their salts", completesSealed},
		{"the checksums of a sealed upload are not the Store's business", ignoresSealedChecksums},
	}
}

// sealedBody is a body as it would be of content that is shorter by overhead.
type sealedBody struct {
	object.Body
	overhead int64
	salt     string
}

func (b sealedBody) Digest() object.Digest {
	d := b.Body.Digest()
	d.Overhead, d.Salt = b.overhead, b.salt
	return d
}

// seal returns a body that gives the bytes of held.
func seal(held []byte, overhead int64, salt string) object.Body {
	return sealedBody{NewBody(held, object.CRC64NVME), overhead, salt}
}

// sealing is metadata with a seal.
func sealing(seal string) object.Meta {
	return object.Meta{ContentType: "t", User: map[string]string{"a": "b"}, Seal: seal}
}

// shows checks everything that tells of the object, and the bytes that are held.
func (c *suite) shows(key string, want object.Info, held []byte) {
	c.Helper()
	got, err := c.Stat(c.Context(), ref(key))
	c.ok("stat", err)
	if d := differ(got, want); d != "" {
		c.Errorf("stat %s: %s", key, d)
	}
	h, err := c.Open(c.Context(), ref(key))
	c.ok("open", err)
	c.same("Stat after Open", got, h.Info())
	info := h.Info()
	if info.Held() != int64(len(held)) {
		c.Errorf("%s: %d bytes are held, want %d", key, info.Held(), len(held))
	}
	for _, span := range [][2]int64{{0, info.Held()}, {info.Size, info.Overhead}, {info.Held() / 3, info.Held() - info.Held()/3}} {
		b, err := io.ReadAll(h.Range(span[0], span[1]))
		if err != nil || !bytes.Equal(b, held[span[0]:span[0]+span[1]]) {
			c.Errorf("%s: bytes %v are wrong, %v", key, span, err)
		}
	}
	c.ok("close", h.Close())
	for range 2 { // the second comes from what is remembered, where a Store does
		page, err := c.List(c.Context(), object.Query{Bucket: bucketName, Prefix: key, Limit: 1})
		c.ok("list", err)
		if len(page.Objects) != 1 || page.Objects[0].Size != want.Size || page.Objects[0].ETag != want.ETag {
			c.Errorf("%s is listed as %+v", key, page.Objects)
		}
		versions, err := c.ListVersions(c.Context(), object.VersionQuery{Bucket: bucketName, Prefix: key, Limit: 1})
		c.ok("list versions", err)
		if len(versions.Versions) != 1 || versions.Versions[0].Size != want.Size {
			c.Errorf("%s is listed as %+v", key, versions.Versions)
		}
	}
}

func keepsSealed(c *suite) {
	for i, overhead := range []int64{0, 1, 16, 5000} {
		for _, size := range []int64{0, 1, 3000, 300000} {
			held := pattern(i+1, int(size+overhead))
			key := fmt.Sprintf("k-%d-%d", overhead, size)
			var seen int64
			info, err := c.Put(c.Context(), ref(key), object.PutInput{Body: seal(held, overhead, ""), Meta: sealing("seal")})
			c.ok("put", err)
			if info.Size != size || info.Overhead != overhead || info.Meta.Seal != "seal" {
				c.Errorf("put of %d and %d bytes returned %+v", size, overhead, info)
			}
			c.shows(key, info, held)
			c.ok("check", c.delete(object.Ref{Bucket: bucketName, Key: key}, func(now *object.Info) error {
				seen = now.Size
				return nil
			}))
			if seen != size {
				c.Errorf("a check saw %d bytes, want %d", seen, size)
			}
		}
	}
}

func keepsSeal(c *suite) {
	held := pattern(1, 200000)
	want, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: seal(held, 64, ""), Meta: sealing("seal")})
	c.ok("put", err)
	_, err = c.Update(c.Context(), ref("k"), func(m *object.Meta) error {
		m.Tags = []object.Tag{{Key: "x", Value: "y"}}
		return nil
	})
	c.ok("update", err)
	want.Meta.Tags = []object.Tag{{Key: "x", Value: "y"}}
	c.shows("k", want, held)
	if r, ok := c.Store.(object.Renamer); ok {
		c.ok("rename", r.Rename(c.Context(), ref("k"), ref("new"), object.CopyInput{}))
		want.Key = "new"
		c.shows("new", want, held)
		c.ok("rename", r.Rename(c.Context(), ref("new"), ref("k"), object.CopyInput{}))
	}
	cp, ok := c.Store.(object.Copier)
	if !ok {
		return
	}
	for _, meta := range []*object.Meta{nil, {ContentType: "other"}, {Seal: "another"}} {
		info, err := cp.Copy(c.Context(), ref("k"), ref("copy"), object.CopyInput{Meta: meta})
		c.ok("copy", err)
		if info.Meta.Seal != "seal" || info.Size != want.Size || info.Overhead != 64 || info.ETag != want.ETag {
			c.Errorf("copy with %+v: %+v", meta, info)
		}
		c.shows("copy", info, held)
	}
}

func changesSeal(c *suite) {
	held := pattern(1, 20000)
	want, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: seal(held, 16, ""), Meta: sealing("seal")})
	c.ok("put", err)
	for _, next := range []string{"another", "a third"} {
		got, err := c.Update(c.Context(), ref("k"), func(m *object.Meta) error {
			m.Seal = next
			return nil
		})
		c.ok("update", err)
		want.Meta.Seal = next
		c.same("update", got, want)
		c.shows("k", want, held)
	}
	got, err := c.Update(c.Context(), ref("k"), func(*object.Meta) error { return nil })
	c.ok("update", err)
	c.same("an update of nothing", got, want)
}

// sealedUpload is an upload of three sealed parts.
func (c *suite) sealedUpload(key string) (up object.Upload, held []byte, in object.CompleteInput) {
	c.Helper()
	up, err := c.CreateUpload(c.Context(), object.Upload{
		UploadRef: object.UploadRef{Ref: ref(key)}, Algorithm: object.CRC64NVME, Type: object.FullObject, Meta: sealing("seal of " + key),
	})
	c.ok("create upload", err)
	for i, overhead := range []int64{16, 32, 48} {
		content := pattern(i+1, object.MinPartSize+int(overhead))
		part, err := c.PutPart(c.Context(), up.UploadRef, i+1, seal(content, overhead, fmt.Sprintf("\x00salt %d", i+1)))
		c.ok("put part", err)
		if part.Size != object.MinPartSize || part.Salt != fmt.Sprintf("\x00salt %d", i+1) {
			c.Errorf("part %d: %+v", i+1, part)
		}
		held = append(held, content...)
		in.Parts = append(in.Parts, object.CompletedPart{Number: i + 1, ETag: part.ETag})
	}
	in.Size = 3 * object.MinPartSize
	return up, held, in
}

func completesSealed(c *suite) {
	up, held, in := c.sealedUpload("k")
	found, err := c.StatUpload(c.Context(), up.UploadRef)
	c.ok("stat upload", err)
	if found.Meta.Seal != "seal of k" {
		c.Errorf("the upload has the seal %q", found.Meta.Seal)
	}
	listed, _, err := c.ListParts(c.Context(), up.UploadRef, 0, 10)
	c.ok("list parts", err)
	info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.ok("complete", err)
	if info.Size != 3*object.MinPartSize || info.Overhead != 96 || info.Meta.Seal != "seal of k" || len(info.Parts) != 3 {
		c.Errorf("complete returned %+v", info)
	}
	for i, p := range info.Parts {
		want := object.PartInfo{Number: i + 1, Size: object.MinPartSize, Salt: fmt.Sprintf("\x00salt %d", i+1), Checksum: listed[i].Checksum}
		if p != want {
			c.Errorf("part %d is remembered as %+v, want %+v", i+1, p, want)
		}
	}
	c.shows("k", info, held)
	again, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.ok("complete again", err)
	c.same("a Complete that is repeated", again, info)
}

func ignoresSealedChecksums(c *suite) {
	up, _, in := c.sealedUpload("k")
	in.Checksum = object.Checksum{Algorithm: object.CRC64NVME, Type: object.FullObject, Value: "anything"}
	in.Parts = slices.Clone(in.Parts)
	for i := range in.Parts {
		in.Parts[i].Checksum = object.Checksum{Algorithm: object.CRC32, Type: object.FullObject, Value: "none"}
	}
	info, err := c.CompleteUpload(c.Context(), up.UploadRef, in)
	c.ok("complete", err)
	if info.Checksum != in.Checksum {
		c.Errorf("the checksum is %+v, want what was said: %+v", info.Checksum, in.Checksum)
	}
}
