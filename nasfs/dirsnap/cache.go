package dirsnap

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Config says how a Cache works. Zero values mean the defaults.
type Config struct {
	Codec     keypath.Codec
	MaxBytes  int64         // of all snapshots together; default 256 MiB
	Large     int           // entries from which on a directory is not read anew for every change; default 10,000
	Racy      time.Duration // within which two changes of a directory may leave equal times; default 2 s
	AliasDirs bool          // directories in the alias slot are shown, as files are; others are somebody else's
	Reread    time.Duration // how old a large directory's snapshot gets before changes of others are looked for; default 3 s
	Shared    bool          // others may change directories of any size at any time, and Note is not told of it
}

// The defaults of Config.
const (
	DefaultMaxBytes = 256 << 20
	DefaultLarge    = 10_000
	DefaultRacy     = 2 * time.Second
	DefaultReread   = 3 * time.Second
)

// maxLog is how many changes are kept of one directory while it is read, and
// how many are kept beside a snapshot at least.
const maxLog = 1 << 14

// Cache keeps the snapshots of directories. Its methods may be called
// concurrently.
type Cache struct {
	cfg Config

	mu    sync.Mutex
	dirs  map[string]*directory
	order *list.List // of *directory, most recently used first
	bytes int64
	begun uint64 // readings so far
}

// stamp is what must be the same of a directory for its names to be the same.
type stamp struct {
	dev, ino     uint64
	mtime, ctime int64 // ns
}

// directory is what a Cache knows of one. All but id is guarded by Cache.mu.
type directory struct {
	id   string
	elem *list.Element
	size int64 // as counted in Cache.bytes

	image            // base is nil before the first reading
	proven  bool     // no change can have left the stamp what it is
	changed bool     // Note told of a change that base may lack
	log     []change // later ones than overlay; only of a large directory

	// The stamp that was seen last, and since when it has been the same.
	seen  stamp
	since time.Time

	reading *reading // under way
	latest  *reading // that made base
}

// image is what a directory was at some moment.
type image struct {
	base    *Snapshot
	overlay []change      // sorted changes of base
	stamp   stamp         // before it was looked at
	mark    string        // from where on to ask what has changed since; "": there is no knowing
	began   time.Time     // when the reading of base began
	took    time.Duration // that it took
}

// reading is a directory being read. Who came before it began may use what it
// finds; who came later may not, since changes that were over when they came
// may have been missed.
type reading struct {
	number   uint64
	done     chan struct{}
	log      []change // since it began
	overflow bool     // log is not complete
	view     *View    // nil if it failed
}

// NewCache returns an empty Cache.
func NewCache(cfg Config) *Cache {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Large <= 0 {
		cfg.Large = DefaultLarge
	}
	if cfg.Racy <= 0 {
		cfg.Racy = DefaultRacy
	}
	if cfg.Reread <= 0 {
		cfg.Reread = DefaultReread
	}
	return &Cache{cfg: cfg, dirs: map[string]*directory{}, order: list.New()}
}

// Bytes returns how much memory the snapshots take.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Get returns the directory dir, which id names. The View holds every change
// that was over when Get was called, whoever made it; of a directory with
// Config.Large entries or more, every change that Note was told of, and those
// of others that are older than Config.Reread and the time of one reading. With
// Config.Shared no directory is so large, but one of which changes tells, and
// there the exception is for strangers only: those of whom changes does not tell.
//
// Get calls dir and so can take as long as the file system does. While another
// Get reads the same directory it waits, until ctx ends.
func (c *Cache) Get(ctx context.Context, id string, dir vfs.Dir, changes Changes) (*View, error) {
	v, err := c.get(ctx.Done(), id, dir, changes)
	if errors.Is(err, errEnded) {
		err = context.Cause(ctx)
	}
	return v, err
}

// Look is Get for a caller who waits for the file system as long as it takes.
func (c *Cache) Look(id string, dir vfs.Dir) (*View, error) { return c.get(nil, id, dir, nil) }

