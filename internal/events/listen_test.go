package events_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/relay"
)

// peers are gateways that reach one another through memory.
type peers struct {
	t    *testing.T
	self string
	all  *sync.Map // *events.Service by name

	dialled atomic.Int32
}

func (p *peers) Others() []string {
	var names []string
	p.all.Range(func(name, _ any) bool {
		if name != p.self {
			names = append(names, name.(string))
		}
		return true
	})
	return names
}

func (p *peers) Dial(_ context.Context, peer string) (net.Conn, error) {
	p.dialled.Add(1)
	here, there := net.Pipe()
	s, _ := p.all.Load(peer)
	go func() { _ = s.(*events.Service).Serve(p.t.Context(), there) }()
	return here, nil
}

func newListened(t *testing.T, p relay.Peers) *events.Service {
	t.Helper()
	return events.New(t.Context(), events.Config{Peers: p, Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

func happen(t *testing.T, s *events.Service, name events.Name, bucket, key string) {
	t.Helper()
	if err := s.Notify(t.Context(), nil, events.Event{Name: name, Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
}

// heard returns the keys that a listener has heard of by now.
func heard(l *relay.Listener) []string {
	synctest.Wait()
	var keys []string
	for {
		select {
		case line := <-l.Lines():
			_, rest, _ := strings.Cut(string(line), `"object":{"key":"`)
			key, _, _ := strings.Cut(rest, `"`)
			keys = append(keys, key)
		default:
			return keys
		}
	}
}

func listen(t *testing.T, s *events.Service, i events.Interest) *relay.Listener {
	t.Helper()
	l, err := s.Listen(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAListenerHearsWhatItWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListened(t, nil)
		for _, tt := range []struct {
			interest events.Interest
			want     []string
		}{
			{events.Interest{}, []string{"a/1.txt", "a/2.jpg", "b/3.txt", "a/4.txt"}},
			{events.Interest{Bucket: "one"}, []string{"a/1.txt", "a/2.jpg", "b/3.txt"}},
			{events.Interest{Bucket: "one", Prefix: "a/", Suffix: ".txt"}, []string{"a/1.txt"}},
			{events.Interest{Events: []string{"s3:ObjectRemoved:*"}}, []string{"a/2.jpg"}},
			{events.Interest{Events: []string{"s3:ObjectCreated:Put"}}, []string{"a/1.txt", "b/3.txt", "a/4.txt"}},
		} {
			l := listen(t, s, tt.interest)
			happen(t, s, events.CreatedPut, "one", "a/1.txt")
			happen(t, s, events.Removed, "one", "a/2.jpg")
			happen(t, s, events.CreatedPut, "one", "b/3.txt")
			happen(t, s, events.CreatedPut, "two", "a/4.txt")
			if got := heard(l); !slices.Equal(got, tt.want) {
				t.Errorf("%+v hears %q, want %q", tt.interest, got, tt.want)
			}
			l.Close()
		}
		if s.Listening() {
			t.Error("somebody listens still")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnInterestInWhatThereIsNotIsRefused(t *testing.T) {
	for pattern, want := range map[string]error{"s3:ObjectCreated:*": nil, "s3:ObjectRestore:*": nil, "s3:Nothing": events.ErrArgument, "": events.ErrArgument} {
		if err := (events.Interest{Events: []string{pattern}}).Validate(); !errors.Is(err, want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestAListenerThatFallsBehindIsToldThatItHasMissedSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListened(t, nil)
		l := listen(t, s, events.Interest{})
		for range 5000 {
			happen(t, s, events.CreatedPut, "one", "k")
		}
		if !errors.Is(context.Cause(l.Context()), relay.ErrTooSlow) {
			t.Error("it is not")
		}
		l.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAListenerHearsWhatHappensAtOtherGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.Map
		first := &peers{t: t, self: "one", all: &all}
		begin := func(name string) *events.Service {
			p := first
			if name != p.self {
				p = &peers{t: t, self: name, all: &all}
			}
			s := newListened(t, p)
			all.Store(name, s)
			return s
		}
		one, two := begin("one"), begin("two")
		l := listen(t, one, events.Interest{Bucket: "bucket", Prefix: "a"})
		happen(t, two, events.CreatedPut, "bucket", "a1")
		happen(t, two, events.CreatedPut, "bucket", "b2")
		happen(t, one, events.CreatedPut, "bucket", "a3")
		if got := heard(l); !slices.Equal(got, []string{"a1", "a3"}) && !slices.Equal(got, []string{"a3", "a1"}) {
			t.Errorf("heard %q", got)
		}
		time.Sleep(time.Hour) // nothing happens for long
		happen(t, two, events.CreatedPut, "bucket", "a4")
		if got := heard(l); !slices.Equal(got, []string{"a4"}) {
			t.Errorf("after an hour, heard %q", got)
		}
		if n := first.dialled.Load(); n != 1 {
			t.Errorf("it connected %d times to one gateway", n)
		}
		three := begin("three")
		time.Sleep(2 * time.Second)
		happen(t, three, events.CreatedPut, "bucket", "a5")
		if got := heard(l); !slices.Equal(got, []string{"a5"}) {
			t.Errorf("of a gateway that came later, heard %q", got)
		}
		l.Close()
		time.Sleep(time.Minute)
		for i, s := range []*events.Service{one, two, three} {
			if s.Listening() {
				t.Errorf("somebody listens still at gateway %d", i)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
