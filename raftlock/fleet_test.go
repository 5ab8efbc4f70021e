package raftlock

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

var (
	seeds = flag.Int("seeds", 1000, "fault schedules to run, with -short at most 15")
	seed  = flag.Uint64("seed", 1, "the first of them")
	span  = flag.Duration("span", 15*time.Second, "how long faults go on in each")
)

// TestFaultSchedules runs a real fleet through seeded faults: processes that
// crash, leave and come back with other names, all of them at once too; links
// cut one way and both; sessions taken for dead that are not. Clients count
// under locks, and commit by one rename out of their session's directory, also
// when their process is long dead to the others.
func TestFaultSchedules(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 15)
	}
	before := debug.SetGCPercent(300) // a schedule drops much and keeps little
	var commits, refused, settings, followed, cached atomic.Int64
	t.Cleanup(func() {
		debug.SetGCPercent(before)
		t.Logf("%d schedules: %d commits, %d refused by a fence, %d settings; copies: %d times kept by asking, %d reads under cache leases",
			n, commits.Load(), refused.Load(), settings.Load(), followed.Load(), cached.Load())
		if followed.Load() == 0 || cached.Load() == 0 {
			t.Error("no copy was ever kept")
		}
		if n > 1 && commits.Load() == 0 { // in a single one the faults may leave no time for it
			t.Error("nothing was ever committed")
		}
	})
	for s := *seed; s < *seed+uint64(n); s++ {
		t.Run(strconv.FormatUint(s, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := schedule(t, s, nil)
				for _, p := range h.problems {
					t.Error(p)
				}
				if t.Failed() {
					t.Logf("run again with -seeds 1 -seed %d", s)
				}
				commits.Add(int64(h.commits))
				refused.Add(int64(h.refused))
				settings.Add(int64(h.settings)) //nolint:gosec // it counts
				followed.Add(int64(h.followed))
				cached.Add(int64(h.cached))
			})
		})
	}
}

// history is what clients were told.
type history struct {
	mu       sync.Mutex
	counted  map[string]string // key and count to who was told so
	commits  int
	refused  int // by a fence
	settings uint64
	newest   map[string]int // key to the highest count that was committed
	followed int            // times that copies were kept by asking what had changed
	cached   int            // reads under cache leases
	problems []string
}

func (h *history) problem(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = append(h.problems, fmt.Sprintf(format, args...))
}

