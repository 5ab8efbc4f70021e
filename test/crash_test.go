package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestKillLosesNothingAcknowledged kills the server while clients write, and
// looks at what the next one serves from the same directory.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 3
	if full() {
		rounds = 20
	}
	dir := t.TempDir()
	s := startOn(t, dir)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	written := map[string][]write{}
	for round := range rounds {
		writers := startWriters(t, s, round)
		time.Sleep(time.Duration(50+rng.IntN(400)) * time.Millisecond) // any instant is a good one
		s.kill(t)
		for _, w := range writers.wait() {
			written[w.key] = append(written[w.key], w)
		}
		s = startOn(t, dir)
		wantWhole(t, s, written)
		wantNothingLeft(t, dir)
	}
}

// write is one that a client tried.
type write struct {
	key          string
	content      []byte
	acknowledged bool
}

// writers are clients that put objects until the server is gone.
type writers struct {
	group sync.WaitGroup
	mu    sync.Mutex
	tried []write
}

// startWriters starts clients with keys of their own: small and large objects,
// overwritten again and again, and uploads by parts.
func startWriters(t *testing.T, s *server, round int) *writers {
	t.Helper()
	w := &writers{}
	for i, size := range []int{100, 100, 3 << 20, 3 << 20} {
		key := fmt.Sprintf("plain-%d-%d", i, round%2)
		w.group.Go(func() {
			for w.put(t, s, key, random(size)) {
			}
		})
	}
	for i := range 2 {
		w.group.Go(func() {
			for n := 0; w.upload(t, s, fmt.Sprintf("parts/%d-%d-%d", i, round, n)); n++ {
			}
		})
	}
	return w
}

// wait returns what was tried, in the order of each key.
func (w *writers) wait() []write {
	w.group.Wait()
	return w.tried
}

func (w *writers) note(key string, content []byte, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = append(w.tried, write{key: key, content: content, acknowledged: err == nil})
	return err == nil
}

func (w *writers) put(t *testing.T, s *server, key string, content []byte) bool {
	_, err := newS3(s, noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(content)})
	return w.note(key, content, err)
}

// upload puts an object of two parts.
func (w *writers) upload(t *testing.T, s *server, key string) bool {
	c, bucket := newS3(s, noRetry), aws.String("bucket")
	made, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String(key)})
	if err != nil {
		return false
	}
	parts := [][]byte{random(5 << 20), random(1000)}
	var done []types.CompletedPart
	for i, part := range parts {
		out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: bucket, Key: aws.String(key), UploadId: made.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part),
		})
		if err != nil {
			return false
		}
		done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1))})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String(key), UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	return w.note(key, bytes.Join(parts, nil), err)
}

// noRetry makes every request one try.
func noRetry(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// wantWhole compares what the server has with what was written: of each key the
// last acknowledged content, or that of a later write that was not answered.
func wantWhole(t *testing.T, s *server, written map[string][]write) {
	t.Helper()
	for key, tried := range written {
		got, err := readS3(newS3(s).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)}))
		missing := errorCode(err) == "NoSuchKey"
		if err != nil && !missing {
			t.Errorf("%s: %v", key, err)
			continue
		}
		last := -1
		for i, w := range tried {
			if w.acknowledged {
				last = i
			}
		}
		if missing {
			if last >= 0 {
				t.Errorf("%s is gone, and was acknowledged", key)
			}
			continue
		}
		allowed := tried[max(0, last):]
		if !containsContent(allowed, got) {
			t.Errorf("%s holds %d bytes that are none of the %d writes it may come from", key, len(got), len(allowed))
		}
	}
}

func containsContent(tried []write, content []byte) bool {
	for _, w := range tried {
		if bytes.Equal(w.content, content) {
			return true
		}
	}
	return false
}

// wantNothingLeft looks for sessions that were killed, and for anything in the
// bucket that is no object of the test.
func wantNothingLeft(t *testing.T, dir string) {
	t.Helper()
	sessions := filepath.Join(dir, ".shoal.sys", "sessions")
	eventually(t, "only the living session is left, without a file", func() bool {
		entries, err := os.ReadDir(sessions)
		must(t, err)
		return len(entries) == 1 && len(filesIn(t, sessions)) == 0
	})
	for _, path := range filesIn(t, filepath.Join(dir, "bucket")) {
		if !strings.HasPrefix(filepath.Base(path), "plain-") && !strings.Contains(path, "/parts/") {
			t.Errorf("%s is in the bucket", path)
		}
	}
}

// filesIn returns what is not a directory below a directory.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked
		}
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	must(t, err)
	return files
}
