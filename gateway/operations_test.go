package gateway

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const compatibilityPage = "../docs/s3-compatibility.md"

// writePage has the page written anew instead of being held against the table.
var writePage = flag.Bool("write-page", false, "write "+compatibilityPage+" anew")

// TestCompatibilityPageIsMadeOfTheOperationTable makes the table of the page: what an
// operation is asked by and which permission it needs come from the operation table, what
// there is to say about it from the page. With -write-page it is written.
func TestCompatibilityPageIsMadeOfTheOperationTable(t *testing.T) {
	page, err := os.ReadFile(compatibilityPage)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| operation | request | permission | notes |\n| --- | --- | --- | --- |\n"
	start := strings.Index(string(page), "| operation |")
	length := strings.Index(string(page)[start:], "\n\n")
	if start < 0 || length < 0 {
		t.Fatal("the page has no table")
	}
	notes := make(map[string]string)
	for line := range strings.Lines(string(page)[start : start+length]) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		notes[strings.Trim(cells[0], "| ")] = strings.Trim(cells[len(cells)-1], "| ")
	}
	want := string(page)[:start] + head + strings.Join(compatibilityRows(notes), "") + string(page)[start+length+1:]
	switch {
	case *writePage:
		if err := os.WriteFile(compatibilityPage, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	case want != string(page):
		t.Error("the page is not what the operation table says: go test ./gateway -run Compatibility -write-page")
	}
}

// compatibilityRows returns a row for each operation.
func compatibilityRows(notes map[string]string) (rows []string) {
	ops := operations()
	slices.SortStableFunc(ops, func(a, b *operation) int { return cmp.Compare(a.name, b.name) })
	for i := 0; i < len(ops); {
		same := ops[i:]
		if end := slices.IndexFunc(same, func(o *operation) bool { return o.name != ops[i].name }); end >= 0 {
			same = same[:end]
		}
		var requests, actions []string
		for _, o := range same {
			requests = append(requests, "`"+o.example()+"`")
			if action := cmp.Or(o.action, "anybody"); !slices.Contains(actions, action) {
				actions = append(actions, action)
			}
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", ops[i].name, strings.Join(requests, ", "), strings.Join(actions, ", "), notes[ops[i].name]))
		i += len(same)
	}
	return rows
}

// example is what a request for the operation looks like.
func (o *operation) example() string {
	line := o.method + " " + map[level]string{service: "/", bucketLevel: "/bucket", objectLevel: "/bucket/key"}[o.level]
	if o.query != "" {
		line += "?" + o.query
	}
	if o.header != "" {
		line += ", " + o.header
	}
	return line
}
