// Package format knows the drives of a node: which deployment, set and slot each is of, and
// how they are formed into a set. A drive's identity decides its slot, not its path.
package format

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

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
	// ErrMissing says that drives are not named which hold something.
	ErrMissing = errors.New("drives are not named that hold something")
	// ErrIncomplete says that a set cannot be formed without all of its drives.
	ErrIncomplete = errors.New("a set is formed of all its drives, and some are not there")
)

// Set is the drives of a set, opened.
type Set struct {
	Drives     []erasure.Drive // by slot; one that is not there fails at once
	Deployment string
	Number     int    // no other set of the deployment had it or will have it
	Fresh      bool   // it held nothing that is needed before this start
	Of         int    // how many numbers were given when it was formed
	Boot       uint32 // of this start: later than that of any before
	Formed     bool   // it was formed just now
	local      *Local
	slots      []atomic.Pointer[Opened]
	joined     atomic.Int64
	noted      []State // as it was when it was looked at last
	told       string  // what was the matter then
}

// Close closes the drives, so that another process may have them. The Store is closed
// before, and nobody looks any more.
func (s *Set) Close() error {
	var errs []error
	for i := range s.slots {
		if o := s.slots[i].Load(); o != nil {
			errs = append(errs, erasure.Guard(o).Close())
		}
	}
	return errors.Join(append(errs, s.local.Close())...)
}

// drive returns the drive that is in a slot.
func (s *Set) drive(slot int) erasure.Drive {
	if o := s.slots[slot].Load(); o != nil {
		return o
	}
	return Absent{}
}

