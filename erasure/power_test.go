package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	pebblefs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// The measures of a history in which the power is cut.
const (
	cuts       = 3
	cutClients = 4
	cutOps     = 12   // of each client between two cuts, at most
	cutKeys    = 2    // that all of them change
	cutSteps   = 1200 // that change a disk before the power is cut, at most
)

var errPower = errors.New("the power is cut")

// mains is the power of all drives at once.
type mains struct {
	left atomic.Int64 // steps that change a disk until it is cut
	slow bool         // what is made durable takes a moment
}

func (m *mains) step() error {
	if m.left.Add(-1) < 0 {
		return errPower
	}
	return nil
}

// sync is a step that makes something durable. Meanwhile others may see what it is about.
func (m *mains) sync() error {
	if m.slow {
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
	}
	return m.step()
}

func (m *mains) cut() bool { return m.left.Load() < 0 }

// box is a disk, and the drive with its real store that is on it.
type box struct {
	mains   *mains
	disk    *vfs.Memory
	store   *pebblefs.MemFS
	lies    bool // its store says that things are durable before they are
	forgets bool // its files do
	d       *drive.Drive
}

// eager is a store that says that something is durable before it is.
type eager struct{ drive.KV }

func (e eager) Apply(b *drive.Batch, _ bool) error { return e.KV.Apply(b, false) }

// powered is a drive that outlives a Store.
type powered struct{ *drive.Drive }

func (powered) Close() error { return nil }

// root is the directory of the drive.
func (b *box) root() vfs.Dir {
	fault := vfs.NewFault(b.disk.Root())
	fault.Inject(func(c vfs.OpCall) error {
		switch c.Op { //nolint:exhaustive // what changes the disk
		case vfs.OpCreate, vfs.OpMkdir, vfs.OpRemove, vfs.OpRename, vfs.OpSyncDir, vfs.OpWrite:
			return b.mains.step()
		case vfs.OpSync:
			return b.mains.sync()
		}
		return nil
	})
	fault.InjectAfter(func(c vfs.OpCall) error {
		if c.Op == vfs.OpSync && strings.HasPrefix(c.Path, "data/") { // what drives believe of file systems
			dir, err := b.disk.Root().OpenDir(path.Dir(c.Path))
			return errors.Join(err, dir.Sync(), dir.Close())
		}
		return nil
	})
	if b.forgets {
		return forgetful{fault.Root()}
	}
	return fault.Root()
}

// forgetful is a directory whose files are said to be durable before they are.
type forgetful struct{ vfs.Dir }

func (f forgetful) OpenDir(name string) (vfs.Dir, error) {
	d, err := f.Dir.OpenDir(name)
	return forgetful{d}, err
}

func (f forgetful) Create(name string, perm fs.FileMode) (vfs.File, error) {
	file, err := f.Dir.Create(name, perm)
	return volatile{file}, err
}

func (f forgetful) Rename(oldname string, to vfs.Dir, newname string) error {
	if t, ok := to.(forgetful); ok {
		to = t.Dir
	}
	return f.Dir.Rename(oldname, to, newname)
}

type volatile struct{ vfs.File }

func (volatile) Sync() error { return nil }

// start opens the drive.
func (b *box) start() error {
	disk := errorfs.Wrap(b.store, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo:
			return b.mains.sync()
		case op.Kind.ReadOrWrite() == errorfs.OpIsWrite:
			return b.mains.step()
		}
		return nil
	}))
	root := b.root()
	files, err := drive.OpenFiles(root)
	if err != nil {
		return err
	}
	store, err := drive.OpenPebbleIn(disk, "kv", slog.New(slog.DiscardHandler))
	if err != nil {
		return errors.Join(err, files.Close())
	}
	var kv drive.KV = store
	if b.lies {
		kv = eager{kv}
	}
	b.d = drive.New(kv, files, nil)
	if err := errors.Join(b.d.UseSegments(root, slog.New(slog.DiscardHandler)), b.d.StartLog()); err != nil {
		return errors.Join(err, b.d.Close())
	}
	return nil
}

