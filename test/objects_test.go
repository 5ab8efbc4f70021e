package test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// deed is what a client does to an object. An object is known by its ETag, and by ""
// if there is none.
type deed struct {
	what string
	to   string // what the object is to be then
	from string // what it has to be before
}

// What clients do.
const (
	reading   = "read"
	writing   = "write"   // or removing, whatever there is
	comparing = "compare" // and then writing or removing
)

// result is what came of it.
type result struct {
	seen             string // by who reads
	refused, unknown bool
}

// beingAnObject is the model of an object with one client at a time. A change whose
// outcome is not known is made some time, or after all that was seen.
func beingAnObject() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			now, in, out := state.(string), input.(deed), output.(result)
			switch {
			case in.what == reading:
				return out.seen == now, now
			case in.what == comparing && in.from != now:
				return out.refused || out.unknown, now
			}
			return !out.refused, in.to
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// TestTheModelOfAnObjectRefusesWhatCannotBe shows what histories are looked through for.
func TestTheModelOfAnObjectRefusesWhatCannotBe(t *testing.T) {
	done := result{}
	for name, c := range map[string]struct {
		history []porcupine.Operation // one after the other
		want    porcupine.CheckResult
	}{
		"one after the other": {[]porcupine.Operation{{Input: deed{writing, "a", ""}, Output: done}, {Input: deed{reading, "", ""}, Output: result{seen: "a"}}}, porcupine.Ok},
		"a stale read": {[]porcupine.Operation{
			{Input: deed{writing, "a", ""}, Output: done}, {Input: deed{writing, "b", ""}, Output: done}, {Input: deed{reading, "", ""}, Output: result{seen: "a"}},
		}, porcupine.Illegal},
		"a write that is lost":                 {[]porcupine.Operation{{Input: deed{writing, "a", ""}, Output: done}, {Input: deed{reading, "", ""}, Output: result{}}}, porcupine.Illegal},
		"two who create it":                    {[]porcupine.Operation{{Input: deed{comparing, "a", ""}, Output: done}, {Input: deed{comparing, "b", ""}, Output: done}}, porcupine.Illegal},
		"a creator who is refused for nothing": {[]porcupine.Operation{{Input: deed{comparing, "a", ""}, Output: result{refused: true}}}, porcupine.Illegal},
		"what is removed comes back": {[]porcupine.Operation{
			{Input: deed{writing, "a", ""}, Output: done}, {Input: deed{writing, "", ""}, Output: done}, {Input: deed{reading, "", ""}, Output: result{seen: "a"}},
		}, porcupine.Illegal},
		"what may have been written late": {[]porcupine.Operation{
			{ClientId: 1, Input: deed{writing, "a", ""}, Output: result{unknown: true}, Return: math.MaxInt64}, {Input: deed{reading, "", ""}, Output: done}, {Input: deed{reading, "", ""}, Output: result{seen: "a"}},
		}, porcupine.Ok},
	} {
		for i := range c.history {
			c.history[i].Call, c.history[i].Return = int64(2*i), max(c.history[i].Return, int64(2*i+1))
		}
		if got := porcupine.CheckOperationsTimeout(beingAnObject(), c.history, time.Minute); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

// objectsTurn is how long keys are used before the next: a history with many changes
// whose outcome is not known takes long to be checked.
const objectsTurn = 4 * time.Second

// objectClient does everything that can be done to few objects, through whichever
// gateway.
type objectClient struct {
	t      *testing.T
	id     int
	began  time.Time
	random *rand.Rand
	made   int // contents, no two of which are the same
	note   func(key string, op porcupine.Operation)
}

// objectBuckets are where they lie; the second keeps versions.
func objectBuckets() []string { return []string{"objects", "versions"} }

// makeObjectBuckets makes the buckets.
func makeObjectBuckets(t *testing.T, c *s3.Client) {
	t.Helper()
	for _, bucket := range objectBuckets() {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		must(t, err)
	}
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String("versions"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	must(t, err)
}

// operate does one thing, through c.
func (o *objectClient) operate(c *s3.Client) {
	bucket := objectBuckets()[o.random.IntN(2)]
	turn := fmt.Sprintf("turn%d/", time.Since(o.began)/objectsTurn)
	keys := []string{turn + "a", turn + "b/c"}
	key := keys[o.random.IntN(2)]
	switch o.random.IntN(8) {
	case 0:
		o.list(c, bucket, turn, keys)
	case 1:
		o.head(c, bucket, key)
	case 2:
		o.remove(c, bucket, key)
	case 3:
		o.upload(c, bucket, key)
	case 4, 5:
		o.put(c, bucket, key)
	case 6:
		o.create(c, bucket, key)
	case 7:
		o.replace(c, bucket, key)
	}
	o.get(c, bucket, key)
}

// change notes a change that do makes.
func (o *objectClient) change(bucket, key string, d deed, do func() error) {
	op := porcupine.Operation{ClientId: o.id, Input: d, Call: int64(time.Since(o.began))}
	err := do()
	op.Return = int64(time.Since(o.began))
	switch code := errorCode(err); {
	case err == nil:
		op.Output = result{}
	case d.what == comparing && (code == "PreconditionFailed" || code == "NoSuchKey" || code == "ConditionalRequestConflict"):
		op.Output = result{refused: true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return // nobody has heard of it
	case unavailable(err): // nothing was changed
		time.Sleep(backoff)
		return
	default:
		op.Output, op.Return = result{unknown: true}, math.MaxInt64
	}
	o.note(bucket+"/"+key, op)
	if op.Output.(result).unknown {
		time.Sleep(backoff)
	}
}

// saw notes what was read since call.
func (o *objectClient) saw(bucket, key string, call time.Duration, etag string) {
	o.note(bucket+"/"+key, porcupine.Operation{ClientId: o.id, Input: deed{what: reading}, Output: result{seen: etag}, Call: int64(call), Return: int64(time.Since(o.began))})
}

// content returns what is to be written, which nobody else writes.
func (o *objectClient) content() string {
	o.made++
	return fmt.Sprintf("%d of %d", o.made, o.id)
}

func etagOfText(content string) string {
	sum := md5.Sum([]byte(content)) //nolint:gosec // see the import
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// etagOfPart returns the ETag of an object that was uploaded as one part.
func etagOfPart(content string) string {
	part := md5.Sum([]byte(content)) //nolint:gosec // see the import
	sum := md5.Sum(part[:])          //nolint:gosec // see the import
	return `"` + hex.EncodeToString(sum[:]) + `-1"`
}

// belongs looks that an ETag is that of a content, which the metadata tells too.
func (o *objectClient) belongs(key, etag, content string) {
	if etag != etagOfText(content) && etag != etagOfPart(content) {
		o.t.Errorf("%s has the ETag %s and the content or metadata of another object: %q", key, etag, content)
	}
}

func (o *objectClient) get(c *s3.Client, bucket, key string) (etag string, known bool) {
	call := time.Since(o.began)
	got, err := c.GetObject(o.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	content, err := readS3(got, err)
	switch {
	case err == nil:
		etag = aws.ToString(got.ETag)
		o.belongs(key, etag, string(content))
		o.belongs(key, etag, got.Metadata["content"])
	case errorCode(err) != "NoSuchKey":
		return "", false // a read that failed says nothing
	}
	o.saw(bucket, key, call, etag)
	return etag, true
}

func (o *objectClient) head(c *s3.Client, bucket, key string) {
	call, etag := time.Since(o.began), ""
	got, err := c.HeadObject(o.t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	switch {
	case err == nil:
		etag = aws.ToString(got.ETag)
		o.belongs(key, etag, got.Metadata["content"])
	case errorCode(err) != "NotFound":
		return
	}
	o.saw(bucket, key, call, etag)
}

func (o *objectClient) list(c *s3.Client, bucket, prefix string, keys []string) {
	call := time.Since(o.began)
	page, err := c.ListObjectsV2(o.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	if err != nil {
		return
	}
	for _, key := range keys {
		etag := ""
		if i := slices.IndexFunc(page.Contents, func(listed types.Object) bool { return *listed.Key == key }); i >= 0 {
			etag = aws.ToString(page.Contents[i].ETag)
		}
		o.saw(bucket, key, call, etag)
	}
}

func (o *objectClient) put(c *s3.Client, bucket, key string) {
	content := o.content()
	o.change(bucket, key, deed{what: writing, to: etagOfText(content)}, func() error { return o.send(c, bucket, key, content, nil, nil) })
}

func (o *objectClient) create(c *s3.Client, bucket, key string) {
	content := o.content()
	o.change(bucket, key, deed{what: comparing, to: etagOfText(content)}, func() error { return o.send(c, bucket, key, content, nil, aws.String("*")) })
}

func (o *objectClient) replace(c *s3.Client, bucket, key string) {
	from, known := o.get(c, bucket, key)
	if !known || from == "" {
		return
	}
	content := o.content()
	o.change(bucket, key, deed{comparing, etagOfText(content), from}, func() error { return o.send(c, bucket, key, content, &from, nil) })
}

func (o *objectClient) send(c *s3.Client, bucket, key, content string, ifMatch, ifNoneMatch *string) error {
	_, err := c.PutObject(o.t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(content), Metadata: map[string]string{"content": content}, IfMatch: ifMatch, IfNoneMatch: ifNoneMatch,
	})
	return err
}

func (o *objectClient) remove(c *s3.Client, bucket, key string) {
	o.change(bucket, key, deed{what: writing}, func() error {
		_, err := c.DeleteObject(o.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		return err
	})
}

// upload writes an object as one part.
func (o *objectClient) upload(c *s3.Client, bucket, key string) {
	ctx, content := o.t.Context(), o.content()
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, Metadata: map[string]string{"content": content}})
	if err != nil {
		return
	}
	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte(content))})
	if err != nil {
		return
	}
	o.change(bucket, key, deed{what: writing, to: etagOfPart(content)}, func() error {
		_, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
			Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC32: part.ChecksumCRC32}},
		}})
		return err
	})
}
