package arbiter_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/arbiter"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/mount"
)

var (
	firstSeed = flag.Uint64("seed", 1, "first seed of the schedules")
	seeds     = flag.Uint64("seeds", 200, "how many schedules there are")
)

// world is drives, and ways to them on which messages get lost and late.
type world struct {
	mu    sync.Mutex
	r     *rand.Rand
	quiet bool
	sets  [][]*link
	links []*link // of all sets
	late  sync.WaitGroup

	claims map[uint32]string    // who has claimed a number
	ends   map[string]time.Time // when a session was over for certain; a generation's own is of its hex digits
	acked  []commit
}

// commit is one that a majority of the drives has taken.
type commit struct {
	session string
	begun   time.Time
}

type link struct {
	w    *world
	mu   sync.Mutex
	d    *drive.Drive
	down bool
}

var errLost = errors.New("lost on the way")

func (w *world) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.quiet && w.r.IntN(100) < percent
}

func (w *world) span(most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.r.Int64N(int64(most)))
}

// over makes a call over a link.
func over[T any](l *link, call func(d *drive.Drive) (T, error)) (T, error) {
	var none T
	time.Sleep(l.w.span(3 * time.Millisecond))
	l.mu.Lock()
	d, down := l.d, l.down
	l.mu.Unlock()
	switch {
	case down, l.w.chance(5):
		return none, errLost
	case l.w.chance(5): // it arrives after everybody has given up
		wait := l.w.span(3 * time.Second)
		l.w.late.Go(func() {
			time.Sleep(wait)
			_, _ = call(d)
		})
		return none, errLost
	}
	v, err := call(d)
	if l.w.chance(5) {
		return none, errLost
	}
	return v, err
}

func (l *link) Order(_ context.Context, o fence.Order) (fence.State, error) {
	return over(l, func(d *drive.Drive) (fence.State, error) { return d.Order(context.Background(), o) })
}

func newDrive(t *testing.T, blank bool) *drive.Drive {
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
	if err := d.Require(blank); err != nil {
		t.Fatal(err)
	}
	return d
}

// plain is a link as a drive of the Ledger, which these schedules do not use.
type plain struct {
	erasure.Drive
}

// newWorld returns a world of sets of so many drives.
func newWorld(t *testing.T, seed uint64, sets ...int) (*world, func() *arbiter.Arbiter) {
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), claims: make(map[uint32]string), ends: make(map[string]time.Time)}
	orders := make([][]arbiter.Drive, len(sets))
	var drives []erasure.Drive
	for i, n := range sets {
		var set []*link
		for range n {
			l := &link{w: w, d: newDrive(t, false)}
			set, orders[i], drives = append(set, l), append(orders[i], l), append(drives, plain{})
		}
		w.sets, w.links = append(w.sets, set), append(w.links, set...)
	}
	return w, func() *arbiter.Arbiter {
		ledger, err := erasure.NewLedger(t.Context(), erasure.Config{Sets: []erasure.SetConfig{{Drives: drives}}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return arbiter.New(orders, ledger)
	}
}

// commit has a session commit something new in a set, on as many drives as it reaches.
func (w *world) commit(set []*link, name, session string, token lock.Token) {
	begun := time.Now()
	took := make(chan bool, len(set))
	for _, l := range set {
		go func() {
			_, err := over(l, func(d *drive.Drive) (struct{}, error) {
				return struct{}{}, d.Commit(context.Background(), register.Change{
					Key: register.Key{Space: register.System, Name: name}, Session: session,
					Record: register.Record{Version: register.Null, Kind: register.Object, Changed: register.Token{Lease: token}, Made: register.Token{Lease: token}},
				})
			})
			took <- err == nil
		}()
	}
	count := 0
	for range set {
		if <-took {
			count++
		}
	}
	if count >= register.Majority(len(set)) {
		w.mu.Lock()
		w.acked = append(w.acked, commit{session, begun})
		w.mu.Unlock()
	}
}

// actor founds generations, renews them, commits in sessions and ends those of others.
func (w *world) actor(ctx context.Context, t *testing.T, me string, a *arbiter.Arbiter) {
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(w.span(400 * time.Millisecond))
		g, err := a.Newest(ctx)
		if err != nil {
			continue
		}
		if g.Number == 0 || w.chance(15) {
			if err := a.Claim(ctx, g.Number+1, me); err == nil {
				w.claimed(t, g.Number+1, me)
			}
			continue
		}
		_ = a.Renew(ctx, g.Number)
		dir := fmt.Sprint(me, "x", n)
		if a.Begin(ctx, g.Number, dir) != nil {
			continue
		}
		for i := range 4 {
			if i > 0 && w.chance(30) && a.Fence(ctx, g.Number, dir) == nil {
				w.over(fence.Session(g.Number, dir))
				time.Sleep(time.Nanosecond) // what follows is later
			}
			w.commit(w.sets[i%len(w.sets)], fmt.Sprint(dir, "/", i), fence.Session(g.Number, dir), lock.Token{Generation: g.Number, Sequence: uint64(i)})
			time.Sleep(w.span(500 * time.Millisecond)) // others claim meanwhile
		}
	}
}

