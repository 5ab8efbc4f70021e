package erasure_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// paced is a pass over drives of which one has lost two objects of 24 MiB, half of each, and that may heal
// so many bytes a second.
type paced struct {
	*testing.T
	s     *erasure.Store
	begun time.Time
	over  chan struct{}
}

// pacedly runs check in virtual time, while the drives are healed.
func pacedly(t *testing.T, rate int64, check func(p *paced)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &paced{T: t, begun: time.Now(), over: make(chan struct{})}
		p.s, _ = oneLost(t, []int{150 << 20, 150 << 20, 150 << 20, 150 << 20}, 2, 24<<20)
		p.s.SetHealRate(rate)
		go func() {
			defer close(p.over)
			if h, err := p.s.Heal(t.Context(), nil); err != nil || h.Failed > 0 {
				t.Errorf("%+v, %v", h, err)
			}
		}()
		check(p)
		<-p.over
	})
}

// took has the pass end when so much time has gone since it began, within a tenth.
func (p *paced) took(want time.Duration) {
	p.Helper()
	<-p.over
	if took := time.Since(p.begun); took < want*9/10 || took > want*11/10 {
		p.Errorf("it took %v, not %v", took, want)
	}
}

func TestHealingKeepsToTheRate(t *testing.T) {
	pacedly(t, 1<<20, func(p *paced) { p.took(24 * time.Second) })
}

func TestARateThatIsChangedIsInForceAtOnce(t *testing.T) {
	pacedly(t, 1<<20, func(p *paced) {
		time.Sleep(12 * time.Second)
		p.s.SetHealRate(4 << 20)
		p.took(15 * time.Second)
	})
	pacedly(t, 1<<20, func(p *paced) {
		time.Sleep(12 * time.Second)
		p.s.SetHealRate(0)
		p.took(12 * time.Second)
	})
}

func TestWhatIsSmallIsHealedAtTheRateToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 64 {
			keys = append(keys, string(rune('A'+i)))
		}
		s := lagging(t, func() error { return nil }, keys...) // 50,000 bytes of each
		s.SetHealRate(erasure.MinHealRate)
		begun := time.Now()
		if h, err := s.HealMissed(t.Context(), nil); err != nil || h.Shards != 64 {
			t.Fatalf("%+v, %v", h, err)
		}
		// It takes eight seconds without a rate, and what was made at last is waited for by nobody.
		if took := time.Since(begun); took < 8*time.Second || took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNobodyWaitsForTheRateOfHealing(t *testing.T) {
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			pacedly(t, erasure.MinHealRate, func(p *paced) {
				time.Sleep(5 * time.Second)
				soon(p.T, p.s, change)
				begun := time.Now()
				if got := get(p.T, p.s, object.Ref{Bucket: "bucket", Key: "b"}, 0, 24<<20); !bytes.Equal(got, make([]byte, 24<<20)) {
					p.Error("the content is another one")
				}
				if took := time.Since(begun); took > time.Second {
					p.Errorf("who read waited for %v", took)
				}
			})
		})
	}
}

func TestAnObjectThatAReaderFoundDamagedIsHealedWhateverTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lost := oneLost(t, []int{150 << 20, 150 << 20, 150 << 20, 150 << 20}, 2, 24<<20)
		s.SetHealRate(erasure.MinHealRate)
		var healing sync.WaitGroup
		defer healing.Wait()
		healing.Go(func() {
			if h, err := s.HealBucket(t.Context(), "bucket", "a", 0, nil); err != nil || h.Shards != 1 {
				t.Errorf("%+v, %v", h, err)
			}
		})
		time.Sleep(time.Second)
		begun := time.Now()
		h, err := s.Repair(t.Context(), object.Ref{Bucket: "bucket", Key: "b"}, 1<<40)
		if took := time.Since(begun); err != nil || h.Names != 1 || h.Shards != 1 || took > time.Second {
			t.Errorf("%+v, %v after %v", h, err, took)
		}
		if lost.kept(t) == 0 {
			t.Error("the drive does not have the shard")
		}
	})
}

func TestAPassThatWaitsForTheRateCanBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := oneLost(t, []int{150 << 20, 150 << 20, 150 << 20, 150 << 20}, 2, 24<<20)
		s.SetHealRate(erasure.MinHealRate)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := s.Heal(ctx, nil); err == nil || time.Since(begun) > 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestAPartIsHealedAtOnceSinceItsKeyIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lost := oneLost(t, []int{150 << 20, 150 << 20, 150 << 20, 150 << 20}, 0, 0)
		s.SetHealRate(erasure.MinHealRate)
		up, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: "bucket", Key: "a"}}, Algorithm: object.CRC64NVME})
		if err != nil {
			t.Fatal(err)
		}
		part := func(*testing.T, *erasure.Store) {
			if _, err := s.PutPart(t.Context(), up.UploadRef, 1, objecttest.NewBody(make([]byte, 24<<20), object.CRC64NVME)); err != nil {
				t.Error(err)
			}
		}
		part(t, s)
		synctest.Wait()
		if err := lost.Close(); err != nil {
			t.Fatal(err)
		}
		lost.Drive = drives(1)[0]
		var healing sync.WaitGroup
		healing.Go(func() {
			if h, err := s.Heal(t.Context(), nil); err != nil || h.Shards != 1 {
				t.Errorf("%+v, %v", h, err)
			}
		})
		time.Sleep(50 * time.Millisecond) // half of what the disk takes
		begun := time.Now()
		part(t, s)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("who sends the part anew waited for %v", took)
		}
		healing.Wait()
	})
}
