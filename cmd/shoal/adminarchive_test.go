package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/adminclient"
)

func TestUsersAndConfigurationsMoveInFiles(t *testing.T) {
	c := openConsole(t, nil)
	c.does("user", "add", "ann")
	c.does("quota", "set", "photos", "--size", "1KiB")
	users, buckets := filepath.Join(c.dir, "users.zip"), filepath.Join(c.dir, "buckets.zip")
	if out := c.does("iam", "export", users); !strings.HasPrefix(out, users+" has ") {
		t.Errorf("the export says %s", out)
	}
	if info, err := os.Stat(users); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the secrets: %v, %v", info, err)
	}
	c.does("bucket", "export", buckets, "photos", "--json")
	if _, said, code := c.run("", "iam", "export", users); code != exitUsage || !strings.Contains(said, "is there already") {
		t.Errorf("over a file that is there: exit %d, %s", code, said)
	}
	piped := c.does("iam", "export", "-")

	c = openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Usage = nil }) // another gateway, without quotas
	if out, said, code := c.run(piped, "iam", "import", "-"); code != exitOK || out != "KIND  NAME  OUTCOME   REASON\nuser  ann   imported  \n" {
		t.Errorf("exit %d, %s%s", code, out, said)
	}
	if out := c.does("iam", "import", users, "--json"); out != `[{"kind":"user","name":"ann","done":true}]`+"\n" {
		t.Errorf("imported again: %s", out)
	}
	out, said, code := c.run("", "bucket", "import", buckets)
	if code != exitFindings || !strings.Contains(out, "quota         photos  skipped") || !strings.Contains(said, "the table says why") {
		t.Errorf("of what is refused: exit %d, %s%s", code, out, said)
	}
}

// TestThatPoliciesAreThereAnywayIsNoFinding of an import; that another one is skipped is.
func TestThatPoliciesAreThereAnywayIsNoFinding(t *testing.T) {
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	r := &adminRun{cmd: root}
	if err := r.showImport([]adminclient.Imported{{Kind: "policy", Name: "readwrite"}, {Kind: "user", Name: "ann", Done: true}}, ""); err != nil {
		t.Error(err)
	}
	for _, i := range []adminclient.Imported{{Kind: "policy", Name: "home"}, {Kind: "user", Name: "readwrite"}} {
		if err := r.showImport([]adminclient.Imported{i}, ""); code(t, err) != exitFindings {
			t.Errorf("%+v: %v", i, err)
		}
	}
}
