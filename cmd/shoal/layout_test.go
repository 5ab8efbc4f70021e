package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/accept"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

func TestDrivesArePutIntoSets(t *testing.T) {
	for line, want := range map[string]string{
		"/d{1...4}":                     "[/d1 /d2 /d3 /d4]",
		"/a /b /c":                      "[/a /b /c]",
		"/d{1...17}":                    "", // no set of at least four divides it
		"/d{1...2} /e{1...3}":           "[/d1 /d2] [/e1 /e2 /e3]",
		"/a /e{1...2}":                  "[/a] [/e1 /e2]",
		"--set-size=2 /d{1...4}":        "[/d1 /d2] [/d3 /d4]",
		"--set-size=3 /d{1...4}":        "",
		"/a /a":                         "",
		"http://n{1...2}/d{1...2}":      "[http://n1:9000/d1 http://n1:9000/d2 http://n2:9000/d1 http://n2:9000/d2]",
		"http://n1/d http://n2/d":       "[http://n1:9000/d http://n2:9000/d]",
		"http://n{1...2}/d http://n3/d": "[http://n1:9000/d http://n2:9000/d] [http://n3:9000/d]",
		"http://n{1...3}/d{1...7}":      "", // sets of seven have not as many of each node
		"--set-size=6 http://n{1...3}/d{1...4}": "[http://n1:9000/d1 http://n1:9000/d2 http://n2:9000/d1 http://n2:9000/d2 http://n3:9000/d1 http://n3:9000/d2] " +
			"[http://n1:9000/d3 http://n1:9000/d4 http://n2:9000/d3 http://n2:9000/d4 http://n3:9000/d3 http://n3:9000/d4]",
	} {
		f, args := &serverFlags{}, strings.Fields(line)
		if size, given := strings.CutPrefix(args[0], "--set-size="); given {
			if _, err := fmt.Sscan(size, &f.setSize); err != nil {
				t.Fatal(err)
			}
			args = args[1:]
		}
		what, err := f.served(args, readEnvironment(nil))
		if want == "" {
			if err == nil || code(t, err) != exitUsage {
				t.Errorf("%s is taken: %v", line, err)
			}
			continue
		}
		var sets []string
		for i := range what.drives {
			sets = append(sets, fmt.Sprint(what.drives[i].drives))
		}
		if what.nodes != nil {
			for _, set := range what.nodes.each() {
				sets = append(sets, fmt.Sprint(set))
			}
		}
		if got := strings.Join(sets, " "); err != nil || got != want {
			t.Errorf("%s is %s, %v", line, got, err)
		}
	}
}

func TestEverySetHasAsManyDrivesOfEachNode(t *testing.T) {
	for _, c := range []struct{ nodes, drives, size int }{{4, 8, 16}, {8, 4, 16}, {2, 12, 12}, {32, 1, 16}, {3, 7, 0}, {1, 32, 16}, {5, 4, 10}} {
		e, err := (&serverFlags{}).parseEndpoints([]string{fmt.Sprintf("http://n{1...%d}/d{1...%d}", c.nodes, c.drives)})
		if c.size == 0 {
			if code(t, err) != exitUsage {
				t.Errorf("%d nodes with %d drives: %v", c.nodes, c.drives, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d nodes with %d drives: %v", c.nodes, c.drives, err)
			continue
		}
		for _, set := range e.each() {
			var each []int
			for _, n := range perNode(set) {
				each = append(each, n)
			}
			if len(set) != c.size || len(slices.Compact(each)) != 1 {
				t.Errorf("%d nodes with %d drives: a set has %v", c.nodes, c.drives, each)
			}
		}
	}
}

func TestTheStateOfSetsIsToldByTheWorst(t *testing.T) {
	l := layout[string]{{drives: make([]string, 4), classes: new(atomic.Pointer[classes])}, {drives: make([]string, 8), classes: new(atomic.Pointer[classes])}}
	l[0].classes.Store(&classes{parity: 2})
	l[1].classes.Store(&classes{parity: 4})
	if got := l.status([]int{1, 1}); got != "Status: 10 Online, 2 Offline. We can withstand [1] more drive failure(s)." {
		t.Error(got)
	}
	if l.at(3) != 0 || l.at(4) != 1 || l.at(11) != 1 {
		t.Errorf("slots 3, 4 and 11 are of sets %d, %d and %d", l.at(3), l.at(4), l.at(11))
	}
}

func TestTheRoomOfAPoolIsThatOfItsDrivesThatAreThere(t *testing.T) {
	var drives []admin.Drive
	for i := range 4 {
		drives = append(drives, admin.Drive{Pool: i / 2, Online: i != 1, Room: upkeep.Room{Free: uint64(30 + i), Total: 100}})
	}
	if got := roomsOf(drives); got[0] != (upkeep.Room{Free: 30, Total: 100}) || got[1] != (upkeep.Room{Free: 65, Total: 200}) {
		t.Errorf("%+v", got)
	}
}

// Those that are opened last would be taken for lost.
func TestMoreDrivesThanThereMayBeFilesForAreRefused(t *testing.T) {
	most := (accept.Files() - filesBeside) / filesOfDrive
	if err := checkFiles(most); err != nil {
		t.Errorf("%d drives, for which there are files: %v", most, err)
	}
	err := checkFiles(most + 1)
	if f, ok := errors.AsType[*failure](err); !ok || f.code != exitUnsafe || !strings.Contains(f.what, "open files") || !strings.Contains(f.remedy, "ulimit -n") {
		t.Errorf("%d drives: %v", most+1, err)
	}
}
