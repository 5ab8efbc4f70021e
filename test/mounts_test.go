package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// place is where a gateway runs.
type place struct {
	host  string // address that it serves on
	netns string // file of its network namespace, "" for that of the tests
	work  string // directory that it works in, "" for that of the tests
}

// command is a command to be run there, as the process that is started.
func (p place) command(args ...string) *exec.Cmd {
	if p.netns != "" {
		args = append([]string{"nsenter", "--net=" + p.netns, "--"}, args...)
	}
	c := exec.Command(args[0], args[1:]...) //nolint:gosec // the tests' own words
	c.Dir = p.work
	return c
}

// mountOf is a directory as one client of its file server sees it.
type mountOf struct {
	place
	dir string
}

// mountsOfOneTree makes a directory and returns it as it is seen on each of the
// mounts that SHOAL_TEST_MOUNTS names, with the address and the network
// namespace of each that SHOAL_TEST_HOSTS and SHOAL_TEST_NETNS name in the same
// order. Without them it is one directory of this machine. In the end the clients have to show
// the server's inode numbers, as no gateway may have them make some up.
func mountsOfOneTree(t *testing.T) []mountOf {
	t.Helper()
	roots := list("SHOAL_TEST_MOUNTS")
	if len(roots) == 0 {
		return []mountOf{{place{host: "127.0.0.1"}, t.TempDir()}}
	}
	hosts, spaces := list("SHOAL_TEST_HOSTS"), list("SHOAL_TEST_NETNS")
	dir, err := os.MkdirTemp(roots[0], "tree-")
	must(t, err)
	t.Cleanup(func() {
		_ = os.RemoveAll(dir) // the bed goes with all that is on it
		for _, root := range roots {
			if makesUpNumbers(t, root) {
				t.Errorf("the client at %s makes up inode numbers", root)
				remountShare(t, root)
			}
		}
	})
	var mounts []mountOf
	for i, root := range roots {
		m := mountOf{place{host: "127.0.0.1"}, filepath.Join(root, filepath.Base(dir))}
		if len(hosts) > 0 {
			m.host = hosts[i]
		}
		if len(spaces) > 0 {
			m.netns = spaces[i]
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// list returns the elements of a variable that is a list like PATH.
func list(variable string) []string {
	value := os.Getenv(variable)
	if value == "" {
		return nil
	}
	return strings.Split(value, ":")
}

// TestReadsSeeWhatOthersWrote has one gateway change an object, and others look
// at once that have just seen, and so know, what it was before.
func TestReadsSeeWhatOthersWrote(t *testing.T) {
	t.Parallel()
	rounds := 300
	if full() {
		rounds = 3000
	}
	fleet := startFleet(t, 2)
	ctx, bucket := t.Context(), aws.String("bucket")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s, noRetry))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	wrong := 0
	look := func(round int, key *string, want string) {
		got, err := readS3(c[1].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
		switch {
		case errorCode(err) == "NoSuchKey" && want == "":
		case err != nil || string(got) != want:
			wrong++
			t.Logf("round %d: %s is %q, %v, and not %q", round, *key, got, err, want)
		}
	}
	for round := range rounds {
		key, content := aws.String(fmt.Sprintf("dir/key%d", round%3)), fmt.Sprint("content ", round)
		if round%10 == 9 {
			key = aws.String(fmt.Sprintf("new%d/key", round)) // in a directory that is not there
			look(round, key, "")
		}
		_, err := c[0].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
		must(t, err)
		look(round, key, content)
		if round%5 == 4 {
			_, err := c[0].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
			must(t, err)
			look(round, key, "")
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d rounds read something else than what was written", wrong, rounds)
	}
}

// TestWhatIsBeingReadIsReplacedInOneStep has a gateway replace an object that it is
// sending. Left to itself an NFS client that has a file open moves it out of the way
// first: other clients find nothing between the two steps, and see the file's new name.
func TestWhatIsBeingReadIsReplacedInOneStep(t *testing.T) {
	reads := list("SHOAL_TEST_READ_MOUNTS")
	if len(reads) == 0 {
		t.Skip("not on NFS")
	}
	t.Run("by one mount", func(t *testing.T) {
		mounts := mountsOfOneTree(t)
		s := startAt(t, mounts[0].place, mounts[0].dir)
		replacedWhileSent(t, s, s, mounts[1].dir, false)
	})
	t.Run("by two gateways of one host", func(t *testing.T) {
		mounts := mountsOfOneTree(t)
		s := startAt(t, mounts[0].place, mounts[0].dir)
		replacedWhileSent(t, s, startAt(t, mounts[0].place, mounts[0].dir), mounts[1].dir, false)
	})
	t.Run("by two mounts", func(t *testing.T) {
		mounts := mountsOfOneTree(t)
		s := startAt(t, mounts[0].place, mounts[0].dir, "--read-mount", filepath.Join(reads[0], filepath.Base(mounts[0].dir)))
		stateless := len(callsOf(t, list("SHOAL_TEST_MOUNTS")[0])) == 0 // NFSv3: such a server knows nobody who has a file open
		replacedWhileSent(t, s, s, mounts[1].dir, stateless)
	})
}

// replacedWhileSent replaces an object through a gateway while another one, or the same,
// is sending it, which may cut the download, and looks at its directory through another
// client.
func replacedWhileSent(t *testing.T, s, sender *server, other string, cuts bool) {
	c, ctx, bucket, key := newS3(s, noRetry), t.Context(), aws.String("bucket"), aws.String("key")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	put := func(content []byte) {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content)})
		must(t, err)
	}
	old := random(32 << 20) // more than connections hold: it is still open
	put(old)
	// What it believes to be open for writing a file server does not delegate to who
	// reads it: for some seconds more.
	time.Sleep(8 * time.Second)
	sending, err := newS3(sender, noRetry).GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	must(t, err)
	for i := range 5 {
		put([]byte(fmt.Sprint("new ", i)))
		entries, err := os.ReadDir(filepath.Join(other, *bucket))
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("beside the object there is %v", entries)
		}
	}
	got, err := readS3(sending, nil)
	if cut := err != nil && cuts && bytes.HasPrefix(old, got); !cut && (err != nil || !bytes.Equal(got, old)) {
		t.Errorf("the object that was replaced: %d bytes, %v", len(got), err)
	}
	if got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})); err != nil || string(got) != "new 4" {
		t.Errorf("its successor: %q, %v", got, err)
	}
}

