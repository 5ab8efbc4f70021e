// Package format knows the drives of a node: which deployment, set and slot each is of, and
// how they are formed into a set. A drive's identity decides its slot, not its path.
package format

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/uuid"
)

// The errors of Open.
var (
	// ErrInUse says that another process has a drive.
	ErrInUse = errors.New("another process serves it")
	// ErrNotEmpty says that what is to become a drive holds something.
	ErrNotEmpty = errors.New("it is not empty")
	// ErrOther says that drives do not belong together.
	ErrOther = errors.New("the drives are not those of one set")
	// ErrTooFew says that too few drives of a set are there.
	ErrTooFew = errors.New("too few drives are there")
	// ErrIncomplete says that a set cannot be formed without all of its drives.
	ErrIncomplete = errors.New("a set is formed of all its drives, and some are not there")
)

// Set is the drives of a set, opened.
type Set struct {
	Drives     []erasure.Drive // by slot
	Deployment string
	Boot       uint32 // later than that of any start before
	Online     int
	Formed     bool // it was formed just now
	places     []*place
	blank      []*replacement
}

// Close gives the drives back, so that another process may have them. They are the Store's
// to close, before.
func (s *Set) Close() error {
	var errs []error
	for _, p := range s.places {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Healed takes note that drives which stand for others have all that those had: from now
// on they vouch for what they lack.
func (s *Set) Healed(drives []string) error {
	var errs []error
	for _, r := range s.blank {
		if !r.whole.Load() && slices.Contains(drives, r.place.id.Drive) {
			errs = append(errs, r.healed())
		}
	}
	return errors.Join(errs...)
}

// State is how a drive of the set stands.
type State struct {
	Path   string // where it is, or should be
	Drive  string // its ID; empty if that is not known
	Slot   int    // its place in the set; -1: it has none, or that is not known
	Online bool
	Blank  bool // it stands for another one, and does not have all of that yet
}

// States returns how the drives stand, as they were named.
func (s *Set) States() []State {
	var all []State
	for _, p := range s.places {
		st := State{Path: p.path, Slot: -1, Online: p.opened}
		if p.id != nil {
			st.Drive, st.Slot = p.id.Drive, slices.Index(p.id.Set, p.id.Drive)
		}
		st.Blank = slices.ContainsFunc(s.blank, func(r *replacement) bool { return r.place == p && !r.whole.Load() })
		all = append(all, st)
	}
	return all
}

// Blank returns the IDs of drives that stand for others and do not have all yet, by slot.
func (s *Set) Blank() map[int]string {
	blank := make(map[int]string)
	for _, r := range s.blank {
		if !r.whole.Load() {
			blank[slices.Index(r.place.id.Set, r.place.id.Drive)] = r.place.id.Drive
		}
	}
	return blank
}

// Open opens the drives in some directories, and forms them into a set if all of them are
// blank. As long as a majority is there, others may be missing.
func Open(ctx context.Context, paths []string, log *slog.Logger) (_ *Set, err error) {
	places := make([]*place, len(paths))
	defer func() {
		if err != nil {
			for _, p := range places {
				err = errors.Join(err, p.close())
			}
		}
	}()
	for i, path := range paths {
		if places[i] = look(path); places[i].err != nil && !missing(places[i].err) {
			return nil, fmt.Errorf("%s: %w", path, places[i].err)
		}
	}
	formed, err := form(places)
	if err != nil {
		return nil, err
	}
	slots, err := arrange(places)
	if err != nil {
		return nil, err
	}
	replaced := replace(slots, places)
	s := &Set{Formed: formed, Deployment: deployment(places), places: places}
	if s.Boot, err = boot(slots); err != nil {
		return nil, err
	}
	for i, p := range slots {
		if p == nil {
			s.Drives = append(s.Drives, Absent{})
			continue
		}
		d, err := p.open(log)
		if err != nil {
			log.Error("a drive cannot be opened", "path", p.path, "slot", i, "error", err)
			s.Drives = append(s.Drives, Absent{})
			continue
		}
		s.Online++
		p.opened = true
		if p.id.Blank {
			r := &replacement{Drive: d, place: p}
			s.blank, s.Drives = append(s.blank, r), append(s.Drives, r)
			continue
		}
		s.Drives = append(s.Drives, d)
	}
	for _, p := range places {
		switch {
		case slices.Contains(replaced, p):
			log.Warn("a blank drive stands for one that is missing, and is given all that that one had", "path", p.path)
		case !slices.Contains(slots, p):
			log.Error("a drive is missing: nothing is stored on it", "path", p.path, "error", p.why())
		}
	}
	if s.Online-len(s.blank) < register.ReadQuorum(len(slots)) || s.Online < register.Majority(len(slots)) {
		return nil, fmt.Errorf("%w: %d of %d can be opened, %d are needed", ErrTooFew, s.Online, len(slots), register.Majority(len(slots)))
	}
	return s, ctx.Err()
}

// form makes a set of places that are all blank, and reports whether it did.
func form(places []*place) (bool, error) {
	for _, p := range places {
		if p.id != nil {
			return false, nil
		}
	}
	for _, p := range places {
		if p.err != nil {
			return false, fmt.Errorf("%w: %s: %w", ErrIncomplete, p.path, p.err)
		}
	}
	set := make([]string, len(places))
	for i := range set {
		set[i] = uuid.New()
	}
	deployment := uuid.New()
	for i, p := range places {
		p.id = &Identity{Version: identityVersion, Deployment: deployment, Drive: set[i], Set: set, OnRoot: p.onRoot}
	}
	for _, p := range places {
		if err := p.save(); err != nil {
			return false, fmt.Errorf("%s: %w", p.path, err)
		}
	}
	return true, nil
}

func deployment(places []*place) string {
	for _, p := range places {
		if p.id != nil {
			return p.id.Deployment
		}
	}
	return ""
}

// arrange returns the places by slot; nil where none is.
func arrange(places []*place) ([]*place, error) {
	var first *place
	var slots []*place
	for _, p := range places {
		if p.err != nil || p.id == nil {
			continue
		}
		if first == nil {
			first, slots = latest(places), make([]*place, len(p.id.Set))
			if len(slots) != len(places) {
				return nil, fmt.Errorf("%w: %s is of a set of %d, and %d are named", ErrOther, p.path, len(slots), len(places))
			}
		}
		slot := slices.Index(first.id.Set, p.id.Drive)
		if slot < 0 && p.id.Deployment == first.id.Deployment {
			p.err = errReplaced
			continue
		}
		switch {
		case p.id.Deployment != first.id.Deployment || slot < 0:
			return nil, fmt.Errorf("%w: %s is of another than %s", ErrOther, p.path, first.path)
		case slots[slot] != nil:
			return nil, fmt.Errorf("%w: %s and %s are the same", ErrOther, p.path, slots[slot].path)
		}
		slots[slot] = p
	}
	if slots == nil {
		return nil, ErrTooFew
	}
	return slots, nil
}

// errReplaced says that another drive has taken the place of one.
var errReplaced = errors.New("another drive has been put in its place meanwhile")

// latest returns a place whose identity is of the last start: it knows which drives the set
// is of.
func latest(places []*place) *place {
	var last *place
	for _, p := range places {
		if p.err == nil && p.id != nil && (last == nil || last.id.Boot < p.id.Boot) {
			last = p
		}
	}
	return last
}

// replace puts blank drives into free slots, and returns them. Their identities are saved
// with those of the others.
func replace(slots, places []*place) (replaced []*place) {
	set := slices.Clone(latest(places).id.Set)
	onRoot := latest(places).id.OnRoot
	for _, p := range places {
		free := slices.Index(slots, nil)
		if p.err != nil || p.id != nil || free < 0 || p.onRoot && !onRoot {
			continue
		}
		id := *latest(places).id
		id.Drive, id.Blank, id.OnRoot = uuid.New(), true, p.onRoot
		set[free], slots[free] = id.Drive, p
		p.id = &id
		replaced = append(replaced, p)
	}
	for _, p := range slots {
		if p != nil {
			p.id.Set = set
		}
	}
	return replaced
}

// boot raises the number of the start on every drive that is there. A majority has every
// one, so that a later start finds it.
func boot(slots []*place) (uint32, error) {
	var last uint32
	for _, p := range slots {
		if p != nil {
			last = max(last, p.id.Boot)
		}
	}
	saved := 0
	var errs []error
	for _, p := range slots {
		if p == nil {
			continue
		}
		p.id.Boot = last + 1
		if err := p.save(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.path, err))
			continue
		}
		saved++
	}
	if saved < register.Majority(len(slots)) {
		return 0, fmt.Errorf("%w: %d of %d can be written to, %d are needed: %w", ErrTooFew, saved, len(slots), register.Majority(len(slots)), errors.Join(errs...))
	}
	return last + 1, nil
}