func schedule(t *testing.T, seed uint64, mutate func(Arbiter) Arbiter) *history {
	t.Helper()
	w := newWorld(t, seed)
	w.mutate = mutate
	defer w.end()
	if err := w.root.Mkdir("data", 0o777); err != nil {
		t.Fatal(err)
	}
	h := &history{counted: make(map[string]string), newest: make(map[string]int)}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	launch := func(name string) {
		p := w.start(name)
		for i := range 2 {
			clients.Go(func() { w.count(p, h, fmt.Sprintf("%s/%d", p.name, i), stop) })
		}
		clients.Go(func() { w.configure(p, h, stop) })
		clients.Go(func() { w.follow(p, h, stop) })
		if name < "c" { // those that do not cache are ended sooner
			clients.Go(func() { w.cache(p, h, stop) })
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		launch(name)
	}
	for begun := time.Now(); time.Since(begun) < *span; {
		time.Sleep(time.Duration(w.rand.Int64N(int64(2 * time.Second))))
		w.fault(launch)
	}
	w.net.mend()
	for len(w.running) < 2 {
		launch(w.freeName())
	}
	close(stop)
	clients.Wait()
	time.Sleep(10 * time.Second)
	w.settled(h)
	return h
}

// noFence is storage that says it has fenced a session, and has not.
type noFence struct{ Arbiter }

func (noFence) Fence(context.Context, uint32, string) error { return nil }

// forgetful is storage that says it has saved a setting, and has not.
type forgetful struct{ Arbiter }

func (forgetful) SaveChange(context.Context, uint32, string, uint64, []byte) error { return nil }

// A checker that cannot fail proves nothing: each of these storages breaks its
// word, and must be found out.
func TestStorageThatBreaksItsWordIsFoundOut(t *testing.T) {
	for name, mutate := range map[string]func(Arbiter) Arbiter{
		"no fence":          func(a Arbiter) Arbiter { return noFence{a} },
		"settings are lost": func(a Arbiter) Arbiter { return forgetful{a} },
	} {
		t.Run(name, func(t *testing.T) {
			for s := uint64(1); s <= 40; s++ {
				var problems []string
				synctest.Test(t, func(t *testing.T) { problems = schedule(t, s, mutate).problems })
				if len(problems) > 0 {
					t.Logf("seed %d: %s", s, problems[0])
					return
				}
			}
			t.Error("not found out in 40 schedules")
		})
	}
}

// fault makes the world worse, or better.
func (w *world) fault(launch func(name string)) {
	names := make([]string, 0, 5)
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		if w.running[n] != nil {
			names = append(names, n)
		}
	}
	pick := func() string { return names[w.rand.IntN(len(names))] }
	if len(names) == 0 {
		launch(w.freeName())
		return
	}
	switch w.rand.IntN(10) {
	case 0, 1:
		w.crash(w.running[pick()])
	case 2:
		w.leave(w.running[pick()])
	case 3, 4:
		if len(names) < 5 {
			launch(w.freeName())
		}
	case 5:
		w.net.set(pick(), pick(), true)
	case 6:
		alone := pick()
		for _, n := range names {
			w.net.set(alone, n, true)
			w.net.set(n, alone, true)
		}
	case 7:
		w.net.mend()
	case 8:
		w.expire(w.running[pick()])
	case 9:
		if w.rand.IntN(4) == 0 {
			for _, n := range names {
				w.crash(w.running[n])
			}
		}
	}
}

func (w *world) freeName() string {
	for {
		n := string(rune('a' + w.rand.IntN(5)))
		if w.running[n] == nil {
			return n
		}
	}
}

// expire has a healthy session taken for dead.
func (w *world) expire(p *process) {
	victim, ok := p.node.Session().(*session)
	for _, leader := range w.running {
		l := leader.node.currentLife()
		if l == nil || !ok {
			continue
		}
		l.mu.Lock()
		term := l.term
		l.mu.Unlock()
		if term != nil {
			l.consensus.raft.Apply(protocol.Encode(protocol.ExpireSession{Session: victim.sid}), applyTimeout)
		}
	}
}

// count adds to counters, one at a time, until stop.
func (w *world) count(p *process, h *history, who string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-p.node.ctx.Done():
			return
		default:
		}
		key := countedKey(w.pick(countedKeys))
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		names := []string{"o/bucket/" + key}
		if w.pick(8) == 0 {
			names = append(names, "o/bucket/"+countedKey(w.pick(countedKeys)))
		}
		ls, err := p.node.Acquire(ctx, lock.Exclusive, names...)
		if err == nil {
			w.commit(ls.(*lease), h, key, who)
			ls.Release()
		}
		cancel()
		time.Sleep(time.Duration(w.pick(80)) * time.Millisecond)
	}
}

func (w *world) pick(n int) int {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	return w.net.rand.IntN(n)
}

