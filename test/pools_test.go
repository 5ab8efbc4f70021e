package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// layOutPools makes the drives of four nodes that name them in pools, which are of a drive of each. A
// drive has the same path on all nodes, and leads to a directory that each of them works in.
func layOutPools(t *testing.T, pools int) *nodes {
	t.Helper()
	c := layOut(t, 4, 0)
	for i := range c.servers {
		c.at[i].work = filepath.Join(c.dir, fmt.Sprint("n", i+1))
		for pool := range pools {
			must(t, os.MkdirAll(filepath.Join(c.at[i].work, fmt.Sprint("d", pool)), 0o700))
		}
	}
	return c
}

// poolName is what a pool is named as.
func (c *nodes) poolName(pool int) string {
	return fmt.Sprintf("http://%s{1...4}:%s/proc/self/cwd/d%d", strings.TrimSuffix(c.name(0), "1"), c.port, pool)
}

// restart kills all nodes that run, and starts them with other pools.
func (c *nodes) restart(t *testing.T, pools ...string) {
	t.Helper()
	c.killAll()
	c.pools = pools
	c.start(t)
}

// administer runs a command through the first node, and returns what it printed, if the node could
// answer.
func (c *nodes) administer(t *testing.T, args ...string) (out string, answered bool) {
	t.Helper()
	out, _, code := shoal(t, serverEnv(t.TempDir()), append(append([]string{"admin"}, args...), "--json", "--url", c.servers[0].url)...)
	return out, code == 0
}

// drained reports whether the first pool is.
func (c *nodes) drained(t *testing.T) bool {
	t.Helper()
	var shown []struct{ State string }
	out, answered := c.administer(t, "pool", "ls")
	return answered && json.Unmarshal([]byte(out), &shown) == nil && shown[0].State == "drained"
}

// refuse starts the nodes without a pool that holds something, and looks that they end and say so.
func (c *nodes) refuse(t *testing.T, named, missing string) {
	t.Helper()
	c.killAll()
	c.pools = []string{named}
	for i := range c.servers {
		c.launch(t, i).code = 4
	}
	eventually(t, "a node ends that was started without a pool that holds something", func() bool {
		for _, s := range c.servers {
			select {
			case <-s.exited:
				return strings.Contains(s.log(t), "hold something") && strings.Contains(s.log(t), missing)
			default:
			}
		}
		return false
	})
}

// killAll kills all nodes; those that have ended it leaves alone.
func (c *nodes) killAll() {
	for _, s := range c.servers {
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// TestDrivesAreReplacedByAddingAPoolAndDrainingTheFirst adds a pool of drives to one that holds objects,
// versions, an upload and users, and drains the first one, while clients use hot keys and nodes are
// killed and frozen. Without its drives everything is there that was before.
func TestDrivesAreReplacedByAddingAPoolAndDrainingTheFirst(t *testing.T) {
	t.Parallel()
	c, all := layOutPools(t, 2), contents()
	c.pools = []string{c.poolName(0)}
	c.start(t)
	for i := range 300 {
		all[fmt.Sprintf("many/%d", i)] = []byte(fmt.Sprint("content ", i))
	}
	c.makeBucket(t)
	c.putAll(t, 0, all)
	versions := putVersions(t, newS3(c.servers[2]))
	ann, content := c.addUser(t, "ann"), random(6<<20)
	finish := beginUpload(t, newS3(c.servers[0]), "assembled", content)
	c.restart(t, c.poolName(0), c.poolName(1))
	eventually(t, "the pool is being drained", func() bool {
		_, answered := c.administer(t, "pool", "drain", c.poolName(0))
		return answered
	})
	testLinearizable(t, 8*time.Second, c.servers)
	for deadline := time.Now().Add(2 * time.Minute); !c.drained(t); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the pool is not drained within 2 minutes")
		}
	}
	c.refuse(t, c.poolName(0), c.poolName(1))
	for i := range c.servers {
		must(t, os.RemoveAll(filepath.Join(c.at[i].work, "d0")))
	}
	c.restart(t, c.poolName(1))
	for key, content := range all {
		c.expectAs(t, len(content)%4, key, content, ann)
	}
	finish(newS3(c.servers[1]))
	c.expect(t, 2, "assembled", content)
	versions(newS3(c.servers[1]))
	page, err := newS3(c.servers[3]).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: aws.String("many/")})
	must(t, err)
	if len(page.Contents) != 300 {
		t.Errorf("%d of 300 keys are listed", len(page.Contents))
	}
}

// putVersions makes versions and delete markers in a bucket of their own, and returns what looks that
// they are there.
func putVersions(t *testing.T, c *s3.Client) (expect func(c *s3.Client)) {
	t.Helper()
	bucket := aws.String("history")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	must(t, err)
	for i := range 20 {
		key := fmt.Sprint("k", i%10)
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(fmt.Sprint("version ", i))})
		must(t, err)
		if i%3 == 0 {
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: &key})
			must(t, err)
		}
	}
	list := func(c *s3.Client) (all []string) {
		page, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket})
		must(t, err)
		for _, v := range page.Versions {
			all = append(all, fmt.Sprint(*v.Key, *v.VersionId, *v.ETag, *v.IsLatest))
		}
		for _, m := range page.DeleteMarkers {
			all = append(all, fmt.Sprint(*m.Key, *m.VersionId, *m.IsLatest))
		}
		return all
	}
	before := list(c)
	return func(c *s3.Client) {
		t.Helper()
		if after := list(c); len(before) != 27 || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("there were the versions %v, and now there are %v", before, after)
		}
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
