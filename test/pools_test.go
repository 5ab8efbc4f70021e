package test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// addDrives gives each of the nodes, which are not running, another drive: as a set of its own.
func (c *nodes) addDrives(t *testing.T) {
	t.Helper()
	c.flags = []string{"--set-size", fmt.Sprint(len(c.servers))}
	for i := range c.servers {
		must(t, os.MkdirAll(c.drive(i, c.drives), 0o700))
	}
	c.drives++
}

// awaitMoved waits until a node has said that all objects are where they are to be.
func (c *nodes) awaitMoved(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		for _, s := range c.servers {
			for _, line := range s.lines(t) {
				if line["msg"] == "all objects are where they are to be" {
					return
				}
			}
		}
	}
	t.Fatal("the objects are not where they are to be within 2 minutes")
}

// TestObjectsMoveToDrivesThatAreAdded adds a set of drives to one that holds objects and an
// upload, while clients use hot keys and nodes are killed and frozen. What was there before is
// there after.
func TestObjectsMoveToDrivesThatAreAdded(t *testing.T) {
	c, all := startNodes(t, 4, 1), contents()
	for i := range 300 {
		all[fmt.Sprintf("many/%d", i)] = []byte(fmt.Sprint("content ", i))
	}
	c.makeBucket(t)
	c.putAll(t, 0, all)
	content := random(6 << 20)
	finish := beginUpload(t, newS3(c.servers[0]), "assembled", content)
	for _, s := range c.servers {
		s.stop(t)
	}
	c.addDrives(t)
	c.start(t)
	testLinearizable(t, 8*time.Second, c.servers)
	c.awaitMoved(t)
	for key, content := range all {
		c.expect(t, len(content)%4, key, content)
	}
	finish(newS3(c.servers[1]))
	c.expect(t, 2, "assembled", content)
	page, err := newS3(c.servers[3]).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: aws.String("many/")})
	must(t, err)
	if len(page.Contents) != 300 {
		t.Errorf("%d of 300 keys are listed", len(page.Contents))
	}
}

// beginUpload uploads a part, and returns what completes the upload through a server.
func beginUpload(t *testing.T, c *s3.Client, key string, content []byte) (finish func(c *s3.Client)) {
	t.Helper()
	bucket := aws.String("bucket")
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key})
	must(t, err)
	part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(content)})
	must(t, err)
	parts := &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}}
	return func(c *s3.Client) {
		t.Helper()
		_, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: parts})
		must(t, err)
	}
}
