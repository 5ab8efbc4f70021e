package test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// theService is the service of the bed of a Docker Swarm.
const theService = "s3_shoal"

// docker runs the client to its end and returns what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestASwarmServiceLosesNothing has clients write, with the retries of their SDK
// alone, while the service's tasks are killed and, one after the other, replaced.
func TestASwarmServiceLosesNothing(t *testing.T) {
	url := os.Getenv("SHOAL_TEST_SWARM")
	if url == "" {
		t.Skip("needs a Docker Swarm: test/beds/run swarm")
	}
	service := &server{url: url}
	eventually(t, "the service is ready", func() bool { return service.probe("/minio/health/ready") == 200 })
	c, ctx, bucket := newS3(service), t.Context(), aws.String("bucket")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	for what, disturb := range map[string]func(){
		"a rolling update": func() { docker(t, "service", "update", "--force", "--detach=false", "--quiet", theService) },
		"a task is killed": func() {
			tasks := strings.Fields(docker(t, "ps", "-q", "--filter", "name="+theService))
			docker(t, "kill", tasks[0])
			time.Sleep(20 * time.Second) // for Swarm to start another one
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := &steady{c: c, bucket: bucket, prefix: strings.ReplaceAll(what, " ", "-"), stop: make(chan struct{})}
			for id := range 4 {
				w.group.Go(func() { w.write(t, id) })
			}
			began := time.Now()
			disturb()
			close(w.stop)
			w.group.Wait()
			t.Logf("%.0f s: %d writes acknowledged, %d failed, the longest took %v", time.Since(began).Seconds(), len(w.written), w.failed, w.longest)
			if w.failed > 0 || len(w.written) == 0 {
				t.Errorf("%d writes failed, the last with %v", w.failed, w.last)
			}
			for _, key := range w.written {
				if got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})); err != nil || string(got) != key {
					t.Errorf("%s was acknowledged, and is %q, %v", key, got, err)
				}
			}
		})
	}
}

// steady is clients that write all the time.
type steady struct {
	c      *s3.Client
	bucket *string
	prefix string
	stop   chan struct{}
	group  sync.WaitGroup

	mu      sync.Mutex
	written []string
	failed  int
	last    error // that one failed with
	longest time.Duration
}

func (w *steady) write(t *testing.T, id int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		key, began := fmt.Sprintf("%s/%d/%d", w.prefix, id, i), time.Now()
		_, err := w.c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: w.bucket, Key: &key, Body: strings.NewReader(key)})
		w.mu.Lock()
		if err != nil {
			w.failed, w.last = w.failed+1, err
		} else {
			w.written, w.longest = append(w.written, key), max(w.longest, time.Since(began))
		}
		w.mu.Unlock()
	}
}
