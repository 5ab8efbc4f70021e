package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock"
)

// oneSetting is the setting of how a tree is shared as one gateway sees it.
type oneSetting struct {
	mu     sync.Mutex // of have
	have   raftlock.Setting
	alone  bool
	full   bool
	before func(try int) // what happens before this gateway's change is looked at
	tries  int
}

func (s *oneSetting) AwaitSession(context.Context) (lock.Session, error) { return nil, nil }
func (s *oneSetting) Alone() bool                                        { return s.alone }

func (s *oneSetting) Get(string) (raftlock.Setting, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have, s.have.Revision > 0
}

func (s *oneSetting) set(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have = raftlock.Setting{Value: []byte(value), Revision: s.have.Revision + 1}
}

func (s *oneSetting) revision() uint64 {
	have, _ := s.Get(modeSetting)
	return have.Revision
}

func (s *oneSetting) Set(_ context.Context, c raftlock.Change) (uint64, error) {
	s.tries++
	if s.before != nil {
		s.before(s.tries)
	}
	switch {
	case s.full:
		return 0, fmt.Errorf("nothing was changed: %w", syscall.ENOSPC)
	case *c.If != s.revision():
		return 0, raftlock.ErrChanged
	}
	s.set(string(c.Value))
	return s.revision(), nil
}

func TestGatewaysAgreeOnOneWayToShareATree(t *testing.T) {
	direct := func(revision uint64) raftlock.Setting {
		return raftlock.Setting{Value: []byte("direct"), Revision: revision}
	}
	tests := map[string]struct {
		have  raftlock.Setting
		alone bool
		own   sharedMode
		full  bool
		then  func(s *oneSetting, try int)
		want  string // "": it is refused
		takes time.Duration
		tries int
	}{
		"the first of all says how":            {alone: true, own: sharedMode{true, time.Second}, want: "routed 1s", tries: 1},
		"the first may change it":              {have: direct(3), alone: true, own: sharedMode{true, time.Second}, want: "routed 1s", tries: 1},
		"who comes later may not":              {have: direct(3), own: sharedMode{true, time.Second}, tries: 0},
		"who comes later sets it all the same": {have: direct(3), want: "direct", tries: 1},
		"who was not the first after all may not": {
			have: direct(3), alone: true, own: sharedMode{true, time.Second}, tries: 1,
			then: func(s *oneSetting, _ int) { s.alone = false; s.set("direct") },
		},
		"full storage keeps nobody out": {have: direct(3), full: true, want: "direct", takes: agreeAgain, tries: 2},
		"but who would change something": {
			have: direct(3), alone: true, full: true, own: sharedMode{true, time.Second}, want: "routed 1s", takes: 5 * agreeAgain, tries: 6,
			then: func(s *oneSetting, try int) { s.full = try < 6 },
		},
		"and whom a change under way comes before": {
			have: direct(3), full: true, takes: agreeAgain, tries: 1,
			then: func(s *oneSetting, _ int) { time.AfterFunc(agreeAgain/2, func() { s.set("routed 1s") }) },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &oneSetting{have: tt.have, alone: tt.alone, full: tt.full}
				if tt.then != nil {
					s.before = func(try int) { tt.then(s, try) }
				}
				var told bytes.Buffer
				begun := time.Now()
				err := agree(t.Context(), s, tt.own, "/tree", slog.New(slog.NewTextHandler(&told, nil)))
				if refused := err != nil; refused != (tt.want == "") || !refused && string(s.have.Value) != tt.want {
					t.Errorf("it is %s, %v", s.have.Value, err)
				}
				if took := time.Since(begun); took != tt.takes || s.tries != tt.tries {
					t.Errorf("it took %v and %d tries", took, s.tries)
				}
				if n := bytes.Count(told.Bytes(), []byte("\n")); n > 1 {
					t.Errorf("it was logged %d times", n)
				}
			})
		})
	}
}
