package erasure

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// Drive is one drive of a set, on this node or another; drive.Drive is one. Its methods
// may be called concurrently, and return errors of package register where it does not do
// what it was asked. After any other error of one that changes something it may have been
// done or not.
type Drive interface {
	Commit(ctx context.Context, c register.Change) error
	Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error)
	Read(ctx context.Context, q register.Query) (register.View, error)
	Decide(ctx context.Context, all []register.Decision) error
	Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error)
	// Pending returns registers of which the drive does not know that every drive of the set
	// has them as it does: in the order of their places, each an item that is named by its
	// place. It fails with register.ErrNoLog where the drive cannot tell.
	Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error)
	// Create begins the shard of a content. size is how long it will be, in bytes, as far as its writer knows; 0: not at
	// all. A drive need not keep in memory then what is too long for that.
	Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error)
	// ReadShard reads a shard from an offset into p, and returns how much: less than that has
	// room for where the shard ends. After an error p must not be used any more: who was not
	// waited for may still write to it.
	ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error)
	Drop(ctx context.Context, id register.DataID) error
	// Since has the drive refuse changes of objects and uploads that were placed in an epoch
	// before this one.
	Since(ctx context.Context, epoch uint64) error
	// Install takes a state that is known to be committed and that the drive has missed,
	// and finds out anew whether it has the shards of what it holds. Whoever brings it has the
	// key's lock with that token; zero: it is a tombstone, and nobody can have the lock.
	Install(ctx context.Context, key register.Key, r register.Record, t register.Token) (changed bool, err error)
	Close() error
}

// How long drives are waited for.
const (
	hedge    = 50 * time.Millisecond // before more of them are asked, while nobody knows how long they take
	straggle = 20 * time.Millisecond // after a change is committed, so that all have it
	callTime = 10 * time.Second      // for an answer
)

// set is the drives that hold the shards of one content, and the states of its key.
type set struct {
	drives   []Drive // guards, each
	staying  []Drive // the same, for calls that are left with their goroutines
	first    int     // the place of its first drive among those of all sets
	fresh    bool    // it may lack what is kept in every set
	parities atomic.Pointer[parities]
	near     func(i int) bool // nil: that is not known
	away     func() int       // the same
	writable func() error
	wary     atomic.Bool    // the last commit did not reach as many drives as it takes
	filled   []atomic.Int64 // when each drive had last no room for a content, in ns since begun; 0: never
	begun    time.Time

	pieces, finishes           *latencies // of shards that are read, and made durable
	records, promises, commits *latencies // of what drives are asked on registers
	scans                      *latencies // of pages of listings
	sources                    *latencies // of pieces that healing reads, several at a time, at its own pace

	shards  *latencies     // that are written: nothing is known but whether they come too late
	writing []atomic.Int64 // how many pieces of shards each drive is writing or making durable
	ticks   ticks
}

// parities are those of new contents, by their storage class.
type parities struct{ standard, reduced int }

func newSet(cfg SetConfig, first int) *set {
	n := len(cfg.Drives)
	s := &set{
		first: first, fresh: cfg.Fresh, near: cfg.Near, away: cfg.Away, writable: cfg.Writable,
		pieces: newLatencies(n), finishes: newLatencies(n),
		records: newLatencies(n), promises: newLatencies(n), commits: newLatencies(n), sources: newLatencies(n), scans: newLatencies(n),
		shards: newLatencies(n), writing: make([]atomic.Int64, n), filled: make([]atomic.Int64, n), begun: time.Now(),
	}
	s.parities.Store(&parities{cfg.Parity, cfg.Reduced})
	for _, d := range cfg.Drives {
		g := guard(d)
		s.drives, s.staying = append(s.drives, g), append(s.staying, g.staying())
	}
	return s
}

// nearest returns the drives in the order in which they are asked: those first that are near, and
// then the others, beginning behind the last of these, so that not all nodes ask the same ones. The
// last are those that are slow, as far as that is known.
func (s *set) nearest(known *latencies) (order [shard.MaxShards]int) {
	var class [shard.MaxShards]int // of each drive: near, far, slow
	after := 0
	for i := range s.drives {
		switch {
		case known != nil && known.slow(i):
			class[i] = 2
		case s.near != nil && s.near(i):
			after = i + 1
		default:
			class[i] = 1
		}
	}
	n := 0
	for c := range 3 {
		for i := range s.drives {
			if d := (after + i) % len(s.drives); class[d] == c {
				order[n] = d
				n++
			}
		}
	}
	return order
}

// reply is what a drive answered.
type reply[T any] struct {
	drive int
	value T
	err   error
}

// gather asks drives, of them first as many as it takes, the nearest ones, and more if those do not
// suffice, do not answer, or take longer than known says that they do, if it is not nil. It returns when enough
// says so of the replies so far, or all have come. all tells enough that no more will come.
func gather[T any](ctx context.Context, s *set, known *latencies, first int, call func(ctx context.Context, d Drive) (T, error), enough func(replies []reply[T], all bool) bool) []reply[T] {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	come := make(chan reply[T], len(s.drives))
	order, asked := s.nearest(known), 0
	ask := func(n int) {
		at := time.Now()
		for ; asked < min(n, len(s.drives)); asked++ {
			i := order[asked]
			go func() {
				v, err := call(ctx, s.staying[i])
				known.came(i, at, err)
				come <- reply[T]{i, v, err}
			}()
		}
	}
	ask(first)
	begun, hurried, look := time.Now(), false, s.look(known)
	var replies []reply[T]
	for {
		select {
		case r := <-come:
			replies = append(replies, r)
			if r.err != nil {
				ask(asked + 1)
			}
			if enough(replies, len(replies) == len(s.drives)) {
				return replies
			}
			if len(replies) == asked {
				ask(len(s.drives))
			}
			if len(replies) == len(s.drives) {
				return replies
			}
		case <-look:
			look = s.look(known)
			waited := time.Since(begun)
			switch {
			case known != nil && !hurried && waited >= known.patience():
				ask(asked + overdue(known, order[:asked], replies))
				hurried = true
			case known == nil && waited >= hedge, hurried && waited >= known.patience()+hedge:
				ask(len(s.drives))
			}
		case <-ctx.Done():
			return replies
		}
	}
}

