package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

const spareBucket = "bucket-spare"

// stage is what a gateway finds that is going to be fenced.
type stage struct {
	*nasfs.Fleet
	up   object.Upload
	part object.Part
}

// changes are the operations that change something, each of which succeeds on a
// stage.
func changes() map[string]func(ctx context.Context, s *stage) error {
	return map[string]func(ctx context.Context, s *stage) error{
		"put":       func(ctx context.Context, s *stage) error { return putIn(ctx, s, "new/key", "new", nil) },
		"overwrite": func(ctx context.Context, s *stage) error { return putIn(ctx, s, "old", "newer", nil) },
		"create":    func(ctx context.Context, s *stage) error { return putIn(ctx, s, "new", "new", object.IfNoneMatch("*")) },
		"put below an object": func(ctx context.Context, s *stage) error {
			return putIn(ctx, s, "old/below", "new", nil)
		},
		"delete": func(ctx context.Context, s *stage) error { return drop(ctx, s, ref("old"), nil) },
		"delete what was checked": func(ctx context.Context, s *stage) error {
			return drop(ctx, s, ref("old"), object.IfMatch("*", object.NoSuchKey))
		},
		"copy": func(ctx context.Context, s *stage) error {
			_, err := s.Copy(ctx, ref("old"), ref("copy"), object.CopyInput{})
			return err
		},
		"rename": func(ctx context.Context, s *stage) error {
			return s.Rename(ctx, ref("old"), ref("renamed"), object.CopyInput{})
		},
		"tags": func(ctx context.Context, s *stage) error {
			_, err := s.Update(ctx, ref("old"), func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "a", Value: "new"}}; return nil })
			return err
		},
		"create bucket": func(ctx context.Context, s *stage) error {
			return s.CreateBucket(ctx, object.Bucket{Name: "bucket-new"})
		},
		"update bucket": func(ctx context.Context, s *stage) error {
			return s.UpdateBucket(ctx, spareBucket, func(b *object.Bucket) error { b.Region = "new"; return nil })
		},
		"delete bucket": func(ctx context.Context, s *stage) error { return s.DeleteBucket(ctx, spareBucket) },
		"create upload": func(ctx context.Context, s *stage) error {
			_, err := s.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("other")}, Algorithm: object.CRC32})
			return err
		},
		"put part": func(ctx context.Context, s *stage) error {
			_, err := s.PutPart(ctx, s.up.UploadRef, 2, body("two"))
			return err
		},
		"complete": func(ctx context.Context, s *stage) error {
			_, err := s.CompleteUpload(ctx, s.up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: s.part.ETag}}})
			return err
		},
		"abort": func(ctx context.Context, s *stage) error { return s.AbortUpload(ctx, s.up.UploadRef) },
	}
}

func setStage(t *testing.T, w *world) *stage {
	t.Helper()
	s := &stage{Fleet: w.gateways[0]}
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: spareBucket}))
	must(t, putIn(t.Context(), s, "old", "old", nil))
	_, err := s.Update(t.Context(), ref("old"), func(m *object.Meta) error { m.Tags = []object.Tag{{Key: "a", Value: "old"}}; return nil })
	must(t, err)
	s.up = createUpload(t, s, "up")
	s.part, err = s.PutPart(t.Context(), s.up.UploadRef, 1, body("part"))
	must(t, err)
	return s
}

func createUpload(t *testing.T, s object.Store, key string) object.Upload {
	t.Helper()
	up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref(key)}, Algorithm: object.CRC32})
	must(t, err)
	return up
}

// everything is what a client can see of the tree.
func everything(t *testing.T, s object.Store) map[string]string {
	t.Helper()
	seen := make(map[string]string)
	buckets, err := s.ListBuckets(t.Context())
	must(t, err)
	for _, b := range buckets {
		seen["bucket "+b.Name] = b.Region
		page, err := s.ListUploads(t.Context(), object.UploadQuery{Bucket: b.Name, Limit: 100})
		must(t, err)
		for _, up := range page.Uploads {
			parts, _, err := s.ListParts(t.Context(), up.UploadRef, 0, 100)
			must(t, err)
			seen["upload "+up.Key] = fmt.Sprint(len(parts))
		}
	}
	names, err := keys(t.Context(), s, object.Query{})
	must(t, err)
	for _, key := range names {
		text, _, err := read(t.Context(), s, key)
		must(t, err)
		info, err := s.Stat(t.Context(), ref(key))
		must(t, err)
		seen["object "+key] = fmt.Sprint(text, info.Meta.Tags)
	}
	return seen
}

