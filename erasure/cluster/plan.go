package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/uuid"
)

// Endpoint is a drive as it is named in the command lines of all nodes.
type Endpoint struct {
	Scheme string // http or https: how contents go there
	Node   string // host:port where the node serves S3
	Path   string // of the drive on it
}

func (e Endpoint) String() string { return e.Scheme + "://" + e.Node + e.Path }

// survey is what is known of the drives of the sets, in their order.
type survey struct {
	sizes     []int // how many endpoints are of each set
	numbers   []int // of each set, if that is certain; nil: the drives say it
	endpoints []Endpoint
	found     []*format.Found // nil: its node is not heard of
}

// first returns the first endpoint of a set.
func (s *survey) first(set int) (at int) {
	for _, n := range s.sizes[:set] {
		at += n
	}
	return at
}

// setOf returns the set that an endpoint is of.
func (s *survey) setOf(endpoint int) (set int) {
	for endpoint >= s.first(set)+s.sizes[set] {
		set++
	}
	return set
}

// step is what is to be done next.
type step byte

const (
	wait   step = iota // for more nodes or drives
	form               // give the drives identities
	finish             // tell them that all have theirs
	ready              // the drives can be used
)

// plan is a step, and what it is about.
type plan struct {
	step    step
	why     string // of wait
	sets    []setPlan
	numbers []int         // of each set; -1: it has none, or that is not known
	roster  format.Roster // what drives know of the sets that hold something
}

// setPlan is what is known of one set.
type setPlan struct {
	table   format.Table
	slots   []int // by slot: the endpoint that has its drive; -1: none that is heard of
	forming int   // drives that are known to have an identity, and not that all have theirs
	formed  int   // drives that know that
}

// errOther says that drives do not belong together.
var errOther = errors.New("the drives are not those of one set")

// plan returns what is to be done next. All nodes that know the same come to the same. While
// a set is not formed none is used: whoever adds one starts all nodes anew.
func (s *survey) plan() (plan, error) {
	p, err := s.tables()
	if err != nil {
		return plan{}, err
	}
	p.step = ready
	for i := range p.sets {
		set := &p.sets[i]
		if set.formed == 0 {
			continue
		}
		if len(set.table.Set) != s.sizes[i] {
			return plan{}, fmt.Errorf("%w: they are of a set of %d, and %d are named", errOther, len(set.table.Set), s.sizes[i])
		}
		set.slots = s.slots(set.table)
		present := 0
		for _, at := range set.slots {
			if at >= 0 {
				present++
			}
		}
		if need := register.Majority(len(set.slots)); present < need {
			p.step = wait
			p.why += fmt.Sprintf("; %d of %d drives%s, of which %d are needed", present, len(set.slots), s.ofSet(i), need)
		}
	}
	if p.forms() {
		return s.formation(p), nil
	}
	if number, pool, missing := p.missing(); missing && p.step == ready {
		return plan{}, fmt.Errorf("%w: set %d %s", format.ErrMissing, number+1, pool)
	}
	for _, i := range s.stranded(p) {
		p.why += fmt.Sprintf("; in the place of %s is another one", s.endpoints[i])
	}
	p.why = strings.TrimPrefix(p.why, "; ")
	return p, nil
}

// missing returns a set that holds something, by its number, and is not named, and its pool.
func (p *plan) missing() (number int, pool string, ok bool) {
	named := make(map[int]bool)
	for i := range p.sets {
		named[p.sets[i].table.Number] = p.sets[i].formed+p.sets[i].forming > 0
	}
	return p.roster.Missing(named)
}

// ofSet names a set, if there are several.
func (s *survey) ofSet(i int) string {
	if len(s.sizes) == 1 {
		return ""
	}
	return fmt.Sprintf(" of set %d", i+1)
}