// look returns when it is to be looked whether answers are late.
func (s *set) look(known *latencies) <-chan struct{} {
	if known == nil {
		return s.ticks.after(hedge / 2)
	}
	return known.look()
}

// overdue returns how many others may be asked for drives that have not replied.
func overdue[T any](known *latencies, asked []int, replies []reply[T]) (others int) {
	for _, d := range asked {
		if !slices.ContainsFunc(replies, func(r reply[T]) bool { return r.drive == d }) && known.late(d, 1) {
			others++
		}
	}
	return others
}

// errFew says that too few drives answer.
var errFew = errors.New("erasure: too few drives answer")

// why joins the errors of replies.
func why[T any](replies []reply[T]) error {
	var errs []error
	for i := range replies {
		errs = append(errs, replies[i].err)
	}
	return errors.Join(errs...)
}

// outcome is what became of a change that drives were asked to commit.
type outcome struct {
	took    []bool // drives that did
	away    []int  // drives that were not asked, as they are known to be away
	count   int
	refused int // drives that certainly did not
	open    int // that have not answered yet
	err     error
}

// commit has drives take a change, those that how names, each with its own inline shard if there are
// any, and those whose shards are late as soon as they have them. It returns when so many have taken it
// as its record needs and the others have had a moment, or all have answered. If some have not, rest is
// called when they have or the time is over, and hears how many drives have taken it then.
func (s *set) commit(ctx context.Context, c register.Change, how commitment, rest func(took int)) outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	come := make(chan reply[struct{}], len(s.drives))
	asked := 0
	var quick [shard.MaxShards]bool // those of the drives that are asked that may soon have it
	for i := range s.drives {
		late := how.lateOf(i)
		if late == nil && how.targets != nil && !how.targets[i] {
			continue
		}
		asked++
		quick[i] = late == nil && !s.commits.slow(i)
		own := c
		if how.inline != nil {
			own.Inline = how.inline[i]
		}
		go func() { come <- reply[struct{}]{drive: i, err: s.commitOn(ctx, i, own, late)} }()
	}
	o := outcome{took: make([]bool, len(s.drives)), refused: len(s.drives) - asked, open: asked}
	defer func() {
		if o.open == 0 {
			cancel()
			return
		}
		go func(o outcome) {
			defer cancel()
			rest(o.count + finish(ctx, come, o.open))
		}(o)
	}()
	var late <-chan time.Time
	for ; o.open > 0; o.open-- {
		select {
		case r := <-come:
			o.note(r)
			quick[r.drive] = false
			if errors.Is(r.err, register.ErrFull) {
				s.noRoom(r.drive)
			}
			if o.count < c.Record.Quorum {
				continue
			}
			if !slices.Contains(quick[:], true) {
				o.open--
				return o
			}
			if late == nil {
				late = time.After(straggle)
			}
		case <-late:
			for i := range s.drives {
				if quick[i] {
					s.commits.strike(i, 2)
				}
			}
			return o
		case <-ctx.Done():
			o.err = errors.Join(o.err, context.Cause(ctx))
			return o
		}
	}
	return o
}

// fullFor is for how long a drive that has refused a content is not asked again where as many have as
// make it pointless: what others take has to be taken back.
const fullFor = time.Second

// noRoom notes that a drive takes no content now.
func (s *set) noRoom(drive int) { s.filled[drive].Store(max(1, int64(time.Since(s.begun)))) }

// full reports whether so many drives have just refused a content that a quorum cannot take one.
func (s *set) full(quorum int) bool {
	now, room := time.Since(s.begun), 0 // whatever becomes of the clock
	for i := range s.filled {
		if at := time.Duration(s.filled[i].Load()); at == 0 || now-at >= fullFor {
			room++
		}
	}
	return room < quorum
}

// commitOn has a drive take a change, once it has what is late of it.
func (s *set) commitOn(ctx context.Context, drive int, c register.Change, late *finishing) error {
	if late != nil {
		if err := late.wait(ctx); err != nil {
			return err
		}
	}
	begun := time.Now()
	err := s.staying[drive].Commit(ctx, c)
	if err == nil { // who fails is not waited for
		s.commits.came(drive, begun, nil)
	}
	return err
}

// finish lets the calls end that nobody waits for, until their time is over, and returns how many
// have done what was asked.
func finish[T any](ctx context.Context, come <-chan reply[T], n int) (done int) {
	for range n {
		select {
		case r := <-come:
			if r.err == nil {
				done++
			}
		case <-ctx.Done():
			return done
		}
	}
	return done
}

func (o *outcome) note(r reply[struct{}]) {
	switch {
	case r.err == nil:
		o.took[r.drive] = true
		o.count++
	case refusal(r.err):
		o.refused++
		o.err = errors.Join(o.err, r.err)
		if errors.Is(r.err, register.ErrUnknown) {
			o.away = append(o.away, r.drive)
		}
	default:
		o.err = errors.Join(o.err, r.err)
	}
}

// refusal reports whether an error says that a drive has not taken a change.
func refusal(err error) bool {
	for _, certain := range []error{register.ErrStale, register.ErrFull, register.ErrNoShard, register.ErrUnknown, register.ErrFenced, register.ErrCrowded} {
		if errors.Is(err, certain) {
			return true
		}
	}
	return false
}
