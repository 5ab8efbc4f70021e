package nasfs

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// List implements object.Objects. It walks snapshots of directories in the
// order of keys, from the place where the page begins, and looks only at the
// files of the page.
func (s *Store) List(ctx context.Context, q object.Query) (object.Page, error) {
	var page object.Page
	err := s.phase(ctx, s.calls, func() (err error) {
		page, err = retryStale(func() (object.Page, error) { return s.list(ctx, q) })
		return err
	}, nil)
	if err != nil {
		return object.Page{}, fail("list", q.Bucket, err)
	}
	return page, nil
}

func (s *Store) list(ctx context.Context, q object.Query) (object.Page, error) {
	if err := s.bucketThere(q.Bucket); err != nil {
		return object.Page{}, err
	}
	w := &walk{s: s, ctx: ctx, q: q, lower: q.Prefix}
	if q.After >= q.Prefix {
		w.lower = q.After + "\x00" // the least string that is greater
	}
	if len(q.Prefix) > object.MaxKeyLen || q.Limit < 1 {
		return object.Page{}, nil
	}
	// The walk begins in the lowest directory that has all of the prefix.
	if err := w.dir(q.Prefix[:strings.LastIndexByte(q.Prefix, '/')+1]); err != nil && !errors.Is(err, errPageFull) {
		return object.Page{}, err
	}
	return w.page, nil
}

// errPageFull ends a walk: there is more than the page has room for.
var errPageFull = errors.New("the page is full")

// walk is the making of one page.
type walk struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // a walk lives within one call
	q     object.Query
	page  object.Page
	lower string // nothing below it is of interest any more
	batch []candidate
}

// candidate is a file that may become part of the page.
type candidate struct {
	key  string
	slot keypath.Slot // that its file was seen in
	info object.Info
	ok   bool
	err  error
}

// dir walks the directory of the keys that begin with prefix.
func (w *walk) dir(prefix string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	path := w.s.dirPath(w.q.Bucket, prefix)
	dir, err := w.s.reads.OpenDir(path)
	if err != nil {
		return w.gone(path, err)
	}
	defer closeDir(dir)
	view, err := w.s.snaps.Get(w.ctx, path, dir, w.s.changesIn(w.ctx, w.q.Bucket, prefix))
	if err != nil {
		return w.gone(path, err)
	}
	for {
		from, ok := w.from(prefix)
		if !ok {
			return w.flush(dir)
		}
		again, err := w.entries(prefix, dir, view, from)
		if err != nil || !again {
			return err
		}
	}
}

// gone is the error of a directory that cannot be walked: one that is not
// there any more holds nothing, nor does one that is another file system's. One
// that this process may not read is named: what is in it may be objects.
func (w *walk) gone(path string, err error) error {
	if isAbsent(err) {
		return nil
	}
	if isMount(err) {
		w.s.log.Warn("another file system is mounted in a bucket: it is left out", "path", path)
		return nil
	}
	if kindOf(err) == object.AccessDenied {
		return errors.Join(&object.Obstacle{Path: path}, err)
	}
	return err
}

// from returns where in the directory of prefix the rest of the walk begins;
// not ok if it is all behind.
func (w *walk) from(prefix string) (string, bool) {
	rel, within := strings.CutPrefix(w.lower, prefix)
	if !within {
		return "", w.lower < prefix
	}
	if i := strings.IndexByte(rel, '/'); i >= 0 {
		return rel[:i+1], true // the directory that it is in
	}
	return rel, true
}

// entries goes through a directory from one of its components on. It returns
// true where it is to be called again, from where the walk is then.
func (w *walk) entries(prefix string, dir vfs.Dir, view *dirsnap.View, from string) (again bool, err error) {
	for e := range view.From(from, false) {
		key := prefix + e.Key
		if !strings.HasPrefix(key, w.q.Prefix) && (!e.IsDir() || !strings.HasPrefix(w.q.Prefix, key)) {
			if key > w.q.Prefix {
				break
			}
			continue
		}
		if e.IsDir() {
			again, err = w.subdir(key, dir)
		} else {
			again, err = w.file(key, e, dir)
		}
		if again || err != nil {
			return again, err
		}
	}
	return false, w.flush(dir)
}