// lose loses some of what was not synced.
func (b *box) lose(r *rand.Rand) {
	b.disk.Crash(r)
	percent := r.IntN(101)
	b.store = b.store.CrashClone(pebblefs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
}

// house is sets of drives whose power fails at the same moment, and gateways, whose does as well.
type house struct {
	*testing.T
	r        *rand.Rand
	mains    mains
	sets     [][]*box
	table    *placement.Table // by which keys were placed last
	locks    *lock.Local
	gateways []*erasure.Store
	start    time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	wrong   []string // what is, besides
}

// newHouse returns a house, in which nothing is open.
func newHouse(t *testing.T, seed uint64, lies bool) *house {
	h := &house{T: t, r: rand.New(rand.NewPCG(seed, 1)), start: time.Now()}
	h.mains.slow = seed%3 > 0
	n := []int{3, 4, 2, 5}[seed%4]
	weights := make([]int, 1+seed/4%2)
	weights[0] = 1
	for range weights {
		var set []*box
		for range n {
			set = append(set, &box{mains: &h.mains, disk: vfs.NewMemory(), store: pebblefs.NewCrashableMem(), lies: lies})
		}
		h.sets = append(h.sets, set)
	}
	h.table = placement.New(weights)
	return h
}

// open opens the drives and the gateways. Starts are counted.
func (h *house) open(start uint32) error {
	h.locks, h.gateways = lock.NewLocal(start), nil
	for _, set := range h.sets {
		for _, b := range set {
			if err := b.start(); err != nil {
				return err
			}
		}
	}
	for range 2 {
		var configs []erasure.SetConfig
		for _, set := range h.sets {
			c := erasure.SetConfig{Parity: erasure.DefaultParity(len(set))}
			for _, b := range set {
				c.Drives = append(c.Drives, powered{b.d})
			}
			configs = append(configs, c)
		}
		s, err := erasure.New(context.Background(), erasure.Config{Sets: configs, Table: h.table, Locker: h.locks, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			h.Fatal(err)
		}
		h.gateways = append(h.gateways, s)
	}
	return nil
}

// close ends everything that runs.
func (h *house) close() {
	for _, g := range h.gateways {
		_ = g.Close() // of drives that have failed
		if h.table.Epoch < g.Placement().Epoch {
			h.table = g.Placement()
		}
	}
	if h.locks != nil {
		h.locks.Close()
	}
	for _, set := range h.sets {
		for _, b := range set {
			if b.d != nil {
				_ = b.d.Close() // the same
			}
			b.d = nil
		}
	}
}

// lose has every drive lose some of what was not synced.
func (h *house) lose() {
	for _, set := range h.sets {
		for _, b := range set {
			b.lose(h.r)
		}
	}
}

// padded is what is stored as a value: some are in the store, some in segments, some in files.
func padded(value string) string {
	size := []int{0, 100, 5_000, 60_000, 70_000}[int(value[len(value)-1])%5]
	return value + strings.Repeat(".", size)
}

// tenant is a client that knows when what it was told was told too late.
type tenant struct {
	client
	h *house
}

// run does operations until the power is cut.
func (c *tenant) run(cut int) {
	last := make(map[string]string)
	for i := 0; i < cutOps && !c.h.mains.cut(); i++ {
		in := op{key: fmt.Sprint("k", c.r.IntN(cutKeys)), kind: []string{"get", "get", "put", "put", "delete", "cas", "upload"}[c.r.IntN(7)], arg: fmt.Sprintf("%d.%d.%d", cut, c.id, i)}
		if in.kind == "cas" {
			in.old = last[in.key]
		}
		o := porcupine.Operation{ClientId: c.id, Input: in, Call: int64(time.Since(c.start))}
		out, happened := c.try(in)
		o.Output, o.Return = out, int64(time.Since(c.start))
		if !happened || c.h.mains.cut() && (in.kind == "get" || out.refused) { // nobody hears that any more
			continue
		}
		if out.unknown {
			c.id += 100 // a client has one operation at a time
		}
		if in.kind == "get" {
			last[in.key] = out.value
		}
		c.h.note(o)
	}
}

func (h *house) note(o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, o)
}

// try carries out an operation. One that failed without a trace has not happened.
func (c *tenant) try(in op) (out result, happened bool) {
	ctx, ref := c.h.Context(), object.Ref{Bucket: "bucket", Key: in.key}
	var err error
	switch in.kind {
	case "get":
		out.value, err = c.value(in.key)
		return out, err == nil
	case "put":
		err = c.put(ref, in.arg, nil)
	case "delete":
		_, err = c.store.Delete(ctx, ref, nil)
	case "upload":
		err = c.upload(ref, in.arg)
	case "cas":
		err = c.put(ref, in.arg, func(now *object.Info) error {
			if now == nil && in.old == "" || now != nil && now.Meta.ContentType == in.old {
				return nil
			}
			return object.PreconditionFailed
		})
	}
	switch {
	case err == nil:
		return out, true
	case errors.Is(err, object.PreconditionFailed):
		return result{refused: true}, true
	case errors.Is(err, object.Unknown):
		return result{unknown: true}, true
	}
	return out, false
}

func (c *tenant) put(ref object.Ref, value string, check object.Check) error {
	_, err := c.store.Put(c.h.Context(), ref, object.PutInput{Body: objecttest.NewBody([]byte(padded(value)), object.CRC64NVME), Meta: object.Meta{ContentType: value}, Check: check})
	return err
}

func (c *tenant) upload(ref object.Ref, value string) error {
	up, err := c.store.CreateUpload(c.h.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref}, Meta: object.Meta{ContentType: value}, Algorithm: object.CRC64NVME})
	if err != nil {
		return errors.New("no upload") // the object is as it was
	}
	part, err := c.store.PutPart(c.h.Context(), up.UploadRef, 1, objecttest.NewBody([]byte(padded(value)), object.CRC64NVME))
	if err != nil {
		return errors.New("no part") // the same
	}
	_, err = c.store.CompleteUpload(c.h.Context(), up.UploadRef, object.CompleteInput{Parts: []object.CompletedPart{{Number: 1, ETag: part.ETag}}, Size: -1})
	return err
}

