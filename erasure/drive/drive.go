// Package drive is one drive of a set: what it holds of keys, in an ordered store, and the
// shards of contents, in that store, in segments or in files of their own. It knows the
// rules of package register and nothing of the other drives.
package drive

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Drive holds registers and shards. Its methods may be called concurrently.
type Drive struct {
	kv    KV
	files Files
	spool spool
	// segments is nil where there are none.
	segments *segments
	// rechecked is set when what was written last, before it was not closed in order, has been read.
	rechecked bool
	seed      maphash.Seed
	// stripes of keys, by their hash: so many that writers seldom wait for each other's syncs. On disks that take
	// 10 ms for one, 64 writers do a fifth more with 2,048 than with 256.
	stripes  [2048]stripe
	notes    sync.Mutex // while the note of a shard is replaced or removed
	grave    graveyard
	claims   claims
	bindings bindings
	sweeper  sweeper
	newest   byte // where the next file is noted that is finished (fileKey); guarded by notes
	room     room
	guard    guard
	entrance entrance
	reads    lane
	syncs    lane        // what ends when it is durable
	doubted  atomic.Bool // its store is being asked to write something
	logging  logging
}

// New returns a Drive, which owns kv and files. free returns how many bytes the disk has
// left, of how many; nil: there is room for everything.
func New(kv KV, files Files, free func() (left, all uint64, err error)) *Drive {
	d := &Drive{kv: kv, files: files, seed: maphash.MakeSeed()}
	d.room.free, d.room.tight = free, d.press
	d.grave.begun, d.grave.reads = time.Now(), make(map[register.DataID]time.Duration)
	return d
}

// Close frees what the drive holds open. It waits for calls that are under way; what comes
// later fails with register.ErrUnknown.
func (d *Drive) Close() error {
	d.entrance.shut()
	d.entrance.drain()
	d.grave.close()
	d.sweeper.close()
	var err error
	if d.segments != nil {
		if err = d.segments.close(); err == nil && d.rechecked {
			d.closedInOrder()
		}
	}
	return errors.Join(err, d.kv.Close(), d.files.Close())
}

// The first bytes of keys in the store.
const (
	headKey  = 'h' // key: Head, and the Made of its null register
	entryKey = 'r' // key, Made inverted: Entry
	dataKey  = 'd' // DataID: where the shard is
	refKey   = 'x' // DataID, key, version: that register refers to the content
	// pendingKey is with a key and Made inverted behind it: that register is pending; without,
	// that all which are have such a key.
	pendingKey = 'p'

	markKey  = 'u' // DataID: nothing refers to its shard since then, in seconds
	doubtKey = 'w' // written where it is in doubt whether anything can be

	openKey = 'o' // the drive was opened, and not closed in order since
	fileKey = 'f' // number: DataID of one of the newest shards that are files

	segmentKey = 's' // number: there is that segment; and offset: DataID and length of the entry in use there
)

// keyed is a key of a head, and what was read of it.
type keyed struct {
	name []byte // the encoded key
	head register.Head
	null register.Token // Made of the null register; zero: there is none
}

func headName(key []byte) []byte { return append([]byte{headKey}, key...) }

func entryName(key []byte, made register.Token) []byte { return placed(entryKey, key, made) }

func pendingName(key []byte, made register.Token) []byte { return placed(pendingKey, key, made) }

// placed returns the place of a register (register.Key.Place) behind a first byte.
func placed(first byte, key []byte, made register.Token) []byte {
	b := append(append(make([]byte, 0, 1+len(key)+register.TokenSize), first), key...)
	start := len(b)
	b = made.Append(b)
	for i := range b[start:] {
		b[start+i] ^= 0xff
	}
	return b
}

func (d *Drive) load(key register.Key) (k keyed, err error) {
	k.name = key.Append(nil)
	b, found, err := d.kv.Get(headName(k.name))
	if err != nil || !found {
		return k, err
	}
	var rest []byte
	if k.head, rest, err = register.DecodeHead(b); err != nil {
		return k, fmt.Errorf("head of %q: %w", key.Name, err)
	}
	if len(rest) > 0 {
		k.null, err = register.ParseToken(rest)
	}
	return k, err
}

func (k *keyed) save(b *Batch) {
	v := k.head.Append(nil)
	if !k.null.IsZero() {
		v = k.null.Append(v)
	}
	b.Set(headName(k.name), v)
}

// entry returns what the drive holds of a register, or nil.
func (d *Drive) entry(k *keyed, version string, made register.Token) (*register.Entry, error) {
	if version == register.Null {
		made = k.null
	}
	if made.IsZero() {
		return nil, nil
	}
	b, found, err := d.kv.Get(entryName(k.name, made))
	if err != nil || !found {
		return nil, err
	}
	e, err := register.DecodeEntry(b)
	if err != nil {
		return nil, fmt.Errorf("register %q of %q: %w", version, k.name, err)
	}
	if e.Version != version {
		return nil, nil
	}
	return &e, nil
}

