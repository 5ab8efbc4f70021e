package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

var _ nasfs.Sessions = (*member)(nil)

// TestAFleetIsOneStore sends consecutive calls to different gateways. Of the real
// trees one is enough: what differs is in the other tests.
func TestAFleetIsOneStore(t *testing.T) {
	t.Parallel()
	kinds := fleetKinds()
	delete(kinds, "os")
	if testing.Short() { // the race detector sees nothing else in it
		delete(kinds, "memory as on SMB")
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Run(t, func(t *testing.T) object.Store {
				return newWorld(t, 3, kind(t)).robin()
			})
		})
	}
}

func TestAFleetAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	s := seed(t)
	for name, kind := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Model(t, func(t *testing.T) object.Store {
				return newWorld(t, 3, kind(t)).robin()
			}, s, 1500)
		})
	}
}

// threeOn returns three gateways over one tree with a bucket in it.
func threeOn(t *testing.T, kind string) *world {
	t.Helper()
	w := newWorld(t, 3, fleetKinds()[kind](t))
	if err := w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil {
		t.Fatal(err)
	}
	return w
}

// onEachKind runs a test with three gateways on each kind of tree.
func onEachKind(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for name := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, threeOn(t, name))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func putIn(ctx context.Context, s object.Store, key, text string, check object.Check) error {
	_, err := s.Put(ctx, ref(key), object.PutInput{Body: body(text), Check: check})
	return err
}

// read returns an object's content and ETag.
func read(ctx context.Context, s object.Store, key string) (text, etag string, err error) {
	h, err := s.Open(ctx, ref(key))
	if err != nil {
		return "", "", err
	}
	defer func() { _ = h.Close() }() // nothing was written
	b, err := io.ReadAll(h.Range(0, h.Info().Size))
	return string(b), h.Info().ETag, err
}

// keys lists a prefix.
func keys(ctx context.Context, s object.Store, q object.Query) ([]string, error) {
	q.Bucket, q.Limit = bucket, 1000
	page, err := s.List(ctx, q)
	names := slices.Clone(page.Prefixes)
	for _, o := range page.Objects {
		names = append(names, o.Key)
	}
	slices.Sort(names)
	return names, err
}

func TestGatewaysThatStartAtOnceAgreeOnTheTree(t *testing.T) {
	t.Parallel()
	for name, kind := range fleetKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range rounds(20) {
				cfg := kind(t)
				w := newWorld(t, 4, cfg)
				must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: bucket}))
				writeFile(t, cfg().Root, "somebody's")
				want := ""
				for i, g := range w.gateways {
					info, err := g.Stat(t.Context(), ref("somebody's")) // its ETag depends on the deployment
					if err != nil || want != "" && info.ETag != want {
						t.Errorf("gateway %d: ETag %q, want %q, %v", i, info.ETag, want, err)
					}
					want = info.ETag
				}
			}
		})
	}
}

// writeFile makes a file in the bucket as somebody else would.
func writeFile(t *testing.T, root vfs.Dir, name string) {
	t.Helper()
	dir, err := root.OpenDir(bucket)
	must(t, err)
	defer func() { _ = dir.Close() }() // open to name files in
	f, err := dir.Create(name, 0o666)
	must(t, err)
	_, err = f.Write([]byte("foreign"))
	must(t, errors.Join(err, f.Close()))
}

func TestOneOfManyCreatorsInAFleetWins(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		for round := range rounds(20) {
			key := fmt.Sprintf("c/%d/k", round)
			errs := make([]error, 8)
			var group sync.WaitGroup
			for i := range errs {
				group.Go(func() {
					errs[i] = putIn(t.Context(), w.gateways[i%3], key, fmt.Sprint(i), object.IfNoneMatch("*"))
				})
			}
			group.Wait()
			winner := -1
			for i, err := range errs {
				switch {
				case err == nil && winner >= 0:
					t.Errorf("round %d: %d and %d have won", round, winner, i)
				case err == nil:
					winner = i
				default:
					is(t, fmt.Sprintf("round %d: creator %d", round, i), err, object.PreconditionFailed)
				}
			}
			for i, g := range w.gateways {
				if got, _, err := read(t.Context(), g, key); err != nil || got != fmt.Sprint(winner) {
					t.Errorf("round %d: %d has won, and gateway %d reads %q, %v", round, winner, i, got, err)
				}
			}
		}
	})
}

