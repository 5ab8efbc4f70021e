package test

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// startFleet starts gateways over one new directory, each on a mount of its
// own where there are several, with further flags.
func startFleet(t *testing.T, n int, flags ...string) []*server {
	t.Helper()
	mounts := mountsOfOneTree(t)
	var fleet []*server
	for i := range n {
		m := mounts[i%len(mounts)]
		fleet = append(fleet, startAt(t, m.place, m.dir, flags...))
	}
	return fleet
}

// fleetStatus is what the product says of the fleet of a gateway.
type fleetStatus struct {
	Generation int
	Leader     string
	Members    []struct{ Node, Role, Session, Error string }
}

func (s *server) status(t *testing.T) (fleetStatus, int) {
	t.Helper()
	out, errOut, code := shoal(t, serverEnv(t.TempDir()), "status", "--json", s.url)
	var st fleetStatus
	if code == 0 || code == 3 {
		must(t, json.Unmarshal([]byte(out), &st))
	} else {
		t.Log(errOut)
	}
	return st, code
}

func TestGatewaysOfOneTreeAreOne(t *testing.T) {
	t.Parallel()
	testAreOne(t, startFleet(t, 3))
}

func testAreOne(t *testing.T, fleet []*server) {
	ctx := t.Context()
	var c []*s3.Client
	for _, s := range fleet {
		c = append(c, newS3(s, noRetry))
	}
	bucket := aws.String("bucket")
	_, err := c[0].CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	for i := range 60 {
		key, content := aws.String(fmt.Sprintf("dir%d/key", i%7)), fmt.Sprint("content ", i)
		_, err := c[i%3].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
		must(t, err)
		_, err = c[(i+1)%3].PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("i"), Value: aws.String(fmt.Sprint(i))}}}})
		must(t, err)
		for g := range c {
			got, err := readS3(c[g].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
			if err != nil || string(got) != content {
				t.Errorf("gateway %d reads %q, %v", g, got, err)
			}
			tags, err := c[g].GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})
			if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != fmt.Sprint(i) {
				t.Errorf("gateway %d has the tags %v, %v", g, tags, err)
			}
			list, err := c[g].ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
			if err != nil || len(list.Contents) != min(i+1, 7) {
				t.Errorf("gateway %d lists %d objects, %v", g, len(list.Contents), err)
			}
		}
		if i%9 == 8 {
			_, err := c[(i+2)%3].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
			must(t, err)
			for g := range c {
				_, err := c[g].HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
				wantCode(t, err, "NotFound")
			}
			_, err = c[i%3].PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
			must(t, err)
		}
	}
	spreadUpload(t, c)
	endUploadsTwice(t, c)
	awaitVotes(t, fleet[1])
}

// awaitVotes waits until a gateway says that three vote: then one can be lost, and the others go
// on at once. Before that the storage may have to decide, which takes some seconds.
func awaitVotes(t *testing.T, s *server) {
	t.Helper()
	eventually(t, "three vote", func() bool {
		st, _ := s.status(t)
		votes := 0
		for _, m := range st.Members {
			if m.Role == "voter" || m.Role == "leader" {
				votes++
			}
		}
		return votes == 3
	})
}

