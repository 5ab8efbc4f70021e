package shard_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/shard"
)

var errGone = errors.New("gone")

// shards are those of a content in memory.
type shards struct {
	codec *shard.Codec
	id    shard.ID
	size  int64
	all   []*bytes.Buffer
	lost  map[int]bool
	wait  func(shard int) // before it comes
}

func write(t testing.TB, k, m int, content []byte, known bool) *shards {
	t.Helper()
	c, err := shard.NewCodec(shard.Geometry{K: k, M: m})
	if err != nil {
		t.Fatal(err)
	}
	s := &shards{codec: c, id: shard.ID{1, 2, 3}, size: int64(len(content)), lost: map[int]bool{}}
	var sinks []io.Writer
	for range k + m {
		b := &bytes.Buffer{}
		s.all, sinks = append(s.all, b), append(sinks, b)
	}
	size := int64(-1)
	if known {
		size = s.size
	}
	w := c.NewWriter(s.id, size, sinks, k)
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 100_000)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i, b := range s.all {
		if int64(b.Len()) != c.Size(s.size) {
			t.Fatalf("shard %d of %d bytes with %d+%d has %d bytes, Size says %d", i, s.size, k, m, b.Len(), c.Size(s.size))
		}
	}
	return s
}

func (s *shards) source(i int, offset int64, p []byte) error {
	if s.wait != nil {
		s.wait(i)
	}
	if s.lost[i] {
		return errGone
	}
	b := s.all[i].Bytes()
	if offset+int64(len(p)) > int64(len(b)) {
		return io.ErrUnexpectedEOF
	}
	copy(p, b[offset:])
	return nil
}

func (s *shards) read(offset, length int64) ([]byte, error) {
	return io.ReadAll(s.codec.NewReader(s.id, s.size, offset, length, s.source, nil))
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b)
	return b
}

func geometries() [][2]int { return [][2]int{{1, 0}, {1, 1}, {1, 3}, {2, 2}, {4, 2}, {8, 8}, {12, 4}} }

func TestContentsComeBackWithAllShardsAndWithJustEnough(t *testing.T) {
	for _, g := range geometries() {
		k, m := g[0], g[1]
		stripe := k * shard.CellData
		for _, size := range []int{0, 1, k, 63, 64, 65, 1000, shard.UnitData - 1, shard.UnitData, shard.UnitData + 1, stripe - 1, stripe, stripe + 1, 2*stripe + 12345} {
			content := random(size)
			s := write(t, k, m, content, size%2 == 0)
			for lost := 0; lost <= m; lost++ {
				clear(s.lost)
				for i := range lost {
					s.lost[(i*3+size)%(k+m)] = true
				}
				got, err := s.read(0, int64(size))
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%d+%d, %d bytes, without %v: %v, equal %v", k, m, size, s.lost, err, bytes.Equal(got, content))
				}
			}
		}
	}
}

func TestAnyRangeIsWhatTheContentHasThere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, g := range geometries() {
		content := random(2*g[0]*shard.CellData + 54321)
		s := write(t, g[0], g[1], content, true)
		for range 40 {
			offset := r.Int64N(s.size)
			length := r.Int64N(s.size-offset) + 1
			if r.IntN(2) == 0 {
				length = min(length, 5000)
			}
			clear(s.lost)
			for i := range r.IntN(g[1] + 1) {
				s.lost[i] = true
			}
			got, err := s.read(offset, length)
			if err != nil || !bytes.Equal(got, content[offset:offset+length]) {
				t.Fatalf("%v: %d bytes from %d without %v: %v", g, length, offset, s.lost, err)
			}
		}
	}
}

func TestAChangedBitAnywhereIsNoticedAndMadeGood(t *testing.T) {
	content := random(300_000)
	s := write(t, 2, 2, content, true)
	r := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		i := r.IntN(4)
		b := s.all[i].Bytes()
		at, bit := r.IntN(len(b)), byte(1)<<r.IntN(8)
		b[at] ^= bit
		heard := -1
		got, err := io.ReadAll(s.codec.NewReader(s.id, s.size, 0, s.size, s.source, func(shard int, _ error) { heard = shard }))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("bit %d of byte %d of shard %d: %v", bit, at, i, err)
		}
		if i < 2 && heard != i {
			t.Errorf("nobody heard of byte %d of shard %d", at, i)
		}
		b[at] ^= bit
	}
}

