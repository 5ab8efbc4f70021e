package erasure_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

var (
	firstSeed = flag.Uint64("seed", 1, "first seed of the histories")
	seeds     = flag.Uint64("seeds", 150, "how many histories there are")
)

// simulated returns how many histories are simulated: with -short, where the race detector makes each
// ten times as long, a fifth.
func simulated() uint64 {
	if testing.Short() {
		return *seeds / 5
	}
	return *seeds
}

// world is drives, messages to which get lost and late, and locks that are not kept by
// everybody.
type world struct {
	mu     sync.Mutex
	r      *rand.Rand
	faults bool
	down   map[int]bool // drives that do not answer
	full   map[int]bool // drives that take no contents
	rough  int          // of 100 commits, how many get lost besides, or hang on their way
	hung   []func()     // what brings those to their drives
	heeds  bool         // drives heed from which placement on they are to take commits
	late   int
}

func (w *world) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults && w.r.IntN(100) < percent
}

func (w *world) delay(most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.r.Int64N(int64(most)))
}

func (w *world) isDown(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults && w.down[i]
}

func (w *world) isFull(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults && w.full[i]
}

// turn has the weather turn: other drives of each set are down, and now and then some are full.
func (w *world) turn(sets, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.down)
	clear(w.full)
	for set := range sets {
		for range w.r.IntN(n/2 + 1) {
			w.down[set*n+w.r.IntN(n)] = true
		}
		if w.r.IntN(3) == 0 {
			for range w.r.IntN(n + 1) {
				w.full[set*n+w.r.IntN(n)] = true
			}
		}
	}
}

// be sets how many commits of 100 get lost, and whether there are faults at all.
func (w *world) be(faults bool, rough int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults, w.rough = faults, rough
}

// loses reports whether a commit gets lost because it is rough. Some come in the end.
func (w *world) loses(bring func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := w.r.IntN(100) < w.rough
	if lost && w.r.IntN(3) == 0 {
		w.hung = append(w.hung, bring)
	}
	return lost
}

// bring has commits reach their drives that have hung.
func (w *world) bring() {
	w.mu.Lock()
	hung := w.hung
	w.hung = nil
	w.mu.Unlock()
	for _, bring := range hung {
		bring()
	}
}

// later runs a call that nobody waits for but awaitLate.
func (w *world) later(call func()) {
	w.mu.Lock()
	w.late++
	w.mu.Unlock()
	go func() {
		call()
		w.mu.Lock()
		w.late--
		w.mu.Unlock()
	}()
}

// awaitLate waits until no call is late. A WaitGroup takes none that come while somebody waits
// for the last one.
func (w *world) awaitLate() {
	for late := 1; late > 0; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		late = w.late
		w.mu.Unlock()
	}
}

// link is the way to a drive.
type link struct {
	w  *world
	i  int
	d  *drive.Drive
	kv *drive.Memory
}

var errLost = errors.New("lost on the way")

// over makes a call over the link.
func over[T any](l *link, call func() (T, error)) (T, error) {
	var none T
	time.Sleep(l.w.delay(2 * time.Millisecond))
	switch {
	case l.w.isDown(l.i), l.w.chance(3):
		return none, errLost
	case l.w.chance(5): // it arrives after everybody has given up
		wait := l.w.delay(200 * time.Millisecond)
		l.w.later(func() {
			time.Sleep(wait)
			_, _ = call()
		})
		return none, errLost
	}
	v, err := call()
	time.Sleep(l.w.delay(2 * time.Millisecond))
	if l.w.chance(3) {
		return none, errLost
	}
	return v, err
}

