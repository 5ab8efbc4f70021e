package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// fileServer is the NFS server of the bed that the tests run in.
type fileServer struct{ threads string }

// theFileServer skips a test where there is none that could be stopped.
func theFileServer(t *testing.T) fileServer {
	t.Helper()
	f := fileServer{"/proc/fs/nfsd/threads"}
	if _, err := os.Stat(f.threads); err != nil || len(list("SHOAL_TEST_MOUNTS")) == 0 {
		t.Skip("needs an NFS server to stop: make e2e-mounts")
	}
	return f
}

func (f fileServer) stop(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile(f.threads, []byte("0"), 0o600))
}

func (f fileServer) start(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile(f.threads, []byte("8"), 0o600))
}

// comesBack waits as long as an NFS client may take to find its server again.
func comesBack(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 minutes: %s", what)
		}
	}
}

// TestAnOutageOfTheFileServerLosesNothing stops the file server under gateways that
// are in use: they say so, answer 503 instead of hanging, take no threads without
// bound, and go on when it is back, with all that was acknowledged. It lasts for
// SHOAL_TEST_OUTAGE, such as 10m, or as long as that takes.
func TestAnOutageOfTheFileServerLosesNothing(t *testing.T) {
	nfsd := theFileServer(t)
	fleet := startFleet(t, 2)
	ctx, bucket := t.Context(), aws.String("bucket")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s, noRetry))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(g int, key string) error {
		_, err := c[g].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: strings.NewReader(key)})
		return err
	}
	for i := range 20 {
		must(t, put(i%2, fmt.Sprint("before ", i)))
	}
	nfsd.stop(t)
	defer nfsd.start(t)
	for i, s := range fleet {
		eventually(t, fmt.Sprintf("gateway %d is not ready", i), func() bool { return s.probe("/minio/health/ready") == http.StatusServiceUnavailable })
		if s.probe("/minio/health/live") != http.StatusOK {
			t.Errorf("gateway %d is not alive", i)
		}
	}
	maybe := make(chan error, 60)
	for i := range cap(maybe) {
		go func() { maybe <- put(i%2, fmt.Sprint("during ", i)) }()
	}
	_, err = c[0].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("before 0")})
	if code := errorCode(err); code != "ServiceUnavailable" && code != "SlowDown" {
		t.Errorf("a read during the outage: %v", err)
	}
	for range cap(maybe) {
		if err := <-maybe; err == nil {
			t.Error("a write was acknowledged during the outage")
		}
	}
	bounded := func() {
		for i, s := range fleet {
			if n := s.threads(t); n > 1000 {
				t.Errorf("gateway %d has %d threads", i, n)
			}
		}
	}
	bounded()
	for end := time.Now().Add(span(t, "SHOAL_TEST_OUTAGE", 0)); time.Now().Before(end); {
		for g := range fleet {
			if err := put(g, "long after"); err == nil {
				t.Error("a write was acknowledged during the outage")
			}
		}
		bounded()
	}
	nfsd.start(t)
	for i, s := range fleet {
		comesBack(t, fmt.Sprintf("gateway %d is ready", i), func() bool { return s.probe("/minio/health/ready") == http.StatusOK })
	}
	for i := range 20 {
		for g := range c {
			key := fmt.Sprint("before ", i)
			if got, err := readS3(c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})); err != nil || string(got) != key {
				t.Errorf("gateway %d reads %q of %s, %v", g, got, key, err)
			}
		}
		must(t, put(i%2, fmt.Sprint("after ", i)))
	}
}

