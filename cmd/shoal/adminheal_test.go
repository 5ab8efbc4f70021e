package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// shownHealer is what heals drives, as it is shown.
type shownHealer struct {
	passes []upkeep.Pass
	asked  []upkeep.Pass
	due    bool
	ended  bool
	err    error
}

func (h *shownHealer) Passes() ([]upkeep.Pass, error) { return h.passes, h.err }

func (h *shownHealer) Due(context.Context) bool { return h.due }

func (h *shownHealer) Ask(_ context.Context, p upkeep.Pass, instead bool) error {
	if len(h.asked) > 0 && !instead {
		return upkeep.ErrHealing
	}
	h.asked = append(h.asked, p)
	return nil
}

func (h *shownHealer) End(context.Context) error {
	h.ended = true
	return nil
}

func TestHealingIsShownAndWhatIsLackingIsAFinding(t *testing.T) {
	h, healing, online := new(shownHealer), true, true
	c := openConsole(t, func(cfg *gateway.Config) {
		cfg.Admin.Healing = h
		cfg.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Path: "/mnt/a", Online: online}, {Path: "/mnt/b", Online: true, Healing: healing}}
		}
	})
	healing = false
	if out := c.does("heal"); out != "nothing is known to be missing, and no pass has been made\n" {
		t.Errorf("before any pass: %s", out)
	}
	healing = true
	now := time.Now()
	h.passes = []upkeep.Pass{{Kind: upkeep.Everything, Token: "t", Begun: now.Add(-10 * time.Second), Told: now, Names: 100, Expected: 300, Bytes: 4 << 20}}
	out, said, code := c.run("", "heal")
	if code != exitFindings || !strings.Contains(said, "1 drive without") {
		t.Errorf("exit %d, %s", code, said)
	}
	for _, want := range []string{"everything  running", "100 of about 300", "4 MiB", "20s", "drive being healed: /mnt/b"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	h.passes[0].Limited(1 << 20)
	h.passes[0].Told = now.Add(10 * time.Second)
	h.passes[0].Names, h.passes[0].Bytes = 150, 14<<20
	if out, _, _ := c.run("", "heal"); !strings.Contains(out, "1 MiB/s (limit 1 MiB/s)") || !strings.Contains(out, "30s") {
		t.Errorf("with a limit it is\n%s", out)
	}
	healing = false
	h.passes[0].Ended = now
	c.does("heal")
	h.due = true
	if _, said, code := c.run("", "heal"); code != exitFindings || !strings.Contains(said, "what they have missed is looked for") {
		t.Errorf("exit %d, %s", code, said)
	}
	h.due, h.err = false, errors.New("too few drives")
	if out, said, code := c.run("", "heal"); code != exitFindings || !strings.Contains(said, "nobody knows") || !strings.Contains(out, "too few drives") {
		t.Errorf("exit %d, %s\n%s", code, said, out)
	}
	h.err = nil
	online = false // since the last pass, and there is none while it is away
	if out, said, code := c.run("", "heal"); code != exitFindings || !strings.Contains(said, "1 drive away") || !strings.Contains(out, "drive away: /mnt/a") {
		t.Errorf("exit %d, %s\n%s", code, said, out)
	}
	for _, short := range [][]string{{"heal"}, {"heal", "status"}} {
		if out, _, code := c.runRoot("", short...); code != exitFindings || !strings.Contains(out, "drive away: /mnt/a") {
			t.Errorf("%q: exit %d\n%s", short, code, out)
		}
	}
	online = true
	h.passes[0].Failed, h.passes[0].Left = 1, []upkeep.Left{{Bucket: "photos", Name: "a\x1bb", Reason: "too few drives"}}
	out, said, code = c.run("", "heal")
	if code != exitFindings || !strings.Contains(said, "1 name could not be healed") || !strings.Contains(out, `photos/a\x1bb: too few drives`) {
		t.Errorf("exit %d, %s\n%s", code, said, out)
	}
	for said, p := range map[string]upkeep.Pass{
		"1 state not on": {Kind: upkeep.Missed, Token: "t", Ended: now, Pending: 1},
		"being given":    {Kind: upkeep.Missed, Token: "t", Begun: now, Told: now},
		"2 drives away":  {Kind: upkeep.Everything, Token: "t", Ended: now, Away: 2},
		"before its end": {Kind: upkeep.Everything, Token: "t", Ended: now, Error: "too few drives"},
	} {
		before := h.passes
		h.passes = []upkeep.Pass{p}
		if _, why, code := c.run("", "heal"); code != exitFindings || !strings.Contains(why, said) {
			t.Errorf("want %q: exit %d, %s", said, code, why)
		}
		h.passes = before
	}
	if out, _, _ := c.run("", "heal", "--json"); !strings.Contains(out, `"failed":1`) || !strings.Contains(out, `"reason":"too few drives"`) {
		t.Errorf("for programs it is %s", out)
	}
}