func overErr(l *link, call func() error) error {
	_, err := over(l, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (l *link) Commit(ctx context.Context, c register.Change) error {
	if l.w.loses(func() { _ = l.d.Commit(context.WithoutCancel(ctx), c) }) {
		return errLost
	}
	return overErr(l, func() error {
		if len(c.Inline) > 0 && l.w.isFull(l.i) {
			return register.ErrFull
		}
		return l.d.Commit(context.WithoutCancel(ctx), c)
	})
}

func (l *link) Install(ctx context.Context, key register.Key, r register.Record, t register.Token) (bool, error) {
	return over(l, func() (bool, error) { return l.d.Install(context.WithoutCancel(ctx), key, r, t) })
}

func (l *link) Since(ctx context.Context, epoch uint64) error {
	if !l.w.heeds {
		return nil
	}
	return overErr(l, func() error { return l.d.Since(ctx, epoch) })
}

func (l *link) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return over(l, func() (register.View, error) { return l.d.Promise(context.WithoutCancel(ctx), t, q) })
}

func (l *link) Read(ctx context.Context, q register.Query) (register.View, error) {
	return over(l, func() (register.View, error) { return l.d.Read(ctx, q) })
}

func (l *link) Decide(ctx context.Context, all []register.Decision) error {
	if l.w.chance(20) {
		return errLost
	}
	return overErr(l, func() error { return l.d.Decide(context.WithoutCancel(ctx), all) })
}

func (l *link) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	return over(l, func() (register.ScanPage, error) { return l.d.Scan(context.WithoutCancel(ctx), q) })
}

func (l *link) Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error) {
	return over(l, func() (register.ScanPage, error) { return l.d.Pending(context.WithoutCancel(ctx), q) })
}

func (l *link) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	return over(l, func() (register.ShardWriter, error) { return l.d.Create(ctx, id, size) })
}

func (l *link) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	time.Sleep(l.w.delay(time.Millisecond))
	if l.w.isDown(l.i) || l.w.chance(3) {
		return 0, errLost
	}
	return l.d.ReadShard(ctx, id, offset, p)
}

func (l *link) Drop(ctx context.Context, id register.DataID) error { return l.d.Drop(ctx, id) }
func (l *link) Close() error                                       { return nil }

// locker grants in order, and now and then to two at the same time, as when a holder is
// taken for dead that is not.
type locker struct {
	w    *world
	mu   sync.Mutex
	next uint64
	held map[string]chan struct{}
}

type lease struct {
	context.Context
	token   lock.Token
	release func()
}

func (l *lease) Token() lock.Token        { return l.token }
func (l *lease) Session() lock.Session    { return session{} }
func (l *lease) Release()                 { l.release() }
func (l *lease) context() context.Context { return l.Context }

type session struct{}

func (session) ID() string            { return "session" }
func (session) Done() <-chan struct{} { return nil }

// granted is a lease as lock.Lease, whose Context is a method.
type granted struct{ l *lease }

func (g granted) Context() context.Context { return g.l.context() }
func (g granted) Token() lock.Token        { return g.l.token }
func (g granted) Session() lock.Session    { return session{} }
func (g granted) Release()                 { g.l.release() }

func (k *locker) Session() lock.Session { return session{} }

func (k *locker) Acquire(ctx context.Context, mode lock.Mode, names ...string) (lock.Lease, error) {
	name := names[0]
	for {
		k.mu.Lock()
		free, taken := k.held[name]
		if mode == lock.Shared || !taken || k.w.chance(4) {
			break
		}
		k.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.next++
	token := lock.Token{Generation: 1, Epoch: 1, Sequence: k.next}
	if mode == lock.Shared {
		k.mu.Unlock()
		return granted{&lease{ctx, token, func() {}}}, nil
	}
	mine := make(chan struct{})
	k.held[name] = mine
	k.mu.Unlock()
	time.Sleep(k.w.delay(2 * time.Millisecond))
	var once sync.Once
	return granted{&lease{ctx, token, func() {
		once.Do(func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.held[name] == mine {
				delete(k.held, name)
			}
			close(mine)
		})
	}}}, nil
}

