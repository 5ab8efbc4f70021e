package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// mending is the healing of one name, by one goroutine.
type mending struct {
	p       *healing
	l       *listing      // that has the name; nil: there is none any more
	e       *entry        // what all drives have listed of it
	pending *register.Key // the register, where what is pending was listed
	bucket  string
	name    string

	done   Healed
	agreed []agreement
	bytes  int64 // of its contents that shards were made of
	lacked Slots
	ahead  []made        // before the key was locked
	seen   map[held]bool // that are whole
	over   bool
	locked bool // somebody may wait for the key
}

// heal heals the versions of the name that all drives have listed, if they differ.
func (m *mending) heal(ctx context.Context) error {
	if m.pending != nil {
		m.ask(ctx)
	}
	if m.l == nil {
		return m.leftover(ctx)
	}
	m.done.Names++
	if err := m.differing(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.done.Pending = max(m.done.Pending, 1)
		m.leave("not healed", err)
	}
	if m.p.rate > 0 {
		if err := m.scrub(ctx); err != nil {
			return err
		}
	}
	if n := m.lacked.Count(); m.l.q.Space == register.Objects && n > 0 {
		m.done.Mended = []Mended{{Bucket: m.bucket, Key: m.name, Bytes: m.bytes, Drives: n}}
	}
	return nil
}

// differing heals the versions of a name if drives differ in one of them.
func (m *mending) differing(ctx context.Context) error {
	e := m.e
	made, _ := e.versions()
	at, alike := m.l.place(e.set, m.name), make([]common, 0, len(made))
	for version := range made {
		c := e.common(version)
		if c.record == nil {
			return m.mend(ctx, at, made)
		}
		alike = append(alike, c)
	}
	for i := range alike {
		m.same(at.key, &alike[i], len(e.views))
	}
	return nil
}

// mend heals the versions of a name.
func (m *mending) mend(ctx context.Context, at place, made map[string]register.Token) error {
	if err := m.p.pace.wait(ctx, forever); err != nil {
		return err
	}
	return unclaimed(ctx, func() error {
		before := m.done.Pending
		err := m.try(ctx, at, made)
		if errors.Is(err, register.ErrClaimed) {
			m.done.Pending = before // it is counted when it is tried again
		}
		return err
	})
}

// How long is waited before it is looked again whether somebody else has written a shard.
const (
	claimedSoon   = time.Second
	claimedSeldom = 30 * time.Second
)

