package nasfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// The history of a key is a directory of its own below versionsDir: of each
// version that is not current a file, and of each delete marker a record. It
// lies where the key's file would in the bucket, under the name of the alias
// slot, so that the plain name stays free for the keys below.

// historyPath returns the directory of a key's history.
func (s *Store) historyPath(ref object.Ref) string {
	return versionsDir + "/" + s.path(ref, keypath.Alias)
}

// history is what there is of a key's versions but the current one, as it was when
// its parts were looked at. It is to be closed.
type history struct {
	s       *Store
	own     part // the directory of the history itself
	index   part // of the segments
	segment part // that was used last
}

// close closes what is open of a history; nil is none.
func (h *history) close() {
	if h == nil {
		return
	}
	h.own.close()
	h.index.close()
	h.segment.close()
}

func (s *Store) historyOf(ref object.Ref) *history {
	path := s.historyPath(ref)
	return &history{s: s, own: part{path: path}, index: part{path: path + "/" + segmentsName}}
}

// openHistory opens what there is of a key's history.
func (s *Store) openHistory(ref object.Ref) (h *history, err error) {
	h = s.historyOf(ref)
	if h.own, err = openPart(s.root, h.own.path, h.own.path); err != nil || h.own.dir == nil {
		return h, err
	}
	return h, h.openIndex()
}

func (h *history) openIndex() (err error) {
	if h.index, err = openPart(h.own.dir, segmentsName, h.index.path); err != nil {
		h.close()
	}
	return err
}

// from returns the versions whose names are not less than name, or with after set
// are greater, newest first. After an error there are no more.
func (h *history) from(name string, after bool) iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		view, err := h.s.look(&h.own)
		if err != nil {
			yield(kept{}, err)
			return
		}
		next, stop := iter.Pull(pasts(view, name, after))
		defer stop()
		p, more := next()
		for k, err := range h.inSegments(name, after) {
			for err == nil && more && p.name() < k.name() {
				if !yield(kept{past: p}, nil) {
					return
				}
				p, more = next()
			}
			if !yield(k, err) || err != nil {
				return
			}
		}
		for more && yield(kept{past: p}, nil) {
			p, more = next()
		}
	}
}

// all is from the newest version on.
func (h *history) all() iter.Seq2[kept, error] { return h.from("", false) }

// nulls returns the null versions, newest first.
func (h *history) nulls() iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		view, err := h.s.look(&h.own)
		if err != nil {
			yield(kept{}, err)
			return
		}
		for p := range pasts(view, "", false) {
			if p.null && !yield(kept{past: p}, nil) {
				return
			}
		}
	}
}

// newest returns when the newest version in it was made, in ns; 0 if it is empty.
func (h *history) newest() (int64, error) {
	for k, err := range h.all() {
		return k.id.made(), err
	}
	return 0, nil
}

// shown tells which versions of a history count, beside the current one. What
// does not was left by an operation that did not come to its end.
type shown struct {
	current *opened // nil if there is none
	null    bool    // a null version was seen that is newer
}

func showing(current *opened) *shown {
	return &shown{current: current, null: current != nil && versionOf(current.rec).isZero()}
}

// counts is to be asked in the order of the versions, newest first.
func (v *shown) counts(p past) bool {
	switch {
	case v.pending(p):
		return false
	case p.null && v.null:
		return false // replaced by the newer one
	case p.null:
		v.null = true
	case v.current != nil && p.id == versionOf(v.current.rec):
		return false // the current version itself, on its way here or back
	}
	return true
}

// pending reports whether a marker is of a delete that has not happened yet: the
// object that it says is gone is still there. When a stranger's file came nobody
// knows.
func (v *shown) pending(p past) bool {
	return p.marker && v.current != nil && v.current.rec != nil && p.id.made() >= v.current.madeAt()
}

// latest returns the newest version of a history that counts.
func (h *history) latest(current *opened) (_ kept, ok bool, err error) {
	v := showing(current)
	for k, err := range h.all() {
		if err != nil || v.counts(k.past) {
			return k, err == nil, err
		}
	}
	return kept{}, false, nil
}

// find returns the version of an ID, if it counts.
func (h *history) find(id string, current *opened) (_ kept, ok bool, err error) {
	v := showing(current)
	if id == object.NullVersion {
		for k, err := range h.nulls() {
			if err != nil || v.counts(k.past) {
				return k, err == nil, err
			}
		}
		return kept{}, false, nil
	}
	p := past{}
	if p.id, ok = parseVersion(id); !ok || h.own.dir == nil {
		return kept{}, false, nil
	}
	index, err := h.s.look(&h.index)
	if err != nil {
		return kept{}, false, err
	}
	for _, p.marker = range []bool{false, true} {
		for _, segment := range slices.Compact([]string{first(segments(index, id)), ""}) {
			k := kept{p, segment}
			if ok, err = h.has(k); ok || err != nil {
				return k, ok && v.counts(p), err
			}
		}
	}
	return kept{}, false, nil
}

