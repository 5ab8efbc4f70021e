package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
)

// openSettings is openConsole at a gateway that was started with SHOAL_CORS_ALLOW_ORIGIN.
func openSettings(t *testing.T) *console {
	t.Helper()
	shared := commonOf(t, &onePlane{changed: make(chan struct{})}, "SHOAL_CORS_ALLOW_ORIGIN=https://own")
	shared.log = slog.New(slog.DiscardHandler)
	return openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Settings, cfg.Admin.Changes = shared.Settings, shared })
}

func TestAdminSetsWhatAllGatewaysShare(t *testing.T) {
	c := openSettings(t)
	const shown = "SETTINGS OF  KEY                VALUE        SET BY\n"
	for _, tt := range []struct{ command, in, out string }{
		{"config set api requests_max=7", "", "api is set\n"},
		{"config get api", "", shown + "api          cors_allow_origin  https://own  --cors-allow-origin or SHOAL_CORS_ALLOW_ORIGIN\napi          requests_max       7            \n"},
		{"config set site region=eu-1 --json", "", `{"settings":"site","done":"set","restart":true}` + "\n"},
		{"config get region --json", "", `[{"target":"region","key":"name","value":"eu-1"}]` + "\n"},
		{"config reset site region", "", "site is reset\n"},
		{"config set audit_webhook:LOG endpoint=http://127.0.0.1:9 --secret-file auth_token=-", "hunter2\n", "audit_webhook:LOG is set\n"},
		{"config reset api", "", "api is reset\n"}, // but for what this gateway was started with
		{"config reset api", "", ""},
		{"config reset api requests_max", "", "api is reset\n"},
	} {
		out, said, code := c.run(tt.in, strings.Fields(tt.command)...)
		if out != tt.out || (code == exitOK) != (tt.out != "") || strings.Contains(said, "hunter2") {
			t.Errorf("%s: exit %d, %s\n%swant\n%s", tt.command, code, said, out, tt.out)
		}
	}
	for command, part := range map[string]string{
		"config get":               "identity_ldap    an LDAP directory",
		"config get audit_webhook": "audit_webhook:LOG  auth_token       *REDACTED*",
		"config history":           "audit_webhook:LOG auth_token=*REDACTED*",
		"config export -":          "region name=us-east-1\n",
		"config set --help":        "--secret-file auth_token=token",
	} {
		if out := c.does(strings.Fields(command)...); !strings.Contains(out, part) || strings.Contains(out, "hunter2") {
			t.Errorf("%s says\n%swhich has no %s", command, out, part)
		}
	}
}

func TestSettingsAreMovedAndTakenBack(t *testing.T) {
	c := openSettings(t)
	file := filepath.Join(c.dir, "settings")
	c.does("config", "set", "api", "requests_max=7")
	c.does("config", "export", file)
	c.does("config", "set", "api", "requests_max=8")
	if out := c.does("config", "import", file); out != file+" is imported\n" || !strings.Contains(c.does("config", "get", "api"), "requests_max       7 ") {
		t.Error(out)
	}
	past := strings.Split(c.does("config", "history"), "\n")
	if len(past) != 5 || !strings.HasSuffix(past[2], "  api requests_max=8") {
		t.Fatalf("the history is %q", past)
	}
	id, _, _ := strings.Cut(past[2], " ")
	if out := c.does("config", "restore", id); out != id+" is restored\n" || !strings.Contains(c.does("config", "get", "api"), "requests_max       8 ") {
		t.Error(out)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "requests_max=7") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestSettingsThatCannotBeSetAreRefused(t *testing.T) {
	c := openSettings(t)
	for command, want := range map[string]struct {
		code int
		said string
	}{
		"config set api requests_max":                  {exitUsage, "is not KEY=VALUE"},
		"config set api":                               {exitUsage, "nothing is said of api"},
		"config set a/b c=d":                           {exitUsage, "is no system"},
		"config set audit_webhook auth_token=hunter2":  {exitUsage, "--secret-file auth_token=FILE"},
		"config set audit_webhook --secret-file token": {exitUsage, "is not KEY=FILE"},
		"config set api requests_max=0":                {exitFailed, "api requests_max 0 is less than 1"},
		"config set api cors_allow_origin=https://b":   {exitFailed, "SHOAL_CORS_ALLOW_ORIGIN"},
		"config set nonsense a=b":                      {exitFailed, "shoal admin config get shows"},
		"config get nonsense":                          {exitFailed, "no settings"},
		"config restore nothing":                       {exitFailed, "no such entry"},
		"config import " + c.file("nonsense a=b"):      {exitFailed, "no settings"},
	} {
		if _, said, code := c.run("", strings.Fields(command)...); code != want.code || !strings.Contains(said, want.said) || strings.Contains(said, "hunter2") {
			t.Errorf("%s: exit %d, %s", command, code, said)
		}
	}
}

func TestNamesOfSettingsAreCompleted(t *testing.T) {
	for command, want := range map[string]string{
		"get identity_": "identity_ldap\nidentity_openid\nidentity_tls\n:4\n",
		"set api req":   "requests_max=\n:6\n",
		"reset api c":   "cors_allow_origin\n:4\n",
	} {
		var out bytes.Buffer
		root := newRoot()
		root.SetOut(&out)
		if code := run(t.Context(), root, append([]string{"__complete", "admin", "config"}, strings.Fields(command)...)); code != exitOK || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: exit %d, %q", command, code, out.String())
		}
	}
}
