package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestVersioningIsInForceOnEveryGatewayAtOnce has writers on all gateways of a
// fleet while versioning is enabled: from the moment that it is, nothing that was
// written is lost.
func TestVersioningIsInForceOnEveryGatewayAtOnce(t *testing.T) {
	fleet := startFleet(t, 3)
	ctx, bucket := t.Context(), aws.String("bucket")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s, noRetry))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(g int, content string) string {
		out, err := c[g].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader(content)})
		must(t, err)
		return aws.ToString(out.VersionId)
	}
	put(1, "before")
	_, err = c[0].PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	must(t, err)
	var mu sync.Mutex
	made := map[string]string{"null": "before"}
	var group sync.WaitGroup
	for g := range c {
		group.Go(func() {
			for i := range 10 {
				content := fmt.Sprintf("%d of gateway %d", i, g)
				id := put(g, content)
				mu.Lock()
				made[id] = content
				mu.Unlock()
			}
		})
	}
	group.Wait()
	list, err := c[2].ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
	must(t, err)
	if len(made) != 31 || len(list.Versions) != len(made) {
		t.Errorf("%d versions were made, %d are listed", len(made), len(list.Versions))
	}
	for i, v := range list.Versions {
		got, err := readS3(c[i%3].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: v.Key, VersionId: v.VersionId}))
		if err != nil || string(got) != made[*v.VersionId] || *v.IsLatest != (i == 0) {
			t.Errorf("version %s, latest %v: %q, %v; want %q", *v.VersionId, *v.IsLatest, got, err, made[*v.VersionId])
		}
	}
	removed, err := c[1].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k")})
	must(t, err)
	for g := range c {
		_, err := c[g].HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k")})
		wantCode(t, err, "NotFound")
	}
	_, err = c[2].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: removed.VersionId})
	must(t, err)
	for g := range c {
		got, err := c[g].HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k")})
		if err != nil || *got.VersionId != *list.Versions[0].VersionId {
			t.Errorf("gateway %d, after the delete of the marker: %v", g, err)
		}
	}
}

// mcKeepsVersions does what people do with mc and versions.
func mcKeepsVersions(t *testing.T, mc *cli) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "k")
	mc.run(t, "mb", "x/kept")
	mc.run(t, "version", "enable", "x/kept")
	for _, content := range []string{"one", "two"} {
		must(t, os.WriteFile(file, []byte(content), 0o600))
		mc.run(t, "cp", file, "x/kept/k")
	}
	mc.run(t, "rm", "x/kept/k")
	if out := mc.run(t, "ls", "--versions", "x/kept"); strings.Count(out, " PUT ") != 2 || strings.Count(out, " DEL ") != 1 {
		t.Errorf("versions:\n%s", out)
	}
	mc.run(t, "undo", "x/kept/k")
	if got := mc.run(t, "cat", "x/kept/k"); got != "two" {
		t.Errorf("after the undo: %q", got)
	}
	mc.run(t, "rm", "--recursive", "--force", "--versions", "x/kept")
	mc.run(t, "rb", "x/kept")
}