// has reports whether the file of a version is there.
func (h *history) has(k kept) (bool, error) {
	dir, err := h.dirOf(k)
	if err == nil {
		_, err = dir.Stat(k.name())
	}
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// makeHistory opens a key's history, and makes its directory if it is missing.
func (s *Store) makeHistory(ref object.Ref) (*history, error) {
	h := s.historyOf(ref)
	path := h.own.path
	if s.unsettled(path) {
		if err := s.makeHistoryDirs(path); err != nil {
			return nil, err
		}
	}
	var err error
	if h.own, err = openPart(s.root, path, path); err == nil && h.own.dir == nil {
		if err = s.makeHistoryDirs(path); err == nil {
			h.own, err = openPart(s.root, path, path)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case h.own.dir == nil:
		return nil, errAgain // removed as it was empty, with the last version of another key
	}
	if err := s.awaitMade(historyDirs(path)...); err != nil {
		return nil, err
	}
	return h, h.openIndex()
}

// makeHistoryDirs makes the directory of a history and those above it.
func (s *Store) makeHistoryDirs(path string) error {
	for _, dir := range historyDirs(path) {
		if err := s.makeHistoryDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// historyDirs returns the path of a history and those above it, the upper ones first.
func historyDirs(path string) (dirs []string) {
	for i := len(versionsDir) + 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			dirs = append(dirs, path[:i])
		}
	}
	return dirs
}

// makeHistoryDir makes one directory, unless it is there, and makes it durable.
func (s *Store) makeHistoryDir(path string) error {
	m := s.stripe(path)
	m.Lock()
	defer m.Unlock()
	err := s.makeOwnDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errAgain
	case err == nil:
		s.noteHistoryDir(path, true)
	}
	return err
}

// noteHistoryDir tells the snapshots of a directory of versionsDir that was made
// or removed.
func (s *Store) noteHistoryDir(path string, added bool) {
	above := parentOf(path)
	component, slot, ok := s.codec.Decode(path[len(above)+1:])
	switch {
	case !ok:
		s.histories.Forget(above) // one of those that hold a long name
	case slot == keypath.Alias:
		s.histories.Note(above, dirsnap.Entry{Key: component, Slot: slot}, added)
	default:
		s.histories.Note(above, dirsnap.Entry{Key: component + "/"}, added)
	}
}

// noteVersion tells the snapshots of a version that was added to a history or removed.
func (h *history) noteVersion(k kept, added bool) {
	h.s.histories.Note(h.segmentPath(k.segment), dirsnap.Entry{Key: k.name()}, added)
}

// add publishes a file of the session as a version of a history.
func (h *history) add(f ownFile, p past) (kept, error) {
	k, err := h.place(p)
	var dir vfs.Dir
	if err == nil {
		dir, err = h.dirOf(k)
	}
	if err != nil {
		h.s.removeTemp(f.temp)
		return k, err
	}
	if err := h.s.publishTemp(f, dir, p.name()); err != nil {
		return k, again(err)
	}
	h.noteVersion(k, true)
	return k, nil
}

// archive keeps the current version of a key as one of its history. It is current
// all the time; what follows it was made at next.
func (s *Store) archive(ref object.Ref, o *opened, next int64) error {
	p := o.asPast(next)
	h, err := s.makeHistory(ref)
	if err != nil {
		return err
	}
	defer h.close()
	st := &staged{}
	if err := retryStaleErr(func() error { return s.linkSource(st, ref, o) }); err != nil {
		return err
	}
	_, err = h.add(ownFile{temp: st.name, stat: st.stat}, p)
	s.removeTemp(st.name) // there still if it failed, or if it was kept before
	if err != nil {
		return err
	}
	if p.null {
		s.dropNulls(ref, p)
	}
	return nil
}

// again returns errAgain for an error that says that a directory was removed
// meanwhile.
func again(err error) error {
	if errors.Is(err, fs.ErrNotExist) && !isUnknown(err) {
		return errAgain
	}
	return err
}

// dropNulls removes the null versions of a history, but for one. That is cleaning
// up: a newer null version hides them.
func (s *Store) dropNulls(ref object.Ref, but past) {
	h, err := s.openHistory(ref)
	if err == nil {
		defer h.close()
		err = h.dropNulls(func(p past) bool { return p == but })
	}
	if err != nil {
		s.log.Warn("a null version that was replaced is still there", "bucket", ref.Bucket, "key", ref.Key, "error", err)
	}
}

func (h *history) dropNulls(but func(past) bool) error {
	var failed error
	for k, err := range h.nulls() {
		if err == nil && !but(k.past) {
			err = h.drop(k)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// drop removes a version from a history, durably; one that is not there is
// removed.
func (h *history) drop(k kept) error {
	dir, err := h.dirOf(k)
	if errors.Is(err, errAgain) {
		return nil
	}
	if err != nil {
		return err
	}
	took, err := h.s.take(dir, k.name(), nil)
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	h.noteVersion(k, false)
	if lost := h.s.syncDir(dir); lost != nil {
		return unknown{lost}
	}
	if err == nil {
		h.s.letGo(took)
	}
	h.pruneSegment(k.segment)
	return nil
}

// pruneHistory removes the directories of histories above and with path that are
// empty, but not that of all.
func (s *Store) pruneHistory(path string) {
	for ; path != versionsDir; path = parentOf(path) {
		if !s.rmdirHistory(path) {
			return
		}
	}
}

func (s *Store) rmdirHistory(path string) bool {
	dir, leaf, err := s.openParent(path)
	if err != nil {
		return false
	}
	defer closeDir(dir)
	m := s.stripe(path)
	m.Lock()
	defer m.Unlock()
	failed := s.fresh.failed(path)
	if dir.Rmdir(leaf) != nil {
		return false
	}
	s.fresh.settled(path, failed)
	s.noteHistoryDir(path, false)
	return true
}

// open opens the file of a version. It is errAgain if it is not there any more.
func (h *history) open(k kept) (*opened, error) {
	dir, err := h.dirOf(k)
	if err != nil {
		return nil, err
	}
	f, err := dir.Open(k.name())
	if isAbsent(err) {
		return nil, errAgain
	}
	if err != nil {
		return nil, err
	}
	o, missing, err := h.s.describeFile(f)
	if err != nil {
		return nil, err
	}
	if missing {
		if _, err := dir.Stat(k.name()); err != nil {
			closeFile(f)
			return nil, again(err)
		}
	}
	return o, nil
}

// marker returns what a delete marker says.
func (h *history) marker(k kept) (*object.Marker, error) {
	dir, err := h.dirOf(k)
	if err != nil {
		return nil, err
	}
	b, err := readFile(dir, k.name(), maxRecord)
	if err != nil {
		return nil, again(err)
	}
	m := &object.Marker{Version: k.version(), Modified: unixTime(k.id.made())}
	if r, err := decodeRecord(b); err == nil {
		m.Modified = r.modified
	}
	return m, nil
}

// errMarked says that there is no object, since a delete marker says so.
type errMarked struct{ *object.Marker }

func (e errMarked) Unwrap() []error { return []error{errNoKey, e.Marker} }

// missing returns why there is no current version of a key, which was looked for just
// now.
func (s *Store) missing(ref object.Ref) error {
	if _, err := statBucket(ref.Bucket, func() (vfs.Stat, error) { return vfs.StatKnown(s.reads, ref.Bucket) }); err != nil {
		return err
	}
	if !s.mayVersion() {
		return errNoKey
	}
	h, err := s.openHistory(ref)
	if err != nil {
		return err
	}
	defer h.close()
	k, ok, err := h.latest(nil)
	if err != nil {
		return err
	}
	if !ok || !k.marker {
		return errNoKey
	}
	m, err := h.marker(k)
	switch {
	case errors.Is(err, errAgain):
		return errNoKey
	case err != nil:
		return err
	}
	return errMarked{m}
}

// findVersion opens the version that ref names.
func (s *Store) findVersion(ref object.Ref) (*opened, error) {
	if !object.PossibleVersion(ref.Version) {
		return nil, badVersion(ref)
	}
	// Between two looks it may have moved from the key to its history, or back.
	for range maxTries {
		o, err := s.openObject(ref)
		if err == nil && versionID(o.rec) == ref.Version {
			return o, nil
		}
		if err == nil {
			closeFile(o.file)
		} else if !errors.Is(err, errNoKey) {
			return nil, err
		}
		kept, err := s.findPast(ref, o)
		if kept != nil || err != nil && !errors.Is(err, errAgain) {
			return kept, err
		}
		if err == nil {
			if again, err := s.current(ref); err != nil || again == nil || again.Version != ref.Version {
				return nil, s.noVersion(ref, err)
			}
		}
	}
	return nil, errAgain
}

func badVersion(ref object.Ref) error {
	return object.E("find version", fmt.Sprintf("%.100q", ref.Version), object.BadVersion, nil)
}

// noVersion returns why a version is not there.
func (s *Store) noVersion(ref object.Ref, err error) error {
	if err == nil {
		err = s.bucketThere(ref.Bucket)
	}
	if err == nil {
		err = object.E("find version", ref.Version+" of "+ref.Bucket+"/"+ref.Key, object.NoSuchVersion, nil)
	}
	return err
}

// findPast opens a version in the history of its key; nil if it is not there. o is
// the current one, or nil.
func (s *Store) findPast(ref object.Ref, o *opened) (*opened, error) {
	if !s.mayVersion() {
		return nil, nil
	}
	h, err := s.openHistory(ref)
	if err != nil {
		return nil, err
	}
	defer h.close()
	k, ok, err := h.find(ref.Version, o)
	switch {
	case err != nil || !ok:
		return nil, err
	case k.marker:
		m, err := h.marker(k)
		if err != nil {
			return nil, err
		}
		return nil, object.E("find version", ref.Bucket+"/"+ref.Key, object.DeleteMarker, m)
	}
	return h.open(k)
}
