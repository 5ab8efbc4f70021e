package nasfs

import (
	"errors"

	"github.com/shoal-storage/shoal/internal/object"
)

// versioning returns the state of a bucket.
func (s *Store) versioning(bucket string) (object.Versioning, error) {
	if !s.mayVersion() {
		return object.Unversioned, nil
	}
	if b, ok := s.Known(bucket); ok {
		return b.Versioning, nil
	}
	b, err := s.loadBucket(bucket)
	return b.Versioning, err
}

// draftVersion returns the ID that a file about to be sealed will have, as far as
// can be told before its key is locked.
func (s *Store) draftVersion(bucket string) (version, error) {
	if bucket == "" {
		return version{}, nil
	}
	mode, err := s.versioning(bucket)
	if err != nil || mode != object.Versioned {
		return version{}, err
	}
	return newVersion(s.cfg.Now().UnixNano(), 0), nil
}

// keepVersions readies a publication for what its bucket's state is, under the
// key's lock: it gives the staged file its ID, later than those of all versions
// before, and keeps the current version if that has to be.
func (s *Store) keepVersions(p *publication, mode object.Versioning) error {
	if mode == object.Unversioned {
		return s.giveVersion(p.staged, version{})
	}
	o, err := retryStale(func() (*opened, error) { return s.openObject(p.ref) })
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	if o != nil {
		closeFile(o.file)
	}
	last, err := s.lastMade(p.ref, o)
	if err != nil {
		return err
	}
	id := p.staged.rec.version
	if id.isZero() || id.made() <= last {
		id = newVersion(s.cfg.Now().UnixNano(), last)
	}
	if o != nil && (mode == object.Versioned || !versionOf(o.rec).isZero()) {
		if err := s.archive(p.ref, o, id.made()); err != nil {
			return err
		}
	}
	if mode == object.Suspended {
		id = version{}
	}
	return s.giveVersion(p.staged, id)
}

// lastMade returns when the newest version of a key that has an ID was made, in
// ns; o is the current one, or nil.
func (s *Store) lastMade(ref object.Ref, o *opened) (int64, error) {
	if o != nil && !versionOf(o.rec).isZero() {
		return o.madeAt(), nil
	}
	h, err := s.openHistory(ref)
	if err != nil {
		return 0, err
	}
	defer h.close()
	return h.newest()
}

// giveVersion makes id the ID of a staged file. That it has not got it yet is rare:
// another write of the key came between the sealing and the lock, or the clocks of
// two gateways differ.
func (s *Store) giveVersion(st *staged, id version) error {
	if st.rec.version == id {
		return nil
	}
	f, err := s.session.Open(st.name)
	if err != nil {
		return s.ofSession(err)
	}
	defer closeFile(f)
	st.rec.version = id
	if err := s.saveRecord(f, &st.rec); err != nil {
		return err
	}
	if !s.strict {
		return nil
	}
	return f.Sync()
}

// restore makes a version of a key's history the current one, in place of what is
// current now.
func (s *Store) restore(ref object.Ref, h *history, k kept) error {
	o, err := h.open(k)
	if err != nil {
		return err
	}
	closeFile(o.file)
	dir, err := h.dirOf(k)
	if err != nil {
		return err
	}
	st := &staged{}
	if err := s.linkFile(st, dir, k.name(), o); err != nil {
		return again(err)
	}
	err = s.placeAnywhere(&publication{ref: ref, staged: st}, false)
	s.removeTemp(st.name) // there still if it failed, or if it is current already
	if err != nil {
		return err
	}
	// From here on it is current, and the file in the history is not shown.
	if err := h.drop(k); err != nil {
		s.log.Warn("a version that is current again is in the history still", "bucket", ref.Bucket, "key", ref.Key, "error", err)
	}
	return nil
}

