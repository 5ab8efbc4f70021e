package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// persistent is a client that puts object after object, each through one node after another until one takes it.
type persistent struct {
	through []*s3.Client // of each node
	group   sync.WaitGroup
	stop    chan struct{}
	put     []string
	tries   int
	longest time.Duration
}

func persist(t *testing.T, c *nodes) *persistent {
	t.Helper()
	p := &persistent{stop: make(chan struct{})}
	for _, s := range c.servers {
		p.through = append(p.through, newS3(s, noRetry))
	}
	p.group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-p.stop:
				return
			default:
			}
			key := fmt.Sprint("put/", n)
			if !p.one(t, key) {
				t.Errorf("no node has taken %s", key)
				return
			}
		}
	})
	return p
}

// one puts one object, and reports whether a node has taken it within 30 s.
func (p *persistent) one(t *testing.T, key string) bool {
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		for _, i := range rand.Perm(len(p.through)) {
			p.tries++
			_, err := p.through[i].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(key)})
			if err == nil {
				p.put = append(p.put, key)
				p.longest = max(p.longest, time.Since(began))
				return true
			}
		}
	}
	return false
}

// end stops the client.
func (p *persistent) end(t *testing.T) {
	t.Helper()
	close(p.stop)
	p.group.Wait()
	t.Logf("%d objects were put in %d tries, the slowest in %v", len(p.put), p.tries, p.longest)
}

// expect looks that nodes have all that was put.
func (p *persistent) expect(t *testing.T, who ...int) {
	t.Helper()
	for _, i := range who {
		for _, key := range p.put {
			eventually(t, fmt.Sprintf("node %d reads %s", i, key), func() bool {
				got, err := readS3(p.through[i].GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key}))
				if err == nil && string(got) != key || errorCode(err) == "NoSuchKey" {
					t.Fatalf("node %d has %q of %s, %v", i, got, key, err)
				}
				return err == nil
			})
		}
	}
}

// TestNodesAreUpgradedOneAfterAnother has four nodes of the program that SHOAL_TEST_OLD names go over to this
// one under load, one after another: what clients see is true throughout, who tries again is served, and nothing is
// lost, also when two nodes go then. Where drives have a later version now, the older program refuses them.
func TestNodesAreUpgradedOneAfterAnother(t *testing.T) {
	old, current := os.Getenv("SHOAL_TEST_OLD"), binary(t)
	if old == "" {
		t.Skip("needs an older program, which SHOAL_TEST_OLD names")
	}
	t.Setenv("SHOAL_TEST_BINARY", old)
	c := startNodes(t, 4, 1)
	c.makeBucket(t)
	w, p := gather(t, c.servers, rand.Uint64()), persist(t, c)
	t.Setenv("SHOAL_TEST_BINARY", current)
	for i := range c.servers {
		time.Sleep(4 * time.Second) // under load
		c.servers[i].stop(t)
		c.launch(t, i).waitReady(t)
		awaitWhole(t, c.servers[i])
	}
	w.check(t)
	p.end(t)
	p.expect(t, 0, 1, 2, 3)

	c.servers[2].stop(t)
	t.Setenv("SHOAL_TEST_BINARY", old)
	again := c.launch(t, 2)
	eventually(t, "the older program refuses the drive, or knows its version", func() bool {
		return strings.Contains(again.log(t), "the identity of the drive cannot be read: it has version") || again.probe("/minio/health/ready") == http.StatusOK
	})
	c.servers[2].kill(t)
	c.servers[3].kill(t)
	p.expect(t, 0, 1)
	t.Setenv("SHOAL_TEST_BINARY", current)
	for i := 2; i < 4; i++ {
		c.launch(t, i).waitReady(t)
	}
	p.expect(t, 2)
}