// unclaimed tries to heal something until nobody else is writing a shard that it needs: another pass,
// a reader who has found damage, or who is late with a new object. That ends: nodes give those up who send nothing,
// and a drive that hangs is away.
func unclaimed(ctx context.Context, try func() error) error {
	for pause := claimedSoon; ; pause = min(2*pause, claimedSeldom) {
		err := try()
		if !errors.Is(err, register.ErrClaimed) {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// try heals the versions of a name, unless somebody else is writing one of the shards.
func (m *mending) try(ctx context.Context, at place, made map[string]register.Token) error {
	leave, err := m.admit(ctx, made)
	if err != nil {
		return err
	}
	defer leave()
	return m.p.s.holding(ctx, at, func(ctx context.Context, h *hold) error {
		m.locked = true
		defer func() { m.locked = false }()
		return m.versions(ctx, h, made)
	})
}

// maxSegmented is the size, in bytes, of shards that drives have side by side. A larger one is in a
// file of its own (package drive).
const maxSegmented = 4 << 20

// maxLong is how many names with long versions are healed at a time: while a large shard is made durable
// the next is read.
const maxLong = 2

// versions heals registers, under the lock of their key.
func (m *mending) versions(ctx context.Context, h *hold, made map[string]register.Token) error {
	for _, version := range slices.Sorted(maps.Keys(made)) {
		if err := m.version(ctx, h, sought{version: version, made: made[version], changed: m.e.changed(version)}); err != nil {
			return err
		}
	}
	for _, s := range m.ahead { // what no register refers to any more
		if err := s.drive.Drop(ctx, s.id); err != nil {
			return err
		}
	}
	return nil
}

// admit waits until there is room for the name, if any version of it is long, and makes its shards before
// its key is locked: that takes as long as they are, and who writes to the key waits for the lock.
// What the name's registers refer to meanwhile is seen afterwards. leave has to be called then.
func (m *mending) admit(ctx context.Context, made map[string]register.Token) (leave func(), err error) {
	long, err := m.long()
	if err != nil || !long {
		return func() {}, err
	}
	if leave, err = take(ctx, m.p.long); err != nil {
		return nil, err
	}
	if m.l.q.Space != register.Objects {
		return leave, nil // others may refer to what parts have: it could not be dropped under the lock of one
	}
	for version := range made {
		err := m.prepare(ctx, version)
		if errors.Is(err, register.ErrClaimed) {
			leave()
			return nil, err
		}
		if err != nil && ctx.Err() == nil {
			m.p.s.cfg.Logger.Info("shards are made under the lock of their key", "bucket", m.bucket, "name", m.name, "error", err)
		}
	}
	return leave, nil
}

// prepare makes the shards that drives lack of what is known to be committed of a version.
func (m *mending) prepare(ctx context.Context, version string) error {
	r := m.e.decided(version)
	if r == nil || len(r.Data) == 0 {
		return nil
	}
	var errs []error
	for i := range m.e.views {
		v := &m.e.views[i]
		has := func(x register.Entry) bool { return x.Version == version && x.Changed == r.Changed && x.Shard }
		if !slices.ContainsFunc(v.value.Entries, has) {
			made, err := m.shards(ctx, r, v.drive, inner(m.e.set.drives[v.drive]))
			m.ahead, errs = append(m.ahead, made...), append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// decided returns the newest state of a register that a drive knows to be committed.
func (e *entry) decided(version string) (last *register.Record) {
	for i := range e.views {
		listed := e.views[i].value.Entries
		for j := range listed {
			if x := &listed[j]; x.Version == version && x.Decided && (last == nil || last.Changed.Less(x.Changed)) {
				last = &x.Record
			}
		}
	}
	return last
}

// take waits until there is room for one more.
func take(ctx context.Context, room chan struct{}) (leave func(), err error) {
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (m *mending) long() (bool, error) {
	for i := range m.e.views {
		for j := range m.e.views[i].value.Entries {
			x := &m.e.views[i].value.Entries[j]
			if len(x.Data) == 0 {
				continue
			}
			v, err := decodeValue(x.Value)
			if err != nil {
				return false, err
			}
			if v.long() {
				return true, nil
			}
		}
	}
	return false, nil
}

// alone writes a large shard while no other one is written: drives that seek read and write long
// stretches of one file.
func (p *healing) alone(ctx context.Context, write func(ahead int) error) error {
	leave, err := take(ctx, p.writing)
	if err != nil {
		return err
	}
	defer leave()
	return write(stripesAhead)
}

// stripesAhead is how many stripes are read at a time of what is made for a large shard.
const stripesAhead = 4

// same takes note that so many drives hold the same of a register.
func (m *mending) same(key register.Key, c *common, holders int) {
	everywhere, tombstone := holders == len(m.e.set.drives), c.record.Kind == register.Tombstone
	if c.committed && (everywhere && (m.p.log || tombstone) || !c.decided) {
		m.agreed = append(m.agreed, agreement{decision(key, c.record, everywhere), tombstone})
	}
	if !everywhere {
		m.done.Pending++
	}
}

// leave takes note that something of the name could not be healed.
func (m *mending) leave(msg string, err error, args ...any) {
	m.done.Failed++
	m.p.s.counts.failed.Add(1)
	m.p.s.cfg.Logger.Warn(msg, append(args, "bucket", m.bucket, "name", m.name, "error", err)...)
	reason := err.Error()
	m.done.Left = append(m.done.Left, Left{Bucket: m.bucket, Name: m.name, Reason: reason[:min(len(reason), maxReason)]})
}

// version heals one register, under the lock of its key.
func (m *mending) version(ctx context.Context, h *hold, what sought) error {
	j, replies := asking{s: h.set, token: h.token}.judge(ctx, h.key, what, true)
	for try := 1; (j.Verdict == register.Forward || j.Verdict == register.Back) && try < maxSettled; try++ {
		if err := h.settle(ctx, h.set, what); err != nil {
			return err
		}
		// What it has made an end of may be forgotten just now, by one drive before another.
		j, replies = asking{s: h.set, token: h.token}.judge(ctx, h.key, what, true)
	}
	switch j.Verdict {
	case register.Absent:
		return nil
	case register.Committed:
	case register.AskMore, register.Forward, register.Back, register.Unreadable:
		return asking{s: h.set, token: h.token}.failure(replies)
	}
	var errs []error
	reached := 0
	for i, d := range h.set.drives {
		switch err := m.drive(ctx, h, &j.Record, i, inner(d)); {
		case err == nil:
			reached++
		case errors.Is(err, register.ErrUnknown): // it is not there
			m.done.Absent.add(m.e.set.first + i)
		default:
			errs = append(errs, fmt.Errorf("drive %d: %w", i, err))
		}
	}
	if reached == len(h.set.drives) {
		m.agreed = append(m.agreed, agreement{decision(h.key, &j.Record, true), j.Record.Kind == register.Tombstone})
	} else {
		m.done.Pending++
	}
	return errors.Join(errs...)
}

// errNewer says that a drive has something newer than what is to be brought to it.
var errNewer = errors.New("erasure: the drive has a newer state")

// drive brings a drive the record, and the shards of what it refers to.
func (m *mending) drive(ctx context.Context, h *hold, r *register.Record, i int, d Drive) error {
	view, err := d.Read(ctx, register.Query{Key: h.key, Version: r.Version, Made: r.Made})
	if err != nil {
		return err
	}
	var has *register.Entry
	if len(view.Entries) > 0 {
		has = &view.Entries[0]
	}
	if has != nil && r.Changed.Less(has.Changed) {
		return errNewer
	}
	if has != nil && has.Changed == r.Changed && has.Decided && (has.Shard || len(r.Data) == 0) {
		return nil
	}
	if has == nil || has.Changed != r.Changed || !has.Decided {
		changed, err := d.Install(ctx, h.key, *r, h.token)
		if err != nil {
			return err
		}
		if changed {
			m.done.Records++
			m.p.pace.spend(recordCost)
			m.lacked.add(m.e.set.first + i)
			m.p.s.counts.records.Add(1)
		}
	}
	if len(r.Data) == 0 {
		return nil
	}
	if _, err := m.shards(ctx, r, i, d); err != nil {
		return err
	}
	_, err = d.Install(ctx, h.key, *r, h.token) // it finds that the shards are there
	return err
}

// held is the shard of a content on the drive of a place in the set.
type held struct {
	drive int
	id    register.DataID
}

// made is the shard of a content that was made on a drive.
type made struct {
	drive Drive
	id    register.DataID
}

// shards makes the shards of a record that a drive lacks, or of which it has something that is not whole, and
// returns which these were.
func (m *mending) shards(ctx context.Context, r *register.Record, i int, d Drive) (all []made, err error) {
	v, err := decodeValue(r.Value)
	if err != nil {
		return nil, err
	}
	for _, c := range v.contents {
		at := held{i, c.id}
		if m.seen[at] {
			continue
		}
		if damage := m.verify(ctx, v, c, i); unasked(damage) {
			return all, damage
		} else if damage != nil {
			if err := m.rebuild(ctx, v, c, i, d); err != nil {
				return all, err
			}
			all = append(all, made{d, c.id})
		}
		if m.seen == nil {
			m.seen = make(map[held]bool)
		}
		m.seen[at] = true
	}
	return all, nil
}

// verify reads the shard that a drive has of a content, and returns an error if it is not whole.
func (m *mending) verify(ctx context.Context, v *value, c content, i int) error {
	codec, err := m.p.s.codec(v.geometry)
	if err != nil {
		return err
	}
	source := (&handle{s: m.p.s, set: m.e.set, ctx: ctx, codec: codec, v: v}).source(c.id)
	return codec.Verify(shard.ID(c.id), c.size, m.number(v, i), source)
}

// unasked reports whether an error is about the way to a drive, or about files or memory that its process lacks: it
// says nothing of what the drive has. What takes too long may be a disk that cannot read this.
func unasked(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	for _, passing := range []error{register.ErrUnknown, errHung, io.EOF, net.ErrClosed, context.Canceled, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// number returns which shard a drive has.
func (m *mending) number(v *value, drive int) int {
	n := len(m.e.set.drives)
	return (drive - v.start + n) % n
}

// rebuild makes the shard of a content on a drive.
func (m *mending) rebuild(ctx context.Context, v *value, c content, i int, d Drive) error {
	codec, err := m.p.s.codec(v.geometry)
	if err != nil {
		return err
	}
	made := codec.Size(c.size)
	h := &handle{s: m.p.s, set: m.e.set, ctx: ctx, codec: codec, v: v}
	from := places{h.set, v.start, h.set.sources}
	var w register.ShardWriter
	write := func(ahead int) (err error) {
		if w, err = d.Create(ctx, c.id, made); err != nil {
			return err
		}
		paced := &pacedWriter{Writer: w, ctx: ctx, pace: m.p.pace, urgent: m.locked}
		if err = codec.Rebuild(shard.ID(c.id), c.size, m.number(v, i), ahead, h.left(c.id), from, paced); err != nil {
			w.Abort()
		}
		return err
	}
	if made > maxSegmented {
		err = m.p.alone(ctx, write)
	} else {
		err = write(1)
	}
	if err != nil {
		return err
	}
	if err := w.Finish(); err != nil {
		return err
	}
	m.done.Shards++
	m.done.Bytes += made
	m.bytes += c.size
	m.lacked.add(m.e.set.first + i)
	m.p.s.counts.shards.Add(1)
	m.p.s.counts.bytes.Add(made)
	return nil
}

// scrub reads the shards of a name's versions on every drive that says that it has them,
// and makes those anew that are not whole.
func (m *mending) scrub(ctx context.Context) error {
	for i := range m.e.views {
		reply := &m.e.views[i]
		for j := range reply.value.Entries {
			x := &reply.value.Entries[j]
			if !x.Shard || len(x.Data) == 0 {
				continue
			}
			if err := m.scrubOne(ctx, &x.Record, reply.drive); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mending) scrubOne(ctx context.Context, r *register.Record, i int) error {
	v, err := decodeValue(r.Value)
	if err != nil {
		return err
	}
	d := inner(m.e.set.drives[i])
	for _, c := range v.contents {
		if err := m.pace(ctx, v.geometry.Size(c.size)); err != nil {
			return err
		}
		damage := m.verify(ctx, v, c, i)
		if damage == nil {
			continue
		}
		if unasked(damage) {
			m.leave("a shard cannot be looked at", damage, "drive", m.e.set.first+i, "content", fmt.Sprintf("%x", c.id))
			continue
		}
		m.done.Damaged++
		m.p.s.counts.damagedScrub.Add(1)
		m.p.s.cfg.Logger.Warn("a shard is not whole, and made anew", "drive", m.e.set.first+i, "content", fmt.Sprintf("%x", c.id), "error", damage)
		if err := unclaimed(ctx, func() error { return m.rebuild(ctx, v, c, i, d) }); err != nil {
			m.leave("a shard is not made anew", err, "drive", m.e.set.first+i, "content", fmt.Sprintf("%x", c.id))
		}
	}
	return nil
}

// pace waits for as long as so many bytes may take.
func (m *mending) pace(ctx context.Context, n int64) error {
	return sleep(ctx, time.Duration(float64(n)/float64(m.p.rate)*float64(time.Second)))
}

// sleep waits for some time.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