// TestACounterLosesNothingWhileSessionsEnd counts through three gateways whose
// sessions are ended at random, in front of their eyes or behind their backs.
func TestACounterLosesNothingWhileSessionsEnd(t *testing.T) {
	s := seed(t)
	onEachKind(t, func(t *testing.T, w *world) {
		must(t, putIn(t.Context(), w.gateways[0], "n", "0", nil))
		var counted, unknown, refused atomic.Int64
		var writers, killer sync.WaitGroup
		commits := make(chan struct{}, 1)
		killer.Go(func() {
			rng := rand.New(rand.NewPCG(s, 0)) //nolint:gosec // a test that can be repeated
			for range commits {                // or nothing would ever be done
				if rng.IntN(2) == 0 {
					endOne(w.members[rng.IntN(3)], rng)
				}
			}
		})
		each := int64(rounds(40))
		for writer := range 6 {
			writers.Go(func() {
				g := w.gateways[writer%3]
				for done := int64(0); done < each; {
					switch err := increment(t.Context(), g, "n"); {
					case err == nil:
						done++
						counted.Add(1)
						select {
						case commits <- struct{}{}:
						default:
						}
					case object.KindOf(err) == object.Unknown:
						unknown.Add(1)
					case object.KindOf(err) == object.Unavailable:
						refused.Add(1)
					case object.KindOf(err) != object.PreconditionFailed:
						t.Errorf("writer %d: %v", writer, err)
						return
					}
				}
			})
		}
		writers.Wait()
		close(commits)
		killer.Wait()
		got, _, err := read(t.Context(), w.gateways[0], "n")
		n, _ := strconv.ParseInt(got, 10, 64)
		if err != nil || n < counted.Load() || n > counted.Load()+unknown.Load() {
			t.Errorf("counted to %q, %v: %d increments were acknowledged, of %d it is unknown", got, err, counted.Load(), unknown.Load())
		}
		t.Logf("%d acknowledged, %d unknown, %d refused", counted.Load(), unknown.Load(), refused.Load())
	})
}

// endOne ends a member's session and begins the next.
func endOne(m *member, rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		m.lose()
		m.begin()
		return
	}
	tell := m.expire()
	m.begin()
	tell()
}

// increment adds 1 to the number in an object.
func increment(ctx context.Context, s object.Store, key string) error {
	text, etag, err := read(ctx, s, key)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return putIn(ctx, s, key, strconv.Itoa(n+1), object.IfMatch(etag, object.NoSuchKey))
}

func TestAnUploadIsTheWholeFleets(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		a, b, c := w.gateways[0], w.gateways[1], w.gateways[2]
		for round := range rounds(15) {
			key := fmt.Sprintf("up/%d", round)
			up, err := a.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref(key)}, Algorithm: object.CRC32})
			must(t, err)
			_, err = c.PutPart(t.Context(), up.UploadRef, 1, body("superseded"))
			must(t, err)
			part, err := b.PutPart(t.Context(), up.UploadRef, 1, body(key))
			must(t, err)
			for i, g := range w.gateways {
				parts, _, err := g.ListParts(t.Context(), up.UploadRef, 0, 10)
				if err != nil || len(parts) != 1 || parts[0].ETag != part.ETag {
					t.Errorf("gateway %d lists the parts %+v, %v", i, parts, err)
				}
				page, err := g.ListUploads(t.Context(), object.UploadQuery{Bucket: bucket, Limit: 10})
				if err != nil || len(page.Uploads) != 1 || page.Uploads[0].ID != up.ID {
					t.Errorf("gateway %d lists the uploads %+v, %v", i, page.Uploads, err)
				}
			}
			raceEnds(t, w, up.UploadRef, part)
			for i, g := range w.gateways {
				if _, err := g.StatUpload(t.Context(), up.UploadRef); !errors.Is(err, object.NoSuchUpload) {
					t.Errorf("gateway %d: the upload that was ended: %v", i, err)
				}
				_, err := g.PutPart(t.Context(), up.UploadRef, 2, body("late"))
				is(t, fmt.Sprintf("gateway %d: a late part", i), err, object.NoSuchUpload)
			}
		}
	})
}

