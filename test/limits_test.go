package test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// TestLimitsHoldAtAllGatewaysAsSoonAsTheyAreSet has a user who is limited to a third of a
// request a second at each of three gateways ask for more.
func TestLimitsHoldAtAllGatewaysAsSoonAsTheyAreSet(t *testing.T) {
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	env := serverEnv(t.TempDir())
	set := func(want string, args ...string) {
		t.Helper()
		out, errOut, code := shoal(t, env, args...)
		if code != 0 || strings.TrimSpace(out) != want {
			t.Fatalf("%v: exit %d: %s %s", args, code, out, errOut)
		}
	}
	refused := func(gateway int) (n int) {
		c := newS3(a.fleet[gateway], noRetry, as("ann", "ann's secret"))
		for range 20 {
			_, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("bucket")})
			answer := new(smithyhttp.ResponseError)
			switch {
			case err == nil:
			case errors.As(err, &answer) && answer.HTTPStatusCode() == 503 && answer.Response.Header.Get("Retry-After") != "":
				n++
			default:
				t.Errorf("gateway %d: %v", gateway, err)
			}
		}
		return n
	}
	set(`{"name":"ann","requests":1}`, "admin", "user", "limits", "ann", "--json", "--requests", "1", "--url", a.fleet[0].url)
	for g := range a.fleet {
		if refused(g) == 0 {
			t.Errorf("gateway %d admits 20 requests at a third of one a second", g)
		}
	}
	set(`{"name":"ann"}`, "admin", "user", "limits", "ann", "--json", "--reset", "--url", a.fleet[1].url)
	for g := range a.fleet {
		if n := refused(g); n != 0 {
			t.Errorf("with the limit lifted gateway %d refuses %d", g, n)
		}
	}

	// A third of 1.5 MiB is saved, so that the other half takes a second at least.
	put(t, a.fleet[0], "key", mib)
	set(`{"down":1572864}`, "bucket", "limits", "--down", "1536KiB", a.fleet[2].url+"/bucket")
	began := time.Now()
	got, err := newS3(a.fleet[1], noRetry).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	must(t, err)
	content, err := io.ReadAll(got.Body)
	must(t, errors.Join(err, got.Body.Close()))
	if took := time.Since(began); len(content) != mib || took < time.Second-50*time.Millisecond {
		t.Errorf("%d bytes came in %v", len(content), took)
	}
}

// put stores an object of so many bytes.
func put(t *testing.T, s *server, key string, size int) {
	t.Helper()
	_, err := newS3(s, noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader(strings.Repeat("x", size))})
	must(t, err)
}