// value returns the value of a key; nothing that is half one.
func (c *tenant) value(key string) (string, error) {
	content, err := c.get(c.h.Context(), object.Ref{Bucket: "bucket", Key: key})
	if err != nil || content == "" {
		return "", err
	}
	value := strings.TrimRight(content, ".")
	if content != padded(value) {
		c.h.tell("%d bytes of the content %q are served, and it has %d", len(content), value, len(padded(value)))
	}
	return value, nil
}

// live has everybody do things until the power is cut, or nobody wants anything any more.
func (h *house) live(cut int) {
	var clients, others sync.WaitGroup
	for i := range cutClients {
		c := &tenant{client{store: h.gateways[i%2], id: cut*1000 + i, r: rand.New(rand.NewPCG(h.r.Uint64(), uint64(i))), start: h.start}, h} //nolint:gosec // few
		clients.Go(func() { c.run(cut) })
	}
	stop := make(chan struct{})
	others.Go(func() {
		for !paused(stop) {
			_, _ = h.gateways[1].HealMissed(h.Context(), nil) // while others change what it looks at
		}
	})
	if len(h.sets) > 1 {
		others.Go(func() {
			if h.table.Phase == placement.Settled || carryOut(h.T, h.gateways, h.table, func() bool { return paused(stop) }) {
				toAndFro(h.T, h.gateways, stop)
			}
		})
	}
	clients.Wait()
	close(stop)
	others.Wait()
}

