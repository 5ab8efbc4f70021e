package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// nodes is a cluster of servers that have drives of one set, each on an address of its own.
type nodes struct {
	dir     string
	port    string
	flags   []string // beside those that all have
	drives  int      // of each node
	pools   []string // of drives, as they are named; nil: all drives are one
	names   []string // by which nodes reach each other
	at      []place  // where clients reach them
	env     []string // further variables of all
	servers []*server
}

// layOut makes the drives of n nodes, which are not started yet.
func layOut(t *testing.T, n, drives int) *nodes {
	t.Helper()
	c := &nodes{dir: t.TempDir(), drives: drives, servers: make([]*server, n)}
	c.names, c.port = addresses(t, n)
	for i := range n {
		c.at = append(c.at, place{host: c.names[i]})
		for d := range drives {
			must(t, os.MkdirAll(c.drive(i, d), 0o700))
		}
	}
	return c
}

func (c *nodes) name(i int) string { return c.names[i] }

// listen is the address that a node listens on: all of a network namespace of its own.
func (p place) listen() string {
	if p.netns != "" {
		return ""
	}
	return p.host
}

func (c *nodes) drive(i, d int) string { return filepath.Join(c.dir, fmt.Sprintf("n%d-d%d", i+1, d+1)) }

// launch starts a node and does not wait for it.
func (c *nodes) launch(t *testing.T, i int) *server {
	t.Helper()
	flags := append([]string{"--address", net.JoinHostPort(c.at[i].listen(), c.port)}, c.flags...)
	urls := c.pools
	for n := range c.servers {
		for d := range c.drives {
			if c.pools == nil {
				urls = append(urls, "http://"+net.JoinHostPort(c.name(n), c.port)+c.drive(n, d))
			}
		}
	}
	last := len(urls) - 1
	s := launch(t, c.env, c.at[i], urls[last], append(flags, urls[:last]...)...)
	s.url = "http://" + net.JoinHostPort(c.at[i].host, c.port)
	c.servers[i] = s
	return s
}

// startNodes starts n nodes with so many drives each, and waits until all are ready.
func startNodes(t *testing.T, n, drives int) *nodes {
	t.Helper()
	return layOut(t, n, drives).start(t)
}

func (c *nodes) start(t *testing.T) *nodes {
	t.Helper()
	for i := range c.servers {
		c.launch(t, i)
	}
	for _, s := range c.servers {
		s.waitReady(t)
	}
	return c
}

// startInLab starts n nodes that reach each other over a network that can be cut.
func startInLab(t *testing.T, n int) (*lab, *nodes) {
	t.Helper()
	l, places := newLab(t, n)
	c := layOut(t, n, 1)
	c.at, c.port = places, "9000"
	for i := range c.names {
		c.names[i] = fmt.Sprintf("10.214.0.%d", i+1)
	}
	return l, c.start(t)
}

func (c *nodes) makeBucket(t *testing.T) {
	t.Helper()
	_, err := newS3(c.servers[0]).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
}

// addUser makes a user who may read and write everything, and returns what S3 knows him by.
func (c *nodes) addUser(t *testing.T, name string) func(*s3.Options) {
	t.Helper()
	var made struct {
		Secret string `json:"secret_key"`
	}
	env := serverEnv(t.TempDir())
	out, errOut, _ := shoal(t, env, "admin", "user", "add", name, "--json", "--url", c.servers[0].url)
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	if _, errOut, code := shoal(t, env, "admin", "policy", "attach", "readwrite", "--user", name, "--url", c.servers[1].url); code != 0 {
		t.Fatal(errOut)
	}
	return func(o *s3.Options) { o.Credentials = credentials.NewStaticCredentialsProvider(name, made.Secret, "") }
}

// expect reads an object through a node.
func (c *nodes) expect(t *testing.T, i int, key string, want []byte) {
	t.Helper()
	c.expectAs(t, i, key, want, func(*s3.Options) {})
}

// expectAs is expect for somebody else than root.
func (c *nodes) expectAs(t *testing.T, i int, key string, want []byte, who func(*s3.Options)) {
	t.Helper()
	got, err := readS3(newS3(c.servers[i], who).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key}))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("node %d reads %d bytes of %s, which has %d: %v", i, len(got), key, len(want), err)
	}
}

