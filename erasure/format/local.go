package format

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Local is the drives of one node, where several have drives of a set: each of the nodes
// knows what is on its own, and together they agree. Its methods may be called concurrently.
type Local struct {
	log *slog.Logger

	places []*place

	mu     sync.Mutex // guards what the places are
	closed bool
	giving sync.WaitGroup // drives that are being given back
}

// Found is what a node has found at a path.
type Found struct {
	Path     string    `json:"path"`
	Identity *Identity `json:"identity,omitempty"` // nil: it is no drive of a set
	Blank    bool      `json:"blank,omitempty"`    // it can become one
	OnRoot   bool      `json:"on_root,omitempty"`  // it is on the device of the root directory
	Mounted  bool      `json:"mounted,omitempty"`  // it is the root of a file system
	Open     bool      `json:"open,omitempty"`     // it can be used
	Why      string    `json:"why,omitempty"`      // it is of no use
	Room     Room      `json:"room,omitzero"`      // of its file system, when it was looked at last
}

// Room is how many bytes a file system has; zero: that is not known.
type Room struct {
	Free  uint64 `json:"free"` // to be had by this process
	Total uint64 `json:"total"`
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

// Look finds out what is at the paths, and claims the drives for this process.
func Look(ctx context.Context, paths []string, log *slog.Logger) (*Local, error) {
	l := &Local{log: log}
	for _, path := range paths {
		l.places = append(l.places, &place{path: path, disk: vfs.NewLimit(1)})
	}
	l.Look(ctx)
	for _, p := range l.places {
		if p.err != nil && !missing(p.err) {
			return nil, errors.Join(fmt.Errorf("%s: %w", p.path, p.err), l.Close())
		}
	}
	return l, nil
}

// How long a disk is waited for.
const (
	diskTime = 3 * time.Second // that is looked at, or to take note of something
	openTime = time.Minute     // that is to be opened
)

// Look looks again: drives that have failed, or are not where they were, are given back, and
// what is at the other paths now is found. A disk that does not answer keeps nobody waiting for
// more than seconds.
func (l *Local) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, diskTime)
	defer cancel()
	var looking sync.WaitGroup
	for _, p := range l.places {
		looking.Go(func() { l.lookAt(ctx, p) })
	}
	looking.Wait()
}

