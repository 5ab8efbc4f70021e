package nasfs

import (
	"context"
	"fmt"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// Update implements object.Objects. The changed metadata is published, by a
// rename that can be fenced, as a file of its own named by the stamp of the
// object's file: setting the attribute of a published file could not be.
func (s *Store) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	h, err := s.lockNames(ctx, ref.Bucket, keyLock(ref.Bucket, ref.Key))
	if err != nil {
		return object.Info{}, fail("update", ref.Bucket+"/"+ref.Key, err)
	}
	var info object.Info
	err = s.locked(ctx, h, func() (err error) {
		info, err = s.updateLocked(ctx, ref, h, fn)
		return err
	}, nil)
	if err != nil {
		return object.Info{}, failChecked("update", ref, err)
	}
	return info, nil
}

func (s *Store) updateLocked(ctx context.Context, ref object.Ref, h held, fn func(*object.Meta) error) (object.Info, error) {
	if err := s.raise(); err != nil {
		return object.Info{}, err
	}
	o, err := s.find(ref, true)
	if err != nil {
		return object.Info{}, err
	}
	closeFile(o.file)
	// The fence has stopped all who had the lock before; should it have failed,
	// and one of a later lease been here, that one's word stands. Leases on
	// other keys of the file, which has several, say nothing.
	if o.state != nil && o.state.key == ref.Key && o.state.token.Compare(s.token(h.names)) > 0 {
		return object.Info{}, fmt.Errorf("a later change is there: %w", lock.ErrLost)
	}
	info := s.info(ref, o.stamp(), o.rec, o.state)
	meta := info.Meta.Clone()
	if err := fn(&meta); err != nil {
		return object.Info{}, refused{err}
	}
	// What else fn changed is not mutable.
	info.Meta.Tags, info.Meta.Retention, info.Meta.LegalHold, info.Meta.Seal = meta.Tags, meta.Retention, meta.LegalHold, meta.Seal
	state := &record{
		key: ref.Key, stamp: o.stamp(), token: s.token(h.names), writer: s.locker.Session().ID(),
		modified: s.cfg.Now().UTC(), meta: object.Meta{Tags: meta.Tags, Retention: meta.Retention, LegalHold: meta.LegalHold, Seal: meta.Seal},
	}
	if err := s.stamping(ctx, func() error { return s.saveState(o.stamp(), state) }); err != nil {
		return object.Info{}, err
	}
	info.Sequence = s.sequence(h.names)
	return info, nil
}

// saveState publishes changed metadata.
func (s *Store) saveState(st stamp, state *record) error {
	if s.fleet && !s.holds(&s.stamped) {
		return errUnstamped
	}
	dir, err := s.openBin(stateDir, st.bin())
	if err != nil {
		return err
	}
	defer closeDir(dir)
	f, err := s.writeTemp("t", state.encode())
	if err != nil {
		return err
	}
	// Who reads after the rename must look there; who does before finds nothing.
	s.have(&s.haveTags, st.bin())
	return s.publishTemp(f, dir, st.name())
}