// errEnded says that a caller does not wait any longer.
var errEnded = errors.New("the wait has ended")

func (c *Cache) get(ended <-chan struct{}, id string, dir vfs.Dir, changes Changes) (*View, error) {
	st, err := dir.Stat(".")
	if err != nil {
		return nil, err
	}
	now := stamp{st.Dev, st.Ino, st.Mtime.UnixNano(), st.Ctime.UnixNano()}
	c.mu.Lock()
	d := c.use(id)
	d.see(now)
	came := c.begun // what began before may have missed what it must not; the next reading will do
	for {
		v := c.valid(d, now)
		if v == nil && d.latest != nil && d.latest.number > came {
			v = d.latest.view
		}
		if v != nil {
			c.mu.Unlock()
			return v, nil
		}
		r := d.reading
		if r == nil {
			c.begun++
			r = &reading{number: c.begun, done: make(chan struct{})}
			d.reading = r
			c.mu.Unlock()
			return c.refresh(d, r, dir, changes)
		}
		c.mu.Unlock()
		select {
		case <-r.done:
		case <-ended:
			return nil, errEnded
		}
		if r.number > came && r.view != nil {
			return r.view, nil
		}
		c.mu.Lock()
		d = c.use(id)
	}
}

// see notes the directory's stamp at this moment.
func (d *directory) see(now stamp) {
	if d.seen != now || d.since.IsZero() {
		d.seen, d.since = now, time.Now()
	}
}

// valid returns the view that d's snapshot gives of the directory, or nil if
// it may lack something that it must not.
func (c *Cache) valid(d *directory, now stamp) *View {
	switch {
	case d.base == nil || d.stamp.ino != now.ino || d.stamp.dev != now.dev:
		return nil
	case d.stamp == now && d.proven && !d.changed:
	case c.patched(d) && time.Since(d.began) < c.cfg.Reread:
	case c.patched(d) && d.reading != nil:
		// Somebody is reading it anew already; that takes a while.
	default:
		return nil
	}
	d.overlay, d.log = overlaid(d.overlay, d.log), nil
	v := &View{d.base, d.overlay}
	c.resize(d)
	return v
}

// refresh finds out, as r, what the directory is now: by what has changed in it
// since it was looked at last, or by reading it. It keeps what it finds.
func (c *Cache) refresh(d *directory, r *reading, dir vfs.Dir, changes Changes) (v *View, err error) {
	var now image
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		d.reading = nil
		if v != nil {
			// A name that was moved meanwhile may have been read under neither
			// of the two, or under both.
			v.overlay = overlaid(v.overlay, r.log)
			c.keep(d, r, now)
		}
		r.view = v
		close(r.done)
	}()
	mark := ""
	if last := c.followed(d); last.base != nil && changes != nil {
		var ok bool
		if now, mark, ok = c.follow(last, dir, changes); ok {
			return &View{now.base, now.overlay}, nil
		}
	}
	if now, err = c.read(dir); err != nil {
		return nil, err
	}
	now.mark = mark
	return &View{base: now.base}, nil
}

// read reads the directory.
func (c *Cache) read(dir vfs.Dir) (now image, err error) {
	now.began = time.Now()
	if now.stamp, err = statDir(dir); err != nil {
		return image{}, err
	}
	if now.base, err = read(dir, c.cfg); err != nil {
		return image{}, err
	}
	now.took = time.Since(now.began)
	return now, nil
}

func statDir(dir vfs.Dir) (stamp, error) {
	st, err := dir.Stat(".")
	return stamp{st.Dev, st.Ino, st.Mtime.UnixNano(), st.Ctime.UnixNano()}, err
}