// tell takes note of what is wrong.
func (h *house) tell(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// whole looks that the drives hold everything and know it, and that all gateways see the same.
func (h *house) whole(missed bool) {
	if missed {
		h.healMissed()
	}
	for i, g := range h.gateways {
		c := &tenant{client{store: g, id: 9000 + i, start: h.start}, h}
		for k := range cutKeys {
			in := op{key: fmt.Sprint("k", k), kind: "get"}
			o := porcupine.Operation{ClientId: c.id, Input: in, Call: int64(time.Since(c.start))}
			v, err := c.value(in.key)
			if err != nil {
				h.tell("with all drives there again: %v", err)
			}
			o.Output, o.Return = result{value: v}, int64(time.Since(c.start))+1
			h.note(o)
		}
	}
	h.healMissed()
	s, err := h.gateways[0].Scrub(h.Context(), 1<<40, nil)
	if err != nil || s.Records+s.Shards+s.Damaged+s.Failed+s.Pending != 0 {
		h.tell("a drive lacks what was not noted: %+v, %v", s, err)
	}
}

func (h *house) healMissed() {
	if m, err := h.gateways[0].HealMissed(h.Context(), nil); err != nil || m.Failed+m.Pending != 0 || m.Absent.Count() != 0 {
		h.tell("what was missed is healed: %+v, %v", m, err)
	}
}

// lives has the power be cut several times while everybody does things.
func (h *house) lives() {
	for cut := range uint32(cuts) {
		h.restart(cut)
		h.mains.left.Store(1 << 40)
		if cut == 0 {
			versioning := []object.Versioning{object.Unversioned, object.Versioned}[h.r.IntN(2)]
			if err := h.gateways[0].CreateBucket(h.Context(), object.Bucket{Name: "bucket", Versioning: versioning}); err != nil {
				h.Fatal(err)
			}
		} else {
			h.whole(h.r.IntN(2) == 0)
		}
		h.mains.left.Store(h.r.Int64N(cutSteps))
		h.live(int(cut))
		h.mains.left.Store(-1)
		h.close()
		h.lose()
	}
}

// restart opens everything, and cuts the power meanwhile.
func (h *house) restart(cut uint32) {
	h.mains.left.Store(h.r.Int64N(200))
	if cut == 0 {
		h.mains.left.Store(1 << 40) // there is nothing to be lost
	}
	if h.open(2*cut+1) == nil {
		return
	}
	h.close()
	h.lose()
	h.mains.left.Store(1 << 40)
	if err := h.open(2*cut + 2); err != nil {
		h.Fatalf("after a power cut: %v", err)
	}
}

// TestAPowerCutOfAllDrivesAtOnceLosesNothingThatWasAcknowledged has clients of two gateways read and
// change two keys, while what was missed is healed and, with four seeds of eight, the keys move
// to another set of drives and back. The power of everything is cut, and again while drives are
// opened. Each history must be one of registers; and all that the drives lack, of what they say
// that they have or another one has, is noted.
func TestAPowerCutOfAllDrivesAtOnceLosesNothingThatWasAcknowledged(t *testing.T) {
	histories := *seeds / 20
	if testing.Short() {
		histories = *seeds / 75
	}
	for seed := *firstSeed; seed < *firstSeed+histories; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, seed, false)
			h.lives()
			for _, w := range h.wrong {
				t.Error(w)
			}
			if !legal(h.history) {
				tell(t, h.history)
				t.Error("this is no history of registers")
			}
		})
	}
}

// TestACommitThatIsNotDurableIsNoticed has drives say that something is durable before it is, and
// looks that not every history is right.
func TestACommitThatIsNotDurableIsNoticed(t *testing.T) {
	for seed := range uint64(10) {
		h := newHouse(t, seed, true)
		if h.lives(); len(h.wrong) > 0 || !legal(h.history) {
			return
		}
	}
	t.Error("nobody has noticed it")
}
