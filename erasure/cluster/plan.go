package cluster

import (
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

// survey is what is known of the drives of a set, in the order of the command line.
type survey struct {
	endpoints []Endpoint
	found     []*format.Found // nil: its node is not heard of
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
	step  step
	why   string // of wait
	table format.Table
	slots []int // by slot: the endpoint that has its drive; -1: none that is heard of
}

// errOther says that drives do not belong together.
var errOther = errors.New("the drives are not those of one set")

// plan returns what is to be done next. All nodes that know the same come to the same.
func (s *survey) plan() (plan, error) {
	table, forming, formed, err := s.table()
	if err != nil {
		return plan{}, err
	}
	if forming+formed == 0 || formed == 0 {
		return s.formation(table, forming)
	}
	if len(table.Set) != len(s.endpoints) {
		return plan{}, fmt.Errorf("%w: they are of a set of %d, and %d are named", errOther, len(table.Set), len(s.endpoints))
	}
	p := plan{step: ready, table: table, slots: s.slots(table)}
	present := 0
	for _, at := range p.slots {
		if at >= 0 {
			present++
		}
	}
	if need := register.Majority(len(p.slots)); present < need {
		p.step, p.why = wait, fmt.Sprintf("%d of %d drives, of which %d are needed", present, len(p.slots), need)
		for _, i := range s.stranded(table) {
			p.why += fmt.Sprintf("; in the place of %s is another one", s.endpoints[i])
		}
	}
	return p, nil
}

// table returns what the drives say of their set, those that know it best, and how many are
// being formed and are formed.
func (s *survey) table() (table format.Table, forming, formed int, err error) {
	first := ""
	for i, f := range s.found {
		if f == nil || f.Identity == nil {
			continue
		}
		id := f.Identity
		if first == "" {
			first, table = s.endpoints[i].String(), id.Table()
		}
		if id.Deployment != table.Deployment {
			return table, 0, 0, fmt.Errorf("%w: %s is of another than %s", errOther, s.endpoints[i], first)
		}
		if id.Epoch > table.Epoch {
			table = id.Table()
		}
		if id.Forming {
			forming++
		} else {
			formed++
		}
	}
	return table, forming, formed, nil
}

// formation is the plan while no drive is known to be formed: that takes all of them.
func (s *survey) formation(table format.Table, forming int) (plan, error) {
	var missing []string
	for i, f := range s.found {
		switch {
		case f == nil:
			missing = append(missing, s.endpoints[i].String())
		case f.Why != "":
			missing = append(missing, fmt.Sprintf("%s: %s", s.endpoints[i], f.Why))
		}
	}
	switch {
	case len(missing) > 0:
		return plan{why: "a set is formed of all its drives; missing are " + strings.Join(missing, ", ")}, nil
	case forming == len(s.found):
		return plan{step: finish, table: table}, nil
	case forming == 0:
		table = format.Table{Deployment: uuid.New()}
		for range s.endpoints {
			table.Set = append(table.Set, uuid.New())
		}
	}
	return plan{step: form, table: table}, nil
}

// slots returns where the drive of each slot is. One that is found twice is where it was found
// first.
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
func (s *survey) stranded(table format.Table) (all []int) {
	for i, f := range s.found {
		if f != nil && f.Identity != nil && !slices.Contains(table.Set, f.Identity.Drive) {
			all = append(all, i)
		}
	}
	return all
}

// free returns which slot a blank drive at an endpoint can take: that of the endpoint, if its
// drive is missing, or else any, once all nodes are heard of and it is certain that it is
// missing. -1 says that there is none.
func (s *survey) free(p plan, endpoint int) int {
	if p.slots[endpoint] < 0 {
		return endpoint
	}
	if slices.Contains(s.found, nil) {
		return -1
	}
	return slices.Index(p.slots, -1)
}

// onRoot reports whether the set has drives on root devices: only then a blank directory there
// can be a drive, and is not one whose disk is not mounted.
func (s *survey) onRoot() bool {
	return slices.ContainsFunc(s.found, func(f *format.Found) bool { return f != nil && f.Identity != nil && f.Identity.OnRoot })
}
