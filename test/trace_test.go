package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestATraceHasTheCallsOfAllGateways traces at one gateway what happens at three.
func TestATraceHasTheCallsOfAllGateways(t *testing.T) {
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	get := func(gateway int, key string) {
		_, err := newS3(a.fleet[gateway], noRetry).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
		if errorCode(err) != "NoSuchKey" {
			t.Errorf("gateway %d has %s: %v", gateway, key, err)
		}
	}
	heard := watch(t, a.mc, func() { get(1, "probe") }, "admin", "trace", "--json", "--errors", "g0")
	for g := range a.fleet {
		get(g, fmt.Sprint("missing-", g))
	}
	var wait []string
	for _, s := range a.fleet {
		wait = append(wait, strings.TrimPrefix(s.url, "http://"))
	}
	for len(wait) > 0 {
		select {
		case line := <-heard:
			var call struct {
				Host, Path string
				StatusCode int `json:"statusCode"`
			}
			must(t, json.Unmarshal([]byte(line), &call))
			if strings.Contains(line, password) || call.StatusCode < 400 {
				t.Errorf("traced %s", line)
			}
			if strings.Contains(call.Path, "missing-") {
				wait = slices.DeleteFunc(wait, func(at string) bool { return at == call.Host })
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing was traced of %v", wait)
		}
	}
}
