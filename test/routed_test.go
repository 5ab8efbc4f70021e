package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// routing has gateways route on a file system that they could share directly. On
// mounts of file servers the mount decides.
func routing(t *testing.T) []string {
	t.Helper()
	if len(list("SHOAL_TEST_MOUNTS")) > 0 {
		t.Skip("the mount decides whether gateways route")
	}
	return []string{"--mount-mode", "routed", "--mount-stale", "500ms"}
}

func TestGatewaysThatRouteAreOneOfOneTree(t *testing.T) {
	t.Parallel()
	testAreOne(t, startFleet(t, 3, routing(t)...))
}

// TestRoutedFleetIsLinearizable has owners of buckets killed, frozen and replaced.
func TestRoutedFleetIsLinearizable(t *testing.T) {
	t.Parallel()
	testLinearizable(t, 10*time.Second, startFleet(t, 3, routing(t)...))
}

// TestGatewaysThatRouteGoOnWhereTwoDoNotReachEachOther has every gateway serve the buckets of all others
// while two of them do not hear each other, and then two others, with small and with large objects.
func TestGatewaysThatRouteGoOnWhereTwoDoNotReachEachOther(t *testing.T) {
	t.Parallel()
	flags := routing(t)
	l, places := newLab(t, 3)
	dir := mountsOfOneTree(t)[0].dir
	var c []*s3.Client
	var fleet []*server
	for i, p := range places {
		fleet = append(fleet, startAt(t, p, dir, append(flags, "--cluster-address", fmt.Sprintf("10.214.0.%d:9002", i+1))...))
		c = append(c, newS3(fleet[i], noRetry))
	}
	var buckets []string
	for i := range 6 { // each gateway owns some
		buckets = append(buckets, fmt.Sprintf("bucket-%d", i))
		_, err := c[0].CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &buckets[i]})
		must(t, err)
	}
	large := random(20 << 20)
	all := func(when string) {
		for _, bucket := range buckets {
			for i := range c {
				for _, content := range [][]byte{[]byte(when), large} {
					key := fmt.Sprint(when, len(content), i)
					_, err := c[i].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
					if err != nil {
						t.Fatalf("%s: gateway %d does not put into %s: %v", when, i, bucket, err)
					}
					got, err := readS3(c[(i+1)%3].GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))
					if err != nil || !bytes.Equal(got, content) {
						t.Fatalf("%s: gateway %d reads %d bytes of %d of %s, %v", when, (i+1)%3, len(got), len(content), bucket, err)
					}
				}
			}
		}
	}
	all("at first")
	for _, pair := range [][2]int{{0, 1}, {1, 2}} { // the leader is in one of them, or in both
		between := fmt.Sprintf(" %d and %d", pair[0], pair[1])
		l.lose(t, pair[0], pair[1], true)
		l.lose(t, pair[1], pair[0], true)
		time.Sleep(10 * time.Second) // whoever takes somebody for dead has done so, and joined anew
		for i, s := range fleet {
			eventually(t, fmt.Sprintf("gateway %d is ready", i), func() bool { return s.probe("/minio/health/ready") == http.StatusOK })
		}
		all("nothing goes between" + between)
		l.lose(t, pair[0], pair[1], false)
		l.lose(t, pair[1], pair[0], false)
		all("right after nothing went between" + between)
		time.Sleep(10 * time.Second) // all speak to each other directly
		all("after nothing went between" + between)
	}
}

// TestLargeObjectsPassThroughTheOwner sends and reads objects through each of
// three gateways, of which at most one owns the bucket, and copies them between
// buckets of different owners.
func TestLargeObjectsPassThroughTheOwner(t *testing.T) {
	t.Parallel()
	size := 40 << 20
	fleet := startFleet(t, 3, routing(t)...)
	ctx := t.Context()
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s))
	}
	buckets := []string{"bucket-a", "bucket-b", "bucket-c", "bucket-d"}
	var creations sync.WaitGroup
	for _, bucket := range buckets {
		creations.Go(func() {
			_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
			if err != nil {
				t.Error(err)
			}
		})
	}
	creations.Wait()
	for g := range c {
		listed, err := c[g].ListBuckets(ctx, &s3.ListBucketsInput{})
		if err != nil || len(listed.Buckets) != len(buckets) {
			t.Errorf("gateway %d lists %d buckets, %v", g, len(listed.Buckets), err)
		}
	}
	content := random(size)
	sum := sha256.Sum256(content)
	holds := func(g int, bucket string) {
		t.Helper()
		got, err := c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("big")})
		must(t, err)
		defer got.Body.Close()
		hash := sha256.New()
		if n, err := io.Copy(hash, got.Body); err != nil || n != int64(size) || !bytes.Equal(hash.Sum(nil), sum[:]) {
			t.Errorf("gateway %d has %d bytes of %s, %v", g, n, bucket, err)
		}
	}
	for g := range c {
		_, err := c[g].PutObject(ctx, &s3.PutObjectInput{Bucket: &buckets[0], Key: aws.String("big"), Body: bytes.NewReader(content)})
		must(t, err)
		holds((g+1)%len(c), buckets[0])
	}
	for i, bucket := range buckets[1:] {
		_, err := c[i].CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("big"), CopySource: aws.String(buckets[i] + "/big")})
		must(t, err)
		holds((i+1)%len(c), bucket)
	}
	copyParts(t, c, buckets, content)
}

// copyParts makes an object of parts of another bucket's, at all gateways.
func copyParts(t *testing.T, c []*s3.Client, buckets []string, content []byte) {
	t.Helper()
	ctx, key := t.Context(), aws.String("assembled")
	up, err := c[0].CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &buckets[1], Key: key})
	must(t, err)
	var parts []types.CompletedPart
	const partSize = 8 << 20
	for i := range 3 {
		copied, err := c[i].UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: &buckets[1], Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)),
			CopySource: aws.String(buckets[i] + "/big"), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", i*partSize, (i+1)*partSize-1)),
		})
		must(t, err)
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: copied.CopyPartResult.ETag, ChecksumCRC32: copied.CopyPartResult.ChecksumCRC32})
	}
	_, err = c[1].CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &buckets[1], Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	must(t, err)
	got, err := readS3(c[2].GetObject(ctx, &s3.GetObjectInput{Bucket: &buckets[1], Key: key}))
	if err != nil || !bytes.Equal(got, content[:3*partSize]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestGatewaysMustShareInOneWay(t *testing.T) {
	first := start(t, "--mount-mode", "direct")
	_, errOut, code := shoal(t, serverEnv(t.TempDir()), append([]string{"server", "--address", "127.0.0.1:0", first.dir}, routing(t)...)...)
	if code != 4 {
		t.Errorf("code %d, %s", code, errOut)
	}
	first.stop(t)
	startOn(t, first.dir, routing(t)...)
}
