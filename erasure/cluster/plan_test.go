package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/erasure/format"
)

// four is what is known of a set of four drives on four nodes, of which all are blank.
func four() *survey {
	s := &survey{sizes: []int{4}}
	for i := range 4 {
		e := Endpoint{Node: fmt.Sprintf("node%d:9000", i+1), Path: "/d"}
		s.endpoints = append(s.endpoints, e)
		s.found = append(s.found, &format.Found{Path: e.Path, Blank: true})
	}
	return s
}

// has gives an endpoint the drive of a slot of a table.
func (s *survey) has(endpoint int, t format.Table, slot int) *format.Identity {
	id := t.Identity(slot)
	s.found[endpoint] = &format.Found{Path: s.endpoints[endpoint].Path, Identity: &id}
	return &id
}

func formed() (*survey, format.Table) {
	s, t := four(), format.Table{Deployment: "d", Set: []string{"a", "b", "c", "e"}}
	for i := range 4 {
		s.has(i, t, i)
	}
	return s, t
}

func (s *survey) mustPlan(t *testing.T) plan {
	t.Helper()
	p, err := s.plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestASetIsFormedOfAllItsDrivesAndOnlyThen(t *testing.T) {
	s := four()
	if p := s.mustPlan(t); p.step != form || len(p.sets[0].table.Set) != 4 {
		t.Errorf("four blank drives: %+v", p)
	}
	s.found[2] = nil
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "node3:9000/d") {
		t.Errorf("with one node missing: %+v", p)
	}
	s.found[2] = &format.Found{Why: "it is not empty"}
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "node3:9000/d: it is not empty") {
		t.Errorf("with one drive that is none: %+v", p)
	}
}

func TestAFormationThatBrokeOffGoesOnAsItWas(t *testing.T) {
	s, table := four(), format.Table{Deployment: "d", Set: []string{"a", "b", "c", "e"}}
	for i := range 2 {
		s.has(i, table, i).Forming = true
	}
	if p := s.mustPlan(t); p.step != form || p.sets[0].table.Deployment != "d" || !slices.Equal(p.sets[0].table.Set, table.Set) {
		t.Errorf("with two identities: %+v", p)
	}
	for i := range 4 {
		s.has(i, table, i).Forming = true
	}
	if p := s.mustPlan(t); p.step != finish {
		t.Errorf("with four: %+v", p)
	}
	s.has(1, table, 1)
	if p := s.mustPlan(t); p.step != ready {
		t.Errorf("when one was told that all are formed: %+v", p)
	}
}

func TestASetIsUsedWithAMajorityOfItsDrives(t *testing.T) {
	s, _ := formed()
	s.found[0] = nil
	if p := s.mustPlan(t); p.step != ready || !slices.Equal(p.sets[0].slots, []int{-1, 1, 2, 3}) {
		t.Errorf("three of four: %+v", p)
	}
	s.found[1] = nil
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "2 of 4") {
		t.Errorf("two of four: %+v", p)
	}
}

func TestADrivesIdentityDecidesItsSlot(t *testing.T) {
	s, table := formed()
	s.has(0, table, 3)
	s.has(3, table, 0)
	if p := s.mustPlan(t); p.step != ready || !slices.Equal(p.sets[0].slots, []int{3, 1, 2, 0}) {
		t.Errorf("%+v", p)
	}
}

func TestABlankDriveTakesASlotWhoseDriveIsMissing(t *testing.T) {
	s, table := formed()
	s.found[1] = &format.Found{Blank: true}
	if p := s.mustPlan(t); s.free(p, 1) != 1 {
		t.Errorf("its own slot is free, and it takes %d", s.free(p, 1))
	}
	s.has(3, table, 1) // the drive of slot 1 has moved, that of slot 3 is lost
	p := s.mustPlan(t)
	if s.free(p, 1) != 3 {
		t.Errorf("slot 3 is free, and it takes %d", s.free(p, 1))
	}
	s.found[0] = nil
	if p := s.mustPlan(t); s.free(p, 1) != -1 {
		t.Errorf("nobody knows what node 1 has, and it takes %d", s.free(p, 1))
	}
}

func TestADriveWhoseSlotAnotherOneHasIsNotUsed(t *testing.T) {
	s, _ := formed()
	later := format.Table{Deployment: "d", Epoch: 1, Set: []string{"x", "b", "c", "e"}}
	s.has(1, later, 1)
	p := s.mustPlan(t)
	if p.step != ready || !slices.Equal(p.sets[0].slots, []int{-1, 1, 2, 3}) || !slices.Equal(s.stranded(p), []int{0}) {
		t.Errorf("%+v, left out %v", p, s.stranded(p))
	}
}