// Commit takes a state of a register, durably. The errors are those of package register.
func (d *Drive) Commit(_ context.Context, c register.Change) error {
	if err := d.enter(&d.syncs); err != nil {
		return err
	}
	defer d.leave(&d.syncs)
	admitted, err := d.admit(&c)
	if err != nil {
		return fmt.Errorf("%w: %w", register.ErrFenced, err)
	}
	defer admitted()
	if n := int64(len(c.Inline)); n > 0 {
		if err := d.room.promise(n); err != nil {
			return err
		}
		defer d.room.settle(n, n)
	}
	name := c.Key.Append(nil)
	st := d.stripe(name)
	defer st.lock()()
	k, err := d.load(c.Key)
	if err != nil {
		return err
	}
	cur, err := d.entry(&k, c.Record.Version, c.Record.Made)
	if err != nil {
		return err
	}
	if len(c.Inline) == 0 && len(c.Record.Data) > 0 {
		defer d.bindings.bind(c.Record.Data)()
	}
	shard, err := d.holds(c.Record.Data, len(c.Inline) > 0)
	if err != nil {
		return err
	}
	if c.Strict && !shard {
		return register.ErrNoShard
	}
	head, e, done, err := k.head.Commit(cur, c.Record, shard, c.Settles)
	if err != nil || done {
		return err
	}
	k.head = head
	var b Batch
	if err := d.replace(&b, &k, cur, &e); err != nil {
		return err
	}
	if len(c.Inline) > 0 {
		b.Set(dataName(e.Data[0]), inlineShard(c.Inline))
	}
	return st.apply(d.kv, &b, name)
}

// replace has a Batch put a state of a register in the place of another one, if there is one.
// It is pending from then on.
func (d *Drive) replace(b *Batch, k *keyed, cur, e *register.Entry) error {
	if cur != nil && cur.Made != e.Made {
		b.Remove(entryName(k.name, cur.Made))
		if err := d.settled(b, k, cur.Made); err != nil {
			return err
		}
	}
	if e.Version == register.Null {
		k.null = e.Made
	}
	k.save(b)
	b.Set(entryName(k.name, e.Made), e.Append(nil))
	b.Set(pendingName(k.name, e.Made), nil)
	for _, id := range e.Data {
		b.Set(refName(id, k.name, e.Version), nil)
	}
	return nil
}

// Install takes a state that is known to be committed and that the drive has missed, and
// finds out anew whether it has the shards of what it holds. Whoever calls it has the key's
// lock with that token, and promises of a quorum.
func (d *Drive) Install(_ context.Context, key register.Key, r register.Record, t register.Token) (bool, error) {
	if err := d.enter(&d.syncs); err != nil {
		return false, err
	}
	defer d.leave(&d.syncs)
	name := key.Append(nil)
	st := d.stripe(name)
	defer st.lock()()
	k, err := d.load(key)
	if err != nil {
		return false, err
	}
	cur, err := d.entry(&k, r.Version, r.Made)
	if err != nil {
		return false, err
	}
	if len(r.Data) > 0 {
		defer d.bindings.bind(r.Data)()
	}
	shard, err := d.holds(r.Data, false)
	if err != nil {
		return false, err
	}
	head, e, changed, err := k.head.Install(cur, r, shard, t)
	if err != nil || !changed {
		return false, err
	}
	k.head = head
	var b Batch
	if err := d.replace(&b, &k, cur, &e); err != nil {
		return false, err
	}
	var freed []register.DataID
	if cur != nil {
		freed = append(freed, cur.Data...)
		for _, p := range cur.Before {
			freed = append(freed, p.Data...)
		}
	}
	unused := except(freed, e.Data)
	unrefer(&b, unused, k.name, e.Version)
	if err := st.apply(d.kv, &b, name); err != nil {
		return false, err
	}
	d.bury(unused)
	return true, nil
}

// Promise has the drive take nothing older than t for the key, durably, and returns what
// it holds.
func (d *Drive) Promise(_ context.Context, t register.Token, q register.Query) (register.View, error) {
	if err := d.enter(&d.syncs); err != nil {
		return register.View{}, err
	}
	defer d.leave(&d.syncs)
	name := q.Key.Append(nil)
	defer d.stripe(name).lock()()
	k, err := d.load(q.Key)
	if err != nil {
		return register.View{}, err
	}
	if k.head.Promised != t {
		if k.head, err = k.head.Promise(t); err != nil {
			return register.View{}, err
		}
		var b Batch
		k.save(&b)
		if err := d.kv.Apply(&b, true); err != nil {
			return register.View{}, err
		}
	}
	return d.view(&k, q)
}