// Gateways that have seen the directory of an upload must not meet it under another name: their
// clients of SMB would make up inode numbers from then on.
func TestOnSMBTheDirectoryOfAnUploadIsRemovedWhereItIs(t *testing.T) {
	memory := vfs.NewMemory()
	w := newWorld(t, 3, func() nasfs.Config { return config(t, onServer{memory.Root(), "smb"}) })
	a, b := w.gateways[0], w.gateways[1]
	must(t, memory.Root().Mkdir(bucket, 0o755))
	for i := range w.faults {
		w.faults[i].Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpRename && strings.Contains(c.To, "/trash/") {
				t.Errorf("%s becomes %s", c.Path, c.To)
			}
			return nil
		})
	}
	for _, end := range []func(up object.UploadRef, part object.Part) error{
		func(up object.UploadRef, part object.Part) error {
			_, err := b.CompleteUpload(t.Context(), up, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}})
			return err
		},
		func(up object.UploadRef, _ object.Part) error { return b.AbortUpload(t.Context(), up) },
		func(object.UploadRef, object.Part) error {
			_, err := b.Delete(t.Context(), ref("key"), nil)
			return errors.Join(err, b.DeleteBucket(t.Context(), bucket))
		},
	} {
		up, err := a.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref("key")}, Algorithm: object.CRC32, Implied: true})
		must(t, err)
		part, err := b.PutPart(t.Context(), up.UploadRef, 1, body("part"))
		must(t, err)
		must(t, end(up.UploadRef, part))
	}
	nasfs.QuiesceFleet(b)
	if left := filesBelow(t, memory.Root(), ".shoal.sys/uploads", 0); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// Who fences a session looks at what is in it, and may remember the bucket.
func TestOnSMBABucketThatIsBeingDeletedIsNotSeenInTheSession(t *testing.T) {
	memory := vfs.NewMemory()
	w := newWorld(t, 1, func() nasfs.Config { return config(t, onServer{memory.Root(), "smb"}) })
	must(t, memory.Root().Mkdir(bucket, 0o755))
	dir, err := memory.Root().Stat(bucket)
	must(t, err)
	looks := 0
	w.faults[0].Inject(func(c vfs.OpCall) error {
		if c.Op != vfs.OpRmdir || !strings.Contains(c.Path, "/sessions/") {
			return nil
		}
		for _, path := range filesBelow(t, memory.Root(), ".shoal.sys/sessions", 2) {
			st, err := memory.Root().Stat(path)
			if looks++; err != nil || st.Ino == dir.Ino {
				t.Errorf("%s is the bucket, or %v", path, err)
			}
		}
		return nil
	})
	must(t, w.gateways[0].DeleteBucket(t.Context(), bucket))
	if looks == 0 {
		t.Error("the bucket did not go through the session")
	}
	if left := filesBelow(t, memory.Root(), ".shoal.sys/sessions", 2); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// raceEnds completes an upload on two gateways at once, again on the third, and
// aborts it meanwhile.
func raceEnds(t *testing.T, w *world, up object.UploadRef, part object.Part) {
	t.Helper()
	in := object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}}
	errs := make([]error, 3)
	infos := make([]object.Info, 2)
	var group sync.WaitGroup
	for i := range infos {
		group.Go(func() { infos[i], errs[i] = w.gateways[i].CompleteUpload(t.Context(), up, in) })
	}
	group.Go(func() { errs[2] = w.gateways[2].AbortUpload(t.Context(), up) })
	group.Wait()
	completed := errs[0] == nil && errs[1] == nil && infos[0].ETag == infos[1].ETag
	aborted := errors.Is(errs[0], object.NoSuchUpload) && errors.Is(errs[1], object.NoSuchUpload)
	if completed == (errs[2] == nil) || aborted != (errs[2] == nil) {
		t.Errorf("complete %v and %v, abort %v", errs[0], errs[1], errs[2])
	}
	if again, err := w.gateways[2].CompleteUpload(t.Context(), up, in); completed && (err != nil || again.ETag != infos[0].ETag) {
		t.Errorf("completed once more: %+v, %v", again, err)
	}
}