// keep makes an image what is known of d. Its stamp proves that nothing has
// changed since only if it was seen Config.Racy before the reading began, by our
// own clock: whatever the server's clock shows, it has gone on since, and a change
// during the reading or after it gets another time.
func (c *Cache) keep(d *directory, r *reading, now image) {
	if c.dirs[d.id] != d {
		return // forgotten meanwhile
	}
	if r.overflow {
		c.drop(d)
		return
	}
	d.image = now
	d.proven = !now.base.long && d.seen == now.stamp && now.began.Sub(d.since) >= c.cfg.Racy
	d.see(now.stamp)
	d.changed = len(r.log) > 0
	d.log, d.latest = nil, r
	if c.patched(d) {
		d.log = r.log
	}
	if len(d.overlay) > max(fewPatches, d.base.Len()/patchShare) {
		c.fold(d)
	}
	c.resize(d)
}

// patched reports whether d is so large that what Note tells is put on top of
// its snapshot.
func (c *Cache) patched(d *directory) bool { return !c.cfg.Shared && d.base.Len() >= c.cfg.Large }

// Note tells of a change to the directory id that has become visible: entry is
// there now, or with added false is not. Changes of one Key are noted in their
// order. It must be called before anybody is told of the change, and for every
// change that Get is to show at once in large directories.
func (c *Cache) Note(id string, entry Entry, added bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dirs[id]
	if d == nil {
		return
	}
	what := change{entry, !added}
	if r := d.reading; r != nil && !r.overflow {
		if r.log = append(r.log, what); len(r.log) > maxLog {
			r.log, r.overflow = nil, true
		}
	}
	if d.base == nil {
		return
	}
	d.changed = true
	if !c.patched(d) {
		return // it is looked at anew anyway
	}
	d.log = append(d.log, what)
	if len(d.log)+len(d.overlay) > max(maxLog, d.base.Len()/8) {
		c.fold(d)
	}
	if len(d.log)%256 == 0 {
		c.resize(d)
	}
}

// fold joins the changes of d with its snapshot.
func (c *Cache) fold(d *directory) {
	base, err := (&View{d.base, overlaid(d.overlay, d.log)}).fold()
	if err != nil {
		c.drop(d) // too large to be kept; reading it will say so
		return
	}
	d.base, d.overlay, d.log, d.latest = base, nil, nil, nil
	c.resize(d)
}

// Forget drops what is known of a directory, as after changes of which Note
// may not have been told. What is being read now is not kept.
func (c *Cache) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.dirs[id]; d != nil {
		c.drop(d)
	}
}

// ForgetAll is Forget for every directory.
func (c *Cache) ForgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.dirs {
		c.drop(d)
	}
}

// overhead is what a directory takes beside its snapshot, in bytes, about.
const overhead = 512

// use returns the directory as the one used last.
func (c *Cache) use(id string) *directory {
	d := c.dirs[id]
	if d == nil {
		d = &directory{id: id}
		d.elem = c.order.PushFront(d)
		c.dirs[id] = d
		c.resize(d)
		return d
	}
	c.order.MoveToFront(d.elem)
	return d
}

// resize counts anew what d takes, and drops the directories used longest ago,
// d too, if all together take too much. One that is being read stays known, so
// that Note reaches its reading.
func (c *Cache) resize(d *directory) {
	if c.dirs[d.id] != d {
		return
	}
	size := int64(overhead + len(d.id) + len(d.mark))
	if d.base != nil {
		size += int64(d.base.Size())
	}
	for _, list := range [][]change{d.overlay, d.log} {
		size += 64 * int64(len(list)) // and the keys, which are short or shared
	}
	c.bytes += size - d.size
	d.size = size
	for elem := c.order.Back(); elem != nil && c.bytes > c.cfg.MaxBytes; {
		victim := elem.Value.(*directory)
		elem = elem.Prev()
		if victim.reading == nil {
			c.drop(victim)
		}
	}
}

func (c *Cache) drop(d *directory) {
	c.order.Remove(d.elem)
	delete(c.dirs, d.id)
	c.bytes -= d.size
	d.size = 0
}