// TestOneHostsFleetIsLinearizable is TestFleetIsLinearizable with gateways that share one
// mount, as the tasks of a service that are on one host do: they are one client.
func TestOneHostsFleetIsLinearizable(t *testing.T) {
	if len(list("SHOAL_TEST_MOUNTS")) < 2 {
		t.Skip("the gateways of TestFleetIsLinearizable share one as well")
	}
	m := mountsOfOneTree(t)[0]
	var fleet []*server
	for range 3 {
		fleet = append(fleet, startAt(t, m.place, m.dir))
	}
	testLinearizable(t, 25*time.Second, fleet)
}

// TestSlowReadersOfOneTreeKeepNobodyWaiting has each gateway send an object to a client
// that does not read on, while it is replaced through each of them and deleted: others see
// each change at once, and the slow ones get what they were sent to the end, or are cut.
func TestSlowReadersOfOneTreeKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	fleet := startFleet(t, 3)
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("key")
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s))
	}
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	old := random(24 << 20) // more than connections hold
	_, err = c[0].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(old)})
	must(t, err)
	var slow []*s3.GetObjectOutput
	for g := range c {
		sending, err := c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		must(t, err)
		slow = append(slow, sending)
	}
	for i := range 6 {
		content := fmt.Sprint("new ", i)
		_, err := c[i%3].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
		must(t, err)
		for g := range c {
			got, err := readS3(c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
			if err != nil || string(got) != content {
				t.Errorf("gateway %d reads %d bytes after %q was written, %v", g, len(got), content, err)
			}
			if listed := keys(t, c[g], *bucket); len(listed) != 1 {
				t.Errorf("gateway %d lists %q", g, listed)
			}
		}
	}
	_, err = c[1].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
	must(t, err)
	for g := range c {
		_, err := c[g].HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
		wantCode(t, err, "NotFound")
		got, err := readS3(slow[g], nil)
		if cut := err != nil && cutsReaders(t) && bytes.HasPrefix(old, got); !cut && (err != nil || !bytes.Equal(got, old)) {
			t.Errorf("gateway %d has sent %d bytes of what was replaced, %v", g, len(got), err)
		}
	}
}

// cutsReaders reports whether an object that is replaced cannot be read to its end: such a
// file server knows nobody who has a file open, or lets nobody replace one that is.
func cutsReaders(t *testing.T) bool {
	t.Helper()
	mounts := list("SHOAL_TEST_MOUNTS")
	if len(mounts) == 0 {
		return false
	}
	kind, _ := kindOf(t, mounts[0])
	return kind != "nfs4"
}

func TestAMountForReadingMustShowTheTree(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	for name, flags := range map[string][]string{
		"does not show the tree": {"--read-mount", t.TempDir()},
		"--single-gateway":       {"--read-mount", dir, "--single-gateway"},
	} {
		args := append([]string{"server", "--address", "127.0.0.1:0", "--cluster-address", "127.0.0.1:0", "--state-dir", state, "--quiet"}, flags...)
		_, errOut, code := shoal(t, serverEnv(t.TempDir()), append(args, dir)...)
		if code == 0 || !strings.Contains(errOut, name) {
			t.Errorf("%v: exit %d: %s", flags, code, errOut)
		}
	}
}

func TestASingleGatewayServesWithoutAFleet(t *testing.T) {
	s := start(t, "--single-gateway")
	c, bucket, key := newS3(s, noRetry), aws.String("bucket"), aws.String("key")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("text")})
	must(t, err)
	got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}))
	if err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	if strings.Contains(s.log(t), "joining the gateways") {
		t.Error("it has joined a fleet")
	}
}