// TestAFullFileServerIsToldAndTakesNothingHalf fills the file server's disk: what does
// not fit is refused, what was there stays, and with room again all goes on.
func TestAFullFileServerIsToldAndTakesNothingHalf(t *testing.T) {
	theFileServer(t)
	fleet := startFleet(t, 2)
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	a, b := newS3(fleet[0], noRetry), newS3(fleet[1], noRetry)
	_, err := a.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(c *s3.Client, content []byte) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content)})
		return err
	}
	must(t, put(a, []byte("small")))
	large := random(64 << 20)
	free := fillDisk(t, exported+"/filler", 48<<20)
	wantCode(t, put(b, large), "InsufficientStorage")
	for _, c := range []*s3.Client{a, b} {
		if got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})); err != nil || string(got) != "small" {
			t.Errorf("on a full disk: read %d bytes, %v", len(got), err)
		}
	}
	free()
	must(t, put(b, large))
	if got, err := readS3(a.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})); err != nil || !bytes.Equal(got, large) {
		t.Errorf("with room again: read %d bytes, %v", len(got), err)
	}
}

// exported is what the bed's file server exports.
const exported = "/mnt/export"

// fillDisk fills a disk but for so many bytes, and returns what gives the room back.
func fillDisk(t *testing.T, path string, but int64) (free func()) {
	t.Helper()
	f, err := os.Create(path) //nolint:gosec // in the bed
	must(t, err)
	free = func() { _ = os.Remove(path) } // the test goes on and will notice
	t.Cleanup(free)
	defer f.Close()
	var st syscall.Statfs_t
	must(t, syscall.Fstatfs(int(f.Fd()), &st))
	must(t, syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bfree)*st.Bsize-but)) //nolint:gosec // a disk of a few GiB; root may have all of it
	return free
}

// TestAReadOnlyFileServerIsToldAndServesReads makes the file server's disk read-only
// and writable again.
func TestAReadOnlyFileServerIsToldAndServesReads(t *testing.T) {
	theFileServer(t)
	fleet := startFleet(t, 2)
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	c := newS3(fleet[0], noRetry)
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(content string) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
		return err
	}
	must(t, put("before"))
	remount(t, "ro")
	defer remount(t, "rw")
	wantCode(t, put("during"), "ServiceUnavailable")
	if got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})); err != nil || string(got) != "before" {
		t.Errorf("read %q, %v", got, err)
	}
	remount(t, "rw")
	comesBack(t, "a write succeeds", func() bool { return put("after") == nil })
}

// TestAGatewayWhoseLinkIsDownComesBack takes the only link of a gateway down, to the
// file server, the others and the clients: the others go on, and it sees what they
// did when the link is up again.
func TestAGatewayWhoseLinkIsDownComesBack(t *testing.T) {
	theFileServer(t)
	fleet := startFleet(t, 3)
	ctx, bucket := t.Context(), aws.String("bucket")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s, noRetry))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(g int, content string) error {
		_, err := c[g].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader(content)})
		return err
	}
	for i := range fleet {
		must(t, put(i, "before"))
		link(t, fleet[i].at, "down")
		other, content := (i+1)%3, fmt.Sprint("while the link of ", i, " is down")
		eventually(t, "the others go on", func() bool { return put(other, content) == nil })
		link(t, fleet[i].at, "up")
		comesBack(t, "the gateway is ready", func() bool { return fleet[i].probe("/minio/health/ready") == http.StatusOK })
		if got, err := readS3(c[i].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})); err != nil || string(got) != content {
			t.Errorf("gateway %d reads %q, %v", i, got, err)
		}
	}
}

// TestWhatTheFileServerHasForgottenDoingIsDone loses the answers of the file server to a
// gateway that makes, tags and deletes objects, and has the server start anew: it then
// carries out once more what the client asks again. No client is told that an object of his
// is there already, or is not there.
func TestWhatTheFileServerHasForgottenDoingIsDone(t *testing.T) {
	nfsd := theFileServer(t)
	fleet := startFleet(t, 2)
	ctx, bucket := t.Context(), aws.String("bucket")
	c := newS3(fleet[0], noRetry)
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	var done, unknown atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range 12 {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := aws.String(fmt.Sprintf("%d/%d", worker, n))
				if err := makeAndRemove(ctx, c, bucket, key); err == nil {
					done.Add(1)
				} else if code := errorCode(err); code == "PreconditionFailed" || strings.HasPrefix(code, "NoSuch") || code == "NotFound" {
					t.Errorf("%s: %v", *key, err)
				} else {
					unknown.Add(1)
				}
			}
		})
	}
	for range 6 {
		before := done.Load()
		comesBack(t, "objects come and go", func() bool { return done.Load() > before+10 })
		answers(t, "A", "lost")
		time.Sleep(300 * time.Millisecond) // so that some are
		nfsd.stop(t)
		nfsd.start(t)
		answers(t, "A", "heard")
	}
	comesBack(t, "objects come and go at last", func() bool { return fleet[0].probe("/minio/health/ready") == http.StatusOK })
	close(stop)
	group.Wait()
	t.Logf("%d objects came and went, of %d the outcome is not known", done.Load(), unknown.Load())
	if done.Load() == 0 {
		t.Error("nothing was done")
	}
}

