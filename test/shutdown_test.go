package test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestTerminationLetsRequestsEnd(t *testing.T) {
	s := start(t)
	c := newS3(s)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	content := random(64 << 20) // more than the buffers between us hold
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: bytes.NewReader(content)})
	must(t, err)

	download, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	must(t, err)
	link, err := s3.NewPresignClient(c).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("slow")})
	must(t, err)
	upload, body := io.Pipe()
	uploaded := make(chan struct{})
	go func() {
		defer close(uploaded)
		send(t, link.URL, upload, 8<<20)
	}()
	_, err = body.Write(content[:4<<20])
	must(t, err)

	sessions := filepath.Join(s.dir, ".shoal.sys", "sessions")
	eventually(t, "the upload is under way", func() bool { return len(filesIn(t, sessions)) > 0 })

	s.terminate(t)
	eventually(t, "no new connection is taken", func() bool { return s.probe("/minio/health/live") == 0 })
	_, err = body.Write(content[4<<20 : 8<<20])
	must(t, err)
	must(t, body.Close())
	<-uploaded
	got, err := readS3(download, nil)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the download under way: %d bytes, %v", len(got), err)
	}
	<-s.exited
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := filesIn(t, sessions); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLoadBalancersHearOfTerminationFirst(t *testing.T) {
	s := start(t, "--shutdown-delay", "3s")
	s.terminate(t)
	eventually(t, "the readiness check answers 503", func() bool { return s.probe("/minio/health/ready") == http.StatusServiceUnavailable })
	if status := s.probe("/minio/health/live"); status != http.StatusOK {
		t.Errorf("liveness: %d", status)
	}
	if _, err := newS3(s, noRetry).ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Errorf("a request in the delay: %v", err)
	}
}

// TestASecondSignalEndsAServerAtOnce: of whatever kind the first one was.
func TestASecondSignalEndsAServerAtOnce(t *testing.T) {
	t.Parallel()
	for _, first := range []os.Signal{syscall.SIGHUP, os.Interrupt, syscall.SIGTERM} {
		if signal.Ignored(first) {
			continue // as under nohup: the server ignores it as well
		}
		s := start(t, "--shutdown-delay", "1m")
		must(t, s.cmd.Process.Signal(first))
		eventually(t, "it has heard of the first", func() bool { return s.probe("/minio/health/ready") == http.StatusServiceUnavailable })
		begun := time.Now()
		s.terminate(t)
		s.code = -1 // by the signal itself
		if <-s.exited; time.Since(begun) > 30*time.Second {
			t.Errorf("after %v it went on for %v", first, time.Since(begun))
		}
	}
}

func TestDrainEndsAtItsLimit(t *testing.T) {
	s := start(t, "--drain", "1s")
	c := newS3(s)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: bytes.NewReader(random(64 << 20))})
	must(t, err)
	download, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	must(t, err)
	defer download.Body.Close()
	s.stop(t)
	if !strings.Contains(s.log(t), "broken off") {
		t.Errorf("the log does not tell that a request was broken off:\n%s", s.log(t))
	}
}

// TestAStopAtTheStartIsOrderly stops servers before they are ready, whatever they are at: on files as on drives.
func TestAStopAtTheStartIsOrderly(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"files": t.TempDir(), "drives": fourDrives(t)} {
		t.Run(name, func(t *testing.T) {
			for after := 40 * time.Millisecond; after < 400*time.Millisecond; after += 24 * time.Millisecond {
				s := launch(t, nil, place{host: "127.0.0.1"}, dir)
				time.Sleep(after)
				s.terminate(t)
				<-s.exited
				log, ended := s.log(t), s.cmd.ProcessState
				s.code = ended.ExitCode()
				early := !ended.Exited() && log == "" // by the signal itself, which nobody heard yet
				if !early && ended.ExitCode() != 0 || strings.Contains(log, `"level":"ERROR"`) {
					t.Errorf("after %v: %v\n%s", after, ended, log)
				}
			}
		})
	}
}
