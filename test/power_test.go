package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestACutOfThePowerLosesNothingAcknowledged runs twice on one disk: on a machine that is
// switched off while clients write, and on the one that is switched on after that.
func TestACutOfThePowerLosesNothingAcknowledged(t *testing.T) {
	outside := os.Getenv("SHOAL_TEST_OUTSIDE")
	if outside == "" {
		t.Skip("needs a machine to switch off: test/beds/run power")
	}
	acknowledged := filepath.Join(outside, "acknowledged")
	s := startOn(t, os.Getenv("SHOAL_TEST_DISK"))
	c, bucket := newS3(s, noRetry), aws.String("bucket")
	told, err := os.ReadFile(acknowledged) //nolint:gosec // the bed's
	if errors.Is(err, fs.ErrNotExist) {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
		must(t, err)
		writeUntilTheCut(t, c, *bucket, acknowledged)
	}
	must(t, err)
	last := map[string]int{}
	for line := range strings.Lines(string(told)) {
		var key string
		var n int
		if _, err := fmt.Sscan(line, &key, &n); err == nil { // the last line may be cut as well
			last[key] = n
		}
	}
	for key, n := range last {
		got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key}))
		must(t, err)
		var in string
		var found int
		if _, err := fmt.Sscan(string(got), &in, &found); err != nil || found < n || !bytes.Equal(got, nth(key, found)) {
			t.Errorf("%s, of which write %d was acknowledged, has %d bytes of write %d of %q", key, n, len(got), found, in)
		}
	}
	t.Logf("%d keys are as they should be", len(last))
}

// nth is what is written to a key in its n-th write.
func nth(key string, n int) []byte {
	size := 100
	if n%4 == 0 {
		size = 300_000
	}
	line := fmt.Sprintln(key, n)
	return []byte(strings.Repeat(line, 1+size/len(line)))
}

// writeUntilTheCut overwrites keys, and notes outside of the machine what was acknowledged,
// until the machine is switched off.
func writeUntilTheCut(t *testing.T, c *s3.Client, bucket, acknowledged string) {
	f, err := os.Create(acknowledged) //nolint:gosec // the bed's
	must(t, err)
	defer f.Close()
	var mu sync.Mutex
	noted := 0
	note := func(key string, n int) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintln(f, key, n)
		if noted++; noted == 300 {
			must(t, os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0o200))
		}
		return errors.Join(err, f.Sync())
	}
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d/%d", worker, n%5)
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(nth(key, n))})
				if err = errors.Join(err, note(key, n)); err != nil {
					t.Errorf("write %d of %s: %v", n, key, err)
					return
				}
			}
		})
	}
	group.Wait()
	t.FailNow()
}
