package foreign_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/foreign"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

const asked = `<NotificationConfiguration><QueueConfiguration><Id>a</Id><Queue>arn:minio:sqs::A:webhook</Queue><Event>s3:ObjectForeign:*</Event></QueueConfiguration></NotificationConfiguration>`

// share is a tree with one bucket, into which people put files, and what the gateways
// that look through it remember.
type share struct {
	object.Store
	t *testing.T

	mu      sync.Mutex
	files   map[string]object.Info
	batches map[string][]byte
	count   int
	told    []string // keys, of removed files with a minus
	fails   error    // of telling
	touched []string // keys that clients of S3 have changed
	gap     int      // touched before it is not known any more
	listing func()   // is called once, before files are listed
	hidden  string   // a key that listings lack
	watched map[string]bool
	saw     func(bucket, name string) // nil: nobody watches
}

func newShare(t *testing.T, rules string) *share {
	t.Helper()
	s := &share{Store: objecttest.NewMemory(), t: t, files: make(map[string]object.Info), batches: make(map[string][]byte)}
	b := object.Bucket{Name: "bucket"}
	if rules != "" {
		b.Documents = map[string]string{events.Document: rules}
	}
	if err := s.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return s
}

// write has somebody write a file.
func (s *share) write(key, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[key] = object.Info{Bucket: "bucket", Key: key, ETag: etag, Modified: time.Now()}
}

// remove has somebody remove a file.
func (s *share) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, key)
}

// change has a client of S3 put an object, or delete it: put "".
func (s *share) change(key, etag string) {
	if etag == "" {
		s.remove(key)
	} else {
		s.write(key, etag)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = append(s.touched, key)
}

// forget has it forgotten what clients of S3 have changed.
func (s *share) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gap = len(s.touched) + 1
	s.touched = append(s.touched, "")
}

// Touched is what a Worker asks.
func (s *share) Touched(_ context.Context, _, since string) (touched []string, next string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = strconv.Itoa(len(s.touched))
	from, err := strconv.Atoi(since)
	if err != nil || from < s.gap {
		return nil, next, false
	}
	return slices.Clone(s.touched[from:]), next, true
}

// List implements object.Objects, in pages of two.
func (s *share) List(_ context.Context, q object.Query) (object.Page, error) {
	s.mu.Lock()
	listing := s.listing
	s.listing = nil
	s.mu.Unlock()
	if listing != nil {
		listing()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var p object.Page
	for _, key := range slices.Sorted(maps.Keys(s.files)) {
		if key <= q.After || key == s.hidden || !strings.HasPrefix(key, q.Prefix) {
			continue
		}
		if len(p.Objects) == 2 {
			p.More, p.Next = true, p.Objects[1].Key
			break
		}
		p.Objects = append(p.Objects, s.files[key])
	}
	return p, nil
}

// Stat implements object.Objects.
func (s *share) Stat(_ context.Context, ref object.Ref) (object.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.files[ref.Key]; ok {
		return o, nil
	}
	return object.Info{}, object.E("stat", ref.Key, object.NoSuchKey, nil)
}

func (s *share) Keep(_ context.Context, label string, content []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	name := fmt.Sprintf("s/%06d.%s", s.count, label)
	s.batches[name] = content
	return name, nil
}

// Left implements events.Journal: whoever asks is another gateway than before.
func (s *share) Left(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.batches)), nil
}

func (s *share) Fetch(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.batches[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (s *share) Drop(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.batches, name)
	return nil
}

func (s *share) tell(_ context.Context, rules *events.Configuration, happened ...events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	for _, e := range happened {
		switch {
		case rules == nil:
			s.t.Errorf("told of %+v without rules", e)
		case e.Name == events.ForeignCreated:
			s.told = append(s.told, e.Key)
		case e.Name == events.ForeignRemoved:
			s.told = append(s.told, "-"+e.Key)
		default:
			s.t.Errorf("told of %+v", e)
		}
	}
	return nil
}

// news returns what was told since the last time.
func (s *share) news() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.told)
	told := strings.Join(s.told, " ")
	s.told = nil
	return told
}

