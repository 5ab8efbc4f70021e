package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// text is what comes to somebody who listens.
type text struct {
	mu  sync.Mutex
	all strings.Builder
}

func (x *text) add(b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all.Write(append(b, '\n'))
}

// String returns all that has come.
func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.String()
}

// received is what a target was sent.
type received struct {
	mu         sync.Mutex
	keys       map[string]int    // times, by event and key
	sequencers map[string]string // by sizes of what was made
}

func (r *received) add(document []byte) error {
	var m struct {
		EventName string
		Records   []struct {
			S3 struct {
				Object struct {
					Key, Sequencer string
					Size           int
				}
			}
		}
	}
	if err := json.Unmarshal(document, &m); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys, r.sequencers = make(map[string]int), make(map[string]string)
	}
	for _, record := range m.Records {
		r.keys[strings.TrimPrefix(m.EventName, "s3:Object")+" "+record.S3.Object.Key]++
		r.sequencers[fmt.Sprint(record.S3.Object.Size)] = record.S3.Object.Sequencer
	}
	return nil
}

func (r *received) has(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[what] > 0
}

// hasAny reports whether something was received that begins and ends so.
func (r *received) hasAny(begins, ends string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for what := range r.keys {
		if strings.HasPrefix(what, begins) && strings.HasSuffix(what, ends) {
			return true
		}
	}
	return false
}

// hook is a webhook at an address that it can leave and come back to.
type hook struct {
	received
	address string
	server  *http.Server
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{address: net.JoinHostPort(seenByGateways(t), "0")}
	h.open(t)
	t.Cleanup(h.close)
	return h
}

func (h *hook) open(t *testing.T) {
	t.Helper()
	var ln net.Listener
	eventually(t, "the webhook has its address", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", h.address)
		return err == nil
	})
	h.address = ln.Addr().String()
	h.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = h.add(body)
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})}
	go func(s *http.Server) { _ = s.Serve(ln) }(h.server) // it ends with close
}

func (h *hook) close() { _ = h.server.Close() }

// seenByGateways returns the address of this process's host that the gateways of a fleet
// reach.
func seenByGateways(t *testing.T) string {
	t.Helper()
	hosts := list("SHOAL_TEST_HOSTS")
	if len(hosts) == 0 {
		return "127.0.0.1"
	}
	c, err := net.Dial("udp", net.JoinHostPort(hosts[0], "9")) // nothing is sent
	must(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String()
}

// env sets the webhook up as the target HOOK.
func (h *hook) env() []string {
	return []string{"MINIO_NOTIFY_WEBHOOK_ENABLE_HOOK=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_HOOK=http://" + h.address}
}

const hookARN = "arn:minio:sqs::HOOK:webhook"

// tellOf has a bucket tell a target of all that is made and removed in it.
func tellOf(t *testing.T, c *s3.Client, bucket, arn string) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	must(t, err)
	_, err = c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(bucket),
		NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String(arn), Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		}}},
	})
	must(t, err)
}

// startFleetWith is startFleet with further variables.
func startFleetWith(t *testing.T, env []string, n int, flags ...string) []*server {
	t.Helper()
	mounts := mountsOfOneTree(t)
	var fleet []*server
	for i := range n {
		m := mounts[i%len(mounts)]
		fleet = append(fleet, startWith(t, env, m.place, m.dir, flags...))
	}
	return fleet
}

// TestEveryAcknowledgedPutIsToldOfThoughEverythingDies has clients write while the
// target is away, and gateways are killed, frozen beyond their leases, and replaced.
func TestEveryAcknowledgedPutIsToldOfThoughEverythingDies(t *testing.T) {
	t.Parallel()
	t.Run("direct", func(t *testing.T) { testEveryAcknowledgedPut(t) })
	t.Run("routed", func(t *testing.T) { testEveryAcknowledgedPut(t, routing(t)...) })
}