func TestDrivesThatDoNotBelongTogetherAreRefused(t *testing.T) {
	s, _ := formed()
	s.has(2, format.Table{Deployment: "other", Set: []string{"a", "b", "c", "e"}}, 2)
	if _, err := s.plan(); !errors.Is(err, errOther) {
		t.Errorf("a drive of another set: %v", err)
	}
	s, _ = formed()
	s.endpoints, s.found, s.sizes = s.endpoints[:3], s.found[:3], []int{3}
	if _, err := s.plan(); !errors.Is(err, errOther) {
		t.Errorf("a set of four named as three: %v", err)
	}
}

func TestHowCommandLinesDifferIsSaid(t *testing.T) {
	ours := [][]string{{"a", "b"}, {"c"}}
	for want, theirs := range map[string][][]string{
		"only n names d; only this one names c":    {{"a", "b"}, {"d"}},
		"only n names d; only this one names none": {{"a", "b"}, {"c", "d"}},
		"n names the drives in another order":      {{"b", "a"}, {"c"}},
		"makes other sets of them":                 {{"a"}, {"b", "c"}},
	} {
		if err := differing("n", theirs, ours); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", theirs, err)
		}
	}
}

// two is what is known of two sets on four nodes: the first is of four drives and formed, the
// second of two, which are blank.
func two() (*survey, format.Table) {
	s, t := formed()
	s.sizes = append(s.sizes, 2)
	for i := range 2 {
		e := Endpoint{Node: s.endpoints[i].Node, Path: "/e"}
		s.endpoints, s.found = append(s.endpoints, e), append(s.found, &format.Found{Path: e.Path, Blank: true})
	}
	return s, t
}

func TestASetThatIsAddedIsFormedForTheSameDeployment(t *testing.T) {
	s, table := two()
	p := s.mustPlan(t)
	if added := p.sets[1].table; p.step != form || added.Deployment != "d" || len(added.Set) != 2 || added.Number != 1 || added.Of != 2 || p.sets[0].formed != 4 {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(p.sets[0].table.Set, table.Set) {
		t.Errorf("the set that was there is another one: %+v", p.sets[0])
	}
	s.found[5] = nil
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "node2:9000/e") {
		t.Errorf("without one of its drives: %+v", p)
	}
}

func TestBlankDrivesAreNotTakenForASetThatWasFormedBefore(t *testing.T) {
	s, table := two()
	table.Of = 2
	for i := range 4 {
		s.has(i, table, i)
	}
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "no drive of set 2") {
		t.Errorf("%+v", p)
	}
	s.has(4, format.Table{Deployment: "d", Set: []string{"x", "y"}, Number: 1, Of: 2}, 0)
	if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "1 of 2 drives of set 2") || s.free(p, 5) != 1 {
		t.Errorf("with one of its drives: %+v", p)
	}
}

func TestADriveIsOfItsSetWhereverItIs(t *testing.T) {
	s, table := two()
	second := format.Table{Deployment: "d", Set: []string{"x", "y"}, Number: 1, Of: 2}
	s.has(0, second, 0)
	s.has(4, table, 0)
	s.has(5, second, 1)
	if p := s.mustPlan(t); p.step != ready || !slices.Equal(p.sets[0].slots, []int{4, 1, 2, 3}) || !slices.Equal(p.sets[1].slots, []int{0, 5}) {
		t.Errorf("%+v", p)
	}
	s.sizes, s.endpoints, s.found = s.sizes[:1], s.endpoints[:4], s.found[:4]
	if _, err := s.plan(); !errors.Is(err, errOther) {
		t.Errorf("a drive of a set that is not named: %v", err)
	}
}

// spread has two sets that are formed be of these numbers, as their drives know that they are needed.
func spread(numbers [2]int, needed ...int) *survey {
	s, first := two()
	second := format.Table{Deployment: "d", Set: []string{"x", "y"}, Number: numbers[1], Of: 2}
	first.Number, first.Of = numbers[0], 2
	r := format.Roster{Epoch: 3, Needed: make(map[int]string), Next: 5}
	for _, n := range needed {
		r.Needed[n] = fmt.Sprint("pool ", n)
	}
	for i := range 4 {
		s.has(i, first, i).Roster = &r
	}
	for i := range 2 {
		s.has(4+i, second, i).Roster = &r
	}
	return s
}

func TestSetsAreKnownByWhatTheirDrivesAreOfInAnyOrder(t *testing.T) {
	for _, numbers := range [][2]int{{0, 1}, {1, 0}, {4, 2}} {
		s := spread(numbers, numbers[0])
		p := s.mustPlan(t)
		if p.step != ready || p.sets[0].table.Number != numbers[0] || p.sets[1].table.Number != numbers[1] || !slices.Equal(p.sets[1].slots, []int{4, 5}) {
			t.Errorf("%v: %+v", numbers, p)
		}
		s.found[4], s.found[5] = nil, nil // the numbers of those that are not heard of are not guessed
		if p := s.mustPlan(t); p.step != wait || !strings.Contains(p.why, "node1:9000/e") {
			t.Errorf("%v, without the second set: %+v", numbers, p)
		}
	}
}