func TestASingleGatewayIsRefusedWhileAFleetServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startOn(t, dir)
	alone := []string{"server", "--address", "127.0.0.1:0", "--state-dir", t.TempDir(), "--quiet", "--single-gateway", dir}
	_, errOut, code := shoal(t, serverEnv(t.TempDir()), alone...)
	if code != 4 || !strings.Contains(errOut, "other gateways serve") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	_, err := newS3(s, noRetry).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	s.kill(t)
	alive := startOn(t, dir, "--single-gateway") // nobody is there any more
	_, err = newS3(alive, noRetry).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
}

// TestAClientOfAFileServerThatMakesUpInodeNumbersIsRemounted has a client of SMB make up inode
// numbers, as it does when somebody renames a directory through another one. Its gateway says that it is
// not ready, and shows nothing as what it is not; when the share has been remounted
// it goes on by itself, and knows all objects.
func TestAClientOfAFileServerThatMakesUpInodeNumbersIsRemounted(t *testing.T) {
	if os.Getenv("SHOAL_TEST_REMOUNT") == "" {
		t.Skip("no bed whose client makes up inode numbers")
	}
	mounts, fleet := mountsOfOneTree(t), []*server(nil)
	for _, m := range mounts {
		fleet = append(fleet, startAt(t, m.place, m.dir))
	}
	ctx := t.Context()
	made := putInBuckets(t, newS3(fleet[0]), 16) // of which each gateway owns some
	const at = 1
	makeUpNumbers(t, mounts[0].dir, mounts[at].dir)
	stop := keepAsking(t, newS3(fleet[at], noRetry), made)
	eventually(t, "the gateway is not ready", func() bool { return fleet[at].probe("/minio/health/ready") == http.StatusServiceUnavailable })
	time.Sleep(6 * time.Second) // in which it notices that nothing is in use
	remountShare(t, list("SHOAL_TEST_MOUNTS")[at])
	eventually(t, "the gateway is ready", func() bool { return fleet[at].probe("/minio/health/ready") == http.StatusOK })
	if refused := stop(); refused == 0 {
		t.Error("the gateway owned no bucket")
	}
	for g, s := range fleet {
		for bucket, put := range made {
			got, err := newS3(s).HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("dir/key")})
			must(t, err)
			if *got.ETag != *put.ETag || got.Metadata["of"] != bucket {
				t.Errorf("gateway %d: %s has the ETag %s and metadata %v", g, bucket, *got.ETag, got.Metadata)
			}
		}
	}
}

// putInBuckets makes buckets with an object in each, whose metadata says in which it is.
func putInBuckets(t *testing.T, c *s3.Client, n int) map[string]*s3.PutObjectOutput {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	made := make(map[string]*s3.PutObjectOutput)
	for i := range n {
		group.Go(func() {
			bucket := fmt.Sprint("bucket-", i)
			_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
			if err != nil {
				t.Error(err)
				return
			}
			put, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("dir/key"), Metadata: map[string]string{"of": bucket}, Body: strings.NewReader(bucket)})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made[bucket] = put
		})
	}
	group.Wait()
	return made
}

// keepAsking asks for objects until stop is called, which returns how often that was refused: what is
// answered has to be what they are.
func keepAsking(t *testing.T, c *s3.Client, made map[string]*s3.PutObjectOutput) (stop func() (refused int64)) {
	t.Helper()
	var group sync.WaitGroup
	var refused atomic.Int64
	stopped := make(chan struct{})
	for bucket, put := range made {
		group.Go(func() {
			for {
				select {
				case <-stopped:
					return
				case <-t.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
				got, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("dir/key")})
				if err != nil {
					refused.Add(1)
				} else if *got.ETag != *put.ETag {
					t.Errorf("%s has the ETag %s, not %s", bucket, *got.ETag, *put.ETag)
					return
				}
			}
		})
	}
	return func() int64 {
		close(stopped)
		group.Wait()
		return refused.Load()
	}
}

// remountShare remounts a share by the command that SHOAL_TEST_REMOUNT names.
func remountShare(t *testing.T, root string) {
	t.Helper()
	if out, err := exec.Command(os.Getenv("SHOAL_TEST_REMOUNT"), root).CombinedOutput(); err != nil {
		t.Fatalf("remount %s: %v: %s", root, err, out)
	}
}

// makesUpNumbers reports whether a mount is of SMB and shows inode numbers that are not the server's.
func makesUpNumbers(t *testing.T, root string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/mounts")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); fields[1] == root && fields[2] == "cifs" {
			return !slices.Contains(strings.Split(fields[3], ","), "serverino")
		}
	}
	return false
}

// makeUpNumbers renames a directory through one client of SMB that another one remembers, and has
// the kernel forget the files that it knows.
func makeUpNumbers(t *testing.T, here, there string) {
	t.Helper()
	look := func() {
		_, err := os.ReadDir(there)
		must(t, err)
	}
	must(t, os.Mkdir(filepath.Join(here, "old-name"), 0o755))
	eventually(t, "the other client sees it", func() bool { _, err := os.Stat(filepath.Join(there, "old-name")); return err == nil })
	look()
	must(t, os.Rename(filepath.Join(here, "old-name"), filepath.Join(here, "new-name")))
	look()
	must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0o200))
}