func (l *Local) lookAt(ctx context.Context, p *place) {
	l.mu.Lock()
	busy, seen, opened := p.busy || l.closed, p.sight, p.drive
	l.mu.Unlock()
	switch {
	case busy:
	case seen.dir != nil:
		room, err := vfs.Call(ctx, p.disk, func() (Room, error) { return seen.room(), seen.still(p.path) }, nil)
		hangs, unseen := errors.Is(err, vfs.ErrHung), vfs.Scarce(err)
		if hangs || unseen {
			err = nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		switch p.hangs = hangs; {
		case p.dir != seen.dir || p.busy:
		case err != nil:
			l.lose(p, err)
		case opened != nil && opened.store.Failed() != nil:
			l.fail(p, opened.store.Failed())
		case !hangs && !unseen:
			p.room = room
		}
	default:
		s, err := vfs.Call(ctx, p.disk, func() (sight, error) { return look(p.path), nil }, func(s sight) { _ = s.release() }) // it was only looked at
		if err != nil {
			s = sight{err: err}
		}
		l.found(p, s)
	}
}

// found takes note of what is at a path where nothing was claimed.
func (l *Local) found(p *place, s sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.dir == nil || s.at.Dev != p.failed.Dev || s.at.Ino != p.failed.Ino {
		p.retry = time.Time{} // it was not there meanwhile
	}
	if l.closed || p.busy || p.dir != nil || time.Now().Before(p.retry) {
		_ = s.release() // it was only looked at
		return
	}
	p.hangs, p.sight = errors.Is(s.err, vfs.ErrHung), s
}

// How long a drive that has failed is left alone, unless another one is in its place: the
// longer, the more often it has.
const (
	retryFirst = 30 * time.Second
	retryLast  = time.Hour
	// retryScarce is for how long if it was for want of open files or memory, whose failure that is.
	retryScarce = 2 * time.Second
	// retryDoubled is how often the time is doubled, at most.
	retryDoubled = 7
)

// fail has a drive that has failed left alone for a while. The caller holds mu.
func (l *Local) fail(p *place, why error) {
	if time.Since(p.since) > retryLast {
		p.fails = 0
	}
	pause := retryScarce
	if !vfs.Scarce(why) {
		pause = min(retryFirst<<p.fails, retryLast)
		p.fails = min(p.fails+1, retryDoubled)
	}
	p.failed, p.retry = p.at, time.Now().Add(pause)
	l.lose(p, why)
}

// lose gives a drive back, as soon as the calls have ended that are inside of it. The caller
// holds mu.
func (l *Local) lose(p *place, why error) {
	l.log.Error("a drive is lost", "path", p.path, "error", why)
	s, opened := p.sight, p.drive
	p.sight, p.drive, p.busy = sight{onRoot: s.onRoot, mounted: s.mounted, err: why}, nil, true
	if opened != nil {
		opened.lost.Store(true)
	}
	l.giving.Go(func() { // its disk may hang
		var err error
		if opened != nil {
			err = opened.Close()
		}
		if err = errors.Join(err, s.release()); err != nil {
			l.log.Warn("a drive that is lost was given back with an error", "path", p.path, "error", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		p.busy = false
	})
}

// Close gives the drives back, so that another process may have them. Those that Open
// returned are closed before.
func (l *Local) Close() error {
	err := l.release()
	given := make(chan struct{})
	go func() {
		l.giving.Wait()
		close(given)
	}()
	select {
	case <-given:
	case <-time.After(diskTime): // a disk hangs
	}
	return err
}

func (l *Local) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for _, p := range l.places {
		errs = append(errs, p.release())
	}
	return errors.Join(errs...)
}

// Found returns what was found, in the order of the paths.
func (l *Local) Found() []Found {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Found
	for _, p := range l.places {
		f := Found{Path: p.path, OnRoot: p.onRoot, Mounted: p.mounted, Open: p.drive != nil && !p.hung(), Blank: p.err == nil && p.id == nil && !p.busy, Room: p.room}
		switch {
		case p.err != nil:
			f.Why = p.err.Error()
		case p.hung():
			f.Why = vfs.ErrHung.Error()
		}
		if p.err == nil && p.id != nil {
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
	if err := p.form(id); err != nil {
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

// Open opens the drive at a path. It obeys a fleet (see drive.Drive.Require). The caller
// closes it, unless it is lost.
func (l *Local) Open(path string) (*Opened, error) {
	l.mu.Lock()
	p, err := l.place(path)
	if err == nil && (p.id == nil || p.drive != nil || p.busy) {
		err = fmt.Errorf("%s: %w", path, errNotReady)
	}
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	p.busy = true
	l.mu.Unlock()
	return l.open(p, func(o *Opened, blank bool) error { return o.Require(blank) })
}

// open opens the drive at a place that is kept busy for that.
func (l *Local) open(p *place, prepare func(o *Opened, blank bool) error) (*Opened, error) {
	l.mu.Lock()
	dir, blank, err := p.dir, p.id.Blank, p.raise()
	if err != nil {
		p.busy = false
		l.fail(p, err)
		l.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), openTime) //nolint:forbidigo // as on
	defer cancel()
	o, err := vfs.Call(ctx, p.disk, func() (*Opened, error) {
		o, err := openDrive(p.path, dir, blank, l.log.With("path", p.path))
		if err != nil {
			return nil, err
		}
		if err := prepare(o, blank); err != nil {
			return nil, errors.Join(err, o.Close())
		}
		return o, nil
	}, func(o *Opened) { _ = o.Close() }) // nothing was written to it
	l.mu.Lock()
	defer l.mu.Unlock()
	p.busy = false
	if err == nil && l.closed {
		err = errors.Join(errNotReady, o.Close())
	}
	if err != nil {
		l.fail(p, err)
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	o.local, o.place, o.id = l, p, p.id.Drive
	p.drive, p.since = o, time.Now()
	return o, nil
}

// errNotReady says that a drive is none yet, or open already.
var errNotReady = errors.New("it is no drive yet, or is open already")
