package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// edition is a bucket with versions, for operations to work on. "dir/k" has the
// null version "0" and two later ones; "gone" is one version below a marker.
type edition struct {
	object.Store
	first, last, gone object.Info
	marker            object.Deleted
}

func setEdition(ctx context.Context, s object.Store) (*edition, error) {
	e := &edition{Store: s}
	if err := s.CreateBucket(ctx, object.Bucket{Name: bucket}); err != nil && !errors.Is(err, object.BucketExists) {
		return nil, err
	}
	steps := []func() error{
		func() error { return putIn(ctx, s, "dir/k", "0", nil) },
		func() error { return e.state(ctx, object.Versioned) },
		func() (err error) { e.first, err = e.make(ctx, "dir/k", "1"); return err },
		func() (err error) { e.last, err = e.make(ctx, "dir/k", "22"); return err },
		func() (err error) { e.gone, err = e.make(ctx, "gone", "was"); return err },
		func() (err error) { e.marker, err = s.Delete(ctx, ref("gone"), nil); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *edition) state(ctx context.Context, v object.Versioning) error {
	return e.UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Versioning = v; return nil })
}

func (e *edition) make(ctx context.Context, key, content string) (object.Info, error) {
	return e.Put(ctx, ref(key), object.PutInput{Body: body(content)})
}

// named is a version of a key.
func named(key, version string) object.Ref {
	return object.Ref{Bucket: bucket, Key: key, Version: version}
}

// editions are the changes where there are versions. Each can be made after
// prepare.
func editions() map[string]struct {
	prepare, change func(context.Context, *edition) error
} {
	type step = func(context.Context, *edition) error
	put := func(key, content string) step {
		return func(ctx context.Context, e *edition) error { _, err := e.make(ctx, key, content); return err }
	}
	remove := func(r func(e *edition) object.Ref) step {
		return func(ctx context.Context, e *edition) error { return drop(ctx, e, r(e), nil) }
	}
	plain := func(key string) func(*edition) object.Ref { return func(*edition) object.Ref { return ref(key) } }
	suspend := func(ctx context.Context, e *edition) error {
		if err := e.state(ctx, object.Suspended); err != nil {
			return err
		}
		_, err := e.make(ctx, "null", "null")
		return err
	}
	return map[string]struct{ prepare, change step }{
		"put over":                     {nil, put("dir/k", "333")},
		"put new":                      {nil, put("new", "1")},
		"put over a marker":            {nil, put("gone", "again")},
		"delete":                       {nil, remove(plain("dir/k"))},
		"delete nothing":               {nil, remove(plain("none"))},
		"delete the current version":   {nil, remove(func(e *edition) object.Ref { return named("dir/k", e.last.Version) })},
		"delete an older version":      {nil, remove(func(e *edition) object.Ref { return named("dir/k", e.first.Version) })},
		"delete the null version":      {nil, remove(func(*edition) object.Ref { return named("dir/k", object.NullVersion) })},
		"delete the marker":            {nil, remove(func(e *edition) object.Ref { return named("gone", e.marker.Version) })},
		"delete what is below it":      {nil, remove(func(e *edition) object.Ref { return named("gone", e.gone.Version) })},
		"put in a suspended bucket":    {suspend, put("dir/k", "null")},
		"put over the null version":    {suspend, put("null", "null again")},
		"delete in a suspended bucket": {suspend, remove(plain("dir/k"))},
		"delete the current null":      {suspend, remove(plain("null"))},
	}
}

// told is what a client can see of the versions, but for their IDs.
func told(ctx context.Context, s object.Store) (map[string]string, error) {
	seen := make(map[string]string)
	page, err := s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 1000})
	if err != nil {
		return nil, err
	}
	for _, v := range page.Versions {
		text := "marker"
		if !v.Marker {
			if text, err = readVersion(ctx, s, named(v.Key, v.Version)); err != nil {
				return nil, fmt.Errorf("a listed version of %s: %w", v.Key, err)
			}
		}
		if v.Latest {
			text += "*"
		}
		if v.Version == object.NullVersion {
			text += " null"
		}
		seen[v.Key] += text + ", "
	}
	for key, all := range seen {
		current, err := readVersion(ctx, s, ref(key))
		if errors.Is(err, object.NoSuchKey) {
			current, err = "marker", nil
		}
		if err != nil || !strings.HasPrefix(all, current+"*") {
			return nil, fmt.Errorf("current of %s is %q, %w, listed are %q", key, current, err, all)
		}
	}
	return seen, nil
}

func readVersion(ctx context.Context, s object.Store, r object.Ref) (string, error) {
	h, err := s.Open(ctx, r)
	if err != nil {
		return "", err
	}
	defer func() { _ = h.Close() }() // nothing was written
	b, err := io.ReadAll(h.Range(0, h.Info().Size))
	return string(b), err
}