// awaitHealed waits until a node has said, after what it had said before, that nothing is
// lacking any more.
func (c *nodes) awaitHealed(t *testing.T, since time.Time) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		for _, s := range c.servers {
			for _, line := range s.lines(t) {
				at, _ := time.Parse(time.RFC3339Nano, fmt.Sprint(line["time"]))
				healed := line["msg"] == "drives were healed" || line["msg"] == "drives were given what they had missed"
				if healed && at.After(since) && line["failed"] == 0.0 && line["shards"] != 0.0 {
					return
				}
			}
		}
	}
	t.Fatal("the drives are not healed within 3 minutes")
}

// expectConnections has mc show what the first node knows of its connections to the others.
func (c *nodes) expectConnections(t *testing.T, a *administration, connected, disconnected int) {
	t.Helper()
	self := net.JoinHostPort(c.name(0), c.port)
	eventually(t, fmt.Sprintf("%d connections, and %d that are lost, are shown by mc", connected, disconnected), func() bool {
		var shown struct {
			ByHost map[string]struct {
				RPC struct{ Connected, Disconnected, OutgoingBytes int }
			} `json:"by_host"`
		}
		out := a.mc.run(t, "--json", "support", "top", "rpc", "g0", "--n", "1", "--nodes", self)
		must(t, json.Unmarshal([]byte(out), &shown))
		of := shown.ByHost[self].RPC
		return len(shown.ByHost) == 1 && of.Connected == connected && of.Disconnected == disconnected && of.OutgoingBytes > 6<<20
	})
}

func contents() map[string][]byte {
	return map[string][]byte{"empty": {}, "small": []byte("hello"), "middle": random(300_000), "large": random(12 << 20)}
}

func (c *nodes) putAll(t *testing.T, through int, all map[string][]byte) {
	t.Helper()
	for key, content := range all {
		putS3(t, c.servers[through], key, content)
	}
}

func TestNodesAreOne(t *testing.T) {
	t.Parallel()
	testAreOne(t, startNodes(t, 4, 1).servers)
}

func TestNodesAreLinearizable(t *testing.T) {
	t.Parallel()
	testLinearizable(t, 14*time.Second, startNodes(t, 4, 1).servers)
}

// TestHalfOfTheNodesCanBeLostForReads loses two of four, and looks that the others tell what
// is true, refuse what they cannot do, and go on when one is back.
func TestHalfOfTheNodesCanBeLostForReads(t *testing.T) {
	t.Parallel()
	c, all := startNodes(t, 4, 1), contents()
	c.makeBucket(t)
	c.putAll(t, 0, all)
	ann := c.addUser(t, "ann")
	a := administerFleet(t, c.servers[:1])
	a.admin(t, "config", "set", "@", "subnet", "api_key=none", "license=none")
	c.expectConnections(t, a, 3, 0)
	c.servers[2].kill(t)
	all["middle"] = random(200_000)
	putS3(t, c.servers[1], "middle", all["middle"])
	_, err := newS3(c.servers[0]).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("small")})
	must(t, err)
	delete(all, "small")
	c.expectConnections(t, a, 2, 1)
	c.servers[3].kill(t)
	for i := range 2 {
		for key, content := range all {
			c.expect(t, i, key, content)
		}
		c.expectAs(t, i, "large", all["large"], ann)
		_, err := newS3(c.servers[i], noRetry).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("small")})
		wantCode(t, err, "NoSuchKey")
		_, err = newS3(c.servers[i], noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("new"), Body: strings.NewReader("x")})
		if code := errorCode(err); code != "ServiceUnavailable" && code != "SlowDown" {
			t.Errorf("a write with half of the nodes: %v", err)
		}
	}
	c.launch(t, 3).waitReady(t)
	eventually(t, "writes go on", func() bool {
		_, err := newS3(c.servers[0], noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("new"), Body: strings.NewReader("x")})
		return err == nil
	})
	c.expect(t, 3, "middle", all["middle"])
}