func TestWhatOneGatewayWroteTheOthersRead(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for round := range rounds(30) {
			writer, key := w.gateways[round%3], fmt.Sprintf("d%d/k", round%4)
			text := fmt.Sprint("text ", round)
			must(t, putIn(ctx, writer, key, text, nil))
			tags := []object.Tag{{Key: "round", Value: strconv.Itoa(round)}}
			if round%5 > 0 {
				_, err := writer.Update(ctx, ref(key), func(m *object.Meta) error { m.Tags = tags; return nil })
				must(t, err)
			} else {
				tags = nil
			}
			must(t, writer.UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Region = text; return nil }))
			for i, g := range w.gateways {
				got, etag, err := read(ctx, g, key)
				if err != nil || got != text {
					t.Errorf("round %d, gateway %d reads %q, %v", round, i, got, err)
				}
				info, err := g.Stat(ctx, ref(key))
				if err != nil || !reflect.DeepEqual(info.Meta.Tags, tags) && len(info.Meta.Tags)+len(tags) > 0 {
					t.Errorf("round %d, gateway %d: tags %v, want %v, %v", round, i, info.Meta.Tags, tags, err)
				}
				if b, err := g.StatBucket(ctx, bucket); err != nil || b.Region != text {
					t.Errorf("round %d, gateway %d: bucket %+v, %v", round, i, b, err)
				}
				page, err := g.List(ctx, object.Query{Bucket: bucket, Prefix: key, Limit: 2})
				if err != nil || len(page.Objects) != 1 || page.Objects[0].ETag != etag {
					t.Errorf("round %d, gateway %d lists %+v, %v", round, i, page.Objects, err)
				}
			}
			must(t, drop(ctx, w.gateways[(round+1)%3], ref(key), nil))
			for i, g := range w.gateways {
				_, err := g.Stat(ctx, ref(key))
				is(t, fmt.Sprintf("round %d, gateway %d: deleted", round, i), err, object.NoSuchKey)
				if names, err := keys(ctx, g, object.Query{Delimiter: "/"}); err != nil || len(names) > 0 {
					t.Errorf("round %d, gateway %d lists %q, %v", round, i, names, err)
				}
			}
		}
	})
}

func TestAFileAndADirectoryOfOneNameAreReadThroughTheWholeFleet(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for i, g := range w.gateways {
			_, err := g.Stat(ctx, ref("a")) // whatever it may remember of that
			is(t, fmt.Sprintf("gateway %d: before", i), err, object.NoSuchKey)
		}
		must(t, putIn(ctx, w.gateways[0], "a", "file", nil))
		must(t, putIn(ctx, w.gateways[1], "a/b", "below", nil)) // moves the file aside
		for i, g := range w.gateways {
			for key, want := range map[string]string{"a": "file", "a/b": "below"} {
				if got, _, err := read(ctx, g, key); err != nil || got != want {
					t.Errorf("gateway %d reads %q of %s, %v", i, got, key, err)
				}
			}
			if names, err := keys(ctx, g, object.Query{}); err != nil || !slices.Equal(names, []string{"a", "a/b"}) {
				t.Errorf("gateway %d lists %q, %v", i, names, err)
			}
		}
		must(t, putIn(ctx, w.gateways[2], "a", "again", nil))
		must(t, drop(ctx, w.gateways[0], ref("a/b"), nil))
		must(t, putIn(ctx, w.gateways[1], "a", "plain", nil)) // with the alias still there
		must(t, drop(ctx, w.gateways[2], ref("a"), nil))
		for i, g := range w.gateways {
			_, err := g.Stat(ctx, ref("a"))
			is(t, fmt.Sprintf("gateway %d: after", i), err, object.NoSuchKey)
		}
	})
}

