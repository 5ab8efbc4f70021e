package erasure_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// TestAVersionIsRetainedByTheClockForThat, and not by the one that dates versions, which may be fast.
func TestAVersionIsRetainedByTheClockForThat(t *testing.T) {
	ahead := time.Duration(0)
	locker := lock.NewLocal(1)
	defer locker.Close()
	s, err := erasure.New(t.Context(), erasure.Config{
		Sets: []erasure.SetConfig{{Drives: drives(1)}}, Locker: locker, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(24 * time.Hour) }, LockNow: func() time.Time { return time.Now().Add(ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	b := object.Bucket{Name: "bucket", Versioning: object.Versioned, Documents: map[string]string{"object-lock": "on"}}
	if err := s.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	info, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{
		Body: objecttest.NewBody([]byte("x"), object.CRC64NVME), Meta: object.Meta{Retention: object.Retention{Mode: object.Compliance, Until: time.Now().Add(time.Hour)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := object.Ref{Bucket: "bucket", Key: "k", Version: info.Version}
	if _, err := s.Delete(t.Context(), ref, nil); !errors.Is(err, object.Locked) {
		t.Errorf("within its time it is deleted: %v", err)
	}
	ahead = 2 * time.Hour
	if _, err := s.Delete(t.Context(), ref, nil); err != nil {
		t.Errorf("when that is over: %v", err)
	}
}