// TestANodeThatWasAwayIsWholeAgain lets a node miss writes, and then lives on that node and
// one other, without a command of anybody's.
func TestANodeThatWasAwayIsWholeAgain(t *testing.T) {
	t.Parallel()
	c, all := startNodes(t, 4, 1), contents()
	c.makeBucket(t)
	for i := range 200 {
		putS3(t, c.servers[0], fmt.Sprint("before/", i), []byte("content"))
	}
	lastPass := func(kind string) (p passShown) {
		for _, shown := range c.healing(t, 0).Passes {
			if shown.Kind == kind {
				p = shown
			}
		}
		return p
	}
	eventually(t, "everything was looked at once", func() bool { return lastPass("everything").State == "finished" })
	c.servers[1].kill(t)
	c.putAll(t, 0, all)
	for i := range 5 {
		_, err := newS3(c.servers[0]).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String(fmt.Sprint("before/", i))})
		must(t, err)
	}
	back := time.Now()
	c.launch(t, 1).waitReady(t)
	c.awaitHealed(t, back)
	eventually(t, "nothing is pending any more", func() bool { p := lastPass("missed"); return p.State == "finished" && p.Pending == 0 })
	if p := lastPass("missed"); p.Names > 100 {
		t.Errorf("of more than 200 objects 9 have changed, and looked at were %+v", p)
	}
	c.servers[2].kill(t)
	c.servers[3].kill(t)
	for key, content := range all {
		c.expect(t, 1, key, content)
	}
}

// TestALostDriveIsReplacedByABlankOne does the same with a drive that is empty when its node
// comes back, where every node has two.
func TestALostDriveIsReplacedByABlankOne(t *testing.T) {
	t.Parallel()
	c, all := startNodes(t, 3, 2), contents()
	c.makeBucket(t)
	c.putAll(t, 0, all)
	c.servers[1].kill(t)
	must(t, os.Rename(c.drive(1, 0), c.drive(1, 0)+".old"))
	must(t, os.Mkdir(c.drive(1, 0), 0o700))
	back := time.Now()
	c.launch(t, 1).waitReady(t)
	c.awaitHealed(t, back)
	c.servers[2].kill(t)
	must(t, os.RemoveAll(c.drive(1, 1)))
	for key, content := range all {
		c.expect(t, 0, key, content)
	}
	c.servers[1].kill(t)
	must(t, os.RemoveAll(c.drive(1, 0)))
	must(t, os.Rename(c.drive(1, 0)+".old", c.drive(1, 0))) // the drive that was replaced is not let in again
	must(t, os.MkdirAll(c.drive(1, 1), 0o700))
	c.launch(t, 1)
	eventually(t, "the old drive is refused", func() bool {
		return strings.Contains(c.servers[1].log(t), "in the place of http://"+net.JoinHostPort(c.name(1), c.port)+c.drive(1, 0)+" is another one")
	})
}

// TestNodesWaitForEachOther starts them one after another, and all of them anew in another
// order.
func TestNodesWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := layOut(t, 4, 1)
	c.launch(t, 2)
	eventually(t, "it says what it waits for", func() bool {
		return strings.Contains(c.servers[2].log(t), "Waiting for minimum 4 servers to come online (1/4 online: "+c.name(2))
	})
	if live, ready := c.servers[2].probe("/minio/health/live"), c.servers[2].probe("/minio/health/ready"); live != http.StatusOK || ready != http.StatusServiceUnavailable {
		t.Errorf("while it waits it is live: %d, ready: %d", live, ready)
	}
	_, err := newS3(c.servers[2], noRetry).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	wantCode(t, err, "ServerNotInitialized")
	for _, i := range []int{0, 3, 1} {
		c.launch(t, i)
	}
	for _, s := range c.servers {
		s.waitReady(t)
	}
	c.makeBucket(t)
	putS3(t, c.servers[3], "k", []byte("content"))
	for _, s := range c.servers {
		s.kill(t)
	}
	for _, i := range []int{3, 1, 2} { // without the first one
		c.launch(t, i)
	}
	for _, i := range []int{3, 1, 2} {
		c.servers[i].waitReady(t)
		c.expect(t, i, "k", []byte("content"))
	}
	putS3(t, c.servers[1], "k", []byte("later"))
	c.launch(t, 0).waitReady(t)
	c.expect(t, 0, "k", []byte("later"))
	c.stopAtOnce(t)
}

