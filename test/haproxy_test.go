package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// startHAProxy starts HAProxy with the configuration that we ship at an address, in front of
// gateways at others, and returns its URL.
func startHAProxy(t *testing.T, at string, gateways []string) string {
	t.Helper()
	shipped, err := os.ReadFile("../deploy/haproxy/haproxy.cfg")
	must(t, err)
	cfg := strings.Replace(string(shipped), "bind :80", "bind "+at, 1)
	n := 0
	cfg = regexp.MustCompile(`192\.0\.2\.\d+:9000`).ReplaceAllStringFunc(cfg, func(string) string {
		n++
		return gateways[n-1]
	})
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	must(t, os.WriteFile(path, []byte(cfg), 0o600))
	cmd := exec.Command("haproxy", "-f", path)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if cmd.Path, err = exec.LookPath("haproxy"); err != nil {
		cmd.Path, cmd.Err = "/usr/sbin/haproxy", nil
	}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			lines := strings.Split(log.String(), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	url := "http://" + at
	eventually(t, "HAProxy has a gateway", func() bool {
		resp, err := http.Get(url + "/minio/health/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return url
}

// proxied is three gateways of one tree behind HAProxy, which can be started anew where they were.
type proxied struct {
	dir      string
	at       []string // their addresses
	gateways []*server
	url      string // of HAProxy
}

func startProxied(t *testing.T) *proxied {
	t.Helper()
	hosts, port := addresses(t, 4)
	p := &proxied{dir: t.TempDir(), gateways: make([]*server, 3)}
	for i := range p.gateways {
		p.at = append(p.at, net.JoinHostPort(hosts[i], port))
		p.start(t, i)
	}
	p.url = startHAProxy(t, net.JoinHostPort(hosts[3], port), p.at)
	return p
}

func (p *proxied) start(t *testing.T, i int) {
	t.Helper()
	p.gateways[i] = startOn(t, p.dir, "--address", p.at[i], "--shutdown-delay", "2s")
}

// TestGatewaysDieBehindHAProxy lets clients read and write through HAProxy while
// the gateways behind it are killed and stopped one after the other, each when the
// one before is made up for. A read, and a write that the SDK may repeat, never fails.
func TestGatewaysDieBehindHAProxy(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	c := newS3(&server{url: p.url})
	bucket := aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	content := random(100 << 10)
	for i := range 8 {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String(fmt.Sprint("read-", i)), Body: bytes.NewReader(content)})
		must(t, err)
	}
	// HAProxy cannot ask another gateway when one dies whose answer has begun: then it is for the client to.
	read := func(key *string) ([]byte, error) {
		got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			got, err = readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}))
		}
		return got, err
	}
	var reads, writes atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for id := range 4 {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				got, err := read(aws.String(fmt.Sprint("read-", n%8)))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("read: %d bytes, %v", len(got), err)
				}
				reads.Add(1)
				key := aws.String(fmt.Sprintf("write-%d-%d", id, n%10))
				if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content[:n%1000])}); err != nil {
					t.Errorf("write: %v", err)
				}
				writes.Add(1)
				got, err = read(key)
				if err != nil || !bytes.Equal(got, content[:n%1000]) {
					t.Errorf("read one's own write: %d bytes of %d, %v", len(got), n%1000, err)
				}
			}
		})
	}
	for i, s := range p.gateways {
		time.Sleep(2 * time.Second)
		awaitVotes(t, p.gateways[(i+1)%len(p.gateways)])
		if i == 1 {
			s.stop(t)
		} else {
			s.kill(t)
		}
		time.Sleep(time.Second)
		p.start(t, i)
	}
	time.Sleep(2 * time.Second)
	close(stop)
	group.Wait()
	t.Logf("%d reads, %d writes", reads.Load(), writes.Load())
}

// TestGatewaysAreReplacedOneByOneBehindHAProxy stops and starts all of them in turn, as an update
// does, while clients write, and tells the longest time that a write took.
func TestGatewaysAreReplacedOneByOneBehindHAProxy(t *testing.T) {
	t.Parallel()
	p := startProxied(t)
	c, bucket := newS3(&server{url: p.url}), aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	w := &steady{c: c, bucket: bucket, prefix: "key", stop: make(chan struct{})}
	for id := range 4 {
		w.group.Go(func() { w.write(t, id) })
	}
	for i, s := range p.gateways {
		s.stop(t)
		p.start(t, i)
		time.Sleep(2 * time.Second) // as long as HAProxy may take to find it
	}
	close(w.stop)
	w.group.Wait()
	t.Logf("%d writes acknowledged, %d failed, the longest took %v", len(w.written), w.failed, w.longest)
	if w.failed > 0 || len(w.written) == 0 {
		t.Errorf("%d writes failed, the last with %v", w.failed, w.last)
	}
	for _, key := range w.written {
		if got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key})); err != nil || string(got) != key {
			t.Errorf("%s was acknowledged, and is %q, %v", key, got, err)
		}
	}
}
