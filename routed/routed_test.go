package routed_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/routed"
)

// remembers is for how long the clients of these tests show what was before.
const remembers = time.Second

var (
	_ object.Copier  = (*view)(nil)
	_ object.Renamer = (*view)(nil)
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ref(key string) object.Ref { return object.Ref{Bucket: "bucket", Key: key} }

func body(content string) object.Body { return objecttest.NewBody([]byte(content), object.CRC64NVME) }

func write(t *testing.T, s object.Store, key, content string) {
	t.Helper()
	_, err := s.Put(t.Context(), ref(key), object.PutInput{Body: body(content)})
	must(t, err)
}

// holds checks what a gateway has under a key.
func holds(t *testing.T, s object.Store, key, content string) {
	t.Helper()
	h, err := s.Open(t.Context(), ref(key))
	if err != nil {
		t.Errorf("open %s: %v", key, err)
		return
	}
	defer h.Close()
	if got, err := io.ReadAll(h.Range(0, h.Info().Size)); err != nil || string(got) != content {
		t.Errorf("%s holds %.20q, %v; want %.20q", key, got, err, content)
	}
}

// inWorld runs a test on gateways with a bucket that the first one owns.
func inWorld(t *testing.T, n int, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, n, remembers)
		w.move("bucket", 0)
		must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		test(t, w)
	})
}

func TestGatewaysThatRouteAreOneStore(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store {
		w := newWorld(t, 3, time.Millisecond)
		w.move("bucket-two", w.ownerOf("bucket-one")) // only there can it be copied to
		return w.robin()
	})
}

// TestBucketsThatMoveAgreeWithTheModel makes random calls at all gateways while
// buckets pass from one to the other.
func TestBucketsThatMoveAgreeWithTheModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		objecttest.Model(t, func(t *testing.T) object.Store {
			w, random := newWorld(t, 3, remembers), rand.New(rand.NewPCG(seed, 1))
			s := w.robin()
			s.Between = func() {
				time.Sleep(time.Duration(random.Int64N(int64(remembers / 10))))
				if random.IntN(10) == 0 {
					to := random.IntN(3)
					w.move("bucket-one", to)
					w.move("bucket-two", to) // only there can it be copied to
				}
			}
			return s
		}, seed, 1500)
	})
}

func TestWhatOneGatewayHasSeenBeforeItAnswersOnlyAsTheOwner(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		write(t, w.gateways[0], "key", "old")
		w.move("bucket", 1)
		holds(t, w.gateways[1], "key", "old") // and remembers it
		w.move("bucket", 0)
		write(t, w.gateways[1], "key", "new")
		w.move("bucket", 1)
		for _, g := range w.gateways {
			holds(t, g, "key", "new")
		}
	})
}

func TestAFrozenOwnerAnswersNothingFromMemory(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		write(t, w.gateways[0], "key", "old")
		holds(t, w.gateways[0], "key", "old")
		w.freeze(0)
		w.fence(0)
		w.move("bucket", 1)
		write(t, w.gateways[1], "key", "new")
		go func() {
			time.Sleep(remembers / 10)
			w.thaw(0)
		}()
		holds(t, w.gateways[0], "key", "new")
		_, err := w.gateways[0].Put(t.Context(), ref("key"), object.PutInput{Body: body("newer"), Check: object.IfNoneMatch("*")})
		if !errors.Is(err, object.PreconditionFailed) {
			t.Errorf("a PUT of what is there: %v", err)
		}
	})
}

func stat(t *testing.T, s object.Store, bucket string) error {
	t.Helper()
	_, err := s.StatBucket(t.Context(), bucket)
	return err
}

func TestABucketShowsEverywhereOnceItIsCreatedOrDeleted(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		there := func(want bool) {
			t.Helper()
			for i, g := range w.gateways {
				buckets, err := g.ListBuckets(t.Context())
				must(t, err)
				_, err = g.StatBucket(t.Context(), "other")
				if listed := len(buckets) == 2; listed != want || (err == nil) != want {
					t.Errorf("gateway %d lists %d buckets, and has %v", i, len(buckets), err)
				}
			}
		}
		there(false)
		var creation sync.WaitGroup
		creation.Go(func() { must(t, w.gateways[1].CreateBucket(t.Context(), object.Bucket{Name: "other"})) })
		for errors.Is(stat(t, w.gateways[2], "other"), object.NoSuchBucket) {
			time.Sleep(remembers / 10)
		}
		there(true) // also if the creation is not answered yet
		creation.Wait()
		there(true)
		must(t, w.gateways[2].DeleteBucket(t.Context(), "other"))
		there(false)
	})
}

