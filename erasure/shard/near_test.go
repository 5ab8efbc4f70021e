package shard_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/erasure/shard"
)

// readBy reads a range and returns how often each shard was asked.
func (s *shards) readBy(offset, length int64, near func(int) bool) (content []byte, asked map[int]int, err error) {
	var mu sync.Mutex
	asked = map[int]int{}
	r := s.codec.NewReader(s.id, s.size, offset, length, func(i int, offset int64, p []byte) error {
		mu.Lock()
		asked[i]++
		mu.Unlock()
		return s.source(i, offset, p)
	}, nil)
	defer r.Free()
	r.Near(near)
	content, err = io.ReadAll(r)
	return content, asked, err
}

func TestAWholeContentIsReadFromNearShardsFirst(t *testing.T) {
	for _, c := range []struct {
		name       string
		k, m, size int
		near       []int
		want       []int // the shards that are asked
	}{
		{"a mirror, the copy is near", 1, 1, 1000, []int{1}, []int{1}},
		{"a mirror, the copy is near, several stripes", 1, 1, 3*shard.CellData + 5, []int{1}, []int{1}},
		{"a mirror, the content is near", 1, 1, 1000, []int{0}, []int{0}},
		{"one of two that stand in", 2, 2, 4 * shard.CellData, []int{3}, []int{0, 3}},
		{"both that stand in", 2, 2, 4*shard.CellData + 2*shard.UnitData, []int{2, 3}, []int{2, 3}},
		{"one with the content", 2, 2, 4 * shard.CellData, []int{1}, []int{0, 1}},
		{"one of each", 2, 2, 4 * shard.CellData, []int{1, 2}, []int{1, 2}},
		{"none", 2, 2, 4 * shard.CellData, nil, []int{0, 1}},
		{"too many for it to be worth it", 8, 4, 8 * shard.CellData, []int{8}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		content := random(c.size)
		s := write(t, c.k, c.m, content, true)
		near := map[int]bool{}
		for _, i := range c.near {
			near[i] = true
		}
		got, asked, err := s.readBy(0, s.size, func(i int) bool { return near[i] })
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: other content, %v", c.name, err)
		}
		for _, i := range c.want {
			if asked[i] == 0 {
				t.Errorf("%s: shard %d was not asked: %v", c.name, i, asked)
			}
		}
		if len(asked) != len(c.want) {
			t.Errorf("%s: asked were %v", c.name, asked)
		}
	}
}

func TestAPartOfAStripeIsReadFromTheOneShardThatHasIt(t *testing.T) {
	content := random(4 * shard.CellData)
	s := write(t, 2, 2, content, true)
	got, asked, err := s.readBy(100, 1000, func(i int) bool { return i > 0 })
	if err != nil || !bytes.Equal(got, content[100:1100]) || len(asked) != 1 || asked[0] != 1 {
		t.Errorf("asked were %v, %v", asked, err)
	}
}

func TestAnyRangeIsReadWhicheverShardsAreNearLostOrDamaged(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		k, m := 1+r.IntN(5), 1+r.IntN(3)
		content := random(1 + r.IntN(3*k*shard.CellData))
		s := write(t, k, m, content, true)
		for range m { // some twice
			switch i := r.IntN(k + m); r.IntN(3) {
			case 0:
				s.lost[i] = true
			case 1:
				s.all[i].Bytes()[r.IntN(s.all[i].Len())] ^= 1
			}
		}
		near := r.Uint32()
		offset := r.Int64N(s.size)
		length := 1 + r.Int64N(s.size-offset)
		if r.IntN(2) == 0 {
			offset, length = 0, s.size
		}
		got, _, err := s.readBy(offset, length, func(i int) bool { return near>>i&1 == 1 })
		if err != nil || !bytes.Equal(got, content[offset:offset+length]) {
			t.Fatalf("seed %d: %d+%d, %d bytes, from %d %d, near %b: other content, %v", seed, k, m, s.size, offset, length, near, err)
		}
	}
}
