package bench_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/bench"
)

// hour is longer than any test: what ends a phase is something else.
const hour = time.Hour

func config(s *server, ops ...bench.Op) bench.Config {
	return bench.Config{
		Endpoint: s.URL, AccessKey: "user", SecretKey: "secret", Region: "us-east-1", Bucket: "measured",
		Ops: ops, Size: 1000, Objects: 10, Concurrency: 4, Duration: hour, Count: 40,
	}
}

// run runs what has to succeed.
func run(t *testing.T, cfg bench.Config) []bench.Result {
	t.Helper()
	results, err := bench.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestAPhaseDoesItsOperationAsOftenAsItIsTold(t *testing.T) {
	for _, tt := range []struct {
		op   bench.Op
		want int64
		does string // the operation of which the server sees so many
		also int    // and so many more, to prepare or to clean up
	}{
		{bench.Put, 40, "PUT object", 0},
		{bench.Get, 40, "GET object", 0},
		{bench.Head, 40, "HEAD object", 0},
		{bench.List, 40, "LIST", 0},
		{bench.Delete, 10, "DELETE object", 10}, // there are no more than 10 objects
	} {
		t.Run(string(tt.op), func(t *testing.T) {
			s := newServer(t)
			results := run(t, config(s, tt.op))
			if len(results) != 1 {
				t.Fatalf("%d results", len(results))
			}
			r := results[0]
			if r.Op != tt.op || r.Ops != tt.want || r.Errors != 0 || r.FirstError != "" || r.SizeBytes != 1000 || r.Concurrency != 4 {
				t.Errorf("%+v", r)
			}
			if got := s.count(tt.does); got != int(tt.want)+tt.also {
				t.Errorf("the server saw %d times %s", got, tt.does)
			}
			if moves := tt.op == bench.Put || tt.op == bench.Get; moves != (r.MiBPerSecond > 0) {
				t.Errorf("%v MiB/s", r.MiBPerSecond)
			}
			if r.P50Millis > r.P99Millis || r.P99Millis > r.MaxMillis || r.MaxMillis > r.Seconds*1000+1 || r.OpsPerSecond <= 0 {
				t.Errorf("latencies and rates do not fit together: %+v", r)
			}
		})
	}
}

func TestAMixedPhaseDoesAllOfItsOperations(t *testing.T) {
	s := newServer(t)
	cfg := config(s, bench.Mixed)
	cfg.Count = 400
	if r := run(t, cfg)[0]; r.Ops != 400 || r.Errors != 0 {
		t.Errorf("%+v", r)
	}
	puts := s.count("PUT object") - cfg.Objects // those that were put before
	if sum := s.count("GET object") + puts + s.count("HEAD object") + s.count("LIST"); sum != 400 {
		t.Errorf("%d operations", sum)
	}
	for _, op := range []string{"GET object", "HEAD object", "LIST"} {
		if s.count(op) == 0 || puts <= 0 {
			t.Errorf("%d times %s, %d PUTs", s.count(op), op, puts)
		}
	}
	s.holds(t, nil)
}

// A phase finds its objects, whatever the phases before have left undone.
func TestObjectsThatAreMissingArePutBeforeAPhase(t *testing.T) {
	reads := slices.Repeat([]bench.Op{bench.Get, bench.Head}, 10)
	for name, ops := range map[string][]bench.Op{
		"nothing was put":    reads,
		"a few were put":     slices.Concat([]bench.Op{bench.Put}, reads),
		"a few were deleted": slices.Concat([]bench.Op{bench.Delete}, reads, []bench.Op{bench.Delete}, reads),
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			cfg := config(s, ops...)
			cfg.Objects, cfg.Count = 5, 3
			for _, r := range run(t, cfg) {
				if r.Ops != 3 || r.Errors != 0 {
					t.Errorf("%+v", r)
				}
			}
			s.holds(t, nil)
		})
	}
}

