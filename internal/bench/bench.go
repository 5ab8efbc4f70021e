// Package bench drives an S3 endpoint and measures it: operations and bytes a
// second, latencies, and for a server on the same Linux host the CPU time and
// memory that the operations cost it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Op is what a phase of a run does.
type Op string

// The operations. Mixed is 60 % GET, 25 % PUT, 10 % HEAD and 5 % LIST.
const (
	Put    Op = "put"
	Get    Op = "get"
	Head   Op = "head"
	List   Op = "list"
	Delete Op = "delete"
	Mixed  Op = "mixed"
)

// Config says what to run.
type Config struct {
	Endpoint    string // such as http://127.0.0.1:9000
	AccessKey   string
	SecretKey   string
	Region      string
	Bucket      string // made for the run if it does not exist; only what the run made is removed
	Ops         []Op   // the phases, in order
	Size        int64  // bytes of an object
	Objects     int    // objects that GET, HEAD, LIST and DELETE work on
	Concurrency int    // requests at a time
	Duration    time.Duration
	Count       int   // end a phase after so many operations; 0: only Duration ends it
	SignPayload bool  // send and sign the SHA-256 of what is put
	Insecure    bool  // accept any TLS certificate
	ServerPIDs  []int // of the processes of the server to measure
	Progress    func(Progress)
}

// Progress tells how a phase is going, about once a second.
type Progress struct {
	Op      Op
	Elapsed time.Duration
	Total   time.Duration
	Ops     int64
	Bytes   int64
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.AccessKey == "" || c.SecretKey == "" {
		errs = append(errs, errors.New("no credentials"))
	}
	if c.Size < 0 || c.Objects < 1 || c.Concurrency < 1 || c.Count < 0 || c.Duration <= 0 {
		errs = append(errs, errors.New("size, objects, concurrency, count and duration must be positive"))
	}
	if len(c.Ops) == 0 {
		errs = append(errs, errors.New("no operation"))
	}
	for _, op := range c.Ops {
		if !slices.Contains([]Op{Put, Get, Head, List, Delete, Mixed}, op) {
			errs = append(errs, fmt.Errorf("no such operation: %s", op))
		}
	}
	return errors.Join(errs...)
}

// Result is what a phase came to.
type Result struct {
	Op              Op      `json:"op"`
	SizeBytes       int64   `json:"size_bytes"`
	Concurrency     int     `json:"concurrency"`
	SignedPayload   bool    `json:"signed_payload"`
	Seconds         float64 `json:"seconds"`
	Ops             int64   `json:"ops"`
	Errors          int64   `json:"errors"`
	FirstError      string  `json:"first_error,omitempty"`
	OpsPerSecond    float64 `json:"ops_per_second"`
	MiBPerSecond    float64 `json:"mib_per_second"`
	P50Millis       float64 `json:"p50_ms"`
	P99Millis       float64 `json:"p99_ms"`
	MaxMillis       float64 `json:"max_ms"`
	ServerCPU       float64 `json:"server_cpu_seconds,omitempty"`
	ServerCPUPerGiB float64 `json:"server_cpu_seconds_per_gib,omitempty"`
	ServerCPUPer1k  float64 `json:"server_cpu_seconds_per_1000_ops,omitempty"`
	ServerPeakMiB   float64 `json:"server_peak_mib,omitempty"` // since the server's start
}

// Run runs the phases and returns a result for each. Objects that a phase
// needs and no phase before has put are put without being measured. When ctx
// ends no more operations start; Run lets those under way end, cleans up, and
// returns the results so far and ctx's error.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r, err := newRunner(cfg)
	if err != nil {
		return nil, err
	}
	if r.madeBucket, err = r.client.makeBucket(ctx); err != nil {
		return nil, err
	}
	results, err := r.phases(ctx)
	return results, errors.Join(err, r.clean(context.WithoutCancel(ctx)))
}

