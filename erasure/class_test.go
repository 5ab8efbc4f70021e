package erasure_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// What is written while a drive is away is as safe as what is written while all are there.
func TestAWriteWhileADriveIsAwayHasMoreParity(t *testing.T) {
	all := lasting(4)
	gone := &detached{absent{Drive: all[3]}}
	all[3] = gone
	away := 0
	locker := lock.NewLocal(1)
	defer locker.Close()
	over := func(set erasure.SetConfig) *erasure.Store {
		s, err := erasure.New(t.Context(), erasure.Config{Sets: []erasure.SetConfig{set}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := over(erasure.SetConfig{Drives: all, Parity: 1, Away: func() int { return away }})
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		t.Helper()
		if _, err := s.Put(t.Context(), at(key, ""), object.PutInput{Body: objecttest.NewBody(make([]byte, 100_000), object.CRC64NVME)}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	away = 1
	gone.away.Store(true)
	put("meanwhile")
	if err := s.Close(); err != nil { // the drives have been told what is committed
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"before": false, "meanwhile": true} {
		left := []erasure.Drive{format.Absent{}, all[1], all[2], format.Absent{}} // one more is lost
		h, err := over(erasure.SetConfig{Drives: left}).Open(t.Context(), at(key, ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, h.Range(0, 100_000)); (err == nil) != want {
			t.Errorf("%s, with two of four drives: %v", key, err)
		}
	}
}

// unclosed is a drive that another Store goes on with.
type unclosed struct{ erasure.Drive }

func (unclosed) Close() error { return nil }

// lasting is drives for one Store after the other. What one has committed the next one knows once
// that is closed.
func lasting(n int) []erasure.Drive {
	all := drives(n)
	for i := range all {
		all[i] = unclosed{all[i]}
	}
	return all
}

// ofTwoClasses returns a Store over a set with a parity of two, and of one for what is of
// reduced redundancy.
func ofTwoClasses(t *testing.T, all []erasure.Drive, locker lock.Locker) *erasure.Store {
	t.Helper()
	s, err := erasure.New(context.Background(), erasure.Config{Sets: []erasure.SetConfig{{Drives: all, Parity: 2, Reduced: 1}}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReducedRedundancyHasLessParity puts objects of two classes, each at once and as an upload,
// and takes drives away.
func TestReducedRedundancyHasLessParity(t *testing.T) {
	all := lasting(4)
	locker := lock.NewLocal(1)
	defer locker.Close()
	over := func(all []erasure.Drive) *erasure.Store { return ofTwoClasses(t, all, locker) }
	s := over(all)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
	body := func() object.Body { return objecttest.NewBody(make([]byte, 1<<20), object.CRC64NVME) }
	for _, class := range []string{"", "REDUCED_REDUNDANCY"} {
		ref := object.Ref{Bucket: "bucket", Key: "put" + class}
		_, err := s.Put(t.Context(), ref, object.PutInput{Meta: object.Meta{StorageClass: class}, Body: body()})
		must(err)
		up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: "bucket", Key: "upload" + class}}, Meta: object.Meta{StorageClass: class}, Algorithm: object.CRC64NVME})
		must(err)
		part, err := s.PutPart(t.Context(), up.UploadRef, 1, body())
		must(err)
		_, err = s.CompleteUpload(t.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}})
		must(err)
	}
	must(s.Close())
	for lost, readable := range map[int][]string{1: {"put", "upload", "putREDUCED_REDUNDANCY", "uploadREDUCED_REDUNDANCY"}, 2: {"put", "upload"}} {
		left := append([]erasure.Drive(nil), all...)
		for i := range lost {
			left[i] = format.Absent{}
		}
		s := over(left)
		count := 0
		for _, key := range []string{"put", "upload", "putREDUCED_REDUNDANCY", "uploadREDUCED_REDUNDANCY"} {
			h, err := s.Open(t.Context(), object.Ref{Bucket: "bucket", Key: key})
			must(err)
			if _, err := h.Range(0, 1<<20).Read(make([]byte, 1<<20)); err == nil {
				count++
			}
			must(h.Close())
		}
		if count != len(readable) {
			t.Errorf("without %d drives %d objects can be read, and %d should be", lost, count, len(readable))
		}
	}
}

// TestParitiesThatAreChangedHoldForWhatIsNew has an object of before, one of after, and one whose
// upload was begun before.
func TestParitiesThatAreChangedHoldForWhatIsNew(t *testing.T) {
	all := lasting(4)
	locker := lock.NewLocal(1)
	defer locker.Close()
	over := func(all []erasure.Drive) *erasure.Store { return ofTwoClasses(t, all, locker) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := over(all)
	must(s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
	ref := func(key string) object.Ref { return object.Ref{Bucket: "bucket", Key: key} }
	const size = 5 << 20
	body := func() object.Body { return objecttest.NewBody(make([]byte, size), object.CRC64NVME) }
	_, err := s.Put(t.Context(), ref("before"), object.PutInput{Body: body()})
	must(err)
	up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref("both")}, Algorithm: object.CRC64NVME})
	must(err)
	var parts []object.CompletedPart
	for number := 1; number <= 2; number++ {
		part, err := s.PutPart(t.Context(), up.UploadRef, number, body())
		must(err)
		parts = append(parts, object.CompletedPart{Number: number, ETag: part.ETag})
		s.SetParities(func(int) (parity, reduced int) { return 1, 0 })
	}
	_, err = s.CompleteUpload(t.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: parts})
	must(err)
	_, err = s.Put(t.Context(), ref("after"), object.PutInput{Body: body()})
	must(err)
	must(s.Close())
	for lost, readable := range map[int]string{0: "before both after ", 1: "before both after ", 2: "before both "} {
		left := append([]erasure.Drive(nil), all...)
		for i := range lost {
			left[i] = format.Absent{}
		}
		s, got := over(left), ""
		for _, key := range []string{"before", "both", "after"} {
			h, err := s.Open(t.Context(), ref(key))
			must(err)
			if n, err := io.Copy(io.Discard, h.Range(0, h.Info().Size)); err == nil && n == h.Info().Size {
				got += key + " "
			}
			must(h.Close())
		}
		if got != readable {
			t.Errorf("without %d drives %q can be read, not %q", lost, got, readable)
		}
	}
}
