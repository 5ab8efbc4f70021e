package nasfs

import (
	"context"
	"errors"
	"slices"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// earlyLook is the size, in bytes, from which on Put looks for the bucket
// before it reads the body. A smaller body costs less than looking.
const earlyLook = 1 << 20

// Put implements object.Objects. The content is written and made durable
// before the key's lock is taken; under it come the check and one rename.
func (s *Store) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	const op = "put"
	if size := in.Body.Size(); size < 0 || size >= earlyLook {
		if err := s.phase(ctx, s.calls, func() error { return s.bucketThere(ref.Bucket) }, nil); err != nil {
			return object.Info{}, fail(op, ref.Bucket+"/"+ref.Key, err)
		}
	}
	st, err := s.stage(ctx, &staged{bucket: ref.Bucket, asked: in.Files}, in.Body, func(d object.Digest) record {
		return record{key: ref.Key, md5: d.MD5[:], checksum: d.Checksum, overhead: d.Overhead, meta: in.Meta.Clone(), modified: s.cfg.Now().UTC()}
	})
	if err != nil {
		return object.Info{}, fail(op, ref.Bucket+"/"+ref.Key, err)
	}
	return s.commit(ctx, op, st, ref, in.Check)
}

// commit makes a staged file the current version of ref.
func (s *Store) commit(ctx context.Context, op string, st *staged, ref object.Ref, check object.Check) (object.Info, error) {
	var info object.Info
	err := s.commitLocked(ctx, st, ref, nil, func(p *publication) error {
		p.check = check
		if err := s.publish(p); err != nil {
			return err
		}
		info = s.published(p)
		return nil
	}, nil)
	if err != nil {
		return object.Info{}, failChecked(op, ref, err)
	}
	return info, nil
}

// refused is the error of a Check: it is returned as it is.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// failChecked is fail for operations that run a Check.
func failChecked(op string, ref object.Ref, err error) error {
	if r, ok := errors.AsType[refused](err); ok {
		return r.error
	}
	return fail(op, ref.Bucket+"/"+ref.Key, err)
}

// commitLocked runs publish, in one phase, under the leases of a key and of
// what is in its way. In the end the staged file is published or removed. If
// the phase is left, late runs when it is over, as it does for phase.
func (s *Store) commitLocked(ctx context.Context, st *staged, ref object.Ref, more []string, publish func(*publication) error, late func()) error {
	p := &publication{ref: ref, staged: st}
	names := append(more, keyLock(ref.Bucket, ref.Key)) //nolint:gocritic // more has no room to spare
	mode := lock.Shared
	for try := 1; ; try++ {
		h, err := s.lockIn(ctx, mode, ref.Bucket, names...)
		if err != nil {
			s.discard(ctx, st)
			return err
		}
		p.valid, p.sequence = h.valid, ""
		rests := true // the staged file, neither published nor removed
		err = s.locked(ctx, h, func() error {
			if slices.Min(names) == keyLock(ref.Bucket, ref.Key) && s.raise() == nil {
				p.sequence = s.sequence(h.names) // otherwise the token is another key's, or may be given again
			}
			err := publish(p)
			rests = goesOn(err, mode) && try < maxTries
			if err != nil && !rests {
				s.remove(st)
			}
			return err
		}, func() {
			if rests {
				s.remove(st) // nobody is there who would go on
			}
			if late != nil {
				late()
			}
		})
		switch {
		case errors.Is(err, errLeft):
			return err
		case try == maxTries || !goesOn(err, mode):
			if rests {
				s.discard(ctx, st)
			}
			return err
		}
		if b, blocked := errors.AsType[blockedError](err); blocked {
			// The file in the way has a lock of its own, which must be taken
			// before or together with ours to keep their order.
			p.aside = append(p.aside, b.key)
			names = append(names, keyLock(ref.Bucket, b.key))
			continue
		}
		if errors.Is(err, errUnaliased) {
			if err := s.learnAliases(ctx, st, late); err != nil {
				return err
			}
			continue
		}
		// Others change the tree all the time, as by removing the directories
		// above the key while they are empty: they have to wait for once.
		mode = lock.Exclusive
	}
}

// learnAliases has all gateways look in alias slots, before a staged file goes on to
// be published; if that fails the file is removed. late is that of commitLocked.
func (s *Store) learnAliases(ctx context.Context, st *staged, late func()) error {
	err := s.phase(ctx, s.calls, func() error { return s.learn(ctx, &s.aliased) }, func() {
		s.remove(st)
		if late != nil {
			late()
		}
	})
	if err != nil && !errors.Is(err, errLeft) {
		s.discard(ctx, st)
	}
	return err
}

// goesOn reports whether a publication that failed under a lease on its bucket
// in the given mode succeeds, perhaps, under others, or later.
func goesOn(err error, mode lock.Mode) bool {
	_, blocked := errors.AsType[blockedError](err)
	return blocked || errors.Is(err, errUnaliased) || mode == lock.Shared && errors.Is(err, errAgain) && !isUnknown(err)
}

func isUnknown(err error) bool {
	_, ok := errors.AsType[unknown](err)
	return ok
}

// published is what follows a publication: it returns what was stored, and
// remembers it for listings.
func (s *Store) published(p *publication) object.Info {
	st := stampOf(p.staged.stat)
	info := s.info(p.ref, st, &p.staged.rec, nil)
	info.Sequence = p.sequence
	s.etags.put(p.staged.stat, &p.staged.rec)
	return info
}
