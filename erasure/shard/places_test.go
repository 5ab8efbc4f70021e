package shard_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/shard"
)

// told are Places as a test wants them. What is nil is what a Reader expects that knows nothing.
type told struct {
	near, slow func(shard int) bool
	late       func(shard, others int) bool
	came       func(shard int, took time.Duration, err error)
}

// patience is that of a Reader of told Places.
const patience = 10 * time.Millisecond

func (t *told) Near(i int) bool       { return t.near != nil && t.near(i) }
func (t *told) Slow(i int) bool       { return t.slow != nil && t.slow(i) }
func (*told) Patience() time.Duration { return patience }
func (*told) Look() <-chan struct{} {
	over := make(chan struct{})
	time.AfterFunc(patience, func() { close(over) })
	return over
}
func (t *told) Late(i, others int) bool { return t.late == nil || t.late(i, others) }
func (t *told) Came(i int, took time.Duration, err error) {
	if t.came != nil {
		t.came(i, took, err)
	}
}

// readFrom reads a range from Places and returns how often each shard was asked.
func (s *shards) readFrom(offset, length int64, places shard.Places) (content []byte, asked map[int]int, err error) {
	var mu sync.Mutex
	asked = map[int]int{}
	r := s.codec.NewReader(s.id, s.size, offset, length, func(i int, offset int64, p []byte) error {
		mu.Lock()
		asked[i]++
		mu.Unlock()
		return s.source(i, offset, p)
	}, nil)
	defer r.Free()
	r.From(places)
	content, err = io.ReadAll(r)
	mu.Lock()
	defer mu.Unlock()
	return content, maps.Clone(asked), err
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
		synctest.Test(t, func(t *testing.T) { // however busy the machine is, no shard is late
			content := random(c.size)
			s := write(t, c.k, c.m, content, true)
			near := map[int]bool{}
			for _, i := range c.near {
				near[i] = true
			}
			got, asked, err := s.readFrom(0, s.size, &told{near: func(i int) bool { return near[i] }})
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
		})
	}
}

func TestAPartOfAStripeIsReadFromTheOneShardThatHasIt(t *testing.T) {
	content := random(4 * shard.CellData)
	s := write(t, 2, 2, content, true)
	got, asked, err := s.readFrom(100, 1000, &told{near: func(i int) bool { return i > 0 }})
	if err != nil || !bytes.Equal(got, content[100:1100]) || len(asked) != 1 || asked[0] != 1 {
		t.Errorf("asked were %v, %v", asked, err)
	}
}

// at has shards come so long after they are asked for; less than nothing: never.
func (s *shards) at(t *testing.T, after map[int]time.Duration) {
	t.Helper()
	never := make(chan struct{})
	t.Cleanup(func() {
		close(never)
		time.Sleep(time.Second) // what was not waited for comes to its end
	})
	s.wait = func(i int) {
		if d, ok := after[i]; ok && d < 0 {
			<-never
		} else {
			time.Sleep(d)
		}
	}
}

func TestAShardThatIsLateIsMadeUpForFromOthers(t *testing.T) {
	const stripes, ms = 5, time.Millisecond
	for _, c := range []struct {
		name  string
		k, m  int
		after map[int]time.Duration
		took  time.Duration // of a content of five stripes
	}{
		{"none is", 2, 2, map[int]time.Duration{0: 9 * ms}, stripes * 9 * ms},
		{"one never comes: it is waited for twice", 2, 2, map[int]time.Duration{0: -1}, 2 * patience},
		{"both that have the content never come", 2, 2, map[int]time.Duration{0: -1, 1: -1}, 2 * patience},
		{"one, and the other that is asked then", 2, 2, map[int]time.Duration{0: -1, 2: -1}, 2 * 2 * patience},
		{"one that comes before the other", 2, 2, map[int]time.Duration{0: 15 * ms, 2: 9 * ms, 3: 9 * ms}, 2*15*ms + 3*9*ms},
		{"a copy", 1, 1, map[int]time.Duration{0: -1}, 2 * patience},
		{"four of twelve", 8, 4, map[int]time.Duration{0: -1, 1: -1, 2: -1, 3: -1}, 2 * patience},
		{"nothing could stand in for it", 2, 0, map[int]time.Duration{0: 30 * ms}, stripes * 30 * ms},
		{"the others are lost", 1, 1, map[int]time.Duration{0: 30 * ms}, stripes * 30 * ms},
	} {
		synctest.Test(t, func(t *testing.T) {
			content := random(stripes * c.k * shard.CellData)
			s := write(t, c.k, c.m, content, true)
			s.at(t, c.after)
			s.lost[1] = c.name == "the others are lost"
			begun := time.Now()
			got, _, err := s.readFrom(0, s.size, &told{})
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: other content, %v", c.name, err)
			}
			if took := time.Since(begun); took != c.took {
				t.Errorf("%s: it took %v and not %v", c.name, took, c.took)
			}
		})
	}
}