func (r *runner) phases(ctx context.Context) ([]Result, error) {
	var results []Result
	for _, op := range r.cfg.Ops {
		if op != Put {
			if err := r.fill(ctx); err != nil {
				return results, err
			}
		}
		result, err := r.phase(ctx, op)
		if err != nil {
			return results, err
		}
		results = append(results, result)
		if err := ctx.Err(); err != nil {
			return results, err
		}
	}
	return results, nil
}

// runner is one run.
type runner struct {
	cfg        Config
	client     *client
	body       []byte       // what is put: random, so that nothing can compress it
	run        string       // prefix of the run's keys
	filled     int          // keys 0 to filled-1 exist
	made       int          // and so many did at some time
	extra      atomic.Int64 // keys that Mixed has put
	madeBucket bool
}

func newRunner(cfg Config) (*runner, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(seed >> 32)})
	body := make([]byte, cfg.Size)
	if _, err := rng.Read(body); err != nil {
		return nil, fmt.Errorf("make content: %w", err)
	}
	return &runner{cfg: cfg, client: c, body: body, run: fmt.Sprintf("bench-%x/", seed)}, nil
}

func (r *runner) key(i int) string { return fmt.Sprintf("%sobject-%08d", r.run, i) }

// each calls fn for the numbers from lo to hi-1, so many at a time.
func (r *runner) each(lo, hi int, fn func(i int) error) error {
	var (
		group sync.WaitGroup
		next  atomic.Int64
		first atomic.Pointer[error]
	)
	next.Store(int64(lo))
	for range r.cfg.Concurrency {
		group.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= hi || first.Load() != nil {
					return
				}
				if err := fn(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// fill puts the objects that are missing.
func (r *runner) fill(ctx context.Context) error {
	under := context.WithoutCancel(ctx)
	err := r.each(r.filled, r.cfg.Objects, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.client.put(under, r.key(i), r.body)
	})
	r.filled = r.cfg.Objects
	r.made = r.cfg.Objects
	return err
}

// clean removes what the run has made.
func (r *runner) clean(ctx context.Context) error {
	err := errors.Join(
		r.each(0, r.made, func(i int) error { return r.client.delete(ctx, r.key(i)) }),
		r.each(0, int(r.extra.Load()), func(i int) error { return r.client.delete(ctx, r.extraKey(i)) }),
	)
	if r.madeBucket && err == nil {
		err = r.client.delete(ctx, "")
	}
	return err
}

func (r *runner) extraKey(i int) string { return fmt.Sprintf("%sextra-%08d", r.run, i) }

// meter collects what the workers of a phase do.
type meter struct {
	ops, bytes, errors atomic.Int64
	first              atomic.Pointer[error]
}

// patience is how long operations that are under way at the end of a phase may
// still take.
const patience = time.Minute

// phase runs one operation from all workers.
func (r *runner) phase(ctx context.Context, op Op) (Result, error) {
	starting, stopStarting := context.WithTimeout(ctx, r.cfg.Duration)
	defer stopStarting()
	under, abandon := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Duration+patience)
	defer abandon()
	before, err := measureAll(r.cfg.ServerPIDs)
	if err != nil {
		return Result{}, err
	}
	var (
		m         meter
		turn      atomic.Int64
		workers   sync.WaitGroup
		latencies = make([][]time.Duration, r.cfg.Concurrency)
		start     = time.Now()
	)
	stop := r.report(op, start, &m)
	for w := range r.cfg.Concurrency {
		workers.Go(func() { latencies[w] = r.work(starting, under, op, &turn, &m) })
	}
	workers.Wait()
	took := time.Since(start)
	stop()
	after, err := measureAll(r.cfg.ServerPIDs)
	if err != nil {
		return Result{}, err
	}
	if op == Put {
		put := int(turn.Load())
		if r.cfg.Count > 0 {
			put = min(put, r.cfg.Count) // each worker took a turn more, and saw that it was over
		}
		r.filled = max(r.filled, min(put, r.cfg.Objects))
		r.made = max(r.made, r.filled)
	}
	if op == Delete {
		r.filled = 0
	}
	result := summarise(&m, slices.Concat(latencies...), took)
	result.Op, result.SizeBytes, result.Concurrency, result.SignedPayload = op, r.cfg.Size, r.cfg.Concurrency, r.cfg.SignPayload
	result.account(before, after, m.bytes.Load())
	return result, nil
}

// work starts operations one after the other until starting ends, and returns
// how long each took.
func (r *runner) work(starting, under context.Context, op Op, turn *atomic.Int64, m *meter) []time.Duration {
	var took []time.Duration
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for starting.Err() == nil {
		i := turn.Add(1) - 1
		if r.cfg.Count > 0 && i >= int64(r.cfg.Count) || op == Delete && i >= int64(r.filled) {
			break
		}
		start := time.Now()
		n, err := r.one(under, op, int(i), rng)
		if err != nil {
			m.errors.Add(1)
			m.first.CompareAndSwap(nil, &err)
			if m.errors.Load() > maxErrors {
				break
			}
			continue
		}
		took = append(took, time.Since(start))
		m.ops.Add(1)
		m.bytes.Add(n)
	}
	return took
}

// maxErrors ends a phase that does nothing but fail.
const maxErrors = 1000

// one does one operation and returns how many bytes of content it moved.
func (r *runner) one(ctx context.Context, op Op, i int, rng *rand.Rand) (int64, error) {
	key := r.key(rng.IntN(r.cfg.Objects))
	switch op {
	case Put:
		return r.cfg.Size, r.client.put(ctx, r.key(i%r.cfg.Objects), r.body)
	case Get:
		return r.client.get(ctx, key)
	case Head:
		return 0, r.client.head(ctx, key)
	case List:
		return 0, r.client.list(ctx, r.run, r.key(rng.IntN(r.cfg.Objects)))
	case Delete:
		return 0, r.client.delete(ctx, r.key(i))
	case Mixed:
		switch p := rng.IntN(100); {
		case p < 60:
			return r.client.get(ctx, key)
		case p < 85:
			return r.cfg.Size, r.client.put(ctx, r.extraKey(int(r.extra.Add(1)-1)), r.body)
		case p < 95:
			return 0, r.client.head(ctx, key)
		default:
			return 0, r.client.list(ctx, r.run, key)
		}
	}
	return 0, fmt.Errorf("no such operation: %s", op)
}

// report tells progress every second until the returned function is called.
func (r *runner) report(op Op, start time.Time, m *meter) (stop func()) {
	if r.cfg.Progress == nil {
		return func() {}
	}
	done := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				r.cfg.Progress(Progress{Op: op, Elapsed: time.Since(start), Total: r.cfg.Duration, Ops: m.ops.Load(), Bytes: m.bytes.Load()})
			}
		}
	})
	return func() {
		close(done)
		reporter.Wait()
	}
}

