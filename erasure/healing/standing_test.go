package healing

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

func TestDrivesAreLookedThroughWhenTheyMayLackSomething(t *testing.T) {
	blank := map[int]string{1: "new"}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		now, before Standing
		since       time.Duration
		whole       time.Duration // since a pass over everything
		want        upkeep.PassKind
	}{
		"nothing has happened":                       {Standing{Missed: 3}, Standing{Missed: 3}, time.Hour, day, ""},
		"a day has gone":                             {Standing{}, Standing{}, time.Hour, 25 * time.Hour, upkeep.Everything},
		"a day has gone, and a pass has just failed": {Standing{}, Standing{left: true}, 30 * time.Second, 25 * time.Hour, ""},
		"the process has been started":               {Standing{}, Standing{}, 1e6 * time.Hour, time.Hour, upkeep.Missed},
		"something was missed":                       {Standing{Missed: 4}, Standing{Missed: 3}, 2 * time.Minute, time.Hour, upkeep.Missed},
		"something was missed just after a pass":     {Standing{Missed: 4}, Standing{Missed: 3}, 10 * time.Second, time.Hour, ""},
		"the same, a while after the pass":           {Standing{Missed: 4}, Standing{Missed: 3}, 20 * time.Second, time.Hour, upkeep.Missed},
		"the same, while a drive is away":            {Standing{Missed: 4, Offline: 1}, Standing{Missed: 3}, 20 * time.Second, time.Hour, ""},
		"a drive is away, and what it misses grows":  {Standing{Missed: 9, Offline: 1}, Standing{Missed: 3, Offline: 1}, 10 * time.Minute, time.Hour, ""},
		"and does so for an hour":                    {Standing{Missed: 9, Offline: 1}, Standing{Missed: 3, Offline: 1}, 2 * time.Hour, 3 * time.Hour, upkeep.Missed},
		"a drive is back":                            {Standing{Joined: 1}, Standing{Offline: 1}, 2 * time.Minute, time.Hour, upkeep.Missed},
		"a drive is back just after a pass":          {Standing{Joined: 1}, Standing{Offline: 1}, time.Second, time.Hour, upkeep.Missed},
		"one is back while another is away":          {Standing{Joined: 1, Offline: 1}, Standing{Offline: 2}, 2 * time.Minute, time.Hour, upkeep.Missed},
		"a drive is new":                             {Standing{Blank: blank}, Standing{Blank: blank}, 2 * time.Minute, time.Hour, upkeep.Everything},
		"the last pass has left something":           {Standing{}, Standing{left: true}, 2 * time.Minute, time.Hour, upkeep.Missed},
		"it has just done so for the first time":     {Standing{}, Standing{left: true, pause: wholeSoon}, 2 * wholeSoon, time.Hour, upkeep.Missed},
		"it has, since a drive is away":              {Standing{Offline: 1}, Standing{Offline: 1, left: true}, 2 * time.Minute, time.Hour, ""},
		"that is so, and a day has gone":             {Standing{Offline: 1}, Standing{Offline: 1, left: true}, 2 * time.Minute, 25 * time.Hour, ""},
	} {
		if got := c.now.due(c.before, c.since, c.whole); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatAPassLeavesIsTriedAgainSoonAndThenLessSoon(t *testing.T) {
	var s Standing
	for i, want := range []time.Duration{5 * time.Second, 15 * time.Second, 45 * time.Second, time.Minute, time.Minute} {
		before := s
		s = Standing{}
		if s.leave(before, true); s.pause != want || !s.left {
			t.Errorf("after %d: %+v", i+1, s)
		}
	}
	whole, away := Standing{}, Standing{Offline: 1}
	whole.leave(s, false)
	away.leave(s, true)
	if whole.pause != 0 || whole.left || away.pause != 0 || !away.left {
		t.Errorf("whole: %+v, with a drive away: %+v", whole, away)
	}
}

func TestWhatBecameOfAnObjectThatAReaderFoundDamagedIsToldAsItIs(t *testing.T) {
	var away erasure.Slots
	away.Add(&erasure.Slots{1: 4})
	full := []erasure.Left{{Bucket: "bucket", Name: "key", Reason: "drive 2: it is full"}}
	for want, c := range map[string]struct {
		healed erasure.Healed
		err    error
	}{
		"INFO was healed [shards 2 records 0]":                                     {healed: erasure.Healed{Names: 1, Shards: 2}},
		"WARN could not be healed [shards 0 records 1 reason drive 2: it is full]": {healed: erasure.Healed{Names: 1, Records: 1, Failed: 1, Left: full}},
		"WARN could not be healed [shards 1 records 0 reason drive 2: it is full]": {healed: erasure.Healed{Names: 1, Shards: 1, Failed: 1, Left: full}},
		"INFO lacks something on drives that are away [drives 1]":                  {healed: erasure.Healed{Names: 1, Absent: away}},
		"INFO is whole []":   {healed: erasure.Healed{Names: 1}},
		"INFO is no more []": {},
		"WARN could not be looked at [error too few drives]": {err: errors.New("too few drives")},
	} {
		level, msg, args := mendedAs(&c.healed, c.err)
		rest := strings.TrimPrefix(msg, "an object that a reader found damaged ")
		rest, _, _ = strings.Cut(strings.ReplaceAll(rest, ":", ","), ",")
		if got := fmt.Sprintf("%s %s %v", level, rest, args); got != want {
			t.Errorf("%+v, %v is told as\n%s, not\n%s", c.healed, c.err, got, want)
		}
	}
}
