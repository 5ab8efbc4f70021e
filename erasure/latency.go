package erasure

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// When an answer is late, and what comes of it. What drives take usually is what each of them is
// measured by; these are the bounds, below which nobody notices and above which somebody waits.
const (
	minSlow     = 3 * time.Millisecond  // less is not slow, whatever others take
	minPatience = 10 * time.Millisecond // before others are asked
	maxPatience = time.Second
	strikes     = 3 // answers in a row that are slow, after which others are asked first; one that is late counts twice
	minAway     = time.Second
	maxAway     = 10 * time.Second // until it is asked again as others are
	spareShare  = 10               // for so many answers one more may be asked for, since another one is late
	maxSpare    = 16               // of these at a time
)

// latency is how long a drive takes for what it is asked.
type latency struct {
	most  atomic.Int64 // in nanoseconds: of 20 answers about 19 take no longer; 0: nobody knows
	row   atomic.Int64 // slow answers that counted since one that was not
	last  atomic.Int64 // when the last one counted, in nanoseconds since begun
	seen  atomic.Int64 // answers in time of all drives, then
	away  atomic.Int64 // how long others were asked first, the last time
	until atomic.Int64 // until when they are, in nanoseconds since begun; 0: they are not
	late  atomic.Int64 // answers for which others were asked in its place
}

// latencies are those of the drives of a set for one kind of question. Methods may be called
// concurrently.
type latencies struct {
	ticks
	begun  time.Time
	drives []latency
	usual  atomic.Int64 // the most of the quicker half of the drives, in nanoseconds
	inTime atomic.Int64 // answers that were
	spare  atomic.Int64 // how many more may be asked for, times spareShare
}

func newLatencies(drives int) *latencies {
	l := &latencies{begun: time.Now(), drives: make([]latency, drives)}
	l.spare.Store(maxSpare * spareShare)
	return l
}

// patience returns how long an answer is waited for before others are asked.
func (l *latencies) patience() time.Duration { return l.allowed(minPatience) }

// look returns when it is to be looked whether an answer takes longer than that.
func (l *latencies) look() <-chan struct{} { return l.after(l.patience() / 2) }

// allowed returns how long an answer may take, but not less than least.
func (l *latencies) allowed(least time.Duration) time.Duration {
	usual := time.Duration(l.usual.Load())
	if usual == 0 {
		return hedge
	}
	return min(max(2*usual, least), maxPatience)
}

// slow reports whether a drive was slow several times in a row, not long ago.
func (l *latencies) slow(drive int) bool {
	until := &l.drives[drive].until
	at := until.Load()
	if at == 0 || int64(time.Since(l.begun)) < at {
		return at > 0
	}
	until.CompareAndSwap(at, 0)
	return false
}

// late hears that an answer is, and reports whether so many others may be asked for.
func (l *latencies) late(drive, others int) bool {
	l.strike(drive, 2)
	if others == 0 {
		return true
	}
	if !l.slow(drive) && !l.spend(int64(others*spareShare)) {
		return false
	}
	l.drives[drive].late.Add(1)
	return true
}

// spend takes so much of what is spare, if there is as much.
func (l *latencies) spend(cost int64) bool {
	for {
		spare := l.spare.Load()
		if spare < cost {
			return false
		}
		if l.spare.CompareAndSwap(spare, spare-cost) {
			return true
		}
	}
}

// strike counts a slow answer, unless it may have been slow for a reason that is not the drive's: since the
// last one some time has to have passed, in which others have answered in time. Once a drive was found slow a
// single one is enough to find it so again.
func (l *latencies) strike(drive, times int) {
	d := &l.drives[drive]
	now, last, inTime := int64(time.Since(l.begun)), d.last.Load(), l.inTime.Load()
	if last > 0 && (now-last < int64(minPatience) || inTime == d.seen.Load()) || !d.last.CompareAndSwap(last, now) {
		return
	}
	d.seen.Store(inTime)
	until := d.until.Load()
	if d.row.Add(int64(times)) < strikes || now < until {
		return
	}
	away := min(max(2*d.away.Load(), int64(minAway)), int64(maxAway))
	d.away.Store(away)
	d.until.Store(now + away)
}

// fine hears that nothing was slow.
func (l *latencies) fine(drive int) {
	l.inTime.Add(1)
	if d := &l.drives[drive]; d.row.Load() > 0 { // seldom: what is not written needs not be sent to other processors
		d.row.Store(0)
		d.away.Store(0)
	}
}

// came hears of an answer to what was asked then, and the error that it was. If l is nil, nobody wants to know.
func (l *latencies) came(drive int, asked time.Time, err error) {
	if l != nil {
		l.took(drive, time.Since(asked), err)
	}
}

// took is came for who knows how long it took.
func (l *latencies) took(drive int, took time.Duration, err error) {
	if err != nil {
		if unable(err) {
			l.strike(drive, 1)
		}
		return
	}
	d := &l.drives[drive]
	d.most.Store(moved(d.most.Load(), int64(took)))
	inTime := took <= l.allowed(minSlow)
	if inTime {
		l.fine(drive)
	} else {
		l.strike(drive, 1)
	}
	if !inTime || l.inTime.Load()%spareShare == 1 {
		l.usual.Store(l.half())
	}
	if spare := l.spare.Load(); spare < maxSpare*spareShare {
		l.spare.CompareAndSwap(spare, spare+1) // that one is not counted at times does not matter
	}
}

// unable reports whether an error says that the drive cannot do what others may.
func unable(err error) bool {
	if errors.Is(err, register.ErrUnknown) {
		return true
	}
	return !refusal(err) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, shard.ErrDamaged) && !errors.Is(err, context.Canceled)
}

// moved returns what 19 of 20 values are not above, after one more: up 19 steps, or down one.
func moved(most, value int64) int64 {
	const step = 256
	switch {
	case most == 0:
		return value
	case value > most:
		return min(value, most+19*most/step+1)
	default:
		return max(value, most-most/step)
	}
}

// half returns what the slowest of the quicker half of those drives takes that are known.
func (l *latencies) half() int64 {
	var all [shard.MaxShards]int64
	n := 0
	for i := range l.drives {
		if most := l.drives[i].most.Load(); most > 0 {
			all[n] = most
			n++
		}
	}
	if n == 0 {
		return 0
	}
	slices.Sort(all[:n])
	return all[(n-1)/2]
}

// late returns how often others were asked in place of a drive.
func (s *set) late(drive int) (n int64) {
	for _, l := range []*latencies{s.pieces, s.sources, s.records, s.promises, s.scans} {
		n += l.drives[drive].late.Load()
	}
	return n
}

// places is the shards of a content on the drives of its set, and what is known of these.
type places struct {
	set   *set
	start int
	known *latencies
}

// Near implements shard.Places.
func (p places) Near(i int) bool { return p.set.near != nil && p.set.near(p.set.drive(p.start, i)) }

// Slow implements shard.Places.
func (p places) Slow(i int) bool { return p.known.slow(p.set.drive(p.start, i)) }

// Patience implements shard.Places.
func (p places) Patience() time.Duration { return p.known.patience() }

// Look implements shard.Places.
func (p places) Look() <-chan struct{} { return p.known.look() }

// Late implements shard.Places.
func (p places) Late(i, others int) bool { return p.known.late(p.set.drive(p.start, i), others) }

// Came implements shard.Places.
func (p places) Came(i int, took time.Duration, err error) {
	p.known.took(p.set.drive(p.start, i), took, err)
}
