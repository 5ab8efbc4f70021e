package gateway

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCompatibilityPageListsWhatIsServed(t *testing.T) {
	page, err := os.ReadFile("../docs/s3-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		if name := strings.TrimSpace(cells[1]); name != "operation" && name != "---" {
			listed = append(listed, name)
		}
	}
	var served []string
	for _, op := range operations() {
		if !slices.Contains(served, op.name) {
			served = append(served, op.name)
		}
	}
	slices.Sort(served)
	if !slices.Equal(listed, served) {
		t.Errorf("the page lists\n%q, served are\n%q", listed, served)
	}
}
