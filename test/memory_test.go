package test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestManyUploadsInBoundedMemory uploads 64 objects at once, whose content
// together is far more than the server may hold.
func TestManyUploadsInBoundedMemory(t *testing.T) {
	const limitMiB = 150
	size := int64(16 << 20)
	if full() {
		size = 64 << 20
	}
	s := start(t)
	c := newS3(s)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String("bucket"), Key: aws.String(fmt.Sprint(i)),
				Body: io.LimitReader(zeros{}, size), ContentLength: aws.Int64(size),
			}, unsignedPayload)
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if peak := peakMiB(t, s.cmd.Process.Pid); peak > limitMiB {
		t.Errorf("the server held %d MiB, more than %d", peak, limitMiB)
	}
}

// TestAServersThreadsMayWakeUpLate looks at the slack of its timers, which takes rights to see.
func TestAServersThreadsMayWakeUpLate(t *testing.T) {
	s := start(t)
	slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", s.cmd.Process.Pid))
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("not allowed to see that of another process")
	}
	must(t, err)
	if got := strings.TrimSpace(string(slack)); got != "500000" {
		t.Errorf("they have %s ns", got)
	}
}

// zeros is content without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// peakMiB returns how much memory a process has held at most (proc(5)).
func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.Atoi(fields[1])
			must(t, err)
			return kib / 1024
		}
	}
	t.Fatalf("no VmHWM of process %d", pid)
	return 0
}