// deleteToMarker is a delete where there are versions: a marker becomes the newest
// one. It counts when the current version is gone from the key.
func (s *Store) deleteToMarker(ref object.Ref, mode object.Versioning, check object.Check) (object.Deleted, error) {
	o, err := s.checkedCurrent(ref, check)
	if err != nil {
		return object.Deleted{}, err
	}
	last, err := s.lastMade(ref, o)
	if err != nil {
		return object.Deleted{}, err
	}
	marker := past{id: newVersion(s.cfg.Now().UnixNano(), last), marker: true, null: mode == object.Suspended}
	if o != nil && (mode == object.Versioned || !versionOf(o.rec).isZero()) {
		if err := s.archive(ref, o, marker.id.made()); err != nil {
			return object.Deleted{}, err
		}
	}
	h, err := s.makeHistory(ref)
	if err != nil {
		return object.Deleted{}, err
	}
	defer h.close()
	k, err := s.addMarker(ref, h, marker)
	if err != nil {
		return object.Deleted{}, err
	}
	if o != nil {
		if err := s.deleteSlots(ref, &o.stat); err != nil {
			return object.Deleted{}, errors.Join(err, unmark(h, k, err))
		}
	}
	if marker.null {
		s.dropNulls(ref, marker)
	}
	return object.Deleted{Version: marker.version(), Marker: true}, nil
}

// checkedCurrent returns the current version, closed, if check allows to change
// it; nil if there is none.
func (s *Store) checkedCurrent(ref object.Ref, check object.Check) (*opened, error) {
	o, err := s.openObject(ref)
	var info *object.Info
	switch {
	case err == nil:
		closeFile(o.file)
		i := s.info(ref, o.stamp(), o.rec, o.state)
		info = &i
	case !errors.Is(err, errNoKey):
		return nil, err
	}
	if check != nil {
		if err := check(info); err != nil {
			return nil, s.refuse(ref, info, err)
		}
	}
	if o == nil {
		return nil, s.bucketThere(ref.Bucket)
	}
	return o, nil
}

// addMarker adds a delete marker to the history of a key.
func (s *Store) addMarker(ref object.Ref, h *history, p past) (kept, error) {
	rec := record{key: ref.Key, modified: s.cfg.Now().UTC(), writer: s.locker.Session().ID()}
	f, err := s.writeTemp("m", rec.encode())
	if err != nil {
		return kept{}, err
	}
	return h.add(f, p)
}

// unmark takes back the marker of a delete that has not happened.
func unmark(h *history, k kept, cause error) error {
	if isUnknown(cause) {
		return nil // then the marker is to count, should the object be gone
	}
	return h.drop(k)
}

// deleteVersion removes one version for good.
func (s *Store) deleteVersion(ref object.Ref, check object.Check) (object.Deleted, error) {
	done := object.Deleted{Version: ref.Version}
	if !object.PossibleVersion(ref.Version) {
		return done, badVersion(ref)
	}
	o, err := s.openObject(ref)
	if err == nil {
		closeFile(o.file)
	} else if !errors.Is(err, errNoKey) {
		return done, err
	}
	h, err := s.openHistory(ref)
	if err != nil {
		return done, err
	}
	defer h.close()
	if o != nil && versionID(o.rec) == ref.Version {
		return done, s.deleteCurrent(ref, h, o, check)
	}
	k, ok, err := h.find(ref.Version, o)
	if err != nil {
		return done, err
	}
	if err := s.checkPast(ref, h, k, ok, check); err != nil {
		return done, err
	}
	if !ok {
		return done, s.bucketThere(ref.Bucket)
	}
	done.Marker = k.marker
	return done, s.deletePast(ref, h, k, o)
}

// checkPast runs a check on a version of a history, and asks whether it is
// protected; ok says that it is there.
func (s *Store) checkPast(ref object.Ref, h *history, k kept, ok bool, check object.Check) error {
	if check == nil && (k.marker || !s.Configured()) {
		return nil // only a bucket with a configuration can have protected versions
	}
	var info *object.Info
	if ok && !k.marker {
		o, err := h.open(k)
		if err != nil {
			return err
		}
		closeFile(o.file)
		i := s.info(ref, o.stamp(), o.rec, o.state)
		info = &i
	}
	return s.mayRemove(ref, info, check)
}

