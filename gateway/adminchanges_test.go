package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/config"
)

// shelf is settings that all gateways share, as far as they are told of: it remembers what is to
// be changed.
type shelf struct {
	asked   string
	restart bool
	err     error
}

func (s *shelf) note(verb string, lines []config.Line) (bool, error) {
	s.asked = verb
	for _, l := range lines {
		s.asked += " " + l.String() + ";"
	}
	return s.restart, s.err
}

func (s *shelf) Set(_ context.Context, lines []config.Line) (bool, error) {
	return s.note("set", lines)
}

func (s *shelf) Reset(_ context.Context, lines []config.Line) (bool, error) {
	return s.note("reset", lines)
}

func (s *shelf) History() ([]config.Entry, error) {
	at := time.Unix(1767268800, 0).UTC()
	return []config.Entry{{ID: "2", Created: at, Text: "a k=2"}, {ID: "1", Created: at, Text: "a k=1"}}, nil
}

func (s *shelf) Restore(_ context.Context, id string) (bool, error) {
	return s.note("restore "+id, nil)
}

func (s *shelf) Forget(_ context.Context, id string) error {
	_, err := s.note("forget "+id, nil)
	return err
}

// serveShared serves an office whose settings can be changed in part.
func serveShared(t *testing.T) (*office, *shelf) {
	t.Helper()
	s := new(shelf)
	o := serveOfficeWith(t, func(cfg *Config) {
		settings := []admin.Setting{
			{System: "region", Key: "name", Value: "us-east-1", From: "--region"},
			{System: "identity_openid", Key: "config_url", From: "--identity-openid-config-url", Shared: true},
			{System: "identity_openid", Key: "client_id", From: "--identity-openid-client-id", Shared: true},
			{System: "identity_openid", Target: "DEX", Key: "config_url", Value: "https://dex", From: "SHOAL_IDENTITY_OPENID_CONFIG_URL_DEX", Shared: true},
			{System: "notify_webhook", Target: "ONE", Key: "endpoint", Value: "http://one", From: "SHOAL_NOTIFY_WEBHOOK_ENDPOINT_ONE", Shared: true, Own: true},
			{System: "notify_webhook", Target: "ONE", Key: "queue_limit", Value: "7", From: "SHOAL_NOTIFY_WEBHOOK_QUEUE_LIMIT_ONE", Shared: true},
			{System: "api", Key: "requests_max", Value: "9", From: "--max-requests", Shared: true, Own: true},
			{System: "api", Key: "cors_allow_origin", Value: "https://a", From: "--cors-allow-origin", Shared: true, Common: true},
		}
		cfg.Admin.Settings, cfg.Admin.Changes = func() []admin.Setting { return settings }, s
	})
	return o, s
}

func TestSharedSettingsAreChangedAndOthersAreNot(t *testing.T) {
	o, s := serveShared(t)
	for _, tt := range []struct{ method, path, query, document, asked, code string }{
		{"PUT", "set-config-kv", "", "notify_webhook:TWO endpoint=http://two", "set notify_webhook:TWO endpoint=http://two;", ""},
		{"PUT", "set-config-kv", "", "notify_webhook:ONE queue_limit=9", "set notify_webhook:ONE queue_limit=9;", ""},
		{"PUT", "set-config-kv", "", "notify_webhook:ONE endpoint=x", "", "NotImplemented"}, // this gateway's own
		{"PUT", "set-config-kv", "", "notify_webhook:TWO\nregion name=x", "", "NotImplemented"},
		{"PUT", "set-config-kv", "", "notify_webhook:TWO", "", "XMinioConfigError"},
		{"PUT", "set-config-kv", "", "notify_webhook:TWO speed=x", "", "XMinioConfigError"},
		{"PUT", "set-config-kv", "", "not-a-target k=v", "", "XMinioConfigError"},
		{"DELETE", "del-config-kv", "", "notify_webhook:TWO", "reset notify_webhook:TWO;", ""},
		{"DELETE", "del-config-kv", "", "notify_webhook:ONE queue_limit", "reset notify_webhook:ONE queue_limit=;", ""},
		{"DELETE", "del-config-kv", "", "notify_webhook:ONE", "", "NotImplemented"}, // nothing of it is set for all
		{"DELETE", "del-config-kv", "", "api", "reset api;", ""},
		{"DELETE", "del-config-kv", "", "api requests_max", "", "NotImplemented"},
		{"PUT", "config", "", "region name=us-east-1\nnotify_webhook:ONE endpoint=http://one queue_limit=8", "set notify_webhook:ONE queue_limit=8;", ""},
		{"PUT", "config", "", "region name=us-east-1", "", ""},
		{"PUT", "config", "", "region name=other", "", "NotImplemented"},
		{"PUT", "restore-config-history-kv", "restoreId=1", "", "restore 1", ""},
		{"DELETE", "clear-config-history-kv", "restoreId=1", "", "forget 1", ""},
		{"DELETE", "clear-config-history-kv", "restoreId=all", "", "forget ", ""},
		{"PUT", "idp-config/openid/NEW", "", "config_url=https://new client_id=x", "set identity_openid:NEW client_id=x config_url=https://new;", ""},
		{"PUT", "idp-config/openid/DEX", "", "client_id=x", "", "XMinioConfigError"},
		{"POST", "idp-config/openid/DEX", "", "client_id=x", "set identity_openid:DEX client_id=x;", ""},
		{"POST", "idp-config/openid/NEW", "", "client_id=x", "", "XMinioConfigError"},
		{"PUT", "idp-config/openid/_", "", "config_url=https://new", "set identity_openid config_url=https://new;", ""},
		{"DELETE", "idp-config/openid/DEX", "", "", "reset identity_openid:DEX;", ""},
		{"DELETE", "idp-config/openid/NEW", "", "", "", "XMinioConfigError"},
	} {
		s.asked = ""
		answer, code := o.admin("boss", tt.method, tt.path, tt.query, o.seal("boss", tt.document))
		if code != tt.code || s.asked != tt.asked {
			t.Errorf("%s %s %q: asked for %q: %d %s", tt.method, tt.path, tt.document, s.asked, answer.status, answer.body)
		}
		if applied := answer.header.Get("X-Minio-Config-Applied"); applied != "true" && code == "" && tt.method == "PUT" {
			t.Errorf("%s %q: applied is %q", tt.path, tt.document, applied)
		}
	}
}

