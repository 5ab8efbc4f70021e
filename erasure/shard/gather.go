package shard

import (
	"errors"
	"fmt"
	"time"
)

// gathering is the reading of what is wanted of one stripe.
type gathering struct {
	r      *Reader
	s      *stripe
	groups []group
	come   chan *request // has room for all: who is not waited for any more leaves there what he has
}

// group is the same units of each shard: any k of them make up for the others.
type group struct {
	pieces  []piece // that are wanted, of different shards
	nearest bool    // all of the stripe is: the shards are read that cost the least
	states  [MaxShards]state
	begun   [MaxShards]time.Time
	content [][]byte // of the shards that are there
	err     error    // of one that failed
}

// state is what a group knows of a shard. They can be joined.
type state byte

const (
	expected state = 1 << iota // it is being read
	overdue                    // the same, for longer than others take
	there
	gone        // it cannot be read
	unasked = 0 // as they begin
)

// request is the reading of a group's units of one shard.
type request struct {
	group   *group
	shard   int
	units   []byte
	content []byte
	err     error
	loose   bool // somebody may still write to units
}

// readAll reads the pieces, and makes up for those that cannot be read.
func (r *Reader) readAll(s *stripe, pieces []piece) error {
	r.memory.reuse()
	g := &gathering{r: r, s: s, groups: r.grouped(pieces)}
	g.come = make(chan *request, len(g.groups)*r.codec.N())
	for i := range g.groups {
		if err := g.begin(&g.groups[i]); err != nil {
			return err
		}
	}
	if err := g.wait(); err != nil {
		return err
	}
	for i := range g.groups {
		if err := g.give(&g.groups[i]); err != nil {
			return err
		}
	}
	return nil
}

// grouped returns the groups of pieces, which are in the order of their shards: all are of the same
// units but for the first one and the last.
func (r *Reader) grouped(pieces []piece) []group {
	groups := make([]group, 0, 1)
	for from := 0; from < len(pieces); {
		to := from + 1
		for to < len(pieces) && pieces[to].first == pieces[from].first && pieces[to].last == pieces[from].last {
			to++
		}
		groups = append(groups, group{pieces: pieces[from:to], content: make([][]byte, r.codec.N())})
		from = to
	}
	if len(groups) == 1 && len(pieces) == r.codec.K {
		groups[0].nearest = r.nearWorth()
	}
	return groups
}

// begin asks for the shards that are wanted, or for others that cost less, or can be read.
func (g *gathering) begin(gr *group) error {
	direct := !gr.nearest
	for i := range gr.pieces {
		if shard := gr.pieces[i].shard; g.r.bad[shard] || g.r.slow[shard] && g.r.quick() >= g.r.codec.K {
			direct = false
		}
	}
	if !direct {
		return g.more(gr)
	}
	for i := range gr.pieces {
		g.ask(gr, gr.pieces[i].shard)
	}
	return nil
}

// more asks for as many further shards as it takes. It fails if there are too few altogether.
func (g *gathering) more(gr *group) error {
	for range g.short(gr) {
		shard := g.next(gr)
		if shard < 0 {
			break
		}
		g.ask(gr, shard)
	}
	if g.suffice(gr, expected|overdue|there) {
		return nil
	}
	return errors.Join(ErrTooMany, gr.err)
}

// suffice reports whether the shards in these states give all that is wanted.
func (g *gathering) suffice(gr *group, in state) bool {
	return gr.wanted(in) == len(gr.pieces) || gr.count(in) >= g.r.codec.K
}

// short returns how many shards are lacking beyond those that are there and expected.
func (g *gathering) short(gr *group) int {
	if g.suffice(gr, expected|there) {
		return 0
	}
	return g.r.codec.K - gr.count(expected|there)
}

func (gr *group) wants(shard int) bool {
	for i := range gr.pieces {
		if gr.pieces[i].shard == shard {
			return true
		}
	}
	return false
}

// wanted returns how many of the shards that are wanted are in these states.
func (gr *group) wanted(in state) (n int) {
	for i := range gr.pieces {
		if gr.states[gr.pieces[i].shard]&in != 0 {
			n++
		}
	}
	return n
}

// count returns how many shards are in these states.
func (gr *group) count(in state) (n int) {
	for _, s := range gr.states {
		if s&in != 0 {
			n++
		}
	}
	return n
}

