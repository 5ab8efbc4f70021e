package test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// patient has a client try again for as long as a fleet takes to go on without a node.
func patient(o *s3.Options) { o.RetryMaxAttempts = 10 }

// spreadOut is an upload whose steps are taken through several nodes.
type spreadOut struct {
	key   *string
	id    *string
	parts []types.CompletedPart
	whole []byte
	etag  string // of the object that it has become
}

func (u *spreadOut) begin(ctx context.Context, c *s3.Client) error {
	begun, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: u.key})
	if err == nil {
		u.id = begun.UploadId
	}
	return err
}

func (u *spreadOut) send(ctx context.Context, c *s3.Client, content []byte) error {
	number := aws.Int32(int32(len(u.parts) + 1)) //nolint:gosec // a few
	sent, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: u.key, UploadId: u.id, PartNumber: number, Body: bytes.NewReader(content)})
	if err == nil {
		u.parts = append(u.parts, types.CompletedPart{PartNumber: number, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32})
		u.whole = append(u.whole, content...)
	}
	return err
}

func (u *spreadOut) complete(ctx context.Context, c *s3.Client) error {
	made, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String("bucket"), Key: u.key, UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	})
	if err != nil {
		return err
	}
	if u.etag != "" && u.etag != *made.ETag {
		return fmt.Errorf("it was completed as %s, and is now as %s", u.etag, *made.ETag)
	}
	u.etag = *made.ETag
	return nil
}

func (u *spreadOut) abort(ctx context.Context, c *s3.Client) error {
	_, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: aws.String("bucket"), Key: u.key, UploadId: u.id})
	return err
}

// expectParts looks that a node lists the parts that were acknowledged.
func (u *spreadOut) expectParts(t *testing.T, c *s3.Client) {
	t.Helper()
	listed, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: u.key, UploadId: u.id})
	must(t, err)
	for i, p := range u.parts {
		if i >= len(listed.Parts) || *listed.Parts[i].ETag != *p.ETag {
			t.Errorf("%s: of %d parts that were acknowledged, number %d is not listed", *u.key, len(u.parts), i+1)
		}
	}
}

// expectOver looks that a node lists the upload no more.
func (u *spreadOut) expectOver(t *testing.T, c *s3.Client) {
	t.Helper()
	listed, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("bucket"), Prefix: u.key})
	must(t, err)
	for _, up := range listed.Uploads {
		if *up.UploadId == *u.id {
			t.Errorf("%s: the upload is over, and still listed", *u.key)
		}
	}
}

// The steps of an upload during which a node is killed.
const (
	beginning  = "begun"
	sending    = "sent a part"
	completing = "completed"
	aborting   = "aborted"
)

// TestAnUploadGoesOnWhenANodeIsKilled kills the node that is asked, and another one, while an upload is
// begun, is sent a part, completed, and aborted. What was acknowledged is so on the others, what was not can be done
// again through them, and the node that was killed knows all of it when it is back.
func TestAnUploadGoesOnWhenANodeIsKilled(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 4, 1)
	c.makeBucket(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	for _, step := range []string{beginning, sending, completing, aborting} {
		lasts := 6 * time.Millisecond
		if step == sending {
			lasts = 40 * time.Millisecond
		}
		for away := range 2 {
			asked := random.IntN(4)
			victim := (asked + away) % 4
			u := &spreadOut{key: aws.String(fmt.Sprintf("%s by node %d while %d is killed", step, asked, victim))}
			others := []*s3.Client{newS3(c.servers[(victim+1)%4], patient), newS3(c.servers[(victim+2)%4], patient)}
			killed := func(act func(ctx context.Context, c *s3.Client) error) bool {
				outcome := make(chan error, 1)
				client := newS3(c.servers[asked], noRetry)
				go func() { outcome <- act(t.Context(), client) }()
				time.Sleep(time.Duration(random.Int64N(int64(lasts)))) // any instant is a good one
				c.servers[victim].kill(t)
				err := <-outcome
				t.Logf("%s: %v", *u.key, err)
				return err == nil
			}
			u.take(t, step, killed, others)
			c.launch(t, victim).waitReady(t)
			for i, s := range c.servers {
				if u.expectOver(t, newS3(s, patient)); step != aborting {
					c.expect(t, i, *u.key, u.whole)
					continue
				}
				_, err := newS3(s, patient).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: u.key})
				wantCode(t, err, "NoSuchKey")
			}
		}
	}
}

// take takes all steps of an upload, one of them while a node is killed: that reports whether it was
// acknowledged.
func (u *spreadOut) take(t *testing.T, step string, killed func(func(context.Context, *s3.Client) error) bool, others []*s3.Client) {
	t.Helper()
	ctx := t.Context()
	if step != beginning || !killed(u.begin) {
		must(t, u.begin(ctx, others[0]))
	}
	must(t, u.send(ctx, others[0], random(5<<20)))
	second := random(5 << 20)
	send := func(ctx context.Context, c *s3.Client) error { return u.send(ctx, c, second) }
	if step != sending || !killed(send) {
		must(t, send(ctx, others[1]))
	}
	u.expectParts(t, others[0])
	must(t, u.send(ctx, others[0], random(1000)))
	switch step {
	case aborting:
		acknowledged := killed(u.abort)
		if err := u.abort(ctx, others[0]); errorCode(err) != "NoSuchUpload" && (acknowledged || err != nil) {
			t.Errorf("%s: acknowledged: %v, and aborted again: %v", *u.key, acknowledged, err)
		}
	case completing:
		killed(u.complete)
		must(t, u.complete(ctx, others[0]))
		must(t, u.complete(ctx, others[1])) // who asks again gets the same answer
	default:
		must(t, u.complete(ctx, others[1]))
	}
}

// endUploadsTwice completes uploads through one gateway while another one aborts them, or replaces a
// part: one of the two is first, and the other is told.
func endUploadsTwice(t *testing.T, c []*s3.Client) {
	t.Helper()
	ctx := t.Context()
	for round := range 20 {
		u := &spreadOut{key: aws.String(fmt.Sprint("ended twice/", round))}
		must(t, u.begin(ctx, c[0]))
		must(t, u.send(ctx, c[1], []byte("one")))
		other := func() error { return u.abort(ctx, c[2]) }
		if round%2 == 1 {
			again := &spreadOut{key: u.key, id: u.id}
			other = func() error { return again.send(ctx, c[2], []byte("two")) }
		}
		var completed, changed error
		var group sync.WaitGroup
		group.Go(func() { completed = u.complete(ctx, c[1]) })
		group.Go(func() { changed = other() })
		group.Wait()
		code := errorCode(completed) + errorCode(changed)
		if (completed == nil) == (changed == nil) || code != "NoSuchUpload" && code != "InvalidPart" {
			t.Errorf("round %d: completed: %v, aborted or changed: %v", round, completed, changed)
		}
		got, err := readS3(c[0].GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: u.key}))
		if there := err == nil && string(got) == "one"; there != (completed == nil) || !there && errorCode(err) != "NoSuchKey" {
			t.Errorf("round %d: completed: %v, and then it reads %q, %v", round, completed, got, err)
		}
	}
}