// op is one operation of a history.
type op struct {
	key  string
	kind string // put, get, delete, cas
	arg  string // what is put
	old  string // what cas expects
}

// result is what came of it.
type result struct {
	value   string // of get; "" for nothing
	refused bool   // cas found something else, delete of a record nothing
	unknown bool
}

// registerModel is a key that holds a value, or nothing. What is not known to have happened may
// not have.
func registerModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			keys := make(map[string][]porcupine.Operation)
			for _, o := range history {
				keys[o.Input.(op).key] = append(keys[o.Input.(op).key], o)
			}
			return slices.Collect(maps.Values(keys))
		},
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) []any {
			s, in, out := state.(string), input.(op), output.(result)
			after := in.arg
			switch {
			case in.kind == "delete" && out.refused && s != "":
				return nil
			case in.kind == "delete":
				after = ""
			case in.kind == "get" && out.value != s, in.kind == "cas" && out.refused == (s == in.old) && !out.unknown:
				return nil
			case in.kind == "get", in.kind == "cas" && s != in.old:
				return []any{s}
			}
			if out.unknown {
				return []any{s, after}
			}
			return []any{after}
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
	return model.ToModel()
}

// bound says until when what is not known to have happened may have: until the first change ends
// that began after it and has been answered. Tokens forbid it from then on; who finds nothing to
// change commits nothing, so these forbid nothing.
func bound(history []porcupine.Operation) {
	for i := range history {
		o := &history[i]
		if !o.Output.(result).unknown {
			continue
		}
		ended := o.Return
		o.Return = int64(time.Hour)
		for _, later := range history {
			out := later.Output.(result)
			if changes := later.Input.(op).key == o.Input.(op).key && later.Input.(op).kind != "get" && !out.unknown && !out.refused; changes && later.Call > ended {
				o.Return = min(o.Return, later.Return)
			}
		}
	}
}

// legal reports whether a history is one of registers.
func legal(history []porcupine.Operation) bool {
	bound(history)
	return porcupine.CheckOperationsTimeout(registerModel(), history, 5*time.Second) != porcupine.Illegal
}

// tell logs a history.
func tell(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, o := range history {
		t.Logf("%3d %9d %9d %+v -> %+v", o.ClientId, o.Call/1000, o.Return/1000, o.Input, o.Output)
	}
}

// client does operations on keys and notes them.
type client struct {
	store *erasure.Store
	id    int
	r     *rand.Rand
	start time.Time
}

func (c *client) run(t *testing.T, steps int) (history []porcupine.Operation) {
	last := make(map[string]string) // by key
	for i := range steps {
		in := op{key: []string{"k", "k", recordKey}[c.r.IntN(3)], kind: []string{"get", "get", "put", "delete", "cas", "cas"}[c.r.IntN(6)], arg: fmt.Sprintf("%d.%d", c.id, i)}
		if in.kind == "cas" {
			in.old = last[in.key]
		}
		o, happened := c.note(t, in)
		if !happened {
			continue
		}
		if in.kind == "get" {
			last[in.key] = o.Output.(result).value
		}
		history = append(history, o)
	}
	return history
}

// note carries out an operation and notes it.
func (c *client) note(t *testing.T, in op) (o porcupine.Operation, happened bool) {
	o = porcupine.Operation{ClientId: c.id, Input: in, Call: int64(time.Since(c.start))}
	out, happened := c.do(t, object.Ref{Bucket: "bucket", Key: in.key}, in)
	o.Output, o.Return = out, int64(time.Since(c.start))
	if out.unknown {
		c.id += 100 // a client has one operation at a time
	}
	return o, happened
}

// sees notes what is there of a key when all is well.
func (c *client) sees(t *testing.T, key string) porcupine.Operation {
	t.Helper()
	o, happened := c.note(t, op{key: key, kind: "get"})
	if !happened {
		t.Errorf("with all drives there again %s cannot be read", key)
	}
	o.Return++
	return o
}

