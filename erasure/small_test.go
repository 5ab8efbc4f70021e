package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// asked counts what a drive is asked.
type asked struct {
	erasure.Drive
	records, shards atomic.Int32
	spoil           bool  // the shards that come with records
	lost            bool  // no shard is whole
	away            error // of reading shards
	blind           error // of reading what is kept of objects
}

func (a *asked) Read(ctx context.Context, q register.Query) (register.View, error) {
	a.records.Add(1)
	if a.blind != nil && q.Key.Space == register.Objects {
		return register.View{}, a.blind
	}
	v, err := a.Drive.Read(ctx, q)
	if (a.spoil || a.lost) && len(v.Inline) > 0 {
		v.Inline[len(v.Inline)/2] ^= 1
	}
	return v, err
}

func (a *asked) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	a.shards.Add(1)
	if a.away != nil {
		return 0, a.away
	}
	n, err := a.Drive.ReadShard(ctx, id, offset, p)
	if a.lost {
		return n / 2, err
	}
	return n, err
}

// askedDrives returns a Store over four drives of which one is near, with a bucket.
func askedDrives(t *testing.T, near int) (*erasure.Store, []*asked) {
	t.Helper()
	all, counted := drives(4), make([]*asked, 4)
	for i := range all {
		counted[i] = &asked{Drive: all[i]}
		all[i] = counted[i]
	}
	s := openSets(t, erasure.SetConfig{Drives: all, Parity: 2, Near: func(i int) bool { return i == near }})
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return s, counted
}

func put(t *testing.T, s *erasure.Store, key string, content []byte) object.Ref {
	t.Helper()
	ref := object.Ref{Bucket: "bucket", Key: key}
	if _, err := s.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody(content, object.CRC64NVME)}); err != nil {
		t.Fatal(err)
	}
	return ref
}

func get(t *testing.T, s *erasure.Store, ref object.Ref, offset, length int) []byte {
	t.Helper()
	h, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(h.Range(int64(offset), int64(length)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestASmallObjectIsReadWithItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := askedDrives(t, 2)
		for i, size := range []int{0, 1, 2048, 4096, 15_000} {
			content := bytes.Repeat([]byte{byte(i + 1), 7}, size)[:size]
			ref := put(t, s, fmt.Sprint(size), content)
			synctest.Wait() // all have been told that it is committed
			for _, a := range all {
				a.records.Store(0)
				a.shards.Store(0)
			}
			if b := get(t, s, ref, 0, size); !bytes.Equal(b, content) {
				t.Errorf("%d bytes came as %d others", size, len(b))
			}
			if b := get(t, s, ref, size/2, size); !bytes.Equal(b, content[size/2:]) {
				t.Errorf("the second half of %d bytes came as %d others", size, len(b))
			}
			for d, a := range all {
				want := int32(0)
				if d >= 2 { // the near one, and the one behind it
					want = 4 // of the bucket and of the object, twice
				}
				if n := a.records.Load(); n != want {
					t.Errorf("%d bytes: drive %d was asked for %d records, and should have been for %d", size, d, n, want)
				}
				if n := a.shards.Load(); n != 0 {
					t.Errorf("%d bytes: drive %d was asked for %d shards by themselves", size, d, n)
				}
			}
		}
	})
}

func TestASmallShardThatIsNotWholeIsNotUsed(t *testing.T) {
	s, all := askedDrives(t, 0)
	content := bytes.Repeat([]byte("shoal"), 1000)
	ref := put(t, s, "k", content)
	for _, a := range all {
		a.spoil = true
	}
	if b := get(t, s, ref, 0, len(content)); !bytes.Equal(b, content) {
		t.Error("what was read is not what was written")
	}
}