// TestParentsThatOneGatewayPrunesAreMadeByAnother: no PUT fails or is lost.
func TestParentsThatOneGatewayPrunesAreMadeByAnother(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		var group sync.WaitGroup
		for worker, g := range w.gateways {
			group.Go(func() {
				key := fmt.Sprintf("p/q/r/%d", worker)
				for round := range rounds(100) {
					text := fmt.Sprint(round)
					if err := putIn(t.Context(), g, key, text, nil); err != nil {
						t.Errorf("gateway %d, round %d: %v", worker, round, err)
						return
					}
					other := w.gateways[(worker+1)%3]
					if got, _, err := read(t.Context(), other, key); err != nil || got != text {
						t.Errorf("gateway %d, round %d: read %q, %v", worker, round, got, err)
					}
					if _, err := other.Delete(t.Context(), ref(key), object.IfMatch("*", object.NoSuchKey)); err != nil {
						t.Errorf("gateway %d, round %d: delete: %v", worker, round, err)
					}
				}
			})
		}
		group.Wait()
	})
}

// TestABucketOfAFleetIsDeletedWholeOrNotAtAll races a deletion on one gateway
// with a Put and a CreateUpload on the others.
func TestABucketOfAFleetIsDeletedWholeOrNotAtAll(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		const name = "contested"
		r := object.Ref{Bucket: name, Key: "a/k"}
		for round := range rounds(50) {
			if err := w.gateways[round%3].CreateBucket(t.Context(), object.Bucket{Name: name}); err != nil && !errors.Is(err, object.BucketExists) {
				t.Fatal(err)
			}
			var put, deleted, created error
			var group sync.WaitGroup
			group.Go(func() { _, put = w.gateways[0].Put(t.Context(), r, object.PutInput{Body: body("x")}) })
			group.Go(func() { deleted = w.gateways[1].DeleteBucket(t.Context(), name) })
			group.Go(func() {
				_, created = w.gateways[2].CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: r}, Algorithm: object.CRC32})
			})
			group.Wait()
			if put != nil && !errors.Is(put, object.NoSuchBucket) || deleted != nil && !errors.Is(deleted, object.BucketNotEmpty) ||
				created != nil && !errors.Is(created, object.NoSuchBucket) || (put == nil) == (deleted == nil) {
				t.Fatalf("round %d: put %v, delete %v, create upload %v", round, put, deleted, created)
			}
			if put == nil {
				must(t, drop(t.Context(), w.gateways[1], r, nil))
			}
		}
	})
}

// TestAnUploadOfAnyPartsIsWhole sends parts of different sizes through three gateways, with
// gaps, out of order, one of them again with another size, and one too many.
func TestAnUploadOfAnyPartsIsWhole(t *testing.T) {
	t.Parallel()
	w := threeOn(t, "memory")
	up := createUpload(t, w.gateways[0], "k")
	const large = object.MinPartSize
	parts, contents := map[int]object.CompletedPart{}, map[int]string{}
	for i, p := range []struct{ number, size int }{{10_000, 10}, {7, large + 1}, {4, large + 3}, {9, large}, {4, large}} {
		content := strings.Repeat(fmt.Sprint(i), p.size)
		part, err := w.gateways[i%3].PutPart(t.Context(), up.UploadRef, p.number, body(content))
		must(t, err)
		parts[p.number], contents[p.number] = object.CompletedPart{Number: p.number, ETag: part.ETag}, content
	}
	for g := range w.gateways {
		listed, _, err := w.gateways[g].ListParts(t.Context(), up.UploadRef, 4, 10)
		if err != nil || len(listed) != 3 || listed[2].Number != 10_000 {
			t.Errorf("gateway %d lists %+v, %v", g, listed, err)
		}
	}
	in := object.CompleteInput{Size: -1, Parts: []object.CompletedPart{parts[4], parts[7], parts[10_000]}}
	_, err := w.gateways[1].CompleteUpload(t.Context(), up.UploadRef, in)
	must(t, err)
	want := contents[4] + contents[7] + contents[10_000]
	if got, _, err := read(t.Context(), w.gateways[2], "k"); err != nil || got != want {
		t.Errorf("%d bytes and not %d, %v", len(got), len(want), err)
	}
}