// identify returns the number of each set that is named: that which most of the drives have that are
// where it is named, if these are not more where another one is.
func (s *survey) identify() []int {
	type vote struct{ set, number, drives int }
	var votes []vote
	for i, f := range s.found {
		if f == nil || f.Identity == nil {
			continue
		}
		set := s.setOf(i)
		at := slices.IndexFunc(votes, func(v vote) bool { return v.set == set && v.number == f.Identity.Number })
		if at < 0 {
			votes, at = append(votes, vote{set, f.Identity.Number, 0}), len(votes)
		}
		votes[at].drives++
	}
	slices.SortFunc(votes, func(a, b vote) int {
		return cmp.Or(b.drives-a.drives, a.set-b.set, a.number-b.number)
	})
	numbers := slices.Repeat([]int{-1}, len(s.sizes))
	for _, v := range votes {
		if numbers[v.set] < 0 && !slices.Contains(numbers, v.number) {
			numbers[v.set] = v.number
		}
	}
	return numbers
}

// position returns which of the sets has a number; -1: none.
func (p *plan) position(number int) int { return slices.Index(p.numbers, number) }

// tables returns what the drives say of their sets, those that know it best.
func (s *survey) tables() (p plan, err error) {
	if p.numbers = s.numbers; p.numbers == nil {
		p.numbers = s.identify()
	}
	p.sets = make([]setPlan, len(s.sizes))
	first, deployment := "", ""
	for i, f := range s.found {
		if f == nil || f.Identity == nil {
			continue
		}
		id := f.Identity
		if first == "" {
			first, deployment = s.endpoints[i].String(), id.Deployment
		}
		at := p.position(id.Number)
		switch {
		case id.Deployment != deployment:
			return p, fmt.Errorf("%w: %s is of another than %s", errOther, s.endpoints[i], first)
		case at < 0 && slices.Contains(p.numbers, -1): // it is not known yet which set is of that number
			continue
		case at < 0:
			return p, fmt.Errorf("%w: %s is of set %d, of which the others are not named", errOther, s.endpoints[i], id.Number+1)
		}
		p.sets[at].add(id)
		told := p.roster.Merge(id.Known())
		if p.roster.Next = told.Next; !id.Forming {
			p.roster = told
		}
	}
	for i := range p.sets { // those of which no drive is known
		if p.sets[i].table.Set == nil {
			p.sets[i].table = format.Table{Deployment: deployment, Number: -1}
		}
	}
	return p, nil
}

// add takes what a drive says of its set.
func (set *setPlan) add(id *format.Identity) {
	if set.forming+set.formed == 0 || id.Epoch > set.table.Epoch {
		set.table = id.Table()
	}
	if id.Forming {
		set.forming++
	} else {
		set.formed++
	}
}

// forms reports whether there is a set of which no drive is known to be formed.
func (p *plan) forms() bool {
	return slices.ContainsFunc(p.sets, func(s setPlan) bool { return s.formed == 0 })
}

// formation is the plan while there is a set of which no drive is known to be formed: that
// takes all of its drives, and enough of those of the others.
func (s *survey) formation(p plan) plan {
	if missing := s.missing(p); len(missing) > 0 {
		p.step, p.why = wait, "a set is formed of all its drives; missing are "+strings.Join(missing, ", ")
		return p
	}
	if number, pool, lost := p.missing(); lost {
		p.step, p.why = wait, strings.TrimSpace(fmt.Sprintf("no drive of set %d is there, which was formed before and holds something %s", number+1, pool))
		return p
	}
	if p.step == wait {
		p.why = strings.TrimPrefix(p.why, "; ")
		return p
	}
	p.step = finish
	next, first := p.roster.Next, len(p.roster.Needed) == 0
	deployment := ""
	for i := range p.sets {
		deployment = cmp.Or(deployment, p.sets[i].table.Deployment)
	}
	deployment = cmp.Or(deployment, uuid.New())
	for i := range p.sets {
		set := &p.sets[i]
		if set.formed > 0 || set.forming == s.sizes[i] {
			continue
		}
		p.step = form
		if set.forming > 0 {
			continue
		}
		set.table = format.Table{Deployment: deployment, Number: next}
		if next++; first { // they are numbered as they are named
			set.table.Number = i
		}
		for range s.sizes[i] {
			set.table.Set = append(set.table.Set, uuid.New())
		}
	}
	if first {
		next = len(p.sets)
	}
	for i := range p.sets {
		if set := &p.sets[i]; set.forming+set.formed == 0 {
			set.table.Of = next
		}
	}
	p.roster.Next = next
	return p
}