// slow is a body that takes its time.
type slow struct {
	object.Body
	begun chan struct{}
	more  chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	if s.begun != nil {
		close(s.begun)
		s.begun = nil
		<-s.more
	}
	return s.Body.Read(p)
}

func TestASlowUploadHoldsNoBucket(t *testing.T) {
	for at, g := range []string{"the owner", "another gateway"} {
		t.Run(g, func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				s := &slow{Body: body("late"), begun: make(chan struct{}), more: make(chan struct{})}
				begun, failed := s.begun, make(chan error, 1)
				go func() {
					_, err := w.gateways[at].Put(t.Context(), ref("key"), object.PutInput{Body: s})
					failed <- err
				}()
				<-begun
				w.move("bucket", 1)
				write(t, w.gateways[1], "key", "in time")
				close(s.more)
				if err := <-failed; object.KindOf(err) != object.Unavailable {
					t.Errorf("the late upload: %v", err)
				}
				holds(t, w.gateways[0], "key", "in time")
			})
		})
	}
}

// TestAPutThatWaitsForItsOwnerIsTheNextOnes has a bucket pass on while its new owner still waits
// until it may touch it, as where gateways come back one after the other.
func TestAPutThatWaitsForItsOwnerIsTheNextOnes(t *testing.T) {
	for at, g := range []string{"the next owner", "the owner"} {
		t.Run(g, func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				w.move("bucket", 1)
				put := make(chan error, 1)
				go func() {
					_, err := w.gateways[at].Put(t.Context(), ref("key"), object.PutInput{Body: body("content")})
					put <- err
				}()
				time.Sleep(remembers / 2)
				passed := time.Now()
				w.move("bucket", 0)
				must(t, <-put)
				if waited := time.Since(passed); waited >= remembers*3/2 {
					t.Errorf("answered %v after the bucket had passed on", waited)
				}
				holds(t, w.gateways[1], "key", "content")
			})
		})
	}
}

// TestAPutWhoseOwnerHasReadNothingYetIsTheNextOnes has a bucket pass on just before the body is read.
func TestAPutWhoseOwnerHasReadNothingYetIsTheNextOnes(t *testing.T) {
	for at, g := range []string{"the owner", "another gateway"} {
		t.Run(g, func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				passOn := func() {
					w.members[0].view.beforePut = nil
					w.move("bucket", 1)
					synctest.Wait()
				}
				w.members[0].view.beforePut = passOn
				write(t, w.gateways[at], "key", "content")
				holds(t, w.gateways[1], "key", "content")
			})
		})
	}
}

func TestWhatIsOpenIsBrokenOffWhenTheBucketComesBack(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		content := strings.Repeat("content ", 100_000)
		write(t, w.gateways[0], "key", content)
		h, err := w.gateways[0].Open(t.Context(), ref("key"))
		must(t, err)
		defer h.Close()
		r := h.Range(0, int64(len(content)))
		_, err = io.ReadFull(r, make([]byte, 100))
		must(t, err)
		w.move("bucket", 1)
		write(t, w.gateways[1], "key", "new")
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Errorf("while another gateway is the owner: %v", err)
		}
		w.move("bucket", 0)
		holds(t, w.gateways[0], "key", "new")
		if _, err := io.ReadAll(r); err == nil {
			t.Error("it is open still")
		}
	})
}

func TestACopyBetweenTwoOwnersIsLeftToTheCaller(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.move("other", 1)
		must(t, w.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: "other"}))
		write(t, w.gateways[0], "key", "content")
		_, err := w.gateways[0].Copy(t.Context(), ref("key"), object.Ref{Bucket: "other", Key: "copy"}, object.CopyInput{})
		if !errors.Is(err, object.NotImplemented) {
			t.Errorf("between two owners: %v", err)
		}
		w.move("other", 0)
		_, err = w.gateways[1].Copy(t.Context(), ref("key"), object.Ref{Bucket: "other", Key: "copy"}, object.CopyInput{})
		must(t, err)
	})
}

func TestABucketThatNobodyServesIsUnavailable(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.move("bucket", 1)
		w.freeze(1)
		w.gateways[1].Close()
		_, err := w.gateways[0].Stat(t.Context(), ref("key"))
		if object.KindOf(err) != object.Unavailable {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err = w.gateways[0].Stat(ctx, ref("key")); object.KindOf(err) != object.Unavailable || time.Since(began) > time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

func TestLargeContentsPassThroughTheOwner(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		content := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<18))
		write(t, w.gateways[1], "key", content)
		for _, g := range w.gateways {
			holds(t, g, "key", content)
		}
	})
}

var _ routed.Fleet = (*member)(nil)
