package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway"
)

func TestDrivesAreLookedThroughWhenTheyMayLackSomething(t *testing.T) {
	blank := map[int]string{1: "new"}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		now, before standing
		since       time.Duration
		whole       time.Duration // since a pass over everything
		want        gateway.PassKind
	}{
		"nothing has happened":                       {standing{missed: 3}, standing{missed: 3}, time.Hour, day, ""},
		"a day has gone":                             {standing{}, standing{}, time.Hour, 25 * time.Hour, gateway.Everything},
		"a day has gone, and a pass has just failed": {standing{}, standing{left: true}, 30 * time.Second, 25 * time.Hour, ""},
		"the process has been started":               {standing{}, standing{}, 1e6 * time.Hour, time.Hour, gateway.Missed},
		"something was missed":                       {standing{missed: 4}, standing{missed: 3}, 2 * time.Minute, time.Hour, gateway.Missed},
		"something was missed just after a pass":     {standing{missed: 4}, standing{missed: 3}, 10 * time.Second, time.Hour, ""},
		"the same, a while after the pass":           {standing{missed: 4}, standing{missed: 3}, 20 * time.Second, time.Hour, gateway.Missed},
		"the same, while a drive is away":            {standing{missed: 4, offline: 1}, standing{missed: 3}, 20 * time.Second, time.Hour, ""},
		"a drive is away, and what it misses grows":  {standing{missed: 9, offline: 1}, standing{missed: 3, offline: 1}, 10 * time.Minute, time.Hour, ""},
		"and does so for an hour":                    {standing{missed: 9, offline: 1}, standing{missed: 3, offline: 1}, 2 * time.Hour, 3 * time.Hour, gateway.Missed},
		"a drive is back":                            {standing{joined: 1}, standing{offline: 1}, 2 * time.Minute, time.Hour, gateway.Missed},
		"a drive is back just after a pass":          {standing{joined: 1}, standing{offline: 1}, time.Second, time.Hour, gateway.Missed},
		"one is back while another is away":          {standing{joined: 1, offline: 1}, standing{offline: 2}, 2 * time.Minute, time.Hour, gateway.Missed},
		"a drive is new":                             {standing{blank: blank}, standing{blank: blank}, 2 * time.Minute, time.Hour, gateway.Everything},
		"the last pass has left something":           {standing{}, standing{left: true}, 2 * time.Minute, time.Hour, gateway.Missed},
		"it has just done so for the first time":     {standing{}, standing{left: true, pause: wholeSoon}, 2 * wholeSoon, time.Hour, gateway.Missed},
		"it has, since a drive is away":              {standing{offline: 1}, standing{offline: 1, left: true}, 2 * time.Minute, time.Hour, ""},
		"that is so, and a day has gone":             {standing{offline: 1}, standing{offline: 1, left: true}, 2 * time.Minute, 25 * time.Hour, ""},
	} {
		if got := c.now.due(c.before, c.since, c.whole); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatAPassLeavesIsTriedAgainSoonAndThenLessSoon(t *testing.T) {
	var s standing
	for i, want := range []time.Duration{5 * time.Second, 15 * time.Second, 45 * time.Second, time.Minute, time.Minute} {
		before := s
		s = standing{}
		if s.leave(before, true); s.pause != want || !s.left {
			t.Errorf("after %d: %+v", i+1, s)
		}
	}
	whole, away := standing{}, standing{offline: 1}
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
