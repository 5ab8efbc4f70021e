package erasure_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// A request that has found a bucket there, which is deleted then in a way that nobody can tell
// whether it is, settles that and hears what has come of it.
func TestWhoMeetsABucketThatIsHalfDeletedHearsWhatBecomesOfIt(t *testing.T) {
	body := func() object.Body { return objecttest.NewBody([]byte("content"), object.CRC64NVME) }
	for name, do := range map[string]func(t *testing.T, s *erasure.Store, up object.Upload, b object.Bucket) error{
		"put": func(t *testing.T, s *erasure.Store, _ object.Upload, b object.Bucket) error {
			_, err := s.Put(object.WithBucket(t.Context(), b), at("k", ""), object.PutInput{Body: body()})
			return err
		},
		"delete": func(t *testing.T, s *erasure.Store, _ object.Upload, b object.Bucket) error {
			_, err := s.Delete(object.WithBucket(t.Context(), b), at("k", ""), nil)
			return err
		},
		"a part": func(t *testing.T, s *erasure.Store, up object.Upload, b object.Bucket) error {
			_, err := s.PutPart(object.WithBucket(t.Context(), b), up.UploadRef, 1, body())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first []*postponing
				var wrapped []erasure.Drive
				for _, d := range drives(4) {
					p := &postponing{absent: absent{Drive: d}}
					first, wrapped = append(first, p), append(wrapped, p)
				}
				s := open(t, 2, wrapped)
				if err := s.CreateBucket(t.Context(), object.Bucket{Name: inBucket}); err != nil {
					t.Fatal(err)
				}
				known, err := s.StatBucket(t.Context(), inBucket)
				if err != nil {
					t.Fatal(err)
				}
				up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: at("k", "")}, Algorithm: object.CRC64NVME})
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range first {
					d.hold(!slices.Contains([]int{0, 1}, i))
				}
				if err := s.DeleteBucket(t.Context(), inBucket); !errors.Is(err, object.Unknown) {
					t.Fatalf("a deletion that misses its quorum: %v", err)
				}
				for _, d := range first {
					d.hold(false)
				}
				if err := do(t, s, up, known); !errors.Is(err, object.NoSuchBucket) {
					t.Errorf("it is answered %v", err)
				}
			})
		})
	}
}