func TestClientsAreToldWhatANewStartIsNeededFor(t *testing.T) {
	o, s := serveShared(t)
	s.restart = true
	answer, code := o.admin("boss", "PUT", "set-config-kv", "", o.seal("boss", "notify_webhook:ONE queue_limit=9"))
	if code != "" || answer.header.Get("X-Minio-Config-Applied") != "" {
		t.Errorf("%s %v", code, answer.header)
	}
	for err, says := range map[error]string{config.ErrText: "no settings", config.ErrTooMany: "too many", config.ErrNoEntry: "history"} {
		s.err = err
		answer, code := o.admin("boss", "PUT", "restore-config-history-kv", "restoreId=1", "")
		if code != "XMinioConfigError" || !strings.Contains(answer.body, says) {
			t.Errorf("%v: %s", err, answer.body)
		}
	}
}

func TestWhatAGatewayHasOfItsOwnIsShownBeforeWhatIsShared(t *testing.T) {
	o, _ := serveShared(t)
	for path, want := range map[string]string{
		"get-config-kv?key=notify_webhook": "# SHOAL_NOTIFY_WEBHOOK_ENDPOINT_ONE=http://one\nnotify_webhook:ONE endpoint=http://one queue_limit=7\n",
		"list-config-history-kv?count=1":   `[{"restoreId":"2","createTime":"2026-01-01T12:00:00Z","data":"a k=2"}]` + "\n",
		"idp-config/openid/DEX":            `{"type":"openid","name":"DEX","info":[{"key":"config_url","value":"https://dex","isCfg":true,"isEnv":false}]}` + "\n",
	} {
		path, query, _ := strings.Cut(path, "?")
		answer, code := o.admin("boss", "GET", path, query, "")
		if code != "" {
			t.Errorf("%s: %s", path, answer.body)
			continue
		}
		text, err := o.sealer.Open(secretOf("boss"), []byte(answer.body))
		o.must(t, err)
		if strings.TrimSpace(string(text)) != strings.TrimSpace(want) {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// TestWhatOnlyAFleetHasIsSaidWithoutAFlag is about settings that no gateway can be started with.
func TestWhatOnlyAFleetHasIsSaidWithoutAFlag(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Settings = func() []admin.Setting {
			return []admin.Setting{{System: "subnet", Key: "api_key", Shared: true}, {System: "site", Key: "region", From: "--region or SHOAL_REGION", Shared: true}}
		}
	})
	for document, want := range map[string]string{
		"subnet api_key=x": "api_key of subnet is set for all gateways of a fleet, and this server joins no others (--single-gateway).",
		"site region=x":    "region of site is set by --region or SHOAL_REGION of each gateway. Change it there, and start it again.",
	} {
		answer, code := o.admin("boss", "PUT", "set-config-kv", "", o.seal("boss", document))
		if code != "NotImplemented" || !strings.Contains(answer.body, want) {
			t.Errorf("%s: %s", document, answer.body)
		}
	}
}