// spreadUpload spreads an upload over the gateways, and completes it on two.
func spreadUpload(t *testing.T, c []*s3.Client) {
	t.Helper()
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("big")
	up, err := c[0].CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	must(t, err)
	var parts []types.CompletedPart
	var whole []byte
	for n := int32(1); n <= 3; n++ {
		content := random(5 << 20)
		whole = append(whole, content...)
		p, err := c[n%3].UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(content)})
		must(t, err)
		parts = append(parts, types.CompletedPart{ETag: p.ETag, PartNumber: aws.Int32(n), ChecksumCRC32: p.ChecksumCRC32})
	}
	listed, err := c[2].ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: up.UploadId})
	if err != nil || len(listed.Parts) != 3 {
		t.Errorf("listed %d parts, %v", len(listed.Parts), err)
	}
	var group sync.WaitGroup
	for g := 1; g <= 2; g++ {
		group.Go(func() {
			_, err := c[g].CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
			if err != nil && errorCode(err) != "NoSuchUpload" {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := readS3(c[0].GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}))
	if err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// counted is an operation of a client on a counter: a read, or a write of one
// more than was read.
type counted struct{ read, from int }

// answer is what it came to.
type answer struct {
	value             int
	accepted, unknown bool
}

// counting is the object as one client would see it alone. What became of a
// write is not always known.
func counting() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, output any) (bool, any) {
			now, in, out := state.(int), input.(counted), output.(answer)
			switch {
			case in.read == 1:
				return out.value == now, now
			case out.unknown && now != in.from:
				return true, now
			case out.unknown, out.accepted:
				return now == in.from, in.from + 1
			}
			return now != in.from, now
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func etagOf(value int) string {
	sum := md5.Sum([]byte(strconv.Itoa(value))) //nolint:gosec // see the import
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// fleetClient works on counters through whichever gateway.
type fleetClient struct {
	t     *testing.T
	id    int
	began time.Time
	note  func(key string, op porcupine.Operation)
}

func (f *fleetClient) operate(c *s3.Client, bucket string) {
	ctx := f.t.Context()
	call := time.Since(f.began)
	key := fmt.Sprint("value", int(call/turn))
	counter := bucket + "/" + key
	value := 0
	got, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key}))
	switch {
	case err == nil:
		value, _ = strconv.Atoi(string(got))
	case errorCode(err) != "NoSuchKey":
		return // a read that failed says nothing
	}
	f.note(counter, porcupine.Operation{ClientId: f.id, Input: counted{read: 1}, Call: int64(call), Output: answer{value: value}, Return: int64(time.Since(f.began))})
	put := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(strconv.Itoa(value + 1)), IfNoneMatch: aws.String("*")}
	if value > 0 {
		put.IfNoneMatch, put.IfMatch = nil, aws.String(etagOf(value))
	}
	call = time.Since(f.began)
	_, err = c.PutObject(ctx, put)
	op := porcupine.Operation{ClientId: f.id, Input: counted{from: value}, Call: int64(call), Return: int64(time.Since(f.began))}
	switch code := errorCode(err); {
	case err == nil:
		op.Output = answer{accepted: true}
	case code == "PreconditionFailed":
		op.Output = answer{}
	case unavailable(err): // nothing was changed
		time.Sleep(backoff)
		return
	default:
		op.Output, op.Return = answer{unknown: true}, math.MaxInt64
	}
	f.note(counter, op)
	if op.Output.(answer).unknown {
		time.Sleep(backoff)
	}
}

// backoff is how long a client waits that was refused, or does not know what came of a change. What is not known
// may have happened at any time: a history of much of that cannot be checked.
const backoff = 200 * time.Millisecond

// crowd is clients that count, and change objects, through whichever gateway, and
// what they saw.
type crowd struct {
	mu         sync.Mutex
	gateways   []*s3.Client
	operations map[string][]porcupine.Operation // on counters
	objects    map[string][]porcupine.Operation // on objects
	accepted   int
	stop       chan struct{}
	group      sync.WaitGroup
}

// unavailable reports whether an answer is that the service is unavailable.
func unavailable(err error) bool {
	code := errorCode(err)
	return code == "ServiceUnavailable" || code == "SlowDown"
}

// counters is how many counters there are, each in a bucket of its own.
const counters = 3

// turn is how long one is counted by before the next: long histories take long to
// be checked.
const turn = time.Minute

// gather makes the buckets and sets clients to work.
func gather(t *testing.T, fleet []*server, seed uint64) *crowd {
	t.Helper()
	w := &crowd{operations: make(map[string][]porcupine.Operation), objects: make(map[string][]porcupine.Operation), stop: make(chan struct{})}
	for _, s := range fleet {
		w.gateways = append(w.gateways, newS3(s, noRetry))
	}
	for i := range counters {
		_, err := w.gateways[0].CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(fmt.Sprintf("counter-%d", i))})
		must(t, err)
	}
	makeObjectBuckets(t, w.gateways[0])
	began := time.Now()
	for id := range 10 {
		random := rand.New(rand.NewPCG(seed, uint64(id)+1)) //nolint:gosec // a test's
		f := &fleetClient{t: t, id: id, began: began, note: w.noteCounter}
		o := &objectClient{t: t, id: id, began: began, random: random, note: w.noteObject}
		w.everlasting(random, func(c *s3.Client) {
			if id < 6 {
				f.operate(c, fmt.Sprintf("counter-%d", random.IntN(counters)))
			} else {
				o.operate(c)
			}
		})
	}
	return w
}

// everlasting has a client operate, until the crowd is sent home.
func (w *crowd) everlasting(random *rand.Rand, operate func(c *s3.Client)) {
	w.group.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			default:
			}
			w.mu.Lock()
			c := w.gateways[random.IntN(len(w.gateways))]
			w.mu.Unlock()
			operate(c)
		}
	})
}