func testEveryAcknowledgedPut(t *testing.T, flags ...string) {
	h := newHook(t)
	fleet := startFleetWith(t, h.env(), 3, flags...)
	tellOf(t, newS3(fleet[0], noRetry), "bucket", hookARN)
	h.close()
	w := writeThrough(t, fleet)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	rounds := 3
	if full() {
		rounds = 20
	}
	for round := range rounds {
		comesBack(t, "objects are written", func() bool { return w.count() > 20*(round+1) })
		i := random.IntN(len(fleet))
		if random.IntN(3) == 0 {
			must(t, fleet[i].cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(time.Duration(1+random.IntN(6)) * time.Second)
			must(t, fleet[i].cmd.Process.Signal(syscall.SIGCONT))
			continue
		}
		fleet[i].kill(t)
		if random.IntN(2) == 0 {
			time.Sleep(2 * time.Second) // so that another one goes on
		}
		fleet[i] = fleet[i].again(t)
		w.replace(i, fleet[i])
	}
	acknowledged := w.end()
	h.open(t)
	for _, key := range acknowledged {
		eventually(t, "the target is told of "+key, func() bool { return h.has("Created:Put " + key) })
	}
	t.Logf("%d objects were acknowledged and told of", len(acknowledged))
}

// TestNodesTellWhatOthersHaveLeft has a target be away while nodes with drives die, one or all.
func TestNodesTellWhatOthersHaveLeft(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	c := layOut(t, 4, 1)
	c.env = h.env()
	c.start(t)
	tellOf(t, newS3(c.servers[0], noRetry), "bucket", hookARN)
	for _, dies := range [][]int{{1}, {0, 1, 2, 3}} {
		h.close()
		key := fmt.Sprint("dying-", len(dies))
		_, err := newS3(c.servers[1], noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader("x")})
		must(t, err)
		for _, i := range dies {
			c.servers[i].kill(t)
		}
		h.open(t)
		if len(dies) == len(c.servers) {
			c.start(t)
		}
		comesBack(t, "the target is told of what was left", func() bool { return h.has("Created:Put " + key) })
		if len(dies) < len(c.servers) {
			c.launch(t, dies[0]).waitReady(t)
		}
	}
}

// tellers are clients that write new objects, each through one gateway.
type tellers struct {
	mu           sync.Mutex
	gateways     []*s3.Client
	acknowledged []string // keys
	stop         chan struct{}
	group        sync.WaitGroup
}

func writeThrough(t *testing.T, fleet []*server) *tellers {
	t.Helper()
	w := &tellers{stop: make(chan struct{})}
	for _, s := range fleet {
		w.gateways = append(w.gateways, newS3(s, noRetry))
	}
	for worker := range 2 * len(fleet) {
		w.group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-w.stop:
					return
				default:
				}
				w.put(t, worker, fmt.Sprintf("%d/%d", worker, n))
			}
		})
	}
	return w
}

func (w *tellers) put(t *testing.T, worker int, key string) {
	w.mu.Lock()
	c := w.gateways[worker%len(w.gateways)]
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("x")})
	if err != nil {
		time.Sleep(20 * time.Millisecond) // its gateway is dead
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged = append(w.acknowledged, key)
}

// replace has clients use another gateway.
func (w *tellers) replace(i int, s *server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gateways[i] = newS3(s, noRetry)
}

func (w *tellers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

// end sends the clients home and returns the keys of what was acknowledged.
func (w *tellers) end() []string {
	close(w.stop)
	w.group.Wait()
	return w.acknowledged
}

// TestWhatLifecycleRulesDeleteIsTold has a rule whose date is past.
func TestWhatLifecycleRulesDeleteIsTold(t *testing.T) {
	h := newHook(t)
	s := startWith(t, h.env(), place{host: "127.0.0.1"}, t.TempDir(), "--lifecycle-interval", "200ms")
	c, bucket := newS3(s), aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String(hookARN), Events: []types.Event{"s3:LifecycleExpiration:*"},
		}}},
	})
	must(t, err)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("old"), Body: strings.NewReader("x")})
	must(t, err)
	_, err = c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
			Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
			Expiration: &types.LifecycleExpiration{Date: aws.Time(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))},
		}}},
	})
	must(t, err)
	eventually(t, "the target is told", func() bool { return h.has("s3:LifecycleExpiration:Delete old") })
}

// TestFilesOfOthersAreToldWhereARuleAsks writes one beside S3, and one through it.
func TestFilesOfOthersAreToldWhereARuleAsks(t *testing.T) {
	h := newHook(t)
	dir := t.TempDir()
	s := startWith(t, h.env(), place{host: "127.0.0.1"}, dir, "--foreign-interval", "200ms")
	c, bucket := newS3(s), aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String(hookARN), Events: []types.Event{"s3:ObjectForeign:*"},
		}}},
	})
	must(t, err)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("ours"), Body: strings.NewReader("x")})
	must(t, err)
	n := 0
	eventually(t, "the target is told of a file of others", func() bool {
		n++ // what is there before the first look is told to nobody
		must(t, os.WriteFile(filepath.Join(dir, "bucket", fmt.Sprint("theirs", n)), []byte("x"), 0o644))
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.ContainsFunc(slices.Collect(maps.Keys(h.keys)), func(what string) bool { return strings.HasPrefix(what, "Foreign:Created theirs") })
	})
	if h.has("Foreign:Created ours") {
		t.Error("it is told of an object of S3")
	}
}

