package quota_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/quota"
	"github.com/shoal-storage/shoal/internal/sse"
)

// records are records of a control plane in memory, which may fail.
type records struct {
	mu      sync.Mutex
	values  map[string][]byte
	numbers map[string]uint64
	last    uint64
	changed chan struct{}
	fails   func() bool
}

func newRecords() *records {
	return &records{values: map[string][]byte{}, numbers: map[string]uint64{}, changed: make(chan struct{}), fails: func() bool { return false }}
}

func (r *records) Get(name string) ([]byte, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values[name], r.numbers[name], nil
}

var errLost = errors.New("no answer")

// Set may fail before it has changed anything, or after.
func (r *records) Set(_ context.Context, name string, value []byte, revision uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails() {
		return errLost
	}
	if r.numbers[name] != revision {
		return quota.ErrChanged
	}
	r.last++
	r.values[name], r.numbers[name] = value, r.last
	if value == nil {
		delete(r.values, name)
		delete(r.numbers, name)
	}
	close(r.changed)
	r.changed = make(chan struct{})
	if r.fails() {
		return errLost
	}
	return nil
}

func (r *records) List(prefix string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name := range r.values {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (r *records) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// gateway is one of a fleet.
type gateway struct {
	*quota.Store
	accounts *quota.Accounts
	session  string
	fleet    *fleet
}

func (g *gateway) Current() string     { return g.session }
func (g *gateway) Live(id string) bool { return !g.fleet.isDead(id) }

// fleet is gateways before one memory Store.
type fleet struct {
	t        *testing.T
	store    object.Store
	records  *records
	gateways []*gateway
	mu       sync.Mutex
	dead     map[string]bool
}

func (f *fleet) isDead(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead[id]
}

func newFleet(t *testing.T, n int, limit quota.Limit) *fleet {
	f := &fleet{t: t, store: objecttest.NewMemory(), records: newRecords(), dead: map[string]bool{}}
	b := object.Bucket{Name: "bucket", Created: time.Unix(1, 0), Documents: map[string]string{quota.Document: limit.String()}}
	if err := f.store.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f.join(fmt.Sprintf("session-%d", i))
	}
	return f
}

func (f *fleet) join(session string) *gateway {
	g := &gateway{session: session, fleet: f}
	g.accounts = quota.NewAccounts(f.records, g, time.Now)
	g.Store = quota.NewStore(f.store, g.accounts)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		g.accounts.Run(ctx)
	}()
	f.t.Cleanup(func() { cancel(); <-over })
	f.gateways = append(f.gateways, g)
	return g
}