// edit makes an edition and readies it for one of the editions.
func edit(t *testing.T, s object.Store, prepare func(context.Context, *edition) error) *edition {
	t.Helper()
	e, err := setEdition(t.Context(), s)
	if err == nil && prepare != nil {
		err = prepare(t.Context(), e)
	}
	must(t, err)
	return e
}

func mustTell(t *testing.T, s object.Store) map[string]string {
	t.Helper()
	seen, err := told(t.Context(), s)
	must(t, err)
	return seen
}

// whole is how many versions are in a part of a history that is not to have others.
const whole = 1000

// TestEachFailingCallLeavesAllVersionsOrNone makes each call of each change fail
// in turn, without having been made, with its answer lost, and with a crash.
func TestEachFailingCallLeavesAllVersionsOrNone(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for _, kind := range []struct {
		name     string
		metadata nasfs.MetadataMode
		part     int
	}{{"xattr", nasfs.Xattr, whole}, {"sidecar", nasfs.Sidecar, whole}, {"split", nasfs.Xattr, 1}} {
		for name, edition := range editions() {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(s, 0))
				e := edit(t, open(t, config(t, vfs.NewMemory().Root())), edition.prepare)
				must(t, edition.change(t.Context(), e))
				after := mustTell(t, e)
				for _, how := range []string{"fails", "is answered in vain", "is the last before a crash", "is the last before a crash that loses a part"} {
					for n, step := stride(rng.Uint64()); ; n += step {
						w := &failure{T: t, metadata: kind.metadata, part: kind.part, how: how, rng: rng, after: after}
						if !w.run(edition.prepare, edition.change, n) {
							break
						}
					}
				}
			})
		}
	}
}

// failure is one change of which one call fails.
type failure struct {
	*testing.T
	metadata nasfs.MetadataMode
	part     int // versions in a part of a history
	how      string
	rng      *rand.Rand
	after    map[string]string // what is told after the change
}

// run reports whether the change came to its n-th call.
func (w *failure) run(prepare, change func(context.Context, *edition) error, n int) bool {
	w.Helper()
	memory := vfs.NewMemory()
	fault := vfs.NewFault(memory.Root())
	cfg := config2(w.T, memory, w.metadata)
	cfg.Root, cfg.Logger = fault.Root(), slog.New(slog.DiscardHandler)
	s, err := nasfs.Open(cfg)
	must(w.T, err)
	s.SplitHistories(w.part)
	e := edit(w.T, s, prepare)
	nasfs.Quiesce(s)
	before := mustTell(w.T, s)
	crash := strings.Contains(w.how, "crash")
	inject := fault.Inject
	if w.how == "is answered in vain" {
		inject = fault.InjectAfter
	}
	made, last := 0, vfs.OpCall{}
	remove := inject(func(c vfs.OpCall) error {
		made++
		if made == n+1 {
			last = c
		}
		if made == n+1 || crash && made > n {
			return &injected{syscall.EIO}
		}
		return nil
	})
	opErr := change(w.Context(), e)
	if crash {
		_ = s.Close() // a dead process closes nothing
		var rng *rand.Rand
		if strings.Contains(w.how, "part") {
			rng = w.rng
		}
		memory.Crash(rng)
	} else {
		nasfs.Quiesce(s)
		remove()
		must(w.T, s.Close())
	}
	what := fmt.Sprintf("call %d, %v %q %s; answered %v", n, last.Op, last.Path, w.how, opErr)
	w.judge(what, memory, before, opErr)
	return made > n
}

// judge opens the tree anew and looks at what became of it.
func (w *failure) judge(what string, memory *vfs.Memory, before map[string]string, opErr error) {
	w.Helper()
	again, err := nasfs.Open(config2(w.T, memory, w.metadata))
	must(w.T, err)
	again.SplitHistories(w.part)
	defer func() { must(w.T, again.Close()) }()
	seen, err := told(w.Context(), again)
	isBefore, isAfter := maps.Equal(seen, before), maps.Equal(seen, w.after)
	refused := opErr != nil && !errors.Is(opErr, object.Unknown) && !strings.Contains(w.how, "crash")
	switch {
	case err != nil:
		w.Errorf("%s: %v", what, err)
	case opErr == nil && !isAfter, refused && !isBefore, !isBefore && !isAfter:
		w.Errorf("%s:\nbefore %v\nseen   %v\nafter  %v", what, before, seen, w.after)
	}
	nasfs.Quiesce(again)
	noLeftovers(w.T, memory.Root(), what)
	if err := deleteAll(w.Context(), again); err != nil {
		w.Errorf("%s: then all versions are deleted: %v", what, err)
	}
}

// deleteAll deletes all versions there are by their IDs, and then the bucket: nothing
// may come to light again.
func deleteAll(ctx context.Context, s object.Store) error {
	page, err := s.ListVersions(ctx, object.VersionQuery{Bucket: bucket, Limit: 1000})
	if err != nil {
		return err
	}
	for _, v := range page.Versions {
		if err := drop(ctx, s, named(v.Key, v.Version), nil); err != nil {
			return err
		}
	}
	if left, err := told(ctx, s); err != nil || len(left) > 0 {
		return fmt.Errorf("left are %v, %w", left, err)
	}
	return s.DeleteBucket(ctx, bucket)
}

