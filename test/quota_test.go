package test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	quotaReached = "XMinioAdminBucketQuotaExceeded"
	mib          = 1 << 20
)

// TestAQuotaHoldsOverAllGateways fills a bucket through three gateways at the same time.
func TestAQuotaHoldsOverAllGateways(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	a.mc.run(t, "quota", "set", "g1/bucket", "--size", "10MiB")
	if out := a.mc.run(t, "quota", "info", "g2/bucket"); !strings.Contains(out, "10 MiB") {
		t.Errorf("mc shows %s", out)
	}
	content := make([]byte, mib)
	put := func(gateway int, key string) string {
		c := newS3(a.fleet[gateway%3], noRetry)
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(content)})
		if err != nil {
			return errorCode(err)
		}
		return ""
	}
	var stored atomic.Int32
	var writers sync.WaitGroup
	for i := range 30 {
		writers.Go(func() {
			switch code := put(i, fmt.Sprint("k", i)); code {
			case "":
				stored.Add(1)
			case quotaReached:
			default:
				t.Errorf("gateway %d answers %s", i%3, code)
			}
		})
	}
	writers.Wait()
	list, err := newS3(a.fleet[0]).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
	if err != nil {
		t.Fatal(err)
	}
	if stored.Load() != 10 || len(list.Contents) != 10 {
		t.Fatalf("%d objects of 1 MiB were stored and %d are there, of 10 that fit", stored.Load(), len(list.Contents))
	}
	// What one gateway frees another one can use.
	for i, o := range list.Contents[:3] {
		if _, err := newS3(a.fleet[i]).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: o.Key}); err != nil {
			t.Fatal(err)
		}
		if code := put(i+1, fmt.Sprint("again", i)); code != "" {
			t.Errorf("after a deletion, another gateway answers %s", code)
		}
		if code := put(i+2, "more"); code != quotaReached {
			t.Errorf("then the third answers %q", code)
		}
	}
	// A gateway that dies with room in its hands does not give it to nobody.
	awaitVotes(t, a.fleet[1])
	a.fleet[0].kill(t)
	for _, gateway := range []int{1, 2} {
		if code := put(gateway, "more"); code != quotaReached {
			t.Errorf("after a gateway died, another answers %q", code)
		}
	}
}