// Healed takes note that drives which stand for others have all that those had: from now
// on they vouch for what they lack.
func (s *Set) Healed(drives []string) error {
	var errs []error
	for i := range s.slots {
		if o := s.slots[i].Load(); o != nil && slices.Contains(drives, o.id) {
			errs = append(errs, o.Healed())
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
	Room   Room
}

// States returns how the drives stand, as they were named.
func (s *Set) States() []State {
	var all []State
	for _, f := range s.local.Found() {
		st := State{Path: f.Path, Slot: -1, Online: f.Open, Room: f.Room}
		if id := f.Identity; id != nil {
			st.Drive, st.Slot, st.Blank = id.Drive, slices.Index(id.Set, id.Drive), f.Open && id.Blank
		}
		all = append(all, st)
	}
	return all
}

// Online returns how many drives can be used.
func (s *Set) Online() (n int) {
	for _, st := range s.States() {
		if st.Online {
			n++
		}
	}
	return n
}

// Blank returns the IDs of drives that stand for others and do not have all yet, by slot.
func (s *Set) Blank() map[int]string {
	blank := make(map[int]string)
	for _, st := range s.States() {
		if st.Blank {
			blank[st.Slot] = st.Drive
		}
	}
	return blank
}

// Away returns how many drives cannot be used.
func (s *Set) Away() (n int) {
	for i := range s.slots {
		if o := s.slots[i].Load(); o == nil || o.Lost() {
			n++
		}
	}
	return n
}

// Joined returns how often a drive has come since OpenAll.
func (s *Set) Joined() int64 { return s.joined.Load() }

// OpenAll opens the drives of several sets, in their order, each in some directories. Sets whose
// drives are all blank are formed together, and before that none is used. As long as a majority
// of the drives of a set is there, others may be missing.
func OpenAll(ctx context.Context, sets [][]string, log *slog.Logger) (all []*Set, err error) {
	defer func() {
		if err != nil {
			for _, s := range all {
				err = errors.Join(err, s.Close())
			}
			all = nil
		}
	}()
	for _, paths := range sets {
		local, err := Look(ctx, paths, log)
		if err != nil {
			return all, err
		}
		all = append(all, &Set{local: local, slots: make([]atomic.Pointer[Opened], len(paths))})
	}
	if err := ctx.Err(); err != nil {
		return all, err // drives that were not waited for are not missing
	}
	if err := formAll(all); err != nil {
		return all, err
	}
	boot := lastBoot(all)
	for _, s := range all {
		if err := s.use(boot); err != nil {
			return all, err
		}
	}
	return all, ctx.Err()
}

// lastBoot returns the number of the last start, of all sets: the next one is the same for all, so
// that it stays later whichever set is left out.
func lastBoot(all []*Set) (n uint32) {
	for _, s := range all {
		for _, p := range s.local.places {
			if p.err == nil && p.id != nil {
				n = max(n, p.id.Boot)
			}
		}
	}
	return n
}

// use opens the drives of a set that is formed, in the start after another one.
func (s *Set) use(after uint32) (err error) {
	for i := range s.slots {
		s.Drives = append(s.Drives, Slot{func() erasure.Drive { return s.drive(i) }})
	}
	if s.Boot, err = s.admit(after); err != nil {
		return err
	}
	s.witness()
	for i, f := range s.local.Found() {
		if !f.Open {
			s.local.log.Error("a drive is missing: nothing is stored on it", "path", f.Path, "error", s.local.places[i].why())
		}
	}
	s.noted = s.States()
	online, n := s.Online(), len(s.slots)
	if online-len(s.Blank()) < register.ReadQuorum(n) || online < register.Majority(n) {
		return fmt.Errorf("%w: %d of %d can be opened, %d are needed", ErrTooFew, online, n, register.Majority(n))
	}
	return nil
}

// Look looks what has become of the drives: those that have failed or have gone are given
// back, and those that have come are used as they would be from the next start on.
func (s *Set) Look(ctx context.Context) {
	s.local.Look(ctx)
	_, err := s.admit(0)
	s.witness()
	s.note()
	if err != nil && err.Error() != s.told {
		s.local.log.Error("drives that have come cannot be used", "error", err)
	}
	if s.told = ""; err != nil {
		s.told = err.Error()
	}
}

// witness has the drives know how often the others were started. One to which that cannot be written fails
// otherwise, too.
func (s *Set) witness() {
	if err := s.local.Witness(s.local.openIdentities()); err != nil {
		s.local.log.Debug("a drive could not take note of how often the others were started", "error", err)
	}
}

// note tells of drives that have come or do not answer any more.
func (s *Set) note() {
	all := s.States()
	for i, now := range all {
		switch before := s.noted[i]; {
		case now.Online && !before.Online:
			s.joined.Add(1)
			s.local.log.Info("a drive is there again", "path", now.Path)
		case before.Online && !now.Online && now.Drive == before.Drive:
			s.local.log.Warn("a drive does not answer, and is asked nothing until it does", "path", now.Path)
		}
	}
	s.noted = all
}

// admit opens the drives of the set that are there and not open, and has blank ones stand for
// those that are missing. It returns the number of the start that this counts as; 0 if there was
// nothing to do. It is later than another one.
func (s *Set) admit(after uint32) (number uint32, err error) {
	l := s.local
	l.mu.Lock()
	defer l.mu.Unlock()
	slots, err := l.arrange()
	if err != nil {
		return 0, err
	}
	l.leaveOlder(slots)
	replaced := l.replace(slots)
	var come []*place
	for _, p := range slots {
		if p != nil && p.drive == nil && !p.busy {
			come = append(come, p)
		}
	}
	if len(come) == 0 {
		return 0, nil
	}
	if number, err = l.boot(slots, after); err != nil {
		return 0, err
	}
	for i, p := range slots {
		if !slices.Contains(come, p) || p.err != nil {
			continue
		}
		p.busy = true
		l.mu.Unlock()
		o, err := l.open(p, func(*Opened, bool) error { return nil })
		l.mu.Lock()
		if err != nil {
			continue // it was told
		}
		s.slots[i].Store(o)
		if slices.Contains(replaced, p) {
			l.log.Warn("a blank drive stands for one that is missing, and is given all that that one had", "path", p.path)
		}
	}
	return number, nil
}

// arrange returns the places by slot; nil where none is. What is no drive of the set, or
// not any more, is left out. The caller holds mu.
func (l *Local) arrange() ([]*place, error) {
	last := latest(l.places)
	if last == nil {
		return nil, ErrTooFew
	}
	slots := make([]*place, len(l.places))
	for _, open := range []bool{true, false} { // what is used is the drive that is meant
		for _, p := range l.places {
			if p.err != nil || p.id == nil || open != (p.drive != nil) {
				continue
			}
			slot := slices.Index(last.id.Set, p.id.Drive)
			switch {
			case p.id.Deployment != last.id.Deployment || len(p.id.Set) != len(slots):
				p.err = ErrOther
			case slot < 0:
				p.err = errReplaced
			case slots[slot] != nil:
				p.err = fmt.Errorf("%w: %s is the same", ErrOther, slots[slot].path)
			default:
				slots[slot] = p
			}
		}
	}
	return slots, nil
}

// errReplaced says that another drive has taken the place of one.
var errReplaced = errors.New("another drive has been put in its place meanwhile")

// latest returns a place whose identity is of the last start: it knows which drives the set
// is of. One that is used knows better than one that has come.
func latest(places []*place) *place {
	var last *place
	for _, p := range places {
		if p.err != nil || p.id == nil {
			continue
		}
		if last == nil || last.drive == nil && p.drive != nil || (last.drive == nil) == (p.drive == nil) && last.id.Boot < p.id.Boot {
			last = p
		}
	}
	return last
}

// replace puts blank drives into free slots, if enough others are there, and returns them.
// Their identities are saved with those of the others. The caller holds mu.
func (l *Local) replace(slots []*place) (replaced []*place) {
	last := latest(l.places).id
	set := slices.Clone(last.Set)
	for _, p := range l.places {
		free := slices.Index(slots, nil)
		if p.err != nil || p.id != nil || p.busy || free < 0 || !p.suits(last) || present(slots) < register.ReadQuorum(len(slots)) {
			continue
		}
		if err := p.occupy(); err != nil {
			l.log.Error("a blank drive cannot be used", "path", p.path, "error", err)
			continue
		}
		id := *last
		id.Drive, id.Blank, id.OnRoot, id.Mounted = uuid.New(), true, p.onRoot, p.mounted
		id.Start, id.Starts = 0, nil
		told := rosterOf(slots)
		id.Roster = &told
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

func present(slots []*place) (n int) {
	for _, p := range slots {
		if p != nil {
			n++
		}
	}
	return n
}

// suits reports whether a blank directory can be a drive beside another one, and is not one
// whose disk is not mounted.
func (s *sight) suits(other *Identity) bool {
	return (!s.onRoot || other.OnRoot) && (s.mounted || !other.Mounted)
}

// boot raises the number of the start on every drive that is there: also when a drive has
// come, which is as if all had been started with it. A majority has every one, so that a
// later start finds it. It is later than another one.
// The caller holds mu.
func (l *Local) boot(slots []*place, last uint32) (uint32, error) {
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
			if p.drive == nil {
				l.fail(p, err)
			}
			continue
		}
		saved++
	}
	if saved < register.Majority(len(slots)) {
		err := fmt.Errorf("%w: %d of %d can be written to, %d are needed", ErrTooFew, saved, len(slots), register.Majority(len(slots)))
		if len(errs) > 0 { // or they are merely not there
			err = fmt.Errorf("%w: %w", err, errors.Join(errs...))
		}
		return 0, err
	}
	return last + 1, nil
}
