package main

import (
	"testing"
	"time"
)

func TestDrivesAreLookedThroughWhenTheyMayLackSomething(t *testing.T) {
	blank := map[int]string{1: "new"}
	for name, c := range map[string]struct {
		now, before standing
		since       time.Duration
		want        bool
	}{
		"nothing has happened":                      {standing{missed: 3}, standing{missed: 3}, time.Hour, false},
		"a day has gone":                            {standing{}, standing{}, 25 * time.Hour, true},
		"something was missed":                      {standing{missed: 4}, standing{missed: 3}, 2 * time.Minute, true},
		"something was missed just after a pass":    {standing{missed: 4}, standing{missed: 3}, 30 * time.Second, false},
		"a drive is away, and what it misses grows": {standing{missed: 9, offline: 1}, standing{missed: 3, offline: 1}, 10 * time.Minute, false},
		"and does so for an hour":                   {standing{missed: 9, offline: 1}, standing{missed: 3, offline: 1}, 2 * time.Hour, true},
		"a drive is back":                           {standing{joined: 1}, standing{offline: 1}, 2 * time.Minute, true},
		"one is back while another is away":         {standing{joined: 1, offline: 1}, standing{offline: 2}, 2 * time.Minute, true},
		"a drive is new":                            {standing{blank: blank}, standing{blank: blank}, 2 * time.Minute, true},
		"the last pass has left something":          {standing{}, standing{left: true}, 2 * time.Minute, true},
		"it has, since a drive is away":             {standing{offline: 1}, standing{offline: 1, left: true}, 2 * time.Minute, false},
	} {
		if got := c.now.due(c.before, c.since); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
