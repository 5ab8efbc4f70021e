package shard

import "runtime"

// maxNear is of how many data shards of a content near ones stand in for others: what making one up
// costs grows with their number, and what is saved does not.
const maxNear = 4

// nearWorth reports whether making up for a shard costs less than having it sent. Without vector
// instructions it does not, but for copies.
func (r *Reader) nearWorth() bool {
	if r.near == nil || r.codec.rs == nil || r.codec.K > maxNear {
		return false
	}
	return r.codec.K == 1 || runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"
}

// readNear reads the pieces of a whole stripe with as few shards that are not near as possible. It
// returns false where that is of no use, or if one cannot be read: then pieces are to be read as ever.
func (r *Reader) readNear(s *stripe, pieces []piece) bool {
	if !r.nearWorth() || len(pieces) < r.codec.K {
		return false
	}
	for i := range pieces {
		if pieces[i].first != pieces[0].first || pieces[i].last != pieces[0].last {
			return false
		}
	}
	chosen, stands := r.chooseNear(&pieces[0])
	if !stands {
		return false
	}
	r.readEach(s, chosen, &r.raw)
	whole := true
	for i := range chosen {
		if chosen[i].err != nil {
			r.note(&chosen[i])
			whole = false
		}
	}
	return whole && r.takeNear(chosen, pieces)
}

// chooseNear returns k pieces like one: data shards that are near, then others that are, then those
// that are not. stands is false if no shard would stand in for another one.
func (r *Reader) chooseNear(like *piece) (chosen []piece, stands bool) {
	k, n := r.codec.K, r.codec.N()
	choose := func(from, to int, near bool) {
		for i := from; i < to && len(chosen) < k; i++ {
			if !r.bad[i] && r.near(i) == near {
				chosen = append(chosen, piece{shard: i, first: like.first, last: like.last})
			}
		}
	}
	choose(0, k, true)
	data := len(chosen)
	choose(k, n, true)
	stands = len(chosen) > data
	choose(0, k, false)
	return chosen, stands && len(chosen) == k
}

// takeNear gives pieces their content of those that were read.
func (r *Reader) takeNear(chosen, pieces []piece) bool {
	shards := make([][]byte, r.codec.N())
	for i := range chosen {
		shards[chosen[i].shard] = chosen[i].content
	}
	for i := range pieces {
		p := &pieces[i]
		if p.content = shards[p.shard]; p.content != nil {
			continue
		}
		if r.reconstruct(p, shards) != nil {
			return false
		}
	}
	return true
}
