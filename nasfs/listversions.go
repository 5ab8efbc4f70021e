package nasfs

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// ListVersions implements object.Objects. It walks the bucket and the histories of
// its keys side by side, as List walks the bucket.
func (s *Store) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	var page object.VersionPage
	err := s.phase(ctx, s.calls, func() (err error) {
		page, err = retryStale(func() (object.VersionPage, error) { return s.listVersions(ctx, q) })
		return err
	}, nil)
	if err != nil {
		return object.VersionPage{}, fail("list versions", q.Bucket, err)
	}
	return page, nil
}

func (s *Store) listVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	mode, err := s.versioning(q.Bucket)
	if err == nil {
		err = s.bucketThere(q.Bucket)
	}
	if err != nil || len(q.Prefix) > object.MaxKeyLen || q.Limit < 1 {
		return object.VersionPage{}, err
	}
	plain := object.Query{Bucket: q.Bucket, Prefix: q.Prefix, Delimiter: q.Delimiter, After: q.AfterKey, Limit: q.Limit}
	w := &versionWalk{walk: walk{s: s, ctx: ctx, q: plain, lower: q.Prefix}, mode: mode, after: q.AfterVersion}
	switch {
	case q.AfterKey >= q.Prefix && q.AfterVersion != "":
		w.lower = q.AfterKey
	case q.AfterKey >= q.Prefix:
		w.lower = q.AfterKey + "\x00"
	}
	err = w.dir(q.Prefix[:strings.LastIndexByte(q.Prefix, '/')+1])
	if err != nil && !errors.Is(err, errPageFull) {
		return object.VersionPage{}, err
	}
	page := object.VersionPage{Versions: w.versions, Prefixes: w.page.Prefixes, More: w.page.More}
	if page.More {
		page.NextKey, page.NextVersion = w.page.Next, w.next
	}
	return page, nil
}

// versionWalk is the making of one page of versions.
type versionWalk struct {
	walk
	mode     object.Versioning
	after    string // of the query
	versions []object.VersionInfo
	missed   bool   // one that was seen was not there any more
	next     string // version that the next page begins after
}

// side is one of the two directories that are walked together.
type side struct {
	dir  vfs.Dir
	view *dirsnap.View
}

func (d side) close() {
	if d.dir != nil {
		closeDir(d.dir)
	}
}

func (d side) from(key string) iter.Seq[dirsnap.Entry] {
	if d.view == nil {
		return func(func(dirsnap.Entry) bool) {}
	}
	return d.view.From(key, false)
}

// open opens a directory of one side; one that is not there is empty.
func (w *versionWalk) open(cache *dirsnap.Cache, path string, changes dirsnap.Changes) (d side, err error) {
	d.dir, err = w.s.reads.OpenDir(path)
	if err != nil {
		return side{}, w.gone(path, err)
	}
	if d.view, err = cache.Get(w.ctx, path, d.dir, changes); err != nil {
		d.close()
		return side{}, w.gone(path, err)
	}
	return d, nil
}

// dir walks the keys that begin with prefix.
func (w *versionWalk) dir(prefix string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	path := w.s.dirPath(w.q.Bucket, prefix)
	plain, err := w.open(w.s.snaps, path, w.s.changesIn(w.ctx, w.q.Bucket, prefix))
	if err != nil {
		return err
	}
	defer plain.close()
	var kept side
	if w.mode != object.Unversioned {
		if kept, err = w.open(w.s.histories, versionsDir+"/"+path, nil); err != nil {
			return err
		}
		defer kept.close()
	}
	for {
		from, ok := w.from(prefix)
		if !ok {
			return nil
		}
		again, err := w.entries(prefix, plain, kept, from)
		if err != nil || !again {
			return err
		}
	}
}

// entries goes through both sides from a component on. It returns true where it is
// to be called again, from where the walk is then.
func (w *versionWalk) entries(prefix string, plain, kept side, from string) (again bool, err error) {
	for e := range merged(plain.from(from), kept.from(from)) {
		key := prefix + e.key
		isDir := strings.HasSuffix(e.key, "/")
		if !strings.HasPrefix(key, w.q.Prefix) && (!isDir || !strings.HasPrefix(w.q.Prefix, key)) {
			if key > w.q.Prefix {
				break
			}
			continue
		}
		if isDir {
			again, err = w.subdir(key)
		} else {
			again, err = w.key(key, plain.dir, e)
		}
		if again || err != nil {
			return again, err
		}
	}
	return false, nil
}

