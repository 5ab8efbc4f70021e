package test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestOneOfManyCreatorsWins lets many connections create the same key.
func TestOneOfManyCreatorsWins(t *testing.T) {
	s := start(t)
	c := newS3(s, noRetry)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	for round := range 10 {
		key := aws.String(fmt.Sprintf("round-%d", round))
		var (
			group  sync.WaitGroup
			won    atomic.Int32
			winner atomic.Value
		)
		for i := range 64 {
			group.Go(func() {
				content := fmt.Sprintf("creator %d", i)
				_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: key, Body: strings.NewReader(content), IfNoneMatch: aws.String("*")})
				if err == nil {
					won.Add(1)
					winner.Store(content)
				} else {
					wantCode(t, err, "PreconditionFailed")
				}
			})
		}
		group.Wait()
		got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: key}))
		if err != nil || won.Load() != 1 || string(got) != winner.Load() {
			t.Errorf("%d won, the last was %v, the object holds %q, %v", won.Load(), winner.Load(), got, err)
		}
	}
}

// access is an operation on the register that an object is: a read of its value
// and ETag, or a write on the condition of an ETag.
type access struct {
	write   int    // value to write; 0 is a read
	ifMatch string // condition of a write
}

// outcome is what an access came to.
type outcome struct {
	value    int // read
	etag     string
	accepted bool // write
}

// register is the object as one client would see it alone.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return outcome{} },
		Step: func(state, input, output any) (bool, any) {
			now, in, out := state.(outcome), input.(access), output.(outcome)
			if in.write == 0 {
				return out.value == now.value && out.etag == now.etag, now
			}
			if matches := in.ifMatch == now.etag; matches != out.accepted {
				return false, now
			}
			if out.accepted {
				return true, outcome{value: in.write, etag: out.etag}
			}
			return true, now
		},
		Equal: func(a, b any) bool { return a == b },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v -> %+v", input, output)
		},
	}
}

// TestCounterIsLinearizable counts in an object from many clients by
// compare-and-swap, and checks the history of what they saw.
func TestCounterIsLinearizable(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newS3(s, noRetry)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	h := &history{c: c, started: time.Now()}
	h.write(t, 0, access{write: 1})
	clients, rounds := 8, 25
	if full() {
		rounds = 200
	}
	var group sync.WaitGroup
	for id := range clients {
		group.Go(func() {
			for range rounds {
				seen := h.read(t, id)
				h.write(t, id, access{write: seen.value + 1, ifMatch: seen.etag})
			}
		})
	}
	group.Wait()
	if last, want := h.read(t, 0).value, h.accepted(); last != want {
		t.Errorf("the counter is %d after %d accepted writes", last, want)
	}
	if result := porcupine.CheckOperationsTimeout(register(), h.operations, time.Minute); result != porcupine.Ok {
		t.Errorf("the history of %d operations is %s", len(h.operations), result)
	}
}

// history notes what clients do with one object.
type history struct {
	c          *s3.Client
	started    time.Time
	mu         sync.Mutex
	operations []porcupine.Operation
}

func (h *history) note(id int, called time.Time, in access, out outcome) {
	returned := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{
		ClientId: id, Input: in, Call: int64(called.Sub(h.started)), Output: out, Return: int64(returned.Sub(h.started)),
	})
}

func (h *history) read(t *testing.T, id int) outcome {
	called := time.Now()
	got, err := h.c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("counter")})
	content, err := readS3(got, err)
	if err != nil {
		t.Error(err)
		return outcome{}
	}
	value, err := strconv.Atoi(string(content))
	if err != nil {
		t.Error(err)
	}
	out := outcome{value: value, etag: aws.ToString(got.ETag)}
	h.note(id, called, access{}, out)
	return out
}

func (h *history) write(t *testing.T, id int, in access) {
	put := &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("counter"), Body: strings.NewReader(strconv.Itoa(in.write))}
	if in.ifMatch == "" {
		put.IfNoneMatch = aws.String("*")
	} else {
		put.IfMatch = aws.String(in.ifMatch)
	}
	called := time.Now()
	out, err := h.c.PutObject(t.Context(), put)
	switch {
	case err == nil:
		h.note(id, called, in, outcome{etag: aws.ToString(out.ETag), accepted: true})
	case errorCode(err) == "PreconditionFailed":
		h.note(id, called, in, outcome{})
	default:
		t.Error(err)
	}
}

// accepted returns how many writes were.
func (h *history) accepted() int {
	n := 0
	for _, o := range h.operations {
		if o.Output.(outcome).accepted {
			n++
		}
	}
	return n
}
