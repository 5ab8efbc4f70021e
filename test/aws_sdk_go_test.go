package test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// newS3 returns a client of AWS' SDK for Go for the server, with checksums as
// its default configuration has them.
func newS3(s *server, options ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.url), Region: region, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(user, password, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}, options...)
}

func TestAWSSDKForGo(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := t.Context()
	c := newS3(s)
	bucket := aws.String("bucket")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	manager := transfermanager.New(c)
	for _, size := range sizes() {
		transferThereAndBack(t, manager, randomFile(t, size))
	}
	content := random(1000)
	put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: bytes.NewReader(content)})
	must(t, err)
	if put.ChecksumCRC32 == nil {
		t.Error("the default checksum was not returned")
	}
	got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k"), Range: aws.String("bytes=100-149")}))
	if err != nil || !bytes.Equal(got, content[100:150]) {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}
	_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copied"), CopySource: aws.String("bucket/k")})
	must(t, err)
	got, err = readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("copied")}))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("copy: %d bytes, %v", len(got), err)
	}
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	wantCode(t, err, "PreconditionFailed")

	presigner := s3.NewPresignClient(c)
	link, err := presigner.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("by url")})
	must(t, err)
	send(t, link.URL, bytes.NewReader(content), int64(len(content)))
	link, err = presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("by url")})
	must(t, err)
	fetch(t, link.URL, content)

	fill(t, s, "many")
	if n := emptyBucket(t, c, "many"); n != manyKeys() {
		t.Errorf("listed %d keys", n)
	}
	emptyBucket(t, c, "bucket")
	for _, b := range []string{"many", "bucket"} {
		_, err = c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(b)})
		must(t, err)
	}
	wantNoBuckets(t, s)
}

// transferThereAndBack uploads a file and downloads it, by parts where it is
// large.
func transferThereAndBack(t *testing.T, manager *transfermanager.Client, file string) {
	t.Helper()
	from, err := os.Open(file)
	must(t, err)
	defer from.Close()
	key := aws.String("dir/" + filepath.Base(file))
	_, err = manager.UploadObject(t.Context(), &transfermanager.UploadObjectInput{Bucket: aws.String("bucket"), Key: key, Body: from})
	must(t, err)
	back := filepath.Join(t.TempDir(), "back")
	to, err := os.Create(back)
	must(t, err)
	defer to.Close()
	_, err = manager.DownloadObject(t.Context(), &transfermanager.DownloadObjectInput{Bucket: aws.String("bucket"), Key: key, WriterAt: to})
	must(t, err)
	sameContent(t, file, back)
}

// TestChecksumInTrailer uploads over TLS, where the SDK sends the checksum
// behind the content in a trailer.
func TestChecksumInTrailer(t *testing.T) {
	certs := newCerts(t, "localhost")
	s := start(t, "--certs-dir", certs.dir)
	seen := &trailerWatch{next: certs.transport("")}
	c := newS3(s, func(o *s3.Options) { o.HTTPClient = &http.Client{Transport: seen} })
	bucket := aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	for algorithm, sum := range map[types.ChecksumAlgorithm]func(*s3.HeadObjectOutput) *string{
		types.ChecksumAlgorithmCrc32:     func(o *s3.HeadObjectOutput) *string { return o.ChecksumCRC32 },
		types.ChecksumAlgorithmCrc32c:    func(o *s3.HeadObjectOutput) *string { return o.ChecksumCRC32C },
		types.ChecksumAlgorithmCrc64nvme: func(o *s3.HeadObjectOutput) *string { return o.ChecksumCRC64NVME },
		types.ChecksumAlgorithmSha1:      func(o *s3.HeadObjectOutput) *string { return o.ChecksumSHA1 },
		types.ChecksumAlgorithmSha256:    func(o *s3.HeadObjectOutput) *string { return o.ChecksumSHA256 },
		types.ChecksumAlgorithmSha512:    func(o *s3.HeadObjectOutput) *string { return o.ChecksumSHA512 },
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			content := random(200_000)
			key := aws.String(string(algorithm))
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content), ChecksumAlgorithm: algorithm})
			must(t, err)
			if want := "x-amz-checksum-" + strings.ToLower(string(algorithm)); !strings.EqualFold(seen.trailer, want) {
				t.Errorf("the SDK announced the trailer %q, want %q", seen.trailer, want)
			}
			head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
			must(t, err)
			if sum(head) == nil {
				t.Error("the checksum was not kept")
			}
			// The SDK compares the content with the checksum that comes with it.
			got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled}))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// trailerWatch notes which trailer the last request announced.
type trailerWatch struct {
	next    http.RoundTripper
	trailer string
}

func (w *trailerWatch) RoundTrip(req *http.Request) (*http.Response, error) {
	if trailer := req.Header.Get("X-Amz-Trailer"); trailer != "" {
		w.trailer = trailer
	}
	return w.next.RoundTrip(req)
}

// readS3 returns the content of an answer to GetObject.
func readS3(out *s3.GetObjectOutput, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// emptyBucket removes every object page by page and returns how many it listed.
func emptyBucket(t *testing.T, c *s3.Client, bucket string) int {
	t.Helper()
	listed := 0
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		must(t, err)
		var doomed []types.ObjectIdentifier
		for _, o := range page.Contents {
			doomed = append(doomed, types.ObjectIdentifier{Key: o.Key})
		}
		listed += len(doomed)
		out, err := c.DeleteObjects(context.Background(), &s3.DeleteObjectsInput{Bucket: aws.String(bucket), Delete: &types.Delete{Objects: doomed}})
		must(t, err)
		for _, failed := range out.Errors {
			t.Errorf("delete %s: %s", aws.ToString(failed.Key), aws.ToString(failed.Code))
		}
	}
	return listed
}

// wantCode fails the test if the error is not the S3 error of that code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := errorCode(err); got != code {
		t.Errorf("%v, want %s", err, code)
	}
}

// errorCode returns the S3 code of an error, "" if it is none.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