// do carries out an operation. One that failed without a trace has not happened.
func (c *client) do(t *testing.T, key object.Ref, in op) (out result, happened bool) {
	ctx := t.Context()
	var err error
	if in.key == recordKey {
		err = c.record(ctx, in, &out)
	} else {
		err = c.object(ctx, key, in, &out)
	}
	switch {
	case errors.Is(err, object.PreconditionFailed):
		return result{refused: true}, true
	case err == nil:
		return out, true
	case errors.Is(err, object.Unknown) && in.kind != "get":
		return result{unknown: true}, true
	}
	return out, false
}

// object carries out an operation on an object.
func (c *client) object(ctx context.Context, key object.Ref, in op, out *result) (err error) {
	switch in.kind {
	case "get":
		out.value, err = c.get(ctx, key)
	case "put":
		_, err = c.store.Put(ctx, key, object.PutInput{Body: objecttest.NewBody([]byte(in.arg), object.CRC64NVME)})
	case "delete":
		_, err = c.store.Delete(ctx, key, nil)
	case "cas":
		_, err = c.store.Put(ctx, key, object.PutInput{Body: objecttest.NewBody([]byte(in.arg), object.CRC64NVME), Check: func(now *object.Info) error {
			if now == nil && in.old == "" || now != nil && now.ETag == etag(in.old) {
				return nil
			}
			return object.PreconditionFailed
		}})
	}
	return err
}

// recordKey is the key of operations on the record of a bucket, whose value is a tag of it.
const recordKey = "record"

func tagged(b *object.Bucket) string {
	if len(b.Tags) == 0 {
		return ""
	}
	return b.Tags[0].Value
}

// record carries out an operation on the record of a bucket: what is put is there, whether it was
// before or not.
func (c *client) record(ctx context.Context, in op, out *result) error {
	switch in.kind {
	case "get":
		b, err := c.store.StatBucket(ctx, recordKey)
		if errors.Is(err, object.NoSuchBucket) {
			return nil
		}
		out.value = tagged(&b)
		return err
	case "delete":
		if err := c.store.DeleteBucket(ctx, recordKey); !errors.Is(err, object.NoSuchBucket) {
			return err
		}
		return object.PreconditionFailed
	}
	for {
		there, tags := false, []object.Tag{{Key: "value", Value: in.arg}}
		err := c.store.UpdateBucket(ctx, recordKey, func(b *object.Bucket) error {
			there = true
			if in.kind == "cas" && tagged(b) != in.old {
				return object.PreconditionFailed
			}
			b.Tags = tags
			return nil
		})
		if there || !errors.Is(err, object.NoSuchBucket) {
			return err
		}
		if in.kind == "cas" && in.old != "" {
			return object.PreconditionFailed
		}
		if err = c.store.CreateBucket(ctx, object.Bucket{Name: recordKey, Tags: tags}); !errors.Is(err, object.BucketExists) {
			return err
		}
	}
}

func etag(content string) string {
	b := objecttest.NewBody([]byte(content), object.CRC64NVME)
	_, _ = io.Copy(io.Discard, b)
	d := b.Digest()
	return fmt.Sprintf("%x", d.MD5)
}

func (c *client) get(ctx context.Context, key object.Ref) (string, error) {
	h, err := c.store.Open(ctx, key)
	if errors.Is(err, object.NoSuchKey) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	info := h.Info()
	b, err := io.ReadAll(h.Range(0, info.Size))
	return string(b), errors.Join(err, h.Close())
}

// TestNoHistoryBreaksTheOrderOfAKey has clients of two gateways read and change one key,
// while messages get lost, late and doubled, drives go away and come back, and locks are
// held by two. With every other seed the key moves to another set of drives, and back. Each
// history must be one of a single register. What the drives have missed is healed meanwhile as far as that
// goes, and when all is well again, by what they have noted of that alone: then all of them hold the same.
func TestNoHistoryBreaksTheOrderOfAKey(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+simulated(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, d := range simulate(t, seed, func([]*link) {}) {
					t.Error("healed, and different: " + d)
				}
			})
		})
	}
}

