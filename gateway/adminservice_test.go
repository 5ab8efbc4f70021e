package gateway

import (
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestAGatewayIsStoppedAndRestartedByWhoMay(t *testing.T) {
	var asked []bool
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Stop, cfg.Node = func(restart bool) { asked = append(asked, restart) }, "here:9000"
	})
	for _, tt := range []struct{ who, query, code, answer string }{
		{"ann", "action=restart", "AccessDenied", ""},
		{"ann", "action=freeze", "AccessDenied", ""},
		{"boss", "action=freeze", "NotImplemented", ""},
		{"boss", "", "NotImplemented", ""},
		{"boss", "action=stop&dry-run=true", "", `"dryRun":true`},
		{"boss", "action=restart&type=2", "", `"results":[{"host":"here:9000"}]`},
		{"boss", "action=stop", "", `"action":"stop"`},
	} {
		answer, code := o.admin(tt.who, "POST", "service", tt.query, "")
		if code != tt.code || !strings.Contains(answer.body, tt.answer) {
			t.Errorf("%s, %s: %s", tt.who, tt.query, answer.body)
		}
	}
	if len(asked) != 2 || !asked[0] || asked[1] {
		t.Errorf("asked %v, want a restart and a stop", asked)
	}
}

func TestWhatThereIsNoUseForSaysWhatToDoInstead(t *testing.T) {
	o := serveOffice(t)
	for call, want := range map[string]string{
		"POST heal/": "healed", "POST heal/bucket/prefix": "healed", "GET top/locks": "alone", "POST force-unlock": "shoal admin locks", "GET log": "cannot be watched",
	} {
		method, path, _ := strings.Cut(call, " ")
		if answer, code := o.admin("boss", method, path, "", ""); code != "NotImplemented" || answer.status != 501 || !strings.Contains(answer.body, want) {
			t.Errorf("%s: %s", call, answer.body)
		}
		if answer, code := o.admin("ann", method, path, "", ""); code != "AccessDenied" {
			t.Errorf("%s of ann: %s", call, answer.body)
		}
	}
}

func TestTheDrivesAndWhatIsMissingOnThemAreTold(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Parities = func() (standard, reduced int) { return 1, 0 }
		cfg.Admin.Drives = func() []admin.Drive { return []admin.Drive{{Path: "/a", Online: true, Healing: true}, {Path: "/b"}} }
	})
	for call, want := range map[string]string{
		"POST background-heal/status": `"HealDisks":["/a"]`,
		"GET storageinfo":             `"OfflineDisks":{"`,
	} {
		method, path, _ := strings.Cut(call, " ")
		if answer, code := o.admin("boss", method, path, "", ""); code != "" || !strings.Contains(answer.body, want) {
			t.Errorf("%s: %s", call, answer.body)
		}
	}
}