func TestASetThatHoldsSomethingHasToBeNamed(t *testing.T) {
	s := spread([2]int{1, 2}, 0, 1)
	if _, err := s.plan(); !errors.Is(err, format.ErrMissing) || !strings.Contains(err.Error(), "pool 0") {
		t.Errorf("the set 0 holds something: %v", err)
	}
	s.found[0], s.found[1] = nil, nil
	if p := s.mustPlan(t); p.step != wait {
		t.Errorf("what half of the drives know may be old: %+v", p)
	}
	s = spread([2]int{1, 2}, 1, 2)
	if p := s.mustPlan(t); p.step != ready {
		t.Errorf("the set 0 holds nothing: %+v", p)
	}
	later := format.Roster{Epoch: 4, Needed: map[int]string{0: "", 1: ""}}
	s.found[3].Identity.Roster = &later
	if _, err := s.plan(); !errors.Is(err, format.ErrMissing) {
		t.Errorf("one drive knows that it does by now: %v", err)
	}
}

func TestASetThatIsAddedHasANumberThatNoOtherHad(t *testing.T) {
	s := spread([2]int{1, 2}, 1)
	for i := 4; i < 6; i++ {
		s.found[i] = &format.Found{Path: "/e", Blank: true}
	}
	p := s.mustPlan(t)
	if p.step != form || p.sets[1].table.Number != 5 || p.sets[1].table.Of != 6 || p.roster.Next != 6 || p.roster.Needs(5) {
		t.Errorf("%+v", p)
	}
	s.has(4, p.sets[1].table, 0).Forming = true
	if again := s.mustPlan(t); again.step != form || again.sets[1].table.Number != 5 {
		t.Errorf("when that breaks off, %+v", again)
	}
	s.found[0], s.found[1] = nil, nil
	if p := s.mustPlan(t); p.step != wait {
		t.Errorf("the numbers that were given are not known for certain: %+v", p)
	}
}

func TestABlankDirectoryIsOnlyADriveWhereOneWasLikeIt(t *testing.T) {
	for name, tt := range map[string]struct {
		onRoot, mounted           bool // the drives of the set
		blankOnRoot, blankMounted bool
		want                      bool
	}{
		"a disk among disks":                      {mounted: true, blankMounted: true, want: true},
		"where a disk was not mounted":            {mounted: true, blankOnRoot: true},
		"the same below another mount":            {mounted: true},
		"a directory among directories":           {onRoot: true, blankOnRoot: true, want: true},
		"a directory on a disk among such":        {want: true},
		"where the disk of such was not mounted":  {blankOnRoot: true},
		"a disk among directories of root device": {onRoot: true, blankMounted: true, want: true},
	} {
		s, table := formed()
		for i := range 4 {
			id := s.has(i, table, i)
			id.OnRoot, id.Mounted = tt.onRoot, tt.mounted
		}
		if got := s.suits(&format.Found{Blank: true, OnRoot: tt.blankOnRoot, Mounted: tt.blankMounted}); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestADriveThatIsAnOlderCopyOfItselfIsNotUsed(t *testing.T) {
	older := func(n ...int) (*survey, string) {
		s, table := formed()
		for i := range 4 {
			id := s.has(i, table, i)
			id.Start, id.Starts = 5, map[string]uint32{"a": 5, "b": 5, "c": 5, "e": 5}
		}
		for _, i := range n {
			s.found[i].Identity.Start = 4
		}
		s.leaveOlder()
		used := ""
		for i, f := range s.found {
			switch {
			case f.Identity != nil:
				used += fmt.Sprint(i)
			case f.Blank || f.Why != format.ErrOlder.Error():
				t.Errorf("drive %d is %+v", i, f)
			}
		}
		return s, used
	}
	for _, tt := range []struct {
		older []int
		used  string
	}{{nil, "0123"}, {[]int{2}, "013"}, {[]int{0, 1}, "0123"}, {[]int{1, 2, 3}, "0123"}} { // of most they are all there is
		if _, used := older(tt.older...); used != tt.used {
			t.Errorf("of older copies %v used are %s", tt.older, used)
		}
	}
	s, _ := older(2)
	if p := s.mustPlan(t); p.step != ready || !slices.Equal(p.sets[0].slots, []int{0, 1, -1, 3}) {
		t.Errorf("%+v", p)
	}
	s, _ = older(2)
	s.found[0], s.found[2] = nil, &format.Found{Path: "/d", Identity: &format.Identity{Deployment: "d", Drive: "c", Set: []string{"a", "b", "c", "e"}, Start: 4}}
	if s.leaveOlder(); s.found[2].Identity != nil {
		t.Error("it is used once another drive is away")
	}
	s, table := formed()
	for i := range 4 {
		s.has(i, table, i).Starts = map[string]uint32{"c": 7}
	}
	s.found[2].Open, s.found[2].Identity.Start = true, 6 // it was found to be good when it was opened
	if s.leaveOlder(); s.found[2].Identity == nil {
		t.Error("a drive that is used is taken for an older copy")
	}
}
