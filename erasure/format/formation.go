package format

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shoal-storage/shoal/internal/uuid"
)

// formAll forms the sets of this process that are not, and refuses drives that are not of the
// set that they are named for, or are not all that hold something.
func formAll(all []*Set) error {
	known, err := belong(all)
	if err != nil {
		return err
	}
	roster, named := Roster{}, make(map[int]bool)
	for i, s := range all {
		if known[i].table == nil {
			continue
		}
		named[known[i].table.Number] = true
		told := roster.Merge(rosterOf(s.local.places))
		if roster.Next = told.Next; known[i].formed {
			roster = told
		}
	}
	switch number, pool, missing := roster.Missing(named); {
	case !missing:
	case len(named) == len(all):
		return fmt.Errorf("%w: set %d %s", ErrMissing, number+1, pool)
	default: // blank drives are not taken for it
		return fmt.Errorf("%w: none of set %d %s, which was formed before", ErrTooFew, number+1, pool)
	}
	if err := form(all, known, roster); err != nil {
		return err
	}
	for _, s := range all {
		if err := s.local.Formed(); err != nil {
			return err
		}
		id := s.local.anyIdentity()
		s.Deployment, s.Number, s.Of = id.Deployment, id.Number, max(1, id.Of)
		s.Fresh = !roster.Needs(s.Number) && len(roster.Needed) > 0
	}
	return nil
}

// form forms the sets that are not.
func form(all []*Set, known []knowledge, roster Roster) error {
	deployment, before := "", []*Set(nil)
	next := roster.Next
	for i, s := range all {
		if t := known[i].table; t != nil {
			deployment = t.Deployment
		} else {
			next++
		}
		if known[i].formed {
			before = append(before, s)
			continue
		}
		if err := s.local.complete(); err != nil {
			return err
		}
	}
	if len(before) == len(all) {
		return nil
	}
	told := roster.Merge(Roster{Epoch: roster.Epoch, Next: next})
	if len(before) > 0 { // the numbers are not to be given again
		if err := Agree(before, told); err != nil {
			return err
		}
	}
	number, given := roster.Next, &told
	if len(before) == 0 { // those that are formed first are needed
		number, next, given = 0, len(all), nil
	}
	deployment = cmp.Or(deployment, uuid.New())
	for i, s := range all {
		if known[i].formed {
			continue
		}
		t := Table{Deployment: deployment, Number: number, Of: next}
		if known[i].table == nil || len(before) == 0 {
			number++
		}
		if err := s.local.formSet(known[i].table, t, given); err != nil {
			return err
		}
		s.Formed = true
	}
	return nil
}

// knowledge is what the drives of a set say of it.
type knowledge struct {
	table  *Table // nil: none has an identity
	formed bool   // one says that all have
}

// belong returns what the drives say of their sets, and an error if they do not belong there.
func belong(all []*Set) ([]knowledge, error) {
	known := make([]knowledge, len(all))
	drives, numbers := make(map[string]*place), make(map[int]int)
	var first *place
	for i, s := range all {
		for _, p := range s.local.places {
			if p.err != nil || p.id == nil {
				continue
			}
			if first == nil {
				first = p
			}
			other := drives[p.id.Drive]
			of, taken := numbers[p.id.Number]
			switch drives[p.id.Drive] = p; {
			case p.id.Deployment != first.id.Deployment:
				return nil, fmt.Errorf("%w: %s is of another than %s", ErrOther, p.path, first.path)
			case known[i].table != nil && p.id.Number != known[i].table.Number:
				return nil, fmt.Errorf("%w: %s is of set %d, and named among those of set %d", ErrOther, p.path, p.id.Number+1, known[i].table.Number+1)
			case taken && of != i:
				return nil, fmt.Errorf("%w: %s is of set %d, of which others are named elsewhere", ErrOther, p.path, p.id.Number+1)
			case len(p.id.Set) != len(s.local.places):
				return nil, fmt.Errorf("%w: %s is of a set of %d, and %d are named", ErrOther, p.path, len(p.id.Set), len(s.local.places))
			case other != nil:
				return nil, fmt.Errorf("%w: %s and %s are the same", ErrOther, p.path, other.path)
			}
			if known[i].table == nil {
				t := p.id.Table()
				known[i].table, numbers[t.Number] = &t, i
			}
			known[i].formed = known[i].formed || !p.id.Forming
		}
	}
	return known, nil
}

// complete returns an error if one of the places cannot become a drive.
func (l *Local) complete() error {
	for _, p := range l.places {
		if p.err != nil {
			return fmt.Errorf("%w: %s: %w", ErrIncomplete, p.path, p.err)
		}
	}
	return nil
}

// formSet gives the places identities: those that a formation which broke off has begun to
// give, or new ones.
func (l *Local) formSet(begun *Table, t Table, told *Roster) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begun != nil {
		t = *begun
	} else {
		for range l.places {
			t.Set = append(t.Set, uuid.New())
		}
	}
	for i, p := range l.places {
		if p.id != nil {
			continue
		}
		free := i
		if has := l.holder(t.Set[i]); has != nil { // the places are named in another order
			free = slices.IndexFunc(t.Set, func(drive string) bool { return l.holder(drive) == nil })
		}
		id := t.Identity(free)
		id.Forming, id.Roster = true, told
		if err := p.form(id); err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
	}
	return nil
}

// holder returns the place of a drive, nil if there is none.
func (l *Local) holder(drive string) *place {
	i := slices.IndexFunc(l.places, func(p *place) bool { return p.id != nil && p.id.Drive == drive })
	if i < 0 {
		return nil
	}
	return l.places[i]
}

func (l *Local) anyIdentity() *Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.places, func(p *place) bool { return p.err == nil && p.id != nil })
	if i < 0 {
		return &Identity{}
	}
	return l.places[i].id
}
