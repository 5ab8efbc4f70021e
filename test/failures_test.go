package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestGuessingSlowsDownNobodyElse has ann's and unknown keys be guessed from her own
// address while she works.
func TestGuessingSlowsDownNobodyElse(t *testing.T) {
	t.Parallel()
	s := start(t, "--metrics-auth", "public")
	a := administerFleet(t, []*server{s})
	a.mc.run(t, "mb", "g0/bucket")
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	guess := func(accessKey, secret string) string {
		_, err := newS3(s, noRetry, as(accessKey, secret)).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		return errorCode(err)
	}
	var guessers sync.WaitGroup
	for i := range 2 {
		guessers.Go(func() {
			for j := range 7 {
				for accessKey, want := range map[string]string{"ann": "SignatureDoesNotMatch", fmt.Sprint("nobody-", i, j): "InvalidAccessKeyId"} {
					if got := guess(accessKey, "a wrong guess"); got != want && got != "SlowDown" {
						t.Errorf("a guess for %s is answered %s", accessKey, got)
					}
				}
			}
		})
	}
	for i := range 50 {
		_, err := newS3(s, noRetry, as("ann", "ann's secret")).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(fmt.Sprint("k", i)), Body: strings.NewReader("x")})
		must(t, err)
	}
	guessers.Wait()
	if out, err := a.mc.try(t, "alias", "set", "wrong", s.url, "ann", "a wrong guess"); err == nil || !strings.Contains(out, "signature") {
		t.Errorf("mc with a wrong secret: %v: %s", err, out)
	}
	a.mc.run(t, "alias", "set", "right", s.url, "ann", "ann's secret")

	page, err := http.Get(s.url + "/minio/v2/metrics/cluster")
	must(t, err)
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	must(t, err)
	if !strings.Contains(string(text), `shoal_s3_failed_authentications_total{reason="access_key"} 14`) {
		t.Errorf("the metrics do not tell of 14 unknown keys:\n%s", text)
	}
	told := false
	for _, line := range s.lines(t) {
		told = told || line["msg"] == "failed to prove who it is" && line["user"] == "ann"
		if strings.Contains(fmt.Sprint(line), "nobody-") && line["msg"] != "access" {
			t.Errorf("an unknown access key is logged: %v", line)
		}
	}
	if !told {
		t.Error("the log does not tell of failures")
	}
}
