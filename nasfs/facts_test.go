package nasfs_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
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

// TestAFleetLooksForChangedMetadataOnceThereIsAny counts how often a gateway that
// reads looks where such metadata would be, and whether it finds the first of all.
func TestAFleetLooksForChangedMetadataOnceThereIsAny(t *testing.T) {
	large := map[string]string{"large": strings.Repeat("x", 4<<10)}
	for name, change := range map[string]func(t *testing.T, f *nasfs.Fleet){
		"tags": func(t *testing.T, f *nasfs.Fleet) {
			_, err := f.Update(t.Context(), ref("k"), func(m *object.Meta) error {
				m.Tags = []object.Tag{{Key: "a", Value: "b"}}
				return nil
			})
			must(t, err)
		},
		"a record that is too large for an attribute": func(t *testing.T, f *nasfs.Fleet) {
			_, err := f.Put(t.Context(), ref("k"), object.PutInput{Body: body("k"), Meta: object.Meta{User: large}})
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := threeOn(t, "memory"), t.Context()
			var looks atomic.Int32
			defer w.faults[1].Inject(func(c vfs.OpCall) error {
				if strings.HasPrefix(c.Path, ".shoal.sys/state") || strings.HasPrefix(c.Path, ".shoal.sys/meta") {
					looks.Add(1)
				}
				return nil
			})()
			must(t, putIn(ctx, w.gateways[1], "k", "first", nil))
			must(t, putIn(ctx, w.gateways[0], "k", "second", nil))
			if _, err := w.gateways[1].Stat(ctx, ref("k")); err != nil {
				t.Fatal(err)
			}
			if n := looks.Load(); n > 0 {
				t.Errorf("looked %d times where nothing can be", n)
			}
			change(t, w.gateways[0])
			info, err := w.gateways[1].Stat(ctx, ref("k"))
			if err != nil || len(info.Meta.Tags)+len(info.Meta.User) != 1 {
				t.Errorf("the change does not show: %+v, %v", info.Meta, err)
			}
			if looks.Load() == 0 {
				t.Error("found without a look")
			}
		})
	}
}

// TestAFleetLooksInAliasSlotsOnceThereIsAFile counts how often a gateway looks there,
// and whether it finds the first file.
func TestAFleetLooksInAliasSlotsOnceThereIsAFile(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		var looks atomic.Int32
		defer w.faults[1].Inject(func(c vfs.OpCall) error {
			if strings.Contains(c.Path, "=f=") {
				looks.Add(1)
			}
			return nil
		})()
		must(t, putIn(ctx, w.gateways[0], "k", "k", nil))
		for _, key := range []string{"k", "none"} {
			if _, err := w.gateways[1].Stat(ctx, ref(key)); err != nil && !errors.Is(err, object.NoSuchKey) {
				t.Fatal(err)
			}
			must(t, drop(ctx, w.gateways[1], ref("none"), nil))
		}
		if n := looks.Load(); n > 0 {
			t.Errorf("looked %d times where nothing can be", n)
		}
		w.facts.lose(object.Unavailable)
		is(t, "a file moves of which nobody would know", putIn(ctx, w.gateways[0], "k/below", "x", nil), object.Unavailable)
		if text, _, err := read(ctx, w.gateways[1], "k"); err != nil || text != "k" {
			t.Errorf("read %q, %v", text, err)
		}
		w.facts.lose(nil)
		must(t, putIn(ctx, w.gateways[0], "k/below", "below", nil))
		for key, want := range map[string]string{"k": "k", "k/below": "below"} {
			if text, _, err := read(ctx, w.gateways[1], key); err != nil || text != want {
				t.Errorf("read %q of %s, %v", text, key, err)
			}
		}
		if looks.Load() == 0 {
			t.Error("found without a look")
		}
	})
}

// TestWhoJoinsTellsWhatTheTreeSays: who was about to tell the others that there are
// versions has ended before, and those who have joined since must not be alone with it.
func TestWhoJoinsTellsWhatTheTreeSays(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
	must(t, w.gateways[0].CreateBucket(ctx, object.Bucket{Name: bucket}))
	versioned := func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }
	w.facts.lose(object.Unavailable)
	if err := w.gateways[0].UpdateBucket(ctx, bucket, versioned); err == nil {
		t.Fatal("versions are kept of which nobody knows")
	}
	w.facts.lose(nil)
	joined := w.member(config(t, m.Root()))()
	must(t, joined.UpdateBucket(ctx, bucket, versioned))
	for _, content := range []string{"1", "2"} {
		must(t, putIn(ctx, w.gateways[1], "k", content, nil))
	}
	if ids := listVersions(t, joined, "k", 10); len(ids) != 2 {
		t.Errorf("%d versions are kept, want 2", len(ids))
	}
}

// What could not be told because the disk is full is told when there is room, by whoever is the
// first to need it: a gateway that did not start would take away what makes room.
func TestWhoJoinsOnAFullDiskTellsLaterWhatTheTreeSays(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
	must(t, w.gateways[0].CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, w.gateways[0], "k", "0", nil))
	versioned := func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }
	w.facts.lose(object.Full)
	is(t, "versions of which nobody knows", w.gateways[0].UpdateBucket(ctx, bucket, versioned), object.Full)
	joined := w.member(config(t, m.Root()))()
	if joined == nil {
		t.FailNow()
	}
	if text, _, err := read(ctx, joined, "k"); err != nil || text != "0" {
		t.Errorf("read %q, %v", text, err)
	}
	is(t, "versions of which nobody knows", joined.UpdateBucket(ctx, bucket, versioned), object.Full)
	w.facts.lose(nil)
	must(t, joined.UpdateBucket(ctx, bucket, versioned))
	for _, content := range []string{"1", "2"} {
		must(t, putIn(ctx, w.gateways[1], "k", content, nil))
	}
	if ids := listVersions(t, joined, "k", 10); len(ids) != 3 {
		t.Errorf("%d versions are kept, want 3", len(ids))
	}
}

func TestAFleetFindsTheTagsOfWhoeverServedTheTreeAlone(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	alone, err := nasfs.Open(config(t, m.Root()))
	must(t, err)
	must(t, alone.CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, alone, "k", "k", nil))
	_, err = alone.Update(ctx, ref("k"), func(m *object.Meta) error { m.LegalHold = object.LegalHoldOn; return nil })
	must(t, errors.Join(err, alone.Close()))
	w := newWorld(t, 2, func() nasfs.Config { return config(t, m.Root()) })
	for i, g := range w.gateways {
		if info, err := g.Stat(ctx, ref("k")); err != nil || info.Meta.LegalHold != object.LegalHoldOn {
			t.Errorf("gateway %d: %+v, %v", i, info.Meta, err)
		}
	}
}