// TestAFencedGatewayCommitsNothing fences a gateway behind its back, just
// before one of the renames and links that an operation makes.
func TestAFencedGatewayCommitsNothing(t *testing.T) {
	t.Parallel()
	for kind := range withMounted(map[string]func(*testing.T) func() nasfs.Config{"os": nil, "memory": nil, "memory as on SMB": nil}, sharedTree) {
		for name, change := range changes() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				for n := 1; fencedAt(t, kind, name, change, n); n++ {
				}
			})
		}
	}
}

// fencedAt makes a change and fences the gateway before its n-th rename or link.
// It reports whether it made so many.
func fencedAt(t *testing.T, kind, name string, change func(context.Context, *stage) error, n int) bool {
	t.Helper()
	w := threeOn(t, kind)
	s := setStage(t, w)
	w.swept() // or the upload that the fenced one completes could end in the middle of our looking
	before := everything(t, w.gateways[1])
	stop, tell := w.fenceBefore(n)
	err := change(t.Context(), s)
	reached := stop()
	after := everything(t, w.gateways[1])
	what := fmt.Sprintf("%s, fenced before rename %d", name, n)
	switch kind := object.KindOf(err); {
	case !reached:
		if err != nil {
			t.Errorf("%s, not fenced: %v", name, err)
		}
	case n == 1 || err != nil && kind != object.Unknown:
		is(t, what, err, object.Unavailable)
		if !maps.Equal(before, after) {
			t.Errorf("%s: %v\nbefore: %v\nafter:  %v", what, err, before, after)
		}
	case err == nil && maps.Equal(before, after):
		t.Errorf("%s: it is said to have happened", what)
	}
	tell()
	if reached {
		w.members[0].begin()
		if err := putIn(t.Context(), s, "later", "later", nil); err != nil {
			t.Errorf("%s: in the next session: %v", what, err)
		}
		return true
	}
	return false
}

// TestWhatOthersDoAfterAFenceStands has another gateway delete and make anew all keys
// that a change is about, once the one that makes it is fenced before its n-th rename or
// link: whatever that goes on to do, or to undo, is too late.
func TestWhatOthersDoAfterAFenceStands(t *testing.T) {
	t.Parallel()
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; overtakenAt(t, change, n); n++ {
			}
		})
	}
}

// overtakenAt reports whether a change came to its n-th rename or link.
func overtakenAt(t *testing.T, change func(context.Context, *stage) error, n int) bool {
	t.Helper()
	w := threeOn(t, "memory")
	s, other := setStage(t, w), w.gateways[1]
	w.swept() // as in fencedAt
	keys := []string{"old", "old/below", "new", "new/key", "copy", "renamed", "up"}
	stop, tell := w.overtakeBefore(n, func() {
		for _, key := range keys {
			must(t, drop(t.Context(), other, ref(key), nil))
			must(t, putIn(t.Context(), other, key, "of another gateway", nil))
		}
	})
	err := change(t.Context(), s)
	reached := stop()
	tell()
	if !reached {
		return false
	}
	w.members[0].begin()
	nasfs.Swept(s.Fleet, w.members[0].current().id)
	for _, key := range keys {
		if got, _, readErr := read(t.Context(), other, key); readErr != nil || got != "of another gateway" {
			t.Errorf("overtaken before rename %d, answered %v: %s has %q, %v", n, err, key, got, readErr)
		}
	}
	return true
}

// hooked is a body that calls a function when it ends.
type hooked struct {
	object.Body
	atEnd func()
}

func (h *hooked) Read(p []byte) (int, error) {
	n, err := h.Body.Read(p)
	if err == io.EOF { //nolint:errorlint // object.Body: on this and on nothing that wraps it
		h.atEnd()
	}
	return n, err
}

