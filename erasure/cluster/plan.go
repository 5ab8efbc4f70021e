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
	step step
	why  string // of wait
	sets []setPlan
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
	if p.forms() {
		return s.formation(p), nil
	}
	p.step = ready
	for i := range p.sets {
		set := &p.sets[i]
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
	for _, i := range s.stranded(p) {
		p.why += fmt.Sprintf("; in the place of %s is another one", s.endpoints[i])
	}
	p.why = strings.TrimPrefix(p.why, "; ")
	return p, nil
}

// ofSet names a set, if there are several.
func (s *survey) ofSet(i int) string {
	if len(s.sizes) == 1 {
		return ""
	}
	return fmt.Sprintf(" of set %d", i+1)
}

// tables returns what the drives say of their sets, those that know it best.
func (s *survey) tables() (p plan, err error) {
	p.sets = make([]setPlan, len(s.sizes))
	first := ""
	deployment := ""
	for i, f := range s.found {
		if f == nil || f.Identity == nil {
			continue
		}
		id := f.Identity
		if first == "" {
			first, deployment = s.endpoints[i].String(), id.Deployment
		}
		switch {
		case id.Deployment != deployment:
			return p, fmt.Errorf("%w: %s is of another than %s", errOther, s.endpoints[i], first)
		case id.Number >= len(p.sets):
			return p, fmt.Errorf("%w: %s is of set %d, and drives of %d are named", errOther, s.endpoints[i], id.Number+1, len(p.sets))
		}
		set := &p.sets[id.Number]
		if set.forming+set.formed == 0 || id.Epoch > set.table.Epoch {
			set.table = id.Table()
		}
		if id.Forming {
			set.forming++
		} else {
			set.formed++
		}
	}
	for i := range p.sets { // those of which no drive is known
		if p.sets[i].table.Set == nil {
			p.sets[i].table = format.Table{Deployment: deployment, Number: i, Of: len(p.sets)}
		}
	}
	return p, nil
}

// forms reports whether there is a set of which no drive is known to be formed.
func (p *plan) forms() bool {
	return slices.ContainsFunc(p.sets, func(s setPlan) bool { return s.formed == 0 })
}

// formation is the plan while there is a set of which no drive is known to be formed: that
// takes all of its drives.
func (s *survey) formation(p plan) plan {
	if lost := p.lost(); lost >= 0 {
		p.why = fmt.Sprintf("no drive of set %d is there, which was formed before", lost+1)
		return p
	}
	if missing := s.missing(p); len(missing) > 0 {
		p.why = "a set is formed of all its drives; missing are " + strings.Join(missing, ", ")
		return p
	}
	p.step = finish
	deployment := cmp.Or(p.sets[0].table.Deployment, uuid.New())
	for i := range p.sets {
		set := &p.sets[i]
		if set.formed > 0 || set.forming == s.sizes[i] {
			continue
		}
		p.step = form
		if set.forming == 0 {
			set.table.Deployment = deployment
			for range s.sizes[i] {
				set.table.Set = append(set.table.Set, uuid.New())
			}
		}
	}
	return p
}

// lost returns a set of which no drive is known, though it was there when others were formed:
// blank drives must not be taken for it. -1 says that there is none.
func (p *plan) lost() int {
	of := 0
	for i := range p.sets {
		if p.sets[i].formed > 0 {
			of = max(of, 1, p.sets[i].table.Of)
		}
	}
	return slices.IndexFunc(p.sets[:min(of, len(p.sets))], func(set setPlan) bool { return set.forming+set.formed == 0 })
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
		if f != nil && f.Identity != nil && !slices.Contains(p.sets[f.Identity.Number].table.Set, f.Identity.Drive) {
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