// subdir takes the directory of the keys that begin with key. With the
// delimiter "/" it is a common prefix even if it is empty; with others only
// what it holds can be one.
func (w *walk) subdir(key string, dir vfs.Dir) (again bool, err error) {
	if err := w.flush(dir); err != nil {
		return false, err
	}
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

// file takes the file of a key.
func (w *walk) file(key string, e dirsnap.Entry, dir vfs.Dir) (again bool, err error) {
	if key < w.lower || len(key) > object.MaxKeyLen {
		return false, nil
	}
	if common, ok := w.common(key); ok {
		if err := w.flush(dir); err != nil {
			return false, err
		}
		// A file that is gone by now is no reason for a common prefix.
		switch _, _, err := w.s.findFile(dir, key, e.Slot); {
		case errors.Is(err, errNoKey):
			return false, nil
		case err != nil:
			return false, err
		}
		return true, w.prefix(common)
	}
	w.batch = append(w.batch, candidate{key: key, slot: e.Slot})
	if w.room() < len(w.batch) {
		return false, w.flush(dir)
	}
	return false, nil
}

// common returns the common prefix that a key belongs to.
func (w *walk) common(key string) (string, bool) {
	if w.q.Delimiter == "" || len(key) < len(w.q.Prefix) {
		return "", false
	}
	i := strings.Index(key[len(w.q.Prefix):], w.q.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(w.q.Prefix)+i+len(w.q.Delimiter)], true
}

// room returns how many entries the page can still take.
func (w *walk) room() int { return w.q.Limit - len(w.page.Objects) - len(w.page.Prefixes) }

// prefix takes a common prefix, and leaves behind all that begins with it.
func (w *walk) prefix(common string) error {
	w.lower = successor(common)
	if common <= w.q.After {
		return nil
	}
	if w.room() == 0 {
		w.page.More = true
		return errPageFull
	}
	w.page.Prefixes = append(w.page.Prefixes, common)
	w.page.Next = common
	return nil
}

// successor returns the least string that is greater than all that begin with
// prefix; what there is none for becomes a string that no key reaches.
func successor(prefix string) string {
	b := []byte(prefix)
	for len(b) > 0 {
		if b[len(b)-1]++; b[len(b)-1] != 0 {
			return string(b)
		}
		b = b[:len(b)-1]
	}
	return strings.Repeat("\xff", object.MaxKeyLen+1)
}

// flush looks at the candidates, which are of one directory, and takes those
// that are there.
func (w *walk) flush(dir vfs.Dir) error {
	if len(w.batch) == 0 {
		return nil
	}
	batch := w.batch
	w.batch = w.batch[:0]
	w.s.describeAll(w.ctx, w.q.Bucket, dir, batch)
	for i := range batch {
		c := &batch[i]
		if c.err != nil {
			return c.err
		}
		if !c.ok {
			continue
		}
		if w.room() == 0 {
			w.page.More = true
			return errPageFull
		}
		c.info.Version = ""
		w.page.Objects = append(w.page.Objects, c.info)
		w.page.Next = c.key
	}
	return nil
}

// listWorkers is how many files of a page are looked at at a time where each
// look waits for a server.
const listWorkers = 32

// describeAll looks at the files of candidates.
func (s *Store) describeAll(ctx context.Context, bucket string, dir vfs.Dir, batch []candidate) {
	if s.localDisk || len(batch) < 8 {
		for i := range batch {
			s.describe(bucket, dir, &batch[i])
		}
		return
	}
	var wg sync.WaitGroup
	for worker := range listWorkers {
		wg.Go(func() {
			for i := worker; i < len(batch); i += listWorkers {
				if batch[i].err = ctx.Err(); batch[i].err == nil {
					s.describe(bucket, dir, &batch[i])
				}
			}
		})
	}
	wg.Wait()
}

// describe looks at one file: one stat(2) where its ETag is remembered.
func (s *Store) describe(bucket string, dir vfs.Dir, c *candidate) {
	ref := object.Ref{Bucket: bucket, Key: c.key}
	for range maxTries {
		name, st, err := s.findFile(dir, c.key, c.slot)
		if err != nil {
			if !errors.Is(err, errNoKey) {
				c.err = err
			}
			return
		}
		if c.info, c.ok = s.etags.get(ref, st, s.deployment); c.ok {
			return
		}
		if again := s.describeOpen(ref, dir, name, st, c); !again {
			return
		}
	}
	c.err = errAgain
}

// findFile finds the file of a key in its directory. It may have moved to the
// other slot since it was seen, and back again while it is looked for.
func (s *Store) findFile(dir vfs.Dir, key string, seen keypath.Slot) (name string, st vfs.Stat, err error) {
	_, component := splitKey(key)
	other := keypath.Plain
	if seen == keypath.Plain {
		other = keypath.Alias
	}
	for _, slot := range []keypath.Slot{seen, other, seen} {
		name = s.codec.Slot(component, slot)
		st, err = dir.Stat(name)
		switch {
		case err == nil && st.Mode.IsRegular():
			return name, st, nil
		case err != nil && !isAbsent(err):
			return "", st, err
		case !s.mayAlias():
			return "", st, errNoKey
		}
	}
	return "", st, errNoKey
}

// describeOpen is describe for a file whose ETag is not remembered. It is to be
// called again if the file was moved or replaced meanwhile.
func (s *Store) describeOpen(ref object.Ref, dir vfs.Dir, name string, st vfs.Stat, c *candidate) (again bool) {
	f, err := dir.Open(name)
	if isAbsent(err) {
		return true
	}
	if err != nil {
		s.describeUnread(ref, st, c, err)
		return false
	}
	defer closeFile(f)
	if st, err = f.Stat(); err != nil || !st.Mode.IsRegular() {
		c.err = err
		return false
	}
	rec, missing, err := s.loadRecord(f, stampOf(st))
	if err != nil {
		c.err = err
		return false
	}
	if missing {
		// What has lost its record while it was looked at was replaced.
		if now, err := dir.Stat(name); err != nil || now.Ino != st.Ino {
			return true
		}
	}
	s.etags.put(st, rec)
	c.info, c.ok = s.listed(ref, st, rec), true
	return false
}

// describeUnread is describe for a file that cannot be opened: one that this
// process may not read is shown all the same, as somebody else's.
func (s *Store) describeUnread(ref object.Ref, st vfs.Stat, c *candidate, err error) {
	if kindOf(err) != object.AccessDenied {
		c.err = err
		return
	}
	c.info, c.ok = s.info(ref, stampOf(st), nil, nil), true
	c.info.Meta = object.Meta{}
}