// commit adds one to the counter of a key, under its lock.
func (w *world) commit(ls *lease, h *history, key, who string) {
	count, token := w.read(h, key)
	time.Sleep(time.Duration(w.pick(6)) * time.Millisecond)
	if w.pick(100) == 0 {
		// As a process does that is paused: the fleet may give up on it meanwhile.
		time.Sleep(time.Duration(w.pick(6000)) * time.Millisecond)
	}
	dir, err := w.root.OpenDir(fmt.Sprintf(".shoal.sys/sessions/%08x/%s", ls.session.life.generation, ls.session.dir))
	if err == nil {
		err = w.publish(dir, key, fmt.Appendf(nil, "%d %d %d %d", count+1, ls.token.Generation, ls.token.Epoch, ls.token.Sequence))
		_ = dir.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.refused++
		return
	}
	h.commits++
	h.newest[key] = max(h.newest[key], count+1)
	if token.Compare(ls.Token()) >= 0 {
		h.problems = append(h.problems, fmt.Sprintf("%s: %s had token %v, and was committed with %v", who, key, token, ls.Token()))
	}
	id := fmt.Sprintf("%s=%d", key, count+1)
	if other := h.counted[id]; other != "" {
		h.problems = append(h.problems, fmt.Sprintf("%s was counted by %s and by %s with token %v", id, other, who, ls.token))
	}
	h.counted[id] = fmt.Sprintf("%s with token %v", who, ls.token)
}

func (w *world) publish(dir vfs.Dir, key string, content []byte) error {
	name := fmt.Sprintf("%s-%d", key, w.pick(1<<30))
	f, err := dir.Create(name, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	time.Sleep(time.Duration(w.pick(3)) * time.Millisecond)
	data, err := w.root.OpenDir("data")
	if err != nil {
		return err
	}
	defer data.Close()
	return dir.Rename(name, data, key)
}

func (w *world) read(h *history, key string) (count int, token lock.Token) {
	f, err := w.root.Open("data/" + key)
	if err != nil {
		return 0, token
	}
	defer f.Close()
	b := make([]byte, 100)
	n, _ := f.ReadAt(b, 0)
	if _, err := fmt.Sscanf(string(bytes.TrimSpace(b[:n])), "%d %d %d %d", &count, &token.Generation, &token.Epoch, &token.Sequence); err != nil {
		h.problem("%s has %q: %v", key, b[:n], err)
	}
	return count, token
}

// configure counts in a setting that is compared and set, and checks that what
// was acknowledged is there.
func (w *world) configure(p *process, h *history, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-p.node.ctx.Done():
			return
		case <-time.After(time.Duration(w.pick(2000)) * time.Millisecond):
		}
		have, _ := p.node.Get("counter")
		count, _ := strconv.ParseUint(string(have.Value), 10, 64)
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		_, err := p.node.Set(ctx, Change{Name: "counter", Value: strconv.AppendUint(nil, count+1, 10), If: &have.Revision})
		cancel()
		if err == nil {
			h.mu.Lock()
			id := fmt.Sprintf("setting=%d", count+1)
			if other := h.counted[id]; other != "" {
				h.problems = append(h.problems, fmt.Sprintf("%s was set by %s and by %s", id, other, p.name))
			}
			h.counted[id], h.settings = p.name, max(h.settings, count+1)
			h.mu.Unlock()
		}
	}
}

// settled checks what must hold when nothing has failed for a while.
func (w *world) settled(h *history) {
	images := make(map[string]string)
	for _, p := range w.running {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		for i := range countedKeys {
			ls, err := p.node.Acquire(ctx, lock.Exclusive, "o/bucket/"+countedKey(i))
			if err != nil {
				h.problem("%s: no lock on k%d long after all was mended: %v", p.name, i, err)
				break
			}
			ls.Release()
		}
		cancel()
		have, _ := p.node.Get("counter")
		h.mu.Lock()
		acknowledged := h.settings
		h.mu.Unlock()
		if count, _ := strconv.ParseUint(string(have.Value), 10, 64); count < acknowledged {
			h.problem("%s: the setting is %s, and %d was acknowledged", p.name, have.Value, acknowledged)
		}
		if v := p.node.metrics.violations.Load(); v > 0 {
			h.problem("%s: %d violations", p.name, v)
		}
		if l := p.node.currentLife(); l != nil {
			l.look(func(s *protocol.State) {
				at := fmt.Sprintf("generation %d, entry %d", l.generation, s.Applied)
				image := string(s.AppendSnapshot(nil))
				if other, ok := images[at]; ok && other != image {
					h.problem("the states at %s differ", at)
				}
				images[at] = image
			})
		}
	}
}
