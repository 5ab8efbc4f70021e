package format

import (
	"fmt"
	"slices"

	"github.com/shoal-storage/shoal/internal/uuid"
)

// formAll forms the sets of this process that are not, and refuses drives that are not of the
// set that they are named for.
func formAll(all []*Set) error {
	known, err := belong(all)
	if err != nil {
		return err
	}
	deployment, of := "", 0
	for i := range all {
		if t := known[i].table; t != nil {
			deployment = t.Deployment
			if known[i].formed {
				of = max(of, t.Of, 1)
			}
		}
	}
	if deployment == "" {
		deployment = uuid.New()
	}
	for i, s := range all {
		if known[i].formed {
			continue
		}
		if known[i].table == nil && i < of {
			return fmt.Errorf("%w: none of set %d, which was formed before", ErrTooFew, i+1)
		}
		if err := s.local.complete(); err != nil {
			return err
		}
	}
	for i, s := range all {
		if !known[i].formed {
			if err := s.local.formSet(known[i].table, Table{Deployment: deployment, Number: i, Of: len(all)}); err != nil {
				return err
			}
			s.Formed = true
		}
	}
	for _, s := range all {
		if err := s.local.Formed(); err != nil {
			return err
		}
		id := s.local.anyIdentity()
		s.Deployment, s.Of = id.Deployment, max(1, id.Of)
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
	drives := make(map[string]*place)
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
			switch drives[p.id.Drive] = p; {
			case p.id.Deployment != first.id.Deployment:
				return nil, fmt.Errorf("%w: %s is of another than %s", ErrOther, p.path, first.path)
			case p.id.Number >= len(all):
				return nil, fmt.Errorf("%w: %s is of set %d, and drives of %d are named", ErrOther, p.path, p.id.Number+1, len(all))
			case p.id.Number != i:
				return nil, fmt.Errorf("%w: %s is of set %d, and named for set %d", ErrOther, p.path, p.id.Number+1, i+1)
			case len(p.id.Set) != len(s.local.places):
				return nil, fmt.Errorf("%w: %s is of a set of %d, and %d are named", ErrOther, p.path, len(p.id.Set), len(s.local.places))
			case other != nil:
				return nil, fmt.Errorf("%w: %s and %s are the same", ErrOther, p.path, other.path)
			}
			if known[i].table == nil {
				t := p.id.Table()
				known[i].table = &t
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
func (l *Local) formSet(begun *Table, t Table) error {
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
		id.Forming = true
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