// makeAndRemove makes an object that is not there, tags it and deletes it.
func makeAndRemove(ctx context.Context, c *s3.Client, bucket, key *string) error {
	made, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(*key), IfNoneMatch: aws.String("*")})
	if err != nil {
		return err
	}
	tags := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
	if _, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: tags}); err != nil {
		return err
	}
	_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, IfMatch: made.ETag})
	return err
}

// answers has those of the file server to a client of the bed be lost, or heard again.
func answers(t *testing.T, client, how string) {
	t.Helper()
	what := map[string]string{"lost": "add", "heard": "del"}[how]
	args := []string{"qdisc", what, "dev", "v" + client, "root"}
	if how == "lost" {
		args = append(args, "netem", "loss", "100%")
	}
	if out, err := exec.Command("tc", args...).CombinedOutput(); err != nil { //nolint:gosec // in the bed
		t.Fatalf("answers are to be %s: %v: %s", how, err, out)
	}
}

// link takes the link of a place down, or up.
func link(t *testing.T, at place, state string) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", filepath.Base(at.netns), "link", "set", "eth0", state).CombinedOutput(); err != nil { //nolint:gosec // in the bed
		t.Fatalf("link %s: %v: %s", state, err, out)
	}
}

// remount changes the options of the file server's disk.
func remount(t *testing.T, option string) {
	t.Helper()
	// Files that are being written keep a disk from becoming read-only.
	eventually(t, "the disk is remounted", func() bool {
		return exec.Command("mount", "-o", "remount,"+option, exported).Run() == nil
	})
}

// threads returns how many threads a server has.
func (s *server) threads(t *testing.T) (n int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "Threads:")
	_, err = fmt.Sscan(rest, &n)
	must(t, err)
	return n
}

// putSlowly begins a PUT of so many bytes, which the caller writes, and tells how it ends.
func putSlowly(t *testing.T, c *s3.Client, bucket, key string, size int) (content *io.PipeWriter, done <-chan error) {
	t.Helper()
	body, content := io.Pipe()
	url, err := s3.NewPresignClient(c).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key})
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url.URL, body)
	must(t, err)
	request.ContentLength = int64(size)
	outcome := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			if _ = answer.Body.Close(); answer.StatusCode != http.StatusOK {
				err = errors.New(answer.Status)
			}
		}
		outcome <- err
	}()
	return content, outcome
}

