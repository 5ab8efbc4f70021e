package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// lossy is a drive that can be without commits of some spaces.
type lossy struct {
	erasure.Drive
	shards  atomic.Bool // it takes no shards
	objects atomic.Bool // it takes no objects
	uploads atomic.Bool // it takes no uploads, nor that they are over
	parts   atomic.Bool // it takes no parts
}

func (l *lossy) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	if l.shards.Load() {
		return nil, errAway
	}
	return l.Drive.Create(ctx, id, size)
}

func (l *lossy) Commit(ctx context.Context, c register.Change) error {
	if l.objects.Load() && c.Key.Space == register.Objects || l.uploads.Load() && c.Key.Space == register.Uploads || l.parts.Load() && c.Key.Space == register.Parts {
		return register.ErrUnknown
	}
	return l.Drive.Commit(ctx, c)
}

// begun is an upload over lossy drives.
type begun struct {
	*testing.T
	*erasure.Store
	drives []*lossy
	ref    object.UploadRef
	in     object.CompleteInput
}

const partSize = 5 << 20

func beginUpload(t *testing.T, n, parity int) *begun {
	t.Helper()
	b := &begun{T: t, in: object.CompleteInput{Size: -1}}
	var wrapped []erasure.Drive
	for _, d := range drives(n) {
		l := &lossy{Drive: d}
		b.drives, wrapped = append(b.drives, l), append(wrapped, l)
	}
	b.Store = open(t, parity, wrapped)
	if err := b.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	b.ref = newUpload(t, b.Store)
	return b
}

func newUpload(t *testing.T, s *erasure.Store) object.UploadRef {
	t.Helper()
	up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: "bucket", Key: "k"}}, Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true})
	if err != nil {
		t.Fatal(err)
	}
	return up.UploadRef
}

// part uploads the next part, of which some drives take nothing.
func (b *begun) part(without ...int) {
	b.Helper()
	for _, i := range without {
		b.drives[i].shards.Store(true)
		b.drives[i].parts.Store(true)
	}
	number := len(b.in.Parts) + 1
	p, err := b.PutPart(b.Context(), b.ref, number, objecttest.NewBody(bytes.Repeat([]byte{byte(number)}, partSize), object.CRC64NVME))
	if err != nil {
		b.Fatal(err)
	}
	b.in.Parts = append(b.in.Parts, object.CompletedPart{Number: number, ETag: p.ETag})
	for _, i := range without {
		b.drives[i].shards.Store(false)
		b.drives[i].parts.Store(false)
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
				for _, d := range b.drives[:g.n-register.Majority(g.n)] {
					d.objects.Store(true)
				}
				if _, err := b.CompleteUpload(b.Context(), b.ref, b.in); err != nil {
					if object.KindOf(err) != object.Unavailable {
						t.Fatal(err)
					}
					for _, d := range b.drives {
						d.objects.Store(false)
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
		for i, d := range b.drives {
			lost := make([]erasure.Drive, len(b.drives))
			for j := range b.drives {
				lost[j] = unclosed{b.drives[j].Drive}
			}
			gone := &nowhere{absent: absent{Drive: unclosed{d.Drive}}}
			gone.away.Store(true)
			lost[i] = gone
			again := &begun{T: t, Store: open(t, 2, lost), ref: b.ref, in: b.in}
			again.whole()
		}
	})
}

// TestACompleteThatCouldNotEndItsUploadMakesOneVersion: who does not hear that it was done asks again.
func TestACompleteThatCouldNotEndItsUploadMakesOneVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := beginUpload(t, 4, 2)
		if err := b.UpdateBucket(t.Context(), "bucket", func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }); err != nil {
			t.Fatal(err)
		}
		b.part()
		b.in.Check = func(current *object.Info) error {
			if current != nil {
				return object.E("check", current.Key, object.Locked, nil)
			}
			return nil
		}
		for _, d := range b.drives {
			d.uploads.Store(true)
		}
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); !errors.Is(err, object.Unknown) {
			t.Fatal(err)
		}
		for _, d := range b.drives {
			d.uploads.Store(false)
		}
		if _, err := b.CompleteUpload(t.Context(), b.ref, b.in); err != nil {
			t.Error(err)
		}
		if page, err := b.ListVersions(t.Context(), object.VersionQuery{Bucket: "bucket", Limit: 10}); err != nil || len(page.Versions) != 1 {
			t.Errorf("%d versions, %v", len(page.Versions), err)
		}
		if _, err := b.StatUpload(t.Context(), b.ref); !errors.Is(err, object.NoSuchUpload) {
			t.Errorf("the upload: %v", err)
		}
		b.whole()
	})
}

// TestAnUploadThatIsCompletedWhileItsKeyLeavesASetIsNotLeftThere: a pass that finds nothing to move is the last one.
func TestAnUploadThatIsCompletedWhileItsKeyLeavesASetIsNotLeftThere(t *testing.T) {
	first := &interrupted{Drive: drives(1)[0]}
	s := openSets(t, erasure.SetConfig{Drives: []erasure.Drive{first}}, erasure.SetConfig{Drives: drives(1)})
	if err := relocate(t, s, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	b := &begun{T: t, Store: s, ref: newUpload(t, s), in: object.CompleteInput{Size: -1}}
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
