// Package erasure is a Store over drives: contents are cut into shards, of which any k give
// them again, and what is said of them is kept by a majority of the drives. What it owes,
// and why it is right, is in DESIGN.md.
package erasure

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// Config says what a Store is of.
type Config struct {
	Sets []SetConfig // at least one
	// Table says which set has what, by the numbers of sets; nil: that of the number 0 has all.
	Table  *placement.Table
	Seed   uint64 // of the deployment, for placement.Partition
	Locker lock.Locker
	Logger *slog.Logger
	Now    func() time.Time // that versions are given as Modified
	// LockNow is the time by which versions are retained; nil: Now.
	LockNow func() time.Time
}

// SetConfig says what a set is of.
type SetConfig struct {
	// Number is what the Table knows the set by. If all are 0 they are numbered as they come.
	Number int
	// Fresh says that the set may lack what is kept in every set: nothing of that is read there
	// before it was written.
	Fresh  bool
	Drives []Drive // in the order that they were formed in; the Store closes them
	Parity int     // of new contents: so many drives may be lost
	// Reduced is the parity of new contents of the class REDUCED_REDUNDANCY; no more than
	// Parity counts.
	Reduced int
	// Near reports whether a drive is in this process: those are asked before others. nil: all
	// are, or it is not known.
	Near func(i int) bool
	// Away returns how many of the drives are known not to be there: what is written meanwhile
	// has as much more parity, so that as many more may be lost as otherwise. nil: none is.
	Away func() int
	// Writable returns an error while so few drives can be reached that nothing can be
	// changed: then nobody waits for locks. nil: that is not known before it is tried.
	Writable func() error
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Locker == nil || c.Logger == nil || c.Now == nil {
		return errors.New("erasure: Locker, Logger and Now are required")
	}
	drives := 0
	for i := range c.Sets {
		if err := c.Sets[i].validate(); err != nil {
			return err
		}
		drives += len(c.Sets[i].Drives)
	}
	switch {
	case len(c.Sets) == 0:
		return errors.New("erasure: there is no set of drives")
	case drives > MaxDrives:
		return fmt.Errorf("erasure: there are %d drives at most, not %d", MaxDrives, drives)
	case len(slices.Compact(slices.Sorted(slices.Values(c.numbers())))) < len(c.Sets):
		return errors.New("erasure: two sets of drives have one number")
	case c.Table == nil:
		return nil
	}
	return c.fits(c.Table)
}

// fits returns an error if a Table places something in a set that there is not.
func (c *Config) fits(t *placement.Table) error {
	there := c.numbers()
	for number := range t.Used() {
		if !slices.Contains(there, number) {
			return fmt.Errorf("erasure: something is placed in set %d, which is not there", number+1)
		}
	}
	return nil
}

// numbers returns those of the sets.
func (c *Config) numbers() []int {
	given := slices.ContainsFunc(c.Sets, func(s SetConfig) bool { return s.Number != 0 })
	var all []int
	for i := range c.Sets {
		if given {
			i = c.Sets[i].Number
		}
		all = append(all, i)
	}
	return all
}

func (c *SetConfig) validate() error {
	n := len(c.Drives)
	switch {
	case n < 1 || n > shard.MaxShards:
		return fmt.Errorf("erasure: a set has 1 to %d drives, not %d", shard.MaxShards, n)
	case c.Reduced < 0:
		return fmt.Errorf("erasure: the parity of REDUCED_REDUNDANCY is at least 0, not %d", c.Reduced)
	case c.Parity < 0 || c.Parity > n/2:
		return fmt.Errorf("erasure: with %d drives the parity is 0 to %d, not %d", n, n/2, c.Parity)
	}
	return nil
}

// MaxDrives is how many drives the sets of a Store have together, at most.
const MaxDrives = 1024

// DefaultParity is the parity of a set of n drives, unless somebody wants another one:
// half of them can be lost.
func DefaultParity(n int) int { return n / 2 }