func TestAShardThatNobodyCanDoWithoutIsGivenUpInTheEnd(t *testing.T) {
	for _, c := range []struct{ k, m, hang int }{{1, 0, 1}, {2, 0, 1}, {2, 2, 3}} {
		synctest.Test(t, func(t *testing.T) {
			s := write(t, c.k, c.m, random(100_000), true)
			after := map[int]time.Duration{}
			for i := range c.hang {
				after[i] = -1
			}
			s.at(t, after)
			begun := time.Now()
			_, _, err := s.readFrom(0, s.size, &told{})
			if took := time.Since(begun); !errors.Is(err, shard.ErrTooMany) || took < time.Second || took > 3*time.Second {
				t.Errorf("%d of %d+%d shards hang: %v after %v", c.hang, c.k, c.m, err, took)
			}
		})
	}
}

func TestOthersAreAskedForALateShardOnlyOnceTheyMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := random(8 * shard.UnitData)
		s := write(t, 4, 2, content, true)
		s.at(t, map[int]time.Duration{1: -1})
		calls := 0
		begun := time.Now()
		got, asked, err := s.readFrom(0, 8*shard.UnitData, &told{late: func(i, others int) bool {
			if i != 1 || others != 1 {
				t.Errorf("shard %d is late, %d others are lacking", i, others)
			}
			calls++
			return calls == 3
		}})
		if err != nil || !bytes.Equal(got, content) || time.Since(begun) != 3*patience || len(asked) != 5 {
			t.Errorf("it took %v, asked were %v, %v", time.Since(begun), asked, err)
		}
	})
}

func TestAShardThatIsSlowIsAskedWhereOthersDoNotSuffice(t *testing.T) {
	for _, c := range []struct {
		name       string
		from, size int64
		slow, lost []int
		want       []int
	}{
		{"all of a content", 0, 2 * shard.CellData, []int{1}, nil, []int{0, 2}},
		{"a part that it has", shard.CellData, 10, []int{1}, nil, []int{0, 2}},
		{"a part that another one has", 0, 10, []int{1}, nil, []int{0}},
		{"too many are slow", 0, 2 * shard.CellData, []int{1, 2, 3}, nil, []int{0, 1}},
		{"a part, and too many are slow", shard.CellData, 10, []int{1, 2, 3}, nil, []int{1}},
		{"another one is lost", 0, 2 * shard.CellData, []int{1, 2}, []int{3}, []int{0, 1, 3}},
		{"of two parts", shard.CellData - 10, 20, []int{0}, nil, []int{1, 2}},
	} {
		content := random(2 * shard.CellData)
		s := write(t, 2, 2, content, true)
		for _, i := range c.lost {
			s.lost[i] = true
		}
		got, asked, err := s.readFrom(c.from, c.size, &told{slow: func(i int) bool { return slices.Contains(c.slow, i) }})
		if err != nil || !bytes.Equal(got, content[c.from:c.from+c.size]) {
			t.Errorf("%s: other content, %v", c.name, err)
		}
		if who := slices.Sorted(maps.Keys(asked)); !slices.Equal(who, c.want) {
			t.Errorf("%s: asked were %v and not %v", c.name, who, c.want)
		}
	}
}

func TestAStripeThatLacksAShardIsNotReadAgain(t *testing.T) {
	s := write(t, 4, 2, random(4*shard.CellData), true)
	s.lost[2] = true
	_, asked, err := s.readFrom(0, s.size, &told{near: func(i int) bool { return i == 2 || i == 5 }})
	if want := map[int]int{0: 1, 1: 1, 2: 1, 3: 1, 5: 1}; err != nil || !maps.Equal(asked, want) {
		t.Errorf("asked were %v, %v", asked, err)
	}
}

var seed = flag.Uint64("seed", 0, "of the random reads; 0: a new one")

func TestAnyRangeIsReadWhicheverShardsAreNearLostDamagedSlowOrLate(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	n := 300
	if testing.Short() { // with the race detector each takes ten times as long
		n = 60
	}
	for range n {
		synctest.Test(t, func(t *testing.T) {
			k, m := 1+r.IntN(5), 1+r.IntN(3)
			content := random(1 + r.IntN(3*k*shard.CellData))
			s := write(t, k, m, content, true)
			after := map[int]time.Duration{}
			for range m { // some twice
				switch i := r.IntN(k + m); r.IntN(4) {
				case 0:
					s.lost[i] = true
				case 1:
					s.all[i].Bytes()[r.IntN(s.all[i].Len())] ^= 1
				case 2:
					after[i] = -1
				}
			}
			for i := range k + m {
				if r.IntN(4) == 0 && after[i] == 0 {
					after[i] = time.Duration(r.IntN(50)) * time.Millisecond
				}
			}
			s.at(t, after)
			near, slow, lenient := r.Uint32(), r.Uint32()&r.Uint32(), r.Uint32()
			offset := r.Int64N(s.size)
			length := 1 + r.Int64N(s.size-offset)
			if r.IntN(2) == 0 {
				offset, length = 0, s.size
			}
			calls := 0
			got, _, err := s.readFrom(offset, length, &told{
				near: func(i int) bool { return near>>i&1 == 1 },
				slow: func(i int) bool { return slow>>i&1 == 1 },
				late: func(int, int) bool { calls++; return lenient>>(calls%32)&1 == 1 },
			})
			if err != nil || !bytes.Equal(got, content[offset:offset+length]) {
				t.Fatalf("seed %d: %d+%d, %d bytes, from %d %d, near %b, slow %b, after %v: other content, %v", *seed, k, m, s.size, offset, length, near, slow, after, err)
			}
		})
	}
}
