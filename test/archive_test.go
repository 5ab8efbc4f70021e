package test

import (
	"path/filepath"
	"testing"
)

// TestEverybodyIsExportedFromOneFleetAndImportedIntoAnother has mc do it.
func TestEverybodyIsExportedFromOneFleetAndImportedIntoAnother(t *testing.T) {
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
