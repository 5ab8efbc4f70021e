package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// weather is four nodes whose network is disturbed, and what was written meanwhile.
type weather struct {
	*lab
	*nodes
	clients      []*s3.Client // of each node
	acknowledged []string
}

// put writes an object through a node, and keeps in mind that it did.
func (w *weather) put(t *testing.T, i int, key string) error {
	_, err := w.clients[i].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("counter-0"), Key: &key, Body: strings.NewReader(key)})
	if err == nil {
		w.acknowledged = append(w.acknowledged, key)
	}
	return err
}

func (w *weather) get(t *testing.T, i int, key string) (string, error) {
	got, err := readS3(w.clients[i].GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("counter-0"), Key: &key}))
	return string(got), err
}

// goesOn waits until nodes take writes, each of some keys.
func (w *weather) goesOn(t *testing.T, when string, who ...int) {
	t.Helper()
	for _, i := range who {
		for n := range 4 {
			key := fmt.Sprintf("%s/%d through node %d", when, n, i)
			eventually(t, key, func() bool { return w.put(t, i, key) == nil })
		}
	}
}

// refuses waits until a node says that it is not ready, and looks that it answers nothing then.
func (w *weather) refuses(t *testing.T, when string, i int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s: node %d is not ready", when, i), func() bool { return w.servers[i].probe("/minio/health/ready") == http.StatusServiceUnavailable })
	if err := w.put(t, i, when); !unavailable(err) {
		t.Errorf("%s: node %d, which is not ready, answers a write with %v", when, i, err)
	}
	if got, err := w.get(t, i, w.acknowledged[0]); !unavailable(err) {
		t.Errorf("%s: node %d, which is not ready, answers a read with %q, %v", when, i, got, err)
	}
}

// has looks that a node has all that was acknowledged. It may have to ask twice, and must not be told
// anything else.
func (w *weather) has(t *testing.T, when string, i int) {
	t.Helper()
	for _, key := range w.acknowledged {
		eventually(t, fmt.Sprintf("%s: node %d reads %q", when, i, key), func() bool {
			got, err := w.get(t, i, key)
			if err == nil && got != key || errorCode(err) == "NoSuchKey" {
				t.Fatalf("%s: node %d has %q of %q, %v", when, i, got, key, err)
			}
			return err == nil
		})
	}
}

// clears waits until all nodes are ready again, and looks that each has all that was acknowledged.
func (w *weather) clears(t *testing.T, after string) {
	t.Helper()
	for i, s := range w.servers {
		eventually(t, fmt.Sprintf("after %s node %d is ready", after, i), func() bool { return s.probe("/minio/health/cluster") == http.StatusOK })
	}
	w.goesOn(t, "after "+after, 0, 1, 2, 3)
	for i := range w.servers {
		w.has(t, "after "+after, i)
	}
}

// TestNodesWhoseLinksFailInPartTellTheTruth has one node of four hear nobody, another one be heard by nobody, two
// not reach each other while the others reach both, and a link go up and down, while clients count through all of
// them: what each of them sees has to be true, a 503 has changed nothing, who reaches a majority goes on, and
// when the network is whole all nodes are, with all that was acknowledged.
func TestNodesWhoseLinksFailInPartTellTheTruth(t *testing.T) {
	t.Parallel()
	l, c := startInLab(t, 4)
	w := &weather{lab: l, nodes: c}
	for _, s := range c.servers {
		w.clients = append(w.clients, newS3(s, noRetry))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	crowd := gather(t, c.servers, seed)
	w.goesOn(t, "at first", 0, 1, 2, 3)

	for i := range 3 {
		l.lose(t, i, 3, true)
	}
	w.refuses(t, "one hears nobody", 3)
	w.goesOn(t, "one hears nobody", 0, 1, 2)
	for i := range 3 {
		l.lose(t, i, 3, false)
	}
	w.clears(t, "one heard nobody")

	for i := 1; i < 4; i++ {
		l.lose(t, 0, i, true)
	}
	w.refuses(t, "one is heard by nobody", 0)
	w.goesOn(t, "one is heard by nobody", 1, 2, 3)
	for i := 1; i < 4; i++ {
		l.lose(t, 0, i, false)
	}
	w.clears(t, "one was heard by nobody")

	for _, pair := range [][2]int{{0, 1}, {2, 3}} { // the leader is in one of them
		when := fmt.Sprintf("nodes %d and %d do not reach each other", pair[0], pair[1])
		l.lose(t, pair[0], pair[1], true)
		l.lose(t, pair[1], pair[0], true)
		time.Sleep(5 * time.Second) // whoever takes somebody for dead has done so
		w.goesOn(t, when, 0, 1, 2, 3)
		w.has(t, when, pair[0])
		w.has(t, when, pair[1])
		l.lose(t, pair[0], pair[1], false)
		l.lose(t, pair[1], pair[0], false)
		w.clears(t, when)
	}

	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	for range 20 {
		l.cut(t, 1, true)
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		l.cut(t, 1, false)
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
	}
	w.clears(t, "a link went up and down")
	crowd.check(t)
}
