package nasfs_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// TestParentsComeAndGoWithoutARace puts keys into directories that deletes of
// the last keys below are removing all the time.
func TestParentsComeAndGoWithoutARace(t *testing.T) {
	t.Parallel()
	for name, cfg := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, err := setUp(t.Context(), open(t, cfg(t)))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for worker := range 4 {
				wg.Go(func() {
					key := fmt.Sprintf("p/q/%d/r/%d", worker/2, worker)
					for round := range rounds(400) {
						if err := churn(t.Context(), sc, key, fmt.Sprint(round)); err != nil {
							t.Errorf("worker %d, round %d: %v", worker, round, err)
							return
						}
					}
				})
			}
			wg.Wait()
			page, err := sc.List(t.Context(), object.Query{Bucket: bucket, Prefix: "p/", Limit: 10})
			if err != nil || len(page.Objects)+len(page.Prefixes) > 0 {
				t.Errorf("left: %+v, %v", page, err)
			}
		})
	}
}

// churn puts, reads and deletes a key that nobody else uses.
func churn(ctx context.Context, sc *scene, key, want string) error {
	if err := sc.put(ctx, key, want, nil); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	got, err := content(ctx, sc.Store, ref(key))
	if err != nil || got != want {
		return fmt.Errorf("read %q, want %q: %w", got, want, err)
	}
	page, err := sc.List(ctx, object.Query{Bucket: bucket, Prefix: key, Limit: 1})
	if err != nil || len(page.Objects) != 1 {
		return fmt.Errorf("listed %+v: %w", page, err)
	}
	if _, err := sc.Delete(ctx, ref(key), object.IfMatch("*", object.NoSuchKey)); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// TestAFileAndADirectoryOfOneNameComeAndGoWithoutARace does the same with keys
// that are in each other's way.
func TestAFileAndADirectoryOfOneNameComeAndGoWithoutARace(t *testing.T) {
	t.Parallel()
	sc, err := setUp(t.Context(), open(t, kinds()["memory"](t)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, key := range []string{"n", "n/m", "n/m/k"} {
		wg.Go(func() {
			for round := range rounds(300) {
				if err := churn(t.Context(), sc, key, fmt.Sprint(key, round)); err != nil && !errors.Is(err, object.Conflict) {
					t.Errorf("%s, round %d: %v", key, round, err)
					return
				}
				_, _ = sc.Delete(t.Context(), ref(key), nil) // what a round that met a conflict has left
			}
		})
	}
	wg.Wait()
}

// TestAnObjectThatMakesRoomIsListedAllTheTime holds up a listing that has seen
// the file of a key, while the file moves to its other slot.
func TestAnObjectThatMakesRoomIsListedAllTheTime(t *testing.T) {
	t.Parallel()
	for _, delimiter := range []string{"", "l"} { // the key by itself, and as a common prefix
		_, fault, sc := stagedScene(t, nasfs.Xattr)
		hang := fault.Hang(func(c vfs.OpCall) bool { return c.Op == vfs.OpStat && c.Path == bucket+"/file" })
		result := make(chan object.Page)
		go func() {
			page, err := sc.List(t.Context(), object.Query{Bucket: bucket, Prefix: "fi", Delimiter: delimiter, Limit: 1})
			if err != nil {
				t.Error(err)
			}
			result <- page
		}()
		<-hang.Reached()
		if err := moveAside(fault.Root()); err != nil {
			t.Error(err)
		}
		hang.Release()
		if page := <-result; len(page.Objects)+len(page.Prefixes) != 1 {
			t.Errorf("with the delimiter %q: %+v", delimiter, page)
		}
	}
}

// moveAside does what a Put of "file/below" does, which the hang would hold up
// as well.
func moveAside(root vfs.Dir) error {
	dir, err := root.OpenDir(bucket)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // open to name files in
	return errors.Join(dir.Rename("file", dir, "=f=file"), dir.Mkdir("file", 0o777))
}

func TestOneOf100CreatorsWins(t *testing.T) {
	t.Parallel()
	for name, cfg := range kinds() {
		t.Run(name, func(t *testing.T) {
			sc, err := setUp(t.Context(), open(t, cfg(t)))
			if err != nil {
				t.Fatal(err)
			}
			errs := make([]error, 100)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() { errs[i] = sc.put(t.Context(), "c/k", fmt.Sprint(i), object.IfNoneMatch("*")) })
			}
			wg.Wait()
			winner := -1
			for i, err := range errs {
				switch {
				case err == nil && winner >= 0:
					t.Errorf("%d and %d have won", winner, i)
				case err == nil:
					winner = i
				case !errors.Is(err, object.PreconditionFailed):
					t.Errorf("%d: %v", i, err)
				}
			}
			if got, err := content(t.Context(), sc.Store, ref("c/k")); err != nil || got != fmt.Sprint(winner) {
				t.Errorf("%d has won and the content is %q, %v", winner, got, err)
			}
		})
	}
}

func TestACounterBehindIfMatchLosesNothing(t *testing.T) {
	t.Parallel()
	sc, err := setUp(t.Context(), open(t, kinds()["os"](t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := sc.put(t.Context(), "n", "0", nil); err != nil {
		t.Fatal(err)
	}
	const writers = 8
	each := rounds(50)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				h, err := sc.Open(t.Context(), ref("n"))
				if err != nil {
					t.Error(err)
					return
				}
				buf := make([]byte, h.Info().Size)
				if _, err := h.Range(0, h.Info().Size).Read(buf); err != nil {
					t.Error(err)
				}
				_ = h.Close() // it was read
				n, err := strconv.Atoi(string(buf))
				if err != nil {
					t.Error(err)
				}
				switch err := sc.put(t.Context(), "n", fmt.Sprint(n+1), object.IfMatch(h.Info().ETag, object.NoSuchKey)); {
				case err == nil:
					done++
				case !errors.Is(err, object.PreconditionFailed):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := content(t.Context(), sc.Store, ref("n")); got != fmt.Sprint(writers*each) || err != nil {
		t.Errorf("counted to %s, %v", got, err)
	}
}

// TestABucketIsDeletedWholeOrNotAtAll races DeleteBucket against a Put, a
// CreateUpload and a CreateBucket.
func TestABucketIsDeletedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := open(t, kinds()["memory"](t))
	const name = "contested"
	r := object.Ref{Bucket: name, Key: "a/k"}
	for round := range 300 {
		if err := s.CreateBucket(t.Context(), object.Bucket{Name: name}); err != nil && !errors.Is(err, object.BucketExists) {
			t.Fatal(err)
		}
		var put, deleted, created error
		var wg sync.WaitGroup
		wg.Go(func() { _, put = s.Put(t.Context(), r, object.PutInput{Body: body("x")}) })
		wg.Go(func() { deleted = s.DeleteBucket(t.Context(), name) })
		wg.Go(func() {
			_, created = s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: r}, Algorithm: object.CRC32})
		})
		wg.Wait()
		if put != nil && !errors.Is(put, object.NoSuchBucket) || deleted != nil && !errors.Is(deleted, object.BucketNotEmpty) ||
			created != nil && !errors.Is(created, object.NoSuchBucket) {
			t.Fatalf("round %d: put %v, delete %v, create upload %v", round, put, deleted, created)
		}
		if (put == nil) == (deleted == nil) {
			t.Fatalf("round %d: put %v, delete %v", round, put, deleted)
		}
		if put == nil {
			if got, err := content(t.Context(), s, r); got != "x" || err != nil {
				t.Fatalf("round %d: %q, %v", round, got, err)
			}
			if _, err := s.Delete(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAnEndedUploadNeverComesBack completes and aborts uploads at once, over
// and over, and looks for them after a restart.
func TestAnEndedUploadNeverComesBack(t *testing.T) {
	t.Parallel()
	cfg := kinds()["memory"](t)
	s, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 200 {
		up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref("raced")}, Algorithm: object.CRC32})
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.PutPart(t.Context(), up.UploadRef, 1, body(fmt.Sprint(round)))
		if err != nil {
			t.Fatal(err)
		}
		in := object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}}
		var wg sync.WaitGroup
		var first, second, aborted error
		wg.Go(func() { _, first = s.CompleteUpload(t.Context(), up.UploadRef, in) })
		wg.Go(func() { _, second = s.CompleteUpload(t.Context(), up.UploadRef, in) })
		wg.Go(func() { aborted = s.AbortUpload(t.Context(), up.UploadRef) })
		wg.Wait()
		if (first == nil) != (second == nil) || (first == nil) == (aborted == nil) {
			t.Errorf("round %d: complete %v and %v, abort %v", round, first, second, aborted)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, cfg)
	page, err := again.ListUploads(t.Context(), object.UploadQuery{Bucket: bucket, Limit: 1000})
	if err != nil || len(page.Uploads) != 1 || page.Uploads[0].ID != sc.up.ID {
		t.Errorf("uploads %+v, %v", page, err)
	}
}