func (w *crowd) noteCounter(key string, op porcupine.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if op.Output.(answer).accepted {
		w.accepted++
	}
	noteIn(w.operations, key, op)
}

func (w *crowd) noteObject(key string, op porcupine.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	noteIn(w.objects, key, op)
}

// noteIn adds an operation to the history of a key.
func noteIn(histories map[string][]porcupine.Operation, key string, op porcupine.Operation) {
	if op.Return == math.MaxInt64 {
		op.ClientId = 1000 + len(histories[key]) // it never returns, and its client goes on
	}
	histories[key] = append(histories[key], op)
}

// replace has clients use another gateway.
func (w *crowd) replace(i int, s *server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gateways[i] = newS3(s, noRetry)
}

// check sends the clients home and looks at what they saw.
func (w *crowd) check(t *testing.T) {
	t.Helper()
	close(w.stop)
	w.group.Wait()
	seen := 0
	for _, history := range w.objects {
		seen += len(history)
	}
	t.Logf("%d accepted writes, %d operations on objects", w.accepted, seen)
	if w.accepted == 0 {
		t.Error("nothing was accepted")
	}
	checkHistories(t, w.operations, counting())
	checkHistories(t, w.objects, beingAnObject())
}

// checkHistories looks whether what was seen of each key could have been so.
func checkHistories(t *testing.T, histories map[string][]porcupine.Operation, of porcupine.Model) {
	t.Helper()
	for key, list := range histories {
		if result := porcupine.CheckOperationsTimeout(of, list, time.Minute); result != porcupine.Ok {
			t.Errorf("the history of %d operations on %s is %s\n%s", len(list), key, result, tell(list, of))
		}
	}
}

// tell returns the last operations of a history, in the order in which they began.
func tell(history []porcupine.Operation, of porcupine.Model) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for _, op := range history[max(0, len(history)-200):] {
		fmt.Fprintf(&text, "%8d to %8d ms, client %4d: %s\n", op.Call/1e6, min(op.Return/1e6, 99999999), op.ClientId, of.DescribeOperation(op.Input, op.Output))
	}
	return text.String()
}

// TestFleetIsLinearizable counts by compare-and-swap through three gateways, and does all
// else that can be done to objects, with and without versions, while they are killed, frozen beyond their leases, and replaced, and checks
// the history of what the clients saw. SHOAL_TEST_SPAN is for how long, such as 1h.
func TestFleetIsLinearizable(t *testing.T) {
	t.Parallel()
	testLinearizable(t, 15*time.Second, startFleet(t, 3))
}

func testLinearizable(t *testing.T, lasts time.Duration, fleet []*server) {
	if full() {
		lasts = 5 * time.Minute
	}
	lasts = span(t, "SHOAL_TEST_SPAN", lasts)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	w := gather(t, fleet, seed)
	for began := time.Now(); time.Since(began) < lasts; {
		time.Sleep(time.Second)
		i := random.IntN(len(fleet))
		victim := fleet[i]
		switch random.IntN(3) {
		case 0:
			victim.kill(t)
		case 1:
			must(t, victim.cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(time.Duration(1+random.IntN(6)) * time.Second)
			must(t, victim.cmd.Process.Signal(syscall.SIGCONT))
			continue
		case 2:
			victim.stop(t)
		}
		fleet[i] = victim.again(t)
		w.replace(i, fleet[i])
	}
	time.Sleep(3 * time.Second)
	w.check(t)
}

func TestAllGatewaysCanBeReplacedAtOnce(t *testing.T) {
	fleet := startFleet(t, 2)
	c := newS3(fleet[0], noRetry)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("x")})
	must(t, err)
	before, _ := fleet[0].status(t)
	for _, s := range fleet {
		s.kill(t)
	}
	begun := time.Now()
	for i := range fleet {
		fleet[i] = fleet[i].again(t)
	}
	t.Logf("both ready after %v", time.Since(begun))
	for _, s := range fleet {
		got, err := readS3(newS3(s, noRetry).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")}))
		if err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
		_, err = newS3(s, noRetry).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("x")})
		must(t, err)
	}
	if after, _ := fleet[1].status(t); after.Generation <= before.Generation || len(after.Members) != 2 {
		t.Errorf("before: %+v, after: %+v", before, after)
	}
}