// sides is one component, and where it was seen.
type sides struct {
	key         string
	slot        keypath.Slot // in the bucket
	plain, kept bool
}

// merged goes through two directories in the order of their components.
func merged(plain, kept iter.Seq[dirsnap.Entry]) iter.Seq[sides] {
	return func(yield func(sides) bool) {
		nextPlain, stopPlain := iter.Pull(plain)
		defer stopPlain()
		nextKept, stopKept := iter.Pull(kept)
		defer stopKept()
		p, hasPlain := nextPlain()
		k, hasKept := nextKept()
		for hasPlain || hasKept {
			order := cmp.Compare(p.Key, k.Key)
			e := sides{plain: hasPlain && (!hasKept || order <= 0), kept: hasKept && (!hasPlain || order >= 0)}
			if e.kept {
				e.key = k.Key
				k, hasKept = nextKept()
			}
			if e.plain {
				e.key, e.slot = p.Key, p.Slot
				p, hasPlain = nextPlain()
			}
			if !yield(e) {
				return
			}
		}
	}
}

// subdir takes the keys that begin with key.
func (w *versionWalk) subdir(key string) (again bool, err error) {
	if w.q.Delimiter == "/" {
		if common, ok := w.common(key); ok {
			return true, w.prefix(common)
		}
	}
	if err := w.dir(key); err != nil {
		return false, err
	}
	return w.lower > successor(key), nil // a common prefix reaches beyond it
}

func (w *versionWalk) room() int { return w.walk.room() - len(w.versions) }

// prefix takes a common prefix, and leaves behind all that begins with it.
func (w *versionWalk) prefix(common string) error {
	if common > w.q.After && w.room() == 0 {
		w.page.More = true
		return errPageFull
	}
	w.next = ""
	return w.walk.prefix(common)
}

// key takes the versions of a key.
func (w *versionWalk) key(key string, dir vfs.Dir, e sides) (again bool, err error) {
	if key < w.lower || len(key) > object.MaxKeyLen {
		return false, nil
	}
	if common, ok := w.common(key); ok {
		return w.commonKey(key, common)
	}
	if !e.kept {
		c := candidate{key: key, slot: e.slot}
		w.s.describe(w.q.Bucket, dir, &c)
		if c.err != nil || !c.ok || w.behind(key, versionText(c.info.Version)) {
			return false, c.err
		}
		return false, w.add(object.VersionInfo{Info: c.info, Latest: true})
	}
	return false, w.keptKey(object.Ref{Bucket: w.q.Bucket, Key: key})
}

func versionText(id string) string { return cmp.Or(id, object.NullVersion) }

// commonKey takes the common prefix of a key, if the key has a version.
func (w *versionWalk) commonKey(key, common string) (again bool, err error) {
	ref := object.Ref{Bucket: w.q.Bucket, Key: key}
	o, h, err := w.s.openBoth(ref)
	if err != nil {
		return false, err
	}
	defer h.close()
	if _, ok, err := h.latest(o); err != nil || o == nil && !ok {
		return false, err
	}
	return true, w.prefix(common)
}

// behind reports whether a version is on an earlier page, which ended with it.
func (w *versionWalk) behind(key, id string) bool { return key == w.q.After && id == w.after }

// add takes a version.
func (w *versionWalk) add(v object.VersionInfo) error {
	if w.room() == 0 {
		w.page.More = true
		return errPageFull
	}
	v.Bucket = w.q.Bucket
	if w.mode != object.Unversioned {
		v.Version = versionText(v.Version)
	}
	w.versions = append(w.versions, v)
	w.page.Next, w.next = v.Key, versionText(v.Version)
	return nil
}

// openBoth returns the current version of a key, closed, nil if there is none, and
// its history, as both were at one moment.
func (s *Store) openBoth(ref object.Ref) (*opened, *history, error) {
	for range maxTries {
		o, err := s.openObject(ref)
		if err == nil {
			closeFile(o.file)
		} else if !errors.Is(err, errNoKey) {
			return nil, nil, err
		}
		h, err := s.openHistory(ref)
		if err != nil {
			return nil, h, err
		}
		if _, _, err = h.latest(o); err != nil {
			h.close()
			return nil, nil, err
		}
		// What was put back meanwhile would be in neither.
		now, err := s.openObject(ref)
		if err == nil {
			closeFile(now.file)
		} else if !errors.Is(err, errNoKey) {
			h.close()
			return nil, nil, err
		}
		if (o == nil) == (now == nil) && (o == nil || o.stamp() == now.stamp()) {
			return o, h, nil
		}
		h.close()
	}
	return nil, nil, errAgain
}

