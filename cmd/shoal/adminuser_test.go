package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/gatewaytest"
	"github.com/shoal-storage/shoal/internal/object"
)

// share is a Store whose files can be given to the users below 5000.
type share struct{ object.Store }

func (share) Prove(_ context.Context, f object.Files) error {
	if f.UID != nil && *f.UID >= 5000 {
		return object.E("set up files", "", object.InvalidRequest, errors.New("gateways must run as root"))
	}
	return nil
}

func TestWhoAUserIsToTheFileSystemIsSetShownAndTakenBack(t *testing.T) {
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Store = share{cfg.Store} })
	c.does("user", "add", "ann")
	for _, tt := range []struct{ flags, out string }{
		{"", "user  ann\n"},
		{"--uid 1000", "user  ann\nuid   1000\n"},
		{"--gid 0", "user  ann\nuid   1000\ngid   0\n"}, // what is not named stays
		{"--json", `{"name":"ann","uid":1000,"gid":0}` + "\n"},
		{"--groups 8,9", "user    ann\nuid     1000\ngid     0\ngroups  8,9\n"},
		{"--uid 1000 --json", `{"name":"ann","uid":1000,"gid":0,"supplementaryGroups":[8,9]}` + "\n"},
		{"--reset --gid 7", "user  ann\ngid   7\n"},
		{"--reset --json", `{"name":"ann"}` + "\n"},
	} {
		if out := c.does(strings.Fields("user posix ann " + tt.flags)...); out != tt.out {
			t.Errorf("%q says\n%swant\n%s", tt.flags, out, tt.out)
		}
	}
	for flags, want := range map[string]struct {
		code int
		said string
	}{
		"--uid ann":        {exitUsage, "id NAME tells it"},
		"--uid -1":         {exitUsage, "id NAME tells it"},
		"--groups devs":    {exitUsage, "id -G"},
		"--uid 4294967295": {exitUsage, "no user or group"},
		"--uid 5000":       {exitFailed, "must run as root"},
	} {
		if _, said, code := c.run("", strings.Fields("user posix ann "+flags)...); code != want.code || !strings.Contains(said, want.said) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", flags, code, said)
		}
	}
	if out := c.does("user", "posix", "ann"); out != "user  ann\n" {
		t.Errorf("after what was refused it says %s", out)
	}
}

func TestASecretIsMadeOrReadAndShownOnlyWhenItWasMade(t *testing.T) {
	c := openConsole(t, nil)
	counts := func(user, secret string) bool {
		t.Helper()
		t.Setenv("AWS_ACCESS_KEY_ID", user)
		t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
		defer func() {
			t.Setenv("AWS_ACCESS_KEY_ID", gatewaytest.User)
			t.Setenv("AWS_SECRET_ACCESS_KEY", gatewaytest.Secret)
		}()
		_, _, code := c.run("", "user", "info", user)
		return code == exitOK
	}
	var made madeCredentials
	for _, verb := range []string{"add", "secret"} {
		former := made.Secret
		out, said, code := c.run("", "user", verb, "ann", "--json")
		if err := json.Unmarshal([]byte(out), &made); err != nil || code != exitOK || len(made.Secret) < 20 || made.Secret == former || !strings.Contains(said, "not shown again") {
			t.Fatalf("%s: %v, %s, %s", verb, err, out, said)
		}
		if !counts("ann", made.Secret) || former != "" && counts("ann", former) {
			t.Errorf("%s: the secret that was made is not the one that counts", verb)
		}
	}
	if out, said, code := c.run("given secret\n", "user", "add", "bob", "--secret-file", "-"); code != exitOK || strings.Contains(out+said, "secret") {
		t.Errorf("what was given is shown: %s%s", out, said)
	}
	if !counts("bob", "given secret") {
		t.Error("the secret that was given does not count")
	}
	c.does("user", "disable", "bob")
	if c.run("another secret\n", "user", "secret", "bob", "--secret-file", "-"); counts("bob", "another secret") {
		t.Error("another secret has a user count who was disabled")
	}
}
