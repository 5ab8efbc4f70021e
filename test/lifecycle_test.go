package test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestLifecycleRulesAreCarriedOut has a rule with a date that is past, so that what
// it is about goes in the next round.
func TestLifecycleRulesAreCarriedOut(t *testing.T) {
	s := start(t, "--lifecycle-interval", "200ms")
	c, ctx, bucket := newS3(s), t.Context(), aws.String("bucket")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	for _, key := range []string{"tmp/gone", "kept"} {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: strings.NewReader("x")})
		must(t, err)
	}
	_, err = c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
		Rules: []types.LifecycleRule{{
			Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")},
			Expiration: &types.LifecycleExpiration{Date: aws.Time(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))},
		}},
	}})
	must(t, err)
	eventually(t, "the object is gone", func() bool {
		list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
		return err == nil && len(list.Contents) == 1 && *list.Contents[0].Key == "kept"
	})
}