// keptKey takes the versions of a key that has a history.
func (w *versionWalk) keptKey(ref object.Ref) error {
	for range maxTries {
		page, next, taken := w.page, w.next, len(w.versions)
		w.missed = false
		o, h, err := w.s.openBoth(ref)
		if err != nil {
			return err
		}
		err = w.keptVersions(ref, o, h)
		split := h.index.dir != nil // its parts are looked at one after the other
		h.close()
		if err != nil && !errors.Is(err, errPageFull) || !split && !w.missed {
			return err
		}
		switch back, lost := w.s.putBack(ref, o); {
		case lost != nil:
			return lost
		case !back:
			return err
		}
		w.page, w.next, w.versions = page, next, w.versions[:taken]
	}
	return errAgain
}

// putBack reports whether an older version of a key may have become current since o
// was.
func (s *Store) putBack(ref object.Ref, o *opened) (bool, error) {
	now, err := s.openObject(ref)
	if errors.Is(err, errNoKey) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	closeFile(now.file)
	return o == nil || now.madeAt() < o.madeAt(), nil
}

// keptVersions takes a current version and those of a history.
func (w *versionWalk) keptVersions(ref object.Ref, o *opened, h *history) error {
	begin := ""
	if ref.Key == w.q.After {
		var err error
		if begin, err = w.begin(h, o); err != nil {
			return err
		}
	}
	if o != nil && begin == "" && !w.resumes(ref.Key) {
		if err := w.add(object.VersionInfo{Info: w.s.listed(ref, o.stat, o.rec), Latest: true}); err != nil {
			return err
		}
	}
	v := showing(o)
	latest := o == nil && begin == "" && !w.resumes(ref.Key)
	for k, err := range h.from(begin, begin != "") {
		if err != nil {
			return err
		}
		if !v.counts(k.past) {
			continue
		}
		if err := w.addPast(ref, h, k, latest && k.marker); err != nil {
			return err
		}
		latest = false
	}
	return nil
}

// resumes reports whether the page begins within the versions of a key.
func (w *versionWalk) resumes(key string) bool { return key == w.q.After && w.after != "" }

// begin returns the name in the history after which the page begins: none if that
// is its beginning.
func (w *versionWalk) begin(h *history, o *opened) (string, error) {
	if o != nil && versionID(o.rec) == w.after {
		return "", nil
	}
	k, ok, err := h.find(w.after, o)
	if ok || err != nil {
		return k.name(), err
	}
	if id, ok := parseVersion(w.after); ok {
		return id.String(), nil // it was deleted meanwhile
	}
	return "", nil
}

// listed is what a listing shows of a file.
func (s *Store) listed(ref object.Ref, st vfs.Stat, r *record) object.Info {
	info := s.info(ref, stampOf(st), r, nil)
	info.Parts, info.Meta = nil, object.Meta{StorageClass: info.Meta.StorageClass}
	info.Checksum = object.Checksum{Algorithm: info.Checksum.Algorithm, Type: info.Checksum.Type}
	return info
}

// addPast takes a version of a history.
func (w *versionWalk) addPast(ref object.Ref, h *history, k kept, latest bool) error {
	if w.room() == 0 {
		w.page.More = true
		return errPageFull
	}
	v := object.VersionInfo{Latest: latest, Marker: k.marker}
	var err error
	if k.marker {
		var m *object.Marker
		if m, err = h.marker(k); err == nil {
			v.Info = object.Info{Key: ref.Key, Modified: m.Modified}
		}
	} else {
		v.Info, err = h.describe(ref, k)
	}
	if errors.Is(err, errAgain) {
		w.missed = true // deleted meanwhile, or put back
		return nil
	}
	if err != nil {
		return err
	}
	v.Version = k.version()
	return w.add(v)
}

// describe is what a listing shows of a version in a history: one stat(2) where it
// is remembered.
func (h *history) describe(ref object.Ref, k kept) (object.Info, error) {
	dir, err := h.dirOf(k)
	if err != nil {
		return object.Info{}, err
	}
	st, err := dir.Stat(k.name())
	if err != nil {
		return object.Info{}, again(err)
	}
	if info, ok := h.s.etags.get(ref, st, h.s.deployment); ok {
		return info, nil
	}
	o, err := h.open(k)
	if err != nil {
		return object.Info{}, err
	}
	closeFile(o.file)
	h.s.etags.put(o.stat, o.rec)
	return h.s.listed(ref, o.stat, o.rec), nil
}
