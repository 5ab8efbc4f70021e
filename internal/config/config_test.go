package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/config"
)

func TestLinesSayValuesOfTargets(t *testing.T) {
	for text, want := range map[string]string{
		"notify_webhook:A endpoint=http://a/?b=c queue_limit=5": "notify_webhook:A endpoint=http://a/?b=c queue_limit=5",
		"identity_openid:_ client_id=x":                         "identity_openid client_id=x",
		`a:B k="v \"w\" = x" l=`:                                `a:B k="v \"w\" = x" l=`,
		"a k=two words l=v":                                     `a k="two words" l=v`,
		"a k=\"v\"":                                             "a k=v",
		"\n# a k=v\n  a k=v  \n\nb:C\n":                         "a k=v\nb:C",
		"a k l":                                                 "a k= l=",
	} {
		lines, err := config.Parse(text)
		var got []string
		for _, l := range lines {
			got = append(got, l.String())
		}
		if err != nil || strings.Join(got, "\n") != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

func TestWhatIsNoSettingIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "# nothing", "a:B:C k=v", "a-b k=v", "a: k=v", ":B k=v", "a =v", `a k="v`, `a k="\q"`, "a k=v\x00",
		"a:" + strings.Repeat("n", 65) + " k=v", "a k=" + strings.Repeat("v", 9<<10), strings.Repeat("a k=v\n", 300), strings.Repeat(" ", 65<<10),
	} {
		if lines, err := config.Parse(text); !errors.Is(err, config.ErrText) {
			t.Errorf("%.40q is %v, %v", text, lines, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"a:B k=v", `a k="v w" l=x y z=`, "# a\nb c", "a\tk=\"\\x00\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := config.Parse(text)
		if err != nil {
			if !errors.Is(err, config.ErrText) {
				t.Fatal(err)
			}
			return
		}
		for _, l := range lines {
			again, err := config.Parse(l.String())
			if err != nil || len(again) != 1 || again[0].Target != l.Target || !maps.Equal(again[0].Values, l.Values) {
				t.Errorf("%q is %v, %v", l.String(), again, err)
			}
		}
	})
}

// records are in memory.
type records struct {
	mu       sync.Mutex
	content  []byte
	revision uint64
}

func (r *records) Get(string) ([]byte, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.content), r.revision, nil
}

func (r *records) Set(_ context.Context, _ string, content []byte, revision uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if revision != r.revision {
		return config.ErrChanged
	}
	r.content, r.revision = content, revision+1
	return nil
}

func newStore() *config.Store {
	return &config.Store{Records: new(records), Now: func() time.Time { return time.Unix(1767268800, 0) }}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// set sets a value of a target.
func set(t *testing.T, s *config.Store, to config.Target, key, value string) {
	t.Helper()
	must(t, s.Change(t.Context(), to.String()+" "+key+"="+value, func(all config.Settings) error {
		if all[to] == nil {
			all[to] = make(map[string]string)
		}
		all[to][key] = value
		return nil
	}))
}

func value(t *testing.T, s *config.Store, to config.Target, key string) string {
	t.Helper()
	all, _, err := s.Get()
	must(t, err)
	return all[to][key]
}

func TestOfChangesAtTheSameTimeNoneIsLost(t *testing.T) {
	s := newStore()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() { set(t, s, config.Target{System: "a", Name: fmt.Sprint("N", i)}, "k", "v") })
	}
	group.Wait()
	all, _, err := s.Get()
	if past, failed := s.History(); err != nil || failed != nil || len(all) != 8 || len(past) != 8 {
		t.Errorf("%v, %v, %v, %v", all, past, err, failed)
	}
}

func TestWhatWasCanBeRestored(t *testing.T) {
	s, to := newStore(), config.Target{System: "a"}
	for _, v := range []string{"1", "2", "3"} {
		set(t, s, to, "k", v)
	}
	past, err := s.History()
	must(t, err)
	if len(past) != 3 || past[0].Text != "a k=3" || past[2].Text != "a k=1" {
		t.Fatalf("%+v", past)
	}
	no := errors.New("no")
	if err := s.Restore(t.Context(), past[2].ID, func(_, _ config.Settings) error { return no }); !errors.Is(err, no) || value(t, s, to, "k") != "3" {
		t.Errorf("what is refused: %v", err)
	}
	must(t, s.Restore(t.Context(), past[2].ID, func(have, then config.Settings) error {
		if have[to]["k"] != "3" || then[to]["k"] != "1" {
			t.Errorf("%v becomes %v", have, then)
		}
		return nil
	}))
	if got := value(t, s, to, "k"); got != "1" {
		t.Errorf("restored is %q", got)
	}
	if err := s.Restore(t.Context(), "other", nil); !errors.Is(err, config.ErrNoEntry) {
		t.Error(err)
	}
	must(t, s.Forget(t.Context(), past[0].ID))
	if err := s.Forget(t.Context(), past[0].ID); !errors.Is(err, config.ErrNoEntry) {
		t.Error(err)
	}
	must(t, s.Forget(t.Context(), ""))
	if past, err := s.History(); err != nil || len(past) != 0 || value(t, s, to, "k") != "1" {
		t.Errorf("%v, %v", past, err)
	}
}

func TestTheHistoryHasRoomForTheNewest(t *testing.T) {
	s, to := newStore(), config.Target{System: "a"}
	for i := range 30 {
		set(t, s, to, "k", fmt.Sprint(i))
	}
	if past, err := s.History(); err != nil || len(past) != 20 || past[0].Text != "a k=29" {
		t.Errorf("%d, %v", len(past), err)
	}
	for i := range 20 { // which would be more than a record holds
		set(t, s, config.Target{System: "b", Name: fmt.Sprint("N", i)}, "k", strings.Repeat("v", 8<<10))
	}
	past, err := s.History()
	if err != nil || len(past) == 0 || len(past) >= 20 {
		t.Errorf("%d, %v", len(past), err)
	}
	if got := value(t, s, to, "k"); got != "29" {
		t.Errorf("what is set is %q", got)
	}
}