// held returns what the bucket really holds.
func (f *fleet) held() quota.Amount {
	f.t.Helper()
	a, err := count(context.Background(), f.store)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func count(ctx context.Context, store object.Store) (quota.Amount, error) {
	var a quota.Amount
	q := object.VersionQuery{Bucket: "bucket", Limit: object.MaxListLimit}
	for {
		page, err := store.ListVersions(ctx, q)
		if err != nil {
			return a, err
		}
		for _, v := range page.Versions {
			if !v.Marker {
				a.Bytes += v.Size
				a.Objects++
			}
		}
		if !page.More {
			return a, nil
		}
		q.AfterKey, q.AfterVersion = page.NextKey, page.NextVersion
	}
}

func ref(key string) object.Ref { return object.Ref{Bucket: "bucket", Key: key} }

func (g *gateway) put(key string, size int) error {
	_, err := g.Put(context.Background(), ref(key), object.PutInput{Body: objecttest.NewBody(make([]byte, size), object.CRC64NVME)})
	return err
}

func (g *gateway) remove(key string) error {
	_, err := g.Delete(context.Background(), ref(key), nil)
	return err
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) refused(err error) {
	f.t.Helper()
	if !errors.Is(err, object.OverQuota) {
		f.t.Fatalf("got %v, want %v", err, object.OverQuota)
	}
}

func TestABucketTakesWhatFitsAndNoMoreWhicheverGatewayIsAsked(t *testing.T) {
	f := newFleet(t, 3, quota.Limit{Bytes: 1000, Objects: 20})
	for i := range 10 {
		f.must(f.gateways[i%3].put(fmt.Sprint("k", i), 100))
	}
	for i := range 3 {
		f.refused(f.gateways[i].put("more", 1))
	}
	f.must(f.gateways[0].put("k1", 40))   // 60 less
	f.must(f.gateways[1].put("more", 60)) // just that
	f.refused(f.gateways[2].put("k1", 41))
	f.must(f.gateways[2].put("k1", 40)) // as large as before
	f.must(f.gateways[0].remove("k2"))
	f.must(f.gateways[1].put("k3", 200))
	f.refused(f.gateways[2].put("empty", 1))
	for i := range 10 {
		f.must(f.gateways[i%3].put(fmt.Sprint("empty", i), 0))
	}
	f.refused(f.gateways[0].put("one more", 0))
	f.must(f.gateways[1].remove("empty1"))
	f.must(f.gateways[2].put("one more", 0))
	if got := f.held(); got != (quota.Amount{Bytes: 1000, Objects: 20}) {
		t.Errorf("the bucket holds %+v", got)
	}
}

func TestEncryptedObjectsCountByTheirContent(t *testing.T) {
	f := newFleet(t, 1, quota.Limit{Bytes: 1000})
	put := func(key string, size int) error {
		body := sse.Encrypt(objecttest.NewBody(make([]byte, size), object.CRC64NVME), sse.NewKey(), "", false)
		_, err := f.gateways[0].Put(t.Context(), ref(key), object.PutInput{Body: body, Meta: object.Meta{Seal: "seal"}})
		return err
	}
	f.must(put("k", 400))
	f.must(put("l", 600))
	f.refused(put("m", 1))
	f.must(f.gateways[0].remove("k"))
	f.must(put("m", 400))
}

// ofAForm is a Body of which nobody knows where it ends.
type ofAForm struct {
	object.Body
	most int64
}

func (ofAForm) Size() int64       { return -1 }
func (b ofAForm) MostSize() int64 { return b.most }

func TestWhatMayNotFitIsRefusedWhereTheLengthIsNotKnown(t *testing.T) {
	f := newFleet(t, 1, quota.Limit{Bytes: 1000})
	put := func(key string, size int, wrap func(object.Body) object.Body, meta object.Meta) error {
		body := objecttest.NewBody(make([]byte, size), object.CRC64NVME)
		_, err := f.gateways[0].Put(t.Context(), ref(key), object.PutInput{Body: wrap(ofAForm{body, int64(size) + 50}), Meta: meta})
		return err
	}
	plain := func(b object.Body) object.Body { return b }
	sealed := func(b object.Body) object.Body { return sse.Encrypt(b, sse.NewKey(), "", false) }
	f.must(put("k", 400, plain, object.Meta{}))
	f.must(put("l", 400, sealed, object.Meta{Seal: "seal"}))
	f.refused(put("m", 201, plain, object.Meta{}))
	f.refused(put("m", 201, sealed, object.Meta{Seal: "seal"}))
	f.must(put("m", 150, plain, object.Meta{}))
	if got := f.held(); got.Bytes != 950 {
		t.Errorf("the bucket holds %d bytes", got.Bytes)
	}
}

func TestOfManyWritersAsManySucceedAsFit(t *testing.T) {
	f := newFleet(t, 3, quota.Limit{Bytes: 10 << 10})
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			switch err := f.gateways[i%3].put(fmt.Sprint("k", i), 1<<10); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, object.OverQuota):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := f.held(); won.Load() != 10 || got.Bytes != 10<<10 {
		t.Errorf("%d of 10 were stored, the bucket holds %d bytes", won.Load(), got.Bytes)
	}
}

func TestCopiesUploadsAndRenamesCount(t *testing.T) {
	const part = object.MinPartSize
	f := newFleet(t, 2, quota.Limit{Bytes: 3 * part})
	a, b := f.gateways[0], f.gateways[1]
	ctx := t.Context()
	f.must(a.put("k", part))
	copied := func(g *gateway, to string) error {
		_, err := g.Copy(ctx, ref("k"), ref(to), object.CopyInput{})
		return err
	}
	f.must(copied(b, "copy"))
	up, err := a.CreateUpload(ctx, object.Upload{UploadRef: object.UploadRef{Ref: ref("big")}, Algorithm: object.CRC64NVME})
	f.must(err)
	var named []object.CompletedPart
	for n := range 2 {
		p, err := a.PutPart(ctx, up.UploadRef, n+1, objecttest.NewBody(make([]byte, part), object.CRC64NVME))
		f.must(err)
		named = append(named, object.CompletedPart{Number: n + 1, ETag: p.ETag})
	}
	complete := func(g *gateway) error {
		_, err := g.CompleteUpload(ctx, up.UploadRef, object.CompleteInput{Parts: named, Size: -1})
		return err
	}
	f.refused(complete(b))
	f.must(b.Rename(ctx, ref("copy"), ref("k"), object.CopyInput{}))
	f.must(complete(b))
	f.must(complete(a)) // it is done already
	f.refused(copied(a, "copy"))
	if got := f.held(); got.Bytes != 3*part {
		t.Errorf("the bucket holds %d bytes", got.Bytes)
	}
	f.must(a.remove("big"))
	f.must(copied(b, "copy"))
	f.must(copied(a, "copy2"))
	f.refused(copied(b, "copy3"))
}

