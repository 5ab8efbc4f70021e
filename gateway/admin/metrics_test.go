package admin

import (
	"context"
	"errors"
	"io"
	"net/url"
	"testing"
	"time"
)

// streams is a Front that keeps what it is to answer with.
type streams struct {
	Front
	open []io.ReadCloser
}

// Stream implements Front.
func (s *streams) Stream(body io.ReadCloser) { s.open = append(s.open, body) }

func TestSoManyClientsGetSamplesAtATime(t *testing.T) {
	a := New(t.Context(), t.Context(), Shared{Now: time.Now}, Config{
		Drives: func() []Drive { return []Drive{{Path: "/d1", Online: true}} },
		Activity: func(context.Context) []Activity {
			return []Activity{{Drives: []DriveActivity{{Path: "/d1", Counters: []uint64{1}}}}}
		},
	})
	clients := new(streams)
	watch := func() error {
		return a.liveMetrics(t.Context(), &Call{Query: url.Values{"types": {"2"}, "n": {"0"}}, Front: clients})
	}
	for range maxSamplers {
		if err := watch(); err != nil {
			t.Fatal(err)
		}
	}
	if err := watch(); !errors.Is(err, errSlowDown) {
		t.Errorf("one too many: %v", err)
	}
	if err := clients.open[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := watch(); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
	for _, body := range clients.open[1:] {
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.sampling.Load(); n != 0 {
		t.Errorf("%d clients are still counted", n)
	}
}
