package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// The journal keeps what gateways have to tell others, until it is told: batches, each a
// file in a directory that is named by the session that wrote it. A batch gets there by
// a rename out of that session's directory. So when that is gone, no further batch comes,
// and whoever reads the rest has them all.

// maxBatch is how long a batch may be, in bytes.
const maxBatch = 64 << 20

// Keep makes a batch durable and returns its name: a later one of the session sorts
// behind it. The label, a file name without slash, is part of it.
func (s *Store) Keep(ctx context.Context, label string, content []byte) (name string, err error) {
	session := s.locker.Session().ID()
	leaf := fmt.Sprintf("%016x.%s", s.batches.Add(1), label)
	err = s.phase(ctx, s.calls, func() error {
		err := s.publishFile(journalDir+"/"+session, leaf, content)
		if errors.Is(err, fs.ErrNotExist) && !isUnknown(err) && !errors.Is(err, errFenced) {
			if err = s.makeJournal(session); err == nil {
				err = s.publishFile(journalDir+"/"+session, leaf, content)
			}
		}
		return err
	}, nil)
	return session + "/" + leaf, fail("keep batch", leaf, outcome(err))
}

// makeJournal makes the session's part of the journal, durably.
func (s *Store) makeJournal(session string) error {
	for _, step := range []struct{ in, name string }{{systemDir, "events"}, {journalDir, session}} {
		dir, err := s.root.OpenDir(step.in)
		if err != nil {
			return err
		}
		err = dir.Mkdir(step.name, systemMode)
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = s.syncDir(dir)
		}
		closeDir(dir)
		if err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
	}
	return nil
}

// Left returns the sorted names of batches of sessions that are over.
func (s *Store) Left(ctx context.Context) ([]string, error) {
	var names []string
	err := s.phase(ctx, s.calls, func() error {
		sessions, err := readDir(s.root, journalDir)
		if isAbsent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range sessions {
			if !s.sessionGone(e.Name) {
				continue
			}
			left, err := s.leftBy(e.Name)
			if err != nil {
				return err
			}
			names = append(names, left...)
		}
		return nil
	}, nil)
	if err != nil {
		return nil, fail("look for batches", "", err)
	}
	slices.Sort(names)
	return names, nil
}

// leftBy returns the batches of a session that is over. If there are none it removes
// their directory.
func (s *Store) leftBy(session string) ([]string, error) {
	entries, err := readDir(s.root, journalDir+"/"+session)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, s.inJournal(func(journal vfs.Dir) error {
			if err := journal.Rmdir(session); err != nil && !isGone(err) && !isTaken(err) {
				return err
			}
			return nil
		})
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = session + "/" + e.Name
	}
	return names, nil
}

func (s *Store) inJournal(do func(journal vfs.Dir) error) error {
	journal, err := s.root.OpenDir(journalDir)
	if err != nil {
		return err
	}
	defer closeDir(journal)
	return do(journal)
}

// Fetch returns a batch, or an error that wraps fs.ErrNotExist.
func (s *Store) Fetch(ctx context.Context, name string) ([]byte, error) {
	var content []byte
	err := s.phase(ctx, s.calls, func() (err error) {
		content, err = retryStale(func() ([]byte, error) { return readFile(s.root, journalDir+"/"+name, maxBatch) })
		return err
	}, nil)
	if err != nil {
		return nil, fail("fetch batch", name, err)
	}
	return content, nil
}

// Drop removes a batch. That it is gone is not an error. It needs no side in the
// session: who drops a batch has told what is in it, be his session over or not.
func (s *Store) Drop(ctx context.Context, name string) error {
	err := s.phase(ctx, s.calls, func() error {
		dir, leaf, err := s.openParent(journalDir + "/" + name)
		if err == nil {
			err = dir.Remove(leaf)
			closeDir(dir)
		}
		if isGone(err) {
			return nil
		}
		return err
	}, nil)
	return fail("drop batch", name, err)
}

// Keep is Store.Keep in a session that has not ended.
func (f *Fleet) Keep(ctx context.Context, label string, content []byte) (name string, err error) {
	return change(ctx, f, "keep batch", label, func(s *Store) (string, error) { return s.Keep(ctx, label, content) })
}

// Left is Store.Left.
func (f *Fleet) Left(ctx context.Context) ([]string, error) {
	t := f.read()
	defer f.leave(t)
	return t.Left(ctx)
}

// Fetch is Store.Fetch.
func (f *Fleet) Fetch(ctx context.Context, name string) ([]byte, error) {
	t := f.read()
	defer f.leave(t)
	return t.Fetch(ctx, name)
}

// Drop is Store.Drop.
func (f *Fleet) Drop(ctx context.Context, name string) error {
	t := f.read()
	defer f.leave(t)
	return t.Drop(ctx, name)
}
