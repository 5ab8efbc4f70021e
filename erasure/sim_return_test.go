package erasure_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/placement"
)

// The measures of a history of keys that come back.
const (
	returns    = 6 // how often they move
	returnKeys = 10
	returnOps  = 10 // of each client, in between
)

// returnKey is one of the keys: an object's, or that of the record of a bucket.
func returnKey(n int) string {
	if n == 0 {
		return recordKey
	}
	return fmt.Sprint(n)
}

// TestNothingComesBackWithAKey has keys move to another set and back, again and again, while in
// between many commits miss their quorum, or hang until the keys are back, and drives are away while they move. What
// is not known to have happened happens before the next change that is answered, or never.
func TestNothingComesBackWithAKey(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+simulated()/3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				history := moveAround(t, seed, cleared, true)
				if !legal(history) {
					tell(t, history)
					t.Error("something has come back")
				}
			})
		})
	}
}

// TestWhatComesBackWithAKeyIsNoticed moves keys to sets that have not been cleared, or whose drives
// take commits of any placement, and looks that the simulation is not content with every history.
func TestWhatComesBackWithAKeyIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about the simulation; with the race detector it takes half a minute")
	}
	for name, c := range map[string]struct {
		prepare func(*erasure.Store) preparation
		heeds   bool
	}{
		"not cleared":         {func(*erasure.Store) preparation { return unprepared }, true},
		"of an old placement": {cleared, false},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200) {
				noticed := false
				synctest.Test(t, func(t *testing.T) {
					noticed = !legal(moveAround(t, seed, c.prepare, c.heeds))
				})
				if noticed {
					t.Logf("seed %d", seed)
					return
				}
			}
			t.Error("nobody has noticed it")
		})
	}
}

// preparation is what is done before something moves.
type preparation = func(context.Context, *placement.Table) error

func cleared(s *erasure.Store) preparation {
	return func(ctx context.Context, next *placement.Table) error { return s.Clear(ctx, next, nil) }
}

func unprepared(context.Context, *placement.Table) error { return nil }

// moveAround returns the history of keys that move to and fro.
func moveAround(t *testing.T, seed uint64, prepare func(*erasure.Store) preparation, heeds bool) (history []porcupine.Operation) {
	n := []int{3, 4, 5, 6}[seed%4]
	w := &world{r: rand.New(rand.NewPCG(seed, 3)), down: map[int]bool{}, full: map[int]bool{}, heeds: heeds}
	_, gateways := build(t, w, 2, n)
	var clients []*client
	for i, g := range gateways {
		clients = append(clients, &client{store: g, id: i, r: rand.New(rand.NewPCG(seed, uint64(i)+5)), start: time.Now()}) //nolint:gosec // two
	}
	var mu sync.Mutex
	for i := range returns {
		kinds, rough := []string{"get", "put", "put"}, 50
		if i%2 == 1 { // where they have gone to
			kinds, rough = []string{"get", "delete", "delete"}, 0
		}
		w.be(true, rough)
		w.turn(2, n)
		var busy sync.WaitGroup
		for _, c := range clients {
			busy.Go(func() {
				for j := range returnOps {
					in := op{key: returnKey(c.r.IntN(returnKeys)), kind: kinds[c.r.IntN(len(kinds))], arg: fmt.Sprintf("%d.%d.%d", c.id, i, j)}
					if o, happened := c.note(t, in); happened {
						mu.Lock()
						history = append(history, o)
						mu.Unlock()
					}
				}
			})
		}
		busy.Wait()
		w.be(true, 0)
		to := (i + 1) % 2
		if !moveTo(t, gateways, to, prepare(gateways[to]), func() bool {
			time.Sleep(50 * time.Millisecond)
			w.turn(2, n)
			return false
		}) {
			return history
		}
		if to == 0 {
			w.bring()
		}
	}
	w.awaitLate()
	w.be(false, 0)
	healMissed(t, gateways[0])
	for i, g := range gateways {
		c := &client{store: g, id: 9000 + i, start: clients[0].start}
		for k := range returnKeys {
			history = append(history, c.sees(t, returnKey(k)))
		}
	}
	time.Sleep(time.Minute) // calls that nobody waits for come to their end
	for _, g := range gateways {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	return history
}
