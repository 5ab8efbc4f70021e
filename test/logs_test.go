package test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestTheLogOfAllGatewaysIsWatchedAtOne has each of three log a failure, and some of what
// they logged before.
func TestTheLogOfAllGatewaysIsWatchedAtOne(t *testing.T) {
	t.Parallel()
	a := administer(t)
	a.admin(t, "user", "add", "@", "probe", "secret of probe")
	probe := newS3(a.fleet[1], noRetry, as("probe", "a wrong secret"))
	heard := watch(t, a.mc, func() {
		if _, err := probe.ListBuckets(t.Context(), &s3.ListBucketsInput{}); errorCode(err) != "SignatureDoesNotMatch" && errorCode(err) != "SlowDown" {
			t.Error(err)
		}
	}, "admin", "logs", "--json", "g0")
	var begun, failed []string
	for _, s := range a.fleet {
		at := strings.TrimPrefix(s.url, "http://")
		begun, failed = append(begun, at), append(failed, at)
	}
	for g := range a.fleet {
		if out, err := a.mc.try(t, "alias", "set", "wrong", a.fleet[g].url, user, "a wrong secret"); err == nil {
			t.Errorf("a wrong secret is right: %s", out)
		}
	}
	for len(begun)+len(failed) > 0 {
		select {
		case line := <-heard:
			var l struct{ Node, Message, ConsoleMsg string }
			must(t, json.Unmarshal([]byte(line), &l))
			if strings.Contains(line, password) || l.Message == "access" {
				t.Errorf("watched %s", line)
			}
			switch l.Message {
			case "serving":
				begun = slices.DeleteFunc(begun, func(at string) bool { return at == l.Node })
			case "failed to prove who it is":
				failed = slices.DeleteFunc(failed, func(at string) bool { return at == l.Node && strings.Contains(l.ConsoleMsg, "user="+user) })
			}
		case <-time.After(time.Minute):
			t.Fatalf("not heard: the start of %v, the failures of %v", begun, failed)
		}
	}
}
