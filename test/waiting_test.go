package test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestAGatewayThatCannotJoinSaysSo keeps one out that does not know the secret of the one that is there, until that has
// ended. A probe of whether it lives succeeds all the time: whoever watches it would only start it anew.
func TestAGatewayThatCannotJoinSaysSo(t *testing.T) {
	t.Parallel()
	hosts, port := addresses(t, 1)
	first := start(t)
	s := launch(t, []string{"SHOAL_CLUSTER_SECRET=another than the first one has"}, place{host: "127.0.0.1"}, first.dir, "--address", net.JoinHostPort(hosts[0], port))
	s.url = "http://" + net.JoinHostPort(hosts[0], port)
	eventually(t, "it lives", func() bool { return s.probe("/minio/health/live") == http.StatusOK })
	eventually(t, "it says why it is not ready", func() bool {
		_, said, code := shoal(t, serverEnv(t.TempDir()), "health", s.url)
		return code == 3 && strings.Contains(said, "503") && strings.Contains(said, "SHOAL_CLUSTER_SECRET")
	})
	for path, want := range map[string]int{
		"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/minio/health/cluster": http.StatusServiceUnavailable,
		"/minio/health/cluster/read": http.StatusServiceUnavailable, "/minio/shoal/node": http.StatusServiceUnavailable, "/bucket/key": http.StatusServiceUnavailable,
	} {
		if got := s.probe(path); got != want {
			t.Errorf("while it waits %s is %d, want %d", path, got, want)
		}
	}
	_, err := newS3(s, noRetry).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	wantCode(t, err, "ServerNotInitialized")
	if out, said, _ := shoal(t, serverEnv(t.TempDir()), "admin", "info", "--url", s.url); !strings.Contains(out, "offline") || !strings.Contains(out, "SHOAL_CLUSTER_SECRET") {
		t.Errorf("the root user is told %s%s", out, said)
	}

	var watch sync.WaitGroup
	over := make(chan struct{})
	watch.Go(func() {
		for {
			if got := s.probe("/minio/health/live"); got != http.StatusOK {
				t.Errorf("while it begins to serve a probe of whether it lives gets %d", got)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	first.stop(t)
	s.waitReady(t)
	close(over)
	watch.Wait()
	if _, err := newS3(s, noRetry).ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Errorf("once it is ready: %v", err)
	}
}
