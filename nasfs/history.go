package nasfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

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

// history is the directory of a key's versions as it was at one moment. The
// zero history is empty.
type history struct {
	path string
	dir  vfs.Dir
	view *dirsnap.View
}

func (h history) close() {
	if h.dir != nil {
		closeDir(h.dir)
	}
}

// openHistory opens what there is of a key's history.
func (s *Store) openHistory(ref object.Ref) (history, error) {
	h := history{path: s.historyPath(ref)}
	dir, err := s.root.OpenDir(h.path)
	if isAbsent(err) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if h.view, err = s.histories.Look(h.path, dir); err != nil {
		closeDir(dir)
		return h, err
	}
	h.dir = dir
	return h, nil
}

// from returns the versions whose names are not less than name, newest first.
func (h history) from(name string, after bool) iter.Seq[past] {
	return func(yield func(past) bool) {
		if h.view == nil {
			return
		}
		for e := range h.view.From(name, after) {
			if p, ok := parsePast(e.Key); ok && !yield(p) {
				return
			}
		}
	}
}

// all is from the newest version on.
func (h history) all() iter.Seq[past] { return h.from("", false) }

// newest returns when the newest version in it was made, in ns; 0 if it is empty.
func (h history) newest() int64 {
	for p := range h.all() {
		return p.id.made()
	}
	return 0
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
func (h history) latest(current *opened) (past, bool) {
	v := showing(current)
	for p := range h.all() {
		if v.counts(p) {
			return p, true
		}
	}
	return past{}, false
}

// find returns the version of an ID, if it counts.
func (h history) find(id string, current *opened) (past, bool) {
	first := id
	if id == object.NullVersion {
		first = "" // it can be anywhere
	}
	v := showing(current)
	for p := range h.from(first, false) {
		if p.version() == id && v.counts(p) {
			return p, true
		}
		if first != "" && p.id.String() != id {
			break
		}
	}
	return past{}, false
}

// makeHistory opens the directory of a key's history, and makes it if it is
// missing.
func (s *Store) makeHistory(ref object.Ref) (history, error) {
	h := history{path: s.historyPath(ref)}
	var err error
	if !s.unsettled(h.path) {
		if h.dir, err = s.root.OpenDir(h.path); !errors.Is(err, fs.ErrNotExist) {
			return h, err
		}
	}
	for i := len(versionsDir) + 1; i <= len(h.path); i++ {
		if i < len(h.path) && h.path[i] != '/' {
			continue
		}
		if err := s.makeHistoryDir(h.path[:i]); err != nil {
			return h, err
		}
	}
	if h.dir, err = s.root.OpenDir(h.path); errors.Is(err, fs.ErrNotExist) {
		err = errAgain // removed as it was empty, with the last version of another key
	}
	return h, err
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
func (s *Store) noteVersion(h history, p past, added bool) {
	s.histories.Note(h.path, dirsnap.Entry{Key: p.name()}, added)
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
	err = s.publishTemp(ownFile{temp: st.name, stat: st.stat}, h.dir, p.name())
	s.removeTemp(st.name) // there still if it failed, or if it was kept before
	if err != nil {
		return again(err)
	}
	s.noteVersion(h, p, true)
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
		for p := range h.all() {
			if p.null && p != but {
				err = errors.Join(err, s.drop(h, p))
			}
		}
	}
	if err != nil {
		s.log.Warn("a null version that was replaced is still there", "bucket", ref.Bucket, "key", ref.Key, "error", err)
	}
}

// drop removes a version from a history, durably; one that is not there is
// removed.
func (s *Store) drop(h history, p past) error {
	took, err := s.take(h.dir, p.name(), nil)
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	s.noteVersion(h, p, false)
	if lost := s.syncDir(h.dir); lost != nil {
		return unknown{lost}
	}
	if err == nil {
		s.letGo(took)
	}
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
	if dir.Rmdir(leaf) != nil {
		return false
	}
	s.noteHistoryDir(path, false)
	return true
}

// openPast opens the file of a version in a history. It is errAgain if it is not
// there any more.
func (s *Store) openPast(h history, p past) (*opened, error) {
	f, err := h.dir.Open(p.name())
	if isAbsent(err) {
		return nil, errAgain
	}
	if err != nil {
		return nil, err
	}
	o, missing, err := s.describeFile(f)
	if err != nil {
		return nil, err
	}
	if missing {
		if _, err := h.dir.Stat(p.name()); err != nil {
			closeFile(f)
			return nil, again(err)
		}
	}
	return o, nil
}

// markerOf returns what a delete marker says.
func (s *Store) markerOf(h history, p past) (*object.Marker, error) {
	b, err := readFile(h.dir, p.name(), maxRecord)
	if err != nil {
		return nil, again(err)
	}
	m := &object.Marker{Version: p.version(), Modified: unixTime(p.id.made())}
	if r, err := decodeRecord(b); err == nil {
		m.Modified = r.modified
	}
	return m, nil
}

// errMarked says that there is no object, since a delete marker says so.
type errMarked struct{ *object.Marker }

func (e errMarked) Unwrap() []error { return []error{errNoKey, e.Marker} }

// missing returns why there is no current version of a key.
func (s *Store) missing(ref object.Ref) error {
	if err := s.bucketThere(ref.Bucket); err != nil {
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
	p, ok := h.latest(nil)
	if !ok || !p.marker {
		return errNoKey
	}
	m, err := s.markerOf(h, p)
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
	if err := validVersion(ref); err != nil {
		return nil, err
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

// shortestID is how long the ID of a version of some server is at least, in bytes.
const shortestID = 20

// validVersion refuses what never was the ID of a version, here or on another
// server that the client may have it from.
func validVersion(ref object.Ref) error {
	if ref.Version == object.NullVersion {
		return nil
	}
	for i := range len(ref.Version) {
		if c := ref.Version[i]; c <= ' ' || c > '~' {
			return badVersion(ref)
		}
	}
	if len(ref.Version) < shortestID {
		return badVersion(ref)
	}
	return nil
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
	p, ok := h.find(ref.Version, o)
	switch {
	case !ok:
		return nil, nil
	case p.marker:
		m, err := s.markerOf(h, p)
		if err != nil {
			return nil, err
		}
		return nil, object.E("find version", ref.Bucket+"/"+ref.Key, object.DeleteMarker, m)
	}
	return s.openPast(h, p)
}