// stopAtOnce stops all nodes at the same time, of which none has anything to warn of.
func (c *nodes) stopAtOnce(t *testing.T) {
	t.Helper()
	for _, s := range c.servers {
		s.terminate(t)
	}
	for i, s := range c.servers {
		s.stop(t)
		_, ending, found := strings.Cut(s.log(t), "stopping: requests under way")
		if !found {
			t.Errorf("node %d does not say that it stops", i)
		}
		for line := range strings.Lines(ending) {
			if strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") {
				t.Errorf("node %d: %s", i, line)
			}
		}
	}
}

func TestNodesWithDifferentCommandLinesAreRefused(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3, 1)
	c.servers[2].stop(t)
	url := func(i int, path string) string { return "http://" + net.JoinHostPort(c.name(i), c.port) + path }
	other := filepath.Join(c.dir, "other")
	must(t, os.Mkdir(other, 0o700))
	home := t.TempDir()
	_, errOut, code := shoal(t, serverEnv(home), "server", "--quiet", "--state-dir", home, "--address", net.JoinHostPort(c.name(2), c.port), url(0, c.drive(0, 0)), url(1, c.drive(1, 0)), url(2, other))
	if code != 4 || !strings.Contains(errOut, "different command lines") || !strings.Contains(errOut, "only this one names http://"+c.name(2)+":"+c.port+other) {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

// TestNodesThatAreCutOffTellTheTruth cuts four nodes three to one and two to two, while clients
// count through those that go on. Who has no majority writes nothing, and says so at once; who has half
// reads on; and nobody reads what is over.
func TestNodesThatAreCutOffTellTheTruth(t *testing.T) {
	t.Parallel()
	l, c := startInLab(t, 4)
	w := gather(t, c.servers[:3], rand.Uint64())
	put := func(i int, key string) error {
		_, err := newS3(c.servers[i], noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("counter-0"), Key: &key, Body: strings.NewReader(key)})
		return err
	}
	read := func(i int, key string, who ...func(*s3.Options)) string {
		got, err := readS3(newS3(c.servers[i], append(who, noRetry)...).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("counter-0"), Key: &key}))
		if err != nil {
			return errorCode(err)
		}
		return string(got)
	}
	ready := func(i int, path string, want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s of node %d is %d", path, i, want), func() bool { return c.servers[i].probe("/minio/health/"+path) == want })
	}
	must(t, put(0, "before"))
	ann := c.addUser(t, "ann")

	l.cut(t, 3, true)
	ready(3, "ready", http.StatusServiceUnavailable)
	eventually(t, "three of four go on", func() bool { return put(1, "three") == nil })
	if code := errorCode(put(3, "one")); code != "ServiceUnavailable" && code != "SlowDown" {
		t.Errorf("one of four answers a write with %q", code)
	}
	if got := read(3, "before"); got != "ServiceUnavailable" && got != "SlowDown" {
		t.Errorf("one of four answers a read with %q", got)
	}
	l.cut(t, 3, false)
	ready(3, "cluster", http.StatusOK)
	eventually(t, "who was cut off knows what was written", func() bool { return read(3, "three") == "three" })
	w.check(t) // what is refused below would be too much of what is not known

	l.split(t, []int{2, 3}, "br1")
	for i := range 4 {
		ready(i, "cluster", http.StatusServiceUnavailable)
		ready(i, "cluster/read", http.StatusOK)
		eventually(t, "two of four read on", func() bool { return read(i, "three") == "three" }) // not while their session ends
		eventually(t, "two of four know a user", func() bool { return read(i, "three", ann) == "three" })
		eventually(t, "two of four refuse a write", func() bool {
			begun := time.Now()
			err := put(i, "two")
			if err == nil {
				t.Error("two of four take a write")
			}
			t.Logf("node %d answers a write after %v: %v", i, time.Since(begun), err) // that nobody waits is shown in virtual time (erasure)
			code := errorCode(err)
			return code == "ServiceUnavailable" || code == "SlowDown" // InternalError: it was under way when the others were lost
		})
	}
	l.split(t, []int{2, 3}, "br0")
	for i := range 4 {
		ready(i, "cluster", http.StatusOK)
		eventually(t, "all go on", func() bool { return put(i, fmt.Sprint("after ", i)) == nil })
	}
}
