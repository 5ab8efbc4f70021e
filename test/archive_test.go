package test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEverybodyIsExportedFromOneFleetAndImportedIntoAnother has mc do it.
func TestEverybodyIsExportedFromOneFleetAndImportedIntoAnother(t *testing.T) {
	t.Parallel()
	from := administer(t)
	from.admin(t, "user", "add", "@", "ann", "ann's secret")
	from.admin(t, "group", "add", "@", "devs", "ann")
	from.admin(t, "policy", "attach", "@", "readwrite", "--group", "devs")
	from.admin(t, "user", "svcacct", "add", "@", "ann", "--access-key", "annskey", "--secret-key", "the key's secret")
	file := filepath.Join(t.TempDir(), "iam.zip")
	from.admin(t, "cluster", "iam", "export", "@", "--output", file)

	to := administer(t)
	to.mc.run(t, "mb", "g0/bucket")
	to.everywhere(t, "ann", "ann's secret", notKnown)
	for range 2 { // the second time all is there
		to.admin(t, "cluster", "iam", "import", "@", file)
		to.everywhere(t, "ann", "ann's secret", "")
		to.everywhere(t, "annskey", "the key's secret", "")
	}
}

// TestConfigurationsOfBucketsAreExportedAndImported has mc do it.
func TestConfigurationsOfBucketsAreExportedAndImported(t *testing.T) {
	t.Parallel()
	from := administer(t)
	from.mc.run(t, "mb", "g0/bucket")
	from.mc.run(t, "anonymous", "set", "download", "g1/bucket")
	from.mc.run(t, "version", "enable", "g2/bucket")
	file := exportBuckets(t, from.mc, "g0")
	to := administer(t)
	out := to.admin(t, "cluster", "bucket", "import", "@", file)
	for g := range to.fleet {
		at := fmt.Sprintf("g%d/bucket", g)
		if access := to.mc.run(t, "anonymous", "get", at); !strings.Contains(access, "download") {
			t.Errorf("%s: %s after %s", at, access, out)
		}
		if versions := to.mc.run(t, "version", "info", at); !strings.Contains(versions, "enabled") {
			t.Errorf("%s: %s after %s", at, versions, out)
		}
	}
}

// exportBuckets has mc write the configurations of buckets where it wants to, which is
// where it runs, and returns the file.
func exportBuckets(t *testing.T, mc *cli, alias string) string {
	t.Helper()
	cmd := exec.Command(mc.path, append(slices.Clone(mc.args), "admin", "cluster", "bucket", "export", alias)...)
	cmd.Env, cmd.Dir = mc.env, t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(cmd.Dir, "*.zip"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("mc wrote %v", files)
	}
	return files[0]
}
