package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/object"
)

// fact is something that is true of the tree for ever from some time on. Until it
// is, no operation pays for what follows from it. A file of its name says so to
// whoever opens the tree, and in a fleet Facts says it to all who have.
type fact struct {
	name   string
	known  atomic.Bool
	untold atomic.Bool // it is known here, and was not established
}

// The facts.
const (
	factVersioned  = "versioned"  // a bucket has, or had, versioning
	factConfigured = "configured" // a bucket has, or had, documents, or files of its own kind
	factStamped    = "stamped"    // files named by stamps are, or were, there
	factAliased    = "aliases"    // files in alias slots are, or were, there
)

// facts returns all of them.
func (t *tree) facts() []*fact { return []*fact{&t.versioned, &t.configured, &t.stamped, &t.aliased} }

// holds reports whether a fact is established.
func (t *tree) holds(f *fact) bool {
	if f.known.Load() {
		return true
	}
	if t.cfg.Facts == nil || !t.cfg.Facts.Holds(f.name) {
		return false
	}
	f.known.Store(true) // it holds for ever, also while the fleet cannot be asked
	return true
}

// loadFacts finds out what the tree says.
func (s *Store) loadFacts() error {
	for _, f := range s.facts() {
		_, err := s.root.Stat(systemDir + "/" + f.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look whether the tree is %s: %w", f.name, err)
		}
		if err == nil {
			f.known.Store(true)
		}
	}
	return nil
}

// loadStamped finds out whether there are files named by stamps: a process that
// served the tree alone has not said so.
func (s *Store) loadStamped() error {
	if s.sidecars || s.cfg.Facts == nil {
		s.stamped.known.Store(true)
	}
	for _, path := range []string{metaDir, stateDir} {
		if s.stamped.known.Load() {
			break
		}
		entries, err := readDir(s.root, path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		s.stamped.known.Store(len(entries) > 0)
	}
	return nil
}

// tellFacts establishes what the tree says: whoever wrote that may have ended before he
// told those who have opened the tree earlier.
func (s *Store) tellFacts(ctx context.Context) error {
	for _, f := range s.facts() {
		if !f.known.Load() || s.cfg.Facts == nil {
			continue
		}
		switch err := s.cfg.Facts.Establish(ctx, f.name); {
		case (errors.Is(err, object.Full) || kindOf(err) == object.Full) && (f == &s.versioned || f == &s.configured):
			// What makes it true is not there yet, and is not made before it is established; or it was made by a process
			// that served the tree alone, and whoever was there before that finds it in his next session (lookAgain).
			f.untold.Store(true)
			s.log.Warn("the storage is full: the other gateways are not told yet what they are to look for", "fact", f.name, "error", err)
		case err != nil:
			return fmt.Errorf("tell the other gateways that the tree is %s: %w", f.name, err)
		}
	}
	return nil
}

// learn establishes a fact, before the first thing is there that makes it true.
func (s *Store) learn(ctx context.Context, f *fact) error {
	if f.known.Load() && !f.untold.Load() {
		return nil
	}
	if s.fleet && s.cfg.Facts == nil {
		return object.E("tell the fleet", f.name, object.NotImplemented, errors.New("the gateways cannot agree on it"))
	}
	if err := s.publishFile(systemDir, f.name, nil); err != nil {
		return err
	}
	if s.cfg.Facts != nil {
		if err := s.cfg.Facts.Establish(ctx, f.name); err != nil {
			return fmt.Errorf("tell the other gateways: %w", err)
		}
	}
	f.known.Store(true)
	f.untold.Store(false)
	return nil
}

// errUnstamped is returned where a file named by a stamp is to be made before the
// gateways know that there are any: nothing has changed.
var errUnstamped = fmt.Errorf("the gateways do not look for what is to be kept: %w", object.Unavailable)

// mayStamp reports whether there may be files named by stamps. A gateway without a
// session may not have been told.
func (s *Store) mayStamp() bool {
	return s.holds(&s.stamped) || s.fleet && isOver(s.locker.Session())
}

// stamping runs what may make the first file named by a stamp, which is when the
// gateways begin to look for such files.
func (s *Store) stamping(ctx context.Context, do func() error) error {
	err := do()
	if !errors.Is(err, errUnstamped) {
		return err
	}
	if err := s.learn(ctx, &s.stamped); err != nil {
		return err
	}
	return do()
}

// establish establishes what the record of a bucket makes true.
func (s *Store) establish(ctx context.Context, b object.Bucket) error {
	if b.Versioning != object.Unversioned {
		if err := s.learn(ctx, &s.versioned); err != nil {
			return err
		}
	}
	if len(b.Documents) > 0 || !b.Files.IsZero() {
		return s.learn(ctx, &s.configured)
	}
	return nil
}

// mayVersion reports whether a bucket of the tree may have versioning.
func (t *tree) mayVersion() bool { return t.holds(&t.versioned) }

// Configured implements object.Configured.
func (t *tree) Configured() bool { return t.holds(&t.configured) }

// errUnaliased is returned where the first file in an alias slot is to be made before
// the gateways know that there may be one: what was to be published is as it was.
var errUnaliased = fmt.Errorf("the gateways do not look where the file is to be: %w", object.Unavailable)

// mayAlias reports whether there may be files in alias slots. A gateway without a
// session may not have been told.
func (s *Store) mayAlias() bool {
	return s.holds(&s.aliased) || s.fleet && (s.cfg.Facts == nil || isOver(s.locker.Session()))
}

// useAliases returns nil once it is known, durably, that the tree has files in alias
// slots: until then nobody looks for them.
func (s *Store) useAliases() error {
	switch {
	case s.holds(&s.aliased):
		return nil
	case s.cfg.Facts != nil:
		return errUnaliased
	}
	if err := s.publishFile(systemDir, s.aliased.name, nil); err != nil {
		return err
	}
	s.aliased.known.Store(true)
	return nil
}