// TestWhatWasStagedInOneSessionIsNotCommittedInTheNext: the directory may still
// be there, and be fenced after the next session's leases have passed on.
func TestWhatWasStagedInOneSessionIsNotCommittedInTheNext(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		m := w.members[0]
		last := m.current()
		text := &hooked{Body: body("staged"), atEnd: func() { last.end(); m.begin() }}
		_, err := w.gateways[0].Put(t.Context(), ref("k"), object.PutInput{Body: text})
		is(t, "a put over two sessions", err, object.Unavailable)
		_, err = w.gateways[1].Stat(t.Context(), ref("k"))
		is(t, "stat", err, object.NoSuchKey)
		m.fence(last)
		must(t, putIn(t.Context(), w.gateways[0], "k", "next", nil))
	})
}

func TestWithoutASessionReadsGoOnAndChangesWait(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		g, m := w.gateways[0], w.members[0]
		must(t, putIn(t.Context(), g, "k", "text", nil))
		m.lose()
		if got, _, err := read(t.Context(), g, "k"); err != nil || got != "text" {
			t.Errorf("read %q, %v", got, err)
		}
		if names, err := keys(t.Context(), g, object.Query{}); err != nil || !slices.Equal(names, []string{"k"}) {
			t.Errorf("listed %q, %v", names, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		is(t, "put until the context ends", putIn(ended, g, "k", "late", nil), object.Unavailable)
		is(t, "delete until the context ends", drop(ended, g, ref("k"), nil), object.Unavailable)
		done := make(chan error)
		go func() { done <- putIn(t.Context(), g, "k", "next", nil) }()
		m.begin()
		must(t, <-done)
		if got, _, err := read(t.Context(), w.gateways[1], "k"); err != nil || got != "next" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// TestAGatewayIsReadyOnlyInASessionThatItCanUse has the file system refuse the directory of the
// next session for a while.
func TestAGatewayIsReadyOnlyInASessionThatItCanUse(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		g, m := w.gateways[0], w.members[0]
		must(t, g.Ready())
		m.lose()
		is(t, "without a session", g.Ready(), object.Unavailable)
		refused := make(chan struct{}, 1)
		remove := w.faults[0].Inject(func(c vfs.OpCall) error {
			if c.Op != vfs.OpOpenDir || !strings.HasSuffix(c.Path, m.current().dir) {
				return nil
			}
			select {
			case refused <- struct{}{}:
			default:
			}
			return syscall.EIO
		})
		m.begin()
		<-refused
		is(t, "in a session that it has no directory of", g.Ready(), object.Unavailable)
		remove()
		must(t, putIn(t.Context(), g, "k", "text", nil))
		must(t, g.Ready())
	})
}

// TestTheNextSessionEndsWhatTheLastOneLeft completes an upload in a session that
// ends before the upload does.
func TestTheNextSessionEndsWhatTheLastOneLeft(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		s, m := setStage(t, w), w.members[0]
		w.swept() // whose first sweep could end the upload instead
		tell := func() {}
		remove := w.faults[0].Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpRename && strings.HasSuffix(c.Path, "/upload") {
				tell = m.expire()
			}
			return nil
		})
		must(t, changes()["complete"](t.Context(), s))
		remove()
		tell()
		m.begin()
		nasfs.Swept(s.Fleet, m.current().id)
		for i, g := range w.gateways {
			_, err := g.StatUpload(t.Context(), s.up.UploadRef)
			is(t, fmt.Sprintf("gateway %d: the upload", i), err, object.NoSuchUpload)
			if got, _, err := read(t.Context(), g, "up"); err != nil || got != "part" {
				t.Errorf("gateway %d reads %q, %v", i, got, err)
			}
		}
	})
}

// TestTheLastChangeCountsWhoeverServedTheTree goes from one gateway alone to a
// fleet and back: what was written later is what counts, in tags and parts too.
func TestTheLastChangeCountsWhoeverServedTheTree(t *testing.T) {
	t.Parallel()
	for name, kind := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := kind(t)
			var up object.Upload
			for round := range 6 {
				s, closeAll := aloneOrNot(t, cfg, round%3 < 2)
				if round == 0 {
					must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
					must(t, putIn(t.Context(), s, "k", "text", nil))
					up = createUpload(t, s, "up")
				}
				for range 6 - round { // fewer each time, so that the number of a grant alone decides nothing
					changeAndLook(t, s, up.UploadRef, fmt.Sprint(round))
				}
				closeAll()
			}
		})
	}
}