func TestWhatALaterPassHasLookedAtAgainIsNotShownAsLeft(t *testing.T) {
	h := new(shownHealer)
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Healing = h })
	begun := time.Now().Add(-time.Hour)
	left := []upkeep.Left{{Bucket: "photos", Name: "a", Reason: "claimed"}}
	pass := func(kind upkeep.PassKind, minute time.Duration, left []upkeep.Left) upkeep.Pass {
		at := begun.Add(minute * time.Minute)
		return upkeep.Pass{Kind: kind, Token: "t", Begun: at, Told: at.Add(time.Second), Ended: at.Add(time.Second), Failed: int64(len(left)), Left: left}
	}
	part, deep := pass(upkeep.Asked, 5, nil), pass(upkeep.Scrub, 0, left)
	part.Bucket, deep.Deep = "other", true
	for name, tt := range map[string]struct {
		passes []upkeep.Pass
		shown  int
		code   int
	}{
		"a fine one since":          {[]upkeep.Pass{pass(upkeep.Everything, 0, left), pass(upkeep.Asked, 5, nil)}, 0, 0},
		"a fine one of what missed": {[]upkeep.Pass{pass(upkeep.Missed, 5, nil), pass(upkeep.Everything, 0, left)}, 0, 0},
		"one that failed, too":      {[]upkeep.Pass{pass(upkeep.Missed, 5, left), pass(upkeep.Everything, 0, left)}, 1, exitFindings},
		"a fine one before":         {[]upkeep.Pass{pass(upkeep.Everything, 5, left), pass(upkeep.Asked, 0, nil)}, 1, exitFindings},
		"one over another bucket":   {[]upkeep.Pass{pass(upkeep.Everything, 0, left), part}, 1, exitFindings},
		"one that did not read":     {[]upkeep.Pass{pass(upkeep.Everything, 5, nil), deep}, 1, 0},
	} {
		h.passes = tt.passes
		out, _, code := c.run("", "heal")
		if n := strings.Count(out, "not healed: photos/a"); n != tt.shown || code != tt.code {
			t.Errorf("%s: exit %d, shown %d times\n%s", name, code, n, out)
		}
	}
}

func TestAPassIsAskedForAndEndedByACommand(t *testing.T) {
	h := new(shownHealer)
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Healing = h })
	c.does("heal", "--start", "photos/a b/", "--deep")
	if p := h.asked[0]; p.Bucket != "photos" || p.Prefix != "a b/" || !p.Deep {
		t.Errorf("asked for was %+v", p)
	}
	if _, said, code := c.run("", "heal", "--start"); code != exitFailed || !strings.Contains(said, "--instead") {
		t.Errorf("a second one: exit %d, %s", code, said)
	}
	if c.does("heal", "--start", "--instead", "--json"); h.asked[1].Bucket != "" || h.asked[1].Deep {
		t.Errorf("asked for was %+v", h.asked[1])
	}
	h.passes = h.asked[1:]
	if c.does("heal", "--stop"); !h.ended {
		t.Error("it was not ended")
	}
	for _, args := range [][]string{{"heal", "photos"}, {"heal", "--deep"}} {
		if _, said, code := c.run("", args...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, said)
		}
	}
}