// DefaultReduced is the parity of REDUCED_REDUNDANCY, unless somebody wants another one.
const DefaultReduced = 1

// Store is an object.Store over the drives of sets.
type Store struct {
	cfg     Config
	sets    []*set
	by      map[int]*set // number
	epoch   atomic.Pointer[epoch]
	decider *decider
	reads   sharedReads // of buckets

	suspects chan object.Ref
	missed   atomic.Int64 // how often a drive has missed something
	counts   counts
	pace     *pacer // of passes

	mu     sync.Mutex
	codecs map[shard.Geometry]*shard.Codec
}

var _ object.Store = (*Store)(nil)

// New returns a Store, whose background work ends with ctx or Close.
func New(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.LockNow == nil {
		cfg.LockNow = cfg.Now
	}
	s := &Store{cfg: cfg, by: make(map[int]*set), reads: sharedReads{next: make(map[string]*sharedRead)}, codecs: make(map[shard.Geometry]*shard.Codec), suspects: make(chan object.Ref, maxSuspects), pace: newPacer(cfg.Now)}
	s.decider = newDecider(ctx, func() { s.missed.Add(1) })
	first := 0
	for i, number := range cfg.numbers() {
		s.sets = append(s.sets, newSet(cfg.Sets[i], first))
		s.by[number] = s.sets[i]
		first += len(cfg.Sets[i].Drives)
	}
	table := cfg.Table
	if table == nil {
		table = placement.New([]int{1})
	}
	s.epoch.Store(s.newEpoch(table))
	return s, nil
}

// Close implements object.Store.
func (s *Store) Close() error {
	s.decider.close()
	var errs []error
	for _, set := range s.sets {
		for _, d := range set.drives {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// SetParities has the contents that are new from now on have other parities, by the number of
// their set: as SetConfig has them, whose bounds hold. What is there stays as it is cut.
func (s *Store) SetParities(of func(set int) (parity, reduced int)) {
	for i, set := range s.sets {
		standard, reduced := of(i)
		set.parities.Store(&parities{standard, reduced})
	}
}

// Missed returns how often a drive may have missed something.
func (s *Store) Missed() int64 { return s.missed.Load() }

// wholeCopies is the size, in bytes, up to which every drive gets all of a content: cut,
// it would take no less room.
const wholeCopies = 2 << 10

// reducedRedundancy is the storage class of what may have less parity
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html).
const reducedRedundancy = "REDUCED_REDUNDANCY"

// geometry returns how a content of a storage class and size bytes, -1 if that is not known,
// is cut.
func (s *set) geometry(class string, size int64) shard.Geometry {
	n := len(s.drives)
	if size >= 0 && size <= wholeCopies {
		return shard.Geometry{K: 1, M: n - 1}
	}
	of := s.parities.Load()
	parity := of.standard
	if class == reducedRedundancy {
		parity = min(parity, of.reduced)
	}
	if s.away != nil {
		parity = min(parity+s.away(), n/2)
	}
	return shard.Geometry{K: n - parity, M: parity}
}

func (s *Store) codec(g shard.Geometry) (*shard.Codec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.codecs[g]; c != nil {
		return c, nil
	}
	c, err := shard.NewCodec(g)
	if err == nil {
		s.codecs[g] = c
	}
	return c, err
}

// start returns the drive that has the first shard of a key's contents.
func (s *set) start(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))                   // never fails
	return int(h.Sum32() % uint32(len(s.drives))) //nolint:gosec // at most 16
}

// drive returns which drive has a shard.
func (s *set) drive(start, shard int) int { return (start + shard) % len(s.drives) }

// majority is what commits records that have no content of their own.
func (s *set) majority() int { return register.Majority(len(s.drives)) }

// fail adds operation and name to an error, unless it has them, and keeps its Kind.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[refused](err); ok {
		return r.error
	}
	if e, ok := errors.AsType[*object.Error](err); ok && e.Name == name {
		return err
	}
	return object.E(op, name, object.KindOf(err), err)
}
