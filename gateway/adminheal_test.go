package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// healer keeps the passes that it is asked for.
type healer struct {
	passes []upkeep.Pass
	busy   bool
	err    error
	due    bool
	ended  int
}

func (h *healer) Passes() ([]upkeep.Pass, error) { return h.passes, h.err }

func (h *healer) Due(context.Context) bool { return h.due }

func (h *healer) Ask(_ context.Context, p upkeep.Pass, instead bool) error {
	if h.busy && !instead {
		return upkeep.ErrHealing
	}
	h.passes = []upkeep.Pass{p}
	return nil
}

func (h *healer) End(context.Context) error {
	h.ended++
	return nil
}

// serveHealer serves four drives, with what heals them.
func serveHealer(t *testing.T) (*office, *healer) {
	t.Helper()
	h := new(healer)
	return serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Parities, cfg.Admin.Healing = func() (standard, reduced int) { return 2, 1 }, h
		cfg.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Path: "/a", ID: "first", Online: true, Healing: true}, {Path: "/b", Online: true}, {Path: "/c", Online: true}, {Path: "/d"}}
		}
	}), h
}

// followed is what is said of a pass that was asked for.
type followed struct {
	ClientToken, Summary, Detail string
	Items                        []struct {
		Bucket, Object string
		ObjectSize     int64
		Before, After  struct{ Drives []struct{ State string } }
	}
}

func TestAPassIsAskedForFollowedAndEnded(t *testing.T) {
	o, h := serveHealer(t)
	call := func(query, body string) (f followed) {
		t.Helper()
		answer, code := o.admin("boss", "POST", "heal/bucket/a/b", query, body)
		if code != "" || json.Unmarshal([]byte(answer.body), &f) != nil {
			t.Fatalf("%s %s: %s", query, body, answer.body)
		}
		return f
	}
	token := call("", `{"recursive":true,"scanMode":2}`).ClientToken
	p := &h.passes[0]
	if p.Token != token || p.Kind != upkeep.Asked || p.Bucket != "bucket" || p.Prefix != "a/b" || !p.Deep || p.Asked.IsZero() {
		t.Errorf("asked for was %+v", p)
	}
	if f := call("clientToken="+token, ""); f.Summary != "not started" {
		t.Errorf("at first it is %+v", f)
	}
	p.Begun, p.Mended = p.Asked, []upkeep.Mended{{Bucket: "bucket", Key: "a/b/c", Bytes: 7, Drives: 1}}
	if f := call("clientToken="+token, ""); f.Summary != "running" || len(f.Items) != 0 {
		t.Errorf("under way it is %+v", f)
	}
	p.Ended = p.Begun.Add(time.Second)
	f := call("clientToken="+token, "")
	if f.Summary != "finished" || len(f.Items) != 1 || f.Items[0].Object != "a/b/c" || f.Items[0].ObjectSize != 7 {
		t.Fatalf("at the end it is %+v", f)
	}
	if before, after := f.Items[0].Before.Drives, f.Items[0].After.Drives; len(before) != 4 || before[0].State != "missing" || before[1].State != "ok" || after[0].State != "ok" {
		t.Errorf("the drives were %v and %v", before, after)
	}
	p.Failed = 2
	if f := call("clientToken="+token, ""); f.Summary != "stopped" || !strings.Contains(f.Detail, "2 names could not") {
		t.Errorf("with failures it is %+v", f)
	}
	if call("forceStop=true", ""); h.ended != 1 {
		t.Errorf("it was ended %d times", h.ended)
	}
	h.busy = true
	if again := call("forceStart=true", `{"recursive":true}`).ClientToken; again == token || h.passes[0].Deep {
		t.Errorf("instead there is %+v", h.passes[0])
	}
}

func TestWhatAPassDoesNotDoIsRefused(t *testing.T) {
	o, h := serveHealer(t)
	h.busy = true
	for _, tt := range []struct{ path, query, body, want string }{
		{"heal/bucket", "", `{"recursive":true,"dryRun":true}`, "NotImplemented"},
		{"heal/bucket", "", `{"recursive":true,"remove":true}`, "NotImplemented"},
		{"heal/bucket", "", `{"recursive":true,"recreate":true}`, "NotImplemented"},
		{"heal/bucket", "", `{"recursive":false}`, "NotImplemented"},
		{"heal/", "", `{"recursive":true,"set":3}`, "NotImplemented"},
		{"heal/none", "", `{"recursive":true}`, "NoSuchBucket"},
		{"heal/bucket", "", `{`, "XMinioAdminConfigBadJSON"},
		{"heal/bucket", "", `{"recursive":true}`, "XMinioHealAlreadyRunning"},
		{"heal/bucket", "clientToken=another", "", "XMinioHealNoSuchProcess"},
		{"heal/bucket", "forceStop=true", "", "XMinioHealNoSuchProcess"},
	} {
		if answer, code := o.admin("boss", "POST", tt.path, tt.query, tt.body); code != tt.want {
			t.Errorf("%s?%s %s: %s", tt.path, tt.query, tt.body, answer.body)
		}
	}
	if len(h.passes) != 0 {
		t.Errorf("there is %+v", h.passes)
	}
	if _, code := o.admin("ann", "POST", "heal/bucket", "", `{"recursive":true}`); code != "AccessDenied" {
		t.Errorf("ann: %s", code)
	}
}

