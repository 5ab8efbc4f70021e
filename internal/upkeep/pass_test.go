package upkeep

import (
	"testing"
	"time"
)

func TestAPassOfWhichNothingIsHeardIsOver(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		pass Pass
		want PassState
	}{
		{Pass{Told: now}, "not started"},
		{Pass{Begun: now, Told: now}, "running"},
		{Pass{Begun: now, Told: now.Add(-3 * time.Minute)}, "stopped"},
		{Pass{Told: now.Add(-3 * time.Minute)}, "stopped"},
		{Pass{Begun: now, Told: now, Ended: now}, "finished"},
		{Pass{Begun: now, Told: now, Ended: now, Error: "no"}, "stopped"},
		{Pass{Begun: now.Add(-time.Hour), Told: now.Add(-time.Hour), Ended: now.Add(-time.Hour)}, "finished"},
	} {
		if got := tt.pass.State(now); got != tt.want || tt.pass.Over(now) != (got == "finished" || got == "stopped") {
			t.Errorf("%+v is %s, over: %v", tt.pass, got, tt.pass.Over(now))
		}
	}
}
