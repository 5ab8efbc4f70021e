package test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// oddKeys are keys that a file system could take for one another, refuse, or show as
// something else: in their order.
func oddKeys() []string {
	keys := []string{
		"a", "a/", "a//b", "a/b", "/a", ".", "..", "a/./b", "a/../c", "Foo", "foo", "FOO/x", "foo/x", "CON", "aux.txt", "nul", `a\b`, "a:b", `*?<>|"`, "dot.", "space ", " ",
		"\u00e9", "e\u0301", "\u65e5\u672c", "\x01", "new\nline", "\x7f", "%41", "=e=%41", "=0=", "=f=a", ".nfs0123456789abcdef01234567", ".snapshot/x", ".shoal.sys/format", "lost+found",
		strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("d/", 200) + "deep", strings.Repeat("l", 1024),
	}
	slices.Sort(keys)
	return keys
}

// TestKeysOfEveryShapeAreKeysOfOneTree puts each through one gateway, reads it through
// the next, lists it, and deletes it through a third.
func TestKeysOfEveryShapeAreKeysOfOneTree(t *testing.T) {
	t.Parallel()
	fleet := startFleet(t, 3)
	ctx, bucket := t.Context(), aws.String("bucket")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	keys := oddKeys()
	for i, key := range keys {
		_, err := c[i%3].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("of " + key)})
		if err != nil {
			t.Errorf("put %.50q: %v", key, err)
		}
	}
	for i, key := range keys {
		got, err := readS3(c[(i+1)%3].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key}))
		if err != nil || string(got) != "of "+key {
			t.Errorf("get %.50q: %.50q, %v", key, got, err)
		}
	}
	for i := range c {
		if listed := decodedKeys(t, c[i], *bucket); !slices.Equal(listed, keys) {
			t.Errorf("gateway %d lists %.50q", i, listed)
		}
	}
	for i, key := range keys {
		_, err := c[(i+2)%3].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key})
		must(t, err)
		if i == len(keys)/2 {
			if listed := decodedKeys(t, c[0], *bucket); !slices.Equal(listed, keys[i+1:]) {
				t.Errorf("half of them deleted, listed are %.50q", listed)
			}
		}
	}
	if listed := decodedKeys(t, c[1], *bucket); len(listed) > 0 {
		t.Errorf("all deleted, listed are %.50q", listed)
	}
}

// decodedKeys returns the keys of a bucket, of which XML could not tell some.
func decodedKeys(t *testing.T, c *s3.Client, bucket string) (keys []string) {
	t.Helper()
	page, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, EncodingType: types.EncodingTypeUrl})
	must(t, err)
	for _, o := range page.Contents {
		key, err := url.QueryUnescape(*o.Key)
		must(t, err)
		keys = append(keys, key)
	}
	return keys
}
