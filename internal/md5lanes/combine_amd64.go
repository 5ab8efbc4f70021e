//go:build !purego

package md5lanes

import (
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"encoding"
	"encoding/binary"
	"runtime"
	"sync"
)

const (
	// together is how many blocks of several streams are summed at once: who comes meanwhile
	// waits, a tenth of a millisecond.
	together = 1 << 10
	// alone is how many of one stream are.
	alone = 1 << 8
	// patience is how many times a combiner lets other goroutines run first, that they may
	// bring something.
	patience = 3
)

// combiners are the writers that sum what others have handed over beside what is their own.
// As long as somebody waits there is one.
type combiners struct {
	mu    sync.Mutex
	now   int    // how many there are
	queue []*Sum // those that wait, and whose bytes no combiner is summing
}

// job is what a writer hands over.
type job struct {
	left []byte        // whole blocks that are to be summed
	told chan told     // what the writer waits for
	raw  [rawSize]byte // of the hash, for state and advance
}

func newJob() job { return job{told: make(chan told, 1)} }

// told is what a writer hears who waits.
type told int

const (
	summed     told = iota // nothing is left
	isCombiner             // it has to go on itself
)

// sum adds whole blocks to the sum of a stream. The caller holds s.mu.
func (c *combiners) sum(s *Sum, blocks []byte) {
	s.job.left = blocks
	if !c.enter(s) && <-s.job.told == summed {
		return
	}
	c.gather(int(s.from.open.Load()))
	c.combine(s)
	c.leave()
}

// enter makes s a combiner, or has it wait.
func (c *combiners) enter(s *Sum) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tooFew(len(c.queue) + 1) {
		c.now++
		return true
	}
	c.queue = append(c.queue, s)
	return false
}

// tooFew reports whether there has to be another combiner when so many wait. The caller
// holds mu.
func (c *combiners) tooFew(waiting int) bool {
	return waiting > 0 && c.now == 0 || waiting > width
}

// leave is what a combiner does that has nothing left: if need be, who has waited longest
// follows it.
func (c *combiners) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	if c.tooFew(len(c.queue)) {
		c.now++
		next := c.queue[0]
		c.queue = append(c.queue[:0], c.queue[1:]...)
		next.job.told <- isCombiner
	}
}

// gather waits until as many wait as can be summed with one's own, of so many streams that
// are open, but not for long: they may have nothing.
func (c *combiners) gather(open int) {
	for range patience {
		c.mu.Lock()
		waiting := len(c.queue)
		c.mu.Unlock()
		if waiting+1 >= min(open, width) {
			return
		}
		runtime.Gosched()
	}
}

// combine sums what s has left, and meanwhile what others have.
func (c *combiners) combine(s *Sum) {
	for len(s.job.left) > 0 {
		round, n := c.take(s)
		sumRound(round[:n])
		c.giveBack(round[1:n])
	}
}

// take returns s and those that have waited longest.
func (c *combiners) take(s *Sum) (round [width]*Sum, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	round[0] = s
	n = copy(round[1:], c.queue)
	c.queue = append(c.queue[:0], c.queue[n:]...)
	return round, n + 1
}

// giveBack has those wait again that have something left.
func (c *combiners) giveBack(round []*Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range round {
		if len(s.job.left) > 0 {
			c.queue = append(c.queue, s)
		} else {
			s.job.told <- summed
		}
	}
}

// sumRound sums as many blocks of each stream as all of them have, or as one may wait for.
func sumRound(round []*Sum) {
	if len(round) == 1 {
		s := round[0]
		n := min(alone*md5.BlockSize, len(s.job.left))
		s.hash.Write(s.job.left[:n])
		s.job.left = s.job.left[n:]
		return
	}
	blocks := together
	var states [width][4]uint32
	var data [width]*byte
	for i, s := range round {
		states[i], data[i] = s.state(), &s.job.left[0]
		blocks = min(blocks, len(s.job.left)/md5.BlockSize)
	}
	if len(round) == 2 {
		blocks2(&states, &data, blocks)
	} else {
		blocks3(&states, &data, blocks)
	}
	for i, s := range round {
		s.advance(states[i], blocks*md5.BlockSize)
	}
}

// What crypto/md5 tells of a hash, and takes: four bytes that say what it is, the words of
// the state, a block that is not full yet, and how many bytes there were.
const (
	rawState  = 4
	rawLength = rawState + md5.Size + md5.BlockSize
	rawSize   = rawLength + 8
)

// state returns the state of the hash, which has whole blocks.
func (s *Sum) state() (state [4]uint32) {
	_, _ = s.hash.(encoding.BinaryAppender).AppendBinary(s.job.raw[:0]) // it cannot fail
	for i := range state {
		state[i] = binary.BigEndian.Uint32(s.job.raw[rawState+4*i:])
	}
	return state
}

// advance gives the hash the state that it has n bytes later than where state was called.
func (s *Sum) advance(state [4]uint32, n int) {
	for i, word := range state {
		binary.BigEndian.PutUint32(s.job.raw[rawState+4*i:], word)
	}
	length := s.job.raw[rawLength:]
	binary.BigEndian.PutUint64(length, binary.BigEndian.Uint64(length)+uint64(n))
	_ = s.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.job.raw[:]) // it made that itself
	s.job.left = s.job.left[n:]
}