func TestAUnitThatBelongsElsewhereIsNoticed(t *testing.T) {
	content := random(2 * shard.CellData)
	s := write(t, 1, 1, content, true)
	swapped := bytes.Clone(s.all[0].Bytes())
	copy(swapped[:shard.UnitSize], s.all[0].Bytes()[shard.UnitSize:2*shard.UnitSize])
	other := write(t, 1, 1, random(2*shard.CellData), true)
	for name, b := range map[string][]byte{"of another place": swapped, "of another shard": s.all[1].Bytes()} {
		lost := map[int]bool{1: true}
		_, err := io.ReadAll(s.codec.NewReader(s.id, s.size, 0, s.size, func(i int, offset int64, p []byte) error {
			if lost[i] {
				return errGone
			}
			copy(p, b[offset:])
			return nil
		}, nil))
		if !errors.Is(err, shard.ErrTooMany) {
			t.Errorf("a unit %s: %v", name, err)
		}
	}
	if _, err := io.ReadAll(other.codec.NewReader(shard.ID{9}, other.size, 0, other.size, other.source, nil)); !errors.Is(err, shard.ErrTooMany) {
		t.Errorf("units of another content: %v", err)
	}
}

func TestTheEndOfAShardSaysItselfWhetherItIsWhole(t *testing.T) {
	for _, size := range []int{1, 1000, shard.UnitData, 2*shard.CellData + 777, 3 * shard.CellData} {
		s := write(t, 2, 1, random(size), true)
		for i := range s.all {
			for from := 0; from < s.all[i].Len(); from += shard.UnitSize {
				end, number := bytes.Clone(s.all[i].Bytes()[from:]), int64(from/shard.UnitSize)
				if err := shard.Whole(s.id, number, end); err != nil {
					t.Fatalf("of %d bytes, shard %d from %d: %v", size, i, from, err)
				}
				cut, changed := end[:len(end)-1], bytes.Clone(end)
				changed[len(end)/2] ^= 1
				other := append(bytes.Clone(end[:min(len(end), shard.UnitSize)]), s.all[(i+1)%3].Bytes()[min(from+shard.UnitSize, s.all[i].Len()):]...)
				for what, err := range map[string]error{
					"that is cut":        shard.Whole(s.id, number, cut),
					"with another bit":   shard.Whole(s.id, number, changed),
					"of another content": shard.Whole(shard.ID{9}, number, end),
					"of another place":   shard.Whole(s.id, number+1, end),
				} {
					if !errors.Is(err, shard.ErrDamaged) {
						t.Errorf("of %d bytes, shard %d from %d, one %s: %v", size, i, from, what, err)
					}
				}
				if err := shard.Whole(s.id, number, other); len(end) > shard.UnitSize && !errors.Is(err, shard.ErrDamaged) {
					t.Errorf("of %d bytes, shard %d from %d, with units of another: %v", size, i, from, err)
				}
			}
		}
	}
}

func TestAShardThatIsRebuiltIsTheSameAsBefore(t *testing.T) {
	for _, g := range geometries() {
		for _, size := range []int{1, 1000, shard.UnitData + 1, g[0]*shard.CellData + 777} {
			s := write(t, g[0], g[1], random(size), true)
			for i := range s.all {
				clear(s.lost)
				s.lost[i] = true
				var b bytes.Buffer
				err := s.codec.Rebuild(s.id, s.size, i, 1+size%5, s.source, nil, &b)
				if g[1] == 0 {
					if !errors.Is(err, shard.ErrTooMany) {
						t.Errorf("without redundancy: %v", err)
					}
				} else if err != nil || !bytes.Equal(b.Bytes(), s.all[i].Bytes()) {
					t.Errorf("%v, %d bytes, shard %d: %v, equal %v", g, size, i, err, bytes.Equal(b.Bytes(), s.all[i].Bytes()))
				}
			}
		}
	}
}

func TestForOneShardAllOthersAreReadAtOnceAndSomeStripesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := write(t, 4, 2, random(9*4*shard.CellData), true)
		var reads atomic.Int64
		all := make(chan struct{})
		source := func(i int, offset int64, p []byte) error {
			if reads.Add(1) == 4*3 { // so many wait for each other
				close(all)
			}
			<-all
			return s.source(i, offset, p)
		}
		var b bytes.Buffer
		if err := s.codec.Rebuild(s.id, s.size, 5, 3, source, nil, &b); err != nil || !bytes.Equal(b.Bytes(), s.all[5].Bytes()) {
			t.Error(err)
		}
	})
}

