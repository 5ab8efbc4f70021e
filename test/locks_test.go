package test

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestLocksAreToldByEveryGateway looks for the lock of the one gateway that applies
// lifecycle rules.
func TestLocksAreToldByEveryGateway(t *testing.T) {
	fleet := startFleet(t, 3)
	type held struct{ Resource, Gateway string }
	for _, s := range fleet {
		eventually(t, "the lock is told", func() bool {
			out, errOut, code := shoal(t, serverEnv(t.TempDir()), "admin", "locks", "--json", "--count", "100", "--url", s.url)
			if code != 0 {
				t.Fatalf("exit %d: %s %s", code, out, errOut)
			}
			var all []held
			must(t, json.Unmarshal([]byte(out), &all))
			return slices.ContainsFunc(all, func(l held) bool { return l.Resource == "lifecycle" && l.Gateway != "" })
		})
	}
}