// TestAFencedGatewayLeavesAllVersionsOrNone fences a gateway behind its back, just
// before one of the renames and links that a change makes.
func TestAFencedGatewayLeavesAllVersionsOrNone(t *testing.T) {
	t.Parallel()
	for kind, part := range map[string]int{"os": whole, "memory": 1} {
		for name, edition := range editions() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := threeSplit(t, kind, part)
				e := edit(t, w.gateways[0], edition.prepare)
				must(t, edition.change(t.Context(), e))
				after := mustTell(t, w.gateways[1])
				for n := 1; fencedEdit(t, threeSplit(t, kind, part), edition.prepare, edition.change, after, n); n++ {
				}
			})
		}
	}
}

// threeSplit is threeOn with so many versions in a part of a history.
func threeSplit(t *testing.T, kind string, part int) *world {
	t.Helper()
	w := threeOn(t, kind)
	for _, g := range w.gateways {
		g.SplitHistories(part)
	}
	return w
}

// fencedEdit makes a change and fences the gateway before its n-th rename or link.
// It reports whether it made so many.
func fencedEdit(t *testing.T, w *world, prepare, change func(context.Context, *edition) error, after map[string]string, n int) bool {
	t.Helper()
	e := edit(t, w.gateways[0], prepare)
	before := mustTell(t, w.gateways[1])
	stop, tell := w.fenceBefore(n)
	err := change(t.Context(), e)
	reached := stop()
	seen := mustTell(t, w.gateways[1])
	isBefore, isAfter := maps.Equal(seen, before), maps.Equal(seen, after)
	refused := err != nil && !errors.Is(err, object.Unknown)
	if err == nil && !isAfter || refused && !isBefore || !isBefore && !isAfter {
		t.Errorf("fenced before rename %d: %v\nbefore %v\nseen   %v\nafter  %v", n, err, before, seen, after)
	}
	if refused {
		is(t, "what the client is told", err, object.Unavailable)
	}
	tell()
	return reached
}

// TestAHoldThatIsPutOnAVersionAfterAFenceKeepsIt: a gateway that is fenced in the middle
// of deleting a version finds it held when it goes on.
func TestAHoldThatIsPutOnAVersionAfterAFenceKeepsIt(t *testing.T) {
	t.Parallel()
	for which, of := range map[string]func(e *edition) object.Ref{
		"an older one": func(e *edition) object.Ref { return named("dir/k", e.first.Version) },
		"the current":  func(e *edition) object.Ref { return named("dir/k", e.last.Version) },
	} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			for n, reached := 1, true; reached; n++ {
				w := threeSplit(t, "memory", whole)
				e := edit(t, w.gateways[0], nil)
				version, other := of(e), w.gateways[1]
				content, err := readVersion(t.Context(), other, version)
				must(t, err)
				var held error
				stop, tell := w.overtakeBefore(n, func() {
					_, held = other.Update(t.Context(), version, func(m *object.Meta) error { m.LegalHold = object.LegalHoldOn; return nil })
				})
				err = drop(t.Context(), e, version, nil)
				reached = stop()
				tell()
				if !reached || errors.Is(held, object.NoSuchVersion) && (err == nil || errors.Is(err, object.Unknown)) {
					continue // it was deleted before the fence
				}
				must(t, held)
				if got, lost := readVersion(t.Context(), other, version); lost != nil || got != content {
					t.Errorf("held before rename %d, answered %v: it is %q, %v", n, err, got, lost)
				}
			}
		})
	}
}

// TestABucketThatCannotBeLookedAtIsNotMadeAnew: what was kept of it would be removed.
func TestABucketThatCannotBeLookedAtIsNotMadeAnew(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT} {
		t.Run(cause.Error(), func(t *testing.T) {
			fault := vfs.NewFault(osRoot(t))
			s, err := nasfs.Open(config(t, fault.Root()))
			must(t, err)
			defer func() { must(t, s.Close()) }()
			_, err = setEdition(t.Context(), s)
			must(t, err)
			createUpload(t, s, "up")
			before, looks := mustDump(t, s), 0
			fails := map[error]int{syscall.ESTALE: 5}[cause] + 1 // it is tried again
			remove := fault.Inject(func(c vfs.OpCall) error {
				if c.Op == vfs.OpStat && c.Path == bucket {
					if looks++; looks <= fails {
						return cause
					}
				}
				return nil
			})
			if err := s.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err == nil {
				t.Error("it was made")
			}
			remove()
			if after := mustDump(t, s); !maps.Equal(before, after) {
				t.Errorf("before %v\nafter  %v", before, after)
			}
		})
	}
}