// TestANoteThatIsLostIsNoticed loses what the drives have noted of a register, and looks that
// the simulation is not content with every history.
func TestANoteThatIsLostIsNoticed(t *testing.T) {
	noticed := 0
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			if len(simulate(t, seed, loseNotes)) > 0 {
				noticed++
			}
		})
	}
	if noticed == 0 {
		t.Error("nobody has noticed it")
	}
}

// loseNotes removes the notes that drives have of objects.
func loseNotes(all []*link) {
	for _, l := range all {
		var b drive.Batch
		notes, _ := l.kv.Scan([]byte{'p', byte(register.Objects)}, []byte{'p', byte(register.Objects) + 1})
		for notes.Next() {
			b.Remove(notes.Key())
		}
		_ = l.kv.Apply(&b, true)
	}
}

// toAndFro has everything move from the first set to the second, and back, until stop is closed.
func toAndFro(t *testing.T, gateways []*erasure.Store, stop <-chan struct{}) {
	for to := 1; !paused(stop); to = 1 - to {
		if !moveTo(t, gateways, to, cleared(gateways[to]), func() bool { return paused(stop) }) {
			return // it stays as it is, and must be read as it was
		}
	}
}

// moveTo has everything move to a set, for which prepare has it cleared, and reports whether it is
// there: as long as something fails, wait says whether to give up.
func moveTo(t *testing.T, gateways []*erasure.Store, to int, prepare func(context.Context, *placement.Table) error, wait func() (over bool)) bool {
	shares := []int{0, 0}
	shares[to] = 1
	next := gateways[0].Placement().Rebalanced(shares)
	if next == nil {
		return true // it is there
	}
	for prepare(t.Context(), next) != nil {
		if wait() {
			return false
		}
	}
	return carryOut(t, gateways, next, wait)
}

// carryOut has everything be where a Table says, which is the next one or in force.
func carryOut(t *testing.T, gateways []*erasure.Store, next *placement.Table, wait func() (over bool)) bool {
	for ; ; next = next.Next() {
		for _, g := range gateways { // all of them, before the next phase
			if err := g.Place(t.Context(), next); err != nil {
				t.Error(err)
				return false
			}
		}
		if next.Phase == placement.Settled {
			return true
		}
		for next.Phase == placement.Moving {
			m, err := gateways[0].Move(t.Context(), nil)
			if err == nil && m.Names == 0 {
				break
			}
			if wait() {
				return false
			}
		}
	}
}

// paused waits for a moment, and reports whether stop is closed.
func paused(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	case <-time.After(50 * time.Millisecond):
		return false
	}
}

