package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func serveSettings(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		settings := []admin.Setting{
			{System: "region", Key: "name", Value: "us-east-1", From: "--region", Help: "region"},
			{System: "api", Key: "cors_allow_origin", Value: "http://a b\"c", From: "--cors-allow-origin", Help: "origins"},
			{System: "api", Key: "requests_max", Value: "7", From: "--max-requests", Help: "requests"},
			{System: "notify_webhook", Target: "ONE", Key: "enable", Value: "on", From: "SHOAL_NOTIFY_WEBHOOK_ENABLE_ONE"},
			{System: "notify_webhook", Target: "TWO", Key: "enable", Value: "off", From: "SHOAL_NOTIFY_WEBHOOK_ENABLE_TWO"},
		}
		cfg.Admin.Settings = func() []admin.Setting { return settings }
	})
}

const (
	apiLine = `api cors_allow_origin="http://a b\"c" requests_max=7` + "\n"
	oneLine = "notify_webhook:ONE enable=on\n"
	twoLine = "notify_webhook:TWO enable=off\n"
)

func TestSettingsAreShownAsLinesOfTheirTargets(t *testing.T) {
	o := serveSettings(t)
	for _, tt := range []struct{ path, query, want string }{
		{"get-config-kv", "key=region", "region name=us-east-1\n"},
		{"get-config-kv", "key=api", apiLine},
		{"get-config-kv", "key=notify_webhook", oneLine + twoLine},
		{"get-config-kv", "key=notify_webhook:TWO", twoLine},
		{"config", "", "region name=us-east-1\n" + apiLine + oneLine + twoLine},
	} {
		answer, code := o.admin("boss", "GET", tt.path, tt.query, "")
		if code != "" {
			t.Errorf("%s %s: %s", tt.path, tt.query, answer.body)
			continue
		}
		text, err := o.sealer.Open(secretOf("boss"), []byte(answer.body))
		o.must(t, err)
		if string(text) != tt.want {
			t.Errorf("%s %s: %s", tt.path, tt.query, text)
		}
	}
}

// TestNoSettingCanBeChangedAndTheAnswerSaysWhatSetsIt has what clients ask for that
// cannot be.
func TestNoSettingCanBeChangedAndTheAnswerSaysWhatSetsIt(t *testing.T) {
	o := serveSettings(t)
	for _, tt := range []struct{ method, path, query, document, code, says string }{
		{"PUT", "set-config-kv", "", "region name=x", "NotImplemented", "--region"},
		{"PUT", "set-config-kv", "", "api requests_max=1", "NotImplemented", "--max-requests"},
		{"PUT", "set-config-kv", "", "notify_webhook:TWO enable=on", "NotImplemented", "SHOAL_NOTIFY_WEBHOOK_ENABLE_TWO"},
		{"DELETE", "del-config-kv", "", "api", "NotImplemented", "--cors-allow-origin"},
		{"PUT", "set-config-kv", "", "region speed=x", "XMinioConfigError", "speed"},
		{"PUT", "set-config-kv", "", "nonsense name=x", "XMinioConfigError", "nonsense"},
		{"PUT", "set-config-kv", "", "", "XMinioConfigError", "there are none"},
		{"PUT", "set-config-kv", "", "region", "NotImplemented", "--region"},
		{"GET", "get-config-kv", "key=nonsense", "", "XMinioConfigError", "nonsense"},
		{"GET", "get-config-kv", "key=notify_webhook:THREE", "", "XMinioConfigError", "THREE"},
		{"GET", "get-config-kv", "key=subnet", "", "NotImplemented", "support"},
		{"GET", "help-config-kv", "subSys=nonsense&key=", "", "XMinioConfigError", "nonsense"},
		{"PUT", "config", "", "region name=x", "NotImplemented", "--region"},
		{"GET", "list-config-history-kv", "count=10", "", "NotImplemented", "history"},
		{"PUT", "restore-config-history-kv", "restoreId=1", "", "NotImplemented", "history"},
		{"DELETE", "clear-config-history-kv", "restoreId=1", "", "NotImplemented", "history"},
	} {
		document := ""
		if tt.method != "GET" {
			document = o.seal("boss", tt.document)
		}
		answer, code := o.admin("boss", tt.method, tt.path, tt.query, document)
		if code != tt.code || !strings.Contains(answer.body, tt.says) {
			t.Errorf("%s %s %q: %d %s", tt.path, tt.query, tt.document, answer.status, answer.body)
		}
		if _, code := o.admin("ann", tt.method, tt.path, tt.query, document); code != "AccessDenied" {
			t.Errorf("%s, by ann: %s", tt.path, code)
		}
	}
	if _, code := o.admin("boss", "PUT", "set-config-kv", "", "region name=x"); code != "XMinioAdminConfigBadJSON" {
		t.Errorf("in the clear: %s", code)
	}
}

func TestHelpTellsOfSystemsAndTheirKeys(t *testing.T) {
	o := serveSettings(t)
	for query, want := range map[string]string{
		"subSys=&key=":                   "region api notify_webhook",
		"subSys=api&key=":                "cors_allow_origin requests_max",
		"subSys=api&key=requests_max":    "requests_max",
		"subSys=notify_webhook:TWO&key=": "enable",
	} {
		answer, code := o.admin("boss", "GET", "help-config-kv", query, "")
		var help struct{ KeysHelp []struct{ Key string } }
		if code == "" {
			o.must(t, json.Unmarshal([]byte(answer.body), &help))
		}
		var keys []string
		for _, h := range help.KeysHelp {
			keys = append(keys, h.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: %s, want %s", query, answer.body, want)
		}
	}
}
