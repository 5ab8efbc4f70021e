package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// makeDrives makes n empty directories, and returns their parent and how a server is told
// of them.
func makeDrives(t *testing.T, n int) (parent, named string) {
	t.Helper()
	parent = t.TempDir()
	for i := range n {
		must(t, os.Mkdir(filepath.Join(parent, fmt.Sprint("d", i+1)), 0o700))
	}
	return parent, fmt.Sprintf("%s/d{1...%d}", parent, n)
}

// fourDrives returns what a server is told of four new drives in one directory.
func fourDrives(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 4 {
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprint("d", i+1)), 0o700))
	}
	return filepath.Join(dir, "d{1...4}")
}

func putS3(t *testing.T, s *server, key string, content []byte) {
	t.Helper()
	_, err := newS3(s).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(content)})
	must(t, err)
}

// TestKillLosesNothingOnDrives is TestKillLosesNothingAcknowledged for erasure mode, where a
// drive is away in every other round.
func TestKillLosesNothingOnDrives(t *testing.T) {
	t.Parallel()
	rounds := 4
	if full() {
		rounds = 20
	}
	parent, named := makeDrives(t, 4)
	s := startOn(t, named)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	written := map[string][]write{}
	for round := range rounds {
		writers := startWriters(t, s, round)
		time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond) // any instant is a good one
		s.kill(t)
		for _, w := range writers.wait() {
			written[w.key] = append(written[w.key], w)
		}
		drive := filepath.Join(parent, fmt.Sprint("d", round%4+1))
		if round%2 == 0 {
			must(t, os.Rename(drive, drive+".away"))
		} else {
			back := filepath.Join(parent, fmt.Sprint("d", (round-1)%4+1))
			must(t, os.Rename(back+".away", back))
		}
		s = startOn(t, named)
		wantWhole(t, s, written)
	}
}

// TestTwoOfFourDrivesCanBeLost loses one drive, replaces it, and when that is healed loses
// two others and changes bits on a third.
func TestTwoOfFourDrivesCanBeLost(t *testing.T) {
	t.Parallel()
	parent, named := makeDrives(t, 4)
	s := startOn(t, named)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	contents := map[string][]byte{"small": random(100), "inline": random(9000), "large": random(5 << 20), "empty": nil}
	for key, content := range contents {
		putS3(t, s, key, content)
	}
	s.stop(t)
	first := filepath.Join(parent, "d1")
	must(t, os.RemoveAll(first))
	must(t, os.Mkdir(first, 0o700))
	s = startOn(t, named)
	eventually(t, "the new drive is healed", func() bool { return strings.Contains(s.log(t), `"drives were healed"`) })
	putS3(t, s, "later", random(100_000))
	s.stop(t)
	must(t, os.RemoveAll(filepath.Join(parent, "d2")))
	damage(t, first)
	s = startOn(t, named)
	for key, content := range contents {
		got, err := readS3(newS3(s).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)}))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes of %d, %v", key, len(got), len(content), err)
		}
	}
	if !strings.Contains(s.log(t), "3 Online, 1 Offline") {
		t.Error("the log does not say how the drives stand")
	}
}

// damage changes a byte in every 4 KiB of the shards on a drive.
func damage(t *testing.T, drive string) {
	t.Helper()
	changed := 0
	for _, dir := range []string{"data", "segments"} {
		must(t, filepath.WalkDir(filepath.Join(drive, ".shoal.sys", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for at := 1000; at < len(b); at += 4096 {
				b[at] ^= 1
				changed++
			}
			return os.WriteFile(path, b, 0o600)
		}))
	}
	if changed == 0 {
		t.Fatal("there was nothing to damage")
	}
}