func TestTheDrivesAreToldWhileThePassesAreNotKnown(t *testing.T) {
	o, h := serveHealer(t)
	h.err = errFewDrives
	answer, code := o.admin("boss", "POST", "background-heal/status", "", "")
	var d struct {
		Away   []string `json:"offline_drives"`
		Passes []upkeep.Pass
		Why    string `json:"passes_error"`
	}
	if code != "" || json.Unmarshal([]byte(answer.body), &d) != nil || len(d.Away) != 1 || d.Passes == nil || !strings.Contains(d.Why, errFewDrives.Error()) {
		t.Errorf("told is %s", answer.body)
	}
}

func TestDrivesOfSeveralNodesAreToldApart(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Healing = new(healer)
		cfg.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Node: "a:9000", Path: "/d", Online: true, Healing: true}, {Node: "b:9000", Path: "/d"}, {Node: "c:9000", Path: "/d", Online: true}}
		}
	})
	answer, code := o.admin("boss", "POST", "background-heal/status", "", "")
	if code != "" || !strings.Contains(answer.body, `"HealDisks":["http://a:9000/d"]`) || !strings.Contains(answer.body, `"offline_drives":["http://b:9000/d"]`) {
		t.Errorf("told is %s", answer.body)
	}
}

func TestHowFarAPassIsIsToldWithTheDrives(t *testing.T) {
	o, h := serveHealer(t)
	now := time.Now()
	h.passes = []upkeep.Pass{{Kind: upkeep.Everything, Token: "t", Begun: now.Add(-10 * time.Second), Told: now, Names: 100, Expected: 300, Bytes: 5000}}
	answer, code := o.admin("boss", "POST", "background-heal/status", "", "")
	var d struct {
		ScannedItemsCount int64
		HealDisks         []string
		Sets              []struct {
			Disks []struct {
				Path     string
				HealInfo *struct {
					ID     string
					Healed int64 `json:"items_healed"`
					Total  int64 `json:"objects_total_count"`
				} `json:"heal_info"`
			}
		}
		Passes []struct {
			State     string
			Rate, ETA float64
			Seconds   float64 `json:"eta_seconds"`
		}
	}
	if code != "" || json.Unmarshal([]byte(answer.body), &d) != nil || len(d.Sets) != 1 || len(d.Sets[0].Disks) != 4 || len(d.Passes) != 1 {
		t.Fatalf("%s", answer.body)
	}
	if info := d.Sets[0].Disks[0].HealInfo; d.ScannedItemsCount != 100 || len(d.HealDisks) != 1 || info == nil || info.ID != "first" || info.Healed != 100 || info.Total != 300 {
		t.Errorf("of the drives is told %s", answer.body)
	}
	if d.Sets[0].Disks[1].HealInfo != nil {
		t.Error("a drive that has all is being healed")
	}
	if p := d.Passes[0]; p.State != "running" || p.Rate != 500 || p.Seconds != 20 {
		t.Errorf("of the pass is told %+v", p)
	}
}

func TestADriveThatIsBeingHealedIsNotFinished(t *testing.T) {
	o, h := serveHealer(t)
	now := time.Now()
	for _, tt := range []struct {
		pass upkeep.Pass
		want string
	}{
		{upkeep.Pass{Kind: upkeep.Everything, Begun: now, Told: now, Names: 100, Failed: 3, Bytes: 5000}, "100 3 5000 false"},
		{upkeep.Pass{Kind: upkeep.Everything, Begun: now, Told: now, Ended: now, Names: 100, Failed: 3, Bytes: 5000}, "0 0 0 false"},
		{upkeep.Pass{Kind: upkeep.Everything, Begun: now, Told: now, Ended: now, Names: 100, Failed: 3, Bytes: 5000, Error: "no"}, "0 0 0 false"},
	} {
		h.passes = []upkeep.Pass{tt.pass}
		answer, _ := o.admin("boss", "POST", "background-heal/status", "", "")
		var d struct {
			Sets []struct {
				Disks []struct {
					Info struct {
						Healed   int64 `json:"items_healed"`
						Failed   int64 `json:"items_failed"`
						Bytes    int64 `json:"bytes_done"`
						Finished *bool `json:"finished"`
					} `json:"heal_info"`
				}
			}
		}
		if err := json.Unmarshal([]byte(answer.body), &d); err != nil || len(d.Sets) != 1 || d.Sets[0].Disks[0].Info.Finished == nil {
			t.Fatalf("%v: %s", err, answer.body)
		}
		info := d.Sets[0].Disks[0].Info
		if got := fmt.Sprint(info.Healed, info.Failed, info.Bytes, *info.Finished); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.pass, got, tt.want)
		}
	}
}