func TestARunRemovesWhatItMadeAndNothingElse(t *testing.T) {
	foreign := map[string]string{"kept": "by somebody", "bench-1/object-00000000": "of another run"}
	for name, before := range map[string]map[string]map[string]string{
		"the bucket was there":     {"measured": foreign, "other": foreign},
		"the bucket was not there": {"other": foreign},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			for bucket, objects := range before {
				s.buckets[bucket] = maps.Clone(objects)
			}
			run(t, config(s, bench.Put, bench.Get, bench.Delete, bench.Mixed))
			s.holds(t, before)
		})
	}
}

func TestErrorsAreCountedAndTheFirstIsTold(t *testing.T) {
	s := newServer(t)
	var gets atomic.Int64
	s.refuse = func(op, _ string) (int, string) {
		if op == "GET object" && gets.Add(1)%2 == 0 {
			return http.StatusServiceUnavailable, "SlowDown"
		}
		return 0, ""
	}
	r := run(t, config(s, bench.Get))[0]
	if r.Ops != 20 || r.Errors != 20 {
		t.Errorf("%d operations and %d errors", r.Ops, r.Errors)
	}
	for _, part := range []string{"GET /measured/bench-", "503 Service Unavailable", "(SlowDown): as the test says"} {
		if !strings.Contains(r.FirstError, part) {
			t.Errorf("the first error is %q, without %q", r.FirstError, part)
		}
	}
	s.holds(t, nil)
}

func TestAPhaseThatOnlyFailsEnds(t *testing.T) {
	s := newServer(t)
	s.refuse = func(op, _ string) (int, string) {
		if op == "HEAD object" {
			return http.StatusForbidden, "AccessDenied"
		}
		return 0, ""
	}
	cfg := config(s, bench.Head)
	cfg.Count = 0
	if r := run(t, cfg)[0]; r.Ops != 0 || r.Errors < 1000 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBePreparedEndsTheRun(t *testing.T) {
	for refused, path := range map[string]string{"PUT bucket": "PUT /measured: 403", "PUT object": "PUT /measured/bench-"} {
		t.Run(refused, func(t *testing.T) {
			s := newServer(t)
			s.refuse = func(op, _ string) (int, string) {
				if op == refused {
					return http.StatusForbidden, "AccessDenied"
				}
				return 0, ""
			}
			results, err := bench.Run(t.Context(), config(s, bench.Get))
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "AccessDenied") || len(results) != 0 {
				t.Errorf("%v, %v", results, err)
			}
			s.holds(t, nil)
		})
	}
}

func TestWhatIsLeftBehindIsTold(t *testing.T) {
	s := newServer(t)
	s.refuse = func(op, _ string) (int, string) {
		if op == "DELETE object" {
			return http.StatusForbidden, "AccessDenied"
		}
		return 0, ""
	}
	results, err := bench.Run(t.Context(), config(s, bench.Put))
	if err == nil || !strings.Contains(err.Error(), "DELETE /measured/bench-") || len(results) != 1 {
		t.Errorf("%v, %v", results, err)
	}
	if s.count("DELETE bucket") != 0 {
		t.Error("the bucket was to go with what is in it")
	}
}

// Whoever interrupts a run gets what was measured so far, and a clean server.
func TestAnInterruptedRunCleansUpAndReturnsWhatItHas(t *testing.T) {
	for name, tt := range map[string]struct {
		at   string // the operation in which the interrupt comes
		want []bench.Op
	}{
		"in a phase":            {"GET object", []bench.Op{bench.Put, bench.Get}},
		"while objects are put": {"PUT object", []bench.Op{bench.Put}},
		"before all":            {"HEAD bucket", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.refuse = func(op, _ string) (int, string) {
				if op == tt.at && (op == "HEAD bucket" || s.count(op) > 100) {
					cancel()
				}
				return 0, ""
			}
			cfg := config(s, bench.Put, bench.Get, bench.List)
			cfg.Count = 0
			if tt.at == "GET object" {
				cfg.Count = 200
			}
			results, err := bench.Run(ctx, cfg)
			if !errors.Is(err, context.Canceled) || len(results) != len(tt.want) {
				t.Fatalf("%+v, %v", results, err)
			}
			for i, r := range results {
				if r.Op != tt.want[i] || r.Ops < 100 || r.Errors != 0 {
					t.Errorf("%+v", r)
				}
			}
			s.holds(t, nil)
		})
	}
}