func TestNothingIsReadAnyMoreWhenAShardCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := write(t, 2, 2, random(9*2*shard.CellData), true)
		over := false
		source := func(i int, offset int64, p []byte) error {
			time.Sleep(time.Duration(1+i) * time.Second)
			if over {
				t.Error("a shard is read that nobody waits for")
			}
			return s.source(i, offset, p)
		}
		if err := s.codec.Rebuild(s.id, s.size, 3, 4, source, nil, &broken{}); !errors.Is(err, errGone) {
			t.Error(err)
		}
		over = true
		synctest.Wait()
	})
}

func TestTooFewShardsAreAnErrorAndNeverOtherBytes(t *testing.T) {
	s := write(t, 4, 2, random(1_000_000), true)
	for i := range 3 {
		s.lost[i*2] = true
	}
	if got, err := s.read(0, s.size); !errors.Is(err, shard.ErrTooMany) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// broken is a sink that breaks after some bytes.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errGone
	}
	return len(p), nil
}

func TestAShardThatCannotBeWrittenIsLeftOutWhileEnoughAreLeft(t *testing.T) {
	c, err := shard.NewCodec(shard.Geometry{K: 2, M: 2})
	if err != nil {
		t.Fatal(err)
	}
	for bad := range 4 {
		sinks := make([]io.Writer, 4)
		for i := range sinks {
			sinks[i] = &bytes.Buffer{}
			if i < bad {
				sinks[i] = &broken{left: 300_000}
			}
		}
		w := c.NewWriter(shard.ID{1}, -1, sinks, 3)
		_, err := w.Write(random(3_000_000))
		errs, closed := w.Close()
		if err == nil {
			err = closed
		}
		left := 0
		for _, e := range errs {
			if e != nil {
				left++
			}
		}
		if (err == nil) != (bad <= 1) || err == nil && left != bad {
			t.Errorf("%d of 4 break: %v, left out %d", bad, err, left)
		}
	}
}

// behind is a sink that takes its time, and then tells whether it still has what it was given.
type behind struct {
	release chan struct{}
	same    chan bool
}

func (b *behind) Write(p []byte) (int, error) {
	was := bytes.Clone(p)
	<-b.release
	b.same <- bytes.Equal(p, was)
	return len(p), nil
}

func TestMemoryThatASlowSinkReadsFromIsNotWrittenToAnyMore(t *testing.T) {
	for slow := range 4 {
		synctest.Test(t, func(t *testing.T) {
			c, err := shard.NewCodec(shard.Geometry{K: 2, M: 2})
			if err != nil {
				t.Fatal(err)
			}
			sinks := make([]io.Writer, 4)
			for i := range sinks {
				sinks[i] = io.Discard
			}
			late := &behind{release: make(chan struct{}), same: make(chan bool, 1)}
			sinks[slow] = late
			content := random(3_000_000)
			for range 3 { // those that follow use memory of those before
				w := c.NewWriter(shard.ID{1}, int64(len(content)), sinks, 3)
				if _, err := w.Write(content); err != nil {
					t.Fatal(err)
				}
				errs, err := w.Close()
				if err != nil || sinks[slow] == nil && errs[slow] != nil && !errors.Is(errs[slow], shard.ErrSlow) {
					t.Fatal(err, errs)
				}
			}
			if sinks[slow] != nil {
				t.Error("it is not left out")
			}
			close(late.release)
			if !<-late.same {
				t.Error("what it was given has changed")
			}
		})
	}
}

func BenchmarkCodec(b *testing.B) {
	content := random(8 << 20)
	for _, g := range [][2]int{{2, 2}, {4, 2}, {12, 4}} {
		c, err := shard.NewCodec(shard.Geometry{K: g[0], M: g[1]})
		if err != nil {
			b.Fatal(err)
		}
		sinks := make([]io.Writer, g[0]+g[1])
		b.Run(fmt.Sprintf("write/%d+%d", g[0], g[1]), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				for i := range sinks {
					sinks[i] = io.Discard
				}
				w := c.NewWriter(shard.ID{1}, int64(len(content)), sinks, g[0])
				_, _ = w.Write(content)
				_, _ = w.Close()
			}
		})
		s := write(b, g[0], g[1], content, true)
		for lost := range 2 {
			s.lost[0] = lost == 1
			b.Run(fmt.Sprintf("read/%d+%d/lost=%d", g[0], g[1], lost), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				for b.Loop() {
					_, _ = io.Copy(io.Discard, s.codec.NewReader(s.id, s.size, 0, s.size, s.source, nil))
				}
			})
		}
	}
}
