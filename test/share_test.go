package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestFilesOfTheShareAreObjects works on the directory as a user of the share
// does, while S3 clients look on.
func TestFilesOfTheShareAreObjects(t *testing.T) {
	s := start(t)
	c := newS3(s)
	bucket := aws.String("photos")
	get := func(key string) (string, error) {
		got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key)}))
		return string(got), err
	}
	album := filepath.Join(s.dir, "photos", "2026", "summer")
	must(t, os.MkdirAll(album, 0o755))
	must(t, os.WriteFile(filepath.Join(album, "beach.jpg"), []byte("one"), 0o644))
	if got, err := get("2026/summer/beach.jpg"); err != nil || got != "one" {
		t.Errorf("a new file: %q, %v", got, err)
	}
	before := etag(t, c, "photos", "2026/summer/beach.jpg")

	must(t, os.WriteFile(filepath.Join(album, "beach.jpg"), []byte("two"), 0o644))
	if got, err := get("2026/summer/beach.jpg"); err != nil || got != "two" {
		t.Errorf("an edited file: %q, %v", got, err)
	}
	if after := etag(t, c, "photos", "2026/summer/beach.jpg"); after == before {
		t.Errorf("the ETag is still %s", after)
	}

	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("2026/summer/beach.jpg"), Range: aws.String("bytes=1-"), IfMatch: &before})
	wantCode(t, err, "PreconditionFailed") // who loads it in parts notices the edit between two of them

	must(t, os.Rename(filepath.Join(album, "beach.jpg"), filepath.Join(album, "sea.jpg")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(album, "link.jpg")))
	must(t, syscall.Mkfifo(filepath.Join(album, "pipe.jpg"), 0o644))
	if got := keys(t, c, "photos"); !slices.Equal(got, []string{"2026/summer/sea.jpg"}) {
		t.Errorf("listed %q", got)
	}
	for _, key := range []string{"2026/summer/beach.jpg", "2026/summer/link.jpg", "2026/summer/pipe.jpg"} {
		_, err := get(key)
		wantCode(t, err, "NoSuchKey")
	}

	// And the other way round: what S3 writes is a file.
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copies/sea.jpg"), CopySource: aws.String("photos/2026/summer/sea.jpg")})
	must(t, err)
	if got := readFile(t, filepath.Join(s.dir, "photos", "copies", "sea.jpg")); string(got) != "two" {
		t.Errorf("the copy's file holds %q", got)
	}
}

// TestABackupThatIsPutBackIsServedByAllGatewaysOfOneTree copies a bucket on the server, has
// what is in it overwritten and deleted, and copies it back while gateways serve it: all of
// them show what was before, with none of the metadata of what it replaces.
func TestABackupThatIsPutBackIsServedByAllGatewaysOfOneTree(t *testing.T) {
	theFileServer(t)
	fleet := startFleet(t, 3)
	bucket, all := aws.String("bucket"), []string{"d/0", "d/1", "d/2", "d/e/3", "4"}
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s))
	}
	_, err := c[0].CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(version string) {
		for i, key := range all {
			_, err := c[i%3].PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: bucket, Key: &key, Body: strings.NewReader(version + " " + key), Metadata: map[string]string{"version": version}, Tagging: aws.String("version=" + version),
			})
			must(t, err)
		}
	}
	copied := func(from, to string) {
		if out, err := exec.Command("cp", "-a", "--remove-destination", from+"/.", to).CombinedOutput(); err != nil { //nolint:gosec // in the bed
			t.Fatalf("%v: %s", err, out)
		}
	}
	tree := filepath.Join(exported, filepath.Base(fleet[0].dir))
	bucketDir, backup := filepath.Join(tree, *bucket), tree+".backup"
	put("old")
	copied(bucketDir, backup)
	put("new")
	replaced := etag(t, c[0], *bucket, all[0])
	_, err = c[2].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: &all[3]})
	must(t, err)
	copied(backup, bucketDir)
	for _, key := range all {
		var etags []string
		for i := range c {
			eventually(t, fmt.Sprintf("gateway %d shows %s as it was", i, key), func() bool {
				got, err := readS3(c[i].GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key}))
				return err == nil && string(got) == "old "+key
			})
			head, err := c[i].HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: &key})
			must(t, err)
			tags, err := c[i].GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: &key})
			must(t, err)
			if head.Metadata["version"] == "new" || len(tags.TagSet) > 0 && *tags.TagSet[0].Value == "new" {
				t.Errorf("gateway %d shows %s with the metadata of another one: %v, %v", i, key, head.Metadata, tags.TagSet)
			}
			etags = append(etags, etag(t, c[i], *bucket, key))
		}
		if len(slices.Compact(etags)) > 1 || etags[0] == replaced {
			t.Errorf("%s has the ETags %q", key, etags)
		}
	}
}

// etag returns the ETag of an object, which HEAD and a listing must agree on.
func etag(t *testing.T, c *s3.Client, bucket, key string) string {
	t.Helper()
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	must(t, err)
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(key)})
	must(t, err)
	if len(list.Contents) != 1 || aws.ToString(list.Contents[0].ETag) != aws.ToString(head.ETag) {
		t.Errorf("%s: HEAD says %s, the listing %v", key, aws.ToString(head.ETag), list.Contents)
	}
	return aws.ToString(head.ETag)
}

// keys returns the keys of a bucket that has less than a page of them.
func keys(t *testing.T, c *s3.Client, bucket string) []string {
	t.Helper()
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	must(t, err)
	var keys []string
	for _, o := range list.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	return keys
}