// aloneOrNot opens a tree.
func aloneOrNot(t *testing.T, cfg func() nasfs.Config, alone bool) (s object.Store, closeAll func()) {
	t.Helper()
	if alone {
		s, err := nasfs.Open(cfg())
		must(t, err)
		return s, func() { must(t, s.Close()) }
	}
	w := newWorld(t, 3, cfg)
	return w.robin(), func() {
		for _, g := range w.gateways {
			must(t, g.Close())
		}
	}
}

// changeAndLook changes the tags of an object and a part of an upload.
func changeAndLook(t *testing.T, s object.Store, up object.UploadRef, text string) {
	t.Helper()
	tags := []object.Tag{{Key: "round", Value: text}}
	_, err := s.Update(t.Context(), ref("k"), func(m *object.Meta) error { m.Tags = tags; return nil })
	must(t, err)
	part, err := s.PutPart(t.Context(), up, 1, body(text))
	must(t, err)
	info, err := s.Stat(t.Context(), ref("k"))
	if err != nil || !reflect.DeepEqual(info.Meta.Tags, tags) {
		t.Errorf("round %s: tags %v, %v", text, info.Meta.Tags, err)
	}
	parts, _, err := s.ListParts(t.Context(), up, 0, 10)
	if err != nil || len(parts) != 1 || parts[0].ETag != part.ETag {
		t.Errorf("round %s: parts %+v, want %+v, %v", text, parts, part, err)
	}
}

// TestAChangeOfTagsUnderALaterLeaseStands: should a fence ever fail, the tokens
// still say whose word counts.
func TestAChangeOfTagsUnderALaterLeaseStands(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		must(t, putIn(t.Context(), w.gateways[0], "k", "text", nil))
		tag := func(g *nasfs.Fleet, value string, meanwhile func()) error {
			_, err := g.Update(t.Context(), ref("k"), func(m *object.Meta) error {
				meanwhile()
				m.Tags = []object.Tag{{Key: "a", Value: value}}
				return nil
			})
			return err
		}
		must(t, tag(w.gateways[1], "later", func() {}))
		w.table.sequence.Store(0) // what comes now has an earlier token
		err := tag(w.gateways[0], "earlier", func() {})
		if !errors.Is(err, object.Unavailable) {
			t.Errorf("a change under an earlier lease: %v", err)
		}
		info, err := w.gateways[2].Stat(t.Context(), ref("k"))
		if err != nil || len(info.Meta.Tags) != 1 || info.Meta.Tags[0].Value != "later" {
			t.Errorf("tags %v, %v", info.Meta.Tags, err)
		}
	})
}

// TestWhatCanHaveNoSessionIsRefusedAtOnce where the storage is why, and otherwise waits for one.
func TestWhatCanHaveNoSessionIsRefusedAtOnce(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		g, m := w.gateways[0], w.members[0]
		m.lose()
		waits := make(chan error, 1)
		go func() { waits <- putIn(t.Context(), g, "k", "text", nil) }()
		select {
		case err := <-waits:
			t.Errorf("not waited for a session: %v", err)
		case <-time.After(time.Second): // longer than it takes to look why there is none
		}
		m.refuse(fmt.Errorf("renew: %w", syscall.EROFS))
		is(t, "what has waited", <-waits, object.ReadOnly)
		if err := g.Ready(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("it is ready, or not, for another reason: %v", err)
		}
		m.refuse(fmt.Errorf("renew: %w", syscall.ENOSPC))
		is(t, "what comes", putIn(t.Context(), g, "k", "text", nil), object.Full)
		m.refuse(fmt.Errorf("look: %w", syscall.EACCES))
		is(t, "what comes to who is not let in", putIn(t.Context(), g, "k", "text", nil), object.Unavailable)
		m.refuse(nil)
		m.begin()
		must(t, putIn(t.Context(), g, "k", "text", nil))
	})
}