// TestWhatIsOpenWhenTheFileServerEndsAllLeasesIsWholeOrCut has the file server forget what
// its clients have open: a download and an upload that are under way end whole, or with an
// error, and all goes on with what was acknowledged.
func TestWhatIsOpenWhenTheFileServerEndsAllLeasesIsWholeOrCut(t *testing.T) {
	theFileServer(t)
	leases, err := filepath.Glob("/proc/fs/nfsd/clients/*/ctl")
	must(t, err)
	if len(leases) == 0 {
		t.Skip("no client has a lease: they are of NFSv4")
	}
	fleet := startFleet(t, 2)
	ctx, bucket := t.Context(), aws.String("bucket")
	c := []*s3.Client{newS3(fleet[0], noRetry), newS3(fleet[1], noRetry)}
	_, err = c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(g int, key string, content []byte) error {
		_, err := c[g].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(content)})
		return err
	}
	get := func(g int, key string) ([]byte, error) {
		return readS3(c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key}))
	}
	before, sent := random(32<<20), random(4<<20)
	must(t, put(0, "before", before))
	download, err := c[0].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("before")})
	must(t, err)
	defer download.Body.Close()
	got := make([]byte, 1<<20)
	_, err = io.ReadFull(download.Body, got)
	must(t, err)
	content, done := putSlowly(t, c[1], *bucket, "sent", len(sent))
	_, err = content.Write(sent[:len(sent)/2])
	must(t, err)
	for _, lease := range leases {
		must(t, os.WriteFile(lease, []byte("expire\n"), 0o600))
	}
	if more, err := io.ReadAll(download.Body); err == nil && !bytes.Equal(append(got, more...), before) {
		t.Error("the download is not what was stored, and ended as if it were")
	}
	_, _ = content.Write(sent[len(sent)/2:]) // it may be refused meanwhile
	_ = content.Close()
	acknowledged := <-done
	t.Logf("of the upload: %v", acknowledged)
	for g := range c {
		comesBack(t, "a write succeeds", func() bool { return put(g, fmt.Sprint("after ", g), before) == nil })
	}
	for g := range c {
		for _, key := range []string{"before", "after 0", "after 1"} {
			if found, err := get(g, key); err != nil || !bytes.Equal(found, before) {
				t.Errorf("gateway %d has %d bytes of %s, %v", g, len(found), key, err)
			}
		}
		found, err := get(g, "sent")
		if whole := err == nil && bytes.Equal(found, sent); !whole && (acknowledged == nil || errorCode(err) != "NoSuchKey") {
			t.Errorf("gateway %d has %d bytes of the upload, %v", g, len(found), err)
		}
	}
}

// TestAGatewayThatIsFrozenWhileItWritesIsDoneWithOfOneTree stops one in the middle of a PUT,
// with a file open on the mount. The others take over what it had; when it goes on, what it
// was told before is not done.
func TestAGatewayThatIsFrozenWhileItWritesIsDoneWithOfOneTree(t *testing.T) {
	t.Parallel()
	fleet := startFleet(t, 3)
	bucket, key := aws.String("bucket"), aws.String("key")
	frozen, other := newS3(fleet[0], noRetry), newS3(fleet[1])
	_, err := frozen.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = frozen.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("before")})
	must(t, err)
	half := make([]byte, 2<<20)
	rest, done := putSlowly(t, frozen, *bucket, *key, 2*len(half))
	_, err = rest.Write(half) // and as much is on the mount, or will soon be
	must(t, err)
	session := ""
	eventually(t, "it is being written", func() bool {
		files, err := filepath.Glob(filepath.Join(fleet[1].dir, ".shoal.sys", "sessions", "*", "*", "p.*"))
		if err == nil && len(files) > 0 {
			session = filepath.Dir(files[0])
		}
		return session != ""
	})
	must(t, fleet[0].cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	eventually(t, "its session is fenced", func() bool {
		_, err := os.Stat(session)
		return errors.Is(err, fs.ErrNotExist)
	})
	t.Logf("fenced after %.1f s", time.Since(began).Seconds())
	eventually(t, "another one writes what the frozen one owned", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		_, err := other.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("after")})
		return err == nil
	})
	t.Logf("taken over after %.1f s", time.Since(began).Seconds())
	must(t, fleet[0].cmd.Process.Signal(syscall.SIGCONT))
	_, _ = rest.Write(half) // it may be refused meanwhile
	_ = rest.Close()
	if err := <-done; err == nil {
		t.Error("the PUT of the one that was frozen is acknowledged")
	}
	for i, s := range fleet {
		eventually(t, "all gateways show the one that was acknowledged", func() bool {
			got, err := readS3(newS3(s).GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}))
			if err == nil && string(got) != "after" {
				t.Fatalf("gateway %d has %d bytes", i, len(got))
			}
			return err == nil
		})
	}
}