// TestACopyThatIsRefusedHalfWayGoesOnThroughABuffer has the file system copy some parts of
// an object and not the others.
func TestACopyThatIsRefusedHalfWayGoesOnThroughABuffer(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		w := threeOn(t, "memory")
		up := createUpload(t, w.gateways[0], "k")
		in, want := object.CompleteInput{Size: -1}, ""
		for i := range 3 {
			content := strings.Repeat(fmt.Sprint(i), object.MinPartSize+i)
			part, err := w.gateways[0].PutPart(t.Context(), up.UploadRef, i+1, body(content))
			must(t, err)
			in.Parts, want = append(in.Parts, object.CompletedPart{Number: i + 1, ETag: part.ETag}), want+content
		}
		copies := 0
		w.faults[0].Inject(func(c vfs.OpCall) error {
			if c.Op != vfs.OpCopy {
				return nil
			}
			if copies++; copies > n {
				return vfs.ErrUnsupported
			}
			return nil
		})
		_, err := w.gateways[0].CompleteUpload(t.Context(), up.UploadRef, in)
		must(t, err)
		if got, _, err := read(t.Context(), w.gateways[1], "k"); err != nil || got != want || copies == 0 {
			t.Errorf("refused after %d copies: %d bytes and not %d, %v", n, len(got), len(want), err)
		}
	}
}

// TestAGatewayFindsWhatOneThatServedAloneHasMadeMeanwhile: it was cut off when that began, and goes on in another
// session. Versions are kept then that were not before, and what it writes is later than what that one has written.
func TestAGatewayFindsWhatOneThatServedAloneHasMadeMeanwhile(t *testing.T) {
	m, ctx := vfs.NewMemory(), t.Context()
	w := newWorld(t, 1, func() nasfs.Config { return config(t, m.Root()) })
	gateway, key := w.gateways[0], object.Ref{Bucket: bucket, Key: "deleted"}
	must(t, gateway.CreateBucket(ctx, object.Bucket{Name: bucket}))
	must(t, putIn(ctx, gateway, "k", "0", nil))
	w.members[0].lose()

	alone, err := nasfs.Open(config(t, m.Root()))
	must(t, err)
	must(t, alone.UpdateBucket(ctx, bucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
	must(t, putIn(ctx, alone, "k", "1", nil))
	for range 5 { // its generations are greater than what the fleet counts
		must(t, alone.Close())
		alone, err = nasfs.Open(config(t, m.Root()))
		must(t, err)
	}
	must(t, putIn(ctx, alone, "k", "2", nil))
	before, err := alone.Delete(ctx, key, nil)
	must(t, err)
	must(t, alone.Close())

	newest, err := w.mount.Newest(ctx)
	must(t, err)
	w.generation = newest.Number + 1
	must(t, w.mount.Claim(ctx, w.generation, "test"))
	w.members[0].begin()
	must(t, putIn(ctx, gateway, "k", "3", nil))
	after, err := gateway.Delete(ctx, key, nil)
	must(t, err)
	if after.Sequence <= before.Sequence {
		t.Errorf("what comes later has the token %s, and what was before %s", after.Sequence, before.Sequence)
	}
	if all := listVersions(t, w.member(config(t, m.Root()))(), "k", 10); len(all) != 4 {
		t.Errorf("these versions are kept, and should be four: %v", all)
	}
}