// Read returns what the drive holds.
func (d *Drive) Read(_ context.Context, q register.Query) (register.View, error) {
	if err := d.enter(&d.reads); err != nil {
		return register.View{}, err
	}
	defer d.leave(&d.reads)
	k := keyed{name: q.Key.Append(nil)}
	if q.Version == register.Null {
		var err error
		if k, err = d.load(q.Key); err != nil {
			return register.View{}, err
		}
	}
	v, err := d.view(&k, q)
	if err == nil && q.Inline && live(v.Entries) {
		v.Inline, err = d.inline(&v.Entries[len(v.Entries)-1])
	}
	if err == nil {
		st := d.stripe(k.name)
		err = st.wait(st.seen(k.name, k.name))
	}
	return v, err
}

// inline returns the shard of a register's only content, if it is in the store.
func (d *Drive) inline(e *register.Entry) ([]byte, error) {
	if !e.Shard || len(e.Data) != 1 {
		return nil, nil
	}
	note, found, err := d.kv.Get(dataName(e.Data[0]))
	if err != nil || !found || len(note) == 0 || note[0] != isInline {
		return nil, err
	}
	return note[1:], nil
}

func (d *Drive) view(k *keyed, q register.Query) (register.View, error) {
	if q.Version != "" {
		e, err := d.entry(k, q.Version, q.Made)
		if err != nil || e == nil {
			return register.View{}, err
		}
		return register.View{Entries: []register.Entry{*e}}, nil
	}
	from, to := append([]byte{entryKey}, k.name...), after(append([]byte{entryKey}, k.name...))
	if !q.Below.IsZero() {
		from = append(entryName(k.name, q.Below), 0)
	}
	it, err := d.kv.Scan(from, to)
	if err != nil {
		return register.View{}, err
	}
	var v register.View
	for it.Next() {
		if live(v.Entries) {
			v.More = true
			break
		}
		e, err := register.DecodeEntry(it.Value())
		if err != nil {
			return register.View{}, errors.Join(fmt.Errorf("register of %q: %w", q.Key.Name, err), it.Close())
		}
		if !q.NotNull || e.Version != register.Null {
			v.Entries = append(v.Entries, e)
		}
	}
	return v, it.Close()
}

// live reports whether the last of some entries is a version, and not what is left of one.
func live(entries []register.Entry) bool {
	return len(entries) > 0 && entries[len(entries)-1].Kind != register.Tombstone
}

// after returns the first key behind all that begin with a prefix.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			b := append([]byte(nil), prefix[:i+1]...)
			b[i]++
			return b
		}
	}
	return nil
}

// Decide takes note that a state is committed. What that replaced goes, and a tombstone
// that every drive knows to be committed. It need not be durable: who reads finds out again.
func (d *Drive) Decide(_ context.Context, all []register.Decision) error {
	if err := d.enter(nil); err != nil {
		return err
	}
	defer d.leave(nil)
	for i := range all {
		if err := d.decide(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Drive) decide(c *register.Decision) error {
	name := c.Key.Append(nil)
	defer d.stripe(name).lock()()
	k, err := d.load(c.Key)
	if err != nil {
		return err
	}
	cur, err := d.entry(&k, c.Version, c.Made)
	if err != nil || cur == nil || cur.Changed != c.Changed {
		return err
	}
	e, freed, changed := cur.Decide(c.Changed)
	var b Batch
	switch {
	case e.Kind == register.Tombstone && c.Forget:
		b.Remove(entryName(k.name, e.Made))
		b.Remove(pendingName(k.name, e.Made))
		if e.Version == register.Null {
			k.null = register.Token{}
			k.save(&b)
		}
	case changed && len(cur.Before) <= 1: // the one before is read over
		b.Extend(entryName(k.name, e.Made), register.DecidedMark)
	case changed:
		b.Set(entryName(k.name, e.Made), e.Append(nil))
	}
	if c.Everywhere && e.Kind != register.Tombstone && e.Shard {
		if err := d.settled(&b, &k, e.Made); err != nil {
			return err
		}
	}
	if len(b.ops) == 0 {
		return nil
	}
	unused := except(freed, e.Data)
	unrefer(&b, unused, k.name, e.Version)
	if err := d.kv.Apply(&b, false); err != nil {
		return err
	}
	d.bury(unused)
	return nil
}

// except returns what is in all and not in kept.
func except(all, kept []register.DataID) []register.DataID {
	has := make(map[register.DataID]bool, len(kept))
	for _, id := range kept {
		has[id] = true
	}
	var rest []register.DataID
	for _, id := range all {
		if !has[id] {
			rest = append(rest, id)
		}
	}
	return rest
}