func TestVersionsCountUntilTheyAreRemoved(t *testing.T) {
	f := newFleet(t, 2, quota.Limit{Bytes: 300})
	versioning := func(v object.Versioning) {
		f.must(f.store.UpdateBucket(t.Context(), "bucket", func(b *object.Bucket) error { b.Versioning = v; return nil }))
	}
	a, b := f.gateways[0], f.gateways[1]
	f.must(a.put("k", 100)) // null
	versioning(object.Versioned)
	f.must(b.put("k", 100))
	f.must(b.put("k", 100))
	f.must(a.remove("k")) // a marker
	f.refused(a.put("k", 1))
	versioning(object.Suspended)
	f.must(a.put("k", 100)) // in place of null, which is not current
	f.refused(b.put("other", 1))
	_, err := b.Delete(t.Context(), object.Ref{Bucket: "bucket", Key: "k", Version: object.NullVersion}, nil)
	f.must(err)
	f.must(a.put("other", 100))
	if got := f.held(); got.Bytes != 300 {
		t.Errorf("the bucket holds %d bytes", got.Bytes)
	}
}

func TestWhatADeadGatewayHeldCountsUntilTheBucketIsCounted(t *testing.T) {
	f := newFleet(t, 2, quota.Limit{Bytes: 32 << 20})
	f.must(f.gateways[0].put("k", 1)) // and holds a share of what is left
	f.mu.Lock()
	f.dead["session-0"] = true
	f.mu.Unlock()
	b, err := f.store.StatBucket(t.Context(), "bucket")
	f.must(err)
	live := f.gateways[1]
	f.must(live.put("l", 1))
	usage, err := live.accounts.Usage(b)
	f.must(err)
	if !usage.Loose {
		t.Fatalf("nobody knows what it had stored, and usage is %+v", usage)
	}
	f.must(live.accounts.Count(t.Context(), b, func(ctx context.Context) (quota.Amount, error) { return count(ctx, f.store) }))
	usage, err = live.accounts.Usage(b)
	f.must(err)
	if usage.Loose || usage.Used != (quota.Amount{Bytes: 2, Objects: 2}) || usage.Counted.IsZero() {
		t.Errorf("after it was counted, usage is %+v", usage)
	}
}

// TestNoScheduleExceedsALimit has gateways write and delete at random, in half of the
// schedules while changes of records get lost on their way there or back, or a gateway
// dies. At no time does the bucket hold more than it may, and nothing is forgotten.
func TestNoScheduleExceedsALimit(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3, quota.Limit{Bytes: 2000, Objects: 30})
			sound := seed%2 == 0
			if !sound {
				r := rand.New(rand.NewPCG(seed, 0))
				f.records.fails = func() bool { return r.IntN(10) == 0 }
			}
			var all sync.WaitGroup
			for w := range 6 {
				all.Go(func() { f.work(rand.New(rand.NewPCG(seed, uint64(w)+1)), f.gateways[w%3]) })
			}
			all.Wait()
			f.records.mu.Lock()
			f.records.fails = func() bool { return false }
			f.records.mu.Unlock()
			if !sound {
				f.mu.Lock()
				f.dead["session-2"] = true
				f.mu.Unlock()
			}
			b, err := f.store.StatBucket(t.Context(), "bucket")
			f.must(err)
			// A count that fails has all gateways say what they have stored.
			if err := f.gateways[0].accounts.Count(t.Context(), b, func(context.Context) (quota.Amount, error) { return quota.Amount{}, io.EOF }); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			u, err := f.gateways[0].accounts.Usage(b)
			f.must(err)
			if there := f.held(); u.Used != there && (sound || u.Used.Bytes < there.Bytes || u.Used.Objects < there.Objects) {
				t.Errorf("the ledger says %+v, there is %+v", u, there)
			}
			f.must(f.gateways[1].accounts.Count(t.Context(), b, func(ctx context.Context) (quota.Amount, error) { return count(ctx, f.store) }))
			u, err = f.gateways[1].accounts.Usage(b)
			f.must(err)
			if there := f.held(); u.Used != there || u.Loose {
				t.Errorf("after it was counted the ledger says %+v, there is %+v", u, there)
			}
		})
	}
}