func TestObjectsThatAreMissingAreNotPutOnceTheRunIsInterrupted(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.refuse = func(op, _ string) (int, string) {
		if op == "PUT object" {
			cancel()
		}
		return 0, ""
	}
	results, err := bench.Run(ctx, config(s, bench.Get))
	if !errors.Is(err, context.Canceled) || len(results) != 0 || s.count("PUT object") > 4 {
		t.Errorf("%+v, %v, after %d PUTs", results, err, s.count("PUT object"))
	}
	s.holds(t, nil)
}

func TestThePayloadIsSignedIfAskedFor(t *testing.T) {
	for signed, want := range map[bool]string{false: "unsigned", true: "signed"} {
		s := newServer(t)
		cfg := config(s, bench.Put)
		cfg.SignPayload = signed
		if r := run(t, cfg)[0]; r.SignedPayload != signed || s.payloads[want] == 0 || len(s.payloads) != 1 {
			t.Errorf("signed %v: %+v, requests %v", signed, r, s.payloads)
		}
	}
}

func TestProgressIsToldWhileAPhaseRuns(t *testing.T) {
	s := newServer(t)
	cfg := config(s, bench.Put)
	cfg.Count = 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told bench.Progress
	cfg.Progress = func(p bench.Progress) {
		if told == (bench.Progress{}) {
			told = p
		}
		cancel()
	}
	if _, err := bench.Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if told.Op != bench.Put || told.Total != hour || told.Elapsed <= 0 || told.Ops <= 0 || told.Bytes < told.Ops*1000 {
		t.Errorf("%+v", told)
	}
}

func TestTheServersProcessIsMeasured(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	s := newServer(t)
	cfg := config(s, bench.Put)
	cfg.ServerPIDs = []int{os.Getpid()} // it serves the requests
	cfg.Count = 1000                    // so that a clock of 10 ms ticks
	if r := run(t, cfg)[0]; r.ServerCPU <= 0 || r.ServerPeakMiB <= 0 || r.ServerCPUPer1k <= 0 || r.ServerCPUPerGiB <= 0 {
		t.Errorf("%+v", r)
	}
	cfg.ServerPIDs = []int{os.Getpid(), 1 << 30} // no process has such a number
	if _, err := bench.Run(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a process that there is not: %v", err)
	}
	s.holds(t, nil)
}

func TestAConfigurationThatCannotRunIsRefused(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(*bench.Config)
	}{
		{"no credentials", func(c *bench.Config) { c.AccessKey = "" }},
		{"no credentials", func(c *bench.Config) { c.SecretKey = "" }},
		{"must be positive", func(c *bench.Config) { c.Size = -1 }},
		{"must be positive", func(c *bench.Config) { c.Objects = 0 }},
		{"must be positive", func(c *bench.Config) { c.Concurrency = 0 }},
		{"must be positive", func(c *bench.Config) { c.Count = -1 }},
		{"must be positive", func(c *bench.Config) { c.Duration = 0 }},
		{"no operation", func(c *bench.Config) { c.Ops = nil }},
		{"no such operation: guess", func(c *bench.Config) { c.Ops = []bench.Op{"guess"} }},
		{"is not a URL", func(c *bench.Config) { c.Endpoint = "localhost" }},
	} {
		s := newServer(t)
		cfg := config(s, bench.Put)
		tt.change(&cfg)
		if _, err := bench.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) || len(s.asked) > 0 {
			t.Errorf("%v after %v, want %s", err, s.asked, tt.want)
		}
	}
}