func summarise(m *meter, took []time.Duration, wall time.Duration) Result {
	slices.Sort(took)
	at := func(p float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(p*float64(len(took)-1))].Microseconds()) / 1000
	}
	r := Result{
		Seconds: round(wall.Seconds()), Ops: m.ops.Load(), Errors: m.errors.Load(),
		OpsPerSecond: round(float64(m.ops.Load()) / wall.Seconds()), MiBPerSecond: round(float64(m.bytes.Load()) / (1 << 20) / wall.Seconds()),
		P50Millis: at(.5), P99Millis: at(.99), MaxMillis: at(1),
	}
	if err := m.first.Load(); err != nil {
		r.FirstError = (*err).Error()
	}
	return r
}

// account adds what the phase cost the server.
func (r *Result) account(before, after usage, bytes int64) {
	if after == (usage{}) {
		return
	}
	r.ServerCPU = round(after.cpu - before.cpu)
	r.ServerPeakMiB = round(float64(after.peak) / (1 << 20))
	if bytes > 0 {
		r.ServerCPUPerGiB = round(r.ServerCPU / (float64(bytes) / (1 << 30)))
	}
	if r.Ops > 0 {
		r.ServerCPUPer1k = round(r.ServerCPU / float64(r.Ops) * 1000)
	}
}

// round leaves the digits that a measurement can have.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
