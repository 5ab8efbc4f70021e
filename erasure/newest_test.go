package erasure_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// TestWhatADriveHasLostThoughItWasDurableIsMadeAnewWhenItIsBack has the disk of one drive of four lose shards that it said
// were durable, while the store of the drive says that they are there. When what was missed has been
// healed two others go, and everything is read.
func TestWhatADriveHasLostThoughItWasDurableIsMadeAnewWhenItIsBack(t *testing.T) {
	for seed := range uint64(4) {
		h := newHouse(t, 1, false)
		h.r, h.mains.slow = rand.New(rand.NewPCG(seed, 5)), false
		h.mains.left.Store(1 << 40)
		returns := h.sets[0][1]
		returns.forgets = true
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(h.open(1))
		must(h.gateways[0].CreateBucket(t.Context(), object.Bucket{Name: inBucket}))
		contents := make(map[string][]byte)
		for i, size := range []int{100, 20_000, 300_000, 12 << 20, 300_000, 20_000} {
			key, content := fmt.Sprint(i), make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(seed)}).Read(content)
			_, err := h.gateways[0].Put(t.Context(), at(key, ""), object.PutInput{Body: objecttest.NewBody(content, object.CRC64NVME)})
			must(err)
			contents[key] = content
		}
		returns.lose(h.r)
		h.close()
		must(h.open(2))
		healed, err := h.gateways[0].HealMissed(t.Context(), nil)
		must(err)
		if healed.Shards == 0 || healed.Failed+healed.Pending > 0 {
			t.Errorf("with seed %d it is healed as %+v", seed, healed)
		}
		for _, i := range []int{0, 3} {
			must(h.sets[0][i].d.Close())
			h.sets[0][i].d = nil
		}
		for key, want := range contents {
			o, err := h.gateways[0].Open(t.Context(), at(key, ""))
			must(err)
			got, err := io.ReadAll(o.Range(0, o.Info().Size))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("with seed %d %s has %d bytes of %d, %v", seed, key, len(got), len(want), err)
			}
			must(o.Close())
		}
		h.close()
	}
}
