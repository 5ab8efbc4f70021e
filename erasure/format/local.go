package format

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/shoal-storage/shoal/erasure/drive"
)

// Local is the drives of one node, where several have drives of a set: each of the nodes
// knows what is on its own, and together they agree. Its methods may be called concurrently.
type Local struct {
	log *slog.Logger

	mu     sync.Mutex
	places []*place
}

// Found is what a node has found at a path.
type Found struct {
	Path     string    `json:"path"`
	Identity *Identity `json:"identity,omitempty"` // nil: it is no drive of a set
	Blank    bool      `json:"blank,omitempty"`    // it can become one
	OnRoot   bool      `json:"on_root,omitempty"`  // it is on the device of the root directory
	Open     bool      `json:"open,omitempty"`     // it can be used
	Why      string    `json:"why,omitempty"`      // it is of no use
}

// Table says which drives a set is of.
type Table struct {
	Deployment string   `json:"deployment"`
	Epoch      uint32   `json:"epoch"`            // of two the one with the higher one counts
	Set        []string `json:"set"`              // by slot
	Number     int      `json:"number,omitempty"` // of the set
	Of         int      `json:"of,omitempty"`     // see Identity
}

// Table returns what the drive knows of its set.
func (id *Identity) Table() Table { return Table{id.Deployment, id.Epoch, id.Set, id.Number, id.Of} }

// Identity returns that of the drive in a slot.
func (t *Table) Identity(slot int) Identity {
	return Identity{Deployment: t.Deployment, Drive: t.Set[slot], Set: t.Set, Epoch: t.Epoch, Number: t.Number, Of: t.Of}
}

// Look finds out what is at the paths, and claims them for this process.
func Look(paths []string, log *slog.Logger) (*Local, error) {
	l := &Local{log: log}
	for _, path := range paths {
		p := look(path)
		l.places = append(l.places, p)
		if p.err != nil && !missing(p.err) {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, p.err), l.Close())
		}
	}
	return l, nil
}

// Close gives the drives back, so that another process may have them. Those that Open
// returned are closed before.
func (l *Local) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, p := range l.places {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Found returns what was found, in the order of the paths.
func (l *Local) Found() []Found {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Found
	for _, p := range l.places {
		f := Found{Path: p.path, OnRoot: p.onRoot, Open: p.opened, Blank: p.err == nil && p.id == nil}
		if p.err != nil {
			f.Why = p.err.Error()
		} else if p.id != nil {
			id := *p.id
			f.Identity = &id
		}
		all = append(all, f)
	}
	return all
}

// errTaken says that a place has an identity already.
var errTaken = errors.New("it is a drive of a set")

func (l *Local) place(path string) (*place, error) {
	i := slices.IndexFunc(l.places, func(p *place) bool { return p.path == path })
	if i < 0 {
		return nil, fmt.Errorf("%s is no drive of this node", path)
	}
	if err := l.places[i].err; err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l.places[i], nil
}

// Form gives a place an identity, durably. One that is being formed takes the same again.
func (l *Local) Form(path string, id Identity) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.place(path)
	if err != nil {
		return err
	}
	if p.id != nil {
		if p.id.Forming && p.id.Deployment == id.Deployment && p.id.Drive == id.Drive {
			return nil
		}
		return fmt.Errorf("%s: %w", path, errTaken)
	}
	id.Version, id.OnRoot = identityVersion, p.onRoot
	p.id = &id
	if err := p.save(); err != nil {
		p.id = nil
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Formed takes note, durably, that all drives of the set have their identities.
func (l *Local) Formed() error {
	return l.change(func(id *Identity) bool {
		was := id.Forming
		id.Forming = false
		return was
	})
}

// Learn has the drives of a deployment know which drives their set is of, durably, and
// returns those that do.
func (l *Local) Learn(t Table) (drives []string, err error) {
	err = l.change(func(id *Identity) bool {
		if id.Deployment != t.Deployment || id.Epoch >= t.Epoch || !slices.Contains(t.Set, id.Drive) {
			return false
		}
		id.Epoch, id.Set = t.Epoch, slices.Clone(t.Set)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		if p.err == nil && p.id != nil && p.id.Epoch == t.Epoch && slices.Equal(p.id.Set, t.Set) {
			drives = append(drives, p.id.Drive)
		}
	}
	return drives, err
}

// change changes identities, and saves those of which edit says that it did.
func (l *Local) change(edit func(id *Identity) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, p := range l.places {
		if p.err != nil || p.id == nil {
			continue
		}
		before := *p.id
		if !edit(p.id) {
			continue
		}
		if err := p.save(); err != nil {
			*p.id = before
			errs = append(errs, fmt.Errorf("%s: %w", p.path, err))
		}
	}
	return errors.Join(errs...)
}

// Opened is a drive that others may use. One that stands for another drive does not vouch
// for what it lacks before Healed was called.
type Opened struct {
	*replacement
	local *Local
}

// Open opens the drive at a path. It obeys a fleet (see drive.Drive.Require). The caller
// closes it.
func (l *Local) Open(path string) (*Opened, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.place(path)
	if err != nil {
		return nil, err
	}
	if p.id == nil || p.opened {
		return nil, fmt.Errorf("%s: %w", path, errNotReady)
	}
	d, err := p.open(l.log)
	if err == nil {
		err = require(d, p.id.Blank)
	}
	if err != nil {
		p.err = err
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.opened = true
	r := &replacement{Drive: d, place: p}
	r.whole.Store(!p.id.Blank)
	return &Opened{r, l}, nil
}

// errNotReady says that a drive is none yet, or open already.
var errNotReady = errors.New("it is no drive yet, or is open already")

func require(d *drive.Drive, blank bool) error {
	if err := d.Require(blank); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}

// Healed takes note, durably, that the drive has all that the one had that it stands for.
func (o *Opened) Healed() error {
	if o.whole.Load() {
		return nil
	}
	o.local.mu.Lock()
	defer o.local.mu.Unlock()
	return o.healed()
}