func (w *world) claimed(t *testing.T, number uint32, who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, taken := w.claims[number]; taken {
		t.Errorf("generation %d was claimed by %s and by %s", number, other, who)
	}
	w.claims[number] = who
	for earlier := range number {
		if name := fmt.Sprintf("%08x", earlier); w.ends[name].IsZero() {
			w.ends[name] = time.Now()
		}
	}
}

func (w *world) over(session string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends[session].IsZero() {
		w.ends[session] = time.Now()
	}
}

// trouble has drives go away, come back, and be replaced by blank ones, of which there is no
// more than one that the others have not taught.
func (w *world) trouble(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		time.Sleep(w.span(2 * time.Second))
		w.mu.Lock()
		l := w.links[w.r.IntN(len(w.links))]
		w.mu.Unlock()
		l.mu.Lock()
		replaced := w.chance(40)
		if replaced {
			l.d = newDrive(t, true)
		} else {
			l.down = !l.down
		}
		l.mu.Unlock()
		for replaced && ctx.Err() == nil {
			if s, err := l.d.Order(ctx, fence.Order{Op: fence.Look}); err == nil && !s.Blank {
				break
			}
			w.calm()
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// calm has all drives be there.
func (w *world) calm() {
	for _, l := range w.links {
		l.mu.Lock()
		l.down = false
		l.mu.Unlock()
	}
}

// check looks whether anything was committed that was begun in a session that was over.
func (w *world) check(t *testing.T, seed uint64) {
	for _, c := range w.acked {
		for _, name := range []string{c.session, c.session[:8]} {
			if end := w.ends[name]; !end.IsZero() && c.begun.After(end) {
				t.Errorf("seed %d: what was begun in %s after it was over was committed", seed, c.session)
			}
		}
	}
}

func TestNoScheduleHasTheDeadCommit(t *testing.T) {
	commits, generations := 0, 0
	for seed := *firstSeed; seed < *firstSeed+*seeds && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			sets := []int{3 + int(seed%3)}
			if seed%2 == 0 {
				sets = append(sets, 3)
			}
			w, newArbiter := newWorld(t, seed, sets...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() { w.actor(ctx, t, string(rune('a'+i)), newArbiter()) })
			}
			all.Go(func() { w.trouble(ctx, t) })
			all.Wait()
			time.Sleep(time.Minute) // for what nobody waits for
			w.late.Wait()
			w.check(t, seed)
			commits, generations = commits+len(w.acked), generations+len(w.claims)
		})
	}
	if commits == 0 || generations < 2 {
		t.Errorf("%d commits in %d generations show nothing", commits, generations)
	}
	t.Logf("%d commits, %d generations", commits, generations)
}

func TestWhoIsCutOffFromTheMajorityDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, newArbiter := newWorld(t, 1, 4)
		w.quiet = true
		a := newArbiter()
		if err := errors.Join(a.Claim(t.Context(), 1, "a"), a.Renew(t.Context(), 1)); err != nil {
			t.Fatal(err)
		}
		for _, l := range w.links[:2] {
			l.down = true
		}
		if err := a.Claim(t.Context(), 2, "b"); err == nil || errors.Is(err, mount.ErrTaken) {
			t.Errorf("a claim with two of four drives: %v", err)
		}
		w.calm()
		if err := a.Renew(t.Context(), 1); err != nil {
			t.Errorf("the generation was disturbed: %v", err)
		}
	})
}

func TestADriveThatStandsForAnotherIsToldWhatThatOneKnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, newArbiter := newWorld(t, 1, 3)
		w.quiet = true
		a := newArbiter()
		w.links[2].down = true // it knows nothing of what follows
		if err := errors.Join(a.Claim(t.Context(), 1, "a"), a.Fence(t.Context(), 1, "dead")); err != nil {
			t.Fatal(err)
		}
		w.calm()
		w.links[1].d = newDrive(t, true)
		if err := a.Renew(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		s, err := w.links[1].d.Order(t.Context(), fence.Order{Op: fence.Look})
		if err != nil || s.Generation != 1 || !slices.Equal(s.Sealed, []string{"dead"}) {
			t.Errorf("the new drive knows %+v, %v", s, err)
		}
	})
}

func TestNothingIsOverBeforeItIsInEverySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, newArbiter := newWorld(t, 1, 3, 4)
		w.quiet = true
		a := newArbiter()
		if err := errors.Join(a.Claim(t.Context(), 1, "a"), a.Begin(t.Context(), 1, "s")); err != nil {
			t.Fatal(err)
		}
		for _, l := range w.sets[1][:2] {
			l.mu.Lock()
			l.down = true
			l.mu.Unlock()
		}
		for what, try := range map[string]func(context.Context) error{
			"a fence": func(ctx context.Context) error { return a.Fence(ctx, 1, "s") },
			"a claim": func(ctx context.Context) error { return a.Claim(ctx, 2, "b") },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := try(ctx); err == nil {
				t.Errorf("%s with half of the drives of one of two sets", what)
			}
			cancel()
		}
		if err := a.Renew(t.Context(), 1); err != nil {
			t.Errorf("half of a set have one of every majority: %v", err)
		}
		w.calm()
		if err := errors.Join(a.Fence(t.Context(), 1, "s"), a.Claim(t.Context(), 2, "b")); err != nil {
			t.Errorf("when all are back: %v", err)
		}
		time.Sleep(time.Minute) // for what nobody waits for
	})
}