// TestWhatOthersDoIsToldWhicheverGatewayDies has people put files on the share, move and
// remove them, while clients of S3 do the same. On a disk of this machine nobody has to look
// for what is done: it is seen.
func TestWhatOthersDoIsToldWhicheverGatewayDies(t *testing.T) {
	t.Parallel()
	interval := "1h"
	if len(list("SHOAL_TEST_MOUNTS")) > 0 {
		interval = "2s"
	}
	h := newHook(t)
	mounts := mountsOfOneTree(t)
	dir := filepath.Join(mounts[0].dir, "bucket")
	var fleet []*server
	for i := range 3 {
		m := mounts[i%len(mounts)]
		fleet = append(fleet, startWith(t, h.env(), m.place, m.dir, "--foreign-interval", interval))
	}
	c, bucket := newS3(fleet[2]), aws.String("bucket")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String(hookARN), Events: []types.Event{"s3:ObjectForeign:*"},
		}}},
	})
	must(t, err)
	for round, dies := range []*server{nil, fleet[0]} { // the first to be there, and so to look
		if dies != nil {
			dies.kill(t)
		}
		for i := range 64 { // what it owned is another one's then
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String(fmt.Sprint("other", i)), Body: strings.NewReader("x")})
			must(t, err)
		}
		n, key := 0, func(leaf string) string { return fmt.Sprintf("%s%d", leaf, round) }
		eventually(t, "somebody looks", func() bool {
			n++
			must(t, os.WriteFile(filepath.Join(dir, key(fmt.Sprint("first", n, "-"))), []byte("x"), 0o644))
			return h.hasAny("Foreign:Created first", fmt.Sprintf("-%d", round))
		})
		for _, leaf := range []string{"kept", "deleted", "removed"} {
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String(key(leaf)), Body: strings.NewReader("x")})
			must(t, err)
		}
		must(t, os.MkdirAll(filepath.Join(dir, key("dir"), "deep"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, key("dir"), "deep", "file"), []byte("x"), 0o644))
		eventually(t, "a file of others is told", func() bool { return h.has("Foreign:Created " + key("dir") + "/deep/file") })
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String(key("deleted"))})
		must(t, err)
		must(t, os.Remove(filepath.Join(dir, key("removed"))))
		moveDir(t, filepath.Join(dir, key("dir")), filepath.Join(dir, key("moved")))
		for _, what := range []string{"Created " + key("moved") + "/deep/file", "Removed " + key("dir") + "/deep/file", "Removed " + key("removed")} {
			eventually(t, what+" is told", func() bool { return h.has("Foreign:" + what) })
		}
		for _, what := range []string{"Created " + key("kept"), "Created " + key("deleted"), "Removed " + key("deleted")} {
			if h.has("Foreign:" + what) {
				t.Errorf("it is told: %s", what)
			}
		}
	}
}

// moveDir moves the directory of a file, but on SMB only what is in it, as clients there do not
// stand that others rename directories that they have seen.
func moveDir(t *testing.T, from, to string) {
	t.Helper()
	if os.Getenv("SHOAL_TEST_REMOUNT") == "" {
		must(t, os.Rename(from, to))
		return
	}
	must(t, os.MkdirAll(filepath.Join(to, "deep"), 0o755))
	must(t, os.Rename(filepath.Join(from, "deep", "file"), filepath.Join(to, "deep", "file")))
	must(t, os.RemoveAll(from))
}

// TestSequencersOrderTheChangesOfAKeyAtAllGateways changes one through each in turn.
func TestSequencersOrderTheChangesOfAKeyAtAllGateways(t *testing.T) {
	h := newHook(t)
	fleet := startFleetWith(t, h.env(), 3)
	tellOf(t, newS3(fleet[0]), "bucket", hookARN)
	const changes = 30
	for i := range changes {
		_, err := newS3(fleet[i%3]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader(strings.Repeat("x", i))})
		must(t, err)
	}
	last := ""
	for i := range changes {
		var next string
		eventually(t, fmt.Sprintf("the target is told of change %d", i), func() (ok bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			next, ok = h.sequencers[fmt.Sprint(i)]
			return ok
		})
		if next <= last {
			t.Errorf("the sequencer of change %d is %s, after %s", i, next, last)
		}
		last = next
	}
}

