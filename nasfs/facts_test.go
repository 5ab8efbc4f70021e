package nasfs_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// TestAFleetRemembersTheRecordsOfBucketsUntilTheyChange counts how often a gateway
// reads the record of a bucket that another one changes.
func TestAFleetRemembersTheRecordsOfBucketsUntilTheyChange(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		var reads atomic.Int32
		defer w.faults[1].Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpOpen && strings.HasPrefix(c.Path, ".shoal.sys/buckets/") {
				reads.Add(1)
			}
			return nil
		})()
		set := func(text string) {
			t.Helper()
			must(t, w.gateways[0].UpdateBucket(ctx, bucket, func(b *object.Bucket) error {
				b.Versioning, b.Documents = object.Versioned, map[string]string{"policy": text}
				return nil
			}))
		}
		if _, known := w.gateways[1].Known(bucket); known || w.gateways[1].Configured() {
			t.Error("a record is remembered where nobody needs it")
		}
		for _, text := range []string{"one", "two"} {
			set(text)
			if _, known := w.gateways[1].Known(bucket); known {
				t.Errorf("%s: remembered from before the change", text)
			}
			reads.Store(0)
			for range 3 {
				must(t, putIn(ctx, w.gateways[1], "k", text, nil))
				b, err := w.gateways[1].StatBucket(ctx, bucket)
				if err != nil || b.Documents["policy"] != text {
					t.Errorf("%s: got %+v, %v", text, b, err)
				}
			}
			if n := reads.Load(); n != 1 {
				t.Errorf("%s: read %d times", text, n)
			}
			if b, known := w.gateways[1].Known(bucket); !known || b.Documents["policy"] != text {
				t.Errorf("%s: known %v, %+v", text, known, b)
			}
		}
		must(t, w.gateways[2].UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Documents = nil; return nil }))
		if b, err := w.gateways[1].StatBucket(ctx, bucket); err != nil || len(b.Documents) != 0 {
			t.Errorf("after a third gateway's change: %+v, %v", b, err)
		}
	})
}