func (f *fleet) work(r *rand.Rand, g *gateway) {
	for range 100 {
		key := fmt.Sprint("k", r.IntN(40))
		var err error
		if r.IntN(3) == 0 {
			err = g.remove(key)
		} else {
			err = g.put(key, r.IntN(200))
		}
		if err != nil && !errors.Is(err, object.OverQuota) && !errors.Is(err, errLost) && !errors.Is(err, object.Conflict) {
			f.t.Error(err)
		}
		if got := f.held(); got.Bytes > 2000 || got.Objects > 30 {
			f.t.Errorf("the bucket holds %+v", got)
			return
		}
	}
}

// BenchmarkReserve is what a limit costs an operation while there is much room.
func BenchmarkReserve(b *testing.B) {
	limit := quota.Limit{Bytes: 1 << 50}
	f := &fleet{records: newRecords(), dead: map[string]bool{}}
	g := &gateway{session: "session", fleet: f}
	accounts := quota.NewAccounts(f.records, g, time.Now)
	bucket := object.Bucket{Name: "bucket", Created: time.Unix(1, 0)}
	for b.Loop() {
		r, err := accounts.Reserve(b.Context(), bucket, limit, quota.Amount{Bytes: 4096, Objects: 1})
		if err != nil {
			b.Fatal(err)
		}
		r.Done(quota.Amount{Bytes: 4096, Objects: 1})
	}
}

// giver is a Store that can give files to nobody but group 100.
type giver struct{ object.Store }

func (giver) Prove(_ context.Context, f object.Files) error {
	if f.GID != nil && *f.GID == 100 {
		return nil
	}
	return object.InvalidRequest
}

func TestWhetherFilesCanBeGivenIsTheStoresToSay(t *testing.T) {
	users, others := object.Files{GID: new(uint32(100))}, object.Files{GID: new(uint32(7))}
	for what, tt := range map[string]struct {
		store object.Store
		files object.Files
		want  error
	}{
		"it can": {giver{}, users, nil}, "it cannot": {giver{}, others, object.InvalidRequest}, "it has no files": {objecttest.NewMemory(), users, object.NotImplemented},
	} {
		s := &quota.Store{Store: tt.store}
		if err := s.Prove(t.Context(), tt.files); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestItIsToldInWhichBucketSomethingWasWritten(t *testing.T) {
	ctx, f := t.Context(), newFleet(t, 1, quota.Limit{})
	s := f.gateways[0].Store
	var told []string
	s.Written = func(bucket string, anew bool) { told = append(told, fmt.Sprint(bucket, " ", anew)) }
	ref := object.Ref{Bucket: "bucket", Key: "k"}
	put := func() error {
		_, err := s.Put(ctx, ref, object.PutInput{Body: objecttest.NewBody([]byte("x"), object.CRC64NVME)})
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"a PUT", put, []string{"bucket false"}},
		{"a GET", func() error { _, err := s.Stat(ctx, ref); return err }, nil},
		{"a copy", func() error {
			_, err := s.Copy(ctx, ref, object.Ref{Bucket: "bucket", Key: "copy"}, object.CopyInput{})
			return err
		}, []string{"bucket false"}},
		{"a DELETE", func() error { _, err := s.Delete(ctx, ref, nil); return err }, []string{"bucket false"}},
		{"a new bucket", func() error { return s.CreateBucket(ctx, object.Bucket{Name: "new", Created: time.Unix(1, 0)}) }, []string{"new true"}},
		{"its removal", func() error { return s.DeleteBucket(ctx, "new") }, []string{"new true"}},
	} {
		told = nil
		if err := step.do(); err != nil || !slices.Equal(told, step.want) {
			t.Errorf("of %s told is %v, %v", step.what, told, err)
		}
	}
	told, ref.Bucket = nil, "none"
	if err := put(); err == nil || len(told) > 0 {
		t.Errorf("of a PUT that was refused told is %v, %v", told, err)
	}
}
