package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// begun is an upload that goes on.
type begun struct {
	*testing.T
	*erasure.Store
	drives []*watched
	ref    object.UploadRef
	in     object.CompleteInput
}

const partSize = 5 << 20

func beginUpload(t *testing.T, n, parity int) *begun {
	t.Helper()
	all, as := watchedDrives(n)
	b := &begun{T: t, Store: open(t, parity, as), drives: all}
	if err := b.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	b.ref, b.in = upload(t, b.Store, 0)
	return b
}

// of are the changes of a space.
func of(space register.Space) func(c register.Change) bool {
	return func(c register.Change) bool { return c.Key.Space == space }
}

// part uploads the next part, of which some drives take nothing.
func (b *begun) part(without ...int) {
	b.Helper()
	var missing []*watched
	for _, i := range without {
		missing = append(missing, b.drives[i])
		b.drives[i].full.Store(true)
	}
	defer refuse(missing, of(register.Parts))()
	number := len(b.in.Parts) + 1
	p, err := b.PutPart(b.Context(), b.ref, number, objecttest.NewBody(bytes.Repeat([]byte{byte(number)}, partSize), object.CRC64NVME))
	if err != nil {
		b.Fatal(err)
	}
	b.in.Parts = append(b.in.Parts, object.CompletedPart{Number: number, ETag: p.ETag})
	for _, w := range missing {
		w.full.Store(false)
	}
}

// whole fails the test if the object cannot be read.
func (b *begun) whole() {
	b.Helper()
	h, err := b.Open(b.Context(), b.ref.Ref)
	if err != nil {
		b.Fatal(err)
	}
	size := int64(len(b.in.Parts) * partSize)
	if n, err := io.Copy(io.Discard, h.Range(0, size)); err != nil || n != size {
		b.Errorf("%d bytes of %d: %v", n, size, err)
	}
	if err := h.Close(); err != nil {
		b.Error(err)
	}
}

// without is the same after a drive is lost.
func (b *begun) without(drive int) *begun {
	rest := make([]erasure.Drive, len(b.drives))
	for i, d := range b.drives {
		gone := &nowhere{absent: absent{Drive: unclosed{d.Drive}}}
		gone.away.Store(i == drive)
		rest[i] = gone
	}
	return &begun{T: b.T, Store: open(b.T, 2, rest), ref: b.ref, in: b.in}
}

// TestACompletedUploadHasItsShardsWhateverDrivesMissedOfIt: the shards of a part go with it where nothing else refers to
// them, as on a drive that missed that there is an object.
func TestACompletedUploadHasItsShardsWhateverDrivesMissedOfIt(t *testing.T) {
	for _, g := range []struct{ n, parity int }{{4, 1}, {4, 2}, {6, 2}, {6, 3}} {
		t.Run(fmt.Sprint(g), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := beginUpload(t, g.n, g.parity)
				least := register.WriteQuorum(g.n, g.n-g.parity)
				var without []int
				for i := least; i < g.n; i++ {
					without = append(without, i)
				}
				b.part(without...)
				end := refuse(b.drives[:g.n-register.Majority(g.n)], of(register.Objects))
				_, err := b.CompleteUpload(b.Context(), b.ref, b.in)
				end()
				if err != nil {
					if object.KindOf(err) != object.Unavailable && !errors.Is(err, object.Unknown) {
						t.Fatal(err)
					}
					if _, err := b.CompleteUpload(b.Context(), b.ref, b.in); err != nil {
						t.Fatal("once more:", err)
					}
				}
				time.Sleep(10 * time.Minute) // nothing is healed
				b.whole()
			})
		})
	}
}

// TestAnUploadIsCompletedThoughEachPartIsMissingOnAnotherDrive: the object is on as many drives as one that was put.
func TestAnUploadIsCompletedThoughEachPartIsMissingOnAnotherDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := beginUpload(t, 4, 2)
		for i := range b.drives {
			b.part(i)
		}
		if _, err := b.CompleteUpload(b.Context(), b.ref, b.in); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		b.whole()
		for i := range b.drives {
			b.without(i).whole()
		}
	})
}

// TestACompleteThatCouldNotEndItsUploadMakesOneVersion: who does not hear that it was done asks again.
func TestACompleteThatCouldNotEndItsUploadMakesOneVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := beginUpload(t, 4, 2)
		if err := b.UpdateBucket(t.Context(), inBucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }); err != nil {
			t.Fatal(err)
		}
		b.part()
		b.in.Check = func(current *object.Info) error {
			if current != nil {
				return object.E("check", current.Key, object.Locked, nil)
			}
			return nil
		}
		end := refuse(b.drives, of(register.Uploads))
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); !errors.Is(err, object.Unknown) {
			t.Fatal(err)
		}
		end()
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); err != nil {
			t.Error(err)
		}
		if page, err := b.ListVersions(t.Context(), object.VersionQuery{Bucket: inBucket, Limit: 10}); err != nil || len(page.Versions) != 1 {
			t.Errorf("%d versions, %v", len(page.Versions), err)
		}
		if _, err := b.StatUpload(t.Context(), b.ref); !errors.Is(err, object.NoSuchUpload) {
			t.Errorf("the upload: %v", err)
		}
		b.whole()
	})
}

// TestACompleteThatIsRepeatedSeesToShardsThatDrivesLack: of the first one nobody knew what became of it, and it was
// settled by drives without them.
func TestACompleteThatIsRepeatedSeesToShardsThatDrivesLack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := beginUpload(t, 4, 2)
		b.part(2)
		b.part()
		end := refuse(b.drives[3:], of(register.Objects))
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); !errors.Is(err, object.Unknown) {
			t.Fatal(err)
		}
		end()
		b.drives[3].refuses = func(c register.Change) error { // it is known to be away by now, until the object is committed
			if c.Key.Space == register.Objects {
				return register.ErrUnknown
			}
			return nil
		}
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); err != nil {
			t.Fatal("once more:", err)
		}
		b.drives[3].refuses = nil
		time.Sleep(10 * time.Minute)
		for i := range b.drives {
			b.without(i).whole()
		}
	})
}

// TestAnUploadThatIsCompletedWhileItsKeyLeavesASetIsNotLeftThere: a pass that finds nothing to move is the last one.
func TestAnUploadThatIsCompletedWhileItsKeyLeavesASetIsNotLeftThere(t *testing.T) {
	first := &interrupted{Drive: drives(1)[0]}
	s := openSets(t, erasure.SetConfig{Drives: []erasure.Drive{first}}, erasure.SetConfig{Drives: drives(1)})
	if err := relocate(t, s, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	b := &begun{T: t, Store: s}
	b.ref, b.in = upload(t, s, 0)
	b.part()
	next := s.Placement().Rebalanced([]int{1, 10}) // records of buckets stay
	for next.Phase != placement.Moving {
		if err := s.Clear(t.Context(), next, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Place(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		next = next.Next()
	}
	if err := s.Place(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	first.space, first.then = register.Uploads, func() {
		if _, err := s.CompleteUpload(t.Context(), b.ref, b.in); err != nil {
			t.Error(err)
		}
	}
	moved, err := s.Move(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if moved.Names == 0 {
		if err := s.Place(t.Context(), next.Next()); err != nil {
			t.Fatal(err)
		}
	}
	b.whole()
}

// interrupted is a drive at which something happens before names of a space are listed for the first time.
type interrupted struct {
	erasure.Drive
	space register.Space
	then  func()
	once  sync.Once
}

func (i *interrupted) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	if i.then != nil && q.Space == i.space {
		i.once.Do(i.then)
	}
	return i.Drive.Scan(ctx, q)
}