// TestARecordThatARequestHasReadIsNotReadAgain: but under a lock it is, so that nothing is written
// to a bucket that is no more.
func TestARecordThatARequestHasReadIsNotReadAgain(t *testing.T) {
	s, all := askedDrives(t, 0)
	ref := put(t, s, "k", []byte("content"))
	b, err := s.StatBucket(t.Context(), "bucket")
	if err != nil || b.ID == 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	ctx := object.WithBucket(t.Context(), b)
	for _, a := range all {
		a.records.Store(0)
	}
	if _, err := s.Stat(ctx, ref); err != nil || all[0].records.Load() != 1 {
		t.Errorf("%d records were read, and should have been the object's: %v", all[0].records.Load(), err)
	}
	if _, err := s.Stat(ctx, object.Ref{Bucket: "other", Key: "k"}); object.KindOf(err) != object.NoSuchBucket {
		t.Errorf("another bucket: %v", err)
	}
	if _, err := s.Delete(t.Context(), ref, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(ctx, ref, object.PutInput{Body: objecttest.NewBody([]byte("late"), object.CRC64NVME)})
	if kind := object.KindOf(err); kind != object.NoSuchBucket && kind != object.Unavailable { // drives may be forgetting it just now
		t.Errorf("a bucket that is no more: %v", err)
	}
}

// TestWhatCannotBeReadIsKnownBeforeAnythingIsGiven: of a small content and of a large one.
func TestWhatCannotBeReadIsKnownBeforeAnythingIsGiven(t *testing.T) {
	s, all := askedDrives(t, 0)
	for _, size := range []int{3000, 100_000, 5 << 20} {
		content := bytes.Repeat([]byte("shoal"), size/5)
		ref := put(t, s, fmt.Sprint(size), content)
		for lost := range 4 {
			for i, a := range all {
				a.lost = i < lost
			}
			h, err := s.Open(t.Context(), ref)
			if err != nil {
				if lost < 3 || object.KindOf(err) != object.Unavailable {
					t.Errorf("%d bytes, %d shards lost: %v", size, lost, err)
				}
				continue
			}
			r := h.Range(5, int64(size))
			if p, ok := r.(object.Prefetcher); ok {
				err = p.Prefetch()
			}
			if lost < 3 {
				if b, late := io.ReadAll(r); err != nil || late != nil || !bytes.Equal(b, content[5:]) {
					t.Errorf("%d bytes, %d shards lost: %v, then %v with %d bytes", size, lost, err, late, len(b))
				}
			} else if object.KindOf(err) != object.Unavailable {
				t.Errorf("%d bytes, %d shards lost: %v", size, lost, err)
			}
		}
	}
}

// TestADriveThatCannotBeAskedHasNoDamage: a scrub leaves what it cannot look at, and makes nothing anew.
func TestADriveThatCannotBeAskedHasNoDamage(t *testing.T) {
	s, all := askedDrives(t, 0)
	put(t, s, "k", bytes.Repeat([]byte("shoal"), 100_000))
	for name, err := range map[string]error{
		"the network": &net.OpError{Op: "dial", Err: errors.New("connection refused")}, "files": &fs.PathError{Op: "open", Err: syscall.EMFILE}, "closed": register.ErrUnknown,
	} {
		all[1].away = err
		h, err := s.Scrub(t.Context(), 1<<40, nil)
		if err != nil || h.Damaged != 0 || h.Shards != 0 || h.Failed == 0 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for name, err := range map[string]error{"what cannot be read": &fs.PathError{Op: "read", Err: syscall.EIO}, "what takes too long": context.DeadlineExceeded} {
		all[1].away = err
		if h, err := s.Scrub(t.Context(), 1<<40, nil); err != nil || h.Damaged != 1 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// TestACompleteThatIsRepeatedWhileDrivesAreAwayCanBeRepeatedAgain: who did not hear the answer is not told that there was none.
func TestACompleteThatIsRepeatedWhileDrivesAreAwayCanBeRepeatedAgain(t *testing.T) {
	s, all := askedDrives(t, 0)
	up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: "bucket", Key: "k"}}, Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true})
	if err != nil {
		t.Fatal(err)
	}
	part, err := s.PutPart(t.Context(), up.UploadRef, 1, objecttest.NewBody([]byte("content"), object.CRC64NVME))
	if err != nil {
		t.Fatal(err)
	}
	complete := func() (object.Info, error) {
		return s.CompleteUpload(t.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}})
	}
	info, err := complete()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		a.blind = errAway
	}
	if _, err := complete(); object.KindOf(err) != object.Unavailable {
		t.Errorf("while it cannot be looked for: %v", err)
	}
	for _, a := range all {
		a.blind = nil
	}
	if again, err := complete(); err != nil || again.ETag != info.ETag {
		t.Errorf("afterwards: %+v, %v", again, err)
	}
}
