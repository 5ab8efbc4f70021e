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

	base    *Snapshot // nil before the first reading
	stamp   stamp     // before base was read
	proven  bool      // no change can have left the stamp what it is
	changed bool      // Note told of a change that base may lack
	overlay []change  // sorted changes of base; only of a large directory
	log     []change  // later ones
	began   time.Time // when the reading of base began

	// The stamp that was seen last, and since when it has been the same.
	seen  stamp
	since time.Time

	reading *reading // under way
	latest  *reading // that made base
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
// of others that are older than Config.Reread and the time of one reading.
//
// Get calls dir and so can take as long as the file system does. While another
// Get reads the same directory it waits, until ctx ends.
func (c *Cache) Get(ctx context.Context, id string, dir vfs.Dir) (*View, error) {
	v, err := c.get(ctx.Done(), id, dir)
	if errors.Is(err, errEnded) {
		err = context.Cause(ctx)
	}
	return v, err
}

// Look is Get for a caller who waits for the file system as long as it takes.
func (c *Cache) Look(id string, dir vfs.Dir) (*View, error) { return c.get(nil, id, dir) }

// errEnded says that a caller does not wait any longer.
var errEnded = errors.New("the wait has ended")

func (c *Cache) get(ended <-chan struct{}, id string, dir vfs.Dir) (*View, error) {
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
			return c.read(d, r, dir)
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
	case d.base.Len() >= c.cfg.Large && time.Since(d.began) < c.cfg.Reread:
	case d.base.Len() >= c.cfg.Large && d.reading != nil:
		// Somebody is reading it anew already; that takes a while.
	default:
		return nil
	}
	d.overlay, d.log = overlaid(d.overlay, d.log), nil
	v := &View{d.base, d.overlay}
	c.resize(d)
	return v
}

// read reads the directory as r and keeps what it finds.
func (c *Cache) read(d *directory, r *reading, dir vfs.Dir) (v *View, err error) {
	var before stamp
	var base *Snapshot
	began := time.Now()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		d.reading = nil
		if v != nil {
			// A name that was moved meanwhile may have been read under neither
			// of the two, or under both.
			v.overlay = overlaid(nil, r.log)
			c.keep(d, r, base, before, began)
		}
		r.view = v
		close(r.done)
	}()
	if before, err = statDir(dir); err != nil {
		return nil, err
	}
	if base, err = read(dir, c.cfg); err != nil {
		return nil, err
	}
	return &View{base: base}, nil
}

func statDir(dir vfs.Dir) (stamp, error) {
	st, err := dir.Stat(".")
	return stamp{st.Dev, st.Ino, st.Mtime.UnixNano(), st.Ctime.UnixNano()}, err
}

// keep makes base the snapshot of d. The stamp proves that nothing has changed
// since only if it was seen Config.Racy before the reading began, by our own
// clock: whatever the server's clock shows, it has gone on since, and a change
// during the reading or after it gets another time.
func (c *Cache) keep(d *directory, r *reading, base *Snapshot, before stamp, began time.Time) {
	if c.dirs[d.id] != d {
		return // forgotten meanwhile
	}
	if r.overflow {
		c.drop(d)
		return
	}
	d.base, d.stamp, d.began = base, before, began
	d.proven = !base.long && d.seen == before && began.Sub(d.since) >= c.cfg.Racy
	d.see(before)
	d.changed = len(r.log) > 0
	d.overlay, d.log, d.latest = nil, nil, r
	if base.Len() >= c.cfg.Large {
		d.log = r.log
	}
	c.resize(d)
}

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
	if d.base.Len() < c.cfg.Large {
		return // it is read anew anyway
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
	size := int64(overhead + len(d.id))
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