// next returns the shard to ask next, or -1: of those that cost the least the first one.
func (g *gathering) next(gr *group) int {
	best, least := -1, never
	if g.r.codec.rs == nil { // none stands in for another one
		return best
	}
	for i := range g.r.codec.N() {
		if c := g.cost(gr, i); c < least {
			best, least = i, c
		}
	}
	return best
}

// ask begins to read a shard.
func (g *gathering) ask(gr *group, shard int) {
	first, last := gr.pieces[0].first, gr.pieces[0].last
	length := min((last+1)*UnitData, g.s.cell) - first*UnitData
	q := &request{group: gr, shard: shard, units: g.r.memory.take(g.r.codec, int(length+(last-first+1)*trailerSize))}
	number, come := g.s.unit+first, g.come
	gr.states[shard], gr.begun[shard] = expected, time.Now()
	if g.r.inOrder {
		g.r.read(q, number)
		come <- q
		return
	}
	begun := gr.begun[shard]
	go func() {
		g.r.read(q, number)
		if g.r.places != nil {
			g.r.places.Came(shard, time.Since(begun), q.err)
		}
		come <- q
	}()
}

// read reads units from one on and verifies them.
func (r *Reader) read(q *request, number int64) {
	if err := r.source(q.shard, number*UnitSize, q.units); err != nil {
		q.err, q.loose = err, true
		return
	}
	content := q.units[:0]
	for rest := q.units; len(rest) > 0; number++ {
		n := min(UnitSize, len(rest))
		of, err := open(rest[:n], r.id, q.shard, number)
		if err != nil {
			q.err = fmt.Errorf("unit %d of shard %d: %w", number, q.shard, err)
			return
		}
		content = append(content, of...) // towards the front, over trailers
		rest = rest[n:]
	}
	q.content = content
}

// wait waits until all that is wanted is there, or can be made.
func (g *gathering) wait() error {
	var look <-chan struct{}
	for !g.done() {
		if g.r.places != nil && look == nil {
			look = g.r.places.Look()
		}
		select {
		case q := <-g.come:
			if err := g.note(q); err != nil {
				return err
			}
		case <-look:
			look = nil
			for i := range g.groups {
				if err := g.hurry(&g.groups[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (g *gathering) done() bool {
	for i := range g.groups {
		if !g.suffice(&g.groups[i], there) {
			return false
		}
	}
	return true
}

// note takes what has come.
func (g *gathering) note(q *request) error {
	if !q.loose {
		g.r.memory.keep(q.units)
	}
	gr := q.group
	if gr.states[q.shard] == gone { // it was waited for long enough
		return nil
	}
	if q.err == nil {
		gr.states[q.shard], gr.content[q.shard] = there, q.content
		return nil
	}
	return g.lost(gr, q.shard, q.err)
}

// lost asks for others in place of a shard that cannot be read.
func (g *gathering) lost(gr *group, shard int, why error) error {
	gr.states[shard], gr.err = gone, why
	if !g.r.bad[shard] && g.r.failed != nil {
		g.r.failed(shard, why)
	}
	g.r.bad[shard] = true
	return g.more(gr)
}

// give gives the pieces their content, and makes what is not there.
func (g *gathering) give(gr *group) error {
	if gr.wanted(there) < len(gr.pieces) {
		if err := g.reconstruct(gr); err != nil {
			return err
		}
	}
	for i := range gr.pieces {
		gr.pieces[i].content = gr.content[gr.pieces[i].shard]
	}
	return nil
}

// reconstruct makes the shards that are wanted and not there from k others.
func (g *gathering) reconstruct(gr *group) error {
	length := 0
	for _, content := range gr.content {
		length = max(length, len(content))
	}
	missing := make([]bool, len(gr.content))
	for i := range gr.pieces {
		if shard := gr.pieces[i].shard; gr.states[shard] != there {
			missing[shard] = true
			b := g.r.memory.take(g.r.codec, length)
			g.r.memory.keep(b)
			gr.content[shard] = b[:0]
		}
	}
	if err := g.r.codec.rs.ReconstructSome(gr.content, missing); err != nil {
		return fmt.Errorf("shard: reconstruct: %w", err)
	}
	return nil
}
