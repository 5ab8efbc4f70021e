package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// number returns the value of a variable, by which a test can be made larger.
func number(t *testing.T, variable string, normally int) int {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		return normally
	}
	n, err := strconv.Atoi(value)
	must(t, err)
	return n
}

// span is number for a time.
func span(t *testing.T, variable string, normally time.Duration) time.Duration {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		return normally
	}
	d, err := time.ParseDuration(value)
	must(t, err)
	return d
}

// TestManyKeysAreListedByPagesWhileOthersWrite has a user of the share make
// SHOAL_TEST_KEYS files, in one directory and in a thousand, and lists them, each
// page by another gateway, while keys come and go.
func TestManyKeysAreListedByPagesWhileOthersWrite(t *testing.T) {
	keys := number(t, "SHOAL_TEST_KEYS", 12_000)
	for name, keyOf := range map[string]func(i int) string{
		"in one directory": func(i int) string { return fmt.Sprintf("all/%07d", i) },
		"in a tree":        func(i int) string { return fmt.Sprintf("dir%03d/%07d", i*1000/keys, i) },
	} {
		t.Run(name, func(t *testing.T) {
			fleet := startFleet(t, 3)
			var c []*s3.Client
			for _, s := range fleet {
				c = append(c, newS3(s))
			}
			bucket := aws.String("bucket")
			_, err := c[0].CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
			must(t, err)
			makeFiles(t, filepath.Join(fleet[0].dir, *bucket), keys, keyOf)
			stop := comeAndGo(t, c, func(i int) string { return keyOf(i*(keys/1000)) + ".new" })
			defer stop()
			for round := range 2 {
				listAll(t, c, round, keys, keyOf)
			}
		})
	}
}

// makeFiles makes files as a user of the share does.
func makeFiles(t *testing.T, root string, n int, keyOf func(i int) string) {
	t.Helper()
	began := time.Now()
	made := map[string]bool{}
	for i := range n {
		path := filepath.Join(root, filepath.FromSlash(keyOf(i)))
		if dir := filepath.Dir(path); !made[dir] {
			must(t, os.MkdirAll(dir, 0o755))
			made[dir] = true
		}
		must(t, os.WriteFile(path, nil, 0o644))
	}
	t.Logf("%d files made in %.1f s", n, time.Since(began).Seconds())
}

// comeAndGo has each gateway put and delete keys, about twenty a second, until stop.
func comeAndGo(t *testing.T, c []*s3.Client, keyOf func(i int) string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var group sync.WaitGroup
	for g := range c {
		group.Go(func() {
			tick := time.NewTicker(time.Second / 20)
			defer tick.Stop()
			for i := g; ; i += len(c) {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				key := keyOf(i % 1000)
				_, err := c[g].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader("x")})
				if err == nil && i%2 == 0 {
					_, err = c[g].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: &key})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		group.Wait()
	}
}

// listAll lists the bucket, and looks that each file that was there all the time is
// there once, in order.
func listAll(t *testing.T, c []*s3.Client, round, n int, keyOf func(i int) string) {
	t.Helper()
	var took []time.Duration
	next, token, began := 0, (*string)(nil), time.Now()
	for page := 0; ; page++ {
		asked := time.Now()
		got, err := c[page%len(c)].ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), ContinuationToken: token})
		must(t, err)
		took = append(took, time.Since(asked))
		for _, o := range got.Contents {
			if strings.HasSuffix(*o.Key, ".new") {
				continue
			}
			if next == n || *o.Key != keyOf(next) {
				t.Fatalf("page %d has %s where file %d should be", page, *o.Key, next)
			}
			next++
		}
		if token = got.NextContinuationToken; token == nil {
			break
		}
	}
	if next != n {
		t.Errorf("listed %d of %d files", next, n)
	}
	first := took[:min(3, len(took))]
	t.Logf("round %d: %d pages in %.1f s; the first of each gateway %v; median %v, 99th of a hundred %v, longest %v", round, len(took), time.Since(began).Seconds(),
		first, quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1))
}

func quantile(all []time.Duration, q float64) time.Duration {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))].Round(10 * time.Microsecond)
}
