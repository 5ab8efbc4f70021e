package nasfs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// TestAVersionIsRetainedByTheClockForThat, and not by the one that dates versions, which may be fast.
func TestAVersionIsRetainedByTheClockForThat(t *testing.T) {
	ahead := time.Duration(0)
	cfg := config(t, vfs.NewMemory().Root())
	cfg.Now, cfg.LockNow = func() time.Time { return time.Now().Add(24 * time.Hour) }, func() time.Time { return time.Now().Add(ahead) }
	s := open(t, cfg)
	b := object.Bucket{Name: "bucket", Versioning: object.Versioned, Documents: map[string]string{"object-lock": "on"}}
	if err := s.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	info, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{
		Body: body("x"), Meta: object.Meta{Retention: object.Retention{Mode: object.Compliance, Until: time.Now().Add(time.Hour)}},
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

// TestARetentionHoldsHoweverFarOffItsEnd is, where the file's own record says it and where a change of it does.
func TestARetentionHoldsHoweverFarOffItsEnd(t *testing.T) {
	root := vfs.NewMemory().Root()
	s := open(t, config(t, root))
	b := object.Bucket{Name: "bucket", Versioning: object.Versioned, Documents: map[string]string{"object-lock": "on"}}
	if err := s.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	far := object.Retention{Mode: object.Compliance, Until: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	for key, at := range map[string]object.Retention{"put": far, "changed": {}} {
		info, err := s.Put(t.Context(), object.Ref{Bucket: "bucket", Key: key}, object.PutInput{Body: body("x"), Meta: object.Meta{Retention: at}})
		if err != nil {
			t.Fatal(err)
		}
		ref := object.Ref{Bucket: "bucket", Key: key, Version: info.Version}
		if key == "changed" {
			if _, err := s.Update(t.Context(), ref, func(m *object.Meta) error { m.Retention = far; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Delete(t.Context(), ref, nil); !errors.Is(err, object.Locked) {
			t.Errorf("%s: it is deleted: %v", key, err)
		}
		if got, err := s.Stat(t.Context(), ref); err != nil || !got.Meta.Retention.Until.Equal(far.Until) {
			t.Errorf("%s: %+v, %v", key, got.Meta.Retention, err)
		}
	}
}