// TestAwsConfiguresNotifications has the AWS command line set what people paste.
func TestAwsConfiguresNotifications(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	s := startWith(t, h.env(), place{host: "127.0.0.1"}, t.TempDir())
	cli := client(t, "/usr/bin/aws", awsEnv(), "--endpoint-url", s.url)
	cli.run(t, "s3", "mb", "s3://bucket")
	rules := `{"QueueConfigurations":[{"Id":"one","QueueArn":"` + hookARN + `","Events":["s3:ObjectCreated:*"],"Filter":{"Key":{"FilterRules":[{"Name":"suffix","Value":".jpg"}]}}}]}`
	cli.run(t, "s3api", "put-bucket-notification-configuration", "--bucket", "bucket", "--notification-configuration", rules)
	if got := cli.run(t, "s3api", "get-bucket-notification-configuration", "--bucket", "bucket"); !strings.Contains(got, hookARN) || !strings.Contains(got, `"one"`) || !strings.Contains(got, ".jpg") {
		t.Errorf("got %s", got)
	}
	out, err := cli.try(t, "s3api", "put-bucket-notification-configuration", "--bucket", "bucket", "--notification-configuration", strings.ReplaceAll(rules, "HOOK", "NONE"))
	if err == nil || !strings.Contains(out, "(InvalidArgument)") || !strings.Contains(out, "Unable to validate the following destination configurations") {
		t.Errorf("a target that there is not: %v, %s", err, out)
	}
	_, err = newS3(s).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a.jpg"), Body: strings.NewReader("x")})
	must(t, err)
	eventually(t, "the target is told", func() bool { return h.has("Created:Put a.jpg") })
	cli.run(t, "s3api", "put-bucket-notification-configuration", "--bucket", "bucket", "--notification-configuration", "{}")
	if got := cli.run(t, "s3api", "get-bucket-notification-configuration", "--bucket", "bucket"); strings.Contains(got, "Queue") {
		t.Errorf("after they were removed: %s", got)
	}
}

// TestMcManagesEventsAndWatchesThem makes rules and listens at one gateway, and writes
// at others.
func TestMcManagesEventsAndWatchesThem(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	fleet := startFleetWith(t, h.env(), 3)
	mc := client(t, "mc", nil, "--config-dir", t.TempDir(), "--no-color", "--disable-pager")
	for i, s := range fleet {
		mc.run(t, "alias", "set", fmt.Sprint("g", i), s.url, user, password)
	}
	mc.run(t, "mb", "g0/bucket")
	if info := mc.run(t, "admin", "info", "g0", "--json"); !strings.Contains(info, hookARN) {
		t.Errorf("mc admin info: %s", info)
	}
	mc.run(t, "event", "add", "g0/bucket", hookARN, "--event", "put,delete", "--prefix", "in/")
	if list := mc.run(t, "event", "ls", "g1/bucket"); !strings.Contains(list, hookARN) || !strings.Contains(list, `prefix="in/"`) {
		t.Errorf("mc event ls: %s", list)
	}
	if out, err := mc.try(t, "event", "add", "g1/bucket", "arn:minio:sqs::NONE:webhook"); err == nil {
		t.Errorf("a target that there is not: %s", out)
	}
	c := newS3(fleet[1], noRetry)
	put := func(key string) {
		t.Helper()
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("x")})
		must(t, err)
	}
	heard := watch(t, mc, func() { put("in/probe") }, "watch", "--json", "g2/bucket", "--prefix", "in/")
	put("out/a")
	put("in/b c")
	_, err := newS3(fleet[0]).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("in/b c")})
	must(t, err)
	for _, want := range []string{"s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete"} {
		select {
		case line := <-heard:
			if !strings.Contains(line, want) || !strings.Contains(line, "in/b") {
				t.Errorf("mc watch says %s, want %s", line, want)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("mc watch does not tell of %s", want)
		}
	}
	eventually(t, "the webhook is told", func() bool { return h.has("Created:Put in/b+c") && h.has("Removed:Delete in/b+c") })
	if h.has("Created:Put out/a") {
		t.Error("the webhook is told of what no rule is about")
	}
	mc.run(t, "event", "rm", "g2/bucket", hookARN, "--event", "put,delete", "--prefix", "in/")
	if list := mc.run(t, "event", "ls", "g1/bucket"); strings.Contains(list, hookARN) {
		t.Errorf("after mc event rm: %s", list)
	}
}

// watch runs a command of mc that goes on until the end of the test, and returns where
// its lines come out. It listens when it has told of what probe does, whose key ends with
// "probe".
func watch(t *testing.T, mc *cli, probe func(), args ...string) <-chan string {
	t.Helper()
	cmd := exec.Command(mc.path, append(slices.Clone(mc.args), args...)...)
	cmd.Env = mc.env
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	lines, ready := make(chan string, 100), make(chan struct{})
	go func() {
		once := sync.OnceFunc(func() { close(ready) })
		for in := bufio.NewScanner(out); in.Scan(); {
			if strings.Contains(in.Text(), "probe") {
				once()
				continue
			}
			lines <- in.Text()
		}
	}()
	eventually(t, "mc listens", func() bool {
		probe()
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
	return lines
}