// missing names the endpoints of sets that are not formed of which no drive can be.
func (s *survey) missing(p plan) (missing []string) {
	for i, f := range s.found {
		switch {
		case p.sets[s.setOf(i)].formed > 0:
		case f == nil:
			missing = append(missing, s.endpoints[i].String())
		case f.Why != "":
			missing = append(missing, fmt.Sprintf("%s: %s", s.endpoints[i], f.Why))
		}
	}
	return missing
}

// slots returns where the drive of each slot of a set is. One that is found twice is where it
// was found first.
func (s *survey) slots(table format.Table) []int {
	slots := make([]int, len(table.Set))
	for slot, drive := range table.Set {
		slots[slot] = slices.IndexFunc(s.found, func(f *format.Found) bool {
			return f != nil && f.Identity != nil && f.Identity.Drive == drive
		})
	}
	return slots
}

// stranded returns the endpoints that have a drive which another one stands for by now.
func (s *survey) stranded(p plan) (all []int) {
	for i, f := range s.found {
		if f == nil || f.Identity == nil {
			continue
		}
		if at := p.position(f.Identity.Number); at >= 0 && !slices.Contains(p.sets[at].table.Set, f.Identity.Drive) {
			all = append(all, i)
		}
	}
	return all
}

// free returns which slot of its set a blank drive at an endpoint can take: that of the
// endpoint, if its drive is missing, or else any, once all nodes are heard of and it is certain
// that it is missing. -1 says that there is none.
func (s *survey) free(p plan, endpoint int) int {
	set := s.setOf(endpoint)
	slots := p.sets[set].slots
	if own := endpoint - s.first(set); slots[own] < 0 {
		return own
	}
	if slices.Contains(s.found, nil) {
		return -1
	}
	return slices.Index(slots, -1)
}

// identities returns those of the drives that were found, all or only of those that are open.
func (s *survey) identities(open bool) (all []*format.Identity) {
	for _, f := range s.found {
		if f != nil && f.Identity != nil && (f.Open || !open) {
			all = append(all, f.Identity)
		}
	}
	return all
}

// leaveOlder has drives that are older copies of themselves be ones that cannot be read.
func (s *survey) leaveOlder() {
	all, older := s.identities(false), make(map[string][]int) // by set: the endpoints
	for i, f := range s.found {
		if f != nil && f.Identity != nil && !f.Open && f.Identity.Older(all) {
			set := strings.Join(f.Identity.Set, " ")
			older[set] = append(older[set], i)
		}
	}
	for _, endpoints := range older {
		if len(endpoints) > format.MostOlder(len(s.found[endpoints[0]].Identity.Set)) {
			continue
		}
		for _, i := range endpoints {
			left := *s.found[i]
			left.Identity, left.Why = nil, format.ErrOlder.Error()
			s.found[i] = &left
		}
	}
}

// suits reports whether a blank directory can be a drive of the set, and is not one whose disk
// is not mounted: there are drives on root devices, or in directories below the root of
// their file system.
func (s *survey) suits(blank *format.Found) bool {
	onRoot, below := false, false
	for _, f := range s.found {
		if f != nil && f.Identity != nil {
			onRoot, below = onRoot || f.Identity.OnRoot, below || !f.Identity.Mounted
		}
	}
	return (!blank.OnRoot || onRoot) && (blank.Mounted || below)
}