// gateway has one look through the share every minute, until the returned function is
// called.
func (s *share) gateway(locker lock.Locker) (stop func()) {
	w := &foreign.Worker{
		Store: s, Journal: s, Locker: locker, Tell: s.tell, Touched: s.Touched, Log: slog.New(slog.DiscardHandler), Now: time.Now, Every: time.Minute,
	}
	if s.watched != nil {
		w.Watch = func(saw func(bucket, name string)) (foreign.Watch, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.saw = saw
			return s, nil
		}
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.Run(ctx)
	}()
	return func() {
		cancel()
		<-over
	}
}

const (
	ours   = "d41d8cd98f00b204e9800998ecf8427e"
	theirs = "00000000000000000000000000000001-0"
	edited = "00000000000000000000000000000002-0"
)

func (s *share) is(what, want string) {
	s.t.Helper()
	if got := s.news(); got != want {
		s.t.Errorf("%s: told of %q, want %q", what, got, want)
	}
}

func TestFilesThatArriveOrChangeAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		s.write("a", theirs)
		s.write("b", ours)
		time.Sleep(time.Minute)
		stop := s.gateway(locker)
		defer stop()
		time.Sleep(90 * time.Second)
		s.is("what was there before", "")
		s.write("c", theirs)
		s.write("d", ours)
		s.write("e", theirs)
		time.Sleep(time.Minute)
		s.is("what arrives", "c e")
		time.Sleep(time.Hour)
		s.is("what stays as it is", "")
		s.write("a", edited)
		s.write("c", ours)
		time.Sleep(time.Minute)
		s.is("what changes", "a")
	})
}

func TestAFileThatIsStillBeingWrittenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		defer s.gateway(locker)()
		time.Sleep(55 * time.Second)
		s.write("a", theirs) // before the first look
		time.Sleep(60 * time.Second)
		s.write("b", theirs) // before the second
		time.Sleep(10 * time.Second)
		s.is("at the second look", "a")
		time.Sleep(time.Minute)
		s.is("at the third", "b")
	})
}

func TestTheNextGatewayGoesOnWithWhatTheLastOneHasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		s.write("a", theirs)
		time.Sleep(time.Minute)
		stop := s.gateway(locker)
		time.Sleep(90 * time.Second)
		stop()
		s.write("b", theirs) // while nobody looks
		time.Sleep(time.Hour)
		defer s.gateway(locker)()
		time.Sleep(90 * time.Second)
		s.is("what the next one finds", "b")
		if len(s.batches) != 1 {
			t.Errorf("%d batches are remembered", len(s.batches))
		}
	})
}

func TestWhatCouldNotBeToldIsToldTheNextTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		defer s.gateway(locker)()
		time.Sleep(90 * time.Second)
		s.mu.Lock()
		s.fails = errors.New("the disk is full")
		s.mu.Unlock()
		s.write("a", theirs)
		time.Sleep(time.Minute)
		s.is("while it fails", "")
		s.mu.Lock()
		s.fails = nil
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.is("afterwards", "a")
	})
}

func TestABucketThatDoesNotAskIsNotLookedThrough(t *testing.T) {
	for name, rules := range map[string]string{"without rules": "", "with others": strings.ReplaceAll(asked, "ObjectForeign", "ObjectCreated")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShare(t, rules)
				locker := lock.NewLocal(1)
				defer locker.Close()
				defer s.gateway(locker)()
				time.Sleep(90 * time.Second)
				s.write("a", theirs)
				time.Sleep(time.Hour)
				s.is("told", "")
				if s.count > 0 {
					t.Error("something is remembered")
				}
			})
		})
	}
}

func TestWhenABucketAsksNoMoreNothingIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		defer s.gateway(locker)()
		time.Sleep(90 * time.Second)
		err := s.UpdateBucket(t.Context(), "bucket", func(b *object.Bucket) error {
			b.Documents = nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.batches) != 0 {
			t.Errorf("%d batches are left", len(s.batches))
		}
	})
}
