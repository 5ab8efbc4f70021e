package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestADriveIsReplacedWhileItsProcessServes and the next one lose a drive under load and put a
// blank one in its place, with nobody starting anything anew. When that has all it should,
// others go, so that what was written before, meanwhile and since has to be read from it.
func TestADriveIsReplacedWhileItsProcessServes(t *testing.T) {
	t.Parallel()
	parent, named := makeDrives(t, 4)
	s := startOn(t, named)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	written := replaceUnderLoad(t, []*server{s}, filepath.Join(parent, "d2"))
	for _, other := range []string{"d1", "d4"} {
		path := filepath.Join(parent, other)
		must(t, os.Rename(path, path+".away"))
		eventually(t, "it is not read any more", func() bool { return saysLost(t, s, path) })
	}
	written.expect(t, s)
}

func TestADriveIsReplacedWhileNodesServe(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 4, 1)
	c.makeBucket(t)
	written := replaceUnderLoad(t, c.servers, c.drive(1, 0))
	c.servers[0].kill(t)
	c.servers[3].kill(t)
	for _, s := range c.servers[1:3] {
		written.expect(t, s)
	}
}

// TestADriveThatWasAwayIsUsedAgain takes a drive away while objects are written and changed, and
// puts it back as it was.
func TestADriveThatWasAwayIsUsedAgain(t *testing.T) {
	t.Parallel()
	c, all := startNodes(t, 4, 1), contents()
	c.makeBucket(t)
	c.putAll(t, 0, all)
	drive := c.drive(2, 0)
	must(t, os.Rename(drive, drive+".away"))
	eventually(t, "it is away", func() bool { return lacking(t, c.servers[2]) })
	all["middle"], all["more"] = random(200_000), random(1_000_000)
	c.putAll(t, 2, all)
	must(t, os.Rename(drive+".away", drive))
	awaitWhole(t, c.servers[0]) // which need not have noticed that it was away
	c.servers[0].kill(t)
	c.servers[1].kill(t)
	for key, content := range all {
		c.expect(t, 2, key, content)
		c.expect(t, 3, key, content)
	}
}

// saysLost reports whether a server has said that a drive is lost.
func saysLost(t *testing.T, s *server, path string) bool {
	t.Helper()
	for _, line := range s.lines(t) {
		if line["msg"] == "a drive is lost" && line["path"] == path {
			return true
		}
	}
	return false
}

// lacking reports whether a server says that drives lack something, or are not there.
func lacking(t *testing.T, s *server) bool {
	t.Helper()
	_, _, code := shoal(t, append(clientEnv(t), awsEnv()...), "admin", "heal", "--url", s.url)
	return code == 3
}

// awaitWhole waits until nothing is lacking.
func awaitWhole(t *testing.T, s *server) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); lacking(t, s); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the drives are not healed within 3 minutes")
		}
	}
}

// replaceUnderLoad removes what a drive holds, and the drive, makes it anew, and waits until it
// is healed.
func replaceUnderLoad(t *testing.T, servers []*server, drive string) *stream {
	t.Helper()
	awaitWhole(t, servers[0])
	w := startStream(t, servers)
	w.await(t, 20)
	eventually(t, "its directory is gone", func() bool { return os.RemoveAll(drive) == nil }) // who serves may write to it meanwhile
	eventually(t, "it is missed", func() bool { return lacking(t, servers[0]) })
	w.await(t, 20)
	must(t, os.Mkdir(drive, 0o700))
	w.await(t, 20)
	eventually(t, "it is taken", func() bool {
		_, err := os.Stat(filepath.Join(drive, ".shoal.sys", "identity"))
		return err == nil
	})
	w.await(t, 20)
	w.end()
	awaitWhole(t, servers[0])
	return w
}

// stream is clients that go on writing objects, each with a name of its own.
type stream struct {
	group sync.WaitGroup
	stop  chan struct{}
	mu    sync.Mutex
	taken map[string][]byte // by key, what was acknowledged
}

func startStream(t *testing.T, servers []*server) *stream {
	t.Helper()
	return startSlowStream(t, servers, 50*time.Millisecond)
}

// startSlowStream is startStream with a pause after each object.
func startSlowStream(t *testing.T, servers []*server, pause time.Duration) *stream {
	t.Helper()
	w := &stream{stop: make(chan struct{}), taken: make(map[string][]byte)}
	for i, size := range []int{100, 20_000, 300_000, 3 << 20} {
		s := servers[i%len(servers)]
		w.group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-w.stop:
					return
				case <-time.After(pause): // it is to go on, and not to fill the disk
				}
				w.put(t, s, fmt.Sprintf("%d/%d", size, n), random(size))
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *stream) put(t *testing.T, s *server, key string, content []byte) {
	_, err := newS3(s).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(content)})
	if err != nil {
		return
	}
	w.took(key, content)
}

// took notes that an object was acknowledged.
func (w *stream) took(key string, content []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken[key] = content
}

func (w *stream) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.taken)
}

// await waits until so many more objects were written.
func (w *stream) await(t *testing.T, more int) {
	t.Helper()
	before := w.count()
	eventually(t, "writes go on", func() bool { return w.count() >= before+more })
}

// end can be called twice.
func (w *stream) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.group.Wait()
}

// expect reads all that was acknowledged.
func (w *stream) expect(t *testing.T, s *server) {
	t.Helper()
	for key, want := range w.taken {
		got, err := readS3(newS3(s).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)}))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes of %d: %v", key, len(got), len(want), err)
		}
	}
}