// mayRemove returns nil if a check allows to remove a version for good, which is nil
// if it is not there or a marker, and it is not protected.
func (s *Store) mayRemove(ref object.Ref, info *object.Info, check object.Check) error {
	if check != nil {
		if err := check(info); err != nil {
			return s.refuse(ref, info, err)
		}
	}
	if info == nil {
		return nil
	}
	return info.Protected(s.cfg.LockNow())
}

// deleteCurrent removes the current version: the newest one that is left becomes
// current, in the same step.
func (s *Store) deleteCurrent(ref object.Ref, h *history, o *opened, check object.Check) error {
	info := s.info(ref, o.stamp(), o.rec, o.state)
	if err := s.mayRemove(ref, &info, check); err != nil {
		return err
	}
	rest := o // beside which versions of the history count
	if o.copied() {
		if err := s.dropOriginal(ref, h, o, check); err != nil {
			return err
		}
		rest = nil // somebody has put it there: a delete that is later than it has happened, and counts again
	}
	if err := h.dropHidden(o); err != nil {
		return err
	}
	next, ok, err := h.latest(rest)
	if err != nil {
		return err
	}
	if ok && !next.marker {
		if err := s.restore(ref, h, next); err != nil {
			return err
		}
	} else if err := s.deleteSlots(ref, &o.stat); err != nil {
		return err
	}
	s.pruneHistory(h.own.path)
	return nil
}

// dropOriginal removes the version of a history of which the current one is a copy that
// somebody has put back: they have one ID, and it would show once the copy is gone.
func (s *Store) dropOriginal(ref object.Ref, h *history, o *opened, check object.Check) error {
	k, ok, err := h.find(versionID(o.rec), nil)
	if err != nil || !ok || k.null {
		return err
	}
	if err := s.checkPast(ref, h, k, ok, check); err != nil {
		return err
	}
	return h.drop(k)
}

// dropHidden removes from a history what would count once the current version is
// gone, and did not come to be or is replaced. The markers beside a copy came to be.
func (h *history) dropHidden(o *opened) error {
	v, latest := showing(o), past{}
	for k, err := range h.all() {
		if err == nil && v.counts(k.past) {
			latest = k.past
			break
		}
		if err == nil && (!k.marker || !o.copied()) {
			err = h.drop(k)
		}
		if err != nil {
			return err
		}
	}
	if !v.null {
		return nil
	}
	return h.dropNulls(func(p past) bool { return p == latest || p.marker && o.copied() }) // those that are replaced can be anywhere
}

// deletePast removes a version of a history; o is the current version, or nil.
func (s *Store) deletePast(ref object.Ref, h *history, k kept, o *opened) error {
	restored := false
	if o == nil && k.marker {
		next, ok, err := h.below(k)
		if err != nil {
			return err
		}
		if ok && !next.marker {
			if err := s.restore(ref, h, next); err != nil {
				return err
			}
			restored = true
		}
	}
	if err := h.drop(k); err != nil {
		if restored {
			return unknown{err} // nobody sees the marker any more, until the next write
		}
		return err
	}
	if k.null {
		s.dropNulls(ref, past{})
	}
	s.pruneHistory(h.own.path)
	return nil
}

// below returns the version that follows the latest one, if that is k, where there
// is no current version.
func (h *history) below(k kept) (_ kept, ok bool, err error) {
	v, latest := showing(nil), true
	for q, err := range h.all() {
		switch {
		case err != nil:
			return kept{}, false, err
		case !v.counts(q.past):
		case !latest:
			return q, true, nil
		case q.past != k.past:
			return kept{}, false, nil
		default:
			latest = false
		}
	}
	return kept{}, false, nil
}

// noHistories removes the directories of a bucket's histories; BucketNotEmpty if
// there is a version in one. It ends with an error of stop.
func (s *Store) noHistories(stop func() error, bucket string) error {
	if !s.mayVersion() {
		return nil
	}
	dirs, err := s.emptyDirs(stop, bucket, versionsDir+"/"+bucket)
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		s.rmdirHistory(dirs[i])
	}
	return nil
}