// build returns drives, n for each set, and two gateways to them, with a bucket.
func build(t *testing.T, w *world, sets, n int) (links [][]*link, gateways []*erasure.Store) {
	links = make([][]*link, sets)
	for i := range links {
		for j := range n {
			kv := drive.NewMemory()
			l := &link{w: w, i: i*n + j, kv: kv, d: drive.New(kv, drive.NewMemoryFiles(), nil)}
			if err := l.d.StartLog(); err != nil {
				t.Fatal(err)
			}
			links[i] = append(links[i], l)
		}
	}
	locks := &locker{w: w, held: map[string]chan struct{}{}}
	for range 2 {
		var configs []erasure.SetConfig
		for _, set := range links {
			c := erasure.SetConfig{Parity: n / 2}
			for _, l := range set {
				c.Drives = append(c.Drives, l)
			}
			configs = append(configs, c)
		}
		s, err := erasure.New(context.Background(), erasure.Config{Sets: configs, Locker: locks, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		gateways = append(gateways, s)
	}
	if err := gateways[0].CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return links, gateways
}

// simulate runs a history, spoils what the drives hold, heals what they have missed, and returns
// in what they still differ.
func simulate(t *testing.T, seed uint64, spoil func([]*link)) (different []string) {
	n := []int{3, 4, 5, 6}[seed%4]
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), down: map[int]bool{}, full: map[int]bool{}, heeds: true}
	links, gateways := build(t, w, 1+int(seed%2), n) //nolint:gosec // one or two
	all := slices.Concat(links...)
	w.be(true, 0)
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var clients sync.WaitGroup
	for i := range 5 {
		c := &client{store: gateways[i%2], id: i, r: rand.New(rand.NewPCG(seed, uint64(i)+2)), start: start}
		clients.Go(func() {
			h := c.run(t, 15)
			mu.Lock()
			defer mu.Unlock()
			history = append(history, h...)
		})
	}
	stop := make(chan struct{})
	var weather sync.WaitGroup
	weather.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(w.delay(100*time.Millisecond) + 10*time.Millisecond):
			}
			w.turn(len(links), n)
		}
	})
	if len(links) > 1 {
		weather.Go(func() { toAndFro(t, gateways, stop) })
	}
	weather.Go(func() {
		for !paused(stop) {
			_, _ = gateways[1].HealMissed(t.Context(), nil) // while others change what it looks at, and drives are away
		}
	})
	clients.Wait()
	close(stop)
	weather.Wait()
	w.awaitLate()
	w.be(false, 0)
	spoil(all)
	healed := seed%4 < 2 // before or after somebody reads
	if healed {
		healMissed(t, gateways[0])
	}
	// When all is well again, both gateways read the same.
	last := &client{store: gateways[0], id: 9000, r: rand.New(rand.NewPCG(seed, 99)), start: start}
	for i, g := range gateways {
		last.store, last.id = g, 9000+i
		history = append(history, last.sees(t, "k"), last.sees(t, recordKey))
	}
	time.Sleep(time.Minute) // calls that nobody waits for come to their end
	if !healed {
		healMissed(t, gateways[1])
	}
	for _, g := range gateways {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	if !legal(history) {
		tell(t, history)
		t.Errorf("seed %d: this is no history of one register", seed)
	}
	for i := range links {
		different = append(different, compare(links[i])...)
	}
	return different
}

// healMissed heals what drives have missed.
func healMissed(t *testing.T, s *erasure.Store) {
	t.Helper()
	time.Sleep(time.Minute) // calls that nobody waits for come to their end
	if h, err := s.HealMissed(t.Context(), nil); err != nil || h.Failed != 0 || h.Pending != 0 || h.Absent.Count() != 0 {
		t.Errorf("what was missed is healed: %+v, %v", h, err)
	}
}

// compare returns in what the drives of a set differ, and what is not known to be on all of them.
func compare(set []*link) (different []string) {
	want, _ := held(set[0].kv)
	for _, l := range set {
		registers, pending := held(l.kv)
		if pending > 0 {
			different = append(different, fmt.Sprintf("drive %d has %d registers pending", l.i, pending))
		}
		if !maps.Equal(registers, want) {
			different = append(different, fmt.Sprintf("drive %d has %v, the first one %v", l.i, registers, want))
		}
	}
	return different
}

// held returns what a drive holds of registers, and how many are pending.
func held(kv *drive.Memory) (registers map[string]string, pending int) {
	registers = make(map[string]string)
	entries, _ := kv.Scan([]byte{'r'}, []byte{'s'})
	for entries.Next() {
		key, _, err := register.DecodeKey(entries.Key()[1:])
		e, damaged := register.DecodeEntry(entries.Value())
		registers[key.Name+" "+e.Version] = fmt.Sprint(e.Kind, e.Made, e.Changed, e.Decided, e.Shard, len(e.Before), err, damaged)
	}
	notes, _ := kv.Scan([]byte{'p', 0}, []byte{'q'})
	for notes.Next() {
		pending++
	}
	return registers, pending
}
